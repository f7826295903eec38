"""Protects the life of an order: what is refused, what fills, what rests, what sets it off."""

from contextlib import suppress
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.exchange.floor import ONE, SYMBOL, Desk, refusal
from tests.markets import make_instrument
from workbench.core.costs import Costs
from workbench.exchange.simulator import Refused
from workbench.exchange.words import OrderStatus


@pytest.fixture
def desk():
    return Desk()


class TestRefusals:
    """TE-05, BYBIT.md 2.4: what the exchange would refuse is refused with its code."""

    @pytest.mark.parametrize(
        ("code", "changes"),
        [
            (10001, {"side": "buy"}),
            (10001, {"orderType": "Stop"}),
            (10001, {"qty": "0"}),
            (10001, {"qty": "NaN"}),
            (10001, {"qty": "1e400"}),
            (10001, {"qty": "1.0005"}),
            (10001, {"qty": "20000"}),
            (10001, {"price": "99.95"}),
            (10001, {"price": ""}),
            (10001, {"timeInForce": "DAY"}),
            (10001, {"orderLinkId": "a b"}),
            (10001, {"orderLinkId": "x" * 37}),
            (10001, {"positionIdx": 1}),
            (10001, {"reduceOnly": "maybe"}),
            (10001, {"symbol": ""}),
            (10001, {"triggerPrice": "105"}),
            (10029, {"symbol": "NONE"}),
            (110003, {"price": "3000000"}),
            (30208, {"price": "106"}),
            (30209, {"price": "94", "side": "Sell"}),
            (110007, {"qty": "9900"}),
            (110017, {"reduceOnly": True}),
            (110057, {"reduceOnly": True, "takeProfit": "110"}),
            (110092, {"triggerPrice": "99", "triggerDirection": 1}),
            (110093, {"triggerPrice": "101", "triggerDirection": 2}),
            (110094, {"qty": "0.04"}),
            (10001, {"takeProfit": "99"}),
            (10001, {"stopLoss": "101"}),
            (10001, {"takeProfit": "110", "tpslMode": "Full", "tpOrderType": "Limit"}),
        ],
    )
    def test_create_refuses(self, desk, code, changes):
        body = ONE | {"side": "Buy", "orderType": "Limit", "price": "100"} | changes
        assert refusal(desk.sim.create_order, "a", body) == code
        assert desk.sim.open_orders("a") == []

    def test_position_beyond_what_leverage_allows_is_refused(self, desk):
        """The tier from 100,000 USDT on allows 25 times."""
        desk.sim.set_leverage("a", ONE | {"buyLeverage": "50", "sellLeverage": "50"})
        assert refusal(desk.place, "Buy", "99", qty="1001") == 110090
        assert desk.place("Buy", "99", qty="999")
        assert refusal(desk.place, "Buy", "99", qty="2") == 110090

    def test_link_id_counts_once_even_after_the_end(self, desk):
        """TE-04: the only idempotency key; BYBIT.md 2.4: 110072."""
        first = desk.place("Buy", "99", orderLinkId="mine")
        assert refusal(desk.place, "Buy", "99", orderLinkId="mine") == 110072
        desk.sim.cancel_order("a", {"symbol": SYMBOL, "orderId": first})
        assert refusal(desk.place, "Buy", "99", orderLinkId="mine") == 110072
        assert desk.place("Buy", "99", uid="b", orderLinkId="mine")

    def test_empty_wallet_has_a_code_of_its_own(self, desk):
        desk.sim.add_account("poor")
        assert refusal(desk.place, "Buy", "99", uid="poor") == 110004

    def test_refused_order_frees_its_link_id(self, desk):
        assert refusal(desk.place, "Buy", "99", qty="9900", orderLinkId="mine") == 110007
        assert desk.place("Buy", "99", orderLinkId="mine")

    def test_open_and_conditional_orders_are_limited(self):
        desk = Desk(max_open=2, max_conditional=1)
        for _ in range(2):
            desk.place("Buy", "99")
        assert refusal(desk.place, "Buy", "99") == 110020
        more = {"triggerPrice": "103", "triggerDirection": 1}
        desk.place("Buy", **more)
        assert refusal(desk.place, "Buy", **more) == 110009

    def test_ended_order_is_not_cancelled_or_amended_again(self, desk):
        filled, cancelled = desk.place("Buy"), desk.place("Buy", "99")
        desk.sim.cancel_order("a", {"symbol": SYMBOL, "orderId": cancelled})
        for call in (desk.sim.cancel_order, desk.sim.amend_order):
            for order_id, code in ((filled, 110008), (cancelled, 110010), ("none", 110001)):
                body = {"symbol": SYMBOL, "orderId": order_id, "qty": "2"}
                assert refusal(call, "a", body) == code

    def test_rules_that_change_hold_at_once(self, desk):
        """BYBIT.md 4: tick and step are reloaded; what fitted before is refused now."""
        desk.place("Buy", "99.1")
        rules = make_instrument(SYMBOL, tick_size=Decimal("0.5"), status="Trading")
        desk.sim.change_instrument(rules)
        assert refusal(desk.place, "Buy", "99.1") == 10001
        assert desk.place("Buy", "99.5")
        desk.sim.change_instrument(make_instrument(SYMBOL, status="Delivering"))
        assert refusal(desk.place, "Buy", "99.5") == 110023
        desk.sim.change_instrument(make_instrument(SYMBOL, status="Closed"))
        assert refusal(desk.place, "Buy", "99.5") == 110074


