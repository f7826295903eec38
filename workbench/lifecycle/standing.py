"""Where a strategy stands: what the entries of the book add up to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from workbench.evidence.stages import Stage
from workbench.lifecycle.overrides import Override


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the book: what happened to a strategy, who did it, and the chain it stands in.

    ``detail`` holds the ``reason``, the ``state`` that it changes, and what else belongs to it: the
    ``permit`` it issues, the ids it ``revokes``, the ``override``, the hash it ``retires``.
    """

    number: int
    at: datetime
    actor: str
    what: str
    strategy: str
    strategy_hash: str
    detail: Mapping[str, Any]
    digest: str


@dataclass(frozen=True, slots=True)
class Issued:
    """A permit on record; whether it is good is for ``check_permit`` to say."""

    permit_id: str
    serial: int
    stage: Stage
    expires: datetime
    document: str


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a strategy stands.

    Attributes
    ----------
    strategy, strategy_hash : str
    stage, since : Stage, datetime
    before, before_since : Stage or None, datetime or None
        In UNDER_REVIEW the stage before it, and since when that had been.
    capital_usdt : Decimal
        What it may use: paper money before LIVE_TRADING.
    scaled : datetime
        When the capital last changed.
    is_synthetic : bool
        Whether its evidence is from a synthetic market.
    verdict_id, run_id, lock_hash : str
        The evidence it stands on, and the packages under which it was found.
    enabled_by : str
        Who let it trade real money.
    successor : str
        The hash that goes on in its place.
    reason : str
        Of the last entry.
    serial : int
        Number of permits issued so far.
    permit : Issued or None
        The latest of them.
    revoked : frozenset of str
    override : Override or None
        The latest one, expired or not.
    """

    strategy: str
    strategy_hash: str
    stage: Stage
    since: datetime
    before: Stage | None = None
    before_since: datetime | None = None
    capital_usdt: Decimal = Decimal(0)
    scaled: datetime | None = None
    is_synthetic: bool = False
    verdict_id: str = "-"
    run_id: str = ""
    lock_hash: str = "-"
    enabled_by: str = ""
    successor: str = ""
    reason: str = ""
    serial: int = 0
    permit: Issued | None = None
    revoked: frozenset[str] = frozenset()
    override: Override | None = None

    def active_override(self, now: datetime) -> Override | None:
        """Return the override that is in force at a moment."""
        if self.override is None or self.stage is Stage.RETIRED or now >= self.override.until:
            return None
        return self.override

    def has_permit(self, now: datetime) -> bool:
        """Return whether the latest permit is neither expired nor revoked at a moment."""
        return (
            self.permit is not None
            and now < self.permit.expires
            and self.permit.permit_id not in self.revoked
        )

    def exposure_usdt(self, now: datetime) -> Decimal:
        """Return how much real money it may use at a moment; in review what it had."""
        override = self.active_override(now)
        if override is not None and override.stage is Stage.LIVE_TRADING:
            return override.capital_usdt
        is_live = Stage.LIVE_TRADING in (self.stage, self.before)
        return self.capital_usdt if is_live else Decimal(0)


_FROM_TEXT: Final[Mapping[str, Callable[[Any], Any]]] = {
    "stage": Stage,
    "before": Stage,
    "since": datetime.fromisoformat,
    "before_since": datetime.fromisoformat,
    "scaled": datetime.fromisoformat,
    "capital_usdt": Decimal,
}
STATE: Final = tuple(field.name for field in fields(Standing))[2:14]
"""The fields that an entry may set: from ``stage`` to ``successor``."""


def add_entry(standings: Mapping[str, Standing], entry: Entry) -> dict[str, Standing]:
    """Return what the standings are after one more entry."""
    detail, mine = entry.detail, dict(standings)
    changes: dict[str, Any] = {
        name: value if value is None else _FROM_TEXT.get(name, lambda same: same)(value)
        for name, value in detail.get("state", {}).items()
    }
    old = mine.get(entry.strategy_hash)
    if old is None:
        changes = {"stage": Stage.RESEARCH, "since": entry.at, **changes}
        new = Standing(entry.strategy, entry.strategy_hash, **changes)
    else:
        new = replace(old, **changes)
    permit = detail.get("permit")
    if permit:
        moments = {"expires": datetime.fromisoformat(permit["expires"])}
        issued = Issued(**{**permit, "stage": Stage(permit["stage"]), **moments})
        new = replace(new, serial=issued.serial, permit=issued)
    mine[entry.strategy_hash] = replace(
        new,
        reason=detail["reason"],
        revoked=new.revoked | set(detail.get("revokes", ())),
        override=_override(detail["override"]) if "override" in detail else new.override,
    )
    gone = mine.get(detail.get("retires", ""))
    if gone is not None:
        mine[gone.strategy_hash] = _retire(gone, entry)
    return mine


def add_up(entries: Iterable[Entry]) -> dict[str, Standing]:
    """Return the standing of every strategy, by hash."""
    standings: dict[str, Standing] = {}
    for entry in entries:
        standings = add_entry(standings, entry)
    return standings


def _override(values: Mapping[str, Any] | None) -> Override | None:
    return None if values is None else Override.from_dict(values)


def _retire(gone: Standing, entry: Entry) -> Standing:
    taken = {gone.permit.permit_id} if gone.permit else set()
    return replace(
        gone,
        stage=Stage.RETIRED,
        since=entry.at,
        before=None,
        before_since=None,
        capital_usdt=Decimal(0),
        successor=entry.strategy_hash,
        reason=entry.detail["reason"],
        revoked=gone.revoked | taken,
    )
