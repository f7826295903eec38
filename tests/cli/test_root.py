"""The command is quick to help, exact about errors, and loads only what is called."""

import subprocess
import sys
import time

import pytest
import typer
from typer.core import TyperCommand
from typer.testing import CliRunner

from workbench import __version__
from workbench.cli import COMMANDS, app
from workbench.cli.root import Command, load_command
from workbench.core.errors import ConfigError

HELP = [sys.executable, "-c", "from workbench.cli import main; main()", "--help"]
HEAVY = ("pandas", "numpy", "pydantic", "sqlalchemy", "alembic", "polars", "pybit", "numba")


@pytest.fixture
def failing(monkeypatch):
    """Two commands that fail: one on purpose, one by a bug."""

    def wrong() -> None:
        """Fail."""
        raise ConfigError("The [port] is 'x'.", "Set a number.")

    def broken() -> None:
        """Fail by a bug."""
        raise ZeroDivisionError

    from workbench.cli import config

    monkeypatch.setattr(config, "wrong", wrong, raising=False)
    monkeypatch.setattr(config, "broken", broken, raising=False)
    monkeypatch.setitem(COMMANDS, "demo", Command("config", "wrong", "x", "x"))
    monkeypatch.setitem(COMMANDS, "doctor", Command("config", "broken", "x", "x"))


def test_help_lists_every_command_and_imports_nothing_heavy():
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom workbench.cli import app\n"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    seen = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert seen.stdout.strip() == "[]"
    text = CliRunner().invoke(app, ["--help"]).output
    assert all(row.help in text and name in text for name, row in COMMANDS.items())


def test_help_takes_less_than_its_budget():
    times = []
    for _ in range(5):
        start = time.perf_counter()
        subprocess.run(HELP, check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.7


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_loads_and_has_help(name):
    command = load_command(name)
    assert command.name == name
    result = CliRunner().invoke(app, [name, "--help"])
    assert result.exit_code == 0, result.output


def test_version_is_said():
    assert CliRunner().invoke(app, ["--version"]).output.strip() == f"workbench {__version__}"


def test_unknown_command_is_wrong_usage_with_a_hint():
    result = CliRunner().invoke(app, ["confg"])
    assert result.exit_code == 2
    assert "config" in result.stderr


def test_deliberate_error_is_two_lines_on_stderr_and_code_1(failing):
    result = CliRunner().invoke(app, ["demo"])
    assert result.exit_code == 1
    assert result.stderr == "The [port] is 'x'.\nSet a number.\n"
    assert result.stdout == ""


def test_deliberate_error_under_debug_is_raised(failing):
    result = CliRunner().invoke(app, ["--debug", "demo"])
    assert isinstance(result.exception, ConfigError)


def test_bug_is_never_dressed_up_as_a_message(failing):
    assert isinstance(CliRunner().invoke(app, ["doctor"]).exception, ZeroDivisionError)


def test_load_command_gives_a_function_its_own_command_class(monkeypatch):
    from workbench.cli import config

    class Loud(TyperCommand):
        """A command of another kind."""

    def shout() -> None:
        """Shout."""

    shout.command_class = Loud
    monkeypatch.setattr(config, "shout", shout, raising=False)
    monkeypatch.setitem(COMMANDS, "run", Command("config", "shout", "x", "x"))
    assert isinstance(load_command("run"), Loud)


def test_load_command_makes_a_group_of_a_typer_with_one_command(monkeypatch):
    from workbench.cli import config

    single = typer.Typer()

    @single.command()
    def strategy(name: str) -> None:
        """Write one."""
        typer.echo(name)

    monkeypatch.setattr(config, "single", single, raising=False)
    monkeypatch.setitem(COMMANDS, "new", Command("config", "single", "x", "x"))
    assert CliRunner().invoke(app, ["new", "strategy", "abc"]).output == "abc\n"
