"""The clerk: what the store has for the engine, read beside trading and never in its way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.core.errors import WorkbenchError
from workbench.live.commands import Command, read_commands
from workbench.monitor.backdrop import read_backdrop
from workbench.monitor.breakers import Rearm, read_asked, save_memory
from workbench.monitor.limits import LimitBook

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from typing import Any

    from workbench.core.clock import Clock
    from workbench.live.rights import Rights
    from workbench.risk.breakers import Change
    from workbench.risk.limits import Limits
    from workbench.risk.outlook import Backdrop
    from workbench.store import Store


@dataclass(frozen=True, slots=True)
class Seen:
    """What one look found; what could not be read is None."""

    commands: Sequence[Command] = ()
    limits: Limits | None = None
    backdrop: Backdrop | None = None
    rearms: Sequence[Rearm] = ()


class Clerk:
    """Reads commands, limits, rights, slow forecasts and re-armings; every call is for a thread."""

    def __init__(
        self,
        store: Store,
        profile: str,
        rights: Rights,
        *,
        symbols: Sequence[str],
        interval: str,
        clock: Clock,
        cooldown_hours: float,
    ) -> None:
        self.store, self.profile, self.rights = store, profile, rights
        self.symbols, self.interval, self.clock = symbols, interval, clock
        self.cooldown_hours, self.trouble = cooldown_hours, ""

    def look(self, now: datetime, *, heard: int, rearmed: int) -> Seen:
        """Read what is new since a command and a re-arming; ``now`` is the market's time."""
        try:
            book = LimitBook(self.store, clock=self.clock, cooldown_hours=self.cooldown_hours)
            seen = Seen(
                read_commands(self.store, self.profile, after=heard),
                book.in_force().limits,
                read_backdrop(self.store, symbols=self.symbols, interval=self.interval, now=now),
                read_asked(self.store, heard=rearmed),
            )
        except WorkbenchError as error:
            self.trouble = str(error)
            return Seen()
        self.trouble = ""
        return seen

    def save(self, document: Mapping[str, Any], changes: Sequence[Change], *, heard: int) -> None:
        """Put on record what breakers did, and the memory of risk after it."""
        try:
            save_memory(self.store, document, changes, heard=heard)
        except WorkbenchError as error:
            self.trouble = str(error)
