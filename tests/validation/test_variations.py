"""Protects variations: each is the backtest that it says, and only the variation differs."""

import numpy as np
import pandas as pd
import pytest

from tests.markets import make_market, random_market, scripted
from workbench.backtest.run import run
from workbench.core.errors import DataError
from workbench.strategies.hold import BuyAndHold
from workbench.strategies.momentum import TimeSeriesMomentum
from workbench.strategies.pairs import CointegratedPair
from workbench.validation.frozen import replay
from workbench.validation.variations import SCORES, clock_offsets, price_noise, start_dates

DAILY = TimeSeriesMomentum(horizon=20, volatility_bars=3, rebalance_every=24)
PAIR = CointegratedPair(
    first="AAAUSDT", second="BBBUSDT", entry_z=1.0, exit_z=0.2, hedge_ratio=1.0, intercept=0.0,
    residual_std=0.05, p_value=0.01, max_bars=20,
)  # fmt: skip


def scores(result):
    return {name: result.measures()[name] for name in ("sharpe", "total_return", "max_drawdown")}


@pytest.mark.parametrize("strategy", [DAILY, PAIR], ids=lambda s: type(s).__name__)
def test_start_dates_are_fresh_accounts_over_their_own_window(strategy):
    """VA-13."""
    market = random_market(1, n_bars=600)

    found = start_dates(strategy, market, starts=6, horizon_days=10)

    assert len(found.table) == 6
    assert found.table.index[0] == market.index[strategy.lookback - 1]
    for start, row in found.table.iterrows():
        end = start + pd.Timedelta(days=10)
        own = replay(strategy, market, start=start, end=end)
        assert len(own.equity) == 241
        assert row["sharpe"] == pytest.approx(own.measures["sharpe"])
        close = market.close
        held = (close.loc[end] / close.loc[start]).mean() - 1
        assert row["hold_return"] == pytest.approx(held)
    assert found.base["sharpe"] == run(strategy, market).measures()["sharpe"]


def test_start_dates_without_a_horizon_live_to_the_end():
    market = random_market(1, n_bars=40 * 24)
    found = start_dates(BuyAndHold(), market, starts=4, horizon_days=None)

    last = found.table.index[-1]
    assert market.index[-1] - last == pd.Timedelta(days=30)
    done = replay(BuyAndHold(), market, start=last)
    assert found.table.loc[last, "total_return"] == pytest.approx(done.measures["total_return"])


def test_start_dates_of_one_lucky_jump_show_that_the_date_decides():
    close = np.full(3_000, 100.0)
    close[1_500:] = 200.0
    found = start_dates(BuyAndHold(), make_market(close=close), starts=20, horizon_days=10)

    assert 0 < found.share_positive < 0.3
    assert found.quantiles.loc[0.5, "total_return"] <= 0 < found.quantiles.loc[1.0, "total_return"]


@pytest.mark.parametrize("options", [{"horizon_days": 365}, {"starts": 1}, {"horizon_days": 0}])
def test_start_dates_without_room_are_refused(options):
    with pytest.raises(DataError, match="no room"):
        start_dates(BuyAndHold(), random_market(1, n_bars=1_000), **{"horizon_days": 5} | options)


def test_clock_offsets_do_not_touch_what_reads_no_clock():
    market = random_market(2)
    found = clock_offsets(scripted([0.5, -0.5] * 150), market)

    assert list(found.table.index) == list(range(24))
    for name in SCORES:
        assert (found.table[name] == found.base[name]).all()


def test_clock_offset_moves_the_hour_of_the_rebalance_and_nothing_else():
    """An offset of a whole period changes nothing; any other is a strategy on that hour."""
    market = random_market(2)
    found = clock_offsets(DAILY, market, offsets=[0, 5, 24]).table

    assert found.loc[0].equals(found.loc[24])
    assert found.loc[0, "sharpe"] == run(DAILY, market).measures()["sharpe"]
    moved = market.close.set_axis(market.index + pd.Timedelta(hours=5))
    frame = DAILY.weights(type(market).from_frames({"close": moved}, interval="60"))
    by_hand = run(scripted(frame.to_numpy().tolist(), rebalance_band=0.05), market)
    assert found.loc[5, "sharpe"] == by_hand.measures()["sharpe"]
    assert found.loc[5, "sharpe"] != found.loc[0, "sharpe"]


@pytest.mark.parametrize(("interval", "n"), [("15", 24), ("240", 6), ("D", 7)])
def test_clock_offsets_by_default_go_around_a_day_or_a_week(interval, n):
    market = random_market(1, n_bars=100, interval=interval)

    assert len(clock_offsets(scripted([0.5]), market).table) == n


def test_noise_is_seen_and_not_traded():
    market = random_market(3)
    blind = price_noise(scripted([0.5, -0.5] * 150), market, draws=3)
    seeing = price_noise(DAILY, market, draws=3)

    assert (blind.table["sharpe"] == blind.base["sharpe"]).all()
    assert (seeing.table["sharpe"] != seeing.base["sharpe"]).any()
    assert seeing.table.index.names == ["level", "draw"]


def test_noise_of_level_nothing_is_the_backtest_itself():
    market = random_market(3)
    found = price_noise(DAILY, market, levels=[0.0], draws=2)

    plain = scores(run(DAILY, market))
    assert {name: found.base[name] for name in plain} == plain
    assert (found.table["sharpe"] == plain["sharpe"]).all()


def test_noise_is_seeded():
    market = random_market(3)
    one, two, other = (
        price_noise(DAILY, market, levels=[0.5], draws=3, seed=seed, workers=workers).table
        for seed, workers in ((1, 1), (1, 4), (2, 1))
    )

    pd.testing.assert_frame_equal(one, two)
    assert not one.equals(other)


def test_noise_destroys_what_rests_on_the_last_digit():
    """A sign of the last return that is right by tiny steps: noise of its size leaves half."""
    rng = np.random.default_rng(0)
    side = np.repeat(rng.choice([-1.0, 1.0], 200), 10)
    close = 100 * np.exp(np.cumsum(side * 0.002))
    market = make_market(close=close, open=np.append(100.0, close[:-1]))
    sign = TimeSeriesMomentum(horizon=1, volatility_bars=2, rebalance_every=1)

    found = price_noise(sign, market, levels=[0.01, 3.0], draws=4)

    by_level = found.table["total_return"].groupby("level").mean()
    assert by_level[0.01] == pytest.approx(found.base["total_return"], rel=0.05)
    assert by_level[3.0] < 0.5 * by_level[0.01]


@pytest.mark.parametrize("options", [{"draws": 0}, {"levels": [-0.1]}])
def test_noise_that_is_none_is_refused(options):
    with pytest.raises(DataError, match="no noise"):
        price_noise(DAILY, random_market(1), **options)
