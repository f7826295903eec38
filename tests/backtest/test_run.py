"""Protects what a backtest promises: no look-ahead, books that add up, one answer every time."""

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.markets import make_instrument, make_market, random_market, scripted
from workbench.backtest import LAYERS, run
from workbench.core.costs import FREE, Costs
from workbench.core.errors import DataError, ModelError
from workbench.core.records import Account
from workbench.strategies.base import Intent, SteppedStrategy

HARD = Costs(spread_bps=3, slippage_bps=3, impact=0.5, latency_s=60)


def random_plan(seed, n_bars=300, n_symbols=2):
    rng = np.random.default_rng(seed)
    weights = rng.uniform(-0.5, 0.5, (n_bars, n_symbols))
    weights[rng.random(weights.shape) < 0.8] = np.nan
    weights[rng.random(weights.shape) < 0.03] = 0.0
    return scripted(
        weights.tolist(), stop_loss=0.03, take_profit=0.05, trailing=0.04, rebalance_band=0.1
    )


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    leverage=st.sampled_from([0.5, 1.0, 8.0]),
    is_isolated=st.booleans(),
    volatility=st.sampled_from([0.005, 0.03]),
)
def test_books_any_path_equal_the_sum_of_fills(seed, leverage, is_isolated, volatility):
    """BT-04, PM-01: equity is capital plus what fills and funding brought; trades add up to it."""
    market = random_market(seed, volatility=volatility)
    account = Account(10_000, leverage=leverage, margin_leverage=20, is_isolated=is_isolated)
    result = run(random_plan(seed), market, costs=HARD, account=account)
    fills = result.fills
    signed = fills["qty"] * fills["side"]
    spent = float((signed * fills["price"] + fills["fee_usdt"]).sum())
    value = float((result.positions.iloc[-1] * market.mark_close.iloc[-1]).sum())
    expected = account.capital_usdt - spent - float(result.funding.to_numpy().sum()) + value
    assert result.equity.iloc[-1] == pytest.approx(expected, abs=1e-6)
    assert result.trades["pnl_usdt"].sum() == pytest.approx(
        result.equity.iloc[-1] - account.capital_usdt, abs=1e-6
    )
    held = signed.groupby(fills["symbol"], observed=False).sum()
    assert np.allclose(held, result.positions.iloc[-1], atol=1e-9)
    assert result.trades["fees_usdt"].sum() == pytest.approx(result.totals["fees_usdt"])
    assert result.trades["funding_usdt"].sum() == pytest.approx(result.totals["funding_usdt"])


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), cut=st.integers(20, 280))
def test_run_of_a_prefix_equals_the_prefix_of_the_run(seed, cut):
    """BT-01: nothing that happens later changes anything earlier."""
    market = random_market(seed)
    plan = random_plan(seed)
    whole = run(plan, market, costs=HARD)
    part = run(plan, market.until(market.index[cut]), costs=HARD)
    pd.testing.assert_series_equal(part.equity, whole.equity.iloc[: cut + 1], check_freq=False)
    inside = whole.fills[whole.fills["known_at"] <= market.index[cut]]
    pd.testing.assert_frame_equal(part.fills, inside)


def test_run_twice_gives_the_same_bytes():
    """BT-12: the same arguments give the same result, bit for bit."""
    first, second = (run(random_plan(3), random_market(3), costs=HARD) for _ in range(2))
    assert first.equity.to_numpy().tobytes() == second.equity.to_numpy().tobytes()
    pd.testing.assert_frame_equal(first.fills, second.fills)


def test_long_and_short_under_price_inversion_are_symmetric():
    """BT-02: a short on the inverse path earns what a long does, within convexity."""
    step = np.random.default_rng(0).normal(0, 1e-4, 200).cumsum()
    long = run(scripted([0.5]), make_market(close=100 * np.exp(step)), costs=FREE)
    short = run(scripted([-0.5]), make_market(close=100 * np.exp(-step)), costs=FREE)
    assert np.allclose(long.returns, short.returns, atol=1e-6)


