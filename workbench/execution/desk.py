"""The desk: what sending, planning and protecting share, and the one way to change the memory."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal

from workbench.core.clock import Clock
from workbench.core.records import Instrument
from workbench.exchange.records import ZERO, Position
from workbench.exchange.wire import to_millis
from workbench.execution.books import VirtualBooks
from workbench.execution.memory import Asked, Closed, Memory, Record, Task, Working, write_record
from workbench.execution.orders import Fact, What
from workbench.execution.stops import Bracket
from workbench.execution.venue import Event, Journal, Patience, Quote, Venue

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Desk:
    """The world as handed in, and what is remembered; ``positions`` are the exchange's newest."""

    venue: Venue
    journal: Journal
    clock: Clock
    instruments: Mapping[str, Instrument]
    quote: Callable[[str], Quote | None]
    is_open: Callable[[], bool]
    listen: Callable[[Event], None]
    patience: Patience
    bare_stop: Decimal
    is_replaying: bool = False
    positions: dict[str, Position] = field(default_factory=dict)
    books: VirtualBooks = field(init=False)
    memory: Memory = field(init=False)

    def __post_init__(self) -> None:
        self.books = VirtualBooks({s: own.qty_step for s, own in self.instruments.items()})
        self.memory = Memory(self.books, now=self.clock.now, tell=self.tell)

    @property
    def now_ms(self) -> int:
        """The time, as the exchange writes it."""
        return to_millis(self.clock.now())

    def bare_level(self, price: Decimal, size: Decimal, own: Instrument) -> Decimal:
        """Return the stop of a position whose holders have none of their own."""
        bracket = Bracket("", price, self.bare_stop)
        return bracket.stop_price(1 if size > 0 else -1, own.tick_size) or own.tick_size

    def take_positions(self, rows: Iterable[Position]) -> None:
        """Take positions as the exchange shows them; an older one than is known is not taken."""
        for row in rows:
            known, stamp = self.positions.get(row.symbol), (row.updated_time_ms, row.seq)
            if known is None or (known.updated_time_ms, known.seq) <= stamp:
                self.positions[row.symbol] = row

    async def read_positions(self) -> None:
        """Ask for all positions; one that is not among them is flat."""
        before = dict(self.positions)
        rows = {row.symbol: row for row in await self.venue.positions()}
        self.take_positions(rows.values())
        for symbol, known in before.items():
            if symbol not in rows and self.positions[symbol] is known:
                flat = Position(symbol, ZERO, updated_time_ms=known.updated_time_ms)
                self.positions[symbol] = flat

    def commit(self, record: Record | Asked) -> None:
        """Write a record to the journal, then let it count."""
        self.journal.append(*write_record(record))
        self.memory.apply(record)

    def tell(self, kind: str, symbol: str, name: str, words: str) -> None:
        """Tell what happened, in words; what is read again was told before."""
        if not self.is_replaying:
            level = logging.WARNING if kind in ("drop", "doubt", "stop") else logging.INFO
            log.log(level, "%s %s %s: %s", kind, symbol, name, words)
            self.listen(Event(self.clock.now(), kind, symbol, name, words))

    def note(
        self, own: Working, what: What, words: str, number: int = 0, order_id: str = ""
    ) -> None:
        """Put a fact about an order on record."""
        self.commit(Fact(own.life.link, what, words, number, order_id))

    def close(self, task: Task, words: str) -> None:
        """End a task."""
        self.commit(Closed(task.cause, task.symbol, words))
        self.tell("task", task.symbol, task.cause, words)

    def wait(self, own: Working, seconds: float) -> None:
        """Leave an order alone for a while."""
        own.due = self.clock.now() + timedelta(seconds=seconds)
