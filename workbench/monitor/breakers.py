"""Breakers on record: what they did, the memory to start again from, and who asked to re-arm.

The engine alone writes its memory (the document of its ``RiskSystem``). A person who re-arms asks
on record; the engine takes it up in its next cycle, or when it starts again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from workbench.risk.breakers import Breakers, Change, Kind, Phase
from workbench.risk.limits import Limits, breaker_limits

if TYPE_CHECKING:
    from workbench.store import Store

SAVED: Final = "breakers"
ASKED: Final = "rearm"


class Memory(NamedTuple):
    """What the engine saved last: its document, and the number of the last re-arming it heard."""

    document: Mapping[str, Any] | None = None
    heard: int = 0


class Rearm(NamedTuple):
    """A person's word that a breaker may let entries in again."""

    number: int
    at: datetime
    kind: Kind
    by: str
    reason: str


def save_memory(
    store: Store, document: Mapping[str, Any], changes: Sequence[Change], *, heard: int = 0
) -> int:
    """Put on record what breakers did, with the memory after it, and return the number."""
    detail = {
        "changes": [change._asdict() for change in changes],
        "document": document,
        "heard": heard,
    }
    actor = changes[-1].by if changes else "engine"
    number: int = store.add_event(SAVED, actor=actor, detail=detail)
    return number


def read_memory(store: Store) -> Memory:
    """Return what was saved last; an empty memory where nothing was."""
    events = store.events(kind=SAVED, limit=1)
    if not len(events):
        return Memory()
    detail = events["detail"].iloc[0]
    return Memory(detail["document"], detail["heard"])


def read_breakers(store: Store, limits: Limits) -> Breakers:
    """Return the breakers as they were saved last, closed where nothing was."""
    breakers = Breakers(breaker_limits(limits))
    document = read_memory(store).document
    if document is not None:
        breakers.restore(document["breakers"])
    return breakers


def ask_rearm(
    store: Store, kind: Kind, *, limits: Limits, by: str, reason: str, now: datetime
) -> Change:
    """Put on record that a person re-arms a breaker, and return what the engine will do.

    Raises
    ------
    RiskRefused
        If the breaker is not open, ends by itself, or nobody or no reason is named.
    """
    breakers = read_breakers(store, limits)
    change = breakers.rearm(kind, by=by, reason=reason, now=max(now, breakers.now or now))
    store.add_event(ASKED, actor=by, detail={"kind": kind, "reason": reason})
    return change


def read_asked(store: Store, *, heard: int) -> list[Rearm]:
    """Return the re-armings that the engine has not heard of, oldest first."""
    events = store.events(kind=ASKED)[::-1]
    return [
        Rearm(number, at.to_pydatetime(), Kind(detail["kind"]), actor, detail["reason"])
        for number, at, actor, detail in zip(
            events["event_id"], events["at"], events["actor"], events["detail"], strict=True
        )
        if number > heard
    ]


def read_changes(store: Store, *, limit: int) -> list[Change]:
    """Return what breakers did last, newest first."""
    seen: list[Change] = []
    for detail in store.events(kind=SAVED, limit=limit)["detail"]:
        seen += [_read(row) for row in reversed(detail["changes"])]
    return seen[:limit]


def _read(row: Mapping[str, Any]) -> Change:
    at = datetime.fromisoformat(row["at"])
    phases = {name: Phase(row[name]) for name in ("before", "after")}
    return Change(**{**row, **phases, "kind": Kind(row["kind"]), "at": at})
