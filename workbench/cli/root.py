"""The root of the command: a table of commands that load when they are called."""

from importlib import import_module
from typing import Annotated, Any, Final, NamedTuple

import typer
from rich.text import Text
from typer.core import TyperGroup
from typer.main import get_command, get_group

from workbench import __version__
from workbench.cli.terminal import err, out
from workbench.core.errors import WorkbenchError


class Command(NamedTuple):
    """Where a command lives: module in this room, name in that module, and its sentence."""

    module: str
    attribute: str
    help: str
    panel: str


_RESEARCH: Final = "Research"
_EVIDENCE: Final = "Evidence"
_TRADING: Final = "Trading"
_HOUSE: Final = "House"

COMMANDS: Final[dict[str, Command]] = {
    "demo": Command("demo", "demo", "Show the whole main job in one go.", _RESEARCH),
    "data": Command("data", "app", "Pull, import, check, list and synthesise data.", _RESEARCH),
    "new": Command("strategies", "app", "Write a new strategy with its test.", _RESEARCH),
    "run": Command("runs", "run", "Run a notebook as a recorded job.", _RESEARCH),
    "runs": Command("runs", "app", "List, show and open recorded runs.", _RESEARCH),
    "trials": Command("evidence", "trials", "List the trial ledger and check it.", _EVIDENCE),
    "gate": Command("gate", "gate", "Put a strategy before a gate.", _EVIDENCE),
    "verify": Command("evidence", "verify", "Execute a sealed run again and compare.", _EVIDENCE),
    "autopsy": Command("autopsy", "autopsy", "Judge trades that another tool made.", _EVIDENCE),
    "leaks": Command("leaks", "leaks", "Probe a strategy or a file for look-ahead.", _EVIDENCE),
    "stage": Command("stage", "app", "Move a strategy between its stages.", _EVIDENCE),
    "risk": Command("risk", "app", "Show and change limits; re-arm a breaker.", _EVIDENCE),
    "supervise": Command("supervise", "supervise", "Watch over the account.", _TRADING),
    "kill": Command("supervise", "kill", "Stop entries, cancel, or flatten; release.", _TRADING),
    "trade": Command("trade", "trade", "Trade, on paper or for real.", _TRADING),
    "status": Command("trade", "status", "Show what the engine does and holds.", _TRADING),
    "pause": Command("trade", "pause", "Let nothing enter; exits go on.", _TRADING),
    "resume": Command("trade", "resume", "Let entries pass again.", _TRADING),
    "stop": Command("trade", "stop", "End the engine, or a strategy, in order.", _TRADING),
    "flatten": Command("trade", "flatten", "Close everything by the engine.", _TRADING),
    "close": Command("trade", "close", "Close one symbol.", _TRADING),
    "explain": Command("trade", "explain", "Rebuild the moment of an order.", _TRADING),
    "simulate": Command("simulate", "simulate", "Run a Bybit exchange on this machine.", _RESEARCH),
    "lab": Command("panels", "lab", "Open the notebooks in JupyterLab.", _RESEARCH),
    "panels": Command("panels", "panels", "Serve the panels in the browser.", _RESEARCH),
    "config": Command("config", "app", "Show each setting and where it came from.", _HOUSE),
    "keys": Command("keys", "app", "Keep exchange keys and the signing key.", _HOUSE),
    "db": Command("db", "app", "Upgrade the store, or show how far it is.", _HOUSE),
    "doctor": Command("doctor", "doctor", "Check that everything needed is in order.", _HOUSE),
}


def load_command(name: str) -> Any:
    """Import the module of a command and return what typer makes of it."""
    row = COMMANDS[name]
    target = getattr(import_module(f"workbench.cli.{row.module}"), row.attribute)
    if isinstance(target, typer.Typer):
        command: Any = get_group(target)
    else:
        single = typer.Typer(add_completion=False)
        single.command(name, cls=getattr(target, "command_class", None))(target)
        command = get_command(single)
    command.name = name
    return command


class LazyGroup(TyperGroup):
    """A group that knows its commands by name and imports the one that is called."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Replace the stand-in, which the help lists, by the real command."""
        name, stub, rest = super().resolve_command(ctx, args)
        return name, load_command(name) if name in COMMANDS else stub, rest

    def invoke(self, ctx: Any) -> Any:
        """Run a command; a deliberate error becomes two lines on stderr and exit code 1."""
        try:
            return super().invoke(ctx)
        except WorkbenchError as error:
            if ctx.params.get("debug"):
                raise
            err.print(Text(error.what, style="bold red"))
            err.print(Text(error.fix))
            raise typer.Exit(1) from error


app = typer.Typer(
    name="workbench",
    cls=LazyGroup,
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(is_asked: bool) -> None:
    if is_asked:
        out.print(f"workbench {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    *,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of errors.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Say which.")
    ] = False,
) -> None:
    """Research, validate and trade systematic strategies on Bybit perpetuals."""


def _stand_in() -> None:
    raise AssertionError("resolve_command puts the real command in this place")


for _name, _row in COMMANDS.items():
    app.command(_name, help=_row.help, rich_help_panel=_row.panel)(_stand_in)


def main() -> None:
    """Run the command line of this process."""
    app()
