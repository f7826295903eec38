"""Flattening: which orders go at which level, what closes a position, which stop is missing.

Pure: what the exchange shows goes in, requests come out. Every order that is made here can only
make a position smaller, so that sending one twice does no harm.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from enum import StrEnum
from typing import Final, NamedTuple

from workbench.core.records import Instrument
from workbench.exchange.records import Order, Position
from workbench.exchange.requests import CancelRequest, OrderRequest, StopRequest
from workbench.exchange.words import (
    OrderStatus,
    OrderType,
    PositionIdx,
    Side,
    StopOrderType,
    TimeInForce,
    TriggerDirection,
)
from workbench.live.latch import Level

AT_ONCE: Final = 10
"""As many orders as the exchange takes in a second."""
COLLARED: Final = 2
"""So many tries are held to the collar (twice as wide each time); then it is at the market."""

_STOPS: Final = frozenset(
    {StopOrderType.STOP_LOSS, StopOrderType.PARTIAL_STOP_LOSS, StopOrderType.TRAILING_STOP}
)

Key = tuple[str, PositionIdx]
Instruments = Mapping[str, Instrument]


class Held(NamedTuple):
    """What the exchange shows at one look: the positions that are not flat, the open orders."""

    positions: Sequence[Position]
    orders: Sequence[Order]

    @property
    def is_flat(self) -> bool:
        """Whether nothing is left, no position and no order."""
        return not self.positions and not self.orders


class Flaw(StrEnum):
    """What is wrong with the stop of a position."""

    BARE = "has no stop that would be reached before liquidation"
    PASSED = "is beyond its stop and still open"


def key_of(position: Position) -> Key:
    """Return what tells a position from all others."""
    return position.symbol, position.position_idx


def choose_cancels(level: Level, held: Held) -> list[CancelRequest]:
    """Return the cancels of a level, as many as may go at once, orders that work first.

    What waits to close a position stays while there is one: it protects.
    """
    symbols = {position.symbol for position in held.positions}
    chosen = [order for order in held.orders if _goes(order, level, symbols)]
    chosen.sort(key=_waits)
    return [
        CancelRequest(symbol=order.symbol, order_id=order.order_id) for order in chosen[:AT_ONCE]
    ]


def close_position(
    position: Position,
    instrument: Instrument | None,
    *,
    tries: int,
    collar: Decimal,
    link: str,
) -> OrderRequest:
    """Return the order that closes a position after so many tries that did not.

    First at a price within the collar around the mark, or not at all; then at the market, where
    the exchange has bounds of its own; then, in turns, by its way to say: all of it.
    """
    side = Side.SELL if _sign(position) > 0 else Side.BUY
    price = None
    if instrument is not None and position.mark_price and tries < COLLARED:
        widest = instrument.price_limit_x or Decimal(1)
        distance = min(collar * 2**tries, widest)
        level = position.mark_price * (1 + side.sign * distance)
        price = _on_tick(level, instrument, up=side is Side.SELL)
    is_all = price is None and (instrument is None or (tries - COLLARED) % 2 == 1)
    most = position.size
    if instrument is not None:
        most = instrument.max_market_qty if price is None else instrument.max_qty
    return OrderRequest(
        symbol=position.symbol,
        side=side,
        order_type=OrderType.MARKET if price is None else OrderType.LIMIT,
        qty=Decimal(0) if is_all else min(position.size, most),
        price=price,
        time_in_force=TimeInForce.IOC,
        order_link_id=link,
        position_idx=position.position_idx,
        reduce_only=True,
        close_on_trigger=is_all,
    )


def find_flaw(position: Position, orders: Iterable[Order]) -> Flaw | None:
    """Return what is wrong with the protection of a position, or None."""
    mark, sign = position.mark_price, _sign(position)
    if mark is None:
        return None  # Nothing can be judged without a price.
    covered = Decimal(0)
    for trigger, qty in _triggers(position, orders):
        distance = (mark - trigger) * sign
        if distance < 0:
            return Flaw.PASSED
        room = None if position.liq_price is None else (mark - position.liq_price) * sign
        if room is None or room <= 0 or distance < room:
            covered += qty
    if position.trailing_stop and not position.active_price:
        covered = position.size
    return None if covered >= position.size else Flaw.BARE


def set_backstop(
    position: Position, instrument: Instrument, *, distance: Decimal
) -> StopRequest | None:
    """Return a stop for a bare position: at a distance from the mark, before liquidation."""
    mark, sign = position.mark_price, _sign(position)
    if mark is None:
        return None
    price = mark * (1 - sign * distance)
    liquidation = position.liq_price
    if liquidation is not None and (mark - liquidation) * sign > 0:
        price = max(price * sign, (mark + liquidation) / 2 * sign) * sign
    price = _on_tick(price, instrument, up=sign > 0)
    return StopRequest(
        symbol=position.symbol, position_idx=position.position_idx, stop_loss=price
    )  # fmt: skip


def _goes(order: Order, level: Level, symbols: set[str]) -> bool:
    if not level:
        return False
    if not _closes(order):
        return True
    if level is Level.NO_NEW_RISK:
        return False
    is_protection = _waits(order) and order.symbol in symbols
    return not is_protection


def _closes(order: Order) -> bool:
    is_stop = order.stop_order_type not in (StopOrderType.NONE, StopOrderType.STOP)
    return order.reduce_only or order.close_on_trigger or is_stop


def _waits(order: Order) -> bool:
    return order.order_status is OrderStatus.UNTRIGGERED


def _triggers(position: Position, orders: Iterable[Order]) -> Iterable[tuple[Decimal, Decimal]]:
    # The stop of the whole position, and the waiting orders that close a part of it at a loss.
    if position.stop_loss is not None:
        yield position.stop_loss, position.size
    for order in orders:
        is_own = (order.symbol, order.position_idx) == key_of(position)
        closes = order.side.sign == -_sign(position) and _waits(order) and _closes(order)
        is_counted = position.stop_loss is not None and (
            order.stop_order_type is StopOrderType.STOP_LOSS
        )
        if is_own and closes and not is_counted and _is_stop(order, _sign(position)):
            assert order.trigger_price is not None  # noqa: S101 - it waits for one
            yield order.trigger_price, order.qty


def _is_stop(order: Order, sign: int) -> bool:
    if order.trigger_price is None:
        return False
    if order.trigger_direction is TriggerDirection.NONE:
        return order.stop_order_type in _STOPS
    return order.trigger_direction is (TriggerDirection.FALL if sign > 0 else TriggerDirection.RISE)


def _sign(position: Position) -> int:
    return 1 if position.signed_size > 0 else -1


def _on_tick(price: Decimal, instrument: Instrument, *, up: bool) -> Decimal:
    way = ROUND_CEILING if up else ROUND_FLOOR
    ticks = (price / instrument.tick_size).to_integral_value(rounding=way)
    return max(ticks * instrument.tick_size, instrument.tick_size)
