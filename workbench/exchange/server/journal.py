"""Every frame in and out with its time, one JSON object a line; fed to a fresh exchange again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol

import orjson

from workbench.core.errors import DataError

BUFFER: Final = 1 << 16


class Sink(Protocol):
    """What takes entries."""

    def add(self, kind: str, now_ms: int, **fields: Any) -> None:
        """Take one entry."""


class Journal:
    """Appends entries to a file through a buffer; what goes in is what ``replay`` needs."""

    def __init__(self, path: Path, **header: Any) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._file: BinaryIO = path.open("wb", buffering=BUFFER)
        self.add("head", 0, **header)

    def add(self, kind: str, now_ms: int, **fields: Any) -> None:
        """Write one entry."""
        self._file.write(
            orjson.dumps({"k": kind, "t": now_ms, **fields}, option=orjson.OPT_APPEND_NEWLINE)
        )

    def close(self) -> None:
        """Write what is buffered and let the file go."""
        self._file.close()


def read_journal(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the entries of a journal; a last line that was cut short by a crash ends it."""
    with path.open("rb") as lines:
        for line in lines:
            if not line.endswith(b"\n"):
                return
            try:
                yield orjson.loads(line)
            except orjson.JSONDecodeError as error:
                raise DataError(
                    f"{path} holds a line that is no JSON.", "Give a journal that was not edited."
                ) from error
