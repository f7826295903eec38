"""Engines: SQLite set up for several processes at once, PostgreSQL with a checked pool."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from workbench.core.errors import ConfigError

if TYPE_CHECKING:
    from pydantic import SecretStr
    from sqlalchemy import URL, Engine

    from workbench.core.config import StoreSettings

WRITES: Final = "workbench_writes"
"""Execution option of a connection that will write: it takes SQLite's write lock at once."""

WAL_PAUSE_S: Final = 0.02

_LOCK_KEY: Final = 0x776F726B
"""The advisory lock by which writers of one PostgreSQL database queue up."""


def make_engine(
    url: str, *, password: SecretStr | None = None, busy_timeout_s: float = 30.0
) -> Engine:
    """Return an engine for a store; nothing is connected yet.

    Raises
    ------
    ConfigError
        If the address cannot be read or its driver is not installed.
    """
    try:
        place = make_url(url)
    except ArgumentError as error:
        raise ConfigError(
            "The address of the store cannot be read.",
            "Set store.url to sqlite:///path/to/file.db or postgresql://user@host/name.",
        ) from error
    if password is not None:
        place = place.set(password=password.get_secret_value())
    if place.get_backend_name() == "sqlite":
        return _sqlite(place, busy_timeout_s)
    try:
        return create_engine(place.set(drivername="postgresql+psycopg"), pool_pre_ping=True)
    except (NoSuchModuleError, ModuleNotFoundError) as error:
        raise ConfigError(
            "The store is on PostgreSQL and its driver is not installed.",
            'Install it: pip install "psycopg[binary]".',
        ) from error


def configured_engine(settings: StoreSettings) -> Engine:
    """Return an engine for the store of a configuration."""
    return make_engine(
        settings.url, password=settings.password, busy_timeout_s=settings.busy_timeout_s
    )


def is_fresh_file(engine: Engine) -> bool:
    """Return whether the engine points at SQLite in memory or a file that is absent or empty."""
    if engine.dialect.name != "sqlite":
        return False
    name = engine.url.database
    return (
        name in (None, "", ":memory:")
        or not Path(str(name)).exists()
        or (Path(str(name)).stat().st_size == 0)
    )


def make_folder(engine: Engine) -> None:
    """Make the folder of a SQLite file.

    Raises
    ------
    ConfigError
        If it cannot be made.
    """
    name = engine.url.database
    if engine.dialect.name != "sqlite" or name in (None, "", ":memory:"):
        return
    try:
        Path(str(name)).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"The folder of the store cannot be made: {error}.",
            "Set data_dir or store.url to a place that can be written.",
        ) from error


def take_write_lock(connection: Connection) -> None:
    """Queue up behind the other writers of a PostgreSQL store until this transaction ends.

    SQLite's ``BEGIN IMMEDIATE`` has done so already.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_KEY})


def _use_wal(connection: Any, *, timeout_s: float) -> None:
    # A file keeps its mode. The switch itself does not wait for the busy timeout: where several
    # processes open a fresh file at once, SQLite answers all but one that it is locked.
    until = time.monotonic() + timeout_s
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL").close()
        except sqlite3.OperationalError:
            if time.monotonic() >= until:
                raise
            time.sleep(WAL_PAUSE_S)
        else:
            return


def _sqlite(place: URL, busy_timeout_s: float) -> Engine:
    engine = create_engine(place, connect_args={"timeout": busy_timeout_s})
    busy_ms = int(busy_timeout_s * 1000)

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: object) -> None:
        # The driver must not open transactions by itself: it would begin them without the lock.
        connection.isolation_level = None
        for pragma in (
            f"busy_timeout = {busy_ms}",
            "foreign_keys = ON",
            "recursive_triggers = ON",
        ):
            connection.execute(f"PRAGMA {pragma}").close()
        _use_wal(connection, timeout_s=busy_timeout_s)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A transaction that reads first and writes later fails at once when another process wrote
        # in between, whatever the timeout; one that takes the lock first waits its turn.
        is_writer = connection.get_execution_options().get(WRITES, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if is_writer else "BEGIN")

    return engine
