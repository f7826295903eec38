"""A journal fed to a fresh exchange: the same inputs must give the same outputs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from workbench.exchange.server.calls import Request
from workbench.exchange.server.exchange import Exchange
from workbench.exchange.server.journal import Sink, read_journal
from workbench.exchange.server.sockets import Socket

Entry = dict[str, Any]


class Tape:
    """Entries kept in memory."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def add(self, kind: str, now_ms: int, **fields: Any) -> None:
        """Take one entry."""
        self.entries.append({"k": kind, "t": now_ms, **fields})


def replay(path: Path, build: Callable[[Sink], Exchange]) -> list[str]:
    """Return where an exchange that takes the inputs of a journal writes another journal.

    ``build`` makes the exchange anew, as it was when the journal began, with the sink as its
    journal.
    """
    tape = Tape()
    exchange = build(tape)
    sockets: dict[int, Socket] = {}
    differences: list[str] = []
    written = 0
    for number, entry in enumerate(read_journal(path), start=1):
        if entry["k"] == "head":
            continue
        if entry["k"] in _INPUTS:
            differences += [f"line {number}: beyond it, {row}" for row in tape.entries[written:]]
            tape.entries.clear()
            written = 0
            _INPUTS[entry["k"]](exchange, entry, sockets)
        made = tape.entries[written] if written < len(tape.entries) else None
        written += 1
        if made != entry:
            differences.append(f"line {number}: {entry} became {made}")
    return differences


def _request(exchange: Exchange, entry: Entry, _: dict[int, Socket]) -> None:
    query, body = (entry[name].encode("latin-1") for name in ("q", "b"))
    request = Request(entry["m"], entry["p"], query, entry["h"], body, entry["a"])
    exchange.handle(request, entry["t"])


def _open(exchange: Exchange, entry: Entry, sockets: dict[int, Socket]) -> None:
    opened = exchange.open_socket(entry["p"], entry["q"], entry["a"], entry["t"])
    if isinstance(opened, Socket):
        sockets[opened.number] = opened


def _hear(exchange: Exchange, entry: Entry, sockets: dict[int, Socket]) -> None:
    exchange.hear(sockets[entry["n"]], entry["f"], entry["t"])


def _close(exchange: Exchange, entry: Entry, sockets: dict[int, Socket]) -> None:
    exchange.close_socket(sockets.pop(entry["n"]), entry["t"])


def _tick(exchange: Exchange, entry: Entry, _: dict[int, Socket]) -> None:
    exchange.tick(entry["t"])


def _control(exchange: Exchange, entry: Entry, _: dict[int, Socket]) -> None:
    exchange.control(entry["c"], entry["b"], entry["t"])


def _feed(exchange: Exchange, entry: Entry, _: dict[int, Socket]) -> None:
    exchange.feed(entry["c"], entry["s"], entry["b"], entry["t"])


_INPUTS: dict[str, Callable[[Exchange, Entry, dict[int, Socket]], None]] = {
    "request": _request,
    "open": _open,
    "in": _hear,
    "close": _close,
    "tick": _tick,
    "control": _control,
    "feed": _feed,
}
