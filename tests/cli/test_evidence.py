"""Protects what `workbench verify` and `workbench trials` say, and the code that they end with."""

import json
import sqlite3

import pytest
from typer.testing import CliRunner

from tests.jobs.books import write_notebook
from tests.markets import random_market, scripted
from workbench import research
from workbench.cli import app
from workbench.core.config import load_config
from workbench.jobs.run import run_notebook


@pytest.fixture
def ledger(home):
    """A store with three trials."""
    market = random_market(3)
    for weight in (0.1, 0.2, 0.3):
        research.backtest(scripted([[weight, weight]]), market)
    return load_config().store.url.removeprefix("sqlite:///")


def test_trials_lists_the_newest_and_checks_the_chain(ledger):
    answer = CliRunner().invoke(app, ["trials", "--limit", "2"])

    assert answer.exit_code == 0, answer.output
    assert "3 trials" in answer.output
    assert "The chain is intact" in answer.output
    assert answer.output.count("Scripted") == 2


def test_trials_of_a_family_that_is_not_there_are_none(ledger):
    answer = CliRunner().invoke(app, ["trials", "--family", "none"])

    assert "0 trials of the family none" in answer.output


def test_trials_row_that_was_changed_is_named(ledger):
    with sqlite3.connect(ledger) as database:
        database.execute("DROP TRIGGER trials_refuse_update")
        database.execute("UPDATE trials SET kind = 'sweep' WHERE trial_id = 2")

    answer = CliRunner().invoke(app, ["trials"])

    assert answer.exit_code == 1
    assert "broken at trial 2: its content is not as written" in answer.output


def test_verify_says_verified_and_then_names_the_cell_that_was_edited(home):
    book = write_notebook(home / "b.ipynb", "import workbench as wb\nwb.record('x', 2 * FAST)")
    done = run_notebook(book)

    good = CliRunner().invoke(app, ["verify", done.run_id])
    assert good.exit_code == 0, good.output
    assert "VERIFIED" in good.output
    assert "1 declared outputs" in good.output

    notebook = json.loads(done.path.read_text())
    notebook["cells"][-1]["source"] = "import workbench as wb\nwb.record('x', 3 * FAST)"
    done.path.write_text(json.dumps(notebook))
    bad = CliRunner().invoke(app, ["verify", done.run_id])
    assert bad.exit_code == 1
    assert "its source is not what was sealed" in bad.output
    assert "NOT VERIFIED" in bad.output
