"""``workbench risk``: limits and breakers in words, and code 1 with what to do where it may not."""

import re
from datetime import timedelta

import pytest
from typer.testing import CliRunner

from workbench.cli import app
from workbench.core.clock import SystemClock
from workbench.monitor.breakers import read_asked, save_memory
from workbench.risk.breakers import Breakers, Kind
from workbench.risk.limits import breaker_limits, load_limits
from workbench.store import Store

WHY = ("--reason", "the desk agreed", "--by", "ada")


@pytest.fixture(autouse=True)
def _home(home):
    return home


def call(*arguments, code=0):
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["risk", *arguments])
    assert result.exit_code == code, result.output + result.stderr
    return result.output + result.stderr


def in_force(name):
    return re.search(rf"^ *{name} +(\S+) +(\S.*?) *$", call("limits"), re.MULTILINE).groups()


def test_limits_are_those_of_the_conservative_mode_at_first():
    assert in_force("max_gross") == ("2.0", "the mode of the package")
    assert "The record has 0 entries" in call("limits")


def test_tighter_limit_counts_at_once_and_names_its_source():
    assert "max_gross is 1.6 from now on" in call("set", "max_gross", "1.6", *WHY)
    assert in_force("max_gross") == ("1.6", "entry 2, ada: the desk agreed")


def test_looser_limit_is_confirmed_by_its_name_and_waits(monkeypatch):
    """RK-03."""
    monkeypatch.setenv("WORKBENCH_RISK__COOLDOWN_HOURS", "36")
    said = call("set", "max_gross", "2.5", *WHY)
    assert "max_gross 2.5: looser, and waits. `workbench risk confirm 2`" in said
    assert "then 36 hours" in said
    assert "not confirmed: `workbench risk confirm 2`" in call("limits")
    assert "Type max_gross to confirm" in call("confirm", "2", "--name", "max_net", code=1)
    assert "in force from" in call("confirm", "2", "--name", "max_gross", "--by", "bob")
    due = (SystemClock().now() + timedelta(hours=36)).strftime("%Y-%m-%d")
    assert f"Change 2 by ada waits (max_gross 2.5), in force from {due}" in call("limits")
    assert in_force("max_gross")[0] == "2.0"
    assert "will not be made" in call("cancel", "2", *WHY)
    assert "waits" not in call("limits")


def test_confirmation_without_a_name_is_refused():
    call("set", "max_gross", "2.5", *WHY)
    assert "The confirmation says '', not 'max_gross'" in call("confirm", "2", code=1)


def test_mode_is_split_into_what_counts_and_what_waits():
    said = call("mode", "aggressive", *WHY)
    assert "waits. `workbench risk confirm 2` with the name aggressive" in said
    assert in_force("max_gross")[0] == "2.0"
    call("confirm", "2", "--name", "aggressive")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("set", "max_grosss", "1"), "max_grosss"),
        (("set", "max_gross", "much"), "max_gross: Input should be a valid number"),
        (("set", "max_gross", "0.1"), "max_gross is below max_net"),
        (("set", "mode", "bold"), "`workbench risk mode NAME`"),
        (("set", "max_gross", "2.0"), "in force are these already"),
        (("mode", "reckless"), "There is no mode 'reckless'"),
        (("cancel", "7"), "No change of the number 7 waits"),
        (("rearm", "heartbeat"), "They are daily_loss, drawdown"),
        (("rearm", "drawdown"), "drawdown is not open"),
    ],
)
def test_refusal_says_what_to_do(arguments, said):
    assert said in call(*arguments, *WHY, code=1)


def test_breakers_are_shown_with_their_reasons_and_the_drawdown_is_rearmed():
    """RK-20: a person re-arms on record; the engine takes it up."""
    assert "open" not in call("breakers")
    now = SystemClock().now()
    breakers = Breakers(breaker_limits(load_limits()))
    changes = breakers.update({**dict.fromkeys(Kind, 0.0), Kind.DRAWDOWN: 0.4}, now)
    with Store.open() as store:
        save_memory(store, {"breakers": breakers.document()}, changes)
    shown = call("breakers")
    assert re.search(r"drawdown +0.25 +open +\d{4}-\d\d-\d\d \d\d:\d\d +40.0% below the", shown)
    assert "drawdown open: 40.0% below the peak are beyond 25.0%" in shown
    assert "re-armed by ada: the desk agreed" in call("rearm", "drawdown", *WHY)
    assert "ada re-arms the drawdown; the engine has not heard it yet" in call("breakers")
    with Store.open() as store:
        assert [asked.kind for asked in read_asked(store, heard=0)] == [Kind.DRAWDOWN]
