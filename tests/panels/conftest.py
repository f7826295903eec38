"""Recorded runs with real notebooks, and verdicts that rest on them, for the panels."""

from datetime import UTC, datetime, timedelta

import nbformat
import numpy as np
import plotly.graph_objects as go
import pytest

from workbench.evidence.gates import load_gate
from workbench.evidence.judge import judge
from workbench.evidence.verdicts import record_verdict
from workbench.store import Store, Trial

START = datetime(2024, 1, 2, 3, 4, tzinfo=UTC)


def record_run(store, home, *, minute, strategy, sharpe, equity, error=None):
    """Write one run as a job does: its row, and its notebook with a figure in it."""
    started = START + timedelta(minutes=minute)
    path = home / f"run-{minute}.ipynb"
    figure = go.Figure(go.Scatter(y=equity, mode="lines", name=strategy))
    figure.update_layout(title_text=f"<b>SYNTHETIC</b> · {strategy}. Equity {equity[-1]}")
    figure.update_layout(meta={"name": "equity and drawdown"})
    bundle = {"application/vnd.plotly.v1+json": figure.to_plotly_json()}
    output = nbformat.v4.new_output("display_data", bundle)
    cell = nbformat.v4.new_code_cell("secret_source = 1", outputs=[output])
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), path)
    run_id = store.start_run(
        notebook="notebooks/research/20_research_strategy.ipynb", notebook_hash="0" * 64,
        params={"STRATEGY": strategy, "SYMBOLS": ["BTCUSDT"], "INTERVAL": "60"}, seed=1,
        git_commit="abc", git_dirty=False, lock_hash=None, path=str(path), started=started,
    )  # fmt: skip
    store.finish_run(
        run_id,
        status="failed" if error else "done",
        ended=started + timedelta(seconds=7),
        error=error,
        measures={
            "strategy.sharpe": sharpe,
            "strategy.max_drawdown": 0.2,
            "watermark": "SYNTHETIC",
        },
    )
    return run_id


@pytest.fixture
def runs(home):
    """The ids of a failed run and two good ones, oldest first."""
    with Store.open() as store:
        return [
            record_run(store, home, minute=0, strategy="hold", sharpe=0.1, equity=[1, 2],
                       error="KeyError: 'close'"),
            record_run(store, home, minute=1, strategy="crossover", sharpe=0.5, equity=[1, 2, 3]),
            record_run(store, home, minute=2, strategy="momentum", sharpe=-0.7, equity=[1, 2, 1]),
        ]  # fmt: skip


def make_verdict(*, strategy="MovingAverageCross", is_synthetic=True, **measures):
    """A verdict of the default gate: refused for luck, unless the measures say otherwise."""
    known = {
        "leaks": 0, "probes": 96, "leak": "", "max_statistic_p": 0.37, "trials": 500,
        "oos_loss": 0.1, "oos_splits": 12_870, "costs_on": 1, "missing_costs": "",
        "sealed_quantile": 0.6, "looks": 1, "sealed_missing": "", "pbo": 0.4,
    }  # fmt: skip
    return judge(
        known | measures, load_gate(), strategy=strategy, strategy_hash="ab12" * 16,
        is_synthetic=is_synthetic,
    )  # fmt: skip


@pytest.fixture
def verdicts(home, runs):
    """The ids of three verdicts, oldest first: of a run, outside of one, and one that passes."""
    with Store.open() as store:
        _record_trials(store)
        refused = record_verdict(store, make_verdict(), run_id=runs[1])
        loose = record_verdict(store, make_verdict(strategy="Momentum<b>"), run_id=None)
        passed = record_verdict(store, make_verdict(max_statistic_p=0.001), run_id=runs[2])
    return [refused, loose, passed]


def _record_trials(store):
    span = {"start": START, "end": START + timedelta(days=9)}
    options = {"files": (), "interval": "60", "symbols": ("BTCUSDT",)}
    for name, is_synthetic in (("made", True), ("traded", False)):
        store.add_snapshot(name, **options, **span, is_synthetic=is_synthetic)
        trials = [
            Trial("cross", "MovingAverageCross", f"{name}{k}", {}, name, "costs", "sweep", {},
                  START.date())
            for k in range(3)
        ]  # fmt: skip
        store.add_trials(trials, returns=np.zeros((3, 9), dtype=np.float32))
