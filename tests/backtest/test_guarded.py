"""Protects backtests with risk on: without limits they are those without risk, with limits no bar
passes one, every refusal is listed, and nothing is decided by what comes later.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.markets import make_instrument, random_market, scripted
from tests.risk.desk import NO_LIMITS
from workbench.backtest.guarded import run_guarded
from workbench.backtest.inputs import build_inputs
from workbench.backtest.run import run
from workbench.core.costs import Costs
from workbench.core.errors import ConfigError, DataError
from workbench.core.records import Account
from workbench.risk.decision import Reason
from workbench.risk.limits import load_limits
from workbench.strategies.base import Intent, SteppedStrategy

KNOWN = 3
"""Bars until there is a forecast, before which risk lets nothing enter."""
REAL = load_limits("aggressive")


class Resting(SteppedStrategy):
    """Buys a little below the market when flat, and sells at the market after five bars."""

    rebalance_band: float = float("inf")

    @property
    def lookback(self) -> int:
        """One row."""
        return 1

    def features(self, market: Any) -> dict[str, pd.DataFrame]:
        """The close."""
        return {"close": market.close.where(np.arange(len(market.close))[:, None] >= 3)}

    def init(self) -> dict[str, Any]:
        """Nothing is remembered."""
        return {}

    def step(self, state: dict[str, Any], row: Any, held: Any) -> Any:
        """Rest a buy, or leave."""
        symbol, now = next(iter(held.items()))
        price = float(row["close"][0]) * 0.997
        if np.isnan(price):
            return state, []
        if now.weight == 0:
            return state, [
                Intent(symbol, 0.6, style="limit", limit_price=price, ttl_bars=3, stop_loss=0.02)
            ]
        return state, [Intent(symbol, 0.0)] if now.bars_held >= 5 else []


def same(one, other):
    """Two results are equal to the last bit: equity, positions, funding and fills."""
    pd.testing.assert_series_equal(one.equity, other.equity, check_exact=True)
    pd.testing.assert_frame_equal(one.positions, other.positions, check_exact=True)
    pd.testing.assert_frame_equal(one.funding, other.funding, check_exact=True)
    pd.testing.assert_frame_equal(one.fills, other.fills, check_exact=True)


@settings(max_examples=40, deadline=None)
@given(
    hnp.arrays(np.float64, (60, 2), elements=st.sampled_from([np.nan, 0, 0.3, -0.5, 1, -1])),
    st.integers(0, 2**31),
    st.sampled_from([1.0, 3.0]),
    st.booleans(),
    st.sampled_from([{}, {"stop_loss": 0.02}, {"stop_loss": 0.03, "trailing": 0.02}]),
    st.sampled_from([0.02, float("inf")]),
    st.floats(0, 0.2),
)
def test_run_without_limits_is_the_run_without_risk_to_the_last_bit(
    weights, seed, leverage, is_isolated, distances, band, gaps
):
    """BT-10: one account simulation, whoever decides; gaps, brackets, liquidations and drift."""
    market = random_market(seed, n_bars=60, volatility=0.03)
    gone = np.random.default_rng(seed).random(market.close.shape) < gaps
    gone[:KNOWN] = False
    weights = np.where(np.arange(60)[:, None] < KNOWN, np.nan, weights)
    fields = ("open", "high", "low", "close", "mark_open", "mark_high", "mark_low", "mark_close")
    market = replace(market, **{name: getattr(market, name).mask(gone) for name in fields})
    strategy = scripted(weights.tolist(), rebalance_band=band, **distances)
    account = Account(leverage=leverage, margin_leverage=20.0, is_isolated=is_isolated)
    free = run(strategy, market, account=account)
    guarded = run(strategy, market, account=account, limits=NO_LIMITS)
    # The exchange's own margin binds in both, and is looked at a bar earlier here.
    assume(not {"margin", "liquidation"} & set(guarded.refusals["reason"]))
    same(free, guarded)
    assert set(guarded.refusals["reason"]) <= {str(Reason.LOTS)}


def test_run_before_there_is_a_forecast_waits_and_then_enters():
    """RK-02: what is refused for want of data is asked for again, though its weight is the same."""
    market = random_market(1, n_bars=20)
    result = run(scripted([[0.3, 0.3]] * 20), market, limits=REAL)
    refused = result.refusals
    waiting = refused[refused["reason"] == str(Reason.DATA)]
    assert set(waiting["known_at"]) == {market.index[0]}
    assert (result.positions.iloc[:2] == 0).all().all()
    assert (result.positions.iloc[3] != 0).all()


def test_run_of_a_stepped_strategy_without_limits_is_the_run_without_risk():
    market = random_market(3, n_bars=300, n_symbols=1, volatility=0.006)
    free = run(Resting(), market)
    guarded = run(Resting(), market, limits=NO_LIMITS)
    assert (free.fills["reason"] == "limit").sum() > 5
    same(free, guarded)


def test_run_of_resting_orders_with_limits_fills_no_more_than_was_granted():
    market = random_market(3, n_bars=300, n_symbols=1, volatility=0.006)
    result = run(Resting(), market, limits=REAL)
    value = (result.positions * market.close).abs().max(axis=1) / result.equity
    assert (result.fills["reason"] == "limit").sum() > 5
    assert 0.1 < value.max() <= 0.6 * 0.8 + 0.02
    assert set(result.refusals["reason"]) >= {str(Reason.REGIME)}


@settings(max_examples=15, deadline=None)
@given(
    hnp.arrays(np.float64, (80, 3), elements=st.sampled_from([np.nan, 0, 0.5, -1, 1])),
    st.integers(0, 2**31),
    st.integers(30, 79),
)
def test_run_with_limits_decides_a_prefix_as_the_whole(weights, seed, stop):
    """Nothing later moves an earlier fill, decision or reading."""
    market = random_market(seed, n_bars=80, n_symbols=3, volatility=0.02)
    strategy = scripted(weights.tolist())
    whole = run(strategy, market, limits=REAL)
    part = run(strategy, market.until(market.index[stop - 1]), limits=REAL)
    np.testing.assert_array_equal(part.equity, whole.equity.iloc[:stop])
    pd.testing.assert_frame_equal(part.risk.readings, whole.risk.readings.iloc[:stop])
    ids = [d.id for d in whole.risk.decisions if d.known_at < market.index[stop - 1]]
    assert [d.id for d in part.risk.decisions] == ids


@settings(max_examples=15, deadline=None)
@given(
    hnp.arrays(np.float64, (80, 3), elements=st.sampled_from([np.nan, 0, 0.5, -1, 1])),
    st.integers(0, 2**31),
)
def test_run_with_limits_passes_none_where_it_decides(weights, seed):
    """BT-10: what a decision holds is within gross, net and concentration at its prices."""
    market = random_market(seed, n_bars=80, n_symbols=3, volatility=0.02)
    account = Account(leverage=8.0, margin_leverage=20.0)
    result = run(scripted(weights.tolist()), market, account=account, limits=REAL)
    band = 1 + REAL.trim_band
    for decision in result.risk.decisions:
        equity = result.equity[decision.known_at]
        value = (decision.qty * decision.price).sum(axis=0) / equity
        assert np.abs(value).sum() <= REAL.max_gross * band + 1e-3
        assert abs(value.sum()) <= REAL.max_net * band + 1e-3
        assert np.abs(value).max() <= REAL.max_gross * REAL.max_symbol_share * band + 1e-3


def test_run_with_limits_lists_every_refusal_with_its_reason():
    market = random_market(1, n_bars=200)
    account = Account(leverage=9.0)
    result = run(scripted([[1.0, 0.9]] * 200), market, account=account, limits=REAL)
    listed = result.refusals
    first = result.risk.decisions[0]
    assert {"known_at", "strategy", "symbol", "verdict", "reason", "words"} <= set(listed)
    assert len(listed) == sum(len(list(d.refusals())) for d in result.risk.decisions)
    assert listed.iloc[0]["words"] == first.cuts[0].words
    assert (listed["after_usdt"].abs() <= listed["before_usdt"].abs()).all()


def test_refusals_of_a_run_without_risk_are_an_error():
    with pytest.raises(DataError, match="Risk was off"):
        _ = run(scripted([1.0]), random_market(1)).refusals


def test_run_with_limits_on_a_market_without_instruments_says_what_is_missing():
    with pytest.raises(ConfigError, match="exchange rules"):
        run(scripted([1.0]), random_market(1, with_instruments=False), limits=REAL)


def test_run_that_loses_a_quarter_closes_for_good():
    """RK-20: the drawdown breaker reaches the account in the same bar."""
    market = random_market(2, n_bars=240, n_symbols=1, volatility=0.0005)
    fall = np.concatenate([np.ones(60), np.linspace(1, 0.2, 180)])
    fields = ("open", "high", "low", "close", "mark_open", "mark_high", "mark_low", "mark_close")
    scaled = {name: getattr(market, name).mul(fall, axis=0) for name in fields}
    limits = load_limits().model_copy(
        update={"max_daily_loss": 1.0, "max_strategy_drawdown": 1.0, "max_volatility_ratio": 99.0}
    )
    strategy = scripted([[0.4 if i % 2 else 0.41] for i in range(240)], stop_loss=0.9)
    account = Account(leverage=5.0)
    loose = limits.model_copy(
        update=dict.fromkeys(("risk_per_trade", "max_heat", "max_value_at_risk"), 9.0)
        | {"risk_per_trade_large": 9.0, "max_symbol_share": 1.0, "max_sector_share": 1.0}
    )
    result = run(strategy, replace(market, **scaled), account=account, limits=loose)
    drawdown = result.risk.readings["drawdown"]
    first = int(np.argmax(drawdown.to_numpy() >= 0.25))
    assert first > 0
    assert drawdown.max() < 0.29
    assert (result.positions.iloc[first + 1 :] == 0).all().all()
    assert "drawdown" in [change.kind for change in result.risk.changes]


def test_run_guarded_of_two_strategies_shares_the_account_and_adds_up():
    """SM-01, PM-01: profits of strategies add up to the account's, each within its own part."""
    market = random_market(5, n_bars=150, n_symbols=2)
    strategies = {"a": scripted([[0.8, -0.2]] * 150), "b": scripted([[-0.5, 0.7]] * 150)}
    account = Account()
    inputs = build_inputs(market, costs=Costs(), account=account)
    how = {"account": account, "shares": {"a": 0.75, "b": 0.25}}
    walk, log = run_guarded(strategies, market, inputs, limits=NO_LIMITS, **how)
    gained = walk.equity - account.capital_usdt
    np.testing.assert_allclose(log.pnl.sum(axis=1), gained, atol=1e-6)
    first = walk.positions[3].reshape(2, 2) * market.close.iloc[2].to_numpy()
    np.testing.assert_allclose(first[0], [6_000, -1_500], rtol=2e-2)
    np.testing.assert_allclose(first[1], [-1_250, 1_750], rtol=2e-2)


