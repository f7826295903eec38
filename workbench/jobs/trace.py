"""The failure of a cell in ten lines: which question, which line, which call, which error."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from papermill.exceptions import PapermillExecutionError

MAX_LINES: Final = 10
MAX_FRAMES: Final = 4
WIDTH: Final = 160

_ANSI: Final = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_CELL: Final = re.compile(r"^(?:Cell )?In ?\[[\d ]*\], line (\d+)", re.MULTILINE)
_FRAME: Final = re.compile(
    r"^(?:File (?P<file>.+?):|(?:Cell )?In ?\[[\d ]*\], line )(?P<line>\d+), in (?P<name>[^\n(]+)",
    re.MULTILINE,
)
_MARKUP: Final = re.compile(r"[*_`#>]+|\[([^\]]*)\]\([^)]*\)")


def question(markdown: str) -> str:
    """Return the last line of a text cell without its markup: the question of the cell below."""
    lines = [line.strip() for line in markdown.splitlines() if line.strip()]
    text = _MARKUP.sub(r"\1", lines[-1]).strip() if lines else ""
    return text if len(text) <= 100 else f"{text[:97]}..."


def shorten(error: PapermillExecutionError, *, place: str) -> str:
    """Return at most ten lines that tell where and why a notebook failed.

    ``place`` names the cell: ``in code cell 3 of 9 ("Does it pay?")``.
    """
    text = _ANSI.sub("", "\n".join(error.traceback))
    seen = _CELL.search(text)
    source = str(error.source).splitlines()
    number = int(seen.group(1)) if seen else 1
    head = f"Failed {place}, line {number}:"
    if number <= len(source):
        head += f"\n    {source[number - 1].strip()}"
    frames = [
        f"  {place}{found['line']} in {found['name'].strip()}"
        for found in _FRAME.finditer(text)
        for place in [f"{found['file']}:" if found["file"] else "code cell line "]
    ][-MAX_FRAMES:]
    reason = f"{error.ename}: {error.evalue}".splitlines()
    lines = [*head.splitlines(), *frames]
    room = MAX_LINES - len(lines)
    if len(reason) > room:
        reason = [*reason[: room - 1], "..."]
    return "\n".join(line[:WIDTH] for line in [*lines, *reason])
