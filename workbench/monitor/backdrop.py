"""Backdrops on record: the slow forecasts that the worker leaves for the engine."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from workbench.risk.outlook import Backdrop
from workbench.risk.regime import Regime

if TYPE_CHECKING:
    from workbench.store import Store

EVENT: Final = "backdrop"
GOOD_FOR: Final = timedelta(days=2)
"""What is older says nothing of today: the regime is then unknown, and the tail a heavy one."""
READ: Final = 20


def record_backdrop(
    store: Store,
    backdrop: Backdrop,
    *,
    symbols: Sequence[str],
    interval: str,
    known_at: datetime,
    actor: str = "worker",
) -> int:
    """Put a backdrop of some symbols on record, and return its number."""
    detail: dict[str, Any] = {
        **backdrop._asdict(),
        "regime": int(backdrop.regime),
        "symbols": sorted(symbols),
        "interval": interval,
        "known_at": known_at,
    }
    number: int = store.add_event(EVENT, actor=actor, detail=detail)
    return number


def read_backdrop(
    store: Store, *, symbols: Sequence[str], interval: str, now: datetime
) -> Backdrop:
    """Return the newest backdrop of exactly these symbols, unknown where there is none of late."""
    for detail in store.events(kind=EVENT, limit=READ)["detail"]:
        known_at = datetime.fromisoformat(detail["known_at"])
        is_ours = detail["symbols"] == sorted(symbols) and detail["interval"] == interval
        if is_ours and now - GOOD_FOR <= known_at <= now:
            rest = (
                float("nan") if detail[name] is None else float(detail[name])
                for name in Backdrop._fields[1:]
            )
            return Backdrop(Regime(detail["regime"]), *rest)
    return Backdrop()
