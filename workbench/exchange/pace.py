"""How fast the exchange may be asked: a token bucket, corrected by what its headers say."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from workbench.core.clock import Clock


class TokenBucket:
    """Lets so many requests through per second, and none before a moment the exchange named."""

    def __init__(self, *, rate: float, clock: Clock) -> None:
        self.rate, self.clock = rate, clock
        self.tokens = rate
        self.filled_at = clock.now()
        self.blocked_until = clock.now()

    def take(self) -> None:
        """Wait until one more request may be sent."""
        wait = (self.blocked_until - self.clock.now()).total_seconds()
        if wait > 0:
            self.clock.sleep(wait)
        self._fill()
        if self.tokens < 1:
            self.clock.sleep((1 - self.tokens) / self.rate)
            self._fill()
        self.tokens -= 1

    def learn(self, headers: Mapping[str, str]) -> None:
        """Read the limit headers of a reply: with nothing left, wait for the reset."""
        left = headers.get("X-Bapi-Limit-Status")
        reset = headers.get("X-Bapi-Limit-Reset-Timestamp")
        if left is not None and int(left) <= 0:
            now = self.clock.now()
            # The stamp is missing at times, or past where clocks differ: then a second does.
            until = datetime.fromtimestamp(int(reset) / 1000, UTC) if reset else now
            self.block(max((until - now).total_seconds(), 1.0))

    def block(self, seconds: float) -> None:
        """Send nothing for so many seconds."""
        until = self.clock.now() + timedelta(seconds=seconds)
        self.blocked_until = max(self.blocked_until, until)

    def _fill(self) -> None:
        now = self.clock.now()
        gained = (now - self.filled_at).total_seconds() * self.rate
        self.tokens = min(self.rate, self.tokens + gained)
        self.filled_at = now
