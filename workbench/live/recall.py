"""Recall: an engine set up again from its journal, as if it had never ended.

Orders, books and decisions come from execution's own records; forecasts, sizers and risk from the
newest checkpoint and the bars since; weights, locks and grants from the newest state.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Literal, cast

import numpy as np

from workbench.core.records import FIELDS
from workbench.live.engine import HIGH, LOW, Engine
from workbench.live.journal import read_journal
from workbench.live.recorder import BOOKED, Mirrored
from workbench.live.window import CLOSE, MARK, Row
from workbench.portfolio.accounting import Payment
from workbench.portfolio.rounds import Rounds
from workbench.strategies.base import WEIGHT_QUANTUM

ROWS: Final = frozenset({"postings", "orders", "equity"})
"""Kinds of lines that go to the store."""


@dataclass(slots=True)
class Recalled:
    """What a journal says beside execution's records.

    ``last_at`` is the newest bar that counted, ``heard`` the number of the newest command,
    ``unanswered`` the commands that were taken and not finished. ``since`` holds bars and weights
    after the newest checkpoint, ``booked`` and ``bars`` what came after the newest state.
    """

    last_at: datetime | None = None
    heard: int = 0
    unanswered: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    memory: Mapping[str, Any] | None = None
    state: Mapping[str, Any] | None = None
    states: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    since: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    booked: list[tuple[str, Any]] = field(default_factory=list)
    bars: list[Mapping[str, Any]] = field(default_factory=list)

    def take(self, kind: str, document: Any) -> None:
        """Take a line."""
        if kind in BOOKED:
            self.booked.append((kind, document))
        elif kind in ("bar", "weights"):
            self.since.append((kind, document))
            self.states |= document.get("states", {})
            self.bars += [document] if kind == "bar" else []
        elif kind == "memory":
            self.memory, self.since = document, []
        elif kind == "state":
            self.state, self.booked, self.bars = document, [], []
        elif kind == "command":
            self.heard = max(self.heard, document["number"])
            self.unanswered[document["id"]] = document
        elif kind == "outcome":
            self.unanswered.pop(document["id"], None)


def recall(engine: Engine, path: Path, *, mirrored: int = -1) -> Recalled:
    """Set an engine up from a journal; rows after ``mirrored`` are kept for the store again.

    Raises
    ------
    ReconcileError
        If a line of the journal is not as it was written.
    """
    found = Recalled()
    engine.manager.replay(_read(engine, path, found, mirrored))
    _restore(engine, found)
    return found


def _read(
    engine: Engine, path: Path, found: Recalled, mirrored: int
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for line in read_journal(path):
        document = line.document
        if line.kind in ROWS and line.number > mirrored:
            engine.world.keep(line.number, Mirrored(line.kind, document))
        elif line.kind == "flow":
            engine.manager.books.flow(read_payment(document))
        elif line.kind == "asked":
            mids = {symbol: Decimal(mid) for symbol, mid in document["mids"].items()}
            at = datetime.fromisoformat(document["at"])
            engine.recorder.decided(document["decision"], at, mids)
        found.take(line.kind, document)
        yield line.kind, document


def _restore(engine: Engine, found: Recalled) -> None:
    rounds = engine.rounds
    _restore_risk(rounds, found)
    for name, state in found.states.items():
        if name in engine.roster.runners:
            engine.roster.runners[name].state = state
    if found.state is not None:
        engine.holdings.restore(found.state["holdings"])
        rounds.system.track.restore({**found.state["track"], "days": []})
        rounds.system.breakers.restore(found.state["breakers"])
        engine.restore(found.state)
    for document in found.bars:
        values = read_bar(document).values
        engine.holdings.advance(values[HIGH], values[LOW])
    # What was booked after the newest state moves it as it would have.
    engine.tap.booked = found.booked
    engine.settle()
    engine.holdings.sync()


def _restore_risk(rounds: Rounds, found: Recalled) -> None:
    memory, system = found.memory, rounds.system
    has_symbols = memory is None or memory["symbols"] == list(system.symbols)
    if memory is not None:
        system.restore(memory["risk"])
        if has_symbols:
            found.last_at = _moment(memory["known_at"])
            rounds.forecaster.restore(memory["forecast"])
            if memory["strategies"] == list(system.strategies):
                rounds.sizing.restore(memory["sizing"])
    for kind, document in found.since:
        if kind == "bar":
            row = read_bar(document)
            if has_symbols:
                found.last_at = row.known_at
                rounds.advance(row.known_at, row.values[CLOSE], row.values[MARK])
        elif document["strategies"] == list(system.strategies):
            whole = np.array(document["weights"], dtype=np.float64)
            rounds.sizing.take(whole * WEIGHT_QUANTUM)


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def read_bar(document: Mapping[str, Any]) -> Row:
    """Return the bar of a line."""
    values = np.array([document["values"][name] for name in FIELDS], dtype=np.float64)
    return Row(datetime.fromisoformat(document["known_at"]), values)


def read_payment(document: Mapping[str, Any]) -> Payment:
    """Return the payment of a line."""
    kind = cast("Literal['deposit', 'withdrawal', 'transfer', 'interest', 'fee']", document["kind"])
    return Payment(
        document["id"], datetime.fromisoformat(document["moment"]), kind,
        Decimal(document["amount_usdt"]), document["symbol"], document["strategy"],
    )  # fmt: skip
