"""What execution needs of the world: a venue, a journal, a quote; and what it tells of itself."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple, Protocol

from workbench.exchange.records import Execution, Order, OrderAck, Position, PriceLimit
from workbench.exchange.requests import AmendRequest, CancelRequest, OrderRequest, StopRequest


class Venue(Protocol):
    """An exchange that answers, refuses, or leaves one in doubt.

    Writes raise ``OrderRejected`` (no effect, ever), ``ExchangeBusy`` (none for now) or
    ``OrderUnknown``; any other error counts as unknown. Nothing is sent twice by the venue itself.
    """

    async def create(self, request: OrderRequest) -> OrderAck:
        """Send an order, once."""

    async def amend(self, request: AmendRequest) -> OrderAck:
        """Change an open order."""

    async def cancel(self, request: CancelRequest) -> OrderAck:
        """Cancel an order; the code is not 0 where there was nothing to cancel."""

    async def cancel_all(self, symbol: str) -> None:
        """Cancel the orders of a symbol that work in the book; what waits for a trigger stays."""

    async def set_stop(self, request: StopRequest) -> None:
        """Set what protects a whole position."""

    async def find_order(self, symbol: str, link: str) -> Order | None:
        """Return an order by its link, among those that are open, then in the history."""

    async def executions_since(self, moment_ms: int) -> Sequence[Execution]:
        """Return every execution of the account since a moment."""

    async def positions(self) -> Sequence[Position]:
        """Return the positions that are not flat."""

    async def open_orders(self) -> Sequence[Order]:
        """Return every order that has not ended."""


class Journal(Protocol):
    """A record of what is intended and learned that outlives the process.

    What was appended must be safe before the venue's next ``create``, ``amend`` or ``set_stop``
    leaves; what came after the last of them may be lost in a crash, from some point on.
    """

    def append(self, kind: str, document: Mapping[str, Any]) -> object:
        """Write a record."""


class Quote(NamedTuple):
    """The market of a symbol: last and mark price, the best of the book, price limits."""

    at: datetime
    last: Decimal
    mark: Decimal
    bid: Decimal | None = None
    ask: Decimal | None = None
    limit: PriceLimit | None = None

    @property
    def mid(self) -> Decimal:
        """The middle of the book; the last price where there is no book."""
        return self.last if self.bid is None or self.ask is None else (self.bid + self.ask) / 2


class Event(NamedTuple):
    """Something worth telling; ``kind`` is order, fill, drop, stop, task or external."""

    at: datetime
    kind: str
    symbol: str
    name: str
    words: str


@dataclass(frozen=True, slots=True)
class OrderLimits:
    """What may be open at once, and how far from the mark; values in USDT at the last price."""

    max_orders: int = 100
    max_symbol_orders: int = 20
    max_order_usdt: Decimal = Decimal("Infinity")
    max_symbol_usdt: Decimal = Decimal("Infinity")
    max_total_usdt: Decimal = Decimal("Infinity")
    collar: Decimal = Decimal("0.05")
    quote_age_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Patience:
    """How long execution waits for what; ``absent_s`` outlasts the exchange's receive window."""

    flight_s: float = 3.0
    first_s: float = 0.5
    last_s: float = 30.0
    checks: int = 4
    absent_s: float = 15.0
    deadline_s: float = 60.0
    tries: int = 5
    decision_s: float = 3_600.0


PREFIX = "wb-"


def make_link(cause: str, symbol: str, number: int) -> str:
    """Return the name of an order: the same for the same decision, symbol and counter."""
    digest = hashlib.sha256(f"{cause}\0{symbol}".encode()).hexdigest()[:22]
    return f"{PREFIX}{digest}-{number}"
