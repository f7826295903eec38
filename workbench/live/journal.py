"""The journal: everything that trading saw, decided and did, in a file that nothing else writes.

One JSON object a line, chained by digests, so that a line that was edited, moved or taken out
shows. What is of a kind that must not be lost is on disk when ``append`` returns; the rest follows
with the next such line, or within ``flush``, which comes before anything is sent. A line that a
crash cut off at the end was never acted on: it is moved aside and said so.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from datetime import datetime
from io import BufferedWriter
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from workbench.core.clock import Clock
from workbench.core.errors import ReconcileError
from workbench.store.canonical import canonical_json
from workbench.store.chain import START

DURABLE: Final = frozenset({"command", "halt", "latch"})
"""Kinds that are on disk before anything is done about them. Intents wait for ``flush``: one for
all orders of a decision, before the first of them leaves.
"""


class Line(NamedTuple):
    """One line: its number from 0, when, what kind, and the document."""

    number: int
    at: datetime
    kind: str
    document: Any


class Journal:
    """A journal open for writing, by one process at a time.

    Raises
    ------
    ReconcileError
        If another process holds it, or a line before the last is not as it was written.
    """

    def __init__(self, path: Path, *, clock: Clock) -> None:
        self.path, self.clock = path, clock
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: BufferedWriter = path.open("ab")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            raise ReconcileError(
                f"Another process writes the journal {path}.",
                "Stop it first: two engines on one account would trade against each other.",
            ) from error
        try:
            self.torn = _mend(path)
            self.count, self._digest, self._is_dirty = 0, START, False
            for number, digest, _ in _walk(path):
                self.count, self._digest = number + 1, digest
        except ReconcileError:
            self._file.close()
            raise

    def append(self, kind: str, document: Any) -> int:
        """Write one line and return its number; a durable kind is on disk when this returns."""
        body = canonical_json(
            {"number": self.count, "at": self.clock.now(), "kind": kind, "document": document}
        )
        self._digest = _digest(self._digest, body)
        self._file.write(f'["{self._digest}",{body}]\n'.encode())
        self.count += 1
        self._is_dirty = True
        if kind in DURABLE:
            self.flush()
        return self.count - 1

    def flush(self) -> None:
        """Put everything on disk."""
        if self._is_dirty:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._is_dirty = False

    def close(self) -> None:
        """Put everything on disk and let the file go."""
        if not self._file.closed:
            self.flush()
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def read_journal(path: Path, *, since: int = 0) -> Iterator[Line]:
    """Yield the lines of a journal from a number on, each checked against the chain.

    A line that is being written, or was cut off, at the end is left out.

    Raises
    ------
    ReconcileError
        At the first line that is not as it was written.
    """
    for number, _, body in _walk(path):
        if number >= since:
            yield Line(number, datetime.fromisoformat(body["at"]), body["kind"], body["document"])


def _walk(path: Path) -> Iterator[tuple[int, str, dict[str, Any]]]:
    digest = START
    with path.open("rb") as lines:
        for number, line in enumerate(lines):
            if not line.endswith(b"\n"):
                return
            try:
                seal, body = json.loads(line)
                text = line[len(f'["{seal}",') : -2].decode()
                is_whole = seal == _digest(digest, text) and body["number"] == number
            except (ValueError, TypeError, KeyError):
                is_whole = False
            if not is_whole:
                raise ReconcileError(
                    f"Line {number + 1} of the journal {path} is not as it was written.",
                    "Keep the file, and begin with a new one: the exchange says what is held.",
                )
            digest = seal
            yield number, digest, body


def _mend(path: Path) -> bytes:
    # A crash in the middle of a write leaves a line without its end.
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    torn = content[whole:]
    if torn:
        with path.open("r+b") as file:
            file.truncate(whole)
            os.fsync(file.fileno())
        path.with_suffix(".torn").write_bytes(torn)
    return torn


def _digest(previous: str, text: str) -> str:
    return hashlib.sha256(f"{previous}{text}".encode()).hexdigest()
