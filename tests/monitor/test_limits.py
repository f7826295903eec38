"""Protects the limits on record: tighter at once, looser only confirmed and cooled down (RK-03).

Traps: a partial configuration that replaces the rest, and state that is not persisted.
"""

import json
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.clock import SimulatedClock
from workbench.core.errors import ConfigError, DataError, RiskRefused
from workbench.monitor.limits import Entry, InForce, LimitBook, limits_at
from workbench.risk.limits import change_limits, compare_limits, load_limits

CAREFUL, BOLD = load_limits("conservative"), load_limits("aggressive")
HOUR = 3_600.0
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def book(store, clock):
    return LimitBook(store, clock=clock)


def ask(book, **fields):
    limits = change_limits(book.in_force().limits, **fields)
    return book.change(limits, by="ada", reason="the desk agreed")


def confirm(book, entry, typed=None):
    name = entry.detail["name"] if typed is None else typed
    return book.confirm(entry.number, by="bob", typed=name, reason="seen")


def test_conservative_mode_is_in_force_before_anything_is_on_record(book):
    assert book.in_force() == InForce(CAREFUL)
    assert book.entries == ()


def test_tighter_limit_is_in_force_at_once_and_leaves_the_others(book):
    """Trap: a partial configuration that replaces the rest."""
    entry = ask(book, max_gross=1.6)
    now = book.in_force()
    assert [d.field for d in compare_limits(CAREFUL, now.limits)] == ["max_gross"]
    assert now.limits.max_gross == 1.6
    assert now.sources["max_gross"] == f"entry {entry.number}, ada: the desk agreed"
    assert not now.waiting


@pytest.mark.parametrize(
    "fields", [{"max_gross": 2.5}, {"min_free_margin": 0.1}, {"stop_volatilities": 4.0},
               {"drawdown_action": "block"}],
)  # fmt: skip
def test_looser_limit_waits_for_its_name_and_for_the_cooldown(book, clock, fields):
    """RK-03: what is neither tighter nor looser waits as well."""
    entry = ask(book, **fields)
    clock.sleep(1_000 * HOUR)
    assert book.in_force().limits == CAREFUL
    with pytest.raises(RiskRefused, match=f"'yes', not '{entry.detail['name']}'"):
        confirm(book, entry, "yes")
    confirm(book, entry)
    clock.sleep(24 * HOUR - 1)
    assert book.in_force().limits == CAREFUL
    clock.sleep(1)
    assert book.in_force().limits == change_limits(CAREFUL, **fields)
    assert not book.in_force().waiting


def test_switch_of_mode_is_split_and_is_complete_after_the_cooldown(book, clock):
    """RK-03: confirmation and cool-down, either way."""
    to_bold = book.change(BOLD, by="ada", reason="x")
    split = book.in_force().limits
    assert split.mode == "conservative"
    assert all(d.way == "tighter" for d in compare_limits(CAREFUL, split))
    confirm(book, to_bold, "aggressive")
    clock.sleep(24 * HOUR)
    assert book.in_force().limits == BOLD
    back = book.change(CAREFUL, by="ada", reason="x")
    now = book.in_force().limits
    assert now.max_gross == CAREFUL.max_gross
    assert {d.way for d in compare_limits(now, CAREFUL)} <= {"looser", "other"}
    confirm(book, back)
    clock.sleep(24 * HOUR)
    assert book.in_force().limits == CAREFUL


def test_loosening_that_was_cancelled_never_comes(book, clock):
    entry = ask(book, max_gross=2.5)
    confirm(book, entry)
    book.cancel(entry.number, by="eve", reason="second thoughts")
    clock.sleep(100 * HOUR)
    assert book.in_force().limits == CAREFUL
    with pytest.raises(RiskRefused, match=f"No change of the number {entry.number} waits"):
        confirm(book, entry)


def test_newer_word_on_a_limit_supersedes_what_waits_for_it(book, clock):
    loose = ask(book, max_gross=2.5)
    confirm(book, loose)
    ask(book, max_gross=1.8)
    clock.sleep(100 * HOUR)
    assert book.in_force().limits.max_gross == 1.8


def test_mode_supersedes_everything_that_waits(book, clock):
    confirm(book, ask(book, max_gross=2.5))
    book.change(change_limits(CAREFUL, version=2), by="ada", reason="a new version")
    clock.sleep(100 * HOUR)
    assert book.in_force().limits == change_limits(CAREFUL, version=2)


def test_loosening_that_contradicts_what_became_tighter_lapses(book, clock):
    confirm(book, ask(book, max_net=1.9))
    ask(book, max_gross=1.6)
    clock.sleep(100 * HOUR)
    now = book.in_force()
    assert (now.limits.max_net, now.limits.max_gross, dict(now.waiting)) == (1.5, 1.6, {})


def test_confirming_twice_does_not_begin_anew(book, clock):
    entry = ask(book, max_gross=2.5)
    confirm(book, entry)
    clock.sleep(23 * HOUR)
    with pytest.raises(RiskRefused, match="in force from 2026-03-02 12:00 UTC"):
        confirm(book, entry)
    clock.sleep(HOUR)
    assert book.in_force().limits.max_gross == 2.5


def test_cooldown_is_that_of_the_day_of_the_change(store, clock):
    entry = ask(LimitBook(store, clock=clock, cooldown_hours=48), max_gross=2.5)
    later = LimitBook(store, clock=clock, cooldown_hours=1)
    confirm(later, entry)
    clock.sleep(47 * HOUR)
    assert later.in_force().limits == CAREFUL
    clock.sleep(HOUR)
    assert later.in_force().limits.max_gross == 2.5


