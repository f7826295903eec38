"""Protects the breakers on record: kept across a restart, and re-armed only by a person's word."""

from datetime import UTC, datetime, timedelta

import pytest

from workbench.core.errors import RiskRefused
from workbench.monitor.breakers import (
    Memory,
    ask_rearm,
    read_asked,
    read_breakers,
    read_changes,
    read_memory,
    save_memory,
)
from workbench.risk.breakers import Breakers, Kind, Phase
from workbench.risk.limits import breaker_limits, load_limits

LIMITS = load_limits()
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
CALM = dict.fromkeys(Kind, 0.0)


@pytest.fixture
def fallen(store):
    """A store on whose account the drawdown has opened its breaker, and those breakers."""
    breakers = Breakers(breaker_limits(LIMITS))
    breakers.update(CALM, NOON)
    changes = breakers.update({**CALM, Kind.DRAWDOWN: 0.4, Kind.ORDER_RATE: 1e3}, NOON)
    save_memory(store, {"peak": 1.0, "breakers": breakers.document()}, changes)
    return store, breakers


def test_breakers_of_a_fresh_store_are_closed(store):
    assert read_memory(store) == Memory()
    assert read_breakers(store, LIMITS).scale == 1.0
    assert read_changes(store, limit=5) == []


def test_restart_finds_the_breakers_as_they_were(fallen):
    """RK-20, trap: state that is not persisted."""
    store, breakers = fallen
    again = read_breakers(store, LIMITS)
    assert dict(again.states) == dict(breakers.states)
    assert (again.scale, again.now) == (0.0, NOON)
    assert read_memory(store).document["peak"] == 1.0
    opened = [(c.kind, c.before, c.after, c.at) for c in read_changes(store, limit=5)]
    assert opened == [
        (Kind.ORDER_RATE, Phase.CLOSED, Phase.OPEN, NOON),
        (Kind.DRAWDOWN, Phase.CLOSED, Phase.OPEN, NOON),
    ]


def test_rearming_is_asked_on_record_and_heard_once(fallen):
    """RK-20: the engine, which alone writes its memory, takes up a person's word."""
    store, breakers = fallen
    later = NOON + timedelta(days=2)
    change = ask_rearm(store, Kind.DRAWDOWN, limits=LIMITS, by="ada", reason="agreed", now=later)
    assert change.after is Phase.HALF_OPEN
    assert read_breakers(store, LIMITS).states[Kind.DRAWDOWN].phase is Phase.OPEN
    (asked,) = read_asked(store, heard=read_memory(store).heard)
    assert (asked.kind, asked.by, asked.reason) == (Kind.DRAWDOWN, "ada", "agreed")

    done = breakers.rearm(asked.kind, by=asked.by, reason=asked.reason, now=later)
    save_memory(store, {"breakers": breakers.document()}, [done], heard=asked.number)
    assert read_asked(store, heard=read_memory(store).heard) == []
    assert read_breakers(store, LIMITS).states[Kind.DRAWDOWN].phase is Phase.HALF_OPEN
    assert read_changes(store, limit=1)[0].by == "ada"


def test_rearming_of_what_ends_by_itself_is_not_recorded(fallen):
    store, _ = fallen
    with pytest.raises(RiskRefused, match="not re-armed by hand"):
        ask_rearm(store, Kind.ORDER_RATE, limits=LIMITS, by="ada", reason="x", now=NOON)
    assert read_asked(store, heard=0) == []


def test_clock_that_stands_before_the_last_change_does_not_hold_a_person_up(fallen):
    store, _ = fallen
    early = NOON - timedelta(seconds=5)
    change = ask_rearm(store, Kind.DRAWDOWN, limits=LIMITS, by="ada", reason="x", now=early)
    assert change.at == NOON
