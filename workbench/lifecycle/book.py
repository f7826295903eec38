"""The book of stages: an append-only chain of entries in the store, and the permits it issues.

What is not written has not happened: where a strategy stands is read from the entries and from
nowhere else. An entry that was edited, moved or taken out is named. What no chain can see is its
end cut off: the permit before comes back, until it expires. So `workbench stage list` prints the
length and the last digest; keep them elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal

from workbench.core.clock import Clock, SystemClock
from workbench.core.errors import EvidenceError
from workbench.evidence.permits import Permit, sign_permit
from workbench.lifecycle.overrides import Override
from workbench.lifecycle.standing import STATE, Entry, Issued, Standing, add_entry
from workbench.store.chain import START, chain_entry, entry_fault

if TYPE_CHECKING:
    from workbench.core.vault import SigningKey
    from workbench.store.session import Store

KIND: Final = "stage"
PERMIT_DAYS: Final = 30
_PARTS: Final = frozenset(
    {"number", "at", "actor", "what", "strategy", "strategy_hash", "detail", "previous", "digest"}
)


class Book:
    """The stages of every strategy, as they stand in a store.

    ``gates`` names the set of gates: ``default`` or ``classic``. Without a ``key`` no permit can be
    issued, so that nothing can move up; what takes rights away needs none.
    """

    def __init__(
        self,
        store: Store,
        *,
        key: SigningKey | None = None,
        clock: Clock | None = None,
        gates: Literal["default", "classic"] = "default",
        permit_days: int = PERMIT_DAYS,
    ) -> None:
        self.store = store
        self.key = key
        self.clock = clock or SystemClock()
        self.gates = gates
        self.permit_days = permit_days
        self.reload()

    def reload(self) -> None:
        """Read the book anew, checking the whole chain.

        Raises
        ------
        EvidenceError
            Naming the first entry that is not as it was written.
        """
        events = self.store.events(kind=KIND)[::-1]
        entries: list[Entry] = []
        standings: dict[str, Standing] = {}
        previous = START
        for number, (actor, detail) in enumerate(
            zip(events["actor"], events["detail"], strict=True), start=1
        ):
            fault = entry_fault(detail, parts=_PARTS, number=number, previous=previous, actor=actor)
            if fault:
                raise EvidenceError(
                    f"Entry {number} of the book of stages {fault}.",
                    "Trade nothing on it; restore the store from a backup, and find out who wrote.",
                )
            entry = _read(detail)
            previous = entry.digest
            entries.append(entry)
            standings = add_entry(standings, entry)
        self.entries = tuple(entries)
        self.head = previous
        self._standings = standings
        self._last = int(events["event_id"].iloc[-1]) if len(events) else 0

    @property
    def standings(self) -> tuple[Standing, ...]:
        """Where each strategy stands, in the order in which they came."""
        return tuple(self._standings.values())

    def find(self, strategy_hash: str) -> Standing | None:
        """Return where a strategy stands, None where the book does not know it."""
        return self._standings.get(strategy_hash)

    def standing(self, strategy_hash: str) -> Standing:
        """Return where a strategy stands.

        Raises
        ------
        EvidenceError
            If the book does not know it.
        """
        found = self.find(strategy_hash)
        if found is None:
            raise EvidenceError(
                f"No strategy with the hash {strategy_hash:.12} is in any stage.",
                "`workbench stage promote STRATEGY` brings it into RESEARCH.",
            )
        return found

    def append(
        self,
        what: str,
        standing: Standing,
        *,
        actor: str,
        reason: str,
        is_permitted: bool = False,
        **more: Any,
    ) -> Standing:
        """Write what becomes of a strategy, and return where it stands then.

        Parameters
        ----------
        what : str
            One word for it.
        standing : Standing
            As it is to be; fields that differ from the book's are written.
        actor, reason : str
        is_permitted : bool, default=False
            Whether a permit for the new standing is issued with it, in the same entry.
        **more
            Further parts of the entry.

        Raises
        ------
        EvidenceError
            If somebody or some reason is missing, or a permit is to be issued and there is no key.
        DataError
            If another process has written since the book was read: nothing is written then.
        """
        if not actor.strip() or not reason.strip():
            raise EvidenceError(
                f"The entry {what!r} names nobody, or no reason.", "Say who does it, and why."
            )
        now = self.clock.now()
        detail = {"reason": reason, "state": self._changes(standing), **more}
        if is_permitted:
            detail["permit"] = asdict(self._issue(standing, now, more.get("override")))
        content = chain_entry(
            {
                "at": now,
                "actor": actor,
                "what": what,
                "strategy": standing.strategy,
                "strategy_hash": standing.strategy_hash,
                "detail": detail,
            },
            number=len(self.entries) + 1,
            previous=self.head,
        )
        self.store.add_event(KIND, actor=actor, detail=content, after=self._last)
        self.reload()
        return self.standing(standing.strategy_hash)

    def _changes(self, standing: Standing) -> dict[str, Any]:
        old = self.find(standing.strategy_hash)
        return {
            name: getattr(standing, name)
            for name in STATE
            if old is None or getattr(standing, name) != getattr(old, name)
        }

    def _issue(
        self, standing: Standing, now: datetime, override: Mapping[str, Any] | None
    ) -> Issued:
        if self.key is None:
            raise EvidenceError(
                "A permit can be issued only with the signing key, and the vault is not open.",
                "Open it: `workbench keys test signing` says how its passphrase is found.",
            )
        old = self.find(standing.strategy_hash)
        serial = (old.serial if old else 0) + 1
        permit = Permit(
            permit_id=f"{standing.strategy_hash[:12]}-{serial}",
            serial=serial,
            strategy=standing.strategy,
            strategy_hash=standing.strategy_hash,
            stage=standing.stage,
            before=standing.before,
            capital_usdt=standing.capital_usdt,
            is_synthetic_only=standing.is_synthetic,
            verdict_id=standing.verdict_id,
            lock_hash=standing.lock_hash,
            issued=now,
            expires=now + timedelta(days=self.permit_days),
        )
        if override is not None:
            word = Override.from_dict(override)
            permit = replace(
                permit,
                stage=word.stage,
                before=None,
                capital_usdt=word.capital_usdt,
                verdict_id="override",
                expires=word.until,
            )
        document = sign_permit(permit, self.key)
        return Issued(permit.permit_id, serial, permit.stage, permit.expires, document)


def _read(detail: Mapping[str, Any]) -> Entry:
    names = (name for name in _PARTS if name != "previous")
    return Entry(**{**{n: detail[n] for n in names}, "at": datetime.fromisoformat(detail["at"])})
