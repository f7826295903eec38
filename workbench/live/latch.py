"""The latch: how far the supervisor has been told to go, kept until a person takes it back.

It goes up by anybody's word and down only by a person's, with a reason. Its document is one small
file, replaced whole, so that a restart finds the latch as it was.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from pathlib import Path
from typing import Any, Final, NamedTuple

from workbench.core.errors import RiskRefused

STATE: Final = "state.json"
STOP: Final = "STOP"
TAKEN: Final = ".STOP.taken"
KEPT: Final = 50
"""How many of the last words are remembered."""


class Level(IntEnum):
    """What is taken away; each level holds those below it."""

    CLEAR = 0
    NO_NEW_RISK = 1
    CANCEL_ALL = 2
    FLATTEN = 3

    @property
    def words(self) -> str:
        """Its name as people write it."""
        return self.name.lower().replace("_", "-")


def read_level(text: str) -> Level:
    """Return the level of a name.

    Raises
    ------
    RiskRefused
        If there is none above ``clear`` of that name.
    """
    for level in Level:
        if level and text.strip().lower().replace("_", "-") == level.words:
            return level
    known = ", ".join(level.words for level in Level if level)
    raise RiskRefused(f"There is no level {text!r}.", f"Use one of {known}.")


class Press(NamedTuple):
    """Somebody's word: up to a level, or with ``CLEAR`` the release."""

    level: Level
    by: str
    reason: str

    def check(self) -> None:
        """Refuse a word without a name or a reason."""
        if not self.by.strip() or not self.reason.strip():
            raise RiskRefused("Nobody, or no reason, is named.", "Say who does it, and why.")


@dataclass(frozen=True, slots=True)
class Latch:
    """Where it stands, and who brought it there, why and when."""

    level: Level = Level.CLEAR
    by: str = ""
    reason: str = ""
    at: str = ""
    words: tuple[Mapping[str, Any], ...] = ()

    def press(self, press: Press, now: datetime) -> Latch:
        """Return the latch after a word: it never goes down but by a release."""
        if press.level and press.level <= self.level:
            return self
        said = {"level": press.level.words, "by": press.by, "reason": press.reason,
                "at": now.isoformat()}  # fmt: skip
        words = (*self.words, said)[-KEPT:]
        return Latch(press.level, press.by, press.reason, now.isoformat(), words)

    def document(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return {"level": self.level.words, "by": self.by, "reason": self.reason, "at": self.at,
                "words": list(self.words)}  # fmt: skip

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Latch:
        """Return the latch of a document."""
        name = document["level"]
        level = Level.CLEAR if name == Level.CLEAR.words else read_level(name)
        return cls(
            level, document["by"], document["reason"], document["at"], tuple(document["words"])
        )


def save_state(folder: Path, document: Mapping[str, Any]) -> None:
    """Put a document on disk: the old one or the new one is there, whatever happens."""
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f".{STATE}"
    with draft.open("w", encoding="utf-8") as file:
        json.dump(document, file)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(folder / STATE)
    place = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(place)
    finally:
        os.close(place)


def load_state(folder: Path) -> dict[str, Any] | None:
    """Return the document that was put there last, or None where there never was one.

    Raises
    ------
    ValueError
        If it cannot be read as JSON.
    """
    try:
        found: dict[str, Any] = json.loads((folder / STATE).read_text("utf-8"))
    except FileNotFoundError:
        return None
    return found


def leave_word(folder: Path, press: Press) -> None:
    """Leave a word in the file STOP, which the supervisor takes up and removes.

    Where the disk has no room for the words the empty file remains, and means: flatten.
    """
    press.check()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / STOP
    try:
        draft = folder / f".{STOP}"
        said = {"level": press.level.words, "by": press.by, "reason": press.reason}
        draft.write_text(json.dumps(said), encoding="utf-8")
        draft.replace(path)
    except OSError:
        path.touch()


def read_word(folder: Path) -> Press | None:
    """Return what the file STOP asks for, or None where there is none; ``drop_word`` is to follow.

    Whatever cannot be understood, as an empty file, means: flatten. A release is not taken from a
    file: whoever can only touch one is not known.
    """
    path = folder / STOP
    # What is taken up has another name: a word that comes meanwhile is not dropped with it.
    with contextlib.suppress(FileNotFoundError):
        path.replace(folder / TAKEN)
    try:
        text = (folder / TAKEN).read_text("utf-8", errors="replace")
    except FileNotFoundError:
        return None
    try:
        said = json.loads(text)
        press = Press(read_level(said["level"]), str(said["by"]), str(said["reason"]))
        press.check()
    except (ValueError, TypeError, KeyError, AttributeError, RiskRefused):
        return Press(Level.FLATTEN, f"the file {STOP}", text.strip()[:200] or "it was touched")
    return press


def drop_word(folder: Path) -> None:
    """Forget the word that was read: what it says is on disk in the state."""
    (folder / TAKEN).unlink(missing_ok=True)