@pytest.mark.parametrize(("by", "reason"), [("", "x"), ("ada", " ")])
def test_change_without_a_name_or_reason_is_refused(book, by, reason):
    with pytest.raises(RiskRefused, match="nobody, or no reason"):
        book.change(change_limits(CAREFUL, max_gross=1.8), by=by, reason=reason)
    assert book.in_force().limits == CAREFUL


def test_change_of_nothing_is_refused(book):
    with pytest.raises(RiskRefused, match="in force are these already"):
        book.change(CAREFUL, by="ada", reason="x")


def test_limits_that_contradict_each_other_are_not_written(book):
    with pytest.raises(ConfigError, match="max_gross is below max_net"):
        ask(book, max_gross=1.0)
    assert book.entries == ()


def test_history_can_be_asked_at_every_moment(book, clock):
    first = clock.now()
    clock.sleep(HOUR)
    ask(book, max_gross=1.8)
    clock.sleep(HOUR)
    ask(book, max_gross=1.6)
    asked = [book.in_force(first + timedelta(hours=h)).limits.max_gross for h in range(4)]
    assert asked == [2.0, 1.8, 1.6, 1.6]


def test_clock_that_stands_before_the_last_entry_undoes_nothing(store, book, clock):
    ask(book, max_gross=1.6)
    early = SimulatedClock(clock.now() - timedelta(days=1))
    assert LimitBook(store, clock=early).in_force().limits.max_gross == 1.6


def test_restart_reads_the_same(store, book, clock):
    """Trap: state that is not persisted."""
    confirm(book, ask(book, max_net=1.8))
    ask(book, max_gross=1.9)
    again = LimitBook(store, clock=clock)
    assert (again.entries, again.head) == (book.entries, book.head)
    assert again.in_force() == book.in_force()


def test_writer_that_has_not_read_the_last_entry_writes_nothing(store, book, clock):
    other = LimitBook(store, clock=clock)
    ask(book, max_gross=1.8)
    with pytest.raises(DataError, match="another process has written"):
        ask(other, max_net=1.2)


@pytest.mark.parametrize(
    ("number", "change", "said"),
    [
        (2, lambda d: d["detail"]["now"].update(max_gross=9.0), "2 .* is not as it was written"),
        (1, lambda d: d.update(number=2), "1 .* does not follow"),
        (2, lambda d: d.pop("reason"), "2 .* does not have the form"),
    ],
)
def test_edited_entry_is_named(number, change, said):
    events, clock = Events(), SimulatedClock(NOON)
    ask(LimitBook(events, clock=clock), max_gross=1.8)
    row, actor, written = events.rows[number - 1]
    detail = json.loads(written)
    change(detail)
    events.rows[number - 1] = (row, actor, json.dumps(detail))
    with pytest.raises(DataError, match=f"Entry {said}"):
        LimitBook(events, clock=clock)


BOUNDS = {
    "max_gross": (1.5, 4.0), "max_value_at_risk": (0.01, 0.1), "min_free_margin": (0.1, 0.5),
    "stop_volatilities": (1.0, 5.0),
}  # fmt: skip
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["set", "set", "confirm", "cancel", "wait"]),
        st.sampled_from(sorted(BOUNDS)),
        st.floats(0, 1),
        st.integers(0, 30),
    ),
    max_size=20,
)


class Events:
    """The events of a store, kept in memory as JSON."""

    def __init__(self):
        self.rows = []

    def add_event(self, kind, *, actor, detail, after):
        assert after == len(self.rows)
        self.rows.append((after + 1, actor, json.dumps(detail)))

    def events(self, *, kind):
        rows = [(number, actor, json.loads(detail)) for number, actor, detail in self.rows[::-1]]
        return pd.DataFrame(rows, columns=["event_id", "actor", "detail"])


def take(book, clock, what, name, share, hours):
    """Do one step if it can be done now."""
    waiting = book.in_force().waiting
    low, high = BOUNDS[name]
    if what == "wait":
        clock.sleep(hours * HOUR)
    elif what == "set" and book.in_force().limits.model_dump()[name] != low + share * (high - low):
        ask(book, **{name: low + share * (high - low)})
    elif what == "cancel" and waiting:
        book.cancel(min(waiting), by="ada", reason="x")
    elif what == "confirm" and waiting and waiting[min(waiting)].due is None:
        confirm(book, waiting[min(waiting)].entry)


@given(STEPS)
def test_nothing_becomes_looser_without_a_name_and_a_cooldown(steps):
    """RK-03: whatever is asked, in any order; and the past stays as it was."""
    clock = SimulatedClock(NOON)
    book = LimitBook(Events(), clock=clock)
    past = []
    for step in steps:
        before = book.in_force()
        take(book, clock, *step)
        now = clock.now()
        for change in compare_limits(before.limits, book.in_force().limits):
            if change.way != "tighter":
                (one,) = [w for w in before.waiting.values() if change.field in w.fields]
                asked, due = one.entry.at, one.due
                assert asked + timedelta(hours=24) <= due <= now
                assert one.fields[change.field] == change.new
        clock.sleep(1)
        past.append((now, book.in_force(now)))
    assert [limits_at(book.entries, moment) for moment, _ in past] == [seen for _, seen in past]


def test_entries_alone_decide(book, clock):
    """In force at a moment is a function of the entries: no store, no clock."""
    confirm(book, ask(book, max_gross=2.5))
    copied = [Entry(e.number, e.at, e.actor, e.what, e.reason, e.detail) for e in book.entries]
    assert limits_at(copied, clock.now() + timedelta(hours=24)).limits.max_gross == 2.5
    assert limits_at(copied, clock.now() + timedelta(hours=23)).limits.max_gross == 2.0
