"""Protects the account simulation: what fills, when, at what price, and what it costs."""

import numpy as np
import pytest

from tests.markets import make_instrument, make_market, scripted
from workbench.backtest import Realism, run
from workbench.core.costs import FREE, Costs
from workbench.core.records import Account

CAPITAL = Account(capital_usdt=1_000.0)


def bars(*rows, **more):
    """A market of one symbol from (open, high, low, close) rows."""
    o, h, low, c = np.array(rows, dtype=float).T
    return make_market(open=o, high=h, low=low, close=c, **more)


def flat(*closes):
    """A market whose bars open at the close before and go straight to their close."""
    opens = [closes[0], *closes[:-1]]
    return bars(*[(o, max(o, c), min(o, c), c) for o, c in zip(opens, closes, strict=True)])


class TestOrders:
    def test_order_decided_at_close_fills_at_next_open(self):
        """BT-01: the decision on bar 0 fills at the open of bar 1, sized by bar 0's close."""
        market = bars((100, 100, 100, 100), (104, 110, 104, 110), (110, 110, 110, 110))
        result = run(scripted([0.5]), market, costs=FREE, account=CAPITAL)
        fill = result.fills.iloc[0]
        assert (fill.price, fill.qty, fill.side) == (104.0, 5.0, 1)
        assert fill.known_at == market.index[1]
        assert fill.filled_at == market.index[0]
        assert result.equity.tolist() == [1000.0, 1030.0, 1030.0]

    def test_weight_unchanged_trades_once(self):
        """DESIGN 4.2: a constant weight does not trade every bar."""
        result = run(scripted([0.5] * 6), flat(100, 110, 90, 120, 80, 100), costs=FREE)
        assert len(result.fills) == 1

    def test_weight_drifted_beyond_band_is_rebalanced(self):
        market = flat(100, 100, 150, 150)
        result = run(scripted([0.5] * 4, rebalance_band=0.05), market, costs=FREE, account=CAPITAL)
        # 5 at 150 is 750 of 1250 in equity: 60 %, so 0.8333 are sold.
        assert result.fills["reason"].tolist() == ["weight", "rebalance"]
        assert result.positions.iloc[-1, 0] == pytest.approx(0.5 * 1250 / 150)

    def test_weight_nan_keeps_and_zero_closes(self):
        result = run(scripted([0.5, None, None, 0.0]), flat(*[100] * 6), costs=FREE)
        assert result.positions.iloc[:, 0].tolist() == [0, 50, 50, 50, 0, 0]

    def test_weight_below_quantum_changes_nothing(self):
        result = run(scripted([0.5, 0.50004, 0.49996]), flat(*[100] * 5), costs=FREE)
        assert len(result.fills) == 1

    def test_flip_is_one_net_order(self):
        market = flat(*[100.0] * 4)
        result = run(scripted([0.5, -0.5]), market, costs=FREE, account=CAPITAL)
        assert result.fills["qty"].tolist() == [5.0, 10.0]
        assert len(result.trades) == 2

    def test_weight_that_stands_over_a_missing_bar_fills_in_the_next(self):
        nan = float("nan")
        market = bars((100, 100, 100, 100), (nan, nan, nan, nan), (105, 105, 105, 105))
        result = run(scripted([0.5, 0.5]), market, costs=FREE, account=CAPITAL)
        assert result.fills["known_at"].tolist() == [market.index[2]]
        assert np.isfinite(result.equity).all()


