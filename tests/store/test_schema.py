"""The way up and down, and that migrations and tables say the same (DB-02, DB-03)."""

import sqlite3
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect

from tests.store.rows import start_run
from workbench.core.errors import ConfigError
from workbench.store import Store
from workbench.store.engine import WRITES, make_engine
from workbench.store.migrations import HEAD
from workbench.store.schema import alembic_config, downgrade, read_revision, status, upgrade
from workbench.store.tables import Base


def table_names(engine):
    with engine.connect() as connection:
        return set(inspect(connection).get_table_names())


def test_migrations_make_exactly_the_tables_of_the_metadata(migrated):
    engine = make_engine(migrated)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
    assert table_names(engine) == {*Base.metadata.tables, "alembic_version"}
    engine.dispose()


def test_compare_metadata_sees_a_column_that_no_migration_made(migrated):
    engine = make_engine(migrated)
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE events ADD COLUMN stray INTEGER")
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert len(compare_metadata(context, Base.metadata)) == 1
    engine.dispose()


def test_head_is_the_newest_revision(migrated):
    engine = make_engine(migrated)
    with engine.connect() as connection:
        scripts = ScriptDirectory.from_config(alembic_config(connection))
    engine.dispose()
    assert scripts.get_heads() == [HEAD]


def test_every_revision_goes_up_down_and_up_again(url):
    engine = make_engine(url)
    upgrade(engine)
    with engine.connect() as connection:
        scripts = ScriptDirectory.from_config(alembic_config(connection))
    for revision in scripts.walk_revisions():
        downgrade(engine, revision.down_revision or "base")
        upgrade(engine, revision.revision)
        downgrade(engine, revision.down_revision or "base")
    assert table_names(engine) == {"alembic_version"}
    assert read_revision(engine) is None
    upgrade(engine)
    assert read_revision(engine) == HEAD
    engine.dispose()


def test_upgrade_of_a_current_store_keeps_its_rows(migrated):
    with Store.open(migrated) as store:
        run_id = start_run(store)
    engine = make_engine(migrated)
    upgrade(engine)
    engine.dispose()
    with Store.open(migrated) as store:
        assert store.run(run_id).status == "running"


def test_status_of_an_absent_store_makes_nothing(tmp_path):
    place = tmp_path / "data" / "x.db"
    found = status(make_engine(f"sqlite:///{place}"))
    assert (found.revision, found.is_current) == (None, False)
    assert not place.exists()
    assert not place.parent.exists()


def test_status_of_a_migrated_store_is_current(migrated):
    engine = make_engine(migrated)
    assert status(engine).is_current
    engine.dispose()


def set_revision(url, revision):
    engine = make_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{revision}'")
    engine.dispose()


@pytest.mark.parametrize(("revision", "fix"), [("0000", "db upgrade"), ("9999", "Update")])
def test_open_of_a_store_with_another_schema_says_what_to_do(migrated, revision, fix):
    set_revision(migrated, revision)
    with pytest.raises(ConfigError, match=revision) as caught:
        Store.open(migrated)
    assert fix in caught.value.fix


def test_open_of_an_empty_postgres_database_asks_for_the_upgrade(postgres):
    with pytest.raises(ConfigError, match="db upgrade"):
        Store.open(f"{postgres}/postgres")


def test_open_of_a_file_of_something_else_leaves_it_alone(tmp_path):
    place = tmp_path / "other.db"
    other = sqlite3.connect(place)
    other.execute("CREATE TABLE theirs (x INTEGER)")
    other.commit()
    other.close()
    with pytest.raises(ConfigError, match="theirs"):
        Store.open(f"sqlite:///{place}")
    engine = make_engine(f"sqlite:///{place}")
    assert table_names(engine) == {"theirs"}
    engine.dispose()


def test_open_of_a_database_without_tables_sets_it_up(tmp_path):
    place = tmp_path / "x.db"
    empty = sqlite3.connect(place)
    empty.execute("PRAGMA user_version = 3")
    empty.close()
    assert place.stat().st_size > 0
    with Store.open(f"sqlite:///{place}") as store:
        assert store.runs().empty


def test_open_of_a_file_that_is_no_database_says_so(tmp_path):
    place = tmp_path / "x.db"
    place.write_bytes(b"not a database, but long enough to look at" * 100)
    with pytest.raises(ConfigError, match="not a database"):
        Store.open(f"sqlite:///{place}")


def test_open_where_no_folder_can_be_made_says_so(tmp_path):
    (tmp_path / "data").write_text("a file stands in the way")
    with pytest.raises(ConfigError, match="folder of the store"):
        Store.open(f"sqlite:///{tmp_path}/data/x.db")


def test_upgrade_while_another_process_writes_says_so(tmp_path):
    url = f"sqlite:///{tmp_path / 'x.db'}"
    Store.open(url).close()
    holder = make_engine(url).connect().execution_options(**{WRITES: True})
    hurried = make_engine(url, busy_timeout_s=0.05)
    with holder.begin(), pytest.raises(ConfigError, match="database is locked"):
        upgrade(hurried)
    holder.close()
    holder.engine.dispose()
    hurried.dispose()


def test_open_without_a_server_says_so_and_hides_the_password(postgres, monkeypatch, home):
    server = postgres.rpartition(":")[0]
    monkeypatch.setenv("WORKBENCH_STORE__URL", f"{server}:1/x")
    monkeypatch.setenv("WORKBENCH_STORE__PASSWORD", "hunter2 hunter2")
    with pytest.raises(ConfigError, match="cannot be opened") as caught:
        Store.open()
    assert "hunter2" not in str(caught.value)


def test_open_of_an_address_that_is_none_says_so():
    with pytest.raises(ConfigError, match="cannot be read"):
        Store.open("nonsense")


def test_migrations_are_part_of_the_package():
    import workbench.store

    place = Path(workbench.store.__file__).parent / "migrations"
    assert {path.name for path in place.glob("*.py")} == {"__init__.py", "env.py"}
    assert list((place / "versions").glob("v0*.py"))
