"""Limits on record: which are in force, who changed them and why, and what still waits.

Every change is an entry of an append-only chain in the store; what is in force at a moment is read
from the entries up to it and from nowhere else. What tightens counts at once. What loosens, or is
neither, waits: a person types its name to confirm it, and then a cool-down passes, during which it
can still be cancelled. A change of both kinds is split; so is a switch of mode.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal

from workbench.core.clock import Clock, SystemClock
from workbench.core.errors import ConfigError, DataError, RiskRefused
from workbench.risk.limits import Limits, change_limits, compare_limits, load_limits
from workbench.store.chain import START, chain_entry, entry_fault

if TYPE_CHECKING:
    from workbench.store.session import Store

What = Literal["start", "change", "confirm", "cancel"]

KIND: Final = "limits"
COOLDOWN_HOURS: Final = 24.0
_PARTS: Final = frozenset(
    {"number", "at", "actor", "what", "reason", "detail", "previous", "digest"}
)
_NAMES: Final = ("mode", "version")
"""Fields that name limits and limit nothing."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the record."""

    number: int
    at: datetime
    actor: str
    what: What
    reason: str
    detail: Mapping[str, Any]

    @property
    def source(self) -> str:
        """Where a limit that it set comes from."""
        return f"entry {self.number}, {self.actor}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Waiting:
    """A loosening that is not in force yet; ``due`` is when it will be, None until confirmed."""

    entry: Entry
    name: str
    fields: Mapping[str, Any]
    due: datetime | None = None


@dataclass(frozen=True, slots=True)
class InForce:
    """The limits of a moment, the source of each, and what waits by the number of its entry."""

    limits: Limits
    sources: Mapping[str, str] = field(default_factory=dict)
    waiting: Mapping[int, Waiting] = field(default_factory=dict)


def limits_at(entries: Iterable[Entry], moment: datetime) -> InForce:
    """Return what the entries up to a moment have put in force by then.

    Before the first entry it is the mode ``conservative``. A loosening whose time has come and that
    would by now contradict other limits lapses.
    """
    now = InForce(load_limits())
    for entry in entries:
        if entry.at > moment:
            break
        now = _apply(_let_in(now, entry.at), entry)
    return _let_in(now, moment)


