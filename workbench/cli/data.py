"""``workbench data``: import, check, list, query and synthesise market data."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.box import SIMPLE_HEAD
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Column, Table
from rich.text import Text

from workbench.cli.terminal import out
from workbench.core.config import load_config

if TYPE_CHECKING:
    from workbench.data.quality import Finding

app = typer.Typer(no_args_is_help=True, help="Pull, import, check, list and synthesise data.")

NARROW: Final[dict[str, Any]] = {"box": SIMPLE_HEAD, "pad_edge": False, "padding": (0, 1, 0, 0)}
"""A table that fits a terminal of 80 columns."""
STYLES = {"error": "bold red", "warning": "yellow", "info": "dim"}

Interval = Annotated[str | None, typer.Option(help="Bar length: minutes, D or W.")]
Day = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M"])]


@app.command()
def pull(
    symbols: Annotated[list[str], typer.Argument(help="Linear perpetuals, BTCUSDT for one.")],
    *,
    interval: Annotated[str, typer.Option(help="Bar length: minutes, D or W.")] = "60",
    start: Annotated[str, typer.Option(help="First day, UTC.")] = "2023-01-01",
    end: Annotated[str | None, typer.Option(help="Last day; now where none is given.")] = None,
    kinds: Annotated[
        str, typer.Option(help="kline, mark, premium, funding, open_interest; all by default.")
    ] = "kline,mark,premium,funding,open_interest",
) -> None:
    """Download what the lake lacks; again goes on where it stopped."""
    from workbench.data import pull as run

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    with Progress(*columns, TimeElapsedColumn(), console=out) as bars:
        tasks: dict[str, TaskID] = {}

        def tell(what: str, share: float) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=1.0)
            bars.update(tasks[what], completed=share)

        report = run(
            symbols, interval=interval, start=start, end=end, kinds=kinds.split(","),
            lake=load_config().lake_dir, progress=tell,
        )  # fmt: skip
    total = sum(report.new_rows.values())
    out.print(Text(f"{total:,} new rows in {len(report.new_rows)} series."))
    _print_findings(report.findings)


@app.command("import")
def import_(
    paths: Annotated[list[Path], typer.Argument(help="CSV (also .csv.gz) or Parquet files.")],
    *,
    kind: Annotated[str | None, typer.Option(help="kline, mark, funding, ...")] = None,
    symbol: Annotated[str | None, typer.Option(help="Where the file names none.")] = None,
    interval: Interval = None,
    venue: Annotated[str | None, typer.Option(help="Whose data; bybit by default.")] = None,
    as_of: Annotated[datetime | None, typer.Option(help="When the file was made, UTC.")] = None,
    survivors_only: Annotated[
        bool, typer.Option("--survivors-only", help="Only symbols that still trade are in it.")
    ] = False,
) -> None:
    """Import candles, funding or open interest; say what was guessed and what was left out."""
    from workbench.data import import_file, seal_import

    moment = None if as_of is None else as_of.replace(tzinfo=UTC)
    for path in paths:
        report = import_file(
            path, lake=load_config().lake_dir, kind=kind, symbol=symbol, interval=interval,
            venue=venue, as_of=moment, survivors_only=survivors_only,
        )  # fmt: skip
        seal_import(report)
        out.print(Text(f"{path.name}: {'; '.join(report.guesses)}"))
        if report.ignored:
            out.print(Text(f"columns not used: {', '.join(report.ignored)}", style="dim"))
        heads = [
            Column(name, no_wrap=True) for name in ("symbol", "kind", "bar", "from", "to", "read")
        ]
        table = Table(*heads, Column("new", no_wrap=True), "left out", **NARROW)
        for row in report.series:
            left = ", ".join(f"{count} {why}" for why, count in row.dropped.items())
            table.add_row(
                row.series.symbol, row.series.kind, row.series.interval, f"{row.first:%Y-%m-%d}",
                f"{row.last:%Y-%m-%d}", f"{row.n_read:,}", f"{row.n_new:,}", left,
            )  # fmt: skip
        out.print(table)
        if report.quarantine:
            out.print(Text(f"rows left out are kept in {report.quarantine}"), soft_wrap=True)
        _print_findings([f for row in report.series for f in row.findings])


@app.command()
def check(
    symbols: Annotated[list[str] | None, typer.Argument(help="All where none is named.")] = None,
    *,
    interval: Interval = None,
    accept: Annotated[
        list[str] | None, typer.Option(help="A finding's code to take as it is, once looked at.")
    ] = None,
) -> None:
    """Check series of the lake again; ends with 1 if one has errors."""
    from workbench.core.errors import DataError
    from workbench.data import Lake, check_series

    lake = Lake(load_config().lake_dir)
    chosen = [
        series
        for series in lake.series()
        if (not symbols or series.symbol in symbols) and interval in (None, series.interval)
    ]
    if not chosen:
        raise DataError(
            f"The lake holds no series of {', '.join(symbols or []) or 'anything'}.",
            "`workbench data list` shows what there is.",
        )
    found = []
    for series in chosen:
        found += check_series(lake, series, accept=accept or ())
    out.print(Text(f"{len(chosen)} series checked."))
    _print_findings(found)
    if any(f.severity == "error" and f.code not in (accept or ()) for f in found):
        raise typer.Exit(1)


@app.command("list")
def list_() -> None:
    """List every series of the lake."""
    from workbench.data import inventory

    held = inventory(load_config().lake_dir)
    names = ("venue", "kind", "symbol", "bar", "from", "to")
    table = Table(*(Column(n, no_wrap=True) for n in names), Column("rows", justify="right"),
                  **NARROW)  # fmt: skip
    for row in held.itertuples():
        table.add_row(
            str(row.venue), str(row.kind), str(row.symbol), str(row.interval),
            f"{row.first:%Y-%m-%d}", f"{row.last:%Y-%m-%d %H:%M}", f"{row.rows:,}",
        )  # fmt: skip
    out.print(table)
    if held.empty:
        out.print(Text("The lake is empty: pull, import or synthesise some data first."))


@app.command()
def sql(
    query: Annotated[str, typer.Argument(help="SELECT ... FROM kline, mark, funding ...")],
) -> None:
    """Run SQL over the lake."""
    from workbench.data import sql as run

    answer = run(query, lake=load_config().lake_dir)
    table = Table(*map(str, answer.columns))
    for row in answer.itertuples(index=False):
        table.add_row(*map(str, row))
    out.print(table)


@app.command()
def synth(
    symbols: Annotated[list[str], typer.Argument(help="Any names, BTCUSDT for one.")],
    *,
    interval: Annotated[str, typer.Option(help="Bar length: minutes, D or W.")] = "60",
    start: Day = None,
    end: Day = None,
    bars: Annotated[int | None, typer.Option(help="Length, in place of --end.")] = None,
    seed: Annotated[int | None, typer.Option(help="By default the configuration's.")] = None,
) -> None:
    """Write a synthetic market into the lake, under the venue ``synthetic``."""
    from workbench.data import synthesise, write_market

    config = load_config()
    first, last = (None if day is None else day.replace(tzinfo=UTC) for day in (start, end))
    market = synthesise(
        symbols, interval=interval, start=first, end=last, n_bars=bars,
        seed=config.seed if seed is None else seed,
    )  # fmt: skip
    write_market(market, config.lake_dir)
    out.print(
        Text(
            f"SYNTHETIC {', '.join(symbols)}: {market.n_bars:,} bars of {interval} from "
            f"{market.index[0]:%Y-%m-%d} to {market.index[-1]:%Y-%m-%d}."
        )
    )


def _print_findings(found: "Sequence[Finding]") -> None:
    if not found:
        out.print(Text("Nothing to report.", style="green"))
        return
    table = Table(
        Column(no_wrap=True), Column("symbol", no_wrap=True), Column("at", no_wrap=True),
        "what, and what to do", **NARROW,
    )  # fmt: skip
    for finding in found:
        table.add_row(
            Text(finding.code, style=STYLES[finding.severity]), finding.symbol,
            f"{finding.at:%Y-%m-%d %H:%M}", Text(f"{finding.what} {finding.fix}"),
        )  # fmt: skip
    out.print(table)
