"""How patient a socket is, and how often all sockets together may connect."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol


class TellsTime(Protocol):
    """A clock, or the client's idea of the exchange's time."""

    def now(self) -> datetime:
        """Return the current moment, UTC-aware."""


@dataclass(frozen=True)
class Timing:
    """How patient a socket is, in seconds."""

    ping_s: float = 20.0
    reply_s: float = 10.0
    login_s: float = 10.0
    refill_s: float = 60.0
    first_wait_s: float = 0.2
    last_wait_s: float = 30.0
    settled_s: float = 5.0
    repair_s: float = 0.5


class ConnectionBudget:
    """So many connections in so many seconds, over all sockets that share it.

    Bybit bans an address for more than 500 in five minutes.
    """

    def __init__(self, limit: int = 400, window_s: float = 300.0) -> None:
        self.window_s = window_s
        self._starts: deque[float] = deque(maxlen=limit)

    async def take(self) -> None:
        """Wait until one more connection may be made."""
        now = asyncio.get_running_loop().time()
        full = len(self._starts) == self._starts.maxlen
        start = max(now, self._starts[0] + self.window_s) if full else now
        self._starts.append(start)
        if start > now:
            await asyncio.sleep(start - now)


SHARED_BUDGET: Final = ConnectionBudget()
"""The budget of this process: the ban is by address."""
