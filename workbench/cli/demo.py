"""``workbench demo``: the main job in one go."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.table import Table
from rich.text import Text

from workbench.cli.evidence import print_verification
from workbench.cli.gate import print_verdict
from workbench.cli.runs import show_progress
from workbench.cli.terminal import out
from workbench.core.config import Config, load_config

if TYPE_CHECKING:
    from workbench.jobs.demo import Source

SHOWN: Final = (
    "total_return", "cagr", "annual_volatility", "sharpe", "sortino", "max_drawdown", "n_trades",
)  # fmt: skip


def demo(
    *,
    serve: Annotated[
        bool, typer.Option("--serve/--no-serve", help="Open the panels at the end, or stop.")
    ] = True,
) -> None:
    """Show the whole main job: data, research notebook, sweep, the gate, and the panels.

    Real data come from the exchange's public endpoint where it can be reached; otherwise a
    simulated exchange on this machine serves a synthetic market, and every title says so.
    """
    from workbench.jobs.demo import choose_source, pull_simulated, run_demo

    config = load_config()
    out.print("Looking for the exchange ...")
    source = choose_source(
        config,
        pull=lambda start: _pull(config, start),
        simulate=lambda: pull_simulated(config.lake_dir),
    )
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
    _prove(source)
    if serve:
        _serve()


def _prove(source: Source) -> None:
    from workbench.jobs.demo import best_of_many, modest_cases, prove

    out.rule("Before the gate")
    with out.status("Trying five hundred configurations ..."):
        chosen = best_of_many(source)
    for case in [chosen, *modest_cases(source)]:
        out.print(Text(f"{case.title}. {case.words}"))
        with show_progress("evidence") as watch:
            proof = prove(case, progress=watch)
        print_verdict(proof.verdict)
        print_verification(proof.verification)
        out.print(Text(f"evidence  {proof.job.html}"), soft_wrap=True)
    if source.is_synthetic:
        out.print(
            Text("Real data could not be had here, so no verdict on real data is shown.", "yellow")
        )


def _pull(config: Config, start: datetime) -> None:
    from workbench import data
    from workbench.jobs.demo import SYMBOLS

    data.pull(SYMBOLS, interval="60", start=start, lake=config.lake_dir)


def _serve() -> None:
    from workbench.cli.panels import panels

    panels()
