"""Stores to test on: SQLite always, PostgreSQL where its programs and driver are installed."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import pytest

from workbench.store import Store
from workbench.store.engine import make_engine
from workbench.store.schema import upgrade


def _programs() -> Path | None:
    config = shutil.which("pg_config")
    if config is None or find_spec("psycopg") is None:
        return None
    place = subprocess.run([config, "--bindir"], check=True, capture_output=True, text=True)
    return Path(place.stdout.strip())


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The address of a PostgreSQL server of our own on loopback, without a database name."""
    programs = _programs()
    if programs is None:
        pytest.skip("needs PostgreSQL's programs and psycopg")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # The server refuses to run as root, and pytest's folders are closed to everybody else.
    user = "postgres" if os.geteuid() == 0 else None
    with TemporaryDirectory(prefix="postgres", ignore_cleanup_errors=True) as folder:
        base = Path(folder)
        if user:
            shutil.chown(base, user)

        def call(program: str, *arguments: str) -> None:
            command = [str(programs / program), *arguments]
            subprocess.run(command, check=True, user=user, cwd=base, stdout=subprocess.DEVNULL)

        call("initdb", "-D", str(base / "db"), "-U", "tester", "-A", "trust", "-N")
        options = (
            f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
        )
        place = str(base / "db")
        call("pg_ctl", "-D", place, "-o", options, "-l", str(base / "log"), "-w", "start")
        yield f"postgresql://tester@127.0.0.1:{port}"
        call("pg_ctl", "-D", place, "-m", "immediate", "-w", "stop")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'data' / 'workbench.db'}"
    server = request.getfixturevalue("postgres")
    name = f"t{uuid4().hex}"
    engine = make_engine(f"{server}/postgres")
    with engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql(
            f"CREATE DATABASE {name}"
        )
    engine.dispose()
    return f"{server}/{name}"


@pytest.fixture
def migrated(url: str) -> str:
    """The address of a store with the newest schema and no rows."""
    engine = make_engine(url)
    upgrade(engine)
    engine.dispose()
    return url


@pytest.fixture
def store(migrated: str) -> Iterator[Store]:
    """An open store of either kind."""
    with Store.open(migrated) as opened:
        yield opened
