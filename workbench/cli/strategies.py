"""``workbench new``: a strategy of one's own, with its test and its notebook."""

from __future__ import annotations

import json
import keyword
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.text import Text

from workbench.cli.terminal import out
from workbench.core.errors import ConfigError
from workbench.core.layers import find_root
from workbench.strategies.registry import BUILT_IN

app = typer.Typer(no_args_is_help=True, help="Write a new strategy with its test.")

_STRATEGY: Final = '''"""{title}: say in a sentence what it earns from, and from whom."""

from typing import ClassVar

import numpy as np
import pandas as pd
from pydantic import Field

from workbench.core.records import Market
from workbench.strategies import Strategy


class {cls}(Strategy):
    """Be long after a rise over the horizon and short after a fall."""

    needs: ClassVar[tuple[str, ...]] = ("close",)
    source: ClassVar[str] = "own idea"

    horizon: int = Field(default=24, ge=1, le=1_000, description="past return, in bars")

    @property
    def lookback(self) -> int:
        """The horizon and the bar before it."""
        return self.horizon + 1

    def weights(self, market: Market) -> pd.DataFrame:
        """Return the sign of the past return, shared by the symbols; NaN keeps the position."""
        past = market.close / market.close.shift(self.horizon) - 1.0
        weights = np.sign(past) / len(market.symbols)
        weights.iloc[: self.lookback - 1] = 0.0
        return weights
'''

_TEST: Final = '''"""{cls} sees the past only, and its lookback is long enough."""

from pathlib import Path

import numpy as np
import pandas as pd

from workbench.core.records import Market
from workbench.strategies import load_strategy, probe_lookback

FILE = Path(__file__).parents[1] / "strategies" / "{name}.py"


def make_market(n_bars: int = 400) -> Market:
    rng = np.random.default_rng(7)
    index = pd.date_range("2024-01-01", periods=n_bars, freq="1h", tz="UTC")
    close = 100 * np.exp(rng.normal(0, 0.01, (n_bars, 2)).cumsum(axis=0))
    frame = pd.DataFrame(close, index=index, columns=["BTCUSDT", "ETHUSDT"])
    return Market.from_frames({{"close": frame}}, interval="60")


def test_weights_of_a_prefix_equal_those_of_the_whole() -> None:
    strategy, market = load_strategy(f"{{FILE}}:{cls}"), make_market()
    whole = strategy.weights(market)
    part = strategy.weights(market.until(market.index[250]))
    pd.testing.assert_frame_equal(part, whole.iloc[:251], check_freq=False)


def test_lookback_is_enough() -> None:
    report = probe_lookback(load_strategy(f"{{FILE}}:{cls}"), make_market())
    assert report.is_enough, report
'''

_CELLS: Final = (
    ("markdown", "# {title}: does it earn more than holding?\n\n**What** A backtest and a sweep of "
     "{cls}, beside buy-and-hold.\n\n**Why** To see whether the idea survives fees, slippage and "
     "funding.\n\n**Reads** The lake, a file or the synthetic market.\n\n**Writes** Trials and "
     "this run.\n\n**Decides** Go on only if the Sharpe ratio after all costs beats holding's, "
     "and its neighbours agree."),
    ("markdown", "Everything that can be set, with its unit."),
    ("parameters", 'SYMBOLS = ["BTCUSDT", "ETHUSDT"]  # Bybit names of linear perpetuals\n'
     'INTERVAL = "60"  # bar length: minutes, or D for a day, W for a week\n'
     'START = "2024-01-01"  # first moment, UTC\nEND = "2024-12-31"  # last moment, UTC\n'
     'SOURCE = "synthetic"  # lake, synthetic, or the path of a CSV or Parquet file\n'
     "HORIZON = 24  # past return, in bars\n"
     "SEED = 7  # of every draw, and of the synthetic market"),
    ("markdown", "Which market is it?"),
    ("code", "import workbench as wb\n\nmarket = wb.load(SYMBOLS, interval=INTERVAL, start=START, "
     'end=END, source=SOURCE, seed=SEED)\nmarket.close.agg(["count", "min", "max"]).T'),
    ("markdown", "What does the strategy earn after all costs, beside holding?"),
    ("code", "import pandas as pd\n\n"
     'place = "strategies/{name}.py:{cls}"\n'
     'strategy = wb.strategies.load_strategy(place, {{"horizon": HORIZON}})\n'
     'results = wb.compare({{"strategy": strategy}}, market)\n'
     "table = pd.DataFrame({{name: each.measures() for name, each in results.items()}})\n"
     "wb.readable(table)"),
    ("markdown", "How did the money grow, and how deep were the holes?"),
    ("code", 'wb.figures.equity(results["strategy"], beside=results["buy and hold"])'),
    ("markdown", "Does the result hang on one value of the parameter?"),
    ("code", 'swept = wb.sweep(strategy, market, {{"horizon": [6, 12, 24, 48, 96]}})\n'
     'wb.readable(swept.ranked(), by="columns")'),
    ("markdown", "What is kept of this run?"),
    ("code", 'wb.record("snapshot_id", market.snapshot_id)\n'
     'wb.record("watermark", market.watermark)\n'
     'wb.record("strategy", table["strategy"])\n'
     'wb.record("buy_and_hold", table["buy and hold"])'),
)  # fmt: skip


