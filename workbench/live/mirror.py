"""The mirror: what the journal holds for others, on its way to the store.

Rows wait here until the store takes them, for as long as it must: a store that is blocked, full or
gone delays nobody. They come from the journal, so that none is lost with the process.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from workbench.core.errors import WorkbenchError
from workbench.live.recorder import Mirrored

if TYPE_CHECKING:
    from workbench.store import Store
    from workbench.store.recorded import Table

BATCH: Final = 500
EVENT: Final = "event"


class Mirror:
    """Rows, events and the engine's newest word, in the order in which they came.

    ``number`` is the line up to which the store has everything.
    """

    def __init__(self, store: Store, profile: str) -> None:
        self.store, self.profile = store, profile
        self.number, self.trouble = -1, ""
        self._waiting: deque[tuple[int, Mirrored]] = deque()
        self._word: Mapping[str, Any] | None = None
        self._lock = threading.Lock()

    @property
    def backlog(self) -> int:
        """How many rows wait."""
        return len(self._waiting)

    def keep(self, number: int, mirrored: Mirrored) -> None:
        """Let a row wait; ``number`` is that of its line."""
        self._waiting.append((number, mirrored))

    def tell(self, kind: str, actor: str, detail: Mapping[str, Any]) -> None:
        """Let an event wait."""
        row = {"kind": kind, "actor": actor, "detail": detail}
        self._waiting.append((-1, Mirrored(EVENT, row)))

    def say(self, document: Mapping[str, Any]) -> None:
        """Let the engine's newest word take the place of the one that waits."""
        self._word = document

    def flush(self) -> None:
        """Write what waits, as far as the store takes it; called in a thread."""
        with self._lock:
            try:
                while self._waiting:
                    self._write_batch()
                word, self._word = self._word, None
                if word is not None:
                    self.store.put_engine(self.profile, {**word, "mirrored": self.number})
            except WorkbenchError as error:
                self.trouble = str(error)
            else:
                self.trouble = ""

    def find_number(self) -> int:
        """Return the line up to which the store had everything, as it says itself."""
        engines = self.store.engines()
        found = engines[engines["profile"] == self.profile]["document"]
        self.number = int(found.iloc[0].get("mirrored", -1)) if len(found) else -1
        return self.number

    def _write_batch(self) -> None:
        number, first = self._waiting[0]
        if first.table == EVENT:
            self.store.add_event(
                first.row["kind"], actor=first.row["actor"], detail=first.row["detail"]
            )
            self._waiting.popleft()
            return
        batch: list[Mapping[str, Any]] = []
        for number, one in self._waiting:
            if one.table != first.table or len(batch) == BATCH:
                break
            batch.append(one.row)
            last = number
        table: Table = first.table  # type: ignore[assignment]
        self.store.add_rows(table, [_read(table, row) for row in batch])
        for _ in batch:
            self._waiting.popleft()
        self.number = max(self.number, last)


def _read(table: str, row: Mapping[str, Any]) -> dict[str, Any]:
    # From a journal moments come as text.
    from datetime import datetime

    moments = ("at", "decided_at", "sent_at", "ended_at")
    return {
        name: datetime.fromisoformat(value) if name in moments and isinstance(value, str) else value
        for name, value in row.items()
    }
