"""Protects the list of runs from the dead: a row that says running while its process is gone."""

import json
import os
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from workbench.monitor.process import is_gone, mark_process, shown_status
from workbench.store import Run


@pytest.fixture
def run(tmp_path):
    return Run(
        run_id="1", notebook="x.ipynb", notebook_hash="", params={}, seed=None, git_commit=None,
        git_dirty=False, lock_hash=None, path=str(tmp_path / "x.ipynb"), status="running",
        started=datetime(2024, 1, 1, tzinfo=UTC), ended=None, error=None, measures={},
        snapshot_id=None,
    )  # fmt: skip


def write(run, **changes):
    text = json.dumps({"metadata": {"workbench": mark_process() | changes}})
    with open(run.path, "w", encoding="utf-8") as file:  # noqa: PTH123
        file.write(text)


def test_shown_status_living_process_is_running(run):
    write(run)
    assert shown_status(run) == "running"


def test_shown_status_process_gone_is_lost(run):
    write(run, pid=2**22 + 1)
    assert shown_status(run) == "lost"


def test_shown_status_other_process_of_the_same_number_is_lost(run):
    write(run, created=1.0)
    assert shown_status(run) == "lost"


def test_shown_status_process_of_another_machine_stays_running(run):
    write(run, host="elsewhere", pid=2**22 + 1)
    assert shown_status(run) == "running"


def test_shown_status_half_written_notebook_stays_running(run, tmp_path):
    (tmp_path / "x.ipynb").write_text('{"cells": [')
    assert shown_status(run) == "running"


def test_shown_status_missing_notebook_is_lost(run):
    assert shown_status(run) == "lost"


def test_shown_status_ended_run_is_as_its_row_says(run):
    assert shown_status(replace(run, status="failed")) == "failed"


def test_is_gone_this_process_is_not():
    assert mark_process()["pid"] == os.getpid()
    assert not is_gone(mark_process())
