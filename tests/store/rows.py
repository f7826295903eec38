"""Rows that tests put into a store, here so that other processes can import them."""

from datetime import UTC, date, datetime
from typing import Any

import numpy as np

from workbench.store import Store, Trial

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def add_snapshot(store: Store, snapshot_id: str = "snap", **changes: Any) -> None:
    given = {
        "files": [("lake/a.parquet", "f" * 64)],
        "interval": "60",
        "symbols": ["BTCUSDT"],
        "start": datetime(2025, 1, 1, tzinfo=UTC),
        "end": NOON,
        "is_synthetic": False,
    }
    store.add_snapshot(snapshot_id, **{**given, **changes})


def start_run(store: Store, **changes: Any) -> str:
    given = {
        "notebook": "notebooks/research/20_research.ipynb",
        "notebook_hash": "a" * 64,
        "params": {"symbols": ["BTCUSDT"], "fast": 10},
        "seed": 7,
        "git_commit": "c" * 40,
        "git_dirty": False,
        "lock_hash": "b" * 64,
        "path": "runs/x.ipynb",
        "started": NOON,
    }
    return store.start_run(**{**given, **changes})


def make_trial(name: str = "h0", **changes: Any) -> Trial:
    given: dict[str, Any] = {
        "family": "momentum",
        "strategy": "MovingAverageCross",
        "strategy_hash": name,
        "params": {"fast": 10, "slow": 50},
        "snapshot_id": "snap",
        "costs_hash": "costs",
        "kind": "sweep",
        "measures": {"sharpe": 1.25, "sortino": float("nan")},
        "first_day": date(2025, 1, 2),
    }
    return Trial(**{**given, **changes})


def make_returns(n_trials: int, n_days: int = 5, *, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(0, 0.01, (n_trials, n_days)).astype(np.float32)


def write_a_lot(url: str, worker: int, n_rounds: int) -> int:
    """Open a store as one of many processes and write into it; return how many trials were new."""
    new = 0
    with Store.open(url) as store:
        add_snapshot(store)
        run_id = start_run(store, params={"worker": worker})
        for turn in range(n_rounds):
            # One trial that every worker tries, and two of its own.
            names = [f"shared-{turn}", f"{worker}-{turn}-a", f"{worker}-{turn}-b"]
            trials = [make_trial(name) for name in names]
            new += store.add_trials(trials, returns=make_returns(3, seed=worker), run_id=run_id)
            store.add_event("turn", actor=f"worker {worker}", detail={"turn": turn})
            store.trials(family="momentum")
        store.finish_run(run_id, status="done", ended=NOON, measures={"new": new})
    return new
