"""An order of an account: what a request asks for, and the state that it is in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, TypeVar

from workbench.exchange.simulator.rules import Contract, Refused
from workbench.exchange.words import (
    CancelType,
    CreateType,
    ExecType,
    OrderStatus,
    RejectReason,
    SmpType,
    StopOrderType,
    TimeInForce,
    TpslMode,
    TriggerBy,
)

if TYPE_CHECKING:
    from workbench.exchange.simulator.positions import Position

ZERO: Final = Decimal(0)
SMALLEST: Final = Decimal("1e-12")
LARGEST: Final = Decimal("1e15")
LINK: Final = re.compile(r"[A-Za-z0-9_-]{1,36}", re.ASCII)
WordT = TypeVar("WordT", bound=StrEnum)


@dataclass(slots=True, eq=False)
class LiveOrder:
    """An order and its state; sizes are lots and its limit whole ticks.

    ``ticks`` is the worst price that it takes: its limit, or the bound of a market order.
    ``ahead`` and ``shown`` are its place in the queue; ``rank`` its time priority. ``trigger`` and
    ``direction`` are set while it waits; ``distance``, ``active`` and ``best`` make it trail. Of
    these prices 0 is none.
    """

    order_id: str
    position: Position
    sign: int
    lots: int
    link: str = ""
    is_market: bool = False
    ticks: int = 0
    tif: TimeInForce = TimeInForce.GTC
    reduce_only: bool = False
    close_on_trigger: bool = False
    smp: SmpType = SmpType.NONE
    create_type: CreateType = CreateType.USER
    stop_type: StopOrderType = StopOrderType.NONE
    trigger: Decimal = ZERO
    direction: int = 0
    trigger_by: TriggerBy = TriggerBy.NONE
    take_profit: Decimal | None = None
    stop_loss: Decimal | None = None
    tp_by: TriggerBy = TriggerBy.NONE
    sl_by: TriggerBy = TriggerBy.NONE
    tp_limit: Decimal | None = None
    sl_limit: Decimal | None = None
    tpsl_mode: TpslMode = TpslMode.NONE
    parent_link: str = ""
    distance: Decimal = ZERO
    active: Decimal = ZERO
    best: Decimal = ZERO
    status: OrderStatus = OrderStatus.NEW
    cancel_type: CancelType = CancelType.NONE
    reject: RejectReason = RejectReason.NO_ERROR
    leaves: int = 0
    filled: int = 0
    value: Decimal = ZERO
    fee: Decimal = ZERO
    last_on_created: Decimal | None = None
    smp_order_id: str = ""
    created_ms: int = 0
    updated_ms: int = 0
    rank: int = 0
    ahead: int = 0
    shown: int = 0
    is_held: bool = False
    margin_ticks: int = 0
    partner: LiveOrder | None = None
    children: list[LiveOrder] = field(default_factory=list)
    closed_lots: int = 0
    closed_cost: Decimal = ZERO
    closed_value: Decimal = ZERO
    closed_pnl: Decimal = ZERO
    open_fee: Decimal = ZERO
    close_fee: Decimal = ZERO
    n_fills: int = 0
    exec_type: ExecType = ExecType.TRADE

    def __post_init__(self) -> None:
        self.leaves = self.lots

    @property
    def is_waiting(self) -> bool:
        """Whether it waits for its trigger."""
        return self.status is OrderStatus.UNTRIGGERED

    @property
    def opens(self) -> bool:
        """Whether it may enlarge a position, so that margin stands behind it."""
        return not (self.reduce_only or self.close_on_trigger)

    def move(self, status: OrderStatus) -> None:
        """Go on to a status; never back, and nowhere from a final one."""
        if self.status.is_final or _STAGE[status] < _STAGE[self.status]:
            raise AssertionError(f"an order went from {self.status} to {status}")
        self.status = status


_STAGE: Final = {
    OrderStatus.UNTRIGGERED: 0,
    OrderStatus.TRIGGERED: 1,
    OrderStatus.NEW: 2,
    OrderStatus.PARTIALLY_FILLED: 3,
    OrderStatus.FILLED: 4,
    OrderStatus.CANCELLED: 4,
    OrderStatus.DEACTIVATED: 4,
    OrderStatus.REJECTED: 4,
}
BUY_SELL: Final = {"Buy": 1, "Sell": -1}
TRIGGERS: Final = (TriggerBy.LAST, TriggerBy.MARK, TriggerBy.INDEX)


def amount(params: Mapping[str, Any], name: str) -> Decimal | None:
    """Return a number of a request; None where it is missing or empty."""
    raw = params.get(name)
    if raw is None or raw == "":
        return None
    try:
        value = Decimal(str(raw)[:64])
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite() or not (value == 0 or SMALLEST <= value <= LARGEST):
        raise Refused(10001, f"params error: {name} invalid")
    return value


def price(params: Mapping[str, Any], name: str) -> Decimal | None:
    """Return a price of a request; None where it is missing, empty or 0."""
    return amount(params, name) or None


def whole(params: Mapping[str, Any], name: str, allowed: tuple[int, ...]) -> int:
    """Return a small whole number of a request, the first allowed one where it is missing."""
    raw = params.get(name)
    if raw is None or raw == "":
        return allowed[0]
    for number in allowed:
        if str(raw) == str(number):
            return number
    raise Refused(10001, f"params error: {name} invalid")


def flag(params: Mapping[str, Any], name: str) -> bool:
    """Return a yes or no of a request."""
    raw = params.get(name)
    if raw in (None, "", False, "false", "False"):
        return False
    if raw in (True, "true", "True"):
        return True
    raise Refused(10001, f"params error: {name} invalid")


def word(
    params: Mapping[str, Any], name: str, allowed: tuple[WordT, ...], default: WordT | None = None
) -> WordT:
    """Return one of some words of a request."""
    raw = params.get(name)
    if (raw is None or raw == "") and default is not None:
        return default
    for found in allowed:
        if raw == found.value:
            return found
    raise Refused(10001, f"params error: {name} invalid")


def sign_of(params: Mapping[str, Any]) -> int:
    """Return +1 for a purchase and -1 for a sale."""
    sign = BUY_SELL.get(str(params.get("side")))
    if sign is None:
        raise Refused(10001, "params error: side invalid")
    return sign


def link_of(params: Mapping[str, Any], name: str = "orderLinkId") -> str:
    """Return a name of a request, the client's of an order; empty where there is none."""
    link = params.get(name) or ""
    if link and not (isinstance(link, str) and LINK.fullmatch(link)):
        raise Refused(10001, f"params error: {name} invalid")
    return str(link)


