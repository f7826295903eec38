"""Protects the studies of searches: apart from our tables, on either backend, one writer."""

import threading

import optuna
import pytest
from sqlalchemy import inspect

import workbench as wb
from tests.markets import random_market
from workbench.core.config import load_config
from workbench.core.errors import ConfigError
from workbench.store import Store
from workbench.store.engine import make_engine
from workbench.store.studies import open_studies
from workbench.store.tables import Base
from workbench.strategies import MovingAverageCross


@pytest.fixture
def settings(migrated, home, monkeypatch):
    monkeypatch.setenv("WORKBENCH_STORE__URL", migrated)
    return load_config().store


def tables(url, schema=None):
    engine = make_engine(url)
    with engine.connect() as connection:
        names = set(inspect(connection).get_table_names(schema=schema))
    engine.dispose()
    return names


def test_search_keeps_its_study_apart_from_our_tables_and_takes_it_up_again(settings):
    """ML-13: Optuna's tables are named as ours are."""
    market = random_market(1, n_bars=200, n_symbols=1, interval="D")
    space = {"fast": (2, 10), "slow": (11, 40)}
    found = wb.optimise(MovingAverageCross(), market, space, n_trials=8)
    again = wb.optimise(MovingAverageCross(), market, space, n_trials=8)
    assert again.table.equals(found.table)
    with Store.open() as store:
        assert len(store.trials()) == len(found.table)
        assert store.verify_trials().is_intact
    assert tables(settings.url) == {*Base.metadata.tables, "alembic_version"}
    with open_studies(settings) as studies:
        storage = optuna.storages.RDBStorage(studies.url, engine_kwargs=studies.engine_kwargs)
        kept = optuna.load_study(study_name=found.study, storage=storage)
        assert [t.params for t in kept.trials] == found.trials[["fast", "slow"]].to_dict("records")
        storage.remove_session()
        storage.engine.dispose()
        is_file = studies.url.startswith("sqlite")
        assert studies.url.endswith("/studies.db") is is_file
    if not is_file:
        assert {"studies", "trials", "alembic_version"} <= tables(settings.url, "studies")


def test_studies_are_written_by_one_at_a_time(settings):
    order = []

    def write(first):
        with open_studies(settings) as studies, studies.alone():
            order.append("in")
            first.wait(0.2)
            order.append("out")

    event = threading.Event()
    threads = [threading.Thread(target=write, args=(event,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert order == ["in", "out"] * 3


def test_studies_in_a_damaged_file_say_what_to_do(home):
    market = random_market(1, n_bars=200, n_symbols=1, interval="D")
    (home / "data").mkdir()
    (home / "data" / "studies.db").write_bytes(b"not a database, but long enough to see" * 100)
    with pytest.raises(ConfigError, match="not a database") as caught:
        wb.optimise(MovingAverageCross(), market, {"fast": (2, 10)}, n_trials=2)
    assert "deleted" in caught.value.fix


def test_studies_hide_the_password(settings):
    with open_studies(settings) as studies:
        assert "url" not in repr(studies)
