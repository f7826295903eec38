"""The heartbeat: a file that is touched, and whoever watches it from another process.

A beat changes the file's stamp and nothing else: it takes no room on the disk and waits for none.
The watcher asks only whether the stamp has changed, and counts by its own clock: no two clocks
have to agree, and one that is set does no harm.

The engine beats ``ENGINE`` from its event loop (never from a thread of its own: a loop that hangs
must fall silent), and rests when it stops in order. The supervisor beats ``CLEARANCE`` while
entries may be made: the engine makes none unless it hears it.
"""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Any, Final

ENGINE: Final = "engine.beat"
CLEARANCE: Final = "clearance.beat"
LONGEST_STEP_S: Final = 5.0


class Heart:
    """What beats."""

    def __init__(self, path: Path) -> None:
        self.path, self._off = path, path.with_suffix(".off")

    def beat(self) -> None:
        """Show that the caller is alive."""
        try:
            os.utime(self.path)
        except FileNotFoundError:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.touch()
            self._off.unlink(missing_ok=True)

    def rest(self) -> None:
        """Sign off in order: silence from now on means nothing."""
        if self.path.exists():
            self.path.replace(self._off)

    def last_beat(self) -> int | None:
        """Return the stamp of the last beat, which says nothing but whether there was another.

        None is what cannot be read: whoever cannot be heard is silent.
        """
        try:
            return self.path.stat().st_mtime_ns
        except OSError:
            return None

    @property
    def is_resting(self) -> bool:
        """Whether it has signed off."""
        try:
            return self._off.exists() and not self.path.exists()
        except OSError:
            return False


class Pulse:
    """How long a heart has been silent, by the watcher's clock.

    A pause of the watcher itself (it was stopped, or the machine slept) counts for ``longest_s``
    at most: whoever was stopped with it gets the time to beat again.
    """

    def __init__(self, heart: Heart, *, longest_s: float = LONGEST_STEP_S) -> None:
        self.heart, self.longest_s = heart, longest_s
        self.silent_s = 0.0
        self.is_known = self.has_heard = False
        self._stamp: int | None = None
        self._at: datetime | None = None

    def look(self, now: datetime) -> float | None:
        """Return the seconds of silence, or None where it rests or never beat."""
        stamp = self.heart.last_beat()
        step_s = 0.0 if self._at is None else (now - self._at).total_seconds()
        has_beaten = None not in (stamp, self._stamp) and stamp != self._stamp
        self.has_heard = self.has_heard or has_beaten
        was_known = self.is_known
        self.is_known = (was_known or stamp is not None) and not self.heart.is_resting
        is_silent = was_known and self.is_known and not has_beaten
        self.silent_s = self.silent_s + min(step_s, self.longest_s) if is_silent else 0.0
        self._stamp, self._at = self._stamp if stamp is None else stamp, now
        return self.silent_s if self.is_known else None

    def document(self) -> dict[str, Any]:
        """Return all that must outlive the watcher, so that silence is not counted anew."""
        return {"silent_s": self.silent_s, "is_known": self.is_known, "stamp": self._stamp}

    def restore(self, document: dict[str, Any]) -> None:
        """Go on from what an earlier watcher left; a beat since then shows at the first look."""
        self.silent_s, self.is_known = float(document["silent_s"]), bool(document["is_known"])
        self._stamp = document["stamp"]


def may_enter(clearance: Pulse, now: datetime, *, most_s: float = 10.0) -> bool:
    """Return whether the supervisor lets entries pass: it is alive, and nothing is latched.

    A file that a dead supervisor has left is not enough: a beat must have been heard.
    """
    silent_s = clearance.look(now)
    return silent_s is not None and clearance.has_heard and silent_s <= most_s
