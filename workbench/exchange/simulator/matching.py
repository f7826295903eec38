"""The matching: orders meet the book and each other, fills move positions and money."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from workbench.exchange.simulator import views
from workbench.exchange.simulator.markets import SymbolMarket
from workbench.exchange.simulator.orders import ZERO, LiveOrder
from workbench.exchange.simulator.rules import cash
from workbench.exchange.simulator.stops import Stops, drag
from workbench.exchange.words import (
    CancelType,
    ExecType,
    OrderStatus,
    RejectReason,
    SmpType,
    TimeInForce,
    TransactionType,
)


class Matching(Stops):
    """The life of a live order, and everything that a fill changes."""

    def enter(self, order: LiveOrder) -> None:
        """Let a live order take what it may, and rest with what is left."""
        if order.status.is_final:
            return
        market = order.position.market
        if self.settings.is_exact:
            market.book.join(order)
            self.tell(order)
            return
        order.rank = self._n = self._n + 1
        if order.tif is TimeInForce.POST_ONLY and market.book.against(order.sign, order.ticks):
            self.cancel(order, reject=RejectReason.POST_ONLY_WOULD_TAKE)
            return
        if order.tif is TimeInForce.FOK and not market.book.available(
            order.sign, order.ticks, order.leaves, self._barred(order)
        ):
            self.cancel(order, reject=RejectReason.NO_FULL_FILL)
            return
        self._take(order)
        if not self.is_open(order):
            return
        if order.tif in (TimeInForce.IOC, TimeInForce.FOK):
            self.cancel(order, reject=RejectReason.NO_IMMEDIATE_QTY)
            return
        market.book.join(order)
        self.tell(order)

    def _take(self, order: LiveOrder) -> None:
        book, contract = order.position.market.book, order.position.contract
        was_filled = order.filled
        while self.is_open(order):
            hit = book.against(order.sign, order.ticks)
            if hit is None:
                break
            lots = min(order.leaves, hit.lots)
            if hit.maker is not None and self._meets_self(order, hit.maker):
                continue
            price = contract.tick * hit.ticks
            if hit.maker is None:
                book.consume(order.sign, hit.ticks, lots)
                exec_id = self.fill(order, lots, price)
            else:
                exec_id = self.fill(order, lots, price, by_market=False)
                self.fill(hit.maker, lots, price, is_maker=True, by_market=False)
                self.tell(hit.maker)
            if "trade" in self.wanted:
                market = order.position.market
                record = market.trade(exec_id, order.sign, price, lots)
                self.say("trade", market.symbol, record)
        if order.filled > was_filled and order.status is OrderStatus.FILLED:
            self.tell(order)

    def _barred(self, order: LiveOrder) -> list[LiveOrder]:
        if order.smp is SmpType.NONE:
            return []
        resting = order.position.market.book.resting(-order.sign)
        return [maker for maker in resting if _is_same_owner(order, maker)]

    def _meets_self(self, order: LiveOrder, maker: LiveOrder) -> bool:
        # Self-match prevention goes by what the taker asks for.
        if order.smp is SmpType.NONE or not _is_same_owner(order, maker):
            return False
        if order.smp is not SmpType.CANCEL_TAKER:
            maker.smp_order_id = order.order_id
            self.cancel(maker, CancelType.SELF_MATCH, RejectReason.SELF_MATCH)
        if order.smp is not SmpType.CANCEL_MAKER:
            order.smp_order_id = maker.order_id
            self.cancel(order, CancelType.SELF_MATCH, RejectReason.SELF_MATCH)
        return True

    def fill(
        self,
        order: LiveOrder,
        lots: int,
        price: Decimal,
        *,
        is_maker: bool = False,
        by_market: bool = True,
        rate: Decimal | None = None,
        exec_type: ExecType = ExecType.TRADE,
    ) -> str:
        """Book a fill of an order: money, position, log; the caller tells of the order."""
        position = order.position
        account, contract = position.account, position.contract
        if rate is None:
            rate = account.maker if is_maker else account.taker
        value = cash(contract.step * lots * price)
        fee = cash(value * rate)
        was = position.side
        closing = position.take(order.sign * lots, value, fee)
        if not was and position.lots:
            position.realised, position.opened_ms = ZERO, self.now_ms
        account.wallet += closing.profit - fee
        account.realised += closing.profit - fee
        position.realised += closing.profit - fee
        position.realised_ever += closing.profit - fee
        self.bank.fees += fee
        if by_market:
            self.bank.trade(contract.symbol, order.sign * lots, value)
        self._count(order, lots, value, fee, closing)
        order.exec_type = exec_type
        exec_id = self.name()
        position.market.seq += 1
        position.seq = position.market.seq
        position.updated_ms = self.now_ms
        record = views.execution_record(
            order, exec_id, lots, price, value, fee, rate, closing, is_maker=is_maker,
            exec_type=exec_type, moment=self.now_ms,
        )  # fmt: skip
        logged = views.transaction_record(
            position, _LOGGED.get(exec_type, TransactionType.TRADE), exec_id, moment=self.now_ms,
            sign=order.sign, lots=lots, price=price, flow=closing.profit, fee=fee, rate=rate,
            order=order,
        )  # fmt: skip
        account.executions.append(record)
        account.transactions.append(logged)
        self.say("execution", account.uid, record)
        if closing.lots:
            account.closings[order.order_id] = order
        self.follow(position, was, order, lots)
        return exec_id

    def _count(
        self, order: LiveOrder, lots: int, value: Decimal, fee: Decimal, closing: Any
    ) -> None:
        position, was_held = order.position, order.is_held
        if was_held:
            position.hold(order, -1)
        order.leaves -= lots
        order.filled += lots
        order.value += value
        order.fee += fee
        order.n_fills += 1
        if closing.lots:
            order.closed_lots += closing.lots
            order.closed_cost += closing.cost
            order.closed_value += closing.value
            order.closed_pnl += closing.profit
            order.open_fee += closing.open_fee
            order.close_fee += cash(fee * closing.lots / lots)
        if order.leaves:
            order.move(OrderStatus.PARTIALLY_FILLED)
            if was_held:
                position.hold(order, 1)
            return
        order.move(OrderStatus.FILLED)
        position.market.book.leave(order)
        position.account.finish(order)

    # What sets orders off.

    def fire(self, market: SymbolMarket) -> None:
        """Set off the conditional orders whose price has come."""
        for order in list(market.triggers):
            if order.distance:
                drag(order, market.last)
            trigger = order.trigger
            if not trigger or not order.is_waiting:
                continue
            price = market.price_of(order.trigger_by)
            if price and (price >= trigger if order.direction == 1 else price <= trigger):
                self.set_off(order)

    def set_off(self, order: LiveOrder) -> None:
        """Turn a conditional order into a live one; margin is asked for only now."""
        position = order.position
        position.market.triggers.remove(order)
        if order in position.stops:
            position.stops.remove(order)
        order.move(OrderStatus.TRIGGERED)
        self.tell(order)
        order.move(OrderStatus.NEW)
        partner = order.partner
        if partner is not None and partner.is_waiting:
            self.cancel(partner, CancelType.TPSL_CLEAR)
        if not order.opens:
            held = abs(position.lots) if position.side == -order.sign else 0
            order.leaves = order.lots = min(order.lots or held, held)
            order.reduce_only = True
            if not held:
                self.cancel(order, CancelType.REDUCE_ONLY)
                return
        if order.is_market:
            order.ticks = self.bound(order)
        position.hold(order, 1)
        if order.opens and not position.account.state().is_covered:
            self.cancel(order, reject=RejectReason.OTHERS, status=OrderStatus.REJECTED)
            return
        self.enter(order)

    def bound(self, order: LiveOrder) -> int:
        """Return the worst ticks that a market order takes."""
        high, low = order.position.market.price_limit()
        return high if order.sign > 0 else low

    # What the market does.

    def on_trade(self, market: SymbolMarket, sign: int, ticks: int, lots: int) -> None:
        """Let a trade of the market fill the orders that stood in its way."""
        if market.book.is_empty():
            return
        for order, share in market.book.trade(sign, ticks, lots):
            self._give(order, share)

    def on_quotes(self, market: SymbolMarket) -> None:
        """Let the market's quotes fill the orders that they have reached."""
        if market.book.is_empty():
            return
        for order, share in market.book.crossed():
            self._give(order, share)

    def _give(self, order: LiveOrder, lots: int) -> None:
        lots = min(lots, order.leaves)
        if not order.status.is_final and lots:
            self.fill(order, lots, order.position.contract.tick * order.ticks, is_maker=True)
            self.tell(order)


_LOGGED = {
    ExecType.BUST_TRADE: TransactionType.LIQUIDATION,
    ExecType.ADL_TRADE: TransactionType.ADL,
}


def _is_same_owner(order: LiveOrder, other: LiveOrder) -> bool:
    one, two = order.position.account, other.position.account
    return one is two or (one.smp_group > 0 and one.smp_group == two.smp_group)
