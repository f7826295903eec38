"""Small notebooks for the tests, written from their sources."""

from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

PARAMETERS = """\
FAST = 24  # bars
BAND = 0.5  # fraction
FLAG = True  # whether it is on
SYMBOLS = ["BTCUSDT"]  # names
END = None  # last moment
SEED = 7  # of every draw
"""


def write_notebook(path: Path, *cells: str, parameters: str = PARAMETERS) -> Path:
    """Write a notebook: each cell is code, or text where it begins with ``text:``."""
    book = new_notebook(
        metadata={
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}
        }
    )
    if parameters:
        book.cells.append(new_code_cell(parameters, metadata={"tags": ["parameters"]}))
    for cell in cells:
        is_text = cell.startswith("text:")
        make = new_markdown_cell if is_text else new_code_cell
        book.cells.append(make(cell.removeprefix("text:").strip() if is_text else cell))
    nbformat.write(book, path)
    return path
