"""Protects the validation explorer: it shows the verdicts on record, whole, and nothing else."""

import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from tests.panels.conftest import make_verdict
from workbench.evidence.verdicts import record_verdict
from workbench.panels import show
from workbench.panels.validation import EVERYONE, ValidationExplorer
from workbench.store import Store


@pytest.fixture
def explorer(verdicts):
    with Store.open() as store:
        yield ValidationExplorer(store=store)


def test_list_holds_every_verdict_newest_first(explorer, verdicts):
    assert [row["key"] for row in explorer.table.rows] == verdicts[::-1]
    assert [row["word"] for row in explorer.table.rows] == ["PASSED", "REFUSED", "REFUSED"]
    assert explorer.table.selected == verdicts[-1]


def test_chosen_verdict_shows_its_card_figure_measures_and_count(explorer, verdicts):
    """VA-14: the verdict, every criterion and what it rests on."""
    explorer.table.selected = verdicts[0]
    for words in ("REFUSED", "more than luck", "37% of all worlds", "holds on sealed data"):
        assert words in explorer.head.value
    assert explorer.plot.figure["data"][0]["name"] == "crossover"
    assert "0.37" in explorer.measures.value
    title = explorer.count.figure["layout"]["title"]["text"]
    assert "SYNTHETIC" in title
    assert "3 trials when it was judged, 3 now" in title


def test_verdict_outside_of_a_run_says_what_it_is_worth_and_is_escaped(explorer, verdicts):
    explorer.table.selected = verdicts[1]
    assert "no permit can rest on it" in explorer.head.value
    assert "Momentum&lt;b&gt;" in explorer.head.value
    assert explorer.plot.figure == {}


def test_verdicts_of_one_strategy_are_listed(explorer, verdicts):
    explorer.strategy.value = "Momentum<b>"
    assert [row["key"] for row in explorer.table.rows] == [verdicts[1]]
    assert explorer.table.selected == verdicts[1]
    explorer.strategy.value = EVERYONE
    assert len(explorer.table.rows) == 3


def test_verdict_of_the_address_is_chosen_first(verdicts):
    with Store.open() as store:
        assert (
            ValidationExplorer(store=store, verdict_id=verdicts[0][:9]).table.selected
            == (verdicts[0])
        )


def test_refresh_shows_a_verdict_recorded_since(explorer, verdicts):
    with Store.open() as store:
        record_verdict(store, make_verdict(strategy="Carry"), run_id=None)
        record_verdict(store, make_verdict(strategy="Carry"), run_id=None)
    explorer.refresh.click()
    assert [row["strategy"] for row in explorer.table.rows][:2] == ["Carry", "MovingAverageCross"]
    assert explorer.table.selected == verdicts[-1]


def test_verdict_that_was_changed_is_not_shown(verdicts, home):
    with closing(sqlite3.connect(home / "data" / "workbench.db")) as database:
        database.execute("DROP TRIGGER events_refuse_update")
        database.execute("UPDATE events SET detail = replace(detail, '0.37', '0.01')")
        database.commit()
    with Store.open() as store:
        explorer = ValidationExplorer(store=store)
    assert explorer.table.rows == []
    assert "was changed after it was recorded" in explorer.head.value


def test_empty_store_says_how_to_make_a_verdict(home):
    panel = show("validation")
    assert "80_graduate" in str(panel.children[1].children[1].children[0].children[0].value)


def test_panel_keeps_its_kernel_light():
    """A person waits for every library that the kernel of a panel loads."""
    heavy = ["arch", "nbformat", "numba", "polars", "scipy", "sklearn", "statsmodels", "vectorbt"]
    code = (
        "import sys, workbench.panels.validation as panel\npanel.trials\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    seen = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert seen.stdout.strip() == "[]"
