"""Two recorded runs with real notebooks, for the panels."""

from datetime import UTC, datetime, timedelta

import nbformat
import plotly.graph_objects as go
import pytest

from workbench.store import Store

START = datetime(2024, 1, 2, 3, 4, tzinfo=UTC)


def record_run(store, home, *, minute, strategy, sharpe, equity, error=None):
    """Write one run as a job does: its row, and its notebook with a figure in it."""
    started = START + timedelta(minutes=minute)
    path = home / f"run-{minute}.ipynb"
    figure = go.Figure(go.Scatter(y=equity, mode="lines", name=strategy))
    figure.update_layout(title_text=f"<b>SYNTHETIC</b> · {strategy}. Equity {equity[-1]}")
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