class TestMatching:
    """TE-04, BT-11: fills at the price and in the order that the book gives."""

    def test_market_order_walks_the_book(self, desk):
        """The average of ten at 100.1 and five at 100.2."""
        order = desk.order(desk.place("Buy", qty="15"))
        assert order.order_status == "Filled"
        assert order.avg_price == (10 * Decimal("100.1") + 5 * Decimal("100.2")) / 15
        fills = desk.sim.executions("a")
        assert [f.exec_price for f in fills] == [Decimal("100.2"), Decimal("100.1")]
        assert all(f.fee_rate == Decimal("0.00055") and not f.is_maker for f in fills)

    def test_market_order_beyond_the_book_is_cancelled_with_its_fills(self, desk):
        order = desk.order(desk.place("Buy", qty="40"))
        assert (order.order_status, order.cum_exec_qty) == ("Cancelled", 30)
        assert order.reject_reason == "EC_NoImmediateQtyToFill"
        assert desk.position().size == 30

    @pytest.mark.parametrize(
        ("tif", "qty", "status", "filled", "reason"),
        [
            ("IOC", "12", "Cancelled", 10, "EC_NoImmediateQtyToFill"),
            ("FOK", "12", "Cancelled", 0, "EC_CancelForNoFullFill"),
            ("FOK", "10", "Filled", 10, "EC_NoError"),
            ("PostOnly", "1", "Cancelled", 0, "EC_PostOnlyWillTakeLiquidity"),
            ("GTC", "12", "PartiallyFilled", 10, "EC_NoError"),
        ],
    )
    def test_time_in_force(self, desk, tif, qty, status, filled, reason):
        order = desk.order(desk.place("Buy", "100.1", qty=qty, timeInForce=tif))
        assert (order.order_status, order.cum_exec_qty) == (status, filled)
        assert order.reject_reason == reason

    def test_resting_order_waits_its_turn(self, desk):
        """BT-11: ten stand before it; trades and withdrawals bring it forward."""
        first = desk.place("Buy", "99.9")
        desk.trade("99.9", "4", "Sell")
        assert desk.order(first).cum_exec_qty == 0
        desk.quote("99.9", "100.1", size=3)
        desk.trade("99.9", "3.4", "Sell")
        order = desk.order(first)
        assert order.cum_exec_qty == Decimal("0.4")
        assert desk.sim.executions("a")[0].is_maker
        assert desk.sim.executions("a")[0].exec_fee == Decimal("0.4") * Decimal("99.9") * Decimal(
            "0.0002"
        )

    def test_order_that_the_market_trades_through_fills_at_its_price(self, desk):
        first = desk.place("Buy", "99.9")
        desk.trade("99.5", "5", "Sell")
        assert desk.order(first).avg_price == Decimal("99.9")

    def test_order_that_the_quotes_cross_fills_at_its_price(self, desk):
        first = desk.place("Buy", "99.9")
        desk.quote("98", "98.5")
        assert desk.order(first).avg_price == Decimal("99.9")

    def test_accounts_meet_by_price_then_time(self, desk):
        late, early = desk.place("Sell", "100.0", uid="b"), desk.place("Sell", "100", uid="b")
        desk.place("Buy", "100", qty="1.5")
        assert desk.order(late, "b").cum_exec_qty == 1
        assert desk.order(early, "b").cum_exec_qty == Decimal("0.5")
        assert desk.position("b").size == Decimal("1.5")
        trade = desk.sim.trades(SYMBOL)[0]
        assert (trade.price, trade.side) == (100, "Buy")
        assert trade.exec_id == desk.sim.executions("a")[0].exec_id

    @pytest.mark.parametrize(
        ("smp", "maker", "taker"),
        [
            ("CancelMaker", "Cancelled", "Filled"),
            ("CancelTaker", "New", "Cancelled"),
            ("CancelBoth", "Cancelled", "Cancelled"),
            ("None", "Filled", "Filled"),
        ],
    )
    def test_self_match_prevention(self, desk, smp, maker, taker):
        resting = desk.place("Sell", "100")
        coming = desk.place("Buy", "100.1", smpType=smp)
        assert desk.order(resting).order_status == maker
        assert desk.order(coming).order_status == taker
        if smp != "None":
            cancelled = desk.order(coming if maker == "New" else resting)
            assert cancelled.cancel_type == "CancelBySmp"

    def test_latency_lets_the_market_go_first(self):
        """BT-11: an order meets the book of the moment when it arrives."""
        desk = Desk(costs=Costs(latency_s=0.05))
        order_id = desk.place("Buy", "100.1")
        desk.quote("100.4", "100.6")
        desk.sim.advance(desk.sim.now_ms + 49)
        assert desk.order(order_id).cum_exec_qty == 0
        desk.sim.advance(desk.sim.now_ms + 1)
        assert desk.order(order_id).order_status == "New"
        desk.sim.cancel_order("a", {"symbol": SYMBOL, "orderId": order_id})
        desk.trade("100.0", "1", "Sell")
        desk.sim.advance(desk.sim.now_ms + 50)
        events = desk.statuses(order_id)
        assert events[-2:] == ["Filled", "Filled"]
        order = desk.order(order_id)
        assert order.reject_reason == "EC_OrigClOrdIDDoesNotExist"

    def test_amend_keeps_its_place_only_when_it_shrinks(self, desk):
        first, second = desk.place("Sell", "100", qty="2"), desk.place("Sell", "100", qty="2")
        desk.sim.amend_order("a", {"symbol": SYMBOL, "orderId": first, "qty": "1"})
        desk.place("Buy", "100", uid="b", qty="1")
        assert desk.order(first).order_status == "Filled"
        third = desk.place("Sell", "100", qty="2")
        desk.sim.amend_order("a", {"symbol": SYMBOL, "orderId": second, "qty": "3"})
        desk.place("Buy", "100", uid="b", qty="2")
        assert desk.order(third).order_status == "Filled"
        assert desk.order(second).cum_exec_qty == 0

    def test_amend_below_what_is_filled_is_refused(self, desk):
        order_id = desk.place("Buy", "100.1", qty="12")
        body = {"symbol": SYMBOL, "orderId": order_id, "qty": "10"}
        assert refusal(desk.sim.amend_order, "a", body) == 110064
        assert refusal(desk.sim.amend_order, "a", body | {"qty": "12"}) == 10001

    def test_amend_changes_trigger_and_stops(self, desk):
        order_id = desk.place("Buy", "100", triggerPrice="101", triggerDirection=1)
        body = {"symbol": SYMBOL, "orderId": order_id}
        assert refusal(desk.sim.amend_order, "a", body | {"triggerPrice": "99"}) == 110092
        more = {"triggerPrice": "102", "price": "103", "qty": "2", "takeProfit": "110"}
        desk.sim.amend_order("a", body | more)
        order = desk.order(order_id)
        assert (order.trigger_price, order.price, order.qty, order.take_profit) == (
            102,
            103,
            2,
            110,
        )
        assert refusal(desk.sim.amend_order, "a", body | {"stopLoss": "104", "qty": "3"}) == 10001
        assert (desk.order(order_id).stop_loss, desk.order(order_id).qty) == (None, 2)
        partly = desk.place("Buy", "100.1", qty="12")
        body = {"symbol": SYMBOL, "orderId": partly, "takeProfit": "110"}
        assert refusal(desk.sim.amend_order, "a", body) == 110059

    def test_amend_is_not_taken_without_margin_and_changes_nothing(self, desk):
        order_id = desk.place("Buy", "99", orderLinkId="mine")
        body = {"symbol": SYMBOL, "orderLinkId": "mine", "qty": "9900"}
        assert refusal(desk.sim.amend_order, "a", body) == 110007
        assert desk.order(order_id).qty == 1
        assert desk.sim.wallet("a").total_initial_margin < 12

    def test_cancel_all_takes_what_is_named(self, desk):
        order = desk.place("Buy", "99")
        stop = desk.place("Buy", triggerPrice="101", triggerDirection=1)
        assert refusal(desk.sim.cancel_all, "a", {}) == 10001
        assert refusal(desk.sim.cancel_all, "a", {"symbol": SYMBOL, "orderFilter": "All"}) == 10001
        assert desk.sim.cancel_all("a", {"baseCoin": "BTC"}) == []
        body = {"settleCoin": "USDT", "stopOrderType": "Stop"}
        assert [p.order_id for p in desk.sim.cancel_all("a", body)] == [stop]
        assert [p.order_id for p in desk.sim.cancel_all("a", {"baseCoin": "AAA"})] == [order]

    def test_price_limit_follows_mark_and_index(self, desk):
        """BYBIT.md 2.6: the nearer of the outer band and of index or inner band with premium."""
        limit = desk.sim.price_limit(SYMBOL)
        assert (limit.buy_lmt, limit.sell_lmt) == (102, 98)
        desk.sim.push_ticker(SYMBOL, 0, mark=Decimal(100), index=Decimal(104))
        assert desk.sim.price_limit(SYMBOL).buy_lmt == 104
        desk.sim.push_ticker(SYMBOL, 0, mark=Decimal(100), index=Decimal(109))
        assert desk.sim.price_limit(SYMBOL).buy_lmt == 105


