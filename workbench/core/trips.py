"""Round trips, paired from the fills of one symbol: from flat, or from the other side, to flat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

DUST: Final = 1e-12
"""What float arithmetic may leave of a closed position, as a share of it."""


@dataclass(slots=True)
class Trip:
    """One round trip: quantities in base coin, values and fees in USDT.

    ``first`` and ``last`` are the rows of the fills that opened it and last reduced it (None while
    none has); their ``Index`` is their place in the frame.
    """

    side: int
    first: Any
    last: Any = None
    held: float = 0.0
    entered_qty: float = 0.0
    entered_value: float = 0.0
    left_qty: float = 0.0
    left_value: float = 0.0
    fees: float = 0.0

    @property
    def is_open(self) -> bool:
        """Whether more than dust of it is still held."""
        return self.last is None or self.held > DUST * self.entered_qty

    def enter(self, fill: Any, qty: float) -> None:
        """Add to the position, with the share of the fill's fee that this quantity bears."""
        self.held += qty
        self.entered_qty += qty
        self.entered_value += qty * fill.price
        self.fees += fill.fee_usdt * qty / fill.qty

    def leave(self, fill: Any, qty: float) -> None:
        """Reduce the position, with the share of the fill's fee that this quantity bears."""
        self.held -= qty
        self.left_qty += qty
        self.left_value += qty * fill.price
        self.fees += fill.fee_usdt * qty / fill.qty
        self.last = fill


def pair_fills(fills: pd.DataFrame) -> list[Trip]:
    """Return the round trips of one symbol, in the order in which they were opened.

    A fill that turns a position closes one trip and opens the next, its fee split by quantity; the
    last trip may still be open.

    Parameters
    ----------
    fills : DataFrame
        Fills of one symbol in the order of their booking: ``side`` (1 or -1), ``qty`` (positive),
        ``price`` and ``fee_usdt``; other columns stay on the rows.
    """
    trips = []
    trip: Trip | None = None
    for fill in fills.itertuples():
        rest = float(fill.qty)  # type: ignore[arg-type]
        if trip is not None and fill.side != trip.side:
            closed = min(rest, trip.held)
            trip.leave(fill, closed)
            rest -= closed
            if not trip.is_open:
                trips.append(trip)
                trip = None
        if rest > DUST * float(fill.qty):  # type: ignore[arg-type]
            if trip is None:
                trip = Trip(int(fill.side), fill)  # type: ignore[arg-type]
            trip.enter(fill, rest)
    return trips if trip is None else [*trips, trip]
