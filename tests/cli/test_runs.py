"""Protects ``workbench run`` and ``runs``: exit codes, ten lines of trouble, and Ctrl-C."""

import signal
import subprocess
import sys
import webbrowser
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

from tests.jobs.books import write_notebook
from workbench.cli import app
from workbench.cli.runs import join_pairs
from workbench.store import Store

RECORD = "import workbench as wb\nwb.record('strategy', {'sharpe': 1.25, 'fast': FAST})"
WAIT = "import os, threading\nprint('here', os.getpid(), flush=True)\nthreading.Event().wait()"
RUN = "from workbench.cli import main; main()"
TELL = "import os, pathlib\npathlib.Path('pid').write_text(str(os.getpid()))"


def invoke(*words: str):
    return CliRunner().invoke(app, list(words), env={"COLUMNS": "200"})


def test_join_pairs_takes_two_words_or_one_with_a_sign():
    words = ["x.ipynb", "-p", "A", "-1", "--param", "B=2", "-p", "C", "a=b", "-f", "y"]

    joined = join_pairs(words)

    assert joined == ["x.ipynb", "-p", "A=-1", "--param", "B=2", "-p", "C=a=b", "-f", "y"]


def test_run_command_line_wins_over_file(home, monkeypatch):
    opened = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    book = write_notebook(home / "good.ipynb", RECORD)
    (home / "params.yaml").write_text("FAST: 5\nFLAG: false\n")

    done = invoke("run", str(book), "-p", "FAST", "9", "-f", "params.yaml", "--open")

    assert done.exit_code == 0, done.output
    with Store.open() as store:
        row = store.run(store.runs().iloc[0]["run_id"])
    assert (row.params["FAST"], row.params["FLAG"]) == (9, False)
    page = Path(row.path).with_suffix(".html")
    assert str(page) in done.output
    assert opened == [page.as_uri()]


def test_run_failing_notebook_ends_with_one_and_ten_lines(home):
    book = write_notebook(home / "bad.ipynb", "text: Does it divide?", "1 / 0")

    failed = invoke("run", str(book))

    assert failed.exit_code == 1
    assert 'Failed in code cell 2 of 2 ("Does it divide?"), line 1:' in failed.stderr
    assert "ZeroDivisionError" in failed.stderr
    assert len(failed.stderr.strip().splitlines()) <= 11


def test_run_unknown_parameter_ends_with_one_and_the_list(home):
    book = write_notebook(home / "good.ipynb", RECORD)

    refused = invoke("run", str(book), "-p", "SLOW", "1")

    assert refused.exit_code == 1
    assert "FAST (int) = 24  # bars" in refused.stderr


@pytest.mark.parametrize("text", ["- 1\n", "a: [\n", None])
def test_run_unreadable_parameter_file_is_refused(home, text):
    book = write_notebook(home / "good.ipynb", RECORD)
    if text:
        (home / "p.yaml").write_text(text)

    refused = invoke("run", str(book), "-f", "p.yaml")

    assert refused.exit_code == 1
    assert "p.yaml" in refused.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_run_stopped_by_signal_ends_kernel_and_marks_row(home, number):
    book = write_notebook(home / "slow.ipynb", RECORD, "text: How long?", f"{TELL}\n{WAIT}")
    command = [sys.executable, "-c", RUN, "run", str(book)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as job:
        kernel = wait_for_kernel(home, job)
        job.send_signal(number)
        _, stderr = job.communicate(timeout=60)

    assert job.returncode == 1
    assert 'Stopped in code cell 3 of 3 ("How long?")' in stderr
    assert "Traceback" not in stderr
    psutil.wait_procs([kernel], timeout=10)
    assert not kernel.is_running() or kernel.status() == psutil.STATUS_ZOMBIE
    with Store.open() as store:
        row = store.run(store.runs().iloc[0]["run_id"])
    assert row.status == "stopped"
    assert row.measures["strategy.sharpe"] == 1.25
    assert "strategy.sharpe" in Path(row.path).read_text("utf-8")
    assert "How long?" in Path(row.path).with_suffix(".html").read_text("utf-8")


def test_runs_list_shows_a_run_whose_process_was_killed_as_lost(home):
    book = write_notebook(home / "slow.ipynb", f"{TELL}\n{WAIT}")
    command = [sys.executable, "-c", RUN, "run", str(book)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True) as job:
        kernel = wait_for_kernel(home, job)
        assert "running" in invoke("runs", "list").output
        job.kill()
        job.wait(timeout=60)

    assert "lost" in invoke("runs", "list").output
    kernel.wait(timeout=60)  # ipykernel follows its parent


def wait_for_kernel(home: Path, job: subprocess.Popen) -> psutil.Process:
    """Wait for the kernel's own word that it runs the notebook, watching that the job lives."""
    mark = home / "pid"
    waiting = psutil.Process(job.pid)
    while not (mark.exists() and mark.read_text()):
        assert job.poll() is None, "the job ended before its kernel spoke"
        try:
            waiting.wait(timeout=0.1)
        except psutil.TimeoutExpired:
            continue
    return psutil.Process(int(mark.read_text()))


def test_runs_show_gives_parameters_measures_and_paths(home):
    book = write_notebook(home / "good.ipynb", RECORD)
    invoke("run", str(book))
    with Store.open() as store:
        run_id = store.runs().iloc[0]["run_id"]

    shown = invoke("runs", "show", run_id[:18])

    assert shown.exit_code == 0
    assert all(word in shown.output for word in (run_id, "FAST", "strategy.sharpe", "1.25", "done"))
    assert "good-" in shown.output


def test_runs_list_without_any_says_what_to_do(home):
    assert "workbench run NOTEBOOK" in invoke("runs", "list").output


def test_runs_open_opens_the_page(home, monkeypatch):
    opened = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    with Store.open() as store:
        run_id = store.start_run(
            notebook="x.ipynb", notebook_hash="0", params={}, seed=None, git_commit=None,
            git_dirty=False, lock_hash=None, path=str(home / "x-{run_id}.ipynb"),
            started=datetime.now(UTC),
        )  # fmt: skip

    missing = invoke("runs", "open", run_id)
    (home / f"x-{run_id}.html").write_text("page")
    found = invoke("runs", "open", run_id)

    assert missing.exit_code == 1
    assert "has no page" in missing.stderr
    assert found.exit_code == 0
    assert opened == [(home / f"x-{run_id}.html").as_uri()]
    assert f"x-{run_id}.html" in found.output.replace("\n", "")
