"""Protects explore in JupyterLab: a slider moved in a real browser redraws from the kernel."""

import re
import subprocess
import sys
from urllib.parse import urlsplit

import nbformat
import pytest
from playwright.sync_api import Error as BrowserError
from playwright.sync_api import TimeoutError as BrowserTimeout

from tests.browser.conftest import free_port
from workbench.store import Store

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(600)]

CELL = """import workbench as wb
market = wb.load(["BTCUSDT"], start="2024-01-01", end="2024-06-01", source="synthetic", seed=7)
wb.explore(wb.strategies.MovingAverageCross(), market)"""


@pytest.fixture
def lab(home):
    """The address of a JupyterLab with one notebook."""
    (home / "notebooks").mkdir()
    (home / "workbench.toml").touch()
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, home / "notebooks" / "play.ipynb")
    words = ["-m", "workbench.cli", "lab", "--no-browser", "--port", str(free_port())]
    process = subprocess.Popen(
        [sys.executable, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        text, address = "", None
        # The address is told twice; only the second time does the server listen there.
        while address is None:
            line = process.stdout.readline()
            assert line, text
            text += line
            told = text.partition("copy and paste")[2]
            address = re.search(r"(http://localhost:\d+)/lab\?(token=\w+)\n", told)
        yield f"{address[1]}/lab/tree/play.ipynb?{address[2]}"
    finally:
        process.terminate()
        process.wait(timeout=30)
        process.stdout.close()


def reach(page, address, tries=40):
    """Go to an address as soon as somebody listens there."""
    for left in reversed(range(tries)):
        try:
            page.goto(address)
        except BrowserError as error:
            if not left or "ERR_CONNECTION_REFUSED" not in str(error):
                raise
            page.wait_for_timeout(250)
        else:
            return


def open_and_run(page, lab, tries=3):
    """Open the notebook and run its cell until the figure stands there.

    On a busy machine JupyterLab tells its address before it listens there, and can lose the key,
    or the first messages of a widget.
    """
    for left in reversed(range(tries)):
        reach(page, lab)
        page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status=idle]", timeout=60_000)
        page.locator(".jp-CodeCell .cm-content").first.click()
        page.keyboard.press("Shift+Enter")
        try:
            page.wait_for_selector(".js-plotly-plot .gtitle", timeout=40_000)
        except BrowserTimeout:
            if not left:
                raise
        else:
            return


def test_slider_redraws_figure_and_measures_and_counts_as_a_trial(page, lab):
    open_and_run(page, lab)
    measures = page.locator(".jp-OutputArea table").first.inner_text()
    with Store.open() as store:
        count = len(store.trials())

    page.locator(".noUi-handle").nth(1).focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function(
        "was => document.querySelector('.jp-OutputArea table').innerText !== was", arg=measures
    )

    assert "SYNTHETIC" in page.locator(".gtitle").first.text_content()
    with Store.open() as store:
        assert len(store.trials()) == count + 1
    assert {urlsplit(url).hostname for url in page.asked if url.startswith("http")} == {"localhost"}
