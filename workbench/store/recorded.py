"""What an engine records: postings, ended orders, equity, and its newest word about itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal

from sqlalchemy import Select, delete, insert, select
from sqlalchemy.dialects import postgresql, sqlite

from workbench.store.canonical import plain
from workbench.store.tables import Base, EngineRow, EquityRow, OrderRow, PostingRow

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

Table = Literal["postings", "orders", "equity"]

TABLES: Final[Mapping[str, type[Base]]] = {
    "postings": PostingRow,
    "orders": OrderRow,
    "equity": EquityRow,
}
ORDER: Final = {"postings": "at", "orders": "ended_at", "equity": "at"}


def add_rows(session: Session, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Append rows; one that is there already is left as it is."""
    dialect = session.get_bind().dialect.name
    build = sqlite.insert if dialect == "sqlite" else postgresql.insert
    session.execute(build(TABLES[table]).on_conflict_do_nothing(), list(rows))


def select_rows(
    table: Table, *, venues: Sequence[str] | None, strategy_hash: str | None
) -> Select[Any]:
    """Return the query for rows of some venues and one strategy, the oldest first."""
    row: Any = TABLES[table]
    query = select(row).order_by(getattr(row, ORDER[table]))
    if venues is not None:
        query = query.where(row.venue.in_(venues))
    return query if strategy_hash is None else query.where(row.strategy_hash == strategy_hash)


def put_engine(
    session: Session, profile: str, document: Mapping[str, Any], *, now: datetime
) -> None:
    """Keep the newest word of an engine in the place of the one before."""
    session.execute(delete(EngineRow).where(EngineRow.profile == profile))
    session.execute(insert(EngineRow), {"profile": profile, "at": now, "document": plain(document)})
