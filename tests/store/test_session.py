"""Runs, snapshots and events come back as they were written, and only ever in UTC."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone

import pandas as pd
import pytest

from tests.store.rows import NOON, add_snapshot, start_run
from workbench.core.clock import SimulatedClock
from workbench.core.errors import DataError
from workbench.store import Store


def test_start_run_gives_an_id_that_sorts_by_time(store):
    first = start_run(store)
    second = start_run(store, started=NOON + timedelta(seconds=1))
    assert first.startswith("20260301-120000-")
    assert list(store.runs().run_id) == [second, first]
    assert list(store.runs(limit=1).run_id) == [second]


def test_start_run_puts_its_id_into_the_path(store):
    run_id = start_run(store, path="runs/2026-03-01/20_research-{run_id}.ipynb")
    assert store.run(run_id).path == f"runs/2026-03-01/20_research-{run_id}.ipynb"


def test_run_that_ended_comes_back_whole(store):
    add_snapshot(store)
    run_id = start_run(store, seed=2**40)
    ended = NOON.astimezone(timezone(timedelta(hours=5))) + timedelta(minutes=3)
    store.finish_run(
        run_id, status="done", ended=ended, measures={"sharpe": 1.5}, snapshot_id="snap"
    )
    run = store.run(run_id[:18])
    assert (run.status, run.seed, run.git_dirty) == ("done", 2**40, False)
    assert run.params == {"symbols": ["BTCUSDT"], "fast": 10}
    assert run.measures == {"sharpe": 1.5}
    assert run.ended == ended
    assert run.ended.tzinfo is UTC


def test_runs_can_be_asked_for_by_status(store):
    failed, _ = start_run(store), start_run(store)
    store.finish_run(failed, status="failed", ended=NOON, error="Boom")
    assert list(store.runs(status="failed").run_id) == [failed]
    assert store.runs(status="failed").error[0] == "Boom"
    assert len(store.runs(status="running")) == 1


@pytest.mark.parametrize("n_runs", [0, 1])
def test_runs_have_times_in_utc_whether_there_are_rows_or_not(store, n_runs):
    for _ in range(n_runs):
        start_run(store)
    assert str(store.runs().dtypes["started"]) == "datetime64[us, UTC]"
    assert str(store.runs().dtypes["ended"]) == "datetime64[us, UTC]"


def test_finish_run_twice_is_refused_and_changes_nothing(store):
    run_id = start_run(store)
    store.finish_run(run_id, status="failed", ended=NOON, error="Boom")
    with pytest.raises(DataError, match=r"ended already \(failed\)"):
        store.finish_run(run_id, status="done", ended=NOON)
    assert store.run(run_id).error == "Boom"


def test_finish_run_that_never_started_is_refused(store):
    with pytest.raises(DataError, match="not on record"):
        store.finish_run("20260101-000000-abcdef", status="done", ended=NOON)


def test_finish_run_with_an_unknown_snapshot_is_refused(store):
    run_id = start_run(store)
    with pytest.raises(DataError, match="add_snapshot"):
        store.finish_run(run_id, status="done", ended=NOON, snapshot_id="none")


@pytest.mark.parametrize(("prefix", "what"), [("2026", "2 runs"), ("x", "No runs"), ("%", "No")])
def test_run_by_a_prefix_that_is_not_unique_is_refused(store, prefix, what):
    start_run(store), start_run(store)
    with pytest.raises(DataError, match=what):
        store.run(prefix)


def test_start_run_with_a_naive_time_is_refused(store):
    with pytest.raises(DataError, match="no zone"):
        start_run(store, started=datetime(2026, 1, 1))  # noqa: DTZ001


def test_add_snapshot_again_is_harmless_and_with_other_files_refused(store):
    add_snapshot(store)
    add_snapshot(store)
    with pytest.raises(DataError, match="other files"):
        add_snapshot(store, files=[("lake/a.parquet", "0" * 64)])
    assert len(store.snapshots()) == 1


def test_snapshot_comes_back_as_written(store):
    add_snapshot(store, end=pd.Timestamp(NOON), is_synthetic=True)
    snapshot = store.snapshot("snap")
    assert snapshot.files == (("lake/a.parquet", "f" * 64),)
    assert snapshot.symbols == ("BTCUSDT",)
    assert (snapshot.end, snapshot.is_synthetic) == (NOON, True)
    with pytest.raises(DataError, match="not on record"):
        store.snapshot("other")


def test_events_are_numbered_and_stamped_by_the_clock(migrated):
    clock = SimulatedClock(NOON)
    with Store.open(migrated, clock=clock) as store:
        numbers = [store.add_event("unseal", actor="ada", detail={"to": NOON})]
        clock.sleep(60)
        numbers.append(store.add_event("seal", actor="ada", detail={"level": 0.5}))
        events = store.events()
    assert list(events.event_id) == numbers[::-1]
    assert list(events["at"]) == [NOON + timedelta(minutes=1), NOON]
    assert events.detail[0] == {"level": 0.5}
    assert events.detail[1] == {"to": "2026-03-01T12:00:00+00:00"}


def test_events_can_be_asked_for_by_kind(store):
    for kind in ("a", "b", "a"):
        store.add_event(kind, actor="ada", detail={})
    assert len(store.events(kind="a")) == 2
    assert len(store.events(limit=1)) == 1


def test_open_without_an_address_takes_the_configured_one(home):
    with Store.open() as store:
        start_run(store)
        assert store.url == f"sqlite:///{home}/data/workbench.db"
    assert (home / "data/workbench.db").is_file()


def test_importing_the_store_loads_no_database_library():
    code = "import sys, workbench.store; sys.exit('sqlalchemy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_opening_a_store_that_is_current_does_not_load_alembic(migrated):
    code = (
        "import sys; from workbench.store import Store; "
        f"Store.open({migrated!r}).close(); sys.exit('alembic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_event_that_follows_from_others_is_refused_when_there_are_more_by_now(store):
    first = store.add_event("a", actor="t", detail={}, after=0)
    store.add_event("b", actor="t", detail={})
    second = store.add_event("a", actor="t", detail={}, after=first)
    for known in (0, first):
        with pytest.raises(DataError, match=f"is number {second}, not {known}"):
            store.add_event("a", actor="t", detail={}, after=known)
    assert len(store.events(kind="a")) == 2
