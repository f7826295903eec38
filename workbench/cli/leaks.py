"""``workbench leaks``: does anything in a file, or a strategy, read the future."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from workbench.cli.terminal import out
from workbench.core.config import load_config
from workbench.core.errors import DataError, ModelError

if TYPE_CHECKING:
    from workbench.core.records import Market
    from workbench.validation.leaks import LeakReport

SYMBOLS: Final = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT")
COARSER: Final = ("240", "D")
MIN_BARS: Final = 1_500
BEYOND_LOOKBACK: Final = 1_000
FINER: Final = 4
"""The synthetic market is made of bars this many times shorter, which stand beside it."""


def leaks(
    target: Annotated[
        str,
        typer.Argument(help="FILE.py, FILE.py:name, module:Class or the name of a strategy."),
    ],
    symbols: Annotated[
        list[str] | None, typer.Option("--symbols", help="Linear perpetuals; repeatable.")
    ] = None,
    *,
    source: Annotated[str, typer.Option(help="synthetic, or lake for what was pulled.")] = (
        "synthetic"
    ),
    interval: Annotated[str, typer.Option(help="Bar length: minutes, D or W.")] = "60",
    bars: Annotated[
        int | None, typer.Option(min=100, help="How many; by default as the lookback asks.")
    ] = None,
    cuts: Annotated[int, typer.Option(min=1, help="Moments to change the future after.")] = 24,
    seed: Annotated[int | None, typer.Option(help="By default the configured one.")] = None,
) -> None:
    """Change the future, and see whether an answer of the past moves.

    Of a file every strategy is probed, with its default parameters, and every public function of
    its own whose one argument is called ``market``: it returns frames or series indexed by
    known_at, a Pipeline, or Labels. Ends with code 1 on a leak, and where a strategy could not be
    judged.
    """
    from workbench.strategies.base import Strategy
    from workbench.validation.leaks import probe_leaks

    config = load_config()
    subjects = find_subjects(target, registered=config.strategies)
    lookback = max([s.lookback for s in subjects.values() if isinstance(s, Strategy)], default=0)
    seed = config.seed if seed is None else seed
    market = load_market(
        symbols or SYMBOLS, source=source, interval=interval,
        bars=bars or max(MIN_BARS, lookback + BEYOND_LOOKBACK), seed=seed,
    )  # fmt: skip
    out.print(Text(_describe(market), style="dim"))
    is_clean, n_probed = True, 0
    for name, subject in subjects.items():
        try:
            with out.status(f"Probing {name} ..."):
                report = probe_leaks(subject, market, name=name, cuts=cuts, seed=seed)
        except ModelError as error:
            if isinstance(subject, Strategy) or len(subjects) == 1:
                raise
            out.print(Text.assemble((f"SKIPPED  {name}", "yellow"), f": {error.what}"))
            continue
        n_probed += 1
        is_clean &= report.is_clean
        print_report(report)
    if not n_probed:
        raise ModelError(
            f"Nothing in {target} could be probed.", "Write a Strategy, or return frames."
        )
    if not is_clean:
        raise typer.Exit(1)


def find_subjects(target: str, *, registered: Mapping[str, str]) -> dict[str, Any]:
    """Return what is to be probed, by name: of a file everything in it that can be.

    Raises
    ------
    ModelError
        If there is nothing.
    """
    from workbench.strategies.registry import find_strategies, load_file, load_strategy

    source, _, name = target.rpartition(":") if ".py:" in target else (target, "", "")
    if not source.endswith(".py"):
        return {target: load_strategy(target, registered=registered)}
    path = Path(source).resolve()
    module = load_file(str(path))
    own = [
        key
        for key, value in vars(module).items()
        if getattr(value, "__module__", None) == module.__name__ and not key.startswith("_")
    ]
    strategies = find_strategies(module)
    found: dict[str, Any] = {}
    for key in own if not name else [name]:
        if key in strategies:
            found[key] = load_strategy(f"{path}:{key}")
        elif key in own and _takes_market(vars(module)[key]):
            found[key] = vars(module)[key]
    if not found:
        raise ModelError(
            f"{source} holds no {name or 'strategy and no function of a market'}.",
            "Write a Strategy, or a function with the one argument market that returns frames.",
        )
    return found


def load_market(symbols: Any, *, source: str, interval: str, bars: int, seed: int) -> Market:
    """Return the market to probe on, with coarser intervals beside it.

    The synthetic one has finer bars as well, gaps, and symbols that begin late and end early.
    """
    from workbench import data
    from workbench.core.records import interval_delta
    from workbench.validation.futures import roughen

    length = interval_delta(interval)
    if source == "synthetic":
        finer = _shorter(interval)
        times = length // interval_delta(finer)
        fine = roughen(
            data.synthesise(list(symbols), interval=finer, n_bars=bars * times, seed=seed),
            longest=6 * times,
            seed=seed,
        )
        market = fine.resample(interval)
        others = {} if finer == interval else {finer: fine}
    elif source == "lake":
        # Probes show no performance, so they may see what is sealed.
        whole = data.load(list(symbols), interval=interval, lake=load_config().lake_dir)
        market, others = whole.until(whole.index[-1], bars=bars), {}
    else:
        raise DataError(
            f"There is no market called {source!r}.", "Probe on 'synthetic' or on the 'lake'."
        )
    longer = [name for name in COARSER if interval_delta(name) > length]
    return replace(market, others=others | {name: market.resample(name) for name in longer})


def print_report(report: LeakReport) -> None:
    """Print what the probes found of one subject."""
    if report.findings:
        out.print(Text(f"LEAKS  {report.subject}", style="bold red"))
        table = Table("probe", "what moves", "field", "symbol", "first bar", "by", box=SIMPLE_HEAD)
        for each in report.findings:
            table.add_row(
                each.probe, each.answer, each.field, each.symbol,
                f"{each.known_at:%Y-%m-%d %H:%M}", f"{each.size:.4g}",
            )  # fmt: skip
        out.print(table)
        out.print(Text(f"{report.leak[0].upper()}{report.leak[1:]}."), soft_wrap=True)
    elif report.is_judged:
        words = f": {report.n_probes} changes of the future moved nothing of the past"
        out.print(Text.assemble((f"CLEAN  {report.subject}", "green"), words), soft_wrap=True)
    else:
        out.print(Text(f"NOT JUDGED  {report.subject}", style="bold yellow"))
    for note in report.notes:
        out.print(Text(f"  {note}", style="dim"), soft_wrap=True)


def _describe(market: Market) -> str:
    marks = f"{market.watermark}: " if market.watermark else ""
    first, last = market.index[0], market.index[-1]
    return (
        f"{marks}{', '.join(market.symbols)}, {market.n_bars:,} bars of {market.interval} "
        f"from {first:%Y-%m-%d} to {last:%Y-%m-%d}"
    )


def _shorter(interval: str) -> str:
    from workbench.core.records import INTERVALS

    wanted = INTERVALS[interval] / FINER
    return next((name for name, length in INTERVALS.items() if length == wanted), interval)


def _takes_market(value: Callable[..., Any]) -> bool:
    if not inspect.isfunction(value):
        return False
    names = list(inspect.signature(value).parameters.values())
    is_called = bool(names) and names[0].name == "market"
    return is_called and all(p.default is not p.empty for p in names[1:])
