"""Protects explore: a moved slider redraws from the kernel, and each setting is a trial."""

import pytest

from workbench.data import synthesise
from workbench.panels import explore
from workbench.panels.explore import Explorer
from workbench.store import Store
from workbench.strategies import MovingAverageCross


@pytest.fixture
def explorer(home):
    return Explorer(MovingAverageCross(), synthesise(["BTCUSDT"], n_bars=2_000, seed=1))


def trials():
    with Store.open() as store:
        return store.trials()


def test_controls_follow_the_parameters_and_their_bounds(explorer):
    assert explorer.controls["fast"].min >= 1
    assert explorer.controls["slow"].value == 168
    assert type(explorer.controls["long_only"]).__name__ == "Checkbox"


def test_slider_holds_the_value_on_its_grid(explorer):
    band = explorer.controls["rebalance_band"]
    steps = (band.value - band.min) / band.step
    assert band.value == 0.05
    assert steps == pytest.approx(round(steps))


def test_moved_slider_redraws_and_counts_as_a_trial(explorer):
    before = list(explorer.figure.data[1].y)
    count = len(trials())
    explorer.set("fast", 60)
    assert explorer.result.strategy.fast == 60
    assert list(explorer.figure.data[1].y) != before
    assert "SYNTHETIC" in explorer.figure.layout.title.text
    assert len(trials()) == count + 1
    explorer.set("fast", 24)
    assert len(trials()) == count + 1


def test_setting_that_the_strategy_refuses_says_why_and_keeps_the_figure(explorer):
    held = explorer.result
    explorer.set("fast", 200)
    assert "must be shorter than slow" in explorer.note.value
    assert explorer.result is held


def test_waterfall_and_measures_are_those_of_the_result(explorer):
    assert list(explorer.figure.data[3].y) == list(explorer.result.waterfall().index)
    assert f"{explorer.result.measures()['sharpe']:.2f}</td>" in explorer.measures.value


def test_explore_in_a_job_returns_the_static_figure(home, monkeypatch):
    from datetime import UTC, datetime

    with Store.open() as store:
        run_id = store.start_run(
            notebook="x", notebook_hash="0" * 64, params={}, seed=1, git_commit=None,
            git_dirty=False, lock_hash=None, path="x", started=datetime(2024, 1, 1, tzinfo=UTC),
        )  # fmt: skip
    monkeypatch.setenv("WORKBENCH_RUN_ID", run_id)
    figure = explore(MovingAverageCross(), synthesise(["BTCUSDT"], n_bars=500, seed=1))
    assert type(figure).__name__ == "Figure"
