"""Where searches keep their studies: apart from our tables, whose names clash with theirs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from workbench.core.errors import ConfigError
from workbench.store.engine import WRITES, configured_engine, make_folder, take_write_lock
from workbench.store.schema import shown_url

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from workbench.core.config import StoreSettings

SCHEMA: Final = "studies"
FILE: Final = "studies.db"


@dataclass(frozen=True, slots=True)
class Studies:
    """The database of studies: a file beside a SQLite store, a schema of its own on PostgreSQL.

    ``url`` and ``engine_kwargs`` are what SQLAlchemy needs to connect; the address may hold the
    password.
    """

    url: str = field(repr=False)
    engine_kwargs: dict[str, Any] = field(repr=False)
    engine: Engine = field(repr=False)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep every other process from writing to the studies, or to the store, meanwhile.

        The store's own write lock serves for both, on either backend.

        Raises
        ------
        ConfigError
            If they cannot be reached, or another process holds the lock for too long.
        """
        try:
            with self.engine.execution_options(**{WRITES: True}).begin() as connection:
                take_write_lock(connection)
                yield
        except DBAPIError as error:
            raise ConfigError(
                f"The studies beside the store {shown_url(self.engine)} cannot be written: "
                f"{error.orig}.",
                f"Check that the place can be written; a damaged {FILE} can be deleted: the trials "
                "are in the ledger.",
            ) from error


@contextmanager
def open_studies(settings: StoreSettings) -> Iterator[Studies]:
    """Open the database of studies that belongs to the store of a configuration."""
    engine = configured_engine(settings)
    try:
        if engine.dialect.name == "sqlite":
            make_folder(engine)
            place = engine.url.set(database=str(Path(str(engine.url.database)).with_name(FILE)))
            kwargs: dict[str, Any] = {"connect_args": {"timeout": settings.busy_timeout_s}}
        else:
            with engine.begin() as connection:
                take_write_lock(connection)
                connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
            place = engine.url
            kwargs = {"connect_args": {"options": f"-csearch_path={SCHEMA}"}}
        yield Studies(place.render_as_string(hide_password=False), kwargs, engine)
    finally:
        engine.dispose()
