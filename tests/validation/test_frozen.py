"""Protects replays: a window traded by a fresh account is what the kernel makes of those bars."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.markets import random_market, scripted
from workbench.backtest.run import run
from workbench.core.costs import FREE, Costs
from workbench.core.errors import DataError
from workbench.core.records import Account
from workbench.strategies.breakout import DonchianBreakout
from workbench.strategies.hold import BuyAndHold
from workbench.strategies.momentum import TimeSeriesMomentum
from workbench.strategies.pairs import CointegratedPair
from workbench.validation.frozen import IDLE, begin, delay, freeze, replay, side_by_side

PAIR = CointegratedPair(
    first="AAAUSDT", second="BBBUSDT", entry_z=1.0, exit_z=0.2, hedge_ratio=1.0, intercept=0.0,
    residual_std=0.05, p_value=0.01, max_bars=20,
)  # fmt: skip
STRATEGIES = [
    TimeSeriesMomentum(horizon=20, volatility_bars=3, rebalance_every=7),
    DonchianBreakout(entry=20, exit_=10, hold=30, atr_bars=5),
    PAIR,
]


def ids(strategy):
    return type(strategy).__name__


@pytest.mark.parametrize("strategy", STRATEGIES, ids=ids)
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 1_000))
def test_replay_of_the_whole_market_equals_the_run(strategy, seed):
    market, costs = random_market(seed), Costs(impact=0.3, latency_s=60)

    done, plain = replay(strategy, market, costs=costs), run(strategy, market, costs=costs)

    pd.testing.assert_series_equal(done.equity, plain.equity)
    pd.testing.assert_frame_equal(done.result.fills, plain.fills)
    assert done.measures["sharpe"] == plain.measures()["sharpe"]
    assert done.measures["max_drawdown"] == plain.measures()["max_drawdown"]


@pytest.mark.parametrize("strategy", STRATEGIES, ids=ids)
def test_replay_of_a_window_knows_nothing_after_it_and_holds_nothing_before(strategy):
    market, other = random_market(3), random_market(4)
    start, end = market.index[120], market.index[200]
    joined = {
        name: pd.concat([getattr(market, name).iloc[:201], getattr(other, name).iloc[201:]])
        for name in ("open", "high", "low", "close", "mark_low", "mark_high", "mark_close")
    }
    changed = type(market).from_frames(joined, interval="60", instruments=market.instruments)

    one = replay(strategy, market, start=start, end=end, costs=FREE)
    two = replay(strategy, changed, start=start, end=end, costs=FREE)

    assert one.equity.index[0] == start
    assert one.equity.index[-1] == end
    assert one.equity.iloc[0] == 10_000
    assert one.measures["n_fills"] > 0
    assert (one.result.fills["known_at"] > start).all()
    pd.testing.assert_series_equal(one.equity, two.equity)


def test_replay_begins_with_the_position_that_was_wanted_last():
    """The last change of the weight lies far before the window."""
    market = random_market(1, n_symbols=1)
    plan = scripted([0.0, 0.5, *[None] * 298])

    done = replay(plan, market, start=market.index[150], costs=FREE)

    first = done.result.fills.iloc[0]
    assert first["known_at"] == market.index[151]
    assert first["qty"] == pytest.approx(5_000 / market.close.iloc[150, 0], abs=1e-3)
    assert len(done.result.fills) == 1


def test_replay_pays_market_impact_from_its_first_order_on():
    market = random_market(1, n_symbols=1)
    costs = Costs(spread_bps=0, slippage_bps=0, impact=1.0)

    alone = replay(BuyAndHold(), market, start=market.index[150], costs=costs)
    moved = run(scripted([*[0.0] * 150, 1.0]), market, costs=costs)

    assert alone.measures["n_fills"] == 1
    assert alone.result.fills["price"].iloc[0] == pytest.approx(moved.fills["price"].iloc[0])
    assert alone.result.totals["slippage_usdt"] > 0


def test_begin_of_a_bracketed_plan_keeps_its_distances():
    market = random_market(2, n_symbols=1, volatility=0.03)
    plan = scripted([0.5], stop_loss=0.02)

    done = replay(plan, market, start=market.index[100])

    assert "stop" in set(done.result.fills["reason"])


@pytest.mark.parametrize("bars", [0, 1, 5])
def test_delay_moves_every_decision(bars):
    market = random_market(5, n_symbols=1)
    weights = np.random.default_rng(0).uniform(-1, 1, 250).round(2).tolist()
    late = run(scripted([*[None] * bars, *weights]), market)

    done = replay(delay(freeze(scripted(weights), market), bars), market)

    pd.testing.assert_series_equal(done.equity, late.equity)


def test_delay_moves_brackets_with_their_decision():
    market = random_market(5)
    frozen = freeze(STRATEGIES[1], market)

    late = delay(frozen, 2).brackets(market)

    pd.testing.assert_frame_equal(late.stop_loss, frozen.brackets(market).stop_loss.shift(2))
    pd.testing.assert_frame_equal(late.trailing, frozen.brackets(market).trailing.shift(2))


def test_delay_of_a_stepped_strategy_shows_it_an_older_market():
    market = random_market(6)
    frozen = freeze(PAIR, market)

    late = delay(frozen, 3)

    pd.testing.assert_frame_equal(late.features(market)["z"], frozen.features(market)["z"].shift(3))
    assert replay(late, market).measures["n_fills"] > 0


def test_begin_sits_out_the_rows_before():
    market = random_market(6)
    idle = begin(freeze(PAIR, market), market.index[40]).features(market)[IDLE][IDLE]

    assert idle.sum() == 40
    assert idle.iloc[:40].all()


def test_liquidated_account_stays_at_nothing():
    market = random_market(1, n_symbols=1, volatility=0.05)
    done = replay(BuyAndHold(), market, account=Account(leverage=10, margin_leverage=10))

    assert done.measures["n_liquidations"] == 1
    assert done.measures["total_return"] == -1.0
    assert done.measures["max_drawdown"] == 1.0


@pytest.mark.parametrize(("start", "end"), [("2023-01-01", None), ("2024-01-05", "2024-01-05")])
def test_replay_of_a_window_without_bars_is_refused(start, end):
    span = {"start": pd.Timestamp(start, tz="UTC")}
    span |= {} if end is None else {"end": pd.Timestamp(end, tz="UTC")}
    with pytest.raises(DataError, match="inside the market"):
        replay(BuyAndHold(), random_market(1), **span)


def test_side_by_side_keeps_the_order_and_passes_errors_on():
    assert side_by_side(lambda n: n * n, range(20), workers=4) == [n * n for n in range(20)]
    with pytest.raises(ZeroDivisionError):
        side_by_side(lambda n: 1 // n, [1, 0])