def test_drawdowns_say_when_each_fall_began_was_deepest_and_was_made_good():
    """100 to 90 and back, then 110 to 88 and not back: by hand, on half of the account."""
    market = make_market(close=[100.0, 100, 100, 90, 95, 100, 110, 88, 99])
    result = run(scripted([0.5]), market, costs=FREE, account=Account(1_000))
    first, second = result.drawdowns.itertuples()
    at = market.index
    assert (first.start, first.trough, first.end) == (at[3], at[3], at[5])
    assert first.depth == pytest.approx(0.05)
    assert (second.start, second.trough) == (at[7], at[7])
    assert pd.isna(second.end)
    assert second.depth == pytest.approx((1_050 - 940) / 1_050)
    assert result.drawdowns["depth"].max() == pytest.approx(result.measures()["max_drawdown"])


def test_weights_of_another_shape_are_refused():
    class Short(type(scripted([0.5]))):
        def weights(self, market):
            return super().weights(market).iloc[1:]

    with pytest.raises(ModelError, match="one row for each known_at"):
        run(Short(script=[[0.5]]), random_market(1, n_symbols=1))


def test_weight_outside_one_is_refused_with_its_place():
    with pytest.raises(ModelError, match=r"AAAUSDT at 2024-01-01 02:00.*1\.5"):
        run(scripted([0.5, 1.5]), random_market(1, n_symbols=1))


def test_latency_of_a_whole_bar_is_refused():
    with pytest.raises(DataError, match="latency"):
        run(scripted([0.5]), random_market(1, n_symbols=1), costs=Costs(latency_s=3600))


def test_waterfall_ends_at_the_result_and_each_layer_is_its_own():
    result = run(random_plan(5), random_market(5), costs=HARD, account=Account(leverage=2))
    waterfall = result.waterfall()
    assert list(waterfall.index) == list(LAYERS)
    last = result.equity.iloc[-1] / result.account.capital_usdt - 1
    assert waterfall["total_return"].iloc[-1] == pytest.approx(last)
    steps = waterfall["total_return"].diff().dropna()
    assert (steps[["fees", "spread and slippage"]] < 0).all()


FLAT = {"close": [100.0] * 6}
ONE_AT_A_TIME = {
    "next-open fills": ({"open": [100, 100, 104, 104, 100, 100], **FLAT}, FREE, None),
    "fees": (FLAT, replace(FREE, taker_fee_bps=10.0), None),
    "spread and slippage": (FLAT, replace(FREE, spread_bps=10.0), None),
    "latency": ({"close": [100, 100, 110, 110, 110, 110], "open": [100, 100, 100, 110, 110, 110]},
                replace(FREE, latency_s=900.0), None),
    "funding": ({**FLAT, "funding_settled": [np.nan] * 3 + [1e-3] + [np.nan] * 2},
                replace(FREE, has_funding=True), None),
    "rounding": ({"close": [100, 100, 100, 110, 110, 110]}, FREE, {"qty_step": Decimal(5)}),
    "liquidation": ({"close": [100, 100, 100, 100, 100, 110], "low": [100, 100, 100, 50, 100, 100]},
                    FREE, {}),
}  # fmt: skip


@pytest.mark.parametrize("layer", ONE_AT_A_TIME)
def test_waterfall_each_layer_takes_what_is_its_own_and_nothing_else(layer):
    """A market in which one thing alone costs something: only its row steps."""
    columns, costs, changes = ONE_AT_A_TIME[layer]
    instruments = None if changes is None else {"AAAUSDT": make_instrument(**changes)}
    market = make_market(instruments=instruments, **columns)
    account = Account(1_000, leverage=3, margin_leverage=20)
    result = run(scripted([None, 0.8]), market, costs=costs, account=account)
    steps = result.waterfall()["total_return"].diff().dropna()
    assert [name for name, step in steps.items() if abs(step) > 1e-12] == [layer]


def test_notes_name_what_the_market_could_not_simulate():
    result = run(scripted([0.5]), random_market(1, n_symbols=1, with_instruments=False))
    assert "no instrument data for AAAUSDT" in result.notes[0]


