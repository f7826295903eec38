"""What is asked of the exchange about orders and stops, by REST or by the trade socket."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from enum import IntEnum
from typing import Any, Final

from workbench.exchange.wire import plain_text, wire_names
from workbench.exchange.words import (
    OrderType,
    PositionIdx,
    Side,
    SmpType,
    TimeInForce,
    TpslMode,
    TriggerBy,
    TriggerDirection,
)

CATEGORY: Final = "linear"


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRequest:
    """A new order; ``order_link_id`` is what makes it recognisable, whatever happens to it."""

    symbol: str
    side: Side
    order_type: OrderType
    qty: Decimal
    order_link_id: str
    price: Decimal | None = None
    time_in_force: TimeInForce | None = None
    position_idx: PositionIdx = PositionIdx.ONE_WAY
    reduce_only: bool = False
    close_on_trigger: bool = False
    trigger_price: Decimal | None = None
    trigger_direction: TriggerDirection = TriggerDirection.NONE
    trigger_by: TriggerBy = TriggerBy.NONE
    take_profit: Decimal | None = None
    stop_loss: Decimal | None = None
    tp_trigger_by: TriggerBy = TriggerBy.NONE
    sl_trigger_by: TriggerBy = TriggerBy.NONE
    tpsl_mode: TpslMode = TpslMode.NONE
    tp_order_type: OrderType | None = None
    sl_order_type: OrderType | None = None
    tp_limit_price: Decimal | None = None
    sl_limit_price: Decimal | None = None
    smp_type: SmpType | None = None

    @property
    def is_closing(self) -> bool:
        """Whether it can only make a position smaller."""
        return self.reduce_only or self.close_on_trigger


@dataclass(frozen=True, slots=True, kw_only=True)
class AmendRequest:
    """What changes of an open order, named by either id; a take-profit of 0 removes it."""

    symbol: str
    order_id: str = ""
    order_link_id: str = ""
    qty: Decimal | None = None
    price: Decimal | None = None
    trigger_price: Decimal | None = None
    trigger_by: TriggerBy = TriggerBy.NONE
    take_profit: Decimal | None = None
    stop_loss: Decimal | None = None
    tp_trigger_by: TriggerBy = TriggerBy.NONE
    sl_trigger_by: TriggerBy = TriggerBy.NONE
    tpsl_mode: TpslMode = TpslMode.NONE
    tp_limit_price: Decimal | None = None
    sl_limit_price: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelRequest:
    """An order to be cancelled, named by either id."""

    symbol: str
    order_id: str = ""
    order_link_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRequest:
    """Take-profit, stop-loss and trailing distance of a position; 0 removes one."""

    symbol: str
    tpsl_mode: TpslMode = TpslMode.FULL
    position_idx: PositionIdx = PositionIdx.ONE_WAY
    take_profit: Decimal | None = None
    stop_loss: Decimal | None = None
    trailing_stop: Decimal | None = None
    active_price: Decimal | None = None
    tp_trigger_by: TriggerBy = TriggerBy.NONE
    sl_trigger_by: TriggerBy = TriggerBy.NONE
    tp_size: Decimal | None = None
    sl_size: Decimal | None = None
    tp_limit_price: Decimal | None = None
    sl_limit_price: Decimal | None = None
    tp_order_type: OrderType | None = None
    sl_order_type: OrderType | None = None


Request = OrderRequest | AmendRequest | CancelRequest | StopRequest


def body(request: Request) -> dict[str, Any]:
    """Return a request as the exchange reads it: numbers are text, what was not given is left out.

    Examples
    --------
    >>> body(CancelRequest(symbol="BTCUSDT", order_link_id="a-1"))
    {'symbol': 'BTCUSDT', 'orderLinkId': 'a-1'}
    """
    names: Mapping[str, tuple[str, ...]] = wire_names(type(request))
    given = {field.name: getattr(request, field.name) for field in fields(request)}
    return {
        names[name][0]: _text(value)
        for name, value in given.items()
        if value not in (None, "", TriggerDirection.NONE)
        or isinstance(value, PositionIdx | Decimal)
    }


def _text(value: Any) -> Any:
    if isinstance(value, Decimal):
        return plain_text(value)
    if isinstance(value, bool):
        return value
    return int(value) if isinstance(value, IntEnum) else str(value)
