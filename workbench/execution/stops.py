"""Protection: which stops must stand at the exchange for what strategies hold.

The whole position has one stop, the furthest of its holders', so that no part is ever bare. A
holder with a nearer stop, or a take-profit, has reduce-only conditional orders of its own on top,
as large as its part of the net position. Who holds against the net has no stop at the exchange:
to close is to enlarge the net, which no reduce-only order can.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from workbench.exchange.requests import OrderRequest
from workbench.exchange.words import OrderType, Side, TriggerDirection
from workbench.execution.books import divide

STOP, TAKE = "stop", "take"


@dataclass(frozen=True, slots=True)
class Bracket:
    """Distances of stop, take-profit and trailing stop as fractions of the price of entry."""

    cause: str
    price: Decimal
    stop: Decimal | None = None
    take: Decimal | None = None
    trail: Decimal | None = None

    def stop_price(self, side: int, tick: Decimal) -> Decimal | None:
        """Return where the stop stands, on the tick away from the entry."""
        distances = [own for own in (self.stop, self.trail) if own is not None]
        return self._level(-min(distances), side, tick) if distances else None

    def take_price(self, side: int, tick: Decimal) -> Decimal | None:
        """Return where the profit is taken, on the tick away from the entry."""
        return None if self.take is None else self._level(self.take, side, tick)

    def _level(self, distance: Decimal, side: int, tick: Decimal) -> Decimal | None:
        way = "ROUND_CEILING" if side * distance > 0 else "ROUND_FLOOR"
        level = (self.price * (1 + side * distance) / tick).to_integral_value(rounding=way) * tick
        return level if level > 0 else None


class Leg(NamedTuple):
    """An exit of one strategy: at which price, and how much."""

    trigger: Decimal
    qty: Decimal


class Protection(NamedTuple):
    """The stop and the trailing distance of a whole position, and the exits of strategies."""

    stop: Decimal
    trail: Decimal | None
    legs: dict[tuple[str, str], Leg]


def protect(
    size: Decimal,
    held: Mapping[str, Decimal],
    brackets: Mapping[str, Bracket],
    *,
    tick: Decimal,
    step: Decimal,
    bare: Decimal,
) -> Protection:
    """Return what must stand for a position of a signed size.

    ``brackets`` are those of its holders by strategy; ``bare`` is the stop of one who has none.
    """
    side = 1 if size > 0 else -1
    holders = {name: abs(own) for name, own in held.items() if own * side > 0}
    stops = {
        name: (brackets[name].stop_price(side, tick) if name in brackets else None) or bare
        for name in holders
    }
    furthest = min(stops.values(), key=lambda price: price * side, default=bare)
    parts = divide(abs(size), holders, step)
    legs: dict[tuple[str, str], Leg] = {}
    for name, part in parts.items():
        bracket = brackets.get(name)
        if bracket is None:
            continue
        if stops[name] != furthest:
            legs[name, STOP] = Leg(stops[name], part)
        take = bracket.take_price(side, tick)
        if take is not None:
            legs[name, TAKE] = Leg(take, part)
    trails = [
        own.price * own.trail
        for name, own in brackets.items()
        if name in holders and own.trail is not None
    ]
    trail = None
    if holders and len(trails) == len(holders):
        trail = (max(trails) / tick).to_integral_value(rounding="ROUND_CEILING") * tick
    return Protection(furthest, trail, legs)


def has_passed(leg: str, trigger: Decimal, side: int, price: Decimal) -> bool:
    """Return whether a price is already beyond the trigger of an exit of a long (1) or short."""
    return (price - trigger) * side * (1 if leg == TAKE else -1) >= 0


def leg_request(symbol: str, link: str, leg: str, side: int, own: Leg) -> OrderRequest:
    """Return the conditional order of an exit of a long (1) or short (-1) position."""
    rises = (leg == TAKE) == (side > 0)
    return OrderRequest(
        symbol=symbol,
        side=Side.SELL if side > 0 else Side.BUY,
        order_type=OrderType.MARKET,
        qty=own.qty,
        order_link_id=link,
        reduce_only=True,
        trigger_price=own.trigger,
        trigger_direction=TriggerDirection.RISE if rises else TriggerDirection.FALL,
    )