class LimitBook:
    """The limits of an account as a store has them on record.

    Raises
    ------
    DataError
        If an entry is not as it was written, naming the first.
    """

    def __init__(
        self,
        store: Store,
        *,
        clock: Clock | None = None,
        cooldown_hours: float = COOLDOWN_HOURS,
    ) -> None:
        self.store = store
        self.clock = clock or SystemClock()
        self.cooldown_s = cooldown_hours * 3_600.0
        self.reload()

    def reload(self) -> None:
        """Read the record anew, checking the whole chain."""
        events = self.store.events(kind=KIND)[::-1]
        entries, previous = list[Entry](), START
        for number, (actor, detail) in enumerate(
            zip(events["actor"], events["detail"], strict=True), start=1
        ):
            fault = entry_fault(detail, parts=_PARTS, number=number, previous=previous, actor=actor)
            if fault:
                raise DataError(
                    f"Entry {number} of the record of limits {fault}.",
                    "Trade nothing on it; restore the store from a backup, and find out who wrote.",
                )
            previous = detail["digest"]
            kept = {name: detail[name] for name in _PARTS - {"at", "previous", "digest"}}
            entries.append(Entry(at=datetime.fromisoformat(detail["at"]), **kept))
        self.entries = tuple(entries)
        self.head = previous
        self._last = int(events["event_id"].iloc[-1]) if len(events) else 0

    def in_force(self, moment: datetime | None = None) -> InForce:
        """Return what is in force, now or at another moment.

        A clock that stands before the last entry does not undo it.
        """
        if moment is None:
            moment = max([self.clock.now(), *(entry.at for entry in self.entries[-1:])])
        return limits_at(self.entries, moment)

    def change(self, limits: Limits, *, by: str, reason: str) -> Entry:
        """Ask for other limits: what is tighter is in force with it, the rest waits.

        What waits already for one of the same limits is superseded; a switch of mode supersedes
        everything that waits.

        Raises
        ------
        RiskRefused
            If nothing would change, or nobody or no reason is named.
        """
        old = self.in_force().limits
        differences = compare_limits(old, limits)
        names = {n: getattr(limits, n) for n in _NAMES if getattr(limits, n) != getattr(old, n)}
        if not differences and not names:
            raise RiskRefused(
                f"The limits in force are these already, {old.title}.",
                "`workbench risk limits` shows what waits; `workbench risk cancel` stops it.",
            )
        now = {d.field: d.new for d in differences if d.way == "tighter"}
        later = {d.field: d.new for d in differences if d.way != "tighter"}
        (later or now).update(names)
        change_limits(old, **now)  # What is written must be able to stand by itself.
        is_mode = bool(names) or len(differences) > 1
        detail = {
            "now": now,
            "later": later,
            "about": sorted(Limits.model_fields) if is_mode else [differences[0].field],
            "name": limits.mode if is_mode else differences[0].field,
            "cooldown_s": self.cooldown_s,
        }
        if not self.entries:
            words = "the limits that an account begins with"
            self._append("start", actor=by, reason=words, detail={"limits": old.model_dump()})
        return self._append("change", actor=by, reason=reason, detail=detail)

    def confirm(self, number: int, *, by: str, typed: str, reason: str) -> Entry:
        """Confirm a loosening by its name, so that its cool-down begins.

        Raises
        ------
        RiskRefused
            If nothing of that number waits, it is confirmed already, or the name is another one.
        """
        waiting = self._waiting(number)
        if waiting.due is not None:
            raise RiskRefused(
                f"Change {number} is confirmed and in force from {waiting.due:%Y-%m-%d %H:%M} UTC.",
                f"`workbench risk cancel {number}` stops it until then.",
            )
        if typed != waiting.name:
            raise RiskRefused(
                f"The confirmation says {typed!r}, not {waiting.name!r}.",
                f"Type {waiting.name} to confirm that it may be looser.",
            )
        return self._append("confirm", actor=by, reason=reason, detail={"change": number})

    def cancel(self, number: int, *, by: str, reason: str) -> Entry:
        """Stop a loosening that is not in force yet.

        Raises
        ------
        RiskRefused
            If nothing of that number waits.
        """
        self._waiting(number)
        return self._append("cancel", actor=by, reason=reason, detail={"change": number})

    def _waiting(self, number: int) -> Waiting:
        waiting = self.in_force().waiting
        if number not in waiting:
            known = ", ".join(map(str, waiting)) or "nothing"
            raise RiskRefused(
                f"No change of the number {number} waits.",
                f"What waits: {known} (`workbench risk limits`).",
            )
        return waiting[number]

    def _append(self, what: What, *, actor: str, reason: str, detail: Mapping[str, Any]) -> Entry:
        if not actor.strip() or not reason.strip():
            raise RiskRefused(
                "A change of limits names nobody, or no reason.", "Say who changes it, and why."
            )
        content = chain_entry(
            {
                "at": self.clock.now(),
                "actor": actor,
                "what": what,
                "reason": reason,
                "detail": detail,
            },
            number=len(self.entries) + 1,
            previous=self.head,
        )
        self.store.add_event(KIND, actor=actor, detail=content, after=self._last)
        self.reload()
        return self.entries[-1]


def _apply(old: InForce, entry: Entry) -> InForce:
    detail = entry.detail
    if entry.what == "start":
        # Fields that came with a later version of the package are those of the tightest mode.
        whole = load_limits().model_dump() | detail["limits"]
        return _set(old, whole, entry.source)
    waiting = dict(old.waiting)
    if entry.what == "confirm":
        one = waiting[detail["change"]]
        due = entry.at + timedelta(seconds=one.entry.detail["cooldown_s"])
        return replace(old, waiting={**waiting, detail["change"]: replace(one, due=due)})
    if entry.what == "cancel":
        del waiting[detail["change"]]
        return replace(old, waiting=waiting)
    for number, one in list(waiting.items()):
        rest = {name: new for name, new in one.fields.items() if name not in detail["about"]}
        waiting[number] = replace(one, fields=rest)
    waiting = {number: one for number, one in waiting.items() if one.fields}
    if detail["later"]:
        waiting[entry.number] = Waiting(entry, detail["name"], detail["later"])
    return replace(_set(old, detail["now"], entry.source), waiting=waiting)


def _let_in(now: InForce, moment: datetime) -> InForce:
    ready = [one for one in now.waiting.values() if one.due is not None and one.due <= moment]
    for one in sorted(ready, key=lambda one: (one.due, one.entry.number)):
        waiting = {n: w for n, w in now.waiting.items() if n != one.entry.number}
        now = replace(now, waiting=waiting)
        try:
            now = _set(now, one.fields, one.entry.source)
        except ConfigError:
            continue  # It lapses: what has become tighter since stands.
    return now


def _set(old: InForce, fields: Mapping[str, Any], source: str) -> InForce:
    sources = {**old.sources, **dict.fromkeys(fields, source)}
    return replace(old, limits=change_limits(old.limits, **fields), sources=sources)
