"""``workbench risk``: the limits in force, every change of them, and the breakers."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from workbench.cli.terminal import out
from workbench.core.config import load_config

if TYPE_CHECKING:
    from workbench.monitor.limits import Entry, LimitBook, Waiting

app = typer.Typer(no_args_is_help=True, help="Show and change limits; re-arm a breaker.")

CHANGES_SHOWN: Final = 10
STYLES: Final = {"open": "bold red", "half_open": "yellow", "closed": "green"}

By = Annotated[str, typer.Option(help="Who does it; by default the user of the system.")]
Reason = Annotated[str, typer.Option(help="Why, for the record.")]
Number = Annotated[int, typer.Argument(help="The number of the change, as `limits` shows it.")]


@app.command("limits")
def show_limits() -> None:
    """Show the limits in force, where each comes from, and what still waits."""
    with _book() as book:
        now = book.in_force()
        table = Table("limit", "in force", "from", title=now.limits.title, box=SIMPLE_HEAD)
        for name, value in now.limits.model_dump().items():
            source = now.sources.get(name, "the mode of the package")
            table.add_row(name, f"{value}", Text(source, overflow="fold"))
        out.print(table)
        for one in now.waiting.values():
            _say_waiting(one)
        out.print(Text(f"The record has {len(book.entries)} entries and ends in {book.head[:16]}."))


@app.command("set")
def set_limit(
    name: Annotated[str, typer.Argument(metavar="FIELD", help="Which limit.")],
    value: Annotated[str, typer.Argument(help="Its new value.")],
    *,
    reason: Reason,
    by: By = "",
) -> None:
    """Change one limit: a tighter one counts at once, a looser one waits."""
    from workbench.core.errors import ConfigError
    from workbench.risk.limits import change_limits

    if name in ("mode", "version"):
        raise ConfigError(f"{name} is no limit.", "`workbench risk mode NAME` switches the mode.")
    with _book() as book:
        limits = change_limits(book.in_force().limits, **{name: value})
        _say(book.change(limits, by=by or getpass.getuser(), reason=reason))


@app.command("mode")
def switch_mode(
    name: Annotated[str, typer.Argument(help="Its name, or a .toml file with every limit.")],
    *,
    reason: Reason,
    by: By = "",
) -> None:
    """Switch the mode: what is tighter counts at once, what is looser waits."""
    from workbench.risk.limits import load_limits

    with _book() as book:
        _say(book.change(load_limits(name), by=by or getpass.getuser(), reason=reason))


@app.command()
def confirm(
    number: Number,
    *,
    reason: Reason = "confirmed",
    by: By = "",
    typed: Annotated[
        str | None, typer.Option("--name", help="The name of the limit or mode; else asked.")
    ] = None,
) -> None:
    """Confirm a loosening by its name; from then on its cool-down runs."""
    with _book() as book:
        if typed is None and sys.stdin.isatty():
            for one in filter(None, [book.in_force().waiting.get(number)]):
                _say_waiting(one)
            typed = str(typer.prompt("Type the name of the limit or mode that may be looser"))
        book.confirm(number, by=by or getpass.getuser(), typed=typed or "", reason=reason)
        due = book.in_force().waiting[number].due
        out.print(Text(f"Change {number} is in force from {due:%Y-%m-%d %H:%M} UTC.", "yellow"))


@app.command()
def cancel(number: Number, *, reason: Reason, by: By = "") -> None:
    """Stop a loosening that is not in force yet."""
    with _book() as book:
        book.cancel(number, by=by or getpass.getuser(), reason=reason)
        out.print(Text(f"Change {number} will not be made.", style="green"))


@app.command()
def breakers() -> None:
    """Show where each breaker stood when it last moved, and what they did."""
    from workbench.monitor.breakers import read_asked, read_breakers, read_changes, read_memory

    with _book() as book:
        read = read_breakers(book.store, book.in_force().limits)
        table = Table("breaker", "limit", "phase", "since", "", box=SIMPLE_HEAD)
        for kind, state in read.states.items():
            since = f"{state.since:%Y-%m-%d %H:%M}" if state.words else ""
            style = STYLES[state.phase]
            phase, why = Text(state.phase.words, style), Text(state.words, overflow="fold")
            table.add_row(kind.words, f"{read.limits[kind]:g}", phase, since, why)
        out.print(table)
        for change in read_changes(book.store, limit=CHANGES_SHOWN):
            words = f"{change.at:%Y-%m-%d %H:%M} {change.kind.words} {change.after.words}: "
            out.print(Text(words + change.words), soft_wrap=True)
        heard = read_memory(book.store).heard
        for asked in read_asked(book.store, heard=heard):
            words = f"{asked.by} re-arms the {asked.kind.words}; the engine has not heard it yet."
            out.print(Text(words, style="yellow"), soft_wrap=True)


@app.command()
def rearm(
    kind: Annotated[str, typer.Argument(help="Which breaker, such as drawdown.")],
    *,
    reason: Reason,
    by: By = "",
) -> None:
    """Let entries in again, on trial, after a breaker that only a person re-arms."""
    from workbench.core.errors import ConfigError
    from workbench.monitor.breakers import ask_rearm
    from workbench.risk.breakers import Kind

    known = {one.value: one for one in Kind}
    if kind not in known:
        raise ConfigError(f"There is no breaker {kind!r}.", f"They are {', '.join(known)}.")
    with _book() as book:
        change = ask_rearm(
            book.store, known[kind], limits=book.in_force().limits,
            by=by or getpass.getuser(), reason=reason, now=book.clock.now(),
        )  # fmt: skip
    out.print(Text(f"{change.kind.words}: {change.words}. The engine lets a share in on trial."))


@contextmanager
def _book() -> Iterator[LimitBook]:
    from workbench.monitor.limits import LimitBook
    from workbench.store import Store

    with Store.open() as store:
        yield LimitBook(store, cooldown_hours=load_config().risk.cooldown_hours)


def _say_waiting(one: Waiting) -> None:
    number, actor = one.entry.number, one.entry.actor
    until = (
        f"not confirmed: `workbench risk confirm {number}`"
        if one.due is None
        else f"in force from {one.due:%Y-%m-%d %H:%M} UTC"
    )
    words = f"Change {number} by {actor} waits ({_list(one.fields)}), {until}."
    out.print(Text(words, style="yellow"), soft_wrap=True)


def _list(fields: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {new}" for name, new in fields.items())


def _say(entry: Entry) -> None:
    for name, new in entry.detail["now"].items():
        out.print(Text(f"{name} is {new} from now on.", style="green"))
    later = entry.detail["later"]
    if later:
        hours = entry.detail["cooldown_s"] / 3_600
        words = (
            f"{_list(later)}: looser, and waits. `workbench risk confirm {entry.number}` with the "
            f"name {entry.detail['name']}, then {hours:g} hours."
        )
        out.print(Text(words, style="yellow"), soft_wrap=True)
