"""A project with a strategy that imports a module of its own, and a sealed run with a verdict."""

import json
import linecache
import sqlite3
import sys
from pathlib import Path

from tests.jobs.books import write_notebook, write_strategy
from tests.lifecycle.scene import VALIDATED
from workbench.jobs.run import run_notebook
from workbench.strategies import load_strategy, strategy_hash

NAME = "Mine"
PARAMETERS = "HORIZON = 24  # bars\nSEED = 7  # of everything"
CELL = f"""
import os
import workbench as wb
from workbench.evidence.gates import load_gate
from workbench.evidence.judge import judge
from workbench.evidence.verdicts import record_verdict
from workbench.store import Store
from workbench.strategies import load_strategy, strategy_hash
market = wb.load(["AAAUSDT"], source="synthetic", start="2024-01-01", end="2024-02-01")
strategy = load_strategy("strategies/mine.py:Mine", {{"horizon": HORIZON}})
result = wb.research.backtest(strategy, market)
verdict = judge({VALIDATED!r}, load_gate(), strategy="Mine",
                strategy_hash=strategy_hash(strategy), is_synthetic=False)
with Store.open() as store:
    record_verdict(store, verdict, run_id=os.environ["WORKBENCH_RUN_ID"])
wb.record("sharpe", result.measures()["sharpe"])
wb.record("verdict", {{"digest": verdict.digest, "word": verdict.word}})
"""


def write_project(home: Path, monkeypatch) -> None:
    """Write the strategy and its module; notebooks and this process can import them."""
    write_strategy(home)
    (home / "workbench.toml").write_text('[strategies]\nmine = "strategies/mine.py:Mine"\n')
    monkeypatch.setenv("PYTHONPATH", str(home / "strategies"))
    monkeypatch.syspath_prepend(str(home / "strategies"))


def graduate(home: Path):
    """Run the notebook that puts the strategy before the gate."""
    book = write_notebook(home / "graduate.ipynb", CELL, parameters=PARAMETERS)
    done = run_notebook(book)
    assert done.status == "done", done.error
    return done


def hash_now(home: Path, **params) -> str:
    """The hash of the strategy as its files are now, as a process that starts now sees it."""
    for name in [n for n in sys.modules if n.startswith("_strategy_mine") or n == "mine_scale"]:
        del sys.modules[name]
    linecache.checkcache()
    return strategy_hash(load_strategy("strategies/mine.py:Mine", params, root=home))


def edit_event(place: Path, kind: str, change, *, newest: bool = True) -> None:
    """Change the detail of an event behind the store's back, past its triggers."""
    with sqlite3.connect(place) as database:
        database.execute("DROP TRIGGER IF EXISTS events_refuse_update")
        order = "DESC" if newest else "ASC"
        number, text = database.execute(
            f"SELECT event_id, detail FROM events WHERE kind = ? ORDER BY event_id {order}", (kind,)
        ).fetchone()
        detail = json.loads(text)
        change(detail)
        database.execute(
            "UPDATE events SET detail = ? WHERE event_id = ?", (json.dumps(detail), number)
        )
