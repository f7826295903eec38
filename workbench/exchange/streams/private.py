"""The account as it changes: orders, executions, positions and wallet, without hole or double."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Mapping, MutableSet, Sequence
from typing import Any, ClassVar, Final, NamedTuple

from workbench.core.errors import ExchangeError
from workbench.exchange.records import (
    Execution,
    Order,
    Position,
    Wallet,
    parse_execution,
    parse_order,
    parse_position,
    parse_wallet,
)
from workbench.exchange.streams.connection import Socket
from workbench.exchange.streams.mailbox import Event, Recent
from workbench.exchange.streams.protocol import Login

log = logging.getLogger(__name__)

Record = Order | Execution | Position | Wallet

PARSERS: Final[Mapping[str, Callable[[Mapping[str, Any]], Record]]] = {
    "order": parse_order,
    "execution": parse_execution,
    "position": parse_position,
    "wallet": parse_wallet,
}
"""The topics of this stream; the fast executions lack fee and link, and are not among them."""


class Gap(NamedTuple):
    """What may have been missed: executions since a moment, and the ends of what was open.

    ``since_ms`` is None where nothing is known yet. Orders and positions are those believed open:
    one that the exchange no longer lists must be asked for by its id or symbol.
    """

    since_ms: int | None
    orders: tuple[Order, ...] = ()
    positions: tuple[Position, ...] = ()


class Refill(NamedTuple):
    """The answer of REST to a gap; ``wallet_ms`` is the exchange's time of the wallet's reply."""

    orders: Sequence[Order] = ()
    executions: Sequence[Execution] = ()
    positions: Sequence[Position] = ()
    wallet: Wallet | None = None
    wallet_ms: int = 0


class Newest:
    """The newest record of each thing by a mark that only rises; of equal marks, the last."""

    def __init__(self) -> None:
        self._known: dict[Hashable, tuple[tuple[Any, ...], Any]] = {}

    def take(self, key: Hashable, mark: tuple[Any, ...], record: Any) -> bool:
        """Return whether a record is news: not older than what is known, and not the same."""
        known = self._known.get(key)
        if known is not None and (mark < known[0] or record == known[1]):
            return False
        self._known[key] = (mark, record)
        return True

    def get(self, key: Hashable) -> Any:
        """Return the newest record, or None."""
        return self._known.get(key, (None, None))[1]

    def forget(self, key: Hashable) -> None:
        """Know nothing of a thing."""
        self._known.pop(key, None)

    def values(self) -> list[Any]:
        """Return the newest record of everything."""
        return [record for _, record in self._known.values()]


class PrivateStream(Socket):
    """One account's events. After every connection REST fills the gap before anything is released.

    ``refill`` answers a ``Gap`` from REST; when it raises it is asked again. ``seen`` holds the
    ids of executions that were handed out: hand in one that is kept, and none comes twice in a
    life. Nothing is ever dropped; when ``backlog_limit`` events wait the stream is not ready.
    A ``Refill`` is the last event of each connection's refill: it and what came before it are all
    that the exchange knows.
    """

    path: ClassVar[str] = "/v5/private"

    def __init__(
        self,
        base_url: str,
        *,
        login: Login,
        refill: Callable[[Gap], Awaitable[Refill]],
        seen: MutableSet[str] | Recent | None = None,
        since_ms: int | None = None,
        margin_s: float = 60.0,
        backlog_limit: int = 10_000,
        **options: Any,
    ) -> None:
        super().__init__(base_url, login=login, **options)
        self.seen = Recent() if seen is None else seen
        self.since_ms, self.margin_s, self.backlog_limit = since_ms, margin_s, backlog_limit
        self._refill = refill
        self._held: list[tuple[str, list[Record], int, int]] | None = []
        self._orders, self._positions, self._wallets = Newest(), Newest(), Newest()
        self._ended_orders: deque[str] = deque()
        self.subscribe(*PARSERS)

    @property
    def trouble(self) -> str:
        """Why no new risk should be taken now; empty where all is well."""
        if self.counters.backlog > self.backlog_limit:
            return f"{self.counters.backlog} private events wait to be read."
        return super().trouble

    def _push(self, topic: str, frame: Mapping[str, Any], received_ms: int) -> bool:
        records = [PARSERS[topic](row) for row in frame["data"]]
        time_ms = int(frame["creationTime"])
        self.counters.time(received_ms - time_ms)
        if self._held is None:
            self._release(topic, records, time_ms, received_ms)
        else:
            self._held.append((topic, records, time_ms, received_ms))
        return True

    def _on_garbage(self, topic: str | None) -> None:
        # It may have been a fill: only REST knows now, and a new connection asks it.
        raise ExchangeError(
            "A private frame cannot be read.", "The account is read again by REST; see the log."
        )

    def _forget(self) -> None:
        super()._forget()
        self._held = []

    async def _on_subscribed(self) -> None:
        wait = self.timing.first_wait_s
        while (refill := await self._try_refill()) is None:
            await asyncio.sleep(wait * self._jitter.uniform(0.5, 1.0))
            wait = min(2 * wait, self.timing.last_wait_s)
        held, self._held = self._held or [], None
        now_ms = self._now_ms()
        self._release("execution", sorted(refill.executions, key=_moment), now_ms, now_ms)
        self._release("order", sorted(refill.orders, key=_moment), now_ms, now_ms)
        self._release("position", refill.positions, now_ms, now_ms)
        if refill.wallet is not None:
            self._release("wallet", [refill.wallet], refill.wallet_ms, now_ms)
        for topic, records, time_ms, received_ms in held:
            self._release(topic, records, time_ms, received_ms)
        self.events.put(Event("refill", now_ms, now_ms, 0, refill))

    async def _try_refill(self) -> Refill | None:
        since = self.since_ms
        gap = Gap(
            None if since is None else since - int(self.margin_s * 1000),
            tuple(one for one in self._orders.values() if not one.order_status.is_final),
            tuple(one for one in self._positions.values() if one.size),
        )
        # A task, so that whatever it raises ends the attempt and not the socket.
        task = asyncio.ensure_future(self._refill(gap))
        try:
            await asyncio.wait({task}, timeout=self.timing.refill_s)
            if task.done() and not task.cancelled() and task.exception() is None:
                return task.result()
            error = None if task.cancelled() or not task.done() else task.exception()
            self.last_error = f"The refill failed: {error or 'no answer in time'}."
            log.error("%s: %s", self.url, self.last_error, exc_info=error)
            return None
        finally:
            task.cancel()

    def _release(
        self, topic: str, records: Sequence[Record], time_ms: int, received_ms: int
    ) -> None:
        for record in records:
            if self._is_news(record, time_ms):
                moment, seq = _moment(record) or time_ms, getattr(record, "seq", 0)
                self.events.put(Event(topic, moment, received_ms, seq, record))
            else:
                self.counters.duplicates += 1

    def _is_news(self, record: Record, time_ms: int) -> bool:
        if isinstance(record, Order):
            return self._is_order_news(record)
        if isinstance(record, Position):
            mark: tuple[int, ...] = (record.updated_time_ms, record.seq)
            return self._positions.take((record.symbol, record.position_idx), mark, record)
        if isinstance(record, Wallet):
            return self._wallets.take(record.account_type, (time_ms,), record)
        if record.exec_id in self.seen:
            return False
        self.seen.add(record.exec_id)
        self.since_ms = max(self.since_ms or 0, record.exec_time_ms)
        return True

    def _is_order_news(self, order: Order) -> bool:
        last = self._orders.get(order.order_id)
        if last is not None and (
            order.cum_exec_qty < last.cum_exec_qty
            or (last.order_status.is_final and order.cum_exec_qty == last.cum_exec_qty)
            or (last.order_status.is_final and not order.order_status.is_final)
        ):
            return False
        mark = (order.updated_time_ms, order.cum_exec_qty)
        is_news = self._orders.take(order.order_id, mark, order)
        if is_news and order.order_status.is_final:
            self._ended_orders.append(order.order_id)
            if len(self._ended_orders) > self.backlog_limit:
                self._orders.forget(self._ended_orders.popleft())
        return is_news


def _moment(record: Record) -> int:
    if isinstance(record, Execution):
        return record.exec_time_ms
    return 0 if isinstance(record, Wallet) else record.updated_time_ms
