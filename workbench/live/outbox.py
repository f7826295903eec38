"""The outbox: the venue as execution sees it. What is intended is on disk before it is sent."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Context, Decimal
from typing import Final

from workbench.core.clock import Clock
from workbench.core.errors import OrderRejected
from workbench.exchange.records import Execution, Order, OrderAck, Position
from workbench.exchange.requests import AmendRequest, CancelRequest, OrderRequest, StopRequest
from workbench.execution.venue import Venue
from workbench.live.journal import Journal

MINUTE: Final = timedelta(minutes=1)
GRAIN: Final = Decimal("1e-18")
"""The last decimal that books keep."""
_WIDE: Final = Context(prec=60)


class Outbox:
    """Passes everything on, flushes the journal before each write, and counts orders.

    ``sent`` is told the name and symbol of each order that leaves.
    """

    def __init__(
        self, venue: Venue, journal: Journal, clock: Clock, sent: Callable[[str, str], None]
    ) -> None:
        self.venue, self.journal, self.clock, self._sent = venue, journal, clock, sent
        self._orders: deque[datetime] = deque()
        self._refused: deque[datetime] = deque()

    def rates(self) -> tuple[float, float]:
        """Return the orders sent in the last minute, and the share of them that was refused."""
        since = self.clock.now() - MINUTE
        for moments in (self._orders, self._refused):
            while moments and moments[0] <= since:
                moments.popleft()
        sent = len(self._orders)
        return float(sent), len(self._refused) / sent if sent else 0.0

    async def create(self, request: OrderRequest) -> OrderAck:
        """Send an order, once."""
        self.journal.flush()
        self._sent(request.order_link_id, request.symbol)
        self._orders.append(self.clock.now())
        try:
            return await self.venue.create(request)
        except OrderRejected:
            self._refused.append(self.clock.now())
            raise

    async def amend(self, request: AmendRequest) -> OrderAck:
        """Change an open order."""
        self.journal.flush()
        return await self.venue.amend(request)

    async def cancel(self, request: CancelRequest) -> OrderAck:
        """Cancel an order."""
        return await self.venue.cancel(request)

    async def cancel_all(self, symbol: str) -> None:
        """Cancel the orders of a symbol that work in the book."""
        await self.venue.cancel_all(symbol)

    async def set_stop(self, request: StopRequest) -> None:
        """Set what protects a whole position."""
        self.journal.flush()
        await self.venue.set_stop(request)

    async def find_order(self, symbol: str, link: str) -> Order | None:
        """Return an order by its link."""
        return await self.venue.find_order(symbol, link)

    async def executions_since(self, moment_ms: int) -> Sequence[Execution]:
        """Return every execution of the account since a moment."""
        return [fit(own) for own in await self.venue.executions_since(moment_ms)]

    async def positions(self) -> Sequence[Position]:
        """Return the positions that are not flat."""
        return await self.venue.positions()

    async def open_orders(self) -> Sequence[Order]:
        """Return every order that has not ended."""
        return await self.venue.open_orders()


def fit(execution: Execution) -> Execution:
    """Return an execution whose price the books can keep: a simulated one may have any digits."""
    if int(execution.exec_price.as_tuple().exponent) >= -18:
        return execution
    return replace(execution, exec_price=execution.exec_price.quantize(GRAIN, context=_WIDE))
