"""Protects the synthetic market: seeded to the byte, labelled, and as wild as the real ones."""

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.core.errors import DataError
from workbench.core.records import FIELDS, INTERVALS
from workbench.data import Lake, load, synthesise, write_market
from workbench.data.synthetic import Model

SYMBOLS = ["BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT", "FOOUSDT"]


@pytest.fixture(scope="module", params=[1, 2, 3])
def market(request):
    return synthesise(SYMBOLS, n_bars=40_000, seed=request.param)


def test_same_seed_gives_the_same_bytes_and_another_does_not():
    one, two, other = (synthesise(SYMBOLS[:2], n_bars=500, seed=s) for s in (1, 1, 2))
    for name in FIELDS:
        assert getattr(one, name).to_numpy().tobytes() == getattr(two, name).to_numpy().tobytes()
    assert one.snapshot_id == two.snapshot_id != other.snapshot_id
    assert not one.close.equals(other.close)


def test_a_symbol_does_not_depend_on_its_company():
    alone = synthesise(["ETHUSDT"], n_bars=500, seed=1)
    among = synthesise(SYMBOLS, n_bars=500, seed=1)
    assert alone.close["ETHUSDT"].equals(among.close["ETHUSDT"])


def test_everything_is_labelled(market):
    assert market.is_synthetic
    assert market.watermark == "SYNTHETIC"


def returns_of(market):
    return np.log(market.close).diff().dropna()


def test_tails_are_heavy(market):
    """Cont (2001): hourly excess kurtosis well above that of a normal."""
    assert (returns_of(market).kurt() > 5).all()


def test_volatility_clusters_and_returns_do_not(market):
    returns = returns_of(market)
    for lag in (1, 10, 50):
        assert returns.abs().apply(lambda r, k=lag: r.autocorr(k)).min() > 0.04
    assert returns.apply(lambda r: r.autocorr(1)).abs().max() < 0.04


def test_symbols_move_together(market):
    corr = returns_of(market).corr().to_numpy()[np.triu_indices(5, 1)]
    assert (corr > 0.5).all()
    assert (corr < 0.85).all()


def test_volatility_is_that_of_the_model(market):
    yearly = returns_of(market).std() * 8_760**0.5
    assert yearly.between(0.3, 1.3).all()


def test_funding_follows_the_premium_and_its_stamps(market):
    settled = market.funding_settled["BTCUSDT"].dropna()
    assert set(settled.index.hour) == {0, 8, 16}
    premium = (market.mark_close / market.close - 1)["BTCUSDT"]
    mean = premium.rolling(8).mean().loc[settled.index]
    # Near the interest rate the exchange's own clamp holds the rate: the rest follows.
    is_free = (settled - 1e-4).abs() > 1e-9
    assert is_free.mean() > 0.02
    assert settled[is_free].corr(mean[is_free], method="spearman") > 0.6
    assert settled.abs().max() <= 0.005


def test_range_fits_the_volatility_between_closes(market):
    """Parkinson (1980) against close to close: eight steps see most of the range."""
    high_low = np.log(market.high / market.low)
    parkinson = ((high_low**2).mean() / (4 * np.log(2))) ** 0.5
    assert (parkinson / returns_of(market).std()).between(0.7, 1.1).all()


@settings(max_examples=20, deadline=None)
@given(
    interval=st.sampled_from(list(INTERVALS)), n_bars=st.integers(2, 400), seed=st.integers(0, 999)
)
def test_bars_are_consistent_at_any_interval_and_length(interval, n_bars, seed):
    market = synthesise(["BTCUSDT", "NEWUSDT"], interval=interval, n_bars=n_bars, seed=seed)
    assert market.n_bars == n_bars
    for prefix in ("", "mark_"):
        o, h, low, c = (
            getattr(market, f"{prefix}{name}").to_numpy()
            for name in ("open", "high", "low", "close")
        )
        assert (h >= np.maximum(o, c) - 1e-9).all()
        assert (low <= np.minimum(o, c) + 1e-9).all()
        assert (low > 0).all()
    assert (market.turnover.to_numpy() > 0).all()


def test_instruments_are_those_of_an_exchange(market):
    for instrument in market.instruments.values():
        rates = [tier.maintenance_rate for tier in instrument.tiers]
        assert rates == sorted(rates)
        assert instrument.tick_size > 0
        assert instrument.min_notional_usdt == 5


def test_model_can_be_chosen():
    calm = synthesise(["BTCUSDT"], n_bars=5_000, seed=1, model=Model(volatility=0.1))
    wild = synthesise(["BTCUSDT"], n_bars=5_000, seed=1, model=Model(volatility=1.0))
    assert returns_of(wild).std().iloc[0] > 4 * returns_of(calm).std().iloc[0]


def test_written_market_is_read_back_the_same(tmp_path):
    market = synthesise(SYMBOLS[:2], n_bars=500, seed=4)
    write_market(market, Lake(tmp_path))
    again = load(SYMBOLS[:2], venue="synthetic", lake=tmp_path)
    assert again.is_synthetic
    for name in ("open", "close", "mark_low", "funding_settled", "open_interest"):
        assert np.allclose(getattr(again, name), getattr(market, name), equal_nan=True)
    assert again.instruments == market.instruments


@pytest.mark.parametrize("bad", [{"symbols": []}, {"symbols": ["A", "A"]}, {"n_bars": 1}])
def test_market_that_cannot_be_is_refused(bad):
    with pytest.raises(DataError, match="cannot be made"):
        synthesise(
            **(
                {"symbols": ["AUSDT"], "n_bars": 10, "start": datetime(2024, 1, 1, tzinfo=UTC)}
                | bad
            )
        )


def test_real_market_is_not_written_as_synthetic(tmp_path):
    from tests.markets import random_market

    with pytest.raises(DataError, match="not synthetic"):
        write_market(random_market(1), Lake(tmp_path))


def test_planted_trend_is_what_was_asked_for():
    """The drift that is added has the size and the memory that the model states."""
    model = Model(trend=0.1, trend_hours=100)
    common = {"n_bars": 200_000, "seed": 5}
    plain = synthesise(["BTCUSDT"], **common)
    planted = synthesise(["BTCUSDT"], model=model, **common)

    added = np.log(planted.close / plain.close)["BTCUSDT"].diff().dropna()
    noise = np.log(plain.close)["BTCUSDT"].diff().dropna()
    assert added.std() / noise.std() == pytest.approx(0.1, rel=0.15)
    assert added.autocorr(100) == pytest.approx(np.exp(-1), abs=0.06)
