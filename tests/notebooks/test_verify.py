"""Protects the promise that every number re-runs: committed notebooks, sealed and executed again.

Two of them here, all of them by `make verify`.
"""

import shutil

import pytest

from tests.notebooks.test_notebooks import NOTEBOOKS, SMALL
from workbench.jobs.run import run_notebook
from workbench.jobs.verify import verify_run

HERE = ("20_research_strategy", "80_graduate")


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=path.stem, marks=() if path.stem in HERE else pytest.mark.long)
        for path in NOTEBOOKS
    ],
)
def test_committed_notebook_verifies(path, home):
    # In a project of its own: which lock and which code are behind it depends on where it lies.
    book = shutil.copy(path, home)
    done = run_notebook(book, SMALL[path.stem])
    assert done.status == "done", done.error

    answer = verify_run(done.run_id)

    assert answer.differences == ()
    assert answer.n_measures > 0
