"""How far the clock here is from the exchange's, measured and kept fresh."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from workbench.core.clock import Clock
from workbench.core.errors import ExchangeBusy
from workbench.exchange.wire import to_millis

SAMPLES: Final = 3
GOOD_TRIP: Final = timedelta(milliseconds=200)
"""A round trip this short needs no second one: the error is at most half of it."""


class ServerClock:
    """The exchange's time: the local clock plus an offset, taken at the middle of a round trip."""

    def __init__(self, clock: Clock, ask: Callable[[], datetime], *, fresh_s: float = 60.0) -> None:
        self.clock, self.ask = clock, ask
        self.fresh = timedelta(seconds=fresh_s)
        self.offset = timedelta(0)
        self.trip: timedelta | None = None
        self._looked_at: datetime | None = None
        self._lock = threading.Lock()

    def now(self) -> datetime:
        """Return the exchange's time, as far as it is known."""
        return self.clock.now() + self.offset

    def now_ms(self) -> int:
        """Return the exchange's time in milliseconds since 1970, to stamp a request with."""
        return to_millis(self.now())

    def keep_fresh(self) -> None:
        """Measure again what is too old; an old offset serves while the exchange does not answer.

        Raises
        ------
        ExchangeBusy
            If it was never measured, and the exchange does not answer.
        """
        if self._is_fresh() or not self._lock.acquire(blocking=self.trip is None):
            return  # another thread is measuring: the old offset serves
        try:
            if not self._is_fresh():
                self._measure()
        except ExchangeBusy:
            if self.trip is None:
                raise
            self._looked_at = self.clock.now()
        finally:
            self._lock.release()

    def resync(self) -> None:
        """Measure now, because the exchange has refused a stamp."""
        with self._lock:
            self._measure()

    def _is_fresh(self) -> bool:
        return self._looked_at is not None and abs(self.clock.now() - self._looked_at) < self.fresh

    def _measure(self) -> None:
        best: tuple[timedelta, timedelta] | None = None
        for _ in range(SAMPLES):
            sent = self.clock.now()
            theirs = self.ask()
            trip = self.clock.now() - sent
            if best is None or trip < best[0]:
                best = trip, theirs - (sent + trip / 2)
            if trip <= GOOD_TRIP:
                break
        assert best is not None  # noqa: S101 - there is at least one sample
        self.trip, self.offset = best
        self._looked_at = self.clock.now()
