"""The two opt-ins without which no order goes to the mainnet: a setting, and a recorded word.

The setting says that this machine may; the event in the store says who let this very key do it,
and why. Both can be taken back at any time, and a key that is replaced needs a new word.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from workbench.core.errors import ConfigError

if TYPE_CHECKING:
    from workbench.core.config import Config
    from workbench.core.vault.document import Entry
    from workbench.store import Store

EVENT: Final = "mainnet"


@dataclass(frozen=True, slots=True)
class OptIn:
    """Who let a key trade real money, and when."""

    by: str
    reason: str
    at: datetime
    fingerprint: str


def record_opt_in(store: Store, key: Entry, *, by: str, reason: str, confirmed: str) -> None:
    """Record that a person lets a key trade real money; its name is typed again to be sure.

    Raises
    ------
    ConfigError
        If the name does not match, or nobody or no reason is named.
    """
    if confirmed != key.name or not by.strip() or not reason.strip():
        raise ConfigError(
            f"The key {key.name} is not let onto the mainnet.",
            "Say who and why, and type its name once more.",
        )
    detail = {"name": key.name, "fingerprint": key.fingerprint, "reason": reason, "is_on": True}
    store.add_event(EVENT, actor=by, detail=detail)


def withdraw_opt_in(store: Store, key: Entry, *, by: str, reason: str) -> None:
    """Record that a key may trade real money no more."""
    detail = {"name": key.name, "fingerprint": key.fingerprint, "reason": reason, "is_on": False}
    store.add_event(EVENT, actor=by, detail=detail)


def find_opt_in(config: Config, store: Store, key: Entry) -> OptIn | None:
    """Return the opt-in of a key, or None where the setting or the recorded word is missing."""
    if not config.exchange.mainnet:
        return None
    events = store.events(kind=EVENT)
    own = [row for row in events.itertuples() if row.detail["fingerprint"] == key.fingerprint]
    if not own or not own[0].detail["is_on"]:
        return None
    return OptIn(own[0].actor, own[0].detail["reason"], own[0].at.to_pydatetime(), key.fingerprint)
