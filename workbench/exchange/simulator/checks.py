"""What an order must satisfy: sizes, prices, counts, tiers, margin; the codes are V5's."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Final

from workbench.exchange.simulator.markets import SymbolMarket
from workbench.exchange.simulator.orders import LiveOrder
from workbench.exchange.simulator.rules import Refused
from workbench.exchange.simulator.terms import Terms, check_stop

LAST_TICK: Final = 19_999_998
"""The highest price of a contract, in ticks."""


class Checks(Terms):
    """The checks of an order before it is taken, or changed."""

    def _check_order(self, order: LiveOrder) -> None:
        position = order.position
        market = position.market
        if not market.last or not market.mark:
            raise Refused(110074, "The contract has no price yet.")
        if order.is_waiting:
            check_trigger(order, order.trigger, market)
        elif not order.opens:
            self._cut_to_position(order)
        if order.is_market and not order.is_waiting:
            order.ticks = self.bound(order)
        self._check_size(order, order.lots)
        if not order.is_market and not order.is_waiting:
            self._check_price(order, order.ticks)
        self._check_stops(order)
        self._check_counts(order)
        if order.opens:
            self._check_tier(order)

    def _cut_to_position(self, order: LiveOrder) -> None:
        position = order.position
        held = abs(position.lots) if position.side == -order.sign else 0
        if not held:
            raise Refused(110017, "current position is zero, cannot fix reduce-only order qty")
        order.lots = order.leaves = min(order.lots or held, held)

    def _check_size(self, order: LiveOrder, lots: int) -> None:
        contract, market = order.position.contract, order.position.market
        if order.opens and lots < contract.min_lots:
            raise Refused(10001, "The number of contracts is less than minimum limit allowed")
        if lots > (contract.max_market_lots if order.is_market else contract.max_lots):
            raise Refused(10001, "The number of contracts exceeds maximum limit allowed")
        at = market.last if order.is_market else contract.price(order.ticks)
        if order.opens and contract.qty(lots) * at < contract.instrument.min_notional_usdt:
            least = contract.instrument.min_notional_usdt
            raise Refused(110094, f"Order does not meet minimum order value {least}USDT")

    def _check_price(self, order: LiveOrder, ticks: int) -> None:
        if not 0 < ticks <= LAST_TICK:
            raise Refused(110003, "Order price exceeds the allowable range.")
        high, low = order.position.market.price_limit()
        if order.sign > 0 and ticks > high:
            raise Refused(30208, "The order price is higher than the maximum buying price.")
        if order.sign < 0 and ticks < low:
            raise Refused(30209, "The order price is lower than the minimum selling price.")

    def _check_stops(self, order: LiveOrder) -> None:
        market = order.position.market
        for leg, level, by in (
            (1, order.take_profit, order.tp_by),
            (-1, order.stop_loss, order.sl_by),
        ):
            if level is not None:
                base = market.price_of(by)
                if not order.is_market:
                    base = market.contract.price(order.ticks)
                elif order.trigger:
                    base = order.trigger
                check_stop(order.sign, leg, level, base)

    def _check_counts(self, order: LiveOrder) -> None:
        mine = [o for o in self._open(order) if o not in o.position.stops]
        if order.is_waiting:
            if sum(o.is_waiting for o in mine) >= self.settings.max_conditional:
                raise Refused(110009, "The number of stop orders exceeds the maximum allowable.")
        elif sum(not o.is_waiting for o in mine) >= self.settings.max_open:
            raise Refused(110020, "Not allowed to have more than 500 active orders.")

    def _open(self, order: LiveOrder) -> Iterator[LiveOrder]:
        market = order.position.market
        for other in order.position.account.orders.values():
            if other.position.market is market:
                yield other

    def _check_tier(self, order: LiveOrder) -> None:
        position = order.position
        contract, mark = position.contract, position.market.mark
        grown = position.exposed(order.sign) + order.lots
        held = position.lots * order.sign
        value = contract.step * max(held + grown, grown) * mark
        last = contract.tiers[-1]
        if value > last.limit_usdt or position.leverage > contract.tier(value).max_leverage:
            raise Refused(110090, "The position may exceed the max limit; lower the leverage.")

    def _is_affordable(self, order: LiveOrder) -> bool:
        state = order.position.account.state()
        if state.is_covered:
            return True
        order.position.hold(order, -1)
        before = order.position.account.state()
        order.position.hold(order, 1)
        return state.ordered <= before.ordered and state.order_loss >= before.order_loss

    def _afford_change(self, order: LiveOrder, lots: int, ticks: int) -> None:
        if not order.opens:
            return
        position, before = order.position, (order.lots, order.leaves, order.ticks)
        position.hold(order, -1)
        order.lots, order.leaves, order.ticks = lots, lots - order.filled, ticks
        position.hold(order, 1)
        is_fine = self._is_affordable(order)
        position.hold(order, -1)
        order.lots, order.leaves, order.ticks = before
        position.hold(order, 1)
        if not is_fine:
            raise unaffordable(order)


def check_trigger(order: LiveOrder, trigger: Decimal, market: SymbolMarket) -> None:
    """Refuse a trigger that the price has passed already."""
    current = market.price_of(order.trigger_by)
    if order.direction == 1 and trigger <= current:
        raise Refused(110092, f"expect Rising, but trigger_price[{trigger}] <= current[{current}]")
    if order.direction == 2 and trigger >= current:
        raise Refused(110093, f"expect Falling, but trigger_price[{trigger}] >= current[{current}]")


def unaffordable(order: LiveOrder) -> Refused:
    """Return the refusal of an order that margin does not cover."""
    if order.position.account.wallet <= 0:
        return Refused(110004, "Wallet balance is insufficient")
    return Refused(110007, "ab not enough for new order")
