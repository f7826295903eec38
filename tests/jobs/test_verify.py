"""Protects the promise that every number re-runs: sealed runs verify, and tampering is named."""

import json
import sqlite3
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.jobs.books import write_notebook, write_strategy
from workbench.core.config import load_config
from workbench.core.errors import DataError, EvidenceError
from workbench.data import Lake, import_file
from workbench.jobs.run import run_notebook
from workbench.jobs.verify import check_run, verify_run
from workbench.store import Store

PARAMETERS = 'SYMBOLS = ["AAAUSDT", "BBBUSDT"]  # names\nHORIZON = 24  # bars\nSEED = 7'
SYNTHETIC = (
    "import workbench as wb\n"
    "from workbench.strategies import load_strategy\n"
    "market = wb.load(SYMBOLS, source='synthetic', start='2024-01-01', end='2024-03-01')\n"
    "strategy = load_strategy('strategies/mine.py:Mine', {'horizon': HORIZON})\n"
    "result = wb.research.backtest(strategy, market)\n"
    "wb.record('sharpe', result.measures()['sharpe'])\n"
    "wb.record('snapshot_id', wb.research.identify(market))"
)


@pytest.fixture
def project(home, monkeypatch):
    """A project with a strategy that imports a module of its own."""
    (home / "workbench.toml").write_text("[account]\nleverage = 2.0\n")
    write_strategy(home)
    monkeypatch.setenv("PYTHONPATH", str(home / "strategies"))
    return home


@pytest.fixture
def run(project):
    """A run of the strategy on a synthetic market, done and sealed."""
    book = write_notebook(project / "book.ipynb", SYNTHETIC, parameters=PARAMETERS)
    done = run_notebook(book, {"HORIZON": 12})
    assert done.status == "done", done.error
    return done


def faults(run):
    return [str(difference) for difference in verify_run(run.run_id).differences]


def test_verify_run_untouched_verifies_and_writes_no_trial(run):
    with Store.open() as store:
        before = len(store.trials()), len(store.runs()), len(store.events())

    answer = verify_run(run.run_id[:18])

    assert answer.is_verified, answer.differences
    # The label of the market is the job's own, beside what the notebook recorded.
    assert set(run.measures) == {"sharpe", "snapshot_id", "watermark"}
    assert answer.n_measures == 2
    with Store.open() as store:
        assert (len(store.trials()), len(store.runs()), len(store.events())) == before


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [("mine.py", "SIZE = 0.5", "SIZE = 0.4"), ("mine_scale.py", "1.0", "0.9")],
)
def test_verify_run_changed_constant_is_named_with_what_it_changes(run, project, file, old, new):
    """The red team changes one constant in a strategy, or in a module that it imports."""
    path = project / "strategies" / file
    path.write_text(path.read_text().replace(old, new))

    found = faults(run)

    assert found[0] == f"strategies/{file}: it has changed since the run was sealed"
    assert found[1].startswith("sharpe: ")


def test_verify_run_fetches_committed_code_that_has_changed_since(project):
    def git(*words):
        subprocess.run(
            ["git", "-c", "user.name=t", "-c", "user.email=t@localhost", *words],
            cwd=project, check=True, capture_output=True,
        )  # fmt: skip

    (project / ".gitignore").write_text("data/\n__pycache__/\n")
    book = write_notebook(project / "book.ipynb", SYNTHETIC, parameters=PARAMETERS)
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "Begin")
    done = run_notebook(book)
    path = project / "strategies" / "mine.py"
    path.write_text(path.read_text().replace("SIZE = 0.5", "SIZE = 0.4"))

    answer = verify_run(done.run_id)

    assert answer.differences == ()
    with Store.open() as store:
        assert answer.restored == store.run(done.run_id).git_commit
    assert len(list((project / ".git").glob("worktrees/*"))) == 0


def test_verify_run_edited_output_is_refused_without_running(run):
    notebook = json.loads(run.path.read_text())
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            for measures in output.get("data", {}).values():
                if isinstance(measures, dict) and "sharpe" in measures:
                    measures["sharpe"] = 3.0
    run.path.write_text(json.dumps(notebook))

    assert faults(run) == ["cell 3: its output is not what was sealed: it was edited"]


