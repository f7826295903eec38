"""The trial ledger: nothing counted twice, nothing changed, every change found."""

import re
from datetime import UTC, date, datetime
from hashlib import sha256

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import DBAPIError

from tests.store.rows import NOON, add_snapshot, make_returns, make_trial, start_run
from workbench.core.errors import DataError
from workbench.store import Store
from workbench.store.engine import make_engine
from workbench.store.ledger import START


def test_add_trials_returns_the_number_that_is_new(store):
    add_snapshot(store)
    trials = [make_trial("a"), make_trial("b"), make_trial("a")]
    assert store.add_trials(trials, returns=make_returns(3)) == 2
    assert store.add_trials(trials, returns=make_returns(3, seed=1)) == 0
    assert store.add_trials([make_trial("b", costs_hash="x")], returns=make_returns(1)) == 1
    add_snapshot(store, "later", files=[("b", "1" * 64)])
    assert store.add_trials([make_trial("b", snapshot_id="later")], returns=make_returns(1)) == 1
    assert list(store.trials().strategy_hash) == ["a", "b", "b", "b"]


def test_add_trials_counts_an_explored_one_once_whoever_tries_it_later(store):
    add_snapshot(store)
    store.add_trials([make_trial("a", kind="explore")], returns=make_returns(1))
    assert store.add_trials([make_trial("a", kind="backtest")], returns=make_returns(1)) == 0
    assert list(store.trials().kind) == ["explore"]


@settings(max_examples=20, deadline=None)
@given(batches=st.lists(st.lists(st.integers(0, 12), min_size=1, max_size=6), max_size=5))
def test_ledger_counts_distinct_trials_and_keeps_its_chain(batches):
    with Store.open("sqlite://") as store:
        add_snapshot(store)
        new = [
            store.add_trials([make_trial(str(n)) for n in batch], returns=make_returns(len(batch)))
            for batch in batches
        ]
        distinct = len({n for batch in batches for n in batch})
        check = store.verify_trials()
        assert sum(new) == check.n_trials == len(store.trials()) == distinct
        assert check.is_intact


def test_trials_come_back_as_written(store):
    add_snapshot(store)
    run_id = start_run(store)
    store.add_trials([make_trial()], returns=make_returns(1), run_id=run_id)
    row = store.trials(family="momentum").iloc[0]
    assert row.params == {"fast": 10, "slow": 50}
    assert row.measures == {"sharpe": 1.25, "sortino": None}
    assert (row.first_day, row.run_id, row.previous_hash) == (date(2025, 1, 2), run_id, START)
    assert store.trials(family="other").empty


def test_trial_returns_come_back_bit_for_bit_in_the_order_asked(store):
    add_snapshot(store)
    returns = make_returns(3, 40)
    store.add_trials([make_trial(str(k)) for k in range(3)], returns=returns)
    back = store.trial_returns([3, 1, 3])
    assert back.dtype == np.float32
    np.testing.assert_array_equal(back, returns[[2, 0, 2]])


def test_trial_returns_of_different_spans_share_one_calendar(store):
    add_snapshot(store)
    early, late = make_returns(1, 4), make_returns(1, 3, seed=1)
    store.add_trials([make_trial("a", first_day=date(2025, 1, 3))], returns=early)
    store.add_trials([make_trial("b", first_day=date(2025, 1, 1))], returns=late)
    back = store.trial_returns([1, 2])
    assert back.shape == (2, 6)
    np.testing.assert_array_equal(back[0], [np.nan, np.nan, *early[0]])
    np.testing.assert_array_equal(back[1], [*late[0], np.nan, np.nan, np.nan])


def test_trial_returns_of_none_is_empty_and_of_an_unknown_one_an_error(store):
    assert store.trial_returns([]).shape == (0, 0)
    with pytest.raises(DataError, match="no trial 5"):
        store.trial_returns([5])


@pytest.mark.parametrize("shape", [(2, 5), (5,), (1, 1, 1)])
def test_add_trials_with_returns_of_another_shape_is_refused(store, shape):
    add_snapshot(store)
    with pytest.raises(DataError, match="shape"):
        store.add_trials([make_trial()], returns=np.zeros(shape, dtype=np.float32))


@pytest.mark.parametrize("change", [{"snapshot_id": "none"}, {"kind": "guess"}])
def test_add_trials_with_a_row_out_of_bounds_adds_nothing(store, change):
    add_snapshot(store)
    with pytest.raises(DataError, match="store refuses"):
        store.add_trials([make_trial("a"), make_trial("b", **change)], returns=make_returns(2))
    assert store.trials().empty
    assert store.verify_trials().is_intact


def test_add_trials_takes_a_moment_as_its_utc_day(store):
    add_snapshot(store)
    moment = datetime(2025, 1, 2, 23, 30, tzinfo=UTC)
    store.add_trials([make_trial(first_day=moment)], returns=make_returns(1))
    assert store.trials().first_day[0] == date(2025, 1, 2)
    assert store.verify_trials().is_intact


APPEND_ONLY = ["trials", "trial_returns", "events", "snapshots"]


