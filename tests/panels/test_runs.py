"""Protects the run explorer: it shows what is recorded, and two runs side by side."""

import json
import socket

import pytest

from tests.panels.conftest import START
from workbench.core.errors import ConfigError
from workbench.core.wording import THIN
from workbench.panels import show
from workbench.panels.runs import (
    NO_RUN,
    PLOTLY,
    RunExplorer,
    figures_of,
    head_of,
    measures_of,
    overlay,
    row_of,
)
from workbench.store import Run, Store


def make_run(*, path="x", status="done", **measures):
    return Run(
        run_id="1", notebook="a.ipynb", notebook_hash="0", params={}, seed=1, git_commit=None,
        git_dirty=False, lock_hash=None, path=path, status=status, started=START, ended=START,
        error=None, measures={f"strategy.{k}": v for k, v in measures.items()}, snapshot_id=None,
    )  # fmt: skip


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
    assert "Sharpe ratio</td>" in explorer.measures.value
    assert ">0.50</td>" in explorer.measures.value
    assert [label for label, _ in explorer.figure.options] == ["equity and drawdown"]
    assert "SYNTHETIC" in explorer.head.value
    assert explorer.plot.figure["data"][0]["name"] == "crossover"


def test_failed_run_shows_its_error_escaped(explorer, runs):
    explorer.table.selected = runs[0]
    assert "KeyError: &#x27;close&#x27;" in explorer.head.value


def test_second_run_is_compared(explorer, runs):
    explorer.table.selected = runs[1]
    explorer.other.value = runs[2]
    assert '<td class="wb-number wb-up">+1.20</td>' in explorer.measures.value
    assert 'class="wb-differs"' in explorer.params.value
    assert [t["name"] for t in explorer.plot.figure["data"]] == ["crossover", "momentum (beside)"]
    explorer.other.value = NO_RUN
    assert len(explorer.plot.figure["data"]) == 1


def test_difference_is_green_where_it_is_better_whichever_way_that_is():
    worse = measures_of(
        make_run(max_drawdown=0.5, n_trades=3.0), make_run(max_drawdown=0.2, n_trades=1.0)
    )
    assert f'<td class="wb-number wb-down">+30.0{THIN}%</td>' in worse
    assert '<td class="wb-number ">+2</td>' in worse


def test_two_runs_of_one_strategy_are_both_drawn_and_holding_once():
    """Trap: their lines have the same name, and so has buy-and-hold's, which is the same."""
    hold = {"type": "scatter", "mode": "lines", "name": "BuyAndHold", "x": [1, 2], "y": [1, 2]}
    one, other = ({**hold, "name": "Cross", "y": y} for y in ([1, 3], [1, 4]))
    both = overlay({"data": [hold, one], "layout": {}}, {"data": [hold, other], "layout": {}})
    assert [trace["name"] for trace in both["data"]] == ["BuyAndHold", "Cross", "Cross (beside)"]


def test_figures_are_listed_by_their_kind_and_told_apart(home):
    named = {"layout": {"meta": {"name": "underwater"}, "title": {"text": "At worst 3%"}}}
    own = {"layout": {"title": {"text": "<b>SYNTHETIC</b> · Prices"}}}
    outputs = [{"data": {PLOTLY: {"data": [], **figure}}} for figure in (named, own, named)]
    path = home / "x.ipynb"
    path.write_text(json.dumps({"cells": [{"outputs": outputs}]}))
    names = [name for name, _ in figures_of(make_run(path=str(path)))]
    assert names == ["underwater", "Prices", "underwater (2)"]
    path.write_text('{"cells": [')
    assert figures_of(make_run(path=str(path))) == []


def test_run_whose_process_is_gone_is_shown_as_lost(home):
    """A killed job leaves its row at running: nobody should wait for it."""
    path = home / "x.ipynb"
    gone = {"host": socket.gethostname(), "pid": 2**22 + 1, "created": 0.0}
    path.write_text(json.dumps({"cells": [], "metadata": {"workbench": gone}}))
    lost = make_run(path=str(path), status="running")
    assert row_of(lost)["status"] == "lost"
    assert 'class="wb-lost"' in head_of(lost, None)


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
        show("margin")
