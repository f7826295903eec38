"""Silence is counted by the watcher's own clock, and nothing but an orderly rest excuses it."""

import os
from datetime import UTC, datetime, timedelta

import pytest

from workbench.live.heartbeat import ENGINE, LONGEST_STEP_S, Heart, Pulse, may_enter

START = datetime(2026, 7, 1, tzinfo=UTC)


def at(seconds):
    return START + timedelta(seconds=seconds)


@pytest.fixture
def heart(tmp_path):
    return Heart(tmp_path / "supervisor" / ENGINE)


@pytest.fixture
def pulse(heart):
    return Pulse(heart)


def beat(heart, stamp):
    """A beat with a stamp of its own, as if the machine's clock stood there."""
    heart.beat()
    os.utime(heart.path, ns=(stamp, stamp))


def test_pulse_of_an_engine_that_never_ran_is_none(pulse):
    assert [pulse.look(at(n)) for n in range(3)] == [None, None, None]


def test_pulse_begins_to_count_with_the_first_sight_of_the_file(heart, pulse):
    pulse.look(at(0))
    beat(heart, 1)
    assert [pulse.look(at(n)) for n in (100, 101, 103)] == [0, 1, 3]


def test_pulse_counts_silence_and_a_beat_ends_it(heart, pulse):
    beat(heart, 5)
    assert [pulse.look(at(n)) for n in (0, 2, 4)] == [0, 2, 4]
    beat(heart, 6)
    assert [pulse.look(at(n)) for n in (5, 6)] == [0, 1]


@pytest.mark.parametrize("stamp", [0, 10**18], ids=["set back to 1970", "set far ahead"])
def test_pulse_hears_a_beat_whatever_the_machines_clock_says(heart, pulse, stamp):
    beat(heart, 10**15)
    pulse.look(at(0))
    pulse.look(at(3))
    beat(heart, stamp)
    assert pulse.look(at(4)) == 0


def test_pulse_holds_a_pause_of_its_own_against_nobody(heart, pulse):
    beat(heart, 5)
    pulse.look(at(0))
    assert pulse.look(at(7_200)) == LONGEST_STEP_S


def test_pulse_counts_on_when_the_file_is_gone(heart, pulse):
    beat(heart, 5)
    pulse.look(at(0))
    heart.path.unlink()
    assert pulse.look(at(3)) == 3


def test_file_that_cannot_be_read_is_silence(heart, pulse, monkeypatch):
    beat(heart, 5)
    pulse.look(at(0))

    def broken(*_, **__):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("pathlib.Path.stat", broken)
    assert pulse.look(at(3)) == 3


def test_rest_in_order_is_no_silence_and_the_next_beat_is_heard(heart, pulse):
    beat(heart, 5)
    pulse.look(at(0))
    heart.rest()
    assert heart.is_resting
    assert pulse.look(at(4)) is None
    beat(heart, 6)
    assert not heart.is_resting
    assert pulse.look(at(8)) == 0
    assert pulse.look(at(9)) == 1


def test_restored_pulse_does_not_count_silence_anew(heart, pulse):
    beat(heart, 5)
    for n in range(0, 9, 3):
        pulse.look(at(n))
    again = Pulse(heart)
    again.restore(pulse.document())
    assert again.look(at(100)) == 6
    assert again.look(at(101)) == 7


def test_restored_pulse_hears_a_beat_that_came_meanwhile(heart, pulse):
    beat(heart, 5)
    pulse.look(at(0))
    pulse.look(at(4))
    again = Pulse(heart)
    again.restore(pulse.document())
    beat(heart, 6)
    assert again.look(at(100)) == 0


def test_beat_writes_nothing_into_its_file(heart):
    heart.beat()
    heart.beat()
    assert heart.path.stat().st_size == 0


def test_entries_pass_only_while_a_beat_of_the_supervisor_is_heard(heart):
    clearance = Pulse(heart)
    assert not may_enter(clearance, at(0))
    beat(heart, 5)  # may be left by a supervisor that is dead
    assert not may_enter(clearance, at(1))
    beat(heart, 6)
    assert may_enter(clearance, at(2))
    assert may_enter(clearance, at(6))
    assert may_enter(clearance, at(30))  # a long pause of its own counts as a short one
    assert not may_enter(clearance, at(34))
    beat(heart, 7)
    assert may_enter(clearance, at(51))
    heart.rest()
    assert not may_enter(clearance, at(52))