@pytest.mark.parametrize("table", APPEND_ONLY)
@pytest.mark.parametrize("verb", ["UPDATE {} SET {} = {}", "DELETE FROM {}"])
def test_append_only_tables_refuse_change_and_removal(store, migrated, table, verb):
    add_snapshot(store)
    store.add_trials([make_trial()], returns=make_returns(1))
    store.add_event("x", actor="me", detail={})
    column = {"trials": "kind", "trial_returns": "n_days", "events": "kind", "snapshots": "files"}
    engine = make_engine(migrated)
    with (
        pytest.raises(DBAPIError, match="append-only"),
        engine.begin() as connection,
    ):
        connection.exec_driver_sql(verb.format(table, column[table], column[table]))
    engine.dispose()


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("table", APPEND_ONLY)
def test_append_only_tables_refuse_to_be_truncated(migrated, table):
    engine = make_engine(migrated)
    with pytest.raises(DBAPIError, match="append-only"), engine.begin() as connection:
        connection.exec_driver_sql(f"TRUNCATE {table} CASCADE")
    engine.dispose()


def test_insert_or_replace_does_not_get_round_the_triggers(tmp_path):
    with Store.open(f"sqlite:///{tmp_path / 'x.db'}") as store:
        store.add_event("x", actor="me", detail={})
        engine = make_engine(store.url)
        with pytest.raises(DBAPIError, match="append-only"), engine.begin() as connection:
            connection.exec_driver_sql(
                "INSERT OR REPLACE INTO events SELECT event_id, at, 'y', actor, detail FROM events"
            )
        engine.dispose()


@pytest.fixture
def ledger(tmp_path):
    """A store with seven trials in three batches, and a way to change it behind its back."""
    url = f"sqlite:///{tmp_path / 'x.db'}"
    with Store.open(url) as store:
        add_snapshot(store)
        add_snapshot(store, "second", files=[("b", "1" * 64)])
        start_run(store, started=NOON)
        for first, last in ((0, 3), (3, 5), (5, 7)):
            trials = [make_trial(str(k)) for k in range(first, last)]
            store.add_trials(trials, returns=make_returns(last - first))

        def tamper(*statements):
            engine = make_engine(url)
            with engine.begin() as connection:
                names = connection.exec_driver_sql(
                    "SELECT name FROM sqlite_master WHERE type = 'trigger'"
                ).scalars()
                for name in list(names):
                    connection.exec_driver_sql(f"DROP TRIGGER {name}")
                for statement in statements:
                    connection.exec_driver_sql(statement)
            engine.dispose()

        yield store, tamper


@pytest.mark.parametrize(
    "change",
    [
        "family = 'other'",
        "strategy = 'x'",
        "strategy_hash = 'x'",
        'params = \'{"fast":11,"slow":50}\'',
        "snapshot_id = 'second'",
        "costs_hash = 'x'",
        "kind = 'backtest'",
        'measures = \'{"sharpe":9.0,"sortino":null}\'',
        "measures = 'not json'",
        "first_day = '2025-01-03'",
        "first_day = 'never'",
        "created = '2020-01-01 00:00:00.000000'",
        "batch_row = 9",
        "batch_row = 0",
        "batch_id = 1",
        "returns_hash = 'x'",
        "previous_hash = 'x'",
        "row_hash = 'x'",
        "run_id = (SELECT run_id FROM runs)",
    ],
)
def test_verify_trials_finds_a_changed_row(ledger, change):
    store, tamper = ledger
    assert store.verify_trials().is_intact
    tamper(f"UPDATE trials SET {change} WHERE trial_id = 5")
    check = store.verify_trials()
    assert check.broken == 5
    assert check.reason
    assert check.n_trials == 7


def test_verify_trials_finds_changed_returns(ledger):
    store, tamper = ledger
    tamper(
        "UPDATE trial_returns SET returns = CAST(zeroblob(39) || substr(returns, 40) AS BLOB) "
        "WHERE batch_id = 2"
    )
    check = store.verify_trials()
    assert (check.broken, check.reason) == (4, "its returns are not as written")


def test_verify_trials_finds_returns_cut_short(ledger):
    store, tamper = ledger
    tamper("UPDATE trial_returns SET returns = substr(returns, 1, 20) WHERE batch_id = 2")
    check = store.verify_trials()
    assert (check.broken, check.reason) == (4, "its returns are missing")


def test_verify_trials_finds_returns_changed_together_with_their_hash(ledger):
    store, tamper = ledger
    changed = make_returns(2, seed=9)
    tamper(
        f"UPDATE trial_returns SET returns = x'{changed.tobytes().hex()}' WHERE batch_id = 2",
        f"UPDATE trials SET returns_hash = '{sha256(changed[0].tobytes()).hexdigest()}' "
        "WHERE trial_id = 4",
    )
    check = store.verify_trials()
    assert (check.broken, check.reason) == (4, "its content is not as written")


def test_verify_trials_finds_a_removed_row(ledger):
    store, tamper = ledger
    tamper("DELETE FROM trials WHERE trial_id = 2")
    assert store.verify_trials().broken == 2


def test_verify_trials_finds_a_removed_end(ledger):
    store, tamper = ledger
    tamper("DELETE FROM trials WHERE trial_id = 7")
    check = store.verify_trials()
    assert check.broken == 7
    assert re.search("returns of 7 trials are kept, rows of 6", check.reason)


def test_verify_trials_finds_swapped_rows(ledger):
    store, tamper = ledger
    tamper(
        "UPDATE trials SET trial_id = 99 WHERE trial_id = 3",
        "UPDATE trials SET trial_id = 3 WHERE trial_id = 4",
        "UPDATE trials SET trial_id = 4 WHERE trial_id = 99",
    )
    assert store.verify_trials().broken == 3


def test_verify_trials_finds_a_row_whose_own_hash_was_made_again(ledger):
    store, tamper = ledger
    tamper(
        "UPDATE trials SET family = 'other', row_hash = 'made again' WHERE trial_id = 3",
        "UPDATE trials SET previous_hash = 'made again' WHERE trial_id = 4",
    )
    assert store.verify_trials().broken == 3
