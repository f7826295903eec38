"""The one clock: real in production, simulated in replay and tests."""

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

from workbench.core.errors import ConfigError


class Clock(Protocol):
    """Anything that tells the time in UTC and can wait."""

    def now(self) -> datetime:
        """Return the current moment, UTC-aware."""

    def sleep(self, seconds: float) -> None:
        """Wait; a simulated clock moves instead."""


class SystemClock:
    """The clock of the machine."""

    def now(self) -> datetime:
        """Return the current moment, UTC-aware."""
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        """Block the calling thread."""
        time.sleep(seconds)


class SteadyClock:
    """The machine's time at its start, moved by the machine's own count of seconds.

    Whoever sets the time of the machine meanwhile does not move it.
    """

    def __init__(self) -> None:
        self._start, self._counted = datetime.now(UTC), time.monotonic()

    def now(self) -> datetime:
        """Return the current moment, UTC-aware."""
        return self._start + timedelta(seconds=time.monotonic() - self._counted)

    def sleep(self, seconds: float) -> None:
        """Block the calling thread."""
        time.sleep(seconds)


class SimulatedClock:
    """A clock that stands still until it is moved, and never goes back."""

    def __init__(self, start: datetime) -> None:
        if start.tzinfo is None:
            raise ConfigError(
                f"The clock was started with the naive time {start}.",
                "Give it a time zone: datetime(..., tzinfo=UTC).",
            )
        self._now = start.astimezone(UTC)

    def now(self) -> datetime:
        """Return the moment to which the clock was last moved."""
        return self._now

    def sleep(self, seconds: float) -> None:
        """Move on by so many seconds, at once."""
        self.move_to(self._now + timedelta(seconds=seconds))

    def move_to(self, moment: datetime) -> None:
        """Move on to a moment; an earlier one is an error."""
        if moment < self._now:
            raise ConfigError(
                f"The clock stands at {self._now} and was asked to go back to {moment}.",
                "Replay events in the order of their time.",
            )
        self._now = moment.astimezone(UTC)