class TestReducing:
    """TE-04: what closes never opens."""

    def test_reduce_only_is_cut_to_the_position(self, desk):
        desk.place("Buy", qty="2")
        order = desk.order(desk.place("Sell", qty="5", reduceOnly=True))
        assert (order.qty, order.order_status) == (2, "Filled")
        assert desk.position().size == 0

    def test_qty_zero_with_both_flags_closes_all(self, desk):
        desk.place("Buy", qty="2")
        desk.place("Sell", qty="0", reduceOnly=True, closeOnTrigger=True)
        assert desk.position().size == 0

    def test_resting_reduce_only_shrinks_with_the_position(self, desk):
        desk.place("Buy", qty="2")
        resting = desk.place("Sell", "101", qty="2", reduceOnly=True)
        body = {"symbol": SYMBOL, "orderId": resting, "qty": "3"}
        assert refusal(desk.sim.amend_order, "a", body) == 110022
        desk.place("Sell", qty="1.5")
        assert desk.order(resting).leaves_qty == Decimal("0.5")
        desk.place("Sell", qty="0.5")
        order = desk.order(resting)
        assert (order.order_status, order.cancel_type) == ("Cancelled", "CancelByReduceOnly")

    def test_hedge_mode_holds_both_sides(self, desk):
        desk.sim.switch_mode("a", {"symbol": SYMBOL, "mode": 3})
        desk.place("Buy", positionIdx=1)
        desk.place("Sell", positionIdx=2)
        long, short = desk.sim.positions("a", SYMBOL)
        assert (long.side, short.side) == ("Buy", "Sell")
        assert refusal(desk.place, "Sell", positionIdx=0) == 10001
        assert desk.order(desk.place("Sell", positionIdx=1, qty="3")).qty == 1
        assert refusal(desk.place, "Sell", positionIdx=1) == 110017
        assert refusal(desk.sim.switch_mode, "a", {"symbol": SYMBOL, "mode": 3}) == 110025
        assert refusal(desk.sim.switch_mode, "a", {"symbol": SYMBOL, "mode": 0}) == 110024


