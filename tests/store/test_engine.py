"""Several processes write into one store at once, and none of them fails or waits for ever."""

import sys
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest
from sqlalchemy.exc import OperationalError

from tests.store.rows import add_snapshot, make_returns, make_trial, start_run, write_a_lot
from workbench.core.errors import ConfigError, DataError
from workbench.store import Store
from workbench.store.engine import WRITES, make_engine

N_WORKERS, N_ROUNDS = 4, 12


def run_workers(url):
    with ProcessPoolExecutor(N_WORKERS, mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(write_a_lot, url, worker, N_ROUNDS) for worker in range(N_WORKERS)]
        return [job.result(timeout=120) for job in jobs]


def check_what_workers_wrote(url, new):
    with Store.open(url) as store:
        expected = N_ROUNDS * (1 + 2 * N_WORKERS)
        assert sum(new) == expected
        assert len(store.trials()) == expected
        check = store.verify_trials()
        assert check.is_intact, check.reason
        assert len(store.events(kind="turn")) == N_ROUNDS * N_WORKERS
        assert list(store.runs().status) == ["done"] * N_WORKERS
        assert len(store.snapshots()) == 1


def test_processes_that_write_at_once_all_succeed(migrated):
    check_what_workers_wrote(migrated, run_workers(migrated))


def test_processes_that_open_a_fresh_file_at_once_all_succeed(tmp_path):
    url = f"sqlite:///{tmp_path / 'data' / 'fresh.db'}"
    check_what_workers_wrote(url, run_workers(url))


def test_threads_share_a_store(store):
    add_snapshot(store)
    errors = []

    def write(worker):
        try:
            for turn in range(10):
                store.add_trials([make_trial(f"{worker}-{turn}")], returns=make_returns(1))
        except DataError as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not errors
    assert store.verify_trials().is_intact
    assert len(store.trials()) == 40


def test_sqlite_runs_with_wal_foreign_keys_and_timeout(tmp_path):
    engine = make_engine(f"sqlite:///{tmp_path / 'x.db'}", busy_timeout_s=2.5)
    with engine.connect() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "foreign_keys", "busy_timeout", "recursive_triggers")
        }
    engine.dispose()
    assert pragmas == {
        "journal_mode": "wal",
        "foreign_keys": 1,
        "busy_timeout": 2500,
        "recursive_triggers": 1,
    }


def test_write_that_cannot_get_the_lock_says_so(tmp_path):
    url = f"sqlite:///{tmp_path / 'x.db'}"
    Store.open(url).close()
    hurried = Store(make_engine(url, busy_timeout_s=0.05))
    holder = make_engine(url).connect().execution_options(**{WRITES: True})
    with holder.begin(), pytest.raises(DataError, match="database is locked"):
        start_run(hurried)
    holder.close()
    holder.engine.dispose()
    hurried.close()


def test_readers_do_not_wait_for_a_writer(tmp_path):
    url = f"sqlite:///{tmp_path / 'x.db'}"
    with Store.open(url) as store:
        start_run(store)
        holder = make_engine(url).connect().execution_options(**{WRITES: True})
        with holder.begin():
            holder.exec_driver_sql("UPDATE runs SET notebook = 'other'")
            assert store.runs().notebook[0] != "other"
        holder.close()
        holder.engine.dispose()


def test_make_engine_without_the_driver_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigError, match="driver is not installed"):
        make_engine("postgresql://desk/books")


def test_store_in_memory_keeps_its_rows():
    with Store.open("sqlite://") as store:
        run_id = start_run(store)
        assert store.run(run_id).run_id == run_id


def test_threads_that_open_a_fresh_file_at_once_all_succeed(tmp_path):
    errors = []
    for turn in range(25):
        url, gate = f"sqlite:///{tmp_path / f'{turn}.db'}", threading.Barrier(4)

        def connect(url=url, gate=gate):
            engine = make_engine(url)
            gate.wait()
            try:
                with engine.execution_options(**{WRITES: True}).begin() as connection:
                    connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS t (x INTEGER)")
            except OperationalError as error:
                errors.append(error)
            engine.dispose()

        threads = [threading.Thread(target=connect) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert not errors
