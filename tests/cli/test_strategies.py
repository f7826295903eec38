"""What `workbench new strategy` writes works as written and harms nothing that is there."""

import subprocess
import sys
import tomllib
from pathlib import Path

from typer.testing import CliRunner

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


def test_new_strategy_notebook_runs_as_a_job(home: Path) -> None:
    assert CliRunner().invoke(app, ["new", "strategy", "night_drift"]).exit_code == 0

    answer = CliRunner().invoke(
        app,
        ["run", "notebooks/research/night_drift.ipynb", "-p", "END", "2024-02-15"],
    )

    assert answer.exit_code == 0, answer.output
    with Store.open() as store:
        assert list(store.runs()["status"]) == ["done"]
        assert len(store.trials()) == 5  # one of the sweep's is the backtest's, counted once
