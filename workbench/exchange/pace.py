"""How fast the exchange may be asked: token buckets, corrected by what its headers say."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from workbench.core.clock import Clock
from workbench.core.errors import ExchangeBusy

_LEAST_WAIT_S = 0.001


class TokenBucket:
    """Lets ``limit`` units through in any window, and none before a moment the exchange named.

    A token comes back one window after it was taken, as the exchange counts them. The share
    ``reserve`` of them goes to urgent requests only; headers raise the limit up to ``most``. Safe
    to share between threads; nobody waits while holding the lock, so whoever is urgent passes
    those who wait.
    """

    def __init__(
        self,
        *,
        limit: float,
        clock: Clock,
        window_s: float = 1.0,
        reserve: float = 0.0,
        most: float = float("inf"),
    ) -> None:
        self.limit, self.most, self.clock = limit, most, clock
        self.window = timedelta(seconds=window_s)
        self.reserve = reserve
        self.blocked_until = clock.now()
        self._taken: deque[tuple[datetime, float]] = deque()
        self._sum = 0.0
        self._lock = threading.Lock()

    def take(
        self, units: float = 1, *, is_urgent: bool = False, patience_s: float = float("inf")
    ) -> None:
        """Wait until so many more units may be used.

        Raises
        ------
        ExchangeBusy
            If that would take longer than ``patience_s``: nothing was taken.
        """
        deadline = self.clock.now() + timedelta(seconds=min(patience_s, 1e9))
        while wait := self._try(units, is_urgent=is_urgent):
            if self.clock.now() + timedelta(seconds=wait) > deadline:
                raise ExchangeBusy(
                    f"The next request may go in {wait:.1f} s, and this one waits {patience_s:g}.",
                    "It was not sent; send fewer, or send it again later.",
                )
            self.clock.sleep(wait)

    def learn(self, headers: Mapping[str, str], *, now: datetime | None = None) -> None:
        """Read the limit headers of a reply; ``now`` is the exchange's time.

        Where the exchange counts more than was taken here, somebody else uses the same key.
        """
        limit, left = headers.get("X-Bapi-Limit"), headers.get("X-Bapi-Limit-Status")
        if limit is not None and int(limit) > 0:
            self.limit = min(float(limit), self.most)
        if left is None:
            return
        with self._lock:
            at = self.clock.now()
            more = self.limit - max(int(left), 0) - self._used(at)
            if more > 0:
                self._add(at, more)
        # The stamp is missing at times, or past where clocks differ.
        reset = headers.get("X-Bapi-Limit-Reset-Timestamp")
        if int(left) <= 0 and reset is not None:
            until = datetime.fromtimestamp(int(reset) / 1000, UTC)
            self.block(min((until - (now or at)).total_seconds(), 10.0))

    def block(self, seconds: float) -> None:
        """Send nothing for so many seconds."""
        with self._lock:
            until = self.clock.now() + timedelta(seconds=seconds)
            self.blocked_until = max(self.blocked_until, until)

    def _try(self, units: float, *, is_urgent: bool) -> float:
        with self._lock:
            now = self.clock.now()
            if self.blocked_until > now:
                return max((self.blocked_until - now).total_seconds(), _LEAST_WAIT_S)
            used = self._used(now)
            room = self.limit * (1 if is_urgent else 1 - self.reserve)
            # What is larger than the whole bucket goes when the bucket is full.
            if used == 0 or used + units <= room:
                self._add(now, units)
                return 0.0
            need, freed = used + units - room, 0.0
            back = now
            for taken_at, taken in self._taken:
                back, freed = taken_at + self.window, freed + taken
                if freed >= need:
                    break
            return max((back - now).total_seconds(), _LEAST_WAIT_S)

    def _add(self, at: datetime, units: float) -> None:
        self._taken.append((at, units))
        self._sum += units

    def _used(self, now: datetime) -> float:
        while self._taken and self._taken[0][0] + self.window <= now:
            self._sum -= self._taken.popleft()[1]
        return self._sum