class TestTriggers:
    """TE-04: conditional orders, take-profit, stop-loss, trailing stop."""

    @pytest.mark.parametrize("by", ["LastPrice", "MarkPrice", "IndexPrice"])
    def test_conditional_waits_for_its_price_and_takes_no_margin(self, desk, by):
        desk.sim.push_ticker(SYMBOL, 0, mark=Decimal(100), index=Decimal(100))
        free = desk.sim.wallet("a").total_available_balance
        order_id = desk.place("Buy", triggerPrice="101", triggerDirection=1, triggerBy=by)
        assert desk.order(order_id).order_status == "Untriggered"
        assert desk.sim.wallet("a").total_available_balance == free
        for source in ("LastPrice", "MarkPrice", "IndexPrice"):
            if source != by:
                self.move(desk, source, "101.5")
        assert desk.order(order_id).order_status == "Untriggered"
        self.move(desk, by, "101")
        assert desk.statuses(order_id) == ["Untriggered", "Triggered", "Filled"]

    def move(self, desk, source, price):
        if source == "LastPrice":
            desk.trade(price, "1", "Buy")
        else:
            which = "mark" if source == "MarkPrice" else "index"
            desk.sim.push_ticker(SYMBOL, 0, **{which: Decimal(price)})

    def test_conditional_without_margin_is_rejected_when_set_off(self, desk):
        order_id = desk.place("Buy", triggerPrice="101", triggerDirection=1, qty="5000")
        desk.sim.accounts["a"].wallet -= 90_000
        desk.trade("101", "1", "Buy")
        assert desk.order(order_id).order_status == "Rejected"

    def test_cancelled_before_its_trigger_is_deactivated(self, desk):
        order_id = desk.place("Buy", triggerPrice="101", triggerDirection=1)
        desk.sim.cancel_all("a", {"symbol": SYMBOL, "orderFilter": "StopOrder"})
        assert desk.order(order_id).order_status == OrderStatus.DEACTIVATED

    def test_stops_of_an_order_stand_on_its_position(self, desk):
        """The one that fills clears the other: CancelByTpSlTsClear."""
        desk.place("Buy", qty="2", takeProfit="103", stopLoss="98", orderLinkId="parent")
        take, loss = sorted(desk.sim.open_orders("a"), key=lambda o: -o.trigger_price)
        assert (take.create_type, loss.create_type) == ("CreateByTakeProfit", "CreateByStopLoss")
        assert take.parent_order_link_id == loss.parent_order_link_id == "parent"
        assert (take.qty, take.trigger_direction, loss.trigger_direction) == (2, 1, 2)
        position = desk.position()
        assert (position.take_profit, position.stop_loss) == (103, 98)
        desk.place("Buy", qty="1")
        assert {o.qty for o in desk.sim.open_orders("a")} == {3}
        desk.quote("97.5", "97.7")
        desk.trade("97.6", "1", "Sell")
        assert desk.position().size == 0
        assert desk.order(take.order_id).cancel_type == "CancelByTpSlTsClear"
        assert desk.order(loss.order_id).closed_pnl < 0

    def test_partial_stops_come_in_pairs(self, desk):
        desk.place("Buy", qty="3")
        body = {"symbol": SYMBOL, "tpslMode": "Partial", "takeProfit": "102", "stopLoss": "98",
                "tpSize": "1", "slSize": "1", "tpOrderType": "Limit",
                "tpLimitPrice": "102.5"}  # fmt: skip
        desk.sim.trading_stop("a", body)
        take, loss = sorted(desk.sim.open_orders("a"), key=lambda o: -o.trigger_price)
        assert (take.stop_order_type, take.price) == ("PartialTakeProfit", Decimal("102.5"))
        desk.trade("102", "1", "Buy")
        assert desk.order(take.order_id).order_status == "New"
        assert desk.order(loss.order_id).order_status == "Deactivated"
        desk.quote("103", "103.2")
        assert desk.position().size == 2
        desk.quote("100", "100.2")
        desk.trade("100.1", "1", "Sell")
        assert refusal(desk.sim.trading_stop, "a", body | {"tpSize": "9"}) == 110058
        for _ in range(10):
            desk.sim.trading_stop("a", body)
        assert refusal(desk.sim.trading_stop, "a", body) == 110061

    def test_stop_of_a_position_is_replaced_and_removed(self, desk):
        desk.place("Buy")
        for stop in ("98", "97"):
            desk.sim.trading_stop("a", {"symbol": SYMBOL, "stopLoss": stop})
        assert desk.position().stop_loss == 97
        desk.sim.trading_stop("a", {"symbol": SYMBOL, "stopLoss": "0"})
        assert desk.sim.open_orders("a") == []
        assert refusal(desk.sim.trading_stop, "b", {"symbol": SYMBOL, "stopLoss": "98"}) == 10001
        assert refusal(desk.sim.trading_stop, "a", {"symbol": SYMBOL, "stopLoss": "101"}) == 10001

    def test_trailing_stop_follows_from_its_active_price(self, desk):
        desk.place("Buy")
        desk.sim.trading_stop(
            "a", {"symbol": SYMBOL, "trailingStop": "1", "activePrice": "101"}
        )  # fmt: skip
        for price in ("99.5", "100.9", "101.5", "100.6"):
            desk.trade(price, "0.1", "Buy")
        assert desk.position().size == 1
        desk.trade("100.5", "0.1", "Buy")
        assert desk.position().size == 0
        assert desk.sim.order_history("a")[0].create_type == "CreateByTrailingStop"


