"""The state of a store's schema, and the way up and down."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import inspect, text
from sqlalchemy.exc import DBAPIError

from workbench.core.errors import ConfigError
from workbench.store.engine import WRITES, is_fresh_file, make_folder, take_write_lock
from workbench.store.migrations import HEAD

if TYPE_CHECKING:
    from alembic.config import Config as AlembicConfig
    from sqlalchemy import Connection, Engine


class StoreStatus(NamedTuple):
    """How far a store's schema is; ``revision`` is None where there is none yet."""

    url: str
    revision: str | None
    head: str

    @property
    def is_current(self) -> bool:
        """Whether the store has the schema that this version of the code expects."""
        return self.revision == self.head


def status(engine: Engine) -> StoreStatus:
    """Return how far a store is, without making or changing it.

    Raises
    ------
    ConfigError
        If it cannot be reached.
    """
    revision = None if is_fresh_file(engine) else read_revision(engine)
    return StoreStatus(shown_url(engine), revision, HEAD)


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Bring a store up to a revision, alone: other writers wait.

    Raises
    ------
    ConfigError
        If it cannot be reached.
    """
    from alembic import command

    with _alone(engine) as connection:
        command.upgrade(alembic_config(connection), revision)


def downgrade(engine: Engine, revision: str) -> None:
    """Take a store down to a revision (``base`` removes every table and its rows)."""
    from alembic import command

    with _alone(engine) as connection:
        command.downgrade(alembic_config(connection), revision)


def require_current(engine: Engine) -> None:
    """Check the schema of a store, making a fresh SQLite one.

    Raises
    ------
    ConfigError
        If the store is behind or ahead of this version of the code, or out of reach.
    """
    if is_fresh_file(engine):
        upgrade(engine)
        return
    revision = read_revision(engine)
    if revision is None and engine.dialect.name == "sqlite":
        # Another process may be making the file right now; the write lock settles who does.
        _require_empty(engine)
        upgrade(engine)
        return
    if revision == HEAD:
        return
    if revision is not None and revision > HEAD:
        raise ConfigError(
            f"The store {shown_url(engine)} has schema {revision}, newer than this code's {HEAD}.",
            "Update workbench, or point store.url at another store.",
        )
    raise ConfigError(
        f"The store {shown_url(engine)} has schema {revision or 'none'}; this code needs {HEAD}.",
        "Run `workbench db upgrade` (it keeps every row).",
    )


def read_revision(engine: Engine) -> str | None:
    """Return the revision of a store, None where it has no schema.

    Raises
    ------
    ConfigError
        If it cannot be reached or is not a database.
    """
    try:
        with engine.connect() as connection:
            if not inspect(connection).has_table("alembic_version"):
                return None
            row = connection.execute(text("SELECT version_num FROM alembic_version")).first()
            return None if row is None else str(row[0])
    except DBAPIError as error:
        raise ConfigError(
            f"The store {shown_url(engine)} cannot be opened: {error.orig}.",
            "Check store.url (`workbench config show`) and that the place is there and readable.",
        ) from error


def alembic_config(connection: Connection) -> AlembicConfig:
    """Return Alembic's configuration for a connection that is in its transaction already."""
    from alembic.config import Config as AlembicConfig

    config = AlembicConfig()
    place = Path(__file__).parent / "migrations"
    config.set_main_option("script_location", str(place).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def shown_url(engine: Engine) -> str:
    """Return the address of a store without its password."""
    return engine.url.render_as_string(hide_password=True)


def _require_empty(engine: Engine) -> None:
    with engine.connect() as connection:
        tables = inspect(connection).get_table_names()
    if tables and "alembic_version" not in tables:
        raise ConfigError(
            f"The file {shown_url(engine)} holds tables of something else: {', '.join(tables)}.",
            "Point store.url at a file of its own.",
        )


@contextmanager
def _alone(engine: Engine) -> Iterator[Connection]:
    make_folder(engine)
    try:
        with engine.execution_options(**{WRITES: True}).begin() as connection:
            take_write_lock(connection)
            yield connection
    except DBAPIError as error:
        raise ConfigError(
            f"The store {shown_url(engine)} cannot be set up: {error.orig}.",
            "Check store.url (`workbench config show`) and that the place can be written.",
        ) from error
