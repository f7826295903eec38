"""The switch works from the command line, with a supervisor and without one.

Promise 6; TE-09: an emergency stop cancels and flattens reduce-only.
"""

import pytest
from typer.testing import CliRunner

from tests.core.test_vault import PASSPHRASE, QUICK
from tests.exchange.desk import KEY, Desk, make_exchange
from workbench.cli import app
from workbench.core.config import load_config
from workbench.core.vault import Vault
from workbench.exchange.server import ServerSettings, machine_ms, serving
from workbench.live.door import Door
from workbench.live.guard import locked
from workbench.live.latch import STOP, load_state

WHY = ["--reason", "a test", "--by", "me"]


def run(*words):
    return CliRunner().invoke(app, list(words))


@pytest.fixture
def account(home, monkeypatch):
    """An account with a position and an entry at an exchange, and the supervisor's key to it."""
    desk = Desk(make_exchange(settings=ServerSettings(ack_ms=0), wall_ms=machine_ms()))
    desk.order(orderType="Market", qty="0.01", stopLoss=desk.price("0.9"))
    desk.order(orderLinkId="entry")
    monkeypatch.setenv("WORKBENCH_VAULT_PASSPHRASE", PASSPHRASE.reveal())
    vault = Vault.open(load_config().vault_path, passphrase=PASSPHRASE, create=True, cost=QUICK)
    login = {"api_key": KEY.key, "api_secret": KEY.secret}
    vault.add("bybit.simulator.supervisor", "exchange", login)
    with serving(desk.exchange) as place:
        monkeypatch.setenv("WORKBENCH_EXCHANGE__REST_URL", f"http://{place}")
        yield desk.exchange.simulator.account(KEY.uid)


@pytest.fixture
def door(home):
    """A supervisor's door that remembers what was said."""
    folder = load_config().supervisor_dir
    folder.mkdir(parents=True)
    heard = []
    state = {
        "level": "flatten", "positions": 2, "orders": None, "silent_s": 12.3, "troubles": ["state"],
        "latch": {"level": "flatten", "at": "2026-07-01", "by": "me", "reason": "a test"},
    }  # fmt: skip
    door = Door(0, "a token", say=heard.append, state=lambda: state)
    door.publish(folder)
    yield heard
    door.close()


def test_kill_reaches_the_supervisor_and_prints_how_it_stands(door):
    seen = run("kill", *WHY)
    assert seen.exit_code == 0, seen.output
    assert [(own.level.words, own.by, own.reason) for own in door] == [("flatten", "me", "a test")]
    for words in ("level flatten", "a test", "positions 2, orders unknown", "12 s", "state"):
        assert words in seen.output


@pytest.mark.parametrize("level", ["no-new-risk", "cancel-all", "flatten"])
def test_kill_takes_a_level(door, level):
    run("kill", "--level", level, *WHY)
    assert door[0].level.words == level


def test_release_reaches_the_supervisor(door):
    assert run("kill", "--release", *WHY).exit_code == 0
    assert door[0].level.words == "clear"


def test_show_says_nothing_to_the_supervisor(door):
    assert "level flatten" in run("kill", "--show").output
    assert door == []


@pytest.mark.parametrize("words", [[], ["--release"], ["--level", "up", "--reason", "x"]])
def test_kill_without_reason_or_with_an_unknown_level_is_refused(door, words):
    assert run("kill", *words).exit_code == 1
    assert door == []


def test_kill_without_a_supervisor_flattens_from_here_and_leaves_the_latch(account):
    seen = run("kill", *WHY)
    assert seen.exit_code == 0, seen.output
    assert (account.held(), len(account.orders)) == ([], 0)
    folder = load_config().supervisor_dir
    assert load_state(folder)["latch"]["reason"] == "a test"
    assert (folder / STOP).exists()  # for one that hangs, and would not know
    assert "positions 0, orders 0" in seen.output


def test_kill_at_a_lower_level_from_here_leaves_the_position_and_its_stop(account):
    assert run("kill", "--here", "--level", "cancel-all", *WHY).exit_code == 0
    assert [own.symbol for own in map(_market, account.held())] == ["BTCUSDT"]
    assert [order.link for order in account.orders.values() if order.link] == []


def _market(position):
    return position.market


def test_release_without_a_supervisor_is_on_disk_and_removes_the_file(account):
    run("kill", *WHY)
    assert run("kill", "--release", *WHY).exit_code == 0
    folder = load_config().supervisor_dir
    assert load_state(folder)["latch"]["level"] == "clear"
    assert not (folder / STOP).exists()


def test_release_past_a_supervisor_that_hangs_is_refused(home):
    with locked(load_config().supervisor_dir):
        seen = run("kill", "--release", *WHY)
    assert seen.exit_code == 1
    assert "runs already" in seen.stderr


def test_show_without_a_supervisor_says_so(home):
    seen = run("kill", "--show")
    assert seen.exit_code == 1
    assert "No supervisor answers" in seen.stderr


@pytest.mark.parametrize("words", [["supervise"], ["kill", "--here", *WHY]])
def test_key_of_its_own_is_demanded(account, words):
    vault = Vault.open(load_config().vault_path, passphrase=PASSPHRASE)
    vault.remove("bybit.simulator.supervisor")
    seen = run(*words)
    assert seen.exit_code == 1
    assert "bybit.simulator.supervisor" in seen.stderr


def test_supervise_refuses_an_address_of_alerts_that_is_none(account, monkeypatch):
    monkeypatch.setenv("WORKBENCH_ALERTS__TARGETS", "nonsense")
    seen = run("supervise")
    assert seen.exit_code == 1
    assert "apprise" in seen.stderr