def read_order(params: Mapping[str, Any], contract: Contract, position: Position) -> LiveOrder:
    """Make an order of a request, as far as the request and the contract alone decide."""
    is_market = params.get("orderType") == "Market"
    if not is_market and params.get("orderType") != "Limit":
        raise Refused(10001, "params error: orderType invalid")
    qty = amount(params, "qty")
    if qty is None:
        raise Refused(10001, "params error: qty invalid")
    order = LiveOrder(
        order_id="",
        position=position,
        sign=sign_of(params),
        lots=contract.lots(qty),
        link=link_of(params),
        is_market=is_market,
        reduce_only=flag(params, "reduceOnly"),
        close_on_trigger=flag(params, "closeOnTrigger"),
        tif=word(params, "timeInForce", tuple(TimeInForce), TimeInForce.GTC),
        smp=word(params, "smpType", tuple(SmpType), SmpType.NONE),
    )
    if is_market:
        order.tif = TimeInForce.IOC
    else:
        limit = price(params, "price")
        if limit is None:
            raise Refused(10001, "params error: price invalid")
        order.ticks = contract.ticks(limit)
    if order.lots == 0 and not (order.reduce_only and order.close_on_trigger):
        raise Refused(10001, "params error: qty invalid")
    _read_trigger(order, params, contract)
    read_stops(order, params, contract)
    return order


def _read_trigger(order: LiveOrder, params: Mapping[str, Any], contract: Contract) -> None:
    order.trigger = price(params, "triggerPrice") or ZERO
    if not order.trigger:
        return
    contract.ticks(order.trigger)
    order.direction = whole(params, "triggerDirection", (0, 1, 2))
    if not order.direction:
        raise Refused(10001, "params error: triggerDirection invalid")
    order.trigger_by = word(params, "triggerBy", TRIGGERS, TriggerBy.LAST)
    order.stop_type = StopOrderType.STOP
    order.status = OrderStatus.UNTRIGGERED


def read_stops(order: LiveOrder, params: Mapping[str, Any], contract: Contract) -> None:
    """Set take-profit and stop-loss of an order from a request; what is not named stays."""
    if "takeProfit" in params:
        order.take_profit = price(params, "takeProfit")
    if "stopLoss" in params:
        order.stop_loss = price(params, "stopLoss")
    order.tp_by = word(params, "tpTriggerBy", TRIGGERS, order.tp_by or TriggerBy.LAST)
    order.sl_by = word(params, "slTriggerBy", TRIGGERS, order.sl_by or TriggerBy.LAST)
    if order.take_profit is None and order.stop_loss is None:
        order.tp_by = order.sl_by = TriggerBy.NONE
        return
    if not order.opens:
        raise Refused(110057, "Reduce-only orders take no take-profit or stop-loss.")
    for level in (order.take_profit, order.stop_loss):
        if level is not None:
            contract.ticks(level)
    order.tpsl_mode = word(
        params, "tpslMode", (TpslMode.FULL, TpslMode.PARTIAL), order.tpsl_mode or TpslMode.FULL
    )
    if "takeProfit" in params:
        order.tp_limit = limit_of(params, "tp", order.tpsl_mode, contract)
    if "stopLoss" in params:
        order.sl_limit = limit_of(params, "sl", order.tpsl_mode, contract)


def limit_of(
    params: Mapping[str, Any], leg: str, mode: TpslMode, contract: Contract
) -> Decimal | None:
    """Return the limit at which a take-profit (tp) or stop-loss (sl) closes; None for a market."""
    limit = price(params, f"{leg}LimitPrice")
    is_limit = params.get(f"{leg}OrderType") == "Limit"
    if is_limit != (limit is not None) or (is_limit and mode is TpslMode.FULL):
        raise Refused(10001, f"params error: {leg}LimitPrice needs Limit orders of mode Partial")
    if limit is not None:
        contract.ticks(limit)
    return limit