class TestCosts:
    def test_fee_and_spread_are_paid_once_each(self):
        """BT-05, BT-06: half the spread and the slippage move the price; the fee is on value."""
        costs = Costs(taker_fee_bps=10, spread_bps=4, slippage_bps=3, has_funding=False)
        result = run(scripted([0.5, 0.0]), flat(*[100.0] * 4), costs=costs, account=CAPITAL)
        buy, sell = result.fills.itertuples()
        assert buy.price == pytest.approx(100 * 1.0005)
        assert sell.price == pytest.approx(100 * 0.9995)
        assert buy.fee_usdt == pytest.approx(5 * 100.05 * 0.001)
        assert buy.slippage_usdt == pytest.approx(5 * 0.05)
        lost = 5 * 0.1 + 5 * (100.05 + 99.95) * 0.001
        assert result.equity.iloc[-1] == pytest.approx(1000 - lost)

    def test_impact_follows_the_square_root(self):
        closes = 100 * np.exp(np.tile([0.01, -0.01], 30).cumsum())
        market = make_market(close=closes, turnover=np.full(60, 1e6))
        slips = []
        for capital in (1_000.0, 4_000.0):
            costs = Costs(0, 0, 0, 0, impact=1.0, has_funding=False)
            plan = scripted([*[None] * 40, 1.0])
            result = run(plan, market, costs=costs, account=Account(capital_usdt=capital))
            slips.append(result.fills["slippage_usdt"].iloc[0] / capital)
        assert slips[1] / slips[0] == pytest.approx(2.0)

    def test_latency_moves_the_fill_along_the_bar(self):
        market = bars((100, 100, 100, 100), (100, 112, 100, 112), (112, 112, 112, 112))
        costs = Costs(0, 0, 0, 0, latency_s=900, has_funding=False)
        result = run(scripted([0.5]), market, costs=costs, account=CAPITAL)
        assert result.fills["price"].iloc[0] == pytest.approx(103.0)

    @pytest.mark.parametrize("every", [8, 4, 1])
    def test_funding_is_paid_on_the_mark_by_the_position_before_the_stamp(self, every):
        """BT-07: real stamps at any interval; charged once; the fills at the stamp come after."""
        n = 16
        funding = np.full(n, np.nan)
        funding[every - 1 :: every] = 0.001
        market = make_market(
            close=np.full(n, 100.0),
            mark_close=np.full(n, 102.0),
            mark_high=np.full(n, 102.0),
            mark_low=np.full(n, 102.0),
            funding_settled=funding,
        )
        # Held over bars 8 to 15 only: decided at the close of bar 7, where a rate settles.
        costs = Costs(0, 0, 0, 0)
        long = run(scripted([*[None] * 7, 0.5]), market, costs=costs, account=CAPITAL)
        short = run(scripted([*[None] * 7, -0.5]), market, costs=costs, account=CAPITAL)
        due = 5 * 102 * 0.001 * (8 // every)
        assert long.totals["funding_usdt"] == pytest.approx(due)
        assert short.totals["funding_usdt"] == pytest.approx(-due)
        assert long.funding.to_numpy().sum() == pytest.approx(due)
        assert long.funding.iloc[7, 0] == 0


class TestBrackets:
    def test_stop_fills_at_its_level_and_does_not_enter_again(self):
        """BT-03: after a stop the symbol stays flat though the weight stands."""
        market = bars(*[(100, 100, 100, 100)] * 2, (100, 101, 94, 99), *[(99, 99, 99, 99)] * 3)
        result = run(scripted([0.5] * 6, stop_loss=0.05), market, costs=FREE, account=CAPITAL)
        assert result.fills["reason"].tolist() == ["weight", "stop"]
        assert result.fills["price"].iloc[1] == 95.0
        assert result.positions.iloc[-1, 0] == 0

    @pytest.mark.parametrize("release", [[0.0, 0.5], [-0.5, -0.5]])
    def test_symbol_stopped_out_enters_after_zero_or_a_turn(self, release):
        market = bars(*[(100, 100, 100, 100)] * 2, (100, 101, 94, 99), *[(99, 99, 99, 99)] * 4)
        plan = scripted([0.5, 0.5, 0.5, 0.5, *release], stop_loss=0.05)
        result = run(plan, market, costs=FREE, account=CAPITAL)
        assert result.positions.iloc[-1, 0] * release[-1] > 0

    def test_stop_gapped_through_fills_at_the_open(self):
        market = bars((100,) * 4, (100,) * 4, (90, 92, 88, 91))
        result = run(scripted([0.5], stop_loss=0.05), market, costs=FREE, account=CAPITAL)
        assert result.fills["price"].iloc[1] == 90.0

    def test_both_touched_in_one_bar_counts_the_worse(self):
        market = bars((100,) * 4, (100,) * 4, (100, 111, 94, 100))
        plan = scripted([0.5], stop_loss=0.05, take_profit=0.10)
        result = run(plan, market, costs=FREE, account=CAPITAL)
        assert result.fills["reason"].tolist() == ["weight", "stop"]

    @pytest.mark.parametrize("first", ["high", "low"])
    def test_finer_bars_decide_which_was_touched_first(self, first):
        up, down = (100, 111, 100, 105), (105, 105, 94, 100)
        path = [up, down] if first == "high" else [(100, 100, 94, 97), (97, 111, 97, 100)]
        fine = bars(*[(100,) * 4] * 4, *path, interval="30")
        coarse = bars((100,) * 4, (100,) * 4, (100, 111, 94, 100), others={"30": fine})
        plan = scripted([0.5], stop_loss=0.05, take_profit=0.10)
        result = run(plan, coarse, costs=FREE, account=CAPITAL)
        assert result.fills["reason"].iloc[1] == ("take_profit" if first == "high" else "stop")

    def test_take_profit_fills_at_its_level(self):
        market = bars((100,) * 4, (100,) * 4, (100, 112, 99, 111))
        result = run(scripted([-0.5], take_profit=0.1), market, costs=FREE, account=CAPITAL)
        assert result.fills["reason"].tolist() == ["weight"]
        result = run(scripted([0.5], take_profit=0.1), market, costs=FREE, account=CAPITAL)
        assert result.fills["price"].iloc[1] == pytest.approx(110.0)

    def test_trailing_follows_the_best_price_of_the_bars_before(self):
        market = bars((100,) * 4, (100,) * 4, (100, 120, 100, 120), (120, 121, 114, 119))
        result = run(scripted([0.5], trailing=0.05), market, costs=FREE, account=CAPITAL)
        assert result.fills["reason"].tolist() == ["weight", "trailing"]
        assert result.fills["price"].iloc[1] == pytest.approx(115.0)

    def test_trailing_crossed_by_the_close_of_the_same_bar_exits(self):
        market = bars((100,) * 4, (100,) * 4, (100, 120, 99, 101), (101,) * 4)
        result = run(scripted([0.5], trailing=0.05), market, costs=FREE, account=CAPITAL)
        assert result.fills["price"].iloc[1] == pytest.approx(115.0)
        assert result.fills["known_at"].iloc[1] == market.index[2]

    def test_short_mirrors_long(self):
        """BT-02: a short on the mirrored path stops at the mirrored price."""
        market = bars((100,) * 4, (100,) * 4, (100, 106, 99, 101))
        result = run(scripted([-0.5], stop_loss=0.05), market, costs=FREE, account=CAPITAL)
        assert result.fills["price"].iloc[1] == pytest.approx(105.0)


LOTS = {"AAAUSDT": make_instrument()}


class TestRounding:
    def test_quantity_is_rounded_down_to_the_lot(self):
        result = run(
            scripted([0.5]), bars(*[(300,) * 4] * 3, instruments=LOTS), costs=FREE, account=CAPITAL
        )
        assert result.fills["qty"].iloc[0] == pytest.approx(1.666)

    def test_order_below_the_minimum_notional_is_not_sent_but_closing_is_exempt(self):
        market = bars((100,) * 4, (100,) * 4, (3,) * 4, (3,) * 4, (3,) * 4, instruments=LOTS)
        small = run(scripted([0.004]), market, costs=FREE, account=CAPITAL)
        assert small.fills.empty
        closing = run(scripted([0.006, None, 0.0]), market, costs=FREE, account=CAPITAL)
        assert closing.fills["qty"].tolist() == [0.06, 0.06]

    def test_order_above_the_market_maximum_is_cut(self):
        lots = {"AAAUSDT": make_instrument(max_market_qty=2)}
        market = bars(*[(100,) * 4] * 3, instruments=lots)
        result = run(scripted([0.5]), market, costs=FREE, account=CAPITAL)
        assert result.fills["qty"].iloc[0] == 2
        assert result.totals["n_cuts"] == 1

    def test_stop_is_rounded_to_the_tick_away_from_the_entry(self):
        market = bars((100,) * 4, (100,) * 4, (100, 100, 90, 95), instruments=LOTS)
        result = run(scripted([0.5], stop_loss=0.0333), market, costs=FREE, account=CAPITAL)
        assert result.fills["price"].iloc[1] == pytest.approx(96.6)


class TestMargin:
    def test_entry_beyond_the_margin_is_cut(self):
        """PM-06: initial margin at 2x on 1,000 carries a value of 2,000 and no more."""
        market = bars(*[(100,) * 4] * 3, instruments=LOTS)
        account = Account(1_000, leverage=5, margin_leverage=2)
        result = run(scripted([1.0]), market, costs=FREE, account=account)
        assert result.fills["qty"].iloc[0] == pytest.approx(20.0)
        assert result.totals["n_cuts"] == 1

    @pytest.mark.parametrize(("side", "last", "mark"), [(1, 95.0, 90.8), (-1, 105.0, 109.0)])
    def test_cross_liquidation_reads_the_extreme_of_the_mark(self, side, last, mark):
        """BT-08: 10x on 1,000: equity meets maintenance of 1 % at 90.909 (long), 108.91 (short)."""
        extremes = {"mark_low" if side > 0 else "mark_high": [100, 100, mark, 100]}
        other = "mark_high" if side > 0 else "mark_low"
        market = make_market(
            open=[100] * 4, high=[100, 100, 105, 100], low=[100, 100, 95, 100],
            close=[100, 100, last, 100], mark_close=[100.0] * 4, **extremes, **{other: [100] * 4},
            instruments=LOTS,
        )  # fmt: skip
        account = Account(1_000, leverage=10, margin_leverage=20)
        result = run(scripted([side]), market, costs=FREE, account=account)
        assert result.n_liquidations == 1
        assert result.equity.iloc[-1] == pytest.approx(0.0, abs=1e-9)
        assert result.fills["price"].iloc[-1] == pytest.approx(90.0 if side > 0 else 110.0)

    def test_cross_mark_just_above_the_liquidation_price_survives(self):
        market = make_market(
            open=[100] * 4, high=[100] * 4, low=[100, 100, 92, 100], close=[100] * 4,
            mark_close=[100.0] * 4, mark_low=[100, 100, 90.92, 100], mark_high=[100] * 4,
            instruments=LOTS,
        )  # fmt: skip
        account = Account(1_000, leverage=10, margin_leverage=20)
        result = run(scripted([1]), market, costs=FREE, account=account)
        assert result.n_liquidations == 0

    def test_stop_before_the_liquidation_price_saves_the_account(self):
        market = bars((100,) * 4, (100,) * 4, (100, 100, 80, 85), instruments=LOTS)
        account = Account(1_000, leverage=10, margin_leverage=20)
        result = run(scripted([1], stop_loss=0.05), market, costs=FREE, account=account)
        assert result.fills["reason"].tolist() == ["weight", "stop"]
        assert result.equity.iloc[-1] == pytest.approx(500.0)

    def test_stop_beyond_the_liquidation_price_does_not(self):
        market = bars((100,) * 4, (100,) * 4, (100, 100, 80, 85), instruments=LOTS)
        account = Account(1_000, leverage=10, margin_leverage=20)
        result = run(scripted([1], stop_loss=0.15), market, costs=FREE, account=account)
        assert result.fills["reason"].tolist() == ["weight", "liquidation"]
        assert result.equity.iloc[-1] == 0

    def test_isolated_position_loses_its_margin_and_no_more(self):
        """RK-22: long at 100 with 10x: liquidation at 90 / 0.99 = 90.909, the margin is lost."""
        market = bars((100,) * 4, (100,) * 4, (100, 100, 90.9, 95), instruments=LOTS)
        account = Account(1_000, leverage=1, margin_leverage=10, is_isolated=True)
        result = run(scripted([1]), market, costs=FREE, account=account)
        assert result.n_liquidations == 1
        assert result.equity.iloc[-1] == pytest.approx(900.0)

    def test_higher_tier_is_liquidated_earlier(self):
        """A value of 200,000 falls in the second tier: 2 % less a deduction of 1,000."""
        account = Account(20_000, leverage=10, margin_leverage=25)
        # 2,000 at 100: equity 20,000 - 2,000 (100 - p); maintenance 2,000 p 0.02 - 1,000.
        price = (2_000 * 100 - 20_000 - 1_000) / (2_000 * 0.98)
        for low, count in ((price - 0.01, 1), (price + 0.01, 0)):
            market = bars((100,) * 4, (100,) * 4, (100, 100, low, 100), instruments=LOTS)
            result = run(scripted([1]), market, costs=FREE, account=account)
            assert result.n_liquidations == count

    def test_liquidation_layer_off_lets_the_account_live(self):
        market = bars((100,) * 4, (100,) * 4, (100, 100, 80, 95), instruments=LOTS)
        account = Account(1_000, leverage=10, margin_leverage=20)
        realism = Realism(liquidation=False)
        result = run(scripted([1]), market, costs=FREE, account=account, realism=realism)
        assert result.n_liquidations == 0

    def test_account_without_instruments_ends_when_nothing_is_left(self):
        """An account never owes: at 10x without margin tiers it is gone at 90."""
        market = bars((100,) * 4, (100,) * 4, (100, 100, 89, 95), (95, 120, 95, 120))
        account = Account(1_000, leverage=10, margin_leverage=20)
        result = run(scripted([1] * 4), market, costs=FREE, account=account)
        assert result.equity.tolist() == [1_000, 1_000, 0, 0]
        assert len(result.fills) == 2
