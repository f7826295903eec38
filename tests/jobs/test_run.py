"""Protects the run record: whatever happens to a notebook, its row and partial copy tell it."""

import json
import os
import re
import sys
import threading

import nbformat
import psutil
import pytest

from tests.jobs.books import write_notebook
from workbench.core.errors import JobError
from workbench.jobs import kernels
from workbench.jobs.page import PLOTLY
from workbench.jobs.run import run_notebook
from workbench.jobs.trace import MAX_LINES
from workbench.store import Store

RECORD = "import workbench as wb\nwb.record('strategy', {'flag': FLAG, 'fast': FAST})"
FIGURE = "import plotly.graph_objects as go\ngo.Figure(go.Scatter(y=[1, 2], name='</script>'))"


@pytest.fixture
def pids(home):
    """A file in which notebooks leave the number of their kernel; no kernel survives the test."""
    path = home / "pids"
    path.touch()
    yield path
    for pid in path.read_text().split():
        assert not psutil.pid_exists(int(pid)) or psutil.Process(int(pid)).status() == "zombie"


LEAVE_PID = "import os, pathlib\npathlib.Path('pids').open('a').write(f'{os.getpid()}\\n')"


def test_run_notebook_done_leaves_copy_page_and_row(home):
    book = write_notebook(
        home / "good.ipynb", "text: # A title", FIGURE, "text: What came out?", RECORD,
        "import os, sys\nprint(os.environ['WORKBENCH_RUN_ID'], sys.executable)",
    )  # fmt: skip
    seen = []

    done = run_notebook(
        book, {"FLAG": "false", "FAST": "3"}, progress=lambda *now: seen.append(now)
    )

    assert done.status == "done"
    assert done.measures == {"strategy.flag": False, "strategy.fast": 3}
    executed = nbformat.read(done.path, as_version=4)
    assert executed.cells[-1].outputs[0].text.split() == [done.run_id, sys.executable]
    assert any(PLOTLY in o.get("data", {}) for c in executed.cells for o in c.get("outputs", []))
    with Store.open() as store:
        row = store.run(done.run_id)
    assert (row.status, row.seed, row.error) == ("done", 7, None)
    assert row.measures == done.measures
    assert row.params["FLAG"] is False
    assert row.params["SYMBOLS"] == ["BTCUSDT"]
    assert row.path == str(done.path)
    assert done.path.parent == home / "data" / "runs" / f"{row.started:%Y-%m-%d}"
    assert seen[0][:2] == (0, 4)
    assert seen[-1] == (4, 4, "What came out?")


def test_run_notebook_page_shows_no_code_and_asks_nobody(home):
    book = write_notebook(home / "good.ipynb", "text: # A title & more", FIGURE, RECORD)

    page = run_notebook(book).html.read_text("utf-8")

    assert "<title>A title &amp; more</title>" in page
    assert "wb.record" not in page
    assert "<th>FAST</th><td>24</td><td>bars</td>" in page
    assert page.count('Plotly.newPlot("figure-') == 1
    assert '"<\\/script>"' in page
    frame = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//""", frame)
    assert "@import" not in frame
    assert "cdn" not in frame


def test_run_notebook_page_carries_the_watermark(home):
    cell = "import workbench as wb\nwb.record('watermark', 'SYNTHETIC')"
    book = write_notebook(home / "made.ipynb", "text: # Made", cell)

    page = run_notebook(book).html.read_text("utf-8")

    assert "<title>Made · SYNTHETIC</title>" in page
    assert '<p class="watermark">SYNTHETIC</p>' in page


def test_run_notebook_silent_about_a_synthetic_market_is_marked_all_the_same(home):
    """What a run has read is on record: a notebook cannot forget the label. Twice, since the
    second run adds no trial of its own."""
    cell = (
        "import workbench as wb\n"
        "market = wb.load(['BTCUSDT'], source='synthetic', start='2024-01-01', end='2024-01-20')\n"
        "wb.research.backtest(wb.strategies.BuyAndHold(), market)"
    )
    book = write_notebook(home / "made.ipynb", "text: # Made", cell)

    for _ in range(2):
        done = run_notebook(book)
        assert done.measures == {"watermark": "SYNTHETIC"}
        assert "<title>Made · SYNTHETIC</title>" in done.html.read_text("utf-8")
    with Store.open() as store:
        assert store.run(done.run_id).measures["watermark"] == "SYNTHETIC"
        reads = store.events(kind="read")["detail"]
    assert next(read["run_id"] for read in reads) == done.run_id
    assert len(reads) == 2


def test_run_notebook_failure_in_a_function_of_the_notebook_names_its_line(home):
    book = write_notebook(home / "bad.ipynb", "def f(n):\n    return 1 / n", "f(0)")

    lines = run_notebook(book).error.splitlines()

    assert lines[0].endswith("line 1:")
    assert "code cell line 2 in f" in lines[2]
    assert lines[-1] == "ZeroDivisionError: division by zero"


