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


STRATEGY = """
from typing import ClassVar
import numpy as np
from mine_scale import SCALE
from workbench.strategies import Strategy

SIZE = 0.5


class Mine(Strategy):
    needs: ClassVar[tuple[str, ...]] = ("close",)
    horizon: int = 24

    @property
    def lookback(self):
        return self.horizon + 1

    def weights(self, market):
        past = market.close / market.close.shift(self.horizon) - 1.0
        return SIZE * SCALE * np.sign(past) / len(market.symbols)
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


def write_strategy(home: Path) -> None:
    """Write a strategy of a project's own, ``Mine``, and the module that it imports."""
    (home / "strategies").mkdir()
    (home / "strategies" / "mine.py").write_text(STRATEGY)
    (home / "strategies" / "mine_scale.py").write_text("SCALE = 1.0\n")