def test_why_tells_what_was_seen_wanted_and_got():
    market = random_market(2, n_symbols=1)
    result = run(scripted([None, 0.5]), market)
    answer = result.why(market.index[1]).loc["AAAUSDT"]
    assert answer["saw_close"] == market.close.iloc[1, 0]
    assert answer["wanted_weight"] == 0.5
    assert (answer["held_qty"], answer["got_because"]) == (0.0, "weight")
    assert answer["got_qty"] == answer["holds_qty"] == result.positions.iloc[2, 0]
    with pytest.raises(DataError, match="before the first bar"):
        result.why("2020-01-01")


class Stepper(SteppedStrategy):
    """Buys both legs at row 3 as a group, leaves after two bars; or rests a limit."""

    style: str = "market"
    limit_price: float = float("nan")
    weight: float = 0.25
    ttl_bars: int = 2
    group: str = "pair"

    @property
    def lookback(self):
        return 1

    def features(self, market):
        return {"row": pd.DataFrame({"i": np.arange(float(market.n_bars))}, index=market.index)}

    def init(self):
        return {"entered": False}

    def step(self, state, row, held):
        leg = {"style": self.style, "limit_price": self.limit_price, "ttl_bars": self.ttl_bars}
        if row["row"][0] == 3:
            intents = [
                Intent(s, w * self.weight, group=self.group, **leg)
                for s, w in zip(held, (1, -1), strict=False)
            ]
            return {"entered": True}, intents
        if any(h.bars_held >= 2 for h in held.values()):
            return state, [Intent(s, 0.0) for s in held]
        return state, []


def test_stepped_strategy_sees_its_position_and_leaves_by_time():
    market = random_market(4, volatility=1e-4)
    result = run(Stepper(), market, costs=FREE)
    assert (result.positions != 0).sum().tolist() == [2, 2]
    assert result.fills["known_at"].unique().tolist() == [market.index[4], market.index[6]]


def test_group_with_a_leg_too_small_is_not_sent_at_all():
    """The second leg's lot is a hundred coins: the first is not left alone."""
    market = random_market(4, volatility=1e-4)
    big = dict(market.instruments)
    big["BBBUSDT"] = replace(big["BBBUSDT"], qty_step=Decimal(100))
    result = run(Stepper(), replace(market, instruments=big), costs=FREE)
    assert result.fills.empty
    alone = run(Stepper(group=""), replace(market, instruments=big), costs=FREE)
    assert alone.fills["symbol"].unique().tolist() == ["AAAUSDT"]


def limit_market(lows):
    n = len(lows)
    return make_market(
        open=[100.0] * n, high=[100.0] * n, low=lows, close=[100.0] * n, symbols=("AAAUSDT",)
    )


def test_limit_fills_as_maker_only_when_traded_through():
    costs = Costs(maker_fee_bps=2, taker_fee_bps=5.5, has_funding=False)
    plan = Stepper(style="limit", limit_price=99.0, ttl_bars=2, group="")
    touched = run(plan, limit_market([100, 100, 100, 100, 99, 99, 98, 100]), costs=costs)
    assert touched.fills.empty
    through = run(plan, limit_market([100, 100, 100, 100, 99, 98.9, 98, 100]), costs=costs)
    fill = through.fills.iloc[0]
    assert (fill.price, fill.reason) == (99.0, "limit")
    assert fill.fee_usdt == pytest.approx(fill.qty * 99.0 * 2e-4)


def test_limit_that_is_marketable_pays_as_taker_and_post_only_is_dropped():
    costs = Costs(maker_fee_bps=2, taker_fee_bps=5.5, spread_bps=0, slippage_bps=0)
    lows = [100.0] * 8
    taken = run(
        Stepper(style="limit", limit_price=101.0, group=""), limit_market(lows), costs=costs
    )
    assert taken.fills["fee_usdt"].iloc[0] == pytest.approx(
        taken.fills["qty"].iloc[0] * 100 * 5.5e-4
    )
    dropped = run(
        Stepper(style="post_only", limit_price=101.0, group=""), limit_market(lows), costs=costs
    )
    assert dropped.fills.empty
