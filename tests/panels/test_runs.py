"""Protects the run explorer: it shows what is recorded, and two runs side by side."""

import pytest

from workbench.core.errors import ConfigError
from workbench.panels import show
from workbench.panels.runs import NO_RUN, RunExplorer, figures_of
from workbench.store import Store


@pytest.fixture
def explorer(runs):
    with Store.open() as store:
        yield RunExplorer(store=store)


def test_list_holds_every_run_newest_first(explorer, runs):
    assert [row["key"] for row in explorer.table.rows] == runs[::-1]
    assert explorer.table.selected == runs[-1]
    assert explorer.table.rows[0]["sharpe"] == -0.7


def test_chosen_run_shows_parameters_measures_and_figure(explorer, runs):
    explorer.table.selected = runs[1]
    assert "crossover" in explorer.params.value
    assert "0.5" in explorer.measures.value
    assert "SYNTHETIC" in explorer.head.value
    assert explorer.plot.figure["data"][0]["name"] == "crossover"


def test_failed_run_shows_its_error_escaped(explorer, runs):
    explorer.table.selected = runs[0]
    assert "KeyError: &#x27;close&#x27;" in explorer.head.value


def test_second_run_is_compared(explorer, runs):
    explorer.table.selected = runs[1]
    explorer.other.value = runs[2]
    assert "+1.2" in explorer.measures.value
    assert 'class="wb-differs"' in explorer.params.value
    assert [t["name"] for t in explorer.plot.figure["data"]] == ["crossover", "momentum (beside)"]
    explorer.other.value = NO_RUN
    assert len(explorer.plot.figure["data"]) == 1


def test_run_of_the_address_is_chosen_first(runs):
    with Store.open() as store:
        assert RunExplorer(store=store, run_id=runs[0][:19]).table.selected == runs[0]


def test_refresh_shows_a_run_recorded_since(explorer, runs, home):
    from tests.panels.conftest import record_run

    with Store.open() as store:
        record_run(store, home, minute=9, strategy="carry", sharpe=0, equity=[1])
    explorer.refresh.click()
    assert len(explorer.table.rows) == 4


def test_run_without_its_notebook_has_no_figures(explorer, runs):
    with Store.open() as store:
        run = store.run(runs[0])
    from pathlib import Path

    Path(run.path).unlink()
    assert figures_of(run) == []
    explorer.table.selected = runs[0]
    assert explorer.plot.figure == {}


def test_empty_store_says_how_to_make_a_run(home):
    with Store.open() as store:
        explorer = RunExplorer(store=store)
    assert "workbench run" in explorer.table.empty
    explorer.widget()


def test_show_unknown_panel_names_the_known(home):
    with pytest.raises(ConfigError, match="Panels: runs"):
        show("risk")