def test_verify_run_edited_ledger_row_is_refused(run):
    place = load_config().store.url.removeprefix("sqlite:///")
    with sqlite3.connect(place) as database:
        database.execute("DROP TRIGGER trials_refuse_update")
        database.execute("UPDATE trials SET family = 'other' WHERE trial_id = 1")

    assert faults(run) == ["the trial ledger: trial 1: its content is not as written"]


def test_verify_run_swapped_parameters_are_refused(run):
    notebook = json.loads(run.path.read_text())
    notebook["metadata"]["workbench"]["seal"]["params"]["HORIZON"] = 48
    run.path.write_text(json.dumps(notebook))

    assert faults(run) == ["the seal: it is not the one that the store recorded: it was changed"]


def test_verify_run_settings_of_the_day_are_used_again(run, project):
    (project / "workbench.toml").write_text("[account]\nleverage = 1.0\n")

    assert faults(run) == ["workbench.toml: it has changed since the run was sealed"]


def bars(last):
    rng = np.random.default_rng(1)
    close = 100 * np.exp(rng.normal(0, 0.01, 24 * 90).cumsum())
    start = pd.date_range("2024-01-01", periods=len(close), freq="1h", tz="UTC")
    frame = pd.DataFrame({"timestamp": start, "open": close, "high": close, "low": close})
    return frame.assign(close=close, volume=1.0, symbol="AAAUSDT").iloc[:last]


def test_verify_run_sees_the_lake_and_the_ledger_of_its_day(project):
    """Later pulls and later trials change neither the data nor the count of a sealed run."""
    cells = (
        "import workbench as wb\n"
        "from workbench.store import Store\n"
        "from workbench.strategies import MovingAverageCross\n"
        "market = wb.load(['AAAUSDT'], interval='60')\n"
        "wb.sweep(MovingAverageCross(), market, {'fast': [5, 10], 'slow': [30, 60]})\n"
        "wb.record('bars', market.n_bars)\n"
        "with Store.open() as store:\n"
        "    wb.record('trials', len(store.trials()))\n"
        "wb.record('snapshot_id', market.snapshot_id)"
    )
    file = project / "bars.csv"
    bars(24 * 45).to_csv(file, index=False)
    import_file(file, lake=Lake(load_config().lake_dir), venue="bybit")
    done = run_notebook(write_notebook(project / "book.ipynb", cells, parameters="SEED = 7"))
    assert done.measures["trials"] == 4
    bars(24 * 90).to_csv(file, index=False)
    import_file(file, lake=Lake(load_config().lake_dir), venue="bybit")
    later = run_notebook(write_notebook(project / "b.ipynb", cells, parameters="SEED = 7"))

    assert later.measures["trials"] == 8
    assert verify_run(done.run_id).differences == ()


def test_verify_run_that_failed_has_no_seal(project):
    book = write_notebook(project / "book.ipynb", "raise ValueError", parameters="SEED = 7")
    failed = run_notebook(book)
    with pytest.raises(EvidenceError, match="no seal"):
        verify_run(failed.run_id)


def test_verify_run_unknown_is_an_error(home):
    with pytest.raises(DataError, match="No runs begin with"):
        verify_run("2020")


def test_sealed_run_names_the_code_that_ran(run):
    seal = json.loads(Path(run.path).read_text())["metadata"]["workbench"]["seal"]

    assert {"workbench/backtest/kernel.py", "strategies/mine.py", "workbench.toml"} <= set(
        seal["code"]
    )
    assert seal["settings"]["account"]["leverage"] == 2.0
    assert seal["ledger"][0] == 1


def test_check_run_untouched_finds_nothing_and_runs_nothing(run, monkeypatch):
    monkeypatch.setattr(subprocess, "run", None)

    assert check_run(run.run_id) == ()


@pytest.mark.parametrize(
    ("name", "value"), [("measures", '{"sharpe":9.0}'), ("params", '{"HORIZON":48}')]
)
def test_check_run_row_of_the_store_edited_is_named(run, name, value):
    """What a permit rests on is read from the row, so the row must be what was sealed."""
    place = load_config().store.url.removeprefix("sqlite:///")
    with sqlite3.connect(place) as database:
        database.execute("DROP TRIGGER runs_refuse_update")
        database.execute(f"UPDATE runs SET {name} = ?", (value,))

    assert [str(difference) for difference in check_run(run.run_id)] == [
        f"the store's row of the run, {name}: it is not what was sealed"
    ]
