"""Protects comparisons: baselines know nothing ahead, and random entry has the same exposure."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.markets import make_market, random_market, scripted
from workbench.core.costs import FREE, Costs
from workbench.core.errors import DataError
from workbench.core.measures import sharpe
from workbench.strategies.crossover import MovingAverageCross
from workbench.strategies.hold import BuyAndHold
from workbench.strategies.pairs import CointegratedPair
from workbench.validation.baselines import (
    compare_baselines,
    held_weights,
    linear_model,
    momentum_sign,
)
from workbench.validation.frozen import GivenWeights, replay


def daily(seed, n_bars=400, n_symbols=2, volatility=0.02):
    return random_market(
        seed, n_bars=n_bars, n_symbols=n_symbols, interval="D", volatility=volatility
    )


@pytest.mark.parametrize("rule", [momentum_sign, linear_model])
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1_000), cut=st.integers(120, 398))
def test_baseline_on_a_prefix_is_the_prefix_of_the_baseline(rule, seed, cut):
    market = daily(seed)

    part = rule(market.until(market.index[cut]))

    pd.testing.assert_frame_equal(part, rule(market).iloc[: cut + 1], check_freq=False)


@pytest.mark.parametrize("row", [118, 146])
def test_linear_model_does_not_learn_from_the_day_that_it_forecasts(row):
    """At a row that fits anew, a next day that outweighs all others changes nothing."""
    market = daily(1)
    signs = []
    for size in (-5.0, 0.0, 5.0):
        close = market.close.copy()
        close.iloc[row + 1 :] *= np.exp(size)
        signs.append(linear_model(replace(market, close=close)).iloc[row])

    assert signs[0].notna().all()
    assert signs[0].equals(signs[1])
    assert signs[2].equals(signs[1])


def test_momentum_sign_is_the_sign_of_28_days_decided_at_midnight():
    market = random_market(1, n_bars=40 * 24)
    frame = momentum_sign(market)

    decided = frame.dropna(how="all")
    assert (decided.index.hour == 0).all()
    assert decided.index[0] == market.index[0].floor("D") + pd.Timedelta(days=29)
    past = market.close / market.close.shift(28 * 24) - 1
    pd.testing.assert_frame_equal(decided, np.sign(past.loc[decided.index]) / 2)


def test_linear_model_finds_a_line_and_earns_by_it():
    """Tomorrow is half of today: one slope that least squares must find."""
    rng = np.random.default_rng(0)
    moves = np.zeros((900, 2))
    for t in range(1, 900):
        moves[t] = 0.5 * moves[t - 1] + rng.normal(0, 0.01, 2)
    close = 100 * np.exp(moves.cumsum(axis=0))
    market = make_market(
        close=close, open=np.vstack([[100.0, 100.0], close[:-1]]), interval="D",
        symbols=("AAAUSDT", "BBBUSDT"),
    )  # fmt: skip

    frame = linear_model(market)

    assert frame.iloc[:118].isna().all(axis=None)
    right = np.sign(moves[119:-1]) == np.sign(frame.to_numpy()[119:-1])
    assert right.mean() > 0.85
    done = replay(GivenWeights(frame=frame), market, costs=FREE)
    assert done.measures["sharpe"] > 3


def test_held_weights_at_their_own_times_are_the_backtest():
    """With no brackets a run of what was held is the run itself."""
    market = daily(1)
    own = replay(MovingAverageCross(fast=3, slow=10), market, start=market.index[50])

    again = replay(
        GivenWeights(frame=held_weights(own), rebalance_band=0.05), market, start=market.index[50]
    )

    pd.testing.assert_series_equal(again.equity, own.equity, rtol=1e-4)


@pytest.mark.parametrize("stop", [0.01, 0.03])
def test_held_weights_do_not_know_a_stop_before_it_happens(stop):
    """Leaving at the open of the bar of a stop, or never entering, would keep what it lost."""
    market = daily(2, volatility=0.03)
    sides = [[0.4, 0.4], [None, None], [0.0, 0.0], [-0.4, -0.4], [None, None], [0.0, 0.0]]
    plan = scripted(sides * 66, stop_loss=stop)
    own = replay(plan, market, costs=FREE)
    stops = own.result.fills.query("reason == 'stop'")
    entered = own.result.fills.query("reason == 'weight'").set_index(["known_at", "symbol"])
    same_bar = [(s.known_at, s.symbol) in entered.index for s in stops.itertuples()]
    assert 10 < sum(same_bar) < len(stops) - 10

    held = held_weights(own)

    for fill in stops.itertuples():
        row = market.index.get_loc(fill.known_at)
        weights = held[fill.symbol].iloc[row - 1 : row + 1].tolist()
        assert weights[0] == pytest.approx(-0.4 * fill.side, abs=0.01)
        assert weights[1] != weights[0]


def test_foresight_beats_random_entry_and_every_baseline():
    """VA-13."""
    market = daily(3)
    ahead = np.sign(market.open.shift(-2) / market.open.shift(-1) - 1).fillna(0.0) / 2

    found = compare_baselines(GivenWeights(frame=ahead), market, draws=99, costs=FREE)

    assert found.random.p_value == 0.01
    assert found.table["is_beaten"].tolist() == [False, True, True, True, True]
    assert found.start == market.index[119]
    assert list(found.table.index) == [
        "strategy", "buy and hold", "momentum sign", "linear model", "random entry",
    ]  # fmt: skip


def test_random_strategies_beat_random_entry_as_often_as_they_should():
    """P-values of strategies that know nothing are spread over the unit interval."""
    rng = np.random.default_rng(0)
    values = []
    for seed in range(40):
        market = daily(seed, n_bars=260, n_symbols=1)
        sides = np.repeat(rng.choice([-1.0, 1.0], 52), 5).tolist()
        found = compare_baselines(scripted(sides), market, draws=39, seed=seed, costs=FREE)
        values.append(found.random.p_value)

    assert 0.35 < np.mean(values) < 0.65
    assert np.mean(np.array(values) <= 0.1) < 0.25


def test_random_entry_keeps_the_exposure_and_about_the_trades():
    market = daily(4)
    own = replay(MovingAverageCross(fast=3, slow=10), market, start=market.index[120])
    from workbench.validation.permute import permute_signal

    held = held_weights(own)
    other = permute_signal(held, seed=1, block=len(held) // 20)

    np.testing.assert_allclose(np.sort(held["AAAUSDT"]), np.sort(other["AAAUSDT"]))
    turns = [(frame.diff().abs() > 0.1).to_numpy().sum() for frame in (held, other)]
    assert abs(turns[1] - turns[0]) <= 2 * 21


def test_comparison_of_a_stepped_strategy_is_seeded_and_the_same_in_threads():
    market = daily(6, volatility=0.03)
    pair = CointegratedPair(
        first="AAAUSDT", second="BBBUSDT", entry_z=1.0, exit_z=0.2, hedge_ratio=1.0, intercept=0.0,
        residual_std=0.1, p_value=0.01, max_bars=20, stop_z=20.0,
    )  # fmt: skip
    one, two, other = (
        compare_baselines(pair, market, draws=10, seed=seed, workers=workers)
        for seed, workers in ((1, 1), (1, 3), (2, 1))
    )

    pd.testing.assert_frame_equal(one.table, two.table)
    np.testing.assert_array_equal(one.random.null, two.random.null)
    assert (one.random.null != other.random.null).any()


def test_rows_are_runs_from_one_start_with_the_same_costs():
    market, costs = daily(5), Costs(taker_fee_bps=20)
    found = compare_baselines(MovingAverageCross(fast=3, slow=10), market, draws=5, costs=costs)

    hold = replay(BuyAndHold(), market, start=found.start, costs=costs)
    assert found.table.loc["buy and hold", "sharpe"] == hold.measures["sharpe"]
    assert found.table.loc["random entry", "sharpe"] == np.median(found.random.null)
    assert hold.measures["sharpe"] == sharpe(
        hold.result.returns.loc[found.start :].to_numpy(), 365.0
    )


def test_comparison_without_history_or_positions_is_refused():
    with pytest.raises(DataError, match="nothing to compare"):
        compare_baselines(BuyAndHold(), daily(1, n_bars=130))
    with pytest.raises(DataError, match="held nothing"):
        compare_baselines(scripted([[0.0, 0.0]]), daily(1), draws=2)


def test_missing_bars_are_no_reason_to_trade():
    market = daily(1)
    close = market.close.copy()
    close.iloc[250:260, 0] = np.nan
    holed = replace(market, close=close)

    for rule in (momentum_sign, linear_model):
        assert rule(holed).iloc[250:260, 0].isna().all()
