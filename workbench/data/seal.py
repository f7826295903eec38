"""The sealed end of the data: what nobody may look at until a strategy is judged on it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from workbench.data.importer import ImportReport
from workbench.data.lake import MADE
from workbench.store import Store

EVENT: Final = "seal"
SEALED: Final = timedelta(days=182)
"""How much of the end of the data is sealed: about six months."""
SHARE: Final = 4
"""Of data that span less than twice that, an n-th is sealed."""


def seal_end(until: datetime, *, reason: str) -> None:
    """Seal what comes after a moment, if nothing has been sealed yet: there is one date for all."""
    with Store.open() as store:
        if store.events(kind=EVENT, limit=1).empty:
            detail = {"until": until.isoformat(), "reason": reason}
            store.add_event(EVENT, actor="data", detail=detail)


def seal_import(report: ImportReport) -> None:
    """Seal the end of the first candles that are imported: six months, or a quarter of them."""
    candles = [each for each in report.series if each.series.kind == "kline"]
    if candles and not set(MADE) & set(report.venues):
        first, last = min(each.first for each in candles), max(each.last for each in candles)
        held_back = min(SEALED, (last - first) / SHARE)
        seal_end(last - held_back, reason=f"first import: {report.path.name}")
