"""A fresh store whose clock stands still."""

from datetime import UTC, datetime

import pytest

from workbench.core.clock import SimulatedClock
from workbench.store import Store


@pytest.fixture
def clock():
    return SimulatedClock(datetime(2026, 3, 1, 12, tzinfo=UTC))


@pytest.fixture
def store(tmp_path, clock):
    with Store.open(f"sqlite:///{tmp_path / 'workbench.db'}", clock=clock) as opened:
        yield opened