def test_run_guarded_of_one_strategy_in_two_halves_is_the_whole_but_for_lots():
    market = random_market(5, n_bars=120, n_symbols=2)
    script = [[0.5 if i % 7 < 3 else -0.25, 0.3] if i > 2 else [0, 0] for i in range(120)]
    step = make_instrument().qty_step / 10**6
    fine = {s: make_instrument(s, qty_step=step) for s in market.symbols}
    market = replace(market, instruments=fine)
    inputs = build_inputs(market, costs=Costs(), account=Account())
    two = {"a": scripted(script), "b": scripted(script)}
    both, _ = run_guarded(two, market, inputs, account=Account(), limits=NO_LIMITS)
    one = run(scripted(script), market)
    np.testing.assert_allclose(both.equity, one.equity, rtol=1e-7)


def masked(market, rows):
    """The market without some rows of its symbols, given as a boolean of its shape."""
    fields = ("open", "high", "low", "close", "mark_open", "mark_high", "mark_low", "mark_close")
    return replace(market, **{name: getattr(market, name).mask(rows) for name in fields})


def test_run_with_limits_of_two_symbols_with_disjoint_history_trades_each_in_its_time():
    """No correlation can be told: they count as moving together, and neither stops the other."""
    market = random_market(6, n_bars=200)
    half = np.arange(200)[:, None] < 100
    market = masked(market, np.hstack([~half, half]))
    result = run(scripted([[0.2, 0.2]] * 200, stop_loss=0.5), market, limits=REAL)
    held = result.positions != 0
    assert held["AAAUSDT"].iloc[5:100].all()
    assert held["BBBUSDT"].iloc[110:].all()
    assert not held["BBBUSDT"].iloc[:100].any()
    assert np.isfinite(result.equity).all()


