"""Commands: what people ask of the engine, on record in the store before it hears of them.

Whoever commands (command line, API, panel) adds an event, and the engine adds another that says
what became of it. A command has a name of its own: given twice it is carried out once.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from workbench.core.errors import ConfigError

if TYPE_CHECKING:
    from workbench.store import Store

ASKED: Final = "command"
DONE: Final = "command done"
PREFIX: Final = "cmd-"
READ: Final = 200

NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "pause": ("strategy",),
    "resume": ("strategy",),
    "start": ("strategy",),
    "stop": ("strategy", "drain"),
    "flatten": (),
    "close": ("symbol",),
    "reload": (),
}
"""What there is to command, and what each takes; without a strategy it is about the engine."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command: who asks what of which engine, and why."""

    id: str
    profile: str
    name: str
    by: str
    reason: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    number: int = 0
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a command."""

    id: str
    is_done: bool
    words: str


def ask(
    store: Store,
    name: str,
    *,
    profile: str,
    by: str,
    reason: str,
    arguments: Mapping[str, Any] | None = None,
    command_id: str = "",
) -> Command:
    """Put a command on record for the engine of a profile.

    Raises
    ------
    ConfigError
        If there is no such command, it does not take an argument, or nobody or no reason is named.
    """
    given = {key: value for key, value in (arguments or {}).items() if value is not None}
    strange = set(given) - set(NAMES.get(name, ()))
    if name not in NAMES or strange or (name == "close" and not given.get("symbol")):
        raise ConfigError(
            f"The engine has no command {name} with {', '.join(sorted(given)) or 'nothing'}.",
            f"It knows {', '.join(NAMES)}; close takes a symbol.",
        )
    if not by.strip() or not reason.strip():
        raise ConfigError(f"The command {name} names nobody, or no reason.", "Say who and why.")
    own = command_id or PREFIX + secrets.token_hex(8)
    detail = {"id": own, "profile": profile, "name": name, "reason": reason, "arguments": given}
    number = store.add_event(ASKED, actor=by, detail=detail)
    return Command(own, profile, name, by, reason, given, number)


def read_commands(store: Store, profile: str, *, after: int) -> list[Command]:
    """Return the commands to the engine of a profile after a number, oldest first."""
    limit = READ
    events = store.events(kind=ASKED, limit=limit)
    while len(events) == limit and int(events["event_id"].iloc[-1]) > after:
        limit *= 2
        events = store.events(kind=ASKED, limit=limit)
    rows = zip(events["event_id"], events["at"], events["actor"], events["detail"], strict=True)
    return [
        Command(
            detail["id"], profile, detail["name"], actor, detail["reason"], detail["arguments"],
            int(number), at.to_pydatetime(),
        )
        for number, at, actor, detail in reversed(list(rows))
        if number > after and detail["profile"] == profile
    ]  # fmt: skip


def find_outcome(store: Store, command_id: str) -> Outcome | None:
    """Return what became of a command, None while nothing is on record."""
    for detail in store.events(kind=DONE, limit=READ)["detail"]:
        if detail["id"] == command_id:
            return Outcome(detail["id"], detail["is_done"], detail["words"])
    return None
