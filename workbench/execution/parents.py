"""A large order and what becomes of it: the parent, its progress, and the children of a step."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from math import inf
from typing import Final, NamedTuple

from workbench.core.errors import DataError
from workbench.core.records import Instrument
from workbench.exchange.records import Book
from workbench.exchange.words import Side, TimeInForce
from workbench.execution.condition import curve_share

WHOLE: Final = Decimal(1)


class Algorithm(StrEnum):
    """How a parent is worked; ``algorithms.RULES`` says what each does."""

    MARKET = "market"
    LIMIT = "limit"
    MAKER = "maker"
    ICEBERG = "iceberg"
    TWAP = "twap"
    VWAP = "vwap"
    POV = "pov"
    ADAPTIVE = "adaptive"
    ARRIVAL = "arrival"


class Urgency(StrEnum):
    """What waiting costs: little, as much as trading, or more."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"


@dataclass(frozen=True, slots=True)
class Parent:
    """What is to be done.

    Attributes
    ----------
    algorithm : Algorithm
    instrument : Instrument
    side : Side
    lots : int
        Quantity in steps of the instrument.
    start, deadline : datetime
        Nothing is sent before the one or from the other on.
    urgency : Urgency
        ``high`` takes what is due; otherwise it rests first, and is taken when overdue.
    reduce_only : bool
        It may only close, and is then exempt from the least value of an order.
    price_limit : Decimal, optional
        No child is priced beyond it.
    max_slippage : Decimal, optional
        How far beyond the mid of the moment a child may take, as a fraction.
    participation_cap : Decimal
        Most of the volume traded since the start, its own included, that it may make up; 1 for any.
    curve : tuple of float
        Of a day's volume (``condition.volume_curve``), for ``vwap``.
    decay_s : float
        Time in which ``arrival`` leaves 1 / e undone (``schedules.decay_time``); infinite for an
        even pace.
    display_lots : int
        What queues at a time, for ``iceberg`` or beside any; 0 for all of it.
    slice_s : float
        Length of a slice of the schedule, at most.
    seed : int, optional
        Moves the edges of slices, and sizes with them, so that they are not easily guessed; the
        same seed moves them alike.
    """

    algorithm: Algorithm
    instrument: Instrument
    side: Side
    lots: int
    start: datetime
    deadline: datetime
    urgency: Urgency = Urgency.NORMAL
    reduce_only: bool = False
    price_limit: Decimal | None = None
    max_slippage: Decimal | None = None
    participation_cap: Decimal = WHOLE
    curve: tuple[float, ...] = ()
    decay_s: float = inf
    display_lots: int = 0
    slice_s: float = 60.0
    seed: int | None = None

    def __post_init__(self) -> None:
        cap, limit, slip = self.participation_cap, self.price_limit, self.max_slippage
        faults = {
            f"it is none of {', '.join(Algorithm)}": self.algorithm not in list(Algorithm),
            "lots must be 1 or more": self.lots < 1,
            "the deadline must come after the start": not self.start < self.deadline,
            "the cap must be above 0 and at most 1": not 0 < cap <= 1,
            "slices and decay take time": not (self.slice_s > 0.0 and self.decay_s > 0.0),
            "the price limit must be a multiple of the tick": limit is not None
            and not (limit > 0 and limit % self.instrument.tick_size == 0),
            "a slippage is a fraction below 1": slip is not None and not 0 <= slip < 1,
            "a limit order needs a price limit": self.algorithm == "limit" and limit is None,
            "an iceberg needs display_lots": self.algorithm == "iceberg" and self.display_lots < 1,
            "it follows the volume and needs a cap below 1": self.algorithm in ("pov", "adaptive")
            and cap == 1,
            "the curve shows no volume in its time": self.algorithm == "vwap"
            and not (self.curve and curve_share(self.curve, self.start, self.deadline) > 0.0),
        }
        seen = [words for words, is_so in faults.items() if is_so]
        if seen:
            raise DataError(f"{self.algorithm} cannot run: {'; '.join(seen)}.", "Correct that.")

    @property
    def duration_s(self) -> float:
        """The time that there is."""
        return (self.deadline - self.start).total_seconds()


class Working(NamedTuple):
    """A child that is out: its lots still open, whether it rests, and whether it is cancelled."""

    order: str
    lots: int
    price: Decimal | None
    since: datetime
    is_resting: bool
    is_ending: bool = False


class Progress(NamedTuple):
    """What was filled, and what is out."""

    filled: int = 0
    working: tuple[Working, ...] = ()


class View(NamedTuple):
    """What is known now: the book, lots traded by anybody since the start, volatility of a day."""

    now: datetime
    book: Book
    traded_lots: int = 0
    volatility: float = 0.0


class Child(NamedTuple):
    """An order to send; with ``order`` one to amend to this price, and of 0 lots to cancel.

    Without a price it is a market order.
    """

    lots: int
    price: Decimal | None = None
    time_in_force: TimeInForce = TimeInForce.IOC
    order: str = ""


class Step(NamedTuple):
    """What to do now, and why it is that, or nothing."""

    children: tuple[Child, ...]
    words: str
