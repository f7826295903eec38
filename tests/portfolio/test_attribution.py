"""Protects the layers of a profit: they add up to the cent, and each is what it says it is."""

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.markets import make_instrument, make_market, random_market, scripted
from tests.portfolio.conftest import COSTS, random_run
from workbench.backtest import run
from workbench.core.costs import FREE, Costs
from workbench.core.errors import DataError
from workbench.core.records import Account
from workbench.portfolio.attribution import LAYERS, attribute, wanted_quantities

LAYER_NAMES = list(LAYERS)


def explain(result, **changes):
    market = result.market
    inputs = {
        "close": market.close,
        "mark": market.mark_close,
        "spread_bps": result.costs.spread_bps,
        "wanted": wanted_quantities(
            result.weights, result.equity, result.fills, close=market.close,
            leverage=result.account.leverage,
        ),
    }  # fmt: skip
    return attribute(result.fills, result.funding, **(inputs | changes))


def test_layers_add_up_to_the_profit_of_a_run_on_real_prices(busy):
    """PM-02, to the cent, in every symbol, and their sum is what the equity gained."""
    table = explain(busy)
    gained = busy.equity.iloc[-1] - busy.account.capital_usdt
    assert np.allclose(table[LAYER_NAMES].sum(axis=1), table["pnl"], atol=0.005)
    assert table["pnl"].sum() == pytest.approx(gained, abs=0.005)
    assert table["fee"].sum() == pytest.approx(-busy.totals["fees_usdt"])
    assert table["funding"].sum() == pytest.approx(-busy.totals["funding_usdt"])
    assert (table["liquidation"] != 0).any()
    assert (table[["delay", "spread", "slippage", "rounding"]] != 0).all(axis=None)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), is_isolated=st.booleans(), leverage=st.sampled_from([0.5, 6.0]))
def test_layers_add_up_on_any_path(seed, is_isolated, leverage):
    market = random_market(seed, n_bars=200, n_symbols=3, volatility=0.02)
    result = random_run(market, seed, is_isolated=is_isolated, leverage=leverage)
    table = explain(result)
    assert table["pnl"].sum() == pytest.approx(result.equity.iloc[-1] - 10_000, abs=0.005)
    slipped = result.fills["slippage_usdt"][result.fills["reason"] != "liquidation"].sum()
    assert -table[["spread", "slippage"]].sum().sum() == pytest.approx(slipped)


def one_trade(costs, **changes):
    """Long at the second bar, closed at the fourth: bought for 102 after a close of 100."""
    market = make_market(
        open=[100, 102, 110, 119], high=[101, 111, 121, 121], low=[99, 100, 109, 118],
        close=[100, 110, 120, 120], **changes,
    )  # fmt: skip
    return run(scripted([0.5, None, 0.0, None]), market, costs=costs, account=Account(1_000))


def test_each_layer_of_one_trade_is_as_by_hand():
    """5 wanted of 1,000 at 100, no lots: the price moved before, and costs come on top."""
    costs = Costs(taker_fee_bps=10, spread_bps=20, slippage_bps=30)
    table = explain(one_trade(costs)).loc[("", "AAAUSDT")]
    assert table["signal"] == pytest.approx(5 * (120 - 100))
    assert table["delay"] == pytest.approx(-5 * (102 - 100) - 5 * (120 - 119))
    assert table["spread"] == pytest.approx(-5 * (102 + 119) * 0.001)
    assert table["slippage"] == pytest.approx(-5 * (102 + 119) * 0.003)
    assert table["fee"] == pytest.approx(-5 * (102 * 1.004 + 119 * 0.996) * 0.001)
    assert table["rounding"] == table["funding"] == table["liquidation"] == 0


def test_rounding_is_what_lots_left_undone():
    """Of 5 wanted, lots of 2 leave 1 undone, which would have earned 20; too small earns none."""
    for step, least, missing in (("2", "2", 1), ("0.001", "7", 5)):
        own = make_instrument(qty_step=Decimal(step), min_qty=Decimal(least))
        result = one_trade(FREE, instruments={"AAAUSDT": own})
        if missing == 5:
            assert result.fills.empty
            continue
        table = explain(result).loc[("", "AAAUSDT")]
        assert table["signal"] == pytest.approx(5 * 20)
        assert table["rounding"] == pytest.approx(-missing * 20)
        assert table["delay"] == pytest.approx(4 * (100 - 102 + 119 - 120))


def test_without_wanted_quantities_nothing_is_put_down_to_rounding(busy):
    bare, full = explain(busy, wanted=None), explain(busy)
    assert (bare["rounding"] == 0).all()
    both = full[["signal", "rounding"]].sum(axis=1)
    assert np.allclose(bare["signal"], both)


def test_wanted_quantities_differ_from_those_held_by_less_than_a_lot(majors):
    """Where nothing else than lots comes between them: no margin cuts, no exits."""
    result = random_run(majors, leverage=0.5)
    wanted = wanted_quantities(
        result.weights, result.equity, result.fills, close=majors.close, leverage=0.5
    )
    is_whole = ~result.fills["reason"].isin(["weight", "rebalance"])
    exits = result.fills[is_whole].groupby("known_at").size().index
    held = result.positions.iloc[1:].to_numpy()
    gap = pd.DataFrame(np.abs(held - wanted.iloc[:-1].to_numpy()), result.positions.index[1:]).drop(
        exits, errors="ignore"
    )
    assert float((gap < 0.00101).to_numpy().mean()) > 0.99


def test_a_limit_order_decides_its_own_quantity():
    """Nothing is put down to rounding from its fill until a weight decides again."""
    result = one_trade(FREE)
    fills = result.fills.assign(reason=["limit", "weight"])
    weights = result.weights.where(result.weights == 0.0)
    wanted = wanted_quantities(weights, result.equity, fills, close=result.market.close)
    assert wanted["AAAUSDT"].isna().tolist() == [True, True, False, False]
    assert wanted["AAAUSDT"].iloc[2] == 0.0


def test_several_strategies_are_told_apart(busy):
    """The same run as two strategies, every other symbol each, is the same profit in two names."""
    names = {"BTCUSDT": "a", "ETHUSDT": "b", "SOLUSDT": "a"}
    fills = busy.fills.assign(strategy=busy.fills["symbol"].map(names).astype(str))
    pairs = pd.MultiIndex.from_tuples([(names[s], s) for s in busy.funding])
    table = attribute(
        fills, busy.funding.set_axis(pairs, axis=1), close=busy.market.close,
        mark=busy.market.mark_close, spread_bps=COSTS.spread_bps,
    )  # fmt: skip
    assert set(table.index) == {("a", "BTCUSDT"), ("b", "ETHUSDT"), ("a", "SOLUSDT")}
    whole = explain(busy, wanted=None)
    assert table["pnl"].sum() == pytest.approx(whole["pnl"].sum())


def test_inputs_that_do_not_belong_together_are_refused(busy):
    mid = busy.fills["price"].where(busy.fills.index != 3)
    with pytest.raises(DataError, match="differ by"):
        attribute(
            busy.fills.assign(mid=mid), busy.funding, close=busy.market.close,
            mark=busy.market.mark_close, spread_bps=1.0,
        )  # fmt: skip
    with pytest.raises(DataError, match="outside the bars"):
        explain(busy, close=busy.market.close.iloc[:50], mark=busy.market.mark_close.iloc[:50])
