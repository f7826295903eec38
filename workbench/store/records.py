"""What the store hands out and takes: runs, trials, snapshots, and the check of the trial chain."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Literal

RunStatus = Literal["running", "done", "failed", "stopped"]
TrialKind = Literal["backtest", "sweep", "explore"]


@dataclass(frozen=True, slots=True)
class Run:
    """One executed notebook: what ran, on which code and data, and how it ended."""

    run_id: str
    notebook: str
    notebook_hash: str
    params: Mapping[str, Any]
    seed: int | None
    git_commit: str | None
    git_dirty: bool
    lock_hash: str | None
    path: str
    status: RunStatus
    started: datetime
    ended: datetime | None
    error: str | None
    measures: Mapping[str, Any]
    snapshot_id: str | None


@dataclass(frozen=True, slots=True)
class Trial:
    """One evaluation of one configuration on one snapshot under one set of costs.

    ``first_day`` is the UTC day of the first of its daily returns.
    """

    family: str
    strategy: str
    strategy_hash: str
    params: Mapping[str, Any]
    snapshot_id: str
    costs_hash: str
    kind: TrialKind
    measures: Mapping[str, Any]
    first_day: date


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The files behind a load, each with its hash, and what they cover."""

    snapshot_id: str
    files: tuple[tuple[str, str], ...]
    interval: str
    symbols: tuple[str, ...]
    start: datetime
    end: datetime
    is_synthetic: bool
    created: datetime


@dataclass(frozen=True, slots=True)
class ChainCheck:
    """Whether the trial ledger is as it was written; ``broken`` names the first bad trial."""

    n_trials: int
    head: str
    broken: int | None = None
    reason: str = field(default="")

    @property
    def is_intact(self) -> bool:
        """Whether every row, its returns and its link are as they were written."""
        return self.broken is None
