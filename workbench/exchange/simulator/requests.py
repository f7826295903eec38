"""What accounts ask for: orders, leverage, modes, margin, stops; each checked as V5 does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from typing import Final, NamedTuple

from workbench.exchange import records
from workbench.exchange.simulator.accounts import State
from workbench.exchange.simulator.checks import Checks, check_trigger, unaffordable
from workbench.exchange.simulator.orders import (
    LiveOrder,
    amount,
    link_of,
    price,
    read_order,
    read_stops,
)
from workbench.exchange.simulator.rules import Refused
from workbench.exchange.simulator.terms import Params
from workbench.exchange.words import CancelType, OrderStatus, RejectReason

STOP_FIELDS: Final = (
    "take_profit", "stop_loss", "tp_by", "sl_by", "tp_limit", "sl_limit", "tpsl_mode"
)  # fmt: skip
FILTERS: Final[Mapping[str, Callable[[LiveOrder], bool]]] = {
    "Order": lambda order: not order.is_waiting,
    "StopOrder": lambda order: order.is_waiting,
    "tpslOrder": lambda order: order.is_waiting and order in order.position.stops,
}


class Placed(NamedTuple):
    """The names of an order: the exchange's and the client's."""

    order_id: str
    order_link_id: str


class Requests(Checks):
    """The requests of accounts; params are bodies of V5 requests, every no is a ``Refused``."""

    # Orders.

    def create_order(self, uid: str, params: Params) -> Placed:
        """Take an order; what becomes of it is told by events."""
        order = self._read_order(uid, params)
        self._check_order(order)
        self.register(order)
        if order.is_waiting:
            self.tell(order)
        else:
            order.position.hold(order, 1)
            if order.opens and not self._is_affordable(order):
                order.position.hold(order, -1)
                self._forget(order)
                raise unaffordable(order)
            self.later(order, self.enter)
        self.flush()
        return Placed(order.order_id, order.link)

    def pre_check(self, uid: str, params: Params) -> records.PreCheck:
        """Return the margin rates before and after an order that is not placed."""
        order = self._read_order(uid, params)
        account = order.position.account
        before = account.state()
        order.position.hold(order, 1)
        after = account.state()
        order.position.hold(order, -1)
        return records.PreCheck(*_rates(before), *_rates(after))

    def amend_order(self, uid: str, params: Params) -> Placed:
        """Change an open order."""
        order = self._find(uid, params)
        draft = self._draft(order, params)
        if order.is_waiting:
            order.lots = order.leaves = draft.lots
            order.ticks, order.trigger = draft.ticks, draft.trigger
        else:
            self._afford_change(order, draft.lots, draft.ticks)
            self.later(order, lambda order: self._change(order, draft.lots, draft.ticks))
        for name in STOP_FIELDS:
            setattr(order, name, getattr(draft, name))
        if order.is_waiting:
            self.tell(order)
        self.flush()
        return Placed(order.order_id, order.link)

    def _draft(self, order: LiveOrder, params: Params) -> LiveOrder:
        # What the order would be, checked, so that a refusal changes nothing.
        contract, draft = order.position.contract, copy(order)
        qty, limit = amount(params, "qty"), price(params, "price")
        if qty is not None:
            draft.lots = contract.lots(qty)
        if limit is not None and not order.is_market:
            draft.ticks = contract.ticks(limit)
        if order.is_waiting:
            draft.trigger = price(params, "triggerPrice") or order.trigger
            contract.ticks(draft.trigger)
        if draft.lots <= order.filled:
            raise Refused(110064, "The quantity must be above what is filled.")
        if "takeProfit" in params or "stopLoss" in params:
            if order.filled:
                raise Refused(110059, "Take-profit and stop-loss of a partly filled order stay.")
            read_stops(draft, params, contract)
        changed = ("lots", "ticks", "trigger", *STOP_FIELDS)
        if all(getattr(draft, name) == getattr(order, name) for name in changed):
            raise Refused(10001, "order not modified")
        self._check_draft(order, draft)
        return draft

    def _check_draft(self, order: LiveOrder, draft: LiveOrder) -> None:
        self._check_size(order, draft.lots)
        if order.is_waiting:
            check_trigger(draft, draft.trigger, order.position.market)
        elif draft.ticks != order.ticks:
            self._check_price(order, draft.ticks)
        if order.reduce_only and draft.lots > order.filled + abs(order.position.lots):
            raise Refused(110022, "qty has been limited, cannot modify the order to add qty")
        self._check_stops(draft)

    def cancel_order(self, uid: str, params: Params) -> Placed:
        """Cancel an open order."""
        order = self._find(uid, params)
        self.later(order, self._cancel)
        self.flush()
        return Placed(order.order_id, order.link)

    def cancel_all(self, uid: str, params: Params) -> list[Placed]:
        """Cancel the orders of a symbol, a base coin or all; ``orderFilter`` narrows them."""
        account = self.account(uid)
        symbol, base = params.get("symbol"), link_of(params, "baseCoin")
        if not (symbol or base or params.get("settleCoin")):
            raise Refused(10001, "params error: symbol, baseCoin or settleCoin is needed")
        if symbol:
            self.market(symbol)
        kind, stop_type = link_of(params, "orderFilter"), params.get("stopOrderType")
        if kind and kind not in FILTERS:
            raise Refused(10001, "params error: orderFilter invalid")
        chosen = [
            order
            for order in account.orders.values()
            if (not symbol or order.position.market.symbol == symbol)
            and (not base or order.position.market.symbol.startswith(base))
            and (not kind or FILTERS[kind](order))
            and (not stop_type or order.stop_type == stop_type)
        ]
        for order in chosen[:500]:
            self.later(order, self._cancel)
        self.flush()
        return [Placed(order.order_id, order.link) for order in chosen[:500]]

    # What the requests are read into.

    def _read_order(self, uid: str, params: Params) -> LiveOrder:
        position = self._position(uid, params)
        status = position.contract.instrument.status
        if status not in ("Trading", "Delivering"):
            raise Refused(110074, "The contract is not live.")
        order = read_order(params, position.contract, position)
        if status == "Delivering" and order.opens:
            raise Refused(110023, "The contract can only be closed: reduce-only orders are taken.")
        if order.link in position.account.links:
            raise Refused(110072, "OrderLinkedID is duplicate")
        if position.idx and order.sign != position.way and order.opens:
            order.reduce_only = True
        return order

    # What comes of them.

    def _find(self, uid: str, params: Params) -> LiveOrder:
        account = self.account(uid)
        market = self.market(params.get("symbol"))
        name, link = link_of(params, "orderId"), link_of(params)
        if not name and not link:
            raise Refused(10001, "params error: orderId or orderLinkId is needed")
        order = (
            account.orders.get(name) or account.done.get(name)
            if name
            else (account.links.get(link))
        )
        if order is None or order.position.market is not market:
            raise Refused(110001, "order not exists or too late to cancel")
        if order.status is OrderStatus.FILLED:
            raise Refused(110008, "The order is filled already.")
        if order.status.is_final:
            raise Refused(110010, "The order is cancelled already.")
        return order

    def _cancel(self, order: LiveOrder) -> None:
        if not order.status.is_final:
            self.cancel(order, CancelType.USER)
        elif order.status is OrderStatus.FILLED and not order.cancel_type:
            # The cancel crossed the fill: the exchange tells of the order once more.
            order.cancel_type, order.reject = CancelType.USER, RejectReason.UNKNOWN_ORDER
            self.tell(order)

    def _change(self, order: LiveOrder, lots: int, ticks: int) -> None:
        if order.status.is_final or lots <= order.filled:
            return
        position, book = order.position, order.position.market.book
        keeps_place = ticks == order.ticks and lots <= order.lots
        position.hold(order, -1)
        if not keeps_place:
            book.leave(order)
        order.lots, order.leaves, order.ticks = lots, lots - order.filled, ticks
        position.hold(order, 1)
        if keeps_place:
            self.tell(order)
        else:
            self.enter(order)

    def _forget(self, order: LiveOrder) -> None:
        account = order.position.account
        del account.orders[order.order_id]
        account.links.pop(order.link, None)


def _rates(state: State) -> tuple[int, int]:
    base = state.balance + state.order_loss
    if base <= 0:
        return 0, 0
    initial = (state.initial + state.ordered) / base
    return int(initial * 10_000), int(state.maintenance / base * 10_000)
