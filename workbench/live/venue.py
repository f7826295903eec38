"""The venue over the wire: orders by the trade socket, or by REST where there is none.

Reads go by REST in threads, so that none holds up the loop. The private stream tells what became
of everything; after each connection it is whole again only once REST has filled the gap.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

from workbench.exchange.client import BybitClient
from workbench.exchange.records import Execution, Order, OrderAck, Position
from workbench.exchange.requests import AmendRequest, CancelRequest, OrderRequest, StopRequest
from workbench.exchange.streams.private import Gap, Refill
from workbench.exchange.streams.trade import TradeSocket
from workbench.exchange.wire import from_millis, to_millis

Answer = TypeVar("Answer")


class WireVenue:
    """An account at an exchange of Bybit's protocol."""

    def __init__(self, client: BybitClient, trade: TradeSocket | None) -> None:
        self.client, self.trade = client, trade

    async def create(self, request: OrderRequest) -> OrderAck:
        """Send an order, once: by the socket where it is ready, else by REST."""
        if self.trade is not None and self.trade.is_ready:
            return await self.trade.create(request)
        return await _call(self.client.create_order, request)

    async def amend(self, request: AmendRequest) -> OrderAck:
        """Change an open order."""
        if self.trade is not None and self.trade.is_ready:
            return await self.trade.amend(request)
        return await _call(self.client.amend_order, request)

    async def cancel(self, request: CancelRequest) -> OrderAck:
        """Cancel an order."""
        if self.trade is not None and self.trade.is_ready:
            return await self.trade.cancel(request)
        return await _call(self.client.cancel_order, request)

    async def cancel_all(self, symbol: str) -> None:
        """Cancel the orders of a symbol that work in the book; what waits for a trigger stays."""
        await _call(partial(self.client.cancel_all, keeps_conditional=True), symbol)

    async def set_stop(self, request: StopRequest) -> None:
        """Set what protects a whole position."""
        await _call(self.client.set_stops, request)

    async def find_order(self, symbol: str, link: str) -> Order | None:
        """Return an order by its link, among those that are open, then in the history."""
        return await _call(partial(self.client.find_order, order_link_id=link), symbol)

    async def executions_since(self, moment_ms: int) -> Sequence[Execution]:
        """Return every execution of the account since a moment."""
        end = self.client.time.now() + timedelta(seconds=10)
        return await _call(self.client.executions, from_millis(moment_ms), end)

    async def positions(self) -> Sequence[Position]:
        """Return the positions that are not flat."""
        return await _call(self.client.positions)

    async def open_orders(self) -> Sequence[Order]:
        """Return every order that has not ended."""
        return await _call(self.client.open_orders)

    async def refill(self, gap: Gap) -> Refill:
        """Answer what the private stream may have missed."""
        orders = list(await self.open_orders())
        open_ids = {order.order_id for order in orders}
        for order in gap.orders:
            if order.order_id not in open_ids:
                found = await _call(
                    partial(self.client.find_order, order_id=order.order_id), order.symbol
                )
                orders += [found] if found is not None else []
        executions = [] if gap.since_ms is None else await self.executions_since(gap.since_ms)
        positions = list(await self.positions())
        held = {position.symbol for position in positions}
        for position in gap.positions:
            if position.symbol not in held:
                positions += await _call(self.client.positions, position.symbol)
        wallet_ms = to_millis(self.client.time.now())
        wallet = await _call(self.client.wallet)
        return Refill(orders, executions, positions, wallet, wallet_ms)


async def _call(act: Callable[..., Answer], *arguments: Any) -> Answer:
    return await asyncio.to_thread(act, *arguments)
