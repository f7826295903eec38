"""Protects the clock: UTC-aware, and simulated time that never goes back."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from workbench.core.clock import SimulatedClock, SteadyClock, SystemClock
from workbench.core.errors import ConfigError

START = datetime(2024, 1, 1, tzinfo=UTC)


def test_system_clock_is_utc():
    assert SystemClock().now().utcoffset() == timedelta(0)


def test_steady_clock_goes_on_by_itself_when_the_machine_is_set(monkeypatch):
    clock, counted = SteadyClock(), time.monotonic()
    assert abs(clock.now() - SystemClock().now()) < timedelta(seconds=5)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    monkeypatch.setattr(time, "monotonic", lambda: counted + 60)
    first = clock.now()
    monkeypatch.setattr(time, "monotonic", lambda: counted + 65)
    assert clock.now() - first == timedelta(seconds=5)
    assert clock.now().utcoffset() == timedelta(0)


def test_simulated_clock_moves_only_when_moved():
    clock = SimulatedClock(START)
    assert clock.now() == clock.now() == START
    clock.sleep(90)
    assert clock.now() == START + timedelta(seconds=90)


def test_simulated_clock_asked_back_is_refused():
    with pytest.raises(ConfigError, match="go back"):
        SimulatedClock(START).move_to(START - timedelta(seconds=1))


def test_simulated_clock_naive_start_is_refused():
    """Trap: naive local datetimes."""
    with pytest.raises(ConfigError, match="naive"):
        SimulatedClock(datetime(2024, 1, 1))  # noqa: DTZ001
