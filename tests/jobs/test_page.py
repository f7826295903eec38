"""Protects the page of a run: a verdict stands above everything, and a failure hides it."""

from datetime import UTC, datetime

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from workbench.jobs.metrics import MIME
from workbench.jobs.page import write_page
from workbench.store import Run

NOW = datetime(2024, 1, 2, tzinfo=UTC)
RUN = Run(
    run_id="20240102-000000-abc", notebook="80_graduate.ipynb", notebook_hash="0" * 64, params={},
    seed=1, git_commit=None, git_dirty=False, lock_hash=None, path="x", status="running",
    started=NOW, ended=None, error=None, measures={}, snapshot_id=None,
)  # fmt: skip
VERDICT = {"verdict.word": "REFUSED", "verdict.sentence": "It reads the future: <close>."}


@pytest.fixture
def page(tmp_path):
    def write(measures, status="done"):
        output = new_output("display_data", {MIME: measures, "text/html": "<table></table>"})
        cells = [new_markdown_cell("# May it trade?"), new_code_cell("x", outputs=[output])]
        target = tmp_path / "page.html"
        notebook = nbformat.from_dict(new_notebook(cells=cells))
        write_page(notebook, target, run=RUN, status=status, ended=NOW, error="it broke")
        return target.read_text("utf-8")

    return write


def test_page_opens_with_the_verdict(page):
    text = page(VERDICT)
    assert '<section class="stamp refused"><strong>REFUSED</strong>' in text
    assert "It reads the future: &lt;close&gt;." in text
    assert text.index("stamp refused") < text.rindex("May it trade?")


def test_page_of_a_run_that_failed_shows_no_verdict(page):
    text = page(VERDICT, status="failed")
    assert "stamp refused" not in text
    assert "it broke" in text


def test_page_without_a_verdict_has_no_stamp(page):
    assert '<section class="stamp' not in page({})


def test_page_says_on_which_data_it_rests_and_how_to_check_it(page):
    text = page(VERDICT | {"snapshot_id": "d93ede4d2e" * 3})
    assert "<th>data</th><td>d93ede4d2ed9</td>" in text
    assert "workbench verify 20240102-000000-abc" in text


def test_page_opens_with_what_came_out_beside_holding(page):
    text = page({"strategy.sharpe": -0.4704, "buy_and_hold.sharpe": 1.855, "strategy.cagr": 0.1})
    tile = "<div><strong>-0.47</strong>Sharpe ratio<small>buy and hold 1.85</small></div>"
    assert f'May it trade?</h1><section class="tiles">{tile}</section>' in text
    assert '<section class="tiles">' not in page(VERDICT)