def test_run_with_limits_of_prices_that_stand_still_neither_fails_nor_divides_by_zero():
    """A volatility of zero is no forecast of a loss, and the stop of an entry is still there."""
    market = random_market(6, n_bars=60, n_symbols=1, volatility=0.0)
    result = run(scripted([[0.2]] * 60), market, limits=REAL)
    assert np.isfinite(result.equity).all()
    assert (result.risk.readings["value_at_risk"] == 0).all()


def test_run_with_limits_of_a_single_bar_says_what_is_missing():
    market = random_market(6, n_bars=2)
    with pytest.raises(DataError, match="1 bars"):
        run(scripted([1.0]), market.until(market.index[0]), limits=REAL)


def test_run_with_limits_never_trades_on_a_symbol_that_stopped_quoting():
    """RK-02: two bars without a price and nothing enters; what is held may leave."""
    market = random_market(6, n_bars=100)
    gone = np.zeros((100, 2), dtype=bool)
    gone[40:, 0] = True
    script = [[0.0, 0.2] if i < 45 else [0.3, 0.2] for i in range(100)]
    result = run(scripted(script, stop_loss=0.5), masked(market, gone), limits=REAL)
    assert (result.positions["AAAUSDT"] == 0).all()
    refused = result.refusals.query("symbol == 'AAAUSDT'")
    assert set(refused["reason"]) >= {str(Reason.DATA)}
    assert result.positions["BBBUSDT"].iloc[50:].ne(0).all()