def test_events_of_a_fill_tell_everything_once(desk):
    """One execution, one order, one position, one wallet, in the order of what caused what."""
    desk.sim.take_events()
    desk.place("Buy")
    assert [e.kind for e in desk.sim.take_events()] == [
        "execution", "trade", "order", "position", "wallet"
    ]  # fmt: skip


def test_same_calls_give_the_same_events():
    """Deterministic: identities, times and all."""

    def play():
        desk = Desk(costs=Costs(latency_s=0.01))
        desk.place("Buy", "100.2", takeProfit="103")
        desk.sim.advance(20)
        desk.trade("103.5", "3", "Buy")
        return desk.sim.take_events()

    assert play() == play()


def test_exchange_ends_an_order_after_a_part_of_it(desk):
    """The fault: partial fill, then cancelled."""
    order_id = desk.place("Buy", "99", qty="2")
    desk.sim.cancel_by_exchange("a", order_id, filled="0.5")
    order = desk.order(order_id)
    assert (order.order_status, order.cum_exec_qty) == ("Cancelled", Decimal("0.5"))


FIELDS = (
    *("symbol", "side", "orderType", "qty", "price", "timeInForce", "orderLinkId", "orderId"),
    *("positionIdx", "reduceOnly", "closeOnTrigger", "triggerPrice", "triggerDirection", "mode"),
    *("triggerBy", "takeProfit", "stopLoss", "tpslMode", "tpSize", "slSize", "tpLimitPrice"),
    *("tpOrderType", "trailingStop", "activePrice", "buyLeverage", "sellLeverage", "margin"),
    *("setMarginMode", "autoAddMargin", "baseCoin", "settleCoin", "orderFilter", "coin", "smpType"),
)
CALLS = (
    *("create_order", "amend_order", "cancel_order", "cancel_all", "set_leverage", "switch_mode"),
    *("set_margin_mode", "trading_stop", "add_margin", "set_auto_add_margin", "pre_check"),
)
SENSE = st.sampled_from(
    ("Buy", "Market", "Limit", "1", "100", "-5", "0", "Partial", "IOC", 1, 2, True, "x", "USDT")
)
NONSENSE = st.one_of(
    SENSE, st.none(), st.integers(), st.floats(), st.text(max_size=8), st.lists(st.integers()),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=1),
    st.sampled_from(("NaN", "-Infinity", "1e999999", "1e-999999", "9" * 400, "\x00")),
)  # fmt: skip
FUZZED = Desk()
FUZZED.place("Buy")


@given(
    st.sampled_from(CALLS), st.dictionaries(st.sampled_from(FIELDS), NONSENSE, max_size=12),
    st.booleans(),
)  # fmt: skip
@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
def test_malformed_requests_are_refused_and_nothing_worse(call, body, has_symbol):
    """A malformed request never gives another error than a refusal, nor a hang."""
    if has_symbol:
        body |= {"symbol": SYMBOL, "orderId": next(iter(FUZZED.sim.accounts["a"].orders), "none")}
    with suppress(Refused):
        getattr(FUZZED.sim, call)("a", body)
    assert FUZZED.sim.bank.difference(FUZZED.sim.accounts.values()) == 0
    FUZZED.sim.take_events()
