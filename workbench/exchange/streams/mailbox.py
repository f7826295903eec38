"""What streams hand out: events with two times, and the queue that no slow reader can block."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from workbench.exchange.wire import from_millis


class Event(NamedTuple):
    """One thing that happened: when at the exchange, when here, and what (a typed record).

    Times are milliseconds since 1970 in UTC. ``seq`` is the exchange's sequence number, or 0 where
    it sends none.
    """

    topic: str
    exchange_ms: int
    received_ms: int
    seq: int
    record: Any

    @property
    def exchange_time(self) -> datetime:
        """The exchange's time, UTC-aware."""
        return from_millis(self.exchange_ms)

    @property
    def received_time(self) -> datetime:
        """When the frame was read here, UTC-aware."""
        return from_millis(self.received_ms)


class Lapse(NamedTuple):
    """A topic is no longer whole: nothing is known of it from ``since_ms`` until its next event."""

    reason: str
    since_ms: int


@dataclass(slots=True)
class Counters:
    """What a socket has lived through; times in milliseconds."""

    connections: int = 0
    losses: int = 0
    frames: int = 0
    gaps: int = 0
    stale: int = 0
    refused: int = 0
    duplicates: int = 0
    strays: int = 0
    garbage: int = 0
    coalesced: int = 0
    dropped: int = 0
    backlog: int = 0
    backlog_max: int = 0
    latency_ms: int = 0
    latency_max_ms: int = 0
    round_trip_ms: float = 0.0

    def time(self, latency_ms: int) -> None:
        """Note how long a frame was under way; clocks that differ show in it."""
        self.latency_ms = latency_ms
        if latency_ms > self.latency_max_ms:
            self.latency_max_ms = latency_ms


class Recent:
    """The latest ids, so that nothing is taken twice; bounded, and all of it can be kept."""

    def __init__(self, ids: Iterable[str] = (), *, limit: int = 100_000) -> None:
        self.limit = limit
        self._ids: OrderedDict[str, None] = OrderedDict()
        for one in ids:
            self.add(one)

    def __contains__(self, one: object) -> bool:
        return one in self._ids

    def __iter__(self) -> Any:
        return iter(self._ids)

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, one: str) -> None:
        """Remember an id; the oldest is forgotten when there are too many."""
        self._ids[one] = None
        if len(self._ids) > self.limit:
            self._ids.popitem(last=False)


class Mailbox:
    """Events in the order they came; a state is replaced by a newer one that no reader has taken.

    An event with a key takes the place of the waiting one with that key. A lossy event pushes the
    oldest lossy one out when too many wait. Every other event waits for as long as it must.
    """

    def __init__(self, counters: Counters, *, lossy_limit: int = 100_000) -> None:
        self.counters, self.lossy_limit = counters, lossy_limit
        self._waiting: OrderedDict[Hashable, Event] = OrderedDict()
        self._lossy: deque[int] = deque()
        self._number = 0
        self._reader = asyncio.Event()
        self._failure: BaseException | None = None

    def put(self, event: Event, *, key: Hashable = None, is_lossy: bool = False) -> None:
        """Add an event; never waits."""
        counters = self.counters
        if key is None:
            self._number += 1
            key = self._number
            if is_lossy:
                self._lossy.append(self._number)
                if len(self._lossy) > self.lossy_limit:
                    del self._waiting[self._lossy.popleft()]
                    counters.dropped += 1
        elif key in self._waiting:
            counters.coalesced += 1
        self._waiting[key] = event
        backlog = counters.backlog = len(self._waiting)
        if backlog > counters.backlog_max:
            counters.backlog_max = backlog
        self._reader.set()

    def withdraw(self, key: Hashable) -> None:
        """Take back a state that no reader has taken."""
        self._waiting.pop(key, None)
        self.counters.backlog = len(self._waiting)

    def fail(self, error: BaseException) -> None:
        """Raise an error to the reader once everything before it is read."""
        self._failure = error
        self._reader.set()

    def take(self) -> Event | None:
        """Return the next event, or nothing."""
        if not self._waiting:
            return None
        key, event = self._waiting.popitem(last=False)
        if self._lossy and self._lossy[0] == key:
            self._lossy.popleft()
        self.counters.backlog = len(self._waiting)
        return event

    def __aiter__(self) -> Mailbox:
        return self

    async def __anext__(self) -> Event:
        while (event := self.take()) is None:
            if self._failure is not None:
                raise self._failure
            self._reader.clear()
            await self._reader.wait()
        return event
