"""The account becomes flat whatever dies: real processes, real orders, and the harm (promise 6).

TE-09, TS-03. Each drill twice here with a few positions; `make drills` does twenty with ten, and
writes the times to ``benchmarks/``.
"""

import os
import signal
from pathlib import Path

import psutil
import pytest

from tests.live.drills import DRILLS, Stage, summarise
from workbench.live.heartbeat import CLEARANCE, Heart
from workbench.live.latch import load_state

GOAL_S = 3.0


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    with Stage(tmp_path_factory.mktemp("stage") / "home", n_positions=3) as stage:
        yield stage


@pytest.mark.parametrize("name", DRILLS)
def test_account_is_flat_in_time_whatever_dies(stage, name):
    runs = []
    for _ in range(2):
        seconds, left, latch = stage.run(name)
        runs.append((seconds, left))
        assert latch["reason"]
        assert load_state(stage.folder) is not None
    row = summarise(name, runs)
    assert row["leftovers"] == 0
    assert row["flat_max_s"] < GOAL_S


@pytest.mark.parametrize("harm", [signal.SIGKILL, signal.SIGSTOP])
def test_watch_that_dies_or_hangs_is_started_again_and_knows_what_was_latched(stage, harm):
    """The disk is full: the latch is in no file, only with the guard."""
    guard = psutil.Process(stage.supervisor.pid)
    stage.open()
    stage.limit_files(0)
    stage.command("/kill", level="no-new-risk", by="drill", reason="the latch is to be kept")
    (watch,) = guard.children()
    os.kill(watch.pid, harm)
    stage.wait(lambda: guard.children() not in ([], [watch]))
    stage.limit_files(-1)
    state = stage.wait_for_state(lambda state: state["positions"] is not None)
    assert state["latch"]["reason"] == "the latch is to be kept"
    assert Heart(stage.folder / CLEARANCE).last_beat() is None
    stage.command("/kill", level="flatten", by="drill", reason="the end")
    stage.wait(lambda: stage.left() == (0, 0))


def test_supervisor_loads_no_database_and_no_research(stage):
    """It must act when the store is closed: what it does not load cannot hold it up."""
    guard = psutil.Process(stage.supervisor.pid)
    (watch,) = guard.children()
    loaded = " ".join(Path(own.path).name for own in watch.memory_maps())
    assert not [
        name for name in ("_sqlite3", "polars", "lightgbm", "statsmodels") if name in loaded
    ]
    assert watch.memory_info().rss < 300e6
