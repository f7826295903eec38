"""What `workbench new strategy` writes works as written and harms nothing that is there."""

import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
from typer.testing import CliRunner

from tests.notebooks.rules import check
from workbench.cli import app
from workbench.store import Store


def test_new_strategy_passes_its_own_test_and_is_registered(home: Path) -> None:
    (home / "workbench.toml").write_text("# mine\nseed = 3\n[strategies]\nold = 'a:B'\n")
    answer = CliRunner().invoke(app, ["new", "strategy", "night_drift"])
    assert answer.exit_code == 0, answer.output
    text = (home / "workbench.toml").read_text()
    assert "# mine" in text
    assert (
        tomllib.loads(text)["strategies"]["night_drift"] == "strategies/night_drift.py:NightDrift"
    )
    assert (home / "notebooks/research/night_drift.ipynb").is_file()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "tests/test_night_drift.py"],
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    again = CliRunner().invoke(app, ["new", "strategy", "night_drift"])
    assert again.exit_code == 1
    assert (home / "workbench.toml").read_text() == text


def test_new_strategy_notebook_keeps_the_rules_and_runs_as_a_job(home: Path) -> None:
    assert CliRunner().invoke(app, ["new", "strategy", "night_drift"]).exit_code == 0
    place = "notebooks/research/night_drift.ipynb"
    assert check(nbformat.read(home / place, as_version=4)) == []

    answer = CliRunner().invoke(app, ["run", place, "-p", "END", "2024-02-15"])

    assert answer.exit_code == 0, answer.output
    with Store.open() as store:
        (run,) = store.runs().to_dict("records")
        # One of the sweep's is the backtest's and counts once; buy-and-hold stands beside.
        assert len(store.trials()) == 6
    assert run["status"] == "done"
    assert run["snapshot_id"] == run["measures"]["snapshot_id"]
    assert {"strategy.sharpe", "buy_and_hold.sharpe"} <= set(run["measures"])
