"""Protects a copy of the store at a moment: the same ledger as then, and nothing written back."""

from datetime import timedelta

import pytest

from tests.store.rows import NOON, add_snapshot, make_returns, make_trial, start_run
from workbench.core.clock import SimulatedClock
from workbench.core.errors import ConfigError
from workbench.store import Store


@pytest.fixture
def book(migrated):
    """A store with two batches of trials an hour apart, runs and events."""
    clock = SimulatedClock(NOON)
    with Store.open(migrated, clock=clock) as store:
        add_snapshot(store)
        run = start_run(store)
        store.add_trials([make_trial("a"), make_trial("b")], returns=make_returns(2), run_id=run)
        store.add_event("seal", actor="pull", detail={"until": "2026-01-01"})
        clock.sleep(3600)
        later = start_run(store, started=NOON + timedelta(hours=1))
        store.add_trials([make_trial("c")], returns=make_returns(1, 9), run_id=later)
        store.add_event("seal", actor="me", detail={"until": "2026-02-01"})
        yield store


def test_fork_holds_what_was_there_before_the_moment(book, tmp_path):
    place = f"sqlite:///{tmp_path / 'fork' / 'then.db'}"

    book.fork(place, until=NOON + timedelta(minutes=30))

    with Store.open(place) as then:
        assert list(then.trials().strategy_hash) == ["a", "b"]
        assert (then.trial_returns([1, 2]) == book.trial_returns([1, 2])).all()
        check = then.verify_trials()
        assert check.is_intact, check.reason
        assert check.head == book.trials().row_hash[1]
        assert list(then.events().detail) == [{"until": "2026-01-01"}]
        assert len(then.runs()) == 1


def test_fork_takes_new_rows_without_touching_the_origin(book, tmp_path):
    place = f"sqlite:///{tmp_path / 'then.db'}"
    book.fork(place, until=NOON + timedelta(hours=2))

    with Store.open(place) as then:
        assert then.add_trials([make_trial("d")], returns=make_returns(1)) == 1
        assert then.verify_trials().is_intact
    assert list(book.trials().strategy_hash) == ["a", "b", "c"]


def test_fork_of_nothing_is_an_empty_store(book, tmp_path):
    place = f"sqlite:///{tmp_path / 'then.db'}"
    book.fork(place, until=NOON - timedelta(days=1))

    with Store.open(place) as then:
        assert then.trials().empty
        assert then.runs().empty


def test_fork_onto_a_store_is_refused(book, tmp_path):
    place = f"sqlite:///{tmp_path / 'then.db'}"
    book.fork(place, until=NOON)
    with pytest.raises(ConfigError, match="already"):
        book.fork(place, until=NOON)
