"""``workbench autopsy``: the trades of a strategy made elsewhere, repriced and judged."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from workbench.cli.terminal import out

if TYPE_CHECKING:
    from workbench.research.autopsy import Autopsy

IMPOSSIBLE_SHOWN = 3


def autopsy(
    file: Annotated[
        Path, typer.Argument(help="A freqtrade backtest (zip), or trades as CSV or Parquet.")
    ],
    *,
    trials: Annotated[
        int, typer.Option(min=1, help="How many strategies and settings you tried, this included.")
    ],
    symbol: Annotated[str | None, typer.Option(help="Where the file names none.")] = None,
    strategy: Annotated[str | None, typer.Option(help="Where a backtest holds several.")] = None,
    interval: Annotated[
        str | None, typer.Option(help="Bars to reprice on; the finest that there are by default.")
    ] = None,
    capital: Annotated[
        float | None, typer.Option(min=1e-9, help="USDT, where the file does not say.")
    ] = None,
    leverage: Annotated[
        float | None, typer.Option(min=1, help="Where the file does not say.")
    ] = None,
) -> None:
    """Reprice trades with Bybit's fees, spread and funding from the lake, and judge them.

    It is off the record: nothing is counted, and nothing can be granted.
    """
    from workbench.research import dissect

    with out.status("Repricing ..."):
        found = dissect(
            file, n_trials=trials, symbol=symbol, strategy=strategy, interval=interval,
            capital_usdt=capital, leverage=leverage,
        )  # fmt: skip
    _print_read(found)
    _print_waterfall(found)
    _print_verdict(found)


def _print_read(found: Autopsy) -> None:
    blotter, market = found.blotter, found.market
    first, last = blotter.fills["moment"].iloc[[0, -1]]
    out.print(
        Text.assemble(
            (blotter.name, "bold"),
            f"  {blotter.form}: {blotter.n_trades:,} trades of {', '.join(blotter.symbols[:6])}"
            f"{' ...' if len(blotter.symbols) > 6 else ''}, {first:%Y-%m-%d} to {last:%Y-%m-%d}, "
            f"on bars of {market.interval}",
        ),
        soft_wrap=True,
    )
    for guess in found.guesses:
        out.print(Text(f"guessed: {guess}", "dim"), soft_wrap=True)
    for reason, count in blotter.left_out.items():
        out.print(Text(f"left out: {count:,} rows with {reason}", "yellow"), soft_wrap=True)
    for each in found.missing:
        words = f"left out: {each.n_trades:,} trades of {each.symbol}: {each.remedy}"
        out.print(Text(words, "yellow"), soft_wrap=True)
    for note in found.notes:
        out.print(Text(f"note: {note}", "yellow"), soft_wrap=True)
    for row in found.impossible.head(IMPOSSIBLE_SHOWN).itertuples():
        words = (
            f"impossible: {row.symbol} at {row.price:g} on {row.moment:%Y-%m-%d %H:%M}, "
            f"{float(row.outside):.2%} beyond what was traded"  # type: ignore[arg-type]
        )
        out.print(Text(words, "red"), soft_wrap=True)


def _print_waterfall(found: Autopsy) -> None:
    table = Table("after", "Sharpe", "return", "drawdown", box=SIMPLE_HEAD, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for layer, row in found.waterfall.iterrows():
        table.add_row(
            str(layer), f"{row['sharpe']:.2f}", f"{row['total_return']:+.1%}",
            f"{row['max_drawdown']:.1%}",
        )  # fmt: skip
    out.print(table)
    late = found.measures["delayed_sharpe"]
    out.print(Text(f"With every fill one bar later still the Sharpe ratio is {late:.2f}."))


def _print_verdict(found: Autopsy) -> None:
    from workbench.cli.gate import print_verdict

    out.print()
    print_verdict(found.verdict)
    out.print(
        Text(
            "UNLEDGERED: your word for the number of trials, no look at the code. Nothing is on "
            "record and nothing is granted.",
            "bold yellow",
        ),
        soft_wrap=True,
    )