def test_run_notebook_failure_keeps_partial_copy_and_tells_in_ten_lines(home):
    book = write_notebook(
        home / "bad.ipynb", RECORD, "text: Does it *parse*?",
        "import json\njson.loads('{' + '\\n' * 30)", "never = 1",
    )  # fmt: skip

    failed = run_notebook(book)

    assert failed.status == "failed"
    lines = failed.error.splitlines()
    assert len(lines) <= MAX_LINES
    assert lines[0] == 'Failed in code cell 3 of 4 ("Does it parse?"), line 2:'
    assert "json.loads" in lines[1]
    assert any(line.startswith("JSONDecodeError") for line in lines)
    assert failed.measures["strategy.fast"] == 24
    assert "never" in failed.path.read_text("utf-8")
    assert "Does it parse?" in failed.html.read_text("utf-8")
    with Store.open() as store:
        assert store.run(failed.run_id).status == "failed"


def test_run_notebook_kernel_that_dies_is_a_failure(home):
    book = write_notebook(home / "dies.ipynb", "text: Enough memory?", "import os\nos._exit(9)")

    failed = run_notebook(book)

    assert failed.status == "failed"
    assert 'died in code cell 2 of 2 ("Enough memory?")' in failed.error


def test_run_notebook_bad_parameters_are_refused_before_anything_starts(home, monkeypatch):
    book = write_notebook(home / "good.ipynb", RECORD)
    monkeypatch.setattr(kernels, "COMMAND", ("no-such-program",))

    with pytest.raises(JobError, match="FAST = 'fast' is not a whole number"):
        run_notebook(book, {"FAST": "fast"})

    with Store.open() as store:
        assert store.runs().empty


@pytest.mark.parametrize("text", [None, "not a notebook", "[]"])
def test_run_notebook_missing_or_broken_notebook_is_refused(home, text):
    path = home / "x.ipynb"
    if text is not None:
        path.write_text(text)

    with pytest.raises(JobError, match=r"x\.ipynb"):
        run_notebook(path)


def test_run_notebook_kernel_that_does_not_start_is_tried_again(home, monkeypatch):
    script = home / "flaky.py"
    script.write_text(
        "import os, pathlib, sys\n"
        "if not pathlib.Path('tried').exists():\n"
        "    pathlib.Path('tried').touch()\n"
        "    sys.exit(1)\n"
        "os.execv(sys.executable, [sys.executable, '-m', 'ipykernel_launcher', *sys.argv[1:]])\n"
    )
    monkeypatch.setattr(
        kernels, "COMMAND", (sys.executable, str(script), "-f", "{connection_file}")
    )
    book = write_notebook(home / "good.ipynb", RECORD)

    assert run_notebook(book).status == "done"
    assert (home / "tried").exists()


def test_run_notebook_kernel_that_never_starts_is_a_failure(home, monkeypatch):
    monkeypatch.setattr(kernels, "COMMAND", (sys.executable, "-c", "raise SystemExit(1)"))
    book = write_notebook(home / "good.ipynb", RECORD)

    failed = run_notebook(book)

    assert failed.status == "failed"
    assert "did not start in 3 tries" in failed.error


def test_run_notebook_two_at_once_do_not_disturb_each_other(home):
    book = write_notebook(home / "good.ipynb", RECORD)
    results = {}

    def work(fast: int) -> None:
        results[fast] = run_notebook(book, {"FAST": fast})

    threads = [threading.Thread(target=work, args=(fast,)) for fast in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {fast: done.measures["strategy.fast"] for fast, done in results.items()} == {1: 1, 2: 2}
    assert results[1].path != results[2].path


def test_run_notebook_given_store_is_the_store_of_the_kernel(home):
    url = f"sqlite:///{home / 'other.db'}"
    book = write_notebook(
        home / "good.ipynb",
        "from workbench.core.config import load_config\nimport workbench as wb\n"
        "wb.record('url', load_config().store.url)",
    )

    with Store.open(url) as store:
        done = run_notebook(book, store=store, runs_dir=home / "elsewhere")
        assert store.run(done.run_id).status == "done"

    assert done.measures == {"url": url}
    assert done.path.is_relative_to(home / "elsewhere")


def test_run_notebook_hash_reads_sources_only(home):
    book = write_notebook(home / "good.ipynb", "1 + 1")
    first = run_notebook(book)
    again = run_notebook(first.path)
    changed = run_notebook(write_notebook(home / "good.ipynb", "1 + 2"))

    with Store.open() as store:
        hashes = [store.run(r.run_id).notebook_hash for r in (first, again, changed)]
    assert hashes[0] == hashes[1] != hashes[2]


def test_run_notebook_ends_its_kernel_with_its_children(pids):
    child = "import subprocess, sys\nchild = subprocess.Popen([sys.executable, '-c', 'input()'])\n"
    leave = "pathlib.Path('pids').open('a').write(f'{child.pid}\\n')"
    book = write_notebook(pids.parent / "parent.ipynb", LEAVE_PID, child + leave)

    assert run_notebook(book).status == "done"
    assert len(pids.read_text().split()) == 2


def test_run_notebook_metadata_names_the_process(home):
    done = run_notebook(write_notebook(home / "good.ipynb", "1"))

    mark = json.loads(done.path.read_text("utf-8"))["metadata"]["workbench"]
    assert mark["run_id"] == done.run_id
    assert mark["pid"] == os.getpid()
