"""A copy of a store as it was at a moment, to run something again without writing a line here."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Select, insert, select

from workbench.store.tables import EventRow, ReturnsRow, RunRow, SnapshotRow, TrialRow

if TYPE_CHECKING:
    from sqlalchemy import Connection

ROWS: Final = 500


def copy_rows(source: Connection, target: Connection, *, until: datetime) -> None:
    """Copy what was on record before a moment, in the order in which rows refer to one another.

    The trials copied are the beginning of the chain, so that they are a chain of their own; runs
    that a trial names come along as they are now.
    """
    early = select(TrialRow.batch_id).where(TrialRow.created < until)
    queries: tuple[tuple[Any, Select[Any]], ...] = (
        (SnapshotRow, select(SnapshotRow.__table__)),
        (RunRow, select(RunRow.__table__).where(RunRow.started < until)),
        (ReturnsRow, select(ReturnsRow.__table__).where(ReturnsRow.batch_id.in_(early))),
        (
            TrialRow,
            select(TrialRow.__table__).where(TrialRow.created < until).order_by(TrialRow.trial_id),
        ),
        (EventRow, select(EventRow.__table__).where(EventRow.at < until)),
    )
    for table, query in queries:
        rows = source.execution_options(stream_results=True).execute(query)
        for part in rows.mappings().partitions(ROWS):
            target.execute(insert(table.__table__), [dict(row) for row in part])
