"""``workbench demo``: the main job in one go."""

from datetime import datetime
from typing import Annotated, Final

import typer
from rich.table import Table
from rich.text import Text

from workbench.cli.runs import show_progress
from workbench.cli.terminal import out
from workbench.core.config import Config, load_config

SHOWN: Final = (
    "total_return", "cagr", "annual_volatility", "sharpe", "sortino", "max_drawdown", "n_trades",
)  # fmt: skip


def demo(
    *,
    serve: Annotated[
        bool, typer.Option("--serve/--no-serve", help="Open the panels at the end, or stop.")
    ] = True,
) -> None:
    """Show the whole main job: data, research notebook, sweep, summary and panels.

    Real data come from the exchange's public endpoint where it can be reached; otherwise the
    synthetic market stands in, and every title says so.
    """
    from workbench.jobs.demo import choose_source, run_demo

    config = load_config()
    out.print("Looking for the exchange ...")
    source = choose_source(config, pull=lambda start: _pull(config, start))
    label = "SYNTHETIC market" if source.is_synthetic else "Real data"
    out.print(Text(f"{label}: {source.reason}.", style="yellow" if source.is_synthetic else ""))
    with show_progress("research and sweep") as watch:
        summary = run_demo(source, progress=watch)
    table = Table(
        "",
        "strategy",
        "buy and hold",
        title=str(summary.job.measures.get("watermark") or "") or None,
    )
    for name in (name for name in SHOWN if name in summary.table):
        pair = ("" if value is None else f"{value:,.3f}" for value in summary.table[name])
        table.add_row(name.replace("_", " "), *pair)
    out.print(table)
    out.print(Text(f"Verdict so far. {summary.verdict}"))
    out.print(Text(f"notebook  {summary.job.path}"), soft_wrap=True)
    out.print(Text(f"page      {summary.job.html}"), soft_wrap=True)
    if serve:
        _serve()


def _pull(config: Config, start: datetime) -> None:
    from workbench import data
    from workbench.jobs.demo import SYMBOLS

    data.pull(SYMBOLS, interval="60", start=start, lake=config.lake_dir)


def _serve() -> None:
    from workbench.cli.panels import panels

    panels()