@app.command()
def strategy(
    name: Annotated[str, typer.Argument(help="Name of the strategy, such as night_drift.")],
) -> None:
    """Write strategies/NAME.py with its test and notebook, and register it in workbench.toml."""
    _check_name(name)
    root = find_root()
    words = {"name": name, "cls": _class_name(name), "title": name.replace("_", " ").capitalize()}
    files = {
        root / "strategies" / f"{name}.py": _STRATEGY.format(**words),
        root / "tests" / f"test_{name}.py": _TEST.format(**words),
        root / "notebooks" / "research" / f"{name}.ipynb": _notebook(words),
    }
    settings = _registered(root / "workbench.toml", name, words["cls"])
    for path in files:
        if path.exists():
            raise ConfigError(f"{path} is there already.", "Choose another name, or remove it.")
    for path, text in {**files, root / "workbench.toml": settings}.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        out.print(Text(f"wrote {path.relative_to(root)}"))
    out.print(Text(f"Try it: python -m pytest tests/test_{name}.py"))


def _check_name(name: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise ConfigError(
            f"{name!r} cannot name a strategy.",
            "Use lower-case letters, digits and underscores, a letter first: night_drift.",
        )
    if name in BUILT_IN:
        raise ConfigError(f"{name!r} is a built-in strategy.", "Choose another name.")


def _class_name(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))


def _registered(path: Path, name: str, cls: str) -> str:
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    try:
        known = tomllib.loads(text).get("strategies", {})
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}.", "Correct that line.") from error
    if name in known:
        raise ConfigError(
            f"{name!r} is registered already as {known[name]}.", f"Remove it from {path}."
        )
    line = f'{name} = "strategies/{name}.py:{cls}"\n'
    # The text is edited, not rewritten, so that comments and order stay.
    header = re.search(r"^[ \t]*\[[ \t]*strategies[ \t]*\][^\n]*(\n|\Z)", text, flags=re.M)
    if header is None:
        gap = "" if not text else "\n" if text.endswith("\n") else "\n\n"
        edited = f"{text}{gap}[strategies]\n{line}"
    else:
        head = text[: header.end()]
        edited = head + ("" if head.endswith("\n") else "\n") + line + text[header.end() :]
    try:
        tomllib.loads(edited)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(
            f"The strategies of {path} cannot be added to.", "Write them under [strategies]."
        ) from error
    return edited


def _notebook(words: dict[str, str]) -> str:
    cells: list[dict[str, Any]] = []
    for number, (kind, text) in enumerate(_CELLS):
        source = text.format(**words) if kind != "parameters" else text
        cell: dict[str, Any] = {"id": f"cell-{number}", "metadata": {}, "source": source}
        if kind == "markdown":
            cell["cell_type"] = "markdown"
        else:
            cell |= {"cell_type": "code", "execution_count": None, "outputs": []}
            cell["metadata"] = {"tags": ["parameters"]} if kind == "parameters" else {}
        cells.append(cell)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    content = {
        "cells": cells,
        "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(content, indent=1) + "\n"
