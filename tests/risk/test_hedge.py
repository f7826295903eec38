"""Protects hedges: least variance, nothing known too early, and no hedge that costs more than it
saves."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.risk.simulated import frame, garch_returns
from tests.validation.history import read_market
from workbench.core.errors import DataError
from workbench.risk.dependence import ewma_covariance
from workbench.risk.hedge import (
    expected_funding,
    hedge_effectiveness,
    hedge_ratio,
    hedged_returns,
    keep_within,
    minimum_variance,
    propose_hedge,
    rolling_ratio,
    weighted_ratio,
)

MOVES = frame(garch_returns(1, 600, n_symbols=3))
COIN = MOVES["AUSDT"]
BOOK = 1.4 * COIN + 0.5 * MOVES["BUSDT"]
NAMES = ["A", "B", "C", "D"]
FREE = dict.fromkeys(NAMES, 0.0)


def covariance(seed, n=4):
    rng = np.random.default_rng(seed)
    loadings = rng.standard_normal((n, 2))
    sigma = loadings @ loadings.T + np.diag(rng.uniform(0.1, 1.0, n))
    return pd.DataFrame(0.3 * sigma, NAMES[:n], NAMES[:n])


def test_hedge_ratio_leaves_nothing_of_the_instrument_in_the_book():
    """RK-21: least squares, and no other ratio leaves less variance."""
    ratio = hedge_ratio(BOOK, COIN)
    left = hedged_returns(BOOK, COIN, ratio)
    assert ratio == pytest.approx(np.polyfit(COIN, BOOK, 1)[0])
    assert np.corrcoef(left, COIN)[0, 1] == pytest.approx(0.0, abs=1e-12)
    effect = hedge_effectiveness(BOOK, left)
    assert effect == pytest.approx(np.corrcoef(BOOK, COIN)[0, 1] ** 2)
    for other in (0.9 * ratio, 1.1 * ratio, 0.0):
        assert hedge_effectiveness(BOOK, hedged_returns(BOOK, COIN, other)) < effect
    assert hedge_effectiveness(BOOK, hedged_returns(BOOK, COIN, -ratio)) < 0


@pytest.mark.parametrize(
    "path", [lambda b, c: rolling_ratio(b, c, window=60), lambda b, c: weighted_ratio(b, c)]
)
def test_ratios_know_the_bars_up_to_their_own_and_no_others(path):
    """RK-21: the future cannot change them, and they follow a book that changes."""
    turned = BOOK.where(np.arange(600) < 300, 0.3 * COIN)
    ratios, cut = path(turned, COIN), path(turned.iloc[:350], COIN.iloc[:350])
    pd.testing.assert_series_equal(ratios.iloc[:350], cut)
    assert ratios.iloc[:29].isna().all()
    assert ratios.iloc[200:300].mean() == pytest.approx(1.4, abs=0.15)
    assert ratios.iloc[400:].mean() == pytest.approx(0.3, abs=0.05)


@pytest.mark.parametrize("is_book", [True, False])
def test_ratios_use_the_bars_that_both_have(is_book):
    """A variance that went on without its covariance would pull the ratio towards zero."""
    there = np.arange(600) % 3 > 0
    book, coin = (BOOK.where(there), COIN) if is_book else (BOOK, COIN.where(there))
    weighted = weighted_ratio(book, coin).loc[there]
    pd.testing.assert_series_equal(weighted, weighted_ratio(BOOK.loc[there], COIN.loc[there]))
    assert hedge_ratio(book, coin) == pytest.approx(hedge_ratio(BOOK.loc[there], COIN.loc[there]))


def test_a_ratio_earns_in_the_bar_after_it():
    """RK-21: no look-ahead."""
    book = pd.Series([0.01, 0.02, 0.03])
    coin, ratios = pd.Series([0.1, 0.2, 0.3]), pd.Series([1.0, 2.0, 3.0])
    hedged = hedged_returns(book, coin, ratios)
    assert np.isnan(hedged.iloc[0])
    assert hedged.iloc[1:].tolist() == pytest.approx([0.02 - 1.0 * 0.2, 0.03 - 2.0 * 0.3])


@given(
    wanted=st.lists(st.floats(-3, 3) | st.just(float("nan")), min_size=1, max_size=40),
    band=st.floats(0, 1),
)
def test_a_held_ratio_moves_only_where_the_wanted_one_leaves_its_band(wanted, band):
    """RK-21: hysteresis."""
    held = keep_within(pd.Series(wanted), band=band)
    for before, now, asked in zip([float("nan"), *held], held, wanted, strict=False):
        if np.isnan(asked):
            assert now == before or (np.isnan(now) and np.isnan(before))
        else:
            assert abs(now - asked) <= band
            assert now in (before, asked)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 500), n=st.integers(1, 3))
def test_minimum_variance_has_no_better_neighbour(seed, n):
    """RK-21: for one instrument or several, also such as are in the book already."""
    sigma, rng = covariance(seed), np.random.default_rng(seed)
    book = pd.Series(rng.normal(0, 1_000, 2), ["C", "D"])
    best = minimum_variance(sigma, book, NAMES[:n])

    def variance(hedge):
        total = book.add(hedge, fill_value=0.0).reindex(NAMES, fill_value=0.0)
        return float(total @ sigma @ total)

    for name in best.index:
        for change in (-1.0, 1.0):
            assert variance(best + change * (best.index == name)) > variance(best)


def test_minimum_variance_of_one_position_is_its_beta():
    sigma = pd.DataFrame(MOVES.cov())
    value = minimum_variance(sigma, pd.Series({"BUSDT": 1_000.0}), ["AUSDT"])["AUSDT"]
    assert value == pytest.approx(-1_000 * hedge_ratio(MOVES["BUSDT"], COIN))


def test_proposal_takes_the_hedge_that_is_worth_most_after_funding():
    """RK-21: funding of one instrument turns the choice to another, of both to none."""
    sigma = pd.DataFrame(
        [[0.36, 0.34, 0.40], [0.34, 0.36, 0.38], [0.40, 0.38, 0.64]], NAMES[:3], NAMES[:3]
    )
    book = pd.Series({"C": 50_000.0})

    def propose(**funding):
        return propose_hedge(sigma, book, ["A", "B"], funding=FREE | funding, equity_usdt=100_000.0)

    free, costly, dear = propose(), propose(A=-0.3), propose(A=-3.0, B=-3.0)
    assert free.symbol == "A"
    assert free.ratio == pytest.approx(0.40 / 0.36)
    assert free.targets == pytest.approx({"A": -50_000 * 0.40 / 0.36, "B": 0.0})
    assert free.effectiveness == pytest.approx(0.40**2 / 0.36 / 0.64)
    assert free.worth_usdt == pytest.approx(0.40**2 / 0.36 * 50_000**2 / 100_000)
    assert "A to -55,556 USDT" in free.why
    assert costly.symbol == "B"
    assert costly.targets["A"] == 0.0 > costly.targets["B"]
    assert dear.targets == {"A": 0.0, "B": 0.0}
    assert "not worth holding" in dear.why
    assert dear.funding_usdt > 0 > dear.worth_usdt
    assert propose(A=0.2).funding_usdt < 0
    assert "earns" in propose(A=0.2).why


def test_proposal_reduces_variance_by_its_effectiveness():
    sigma, book = covariance(3), pd.Series({"B": 3_000.0, "C": -8_000.0, "D": 0.0})
    found = propose_hedge(sigma, book, ["A"], funding=FREE, equity_usdt=1e4)
    total = book.reindex(NAMES, fill_value=0.0) + pd.Series(found.targets).reindex(NAMES).fillna(0)
    bare = book.reindex(NAMES, fill_value=0.0)
    assert float(total @ sigma @ total) == pytest.approx(
        (1 - found.effectiveness) * float(bare @ sigma @ bare)
    )
    weights = found.weights(10_000.0)
    assert weights["A"] * 10_000 == pytest.approx(found.targets["A"])
    with pytest.raises(DataError, match="Allot more"):
        found.weights(1.0)


def test_proposal_leaves_what_is_nearly_right():
    """RK-21: within the band it stays, beyond it moves to what is wanted."""
    sigma, book = covariance(1), pd.Series({"D": 10_000.0})
    options = {"funding": FREE, "equity_usdt": 1e4, "band": 0.1}
    wanted = propose_hedge(sigma, book, ["A"], **options).targets["A"]
    near, far = 1.09 * wanted, 1.11 * wanted
    assert propose_hedge(sigma, book, ["A"], held={"A": near}, **options).targets["A"] == near
    assert propose_hedge(sigma, book, ["A"], held={"A": far}, **options).targets["A"] == wanted
    twin = sigma.rename(index={"B": "X"}, columns={"B": "X"})
    twin.loc["X"], twin["X"] = twin.loc["A"] * 1.02, twin["A"] * 1.02
    twin.loc["X", "X"] = twin.loc["A", "A"]
    funding = {"A": 0.0, "X": 0.0}
    options = options | {"funding": funding}
    assert propose_hedge(twin, book, ["A", "X"], **options).symbol == "X"
    assert propose_hedge(twin, book, ["A", "X"], held={"A": wanted}, **options).symbol == "A"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"funding": {"A": 0.1}}, "funding of B is missing"),
        ({"funding": {"A": 0.1, "B": float("nan")}}, "funding of B is missing"),
        ({"exposure": pd.Series({"Z": 1.0})}, "lacks Z"),
        ({"exposure": pd.Series({"D": 0.0})}, "Nothing is to be hedged"),
        ({"exposure": pd.Series({"D": float("nan")})}, "lacks values"),
        ({"instruments": []}, "any instrument"),
        ({"equity_usdt": 0.0}, "out of range"),
    ],
)
def test_proposal_on_missing_ground_is_refused(changed, said):
    options = {
        "exposure": pd.Series({"D": 1.0}), "instruments": ["A", "B"], "funding": FREE,
        "equity_usdt": 1e4,
    }  # fmt: skip
    with pytest.raises(DataError, match=said):
        propose_hedge(covariance(1), **(options | changed))


def test_real_coins_hedged_with_bitcoin_lose_half_of_their_variance(shared_data):
    """RK-21: each day by a ratio of the days before it, 2021 to 2025; funding as it was settled."""
    market = read_market(
        shared_data / "bybit_linear_major_long" / "ohlcv_1h.parquet",
        funding=shared_data / "bybit_linear_2024" / "funding.parquet",
    ).resample("D")
    returns = market.close.pct_change(fill_method=None).loc["2021":]
    book, coin = returns[["ETHUSDT", "SOLUSDT", "XRPUSDT"]].mean(axis=1), returns["BTCUSDT"]
    known = keep_within(weighted_ratio(book, coin), band=0.1)
    assert 0.45 < hedge_effectiveness(book, hedged_returns(book, coin, known)) < 0.7
    assert (known.diff().dropna() != 0).mean() < 0.5

    then = market.until("2022-11-30")
    past = then.close.pct_change(fill_method=None)
    sigma = pd.DataFrame(ewma_covariance(past)[-1] * 365, past.columns, past.columns)
    found = propose_hedge(
        sigma, pd.Series({"SOLUSDT": 10_000.0, "XRPUSDT": 5_000.0}), ["BTCUSDT", "ETHUSDT"],
        funding=expected_funding(then.funding_settled).to_dict(), equity_usdt=20_000.0,
    )  # fmt: skip
    assert min(found.targets.values()) < 0
    assert 0.2 < found.effectiveness < 1.0


def test_expected_funding_spreads_the_last_days_over_a_year():
    index = pd.date_range("2024-01-01 08:00", periods=180, freq="8h", tz="UTC")
    settled = pd.DataFrame({"A": 1e-4, "B": np.nan}, index)
    settled.iloc[:80, 0] = 0.5
    rates = expected_funding(settled, days=30)
    assert rates["A"] == pytest.approx(3 * 365 * 1e-4)
    assert np.isnan(rates["B"])
