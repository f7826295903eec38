"""Risk reports on record: the panel shows the newest, and older ones beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from workbench.risk.report import RiskReport

if TYPE_CHECKING:
    from workbench.store import Store

EVENT: Final = "risk report"
KEPT: Final = 60
"""How many of the newest a reader is given: two months of daily ones."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A report on record: its number, when it was made, and the run that made it, if one did."""

    number: int
    at: datetime
    run_id: str | None
    document: Mapping[str, Any] = field(repr=False)

    @property
    def report(self) -> RiskReport:
        """The report itself, read anew."""
        return RiskReport.from_document(self.document)


def record_report(store: Store, report: RiskReport, *, run_id: str | None) -> int:
    """Put a report on record and return its number."""
    detail: dict[str, Any] = {"run_id": run_id, "report": report.to_document()}
    number: int = store.add_event(EVENT, actor="research", detail=detail)
    return number


def read_reports(store: Store, *, limit: int = KEPT) -> list[Recorded]:
    """Return the reports on record, newest first."""
    events = store.events(kind=EVENT, limit=limit)
    columns = (events[name] for name in ("event_id", "at", "detail"))
    return [
        Recorded(int(number), at.to_pydatetime(), detail["run_id"], detail["report"])
        for number, at, detail in zip(*columns, strict=True)
    ]
