"""Protects the committed notebooks: they keep the rules, and each runs from top to bottom."""

import subprocess
import sys
from pathlib import Path

import nbformat
import papermill
import pytest
import yaml

from tests.notebooks.rules import find_faults
from workbench.jobs.page import PLOTLY
from workbench.jobs.parameters import bind_parameters, read_parameters
from workbench.jobs.run import JobResult, open_notebook, run_notebook
from workbench.store import Store

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
SMALL = yaml.safe_load(Path(__file__).with_name("small.yaml").read_text("utf-8"))
NOTEBOOKS = sorted(path for path in FOLDER.rglob("*.ipynb") if "scratch" not in path.parts)
RESEARCH = {path.stem: path for path in NOTEBOOKS}
MAJORS = ["BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT", "BNBUSDT"]

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


@each_notebook
def test_notebook_keeps_the_rules(path):
    assert find_faults(path) == []


def test_small_values_name_every_notebook_and_fit_it():
    assert set(SMALL) == set(RESEARCH)
    for stem, path in RESEARCH.items():
        bind_parameters(read_parameters(open_notebook(path)), SMALL[stem])


@each_notebook
def test_notebook_runs_on_the_synthetic_market(path, home):
    done = run_notebook(path, SMALL[path.stem])

    assert done.status == "done", done.error
    titles = figure_titles(done)
    assert titles
    assert [title for title in titles if "SYNTHETIC" not in title] == []
    assert "SYNTHETIC" in done.html.read_text("utf-8")
    with Store.open() as store:
        row = store.run(done.run_id)
        trials = store.trials()
    assert row.snapshot_id == done.measures["snapshot_id"]
    assert set(trials["run_id"]) <= {done.run_id}


@each_notebook
def test_notebook_declared_outputs_come_out_again(path, home):
    """Run nbval over the notebook with small parameters; cells that declare outputs are compared.

    The outputs that the notebook is committed with are the golden ones.
    """
    notebook = open_notebook(path)
    golden = {cell.id: cell.outputs for cell in notebook.cells if cell.get("outputs")}
    assert golden, "the notebook declares no output"
    params = bind_parameters(read_parameters(notebook), SMALL[path.stem])
    copy = home / path.name
    papermill.execute_notebook(
        str(path), str(copy), parameters=params, prepare_only=True, progress_bar=False
    )
    prepared = nbformat.read(copy, as_version=4)
    assert {cell.id: cell.outputs for cell in prepared.cells if cell.get("outputs")} == golden
    for cell in prepared.cells:  # nbval wants the count, which a committed notebook does not keep
        if cell.get("outputs"):
            cell.execution_count = 1
    nbformat.write(prepared, copy)
    # Cells run in their order, whatever order pytest-randomly gives to tests.
    without = ["-p", "no:cacheprovider", "-p", "no:randomly"]
    command = [sys.executable, "-m", "pytest", "--nbval-lax", "-q", *without]
    done = subprocess.run(
        [*command, str(copy)], cwd=home, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout[-3000:]


def test_research_notebook_takes_a_strategy_that_learns(home):
    """A pair is fitted on the bars before those that it is judged on."""
    small = SMALL["20_research_strategy"]
    params = {
        **small, "STRATEGY": "pairs", "PARAMS": {"max_p_value": 1.0}, "FIT_UNTIL": "2024-01-31",
        "GRID": {"entry_z": [1.0, 2.0], "exit_z": [0.0, 0.5]},
    }  # fmt: skip

    done = run_notebook(RESEARCH["20_research_strategy"], params)

    assert done.status == "done", done.error
    with Store.open() as store:
        days = store.trials()["first_day"]
    assert {str(day) for day in days} == {"2024-01-31"}


@pytest.mark.slow
def test_comparison_runs_on_real_hourly_bars_of_a_file(home, shared_data):
    source = shared_data / "bybit_linear_major_long" / "ohlcv_1h.parquet"
    params = {"SOURCE": str(source), "SYMBOLS": MAJORS, "START": "2023-01-01", "END": "2024-01-01"}

    done = run_notebook(RESEARCH["30_compare_strategies"], params)

    assert done.status == "done", done.error
    assert "SYNTHETIC" not in done.html.read_text("utf-8")


@pytest.mark.slow
def test_evidence_notebook_judges_a_strategy_that_learns_on_what_it_did_not_learn_from(home):
    small = SMALL["80_graduate"]
    params = {**small, "STRATEGY": "pairs", "PARAMS": {"max_p_value": 1.0}, "END": "2023-10-01",
              "GRID": {"entry_z": [1.5, 2.0], "exit_z": [0.0, 0.5]}}  # fmt: skip

    done = run_notebook(RESEARCH["80_graduate"], params)

    assert done.status == "done", done.error
    with Store.open() as store:
        days = store.trials()["first_day"]
    assert min(days).isoformat() > "2023-03-01"
    assert done.measures["verdict.word"] == "REFUSED"


def figure_titles(done: JobResult) -> list[str]:
    """The titles of the plotly figures among the outputs of an executed notebook."""
    return [
        output.data[PLOTLY]["layout"]["title"]["text"]
        for cell in open_notebook(done.path).cells
        for output in cell.get("outputs", [])
        if PLOTLY in output.get("data", {})
    ]
