"""``workbench db``: the schema of the store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer
from rich.text import Text

from workbench.cli.terminal import out
from workbench.core.config import load_config
from workbench.core.errors import ConfigError

if TYPE_CHECKING:
    from sqlalchemy import Engine

app = typer.Typer(no_args_is_help=True, help="Upgrade the store, or show how far it is.")


@app.command()
def upgrade() -> None:
    """Bring the store to the schema of this version; rows are kept."""
    from workbench.store import schema

    with _configured() as engine:
        before = schema.status(engine)
        schema.upgrade(engine)
    step = "already" if before.is_current else f"was {before.revision or 'none'}"
    out.print(Text(f"{before.url}: schema {before.head} ({step})."))


@app.command()
def status() -> None:
    """Say which schema the store has, and which one this version needs; code 1 if they differ."""
    from workbench.store import schema

    with _configured() as engine:
        found = schema.status(engine)
    out.print(Text(f"{found.url}: schema {found.revision or 'none'}, newest {found.head}."))
    if not found.is_current:
        raise ConfigError(
            "The store does not have the schema that this version needs.",
            "Run `workbench db upgrade` (it keeps every row).",
        )


@contextmanager
def _configured() -> Iterator[Engine]:
    from workbench.store.engine import configured_engine

    engine = configured_engine(load_config().store)
    try:
        yield engine
    finally:
        engine.dispose()
