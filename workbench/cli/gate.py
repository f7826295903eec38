"""``workbench gate``: a strategy before a gate, and the answer in words."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from workbench.cli.runs import PairsCommand, read_params, show_progress
from workbench.cli.terminal import out

if TYPE_CHECKING:
    from workbench.evidence.verdicts import Verdict

COLOURS: Final = {"pass": "green", "fail": "red", "unknown": "yellow"}


def gate(
    strategy: Annotated[
        str, typer.Argument(help="A registered name, module:Class or file.py:Class.")
    ],
    param: Annotated[
        list[str] | None,
        typer.Option(
            "--param",
            "-p",
            metavar="NAME VALUE",
            help="Set a parameter of the evidence notebook; repeatable.",
        ),
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="Its parameters from a YAML file.")
    ] = None,
    *,
    rules: Annotated[
        str, typer.Option("--gate", help="Name of a gate, or a TOML file of one's own.")
    ] = "default",
) -> None:
    """Run the evidence notebook for a strategy, seal it, and say what the gate says.

    Ends with code 1 where the strategy is refused.
    """
    from workbench.jobs.graduate import put_before_gate

    params = {"STRATEGY": strategy, "GATE": rules, **read_params(param or [], file)}
    with show_progress("evidence") as watch:
        job, recorded = put_before_gate(params, progress=watch)
    print_verdict(recorded.verdict)
    out.print(Text(f"verdict   {recorded.verdict_id}"))
    out.print(Text(f"evidence  {job.html}"), soft_wrap=True)
    if not recorded.verdict.is_passed:
        raise typer.Exit(1)


gate.command_class = PairsCommand  # type: ignore[attr-defined]


def print_verdict(verdict: Verdict) -> None:
    """Print a verdict: the word, the reason, and every criterion that decides or stands beside."""
    from workbench.evidence.card import MARKS

    word = Text(f" {verdict.word} ", style="bold white on green" if verdict.is_passed else
                "bold white on red")  # fmt: skip
    out.print(Text.assemble(word, f"  {verdict.strategy} before the gate {verdict.gate}"))
    out.print(Text(verdict.sentence))
    table = Table("", "criterion", "value", "bound", "", box=SIMPLE_HEAD, pad_edge=False)
    for finding in verdict.findings:
        sign, _ = MARKS[finding.status]
        value = "" if finding.value is None else f"{finding.value:.3g}"
        role = "decides" if finding.is_required else ""
        row: list[Any] = [
            Text(sign, COLOURS[finding.status]), finding.name, value, finding.bound,
            Text(role, "dim"),
        ]  # fmt: skip
        table.add_row(*row)
    out.print(table)
