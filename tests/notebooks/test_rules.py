"""Protects the checker of notebooks: a planted fault of each kind is caught, a good one passes."""

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tests.notebooks.rules import check, find_faults

HEAD = "# Title\n\n**What** a **Why** b **Reads** c **Writes** d **Decides** e"


def good():
    return new_notebook(
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
        cells=[
            new_markdown_cell(HEAD),
            new_markdown_cell("The parameters."),
            new_code_cell("SEED = 7  # of every draw", metadata={"tags": ["parameters"]}),
            new_markdown_cell("What is it?"),
            new_code_cell("import workbench as wb\nimport pandas as pd\nx = SEED + 1\nx"),
            new_markdown_cell("What is kept?"),
            new_code_cell("wb.record('x', x)"),
        ],
    )


def test_check_good_notebook_has_no_fault():
    assert check(good()) == []


@pytest.mark.parametrize(
    ("number", "source", "fault"),
    [
        (0, "Title", "not a text with a title"),
        (0, HEAD.replace("**Decides**", ""), "does not say Decides"),
        (2, "SEED = 7", "SEED has no comment"),
        (2, "SEED = 3 + x  # of it", "not a literal"),
        (2, "A = 7  # bars", "there is no SEED"),
        (4, "def f():\n    pass", "FunctionDef"),
        (4, "class A:\n    pass", "ClassDef"),
        (4, "if SEED:\n    pass", "If"),
        (4, "for i in []:\n    pass", "For"),
        (4, "while SEED:\n    pass", "While"),
        (4, "try:\n    pass\nfinally:\n    pass", "Try"),
        (4, "with open('x'):\n    pass", "With"),
        (4, "f = lambda: 1", "Lambda"),
        (4, "x = 1\n" * 11, "11 code lines, more than 10"),
        (4, "%matplotlib inline", "not plain Python"),
        (4, "import os", "imports os"),
        (4, "from workbench.backtest import run", "imports workbench.backtest.run"),
        (4, "from workbench import backtest", "imports workbench.backtest"),
        (6, "x", "does not call record"),
    ],
)
def test_check_planted_source_is_caught(number, source, fault):
    notebook = good()
    notebook.cells[number].source = source

    assert any(fault in found for found in check(notebook))


def test_check_missing_tag_is_caught():
    notebook = good()
    notebook.cells[2].metadata.tags = []

    assert "the first code cell is not tagged parameters" in check(notebook)


def test_check_code_without_sentence_is_caught():
    notebook = good()
    del notebook.cells[3]

    assert any("no sentence above" in fault for fault in check(notebook))


def test_check_more_than_eighty_lines_in_all_is_caught():
    notebook = good()
    for _ in range(8):
        notebook.cells[-2:-2] = [new_markdown_cell("More?"), new_code_cell("x = 1\n" * 10)]

    assert "86 code lines in all, more than 80" in check(notebook)


def test_check_outputs_are_caught_unless_declared():
    notebook = good()
    notebook.cells[4].outputs = [new_output("stream", text="8")]
    assert any("nbstripout" in fault for fault in check(notebook))

    notebook.cells[4].metadata.tags = ["keep_output"]
    assert check(notebook) == []


def test_check_other_kernel_is_caught():
    notebook = good()
    notebook.metadata.kernelspec.name = "julia"

    assert "the kernel is not python3" in check(notebook)


def test_check_notebook_without_code_is_caught():
    assert check(new_notebook(cells=[new_markdown_cell(HEAD)])) == ["there is no code cell"]


def test_find_faults_name_without_number_is_caught(tmp_path):
    path = tmp_path / "research.ipynb"
    nbformat.write(good(), path)

    assert find_faults(path) == ["research is not named NN_verb_or_object"]
