"""``workbench doctor`` looks at everything, says what to do, and fails on red only."""

import json
import re
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import keyring
import pytest
from keyring.backends.fail import Keyring as NoKeyring
from typer.testing import CliRunner

from tests.core.test_vault import QUICK
from tests.loopback.fixtures import NOW, millis
from workbench.cli import app
from workbench.core.config import load_config
from workbench.core.vault import Secret, Vault
from workbench.store import Store
from workbench.store.engine import make_engine

CHECKS = ["Python", "packages", "lock", "kernel", "disk", "store", "clock", "exchange"]


class TimeServer(BaseHTTPRequestHandler):
    """Answers as Bybit's /v5/market/time does."""

    def do_GET(self) -> None:
        now = time.time_ns()
        result = {"timeSecond": str(now // 10**9), "timeNano": str(now)}
        answer = {"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}}
        body = json.dumps({**answer, "time": now // 10**6}).encode()
        self.send_response(200 if self.path.startswith("/v5/market/time") else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def exchange(monkeypatch) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), TimeServer)
    thread = Thread(target=server.serve_forever)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("WORKBENCH_EXCHANGE__REST_URL", url)
    yield url
    server.shutdown()
    thread.join()
    server.server_close()


def call(*arguments):
    result = CliRunner(env={"COLUMNS": "250"}).invoke(app, ["doctor", *arguments])
    rows = re.findall(r"│ (green|yellow|red) +│ (\S.*?) +│ (.*?) *│ (.*?) *│", result.output)
    return result, {name: (level, seen, fix) for level, name, seen, fix in rows}


def test_doctor_of_a_sound_setup_passes(home, exchange):
    result, rows = call()
    assert list(rows) == CHECKS
    assert result.exit_code == 0
    assert rows["exchange"][0] == rows["clock"][0] == rows["store"][0] == "green"


def test_doctor_without_the_exchange_warns_and_passes(home, monkeypatch):
    monkeypatch.setenv("WORKBENCH_EXCHANGE__REST_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("workbench.exchange.client.caller.LAST_WAIT_S", 0.001)
    monkeypatch.setattr("workbench.exchange.client.caller.FIRST_WAIT_S", 0.001)
    result, rows = call()
    assert result.exit_code == 0
    assert rows["exchange"][0] == rows["clock"][0] == "yellow"
    assert "Synthetic" in rows["exchange"][2]


def test_doctor_of_a_store_that_is_behind_fails_and_says_what_to_do(home, exchange):
    with Store.open() as store:
        engine = make_engine(store.url)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0000'")
    engine.dispose()
    result, rows = call()
    assert result.exit_code == 1
    assert rows["store"][0] == "red"
    assert "workbench db upgrade" in rows["store"][2]


@pytest.fixture
def account(home, monkeypatch, endpoint, market, desk):
    """A simulator that goes with the time of this machine, and its key in the vault."""
    market.elapsed_ms = lambda: time.time_ns() // 10**6 - millis(NOW)
    monkeypatch.setattr(keyring, "get_keyring", NoKeyring)
    monkeypatch.setenv("WORKBENCH_VAULT_PASSPHRASE", "correct horse battery staple")
    monkeypatch.setenv("WORKBENCH_EXCHANGE__REST_URL", endpoint)
    passphrase = Secret("correct horse battery staple")
    vault = Vault.open(load_config().vault_path, passphrase=passphrase, create=True, cost=QUICK)
    key = {"api_key": desk.key, "api_secret": desk.secret}
    vault.add("bybit.simulator", "exchange", key)
    return desk


def test_doctor_of_a_sound_account_passes(account):
    result, rows = call("--account", "--symbol", "btcusdt", "--profile", "paper")
    assert result.exit_code == 0, result.output
    assert "Profile paper" in result.output
    assert rows["BTCUSDT leverage"][:2] == ("green", "10x")
    assert rows["margin mode"][0] == "green"


def test_doctor_of_a_key_that_may_withdraw_fails_and_says_what_to_do(account):
    told = account.answers["/v5/user/query-api"]
    told["permissions"]["Wallet"] = ["Withdraw"]
    result, rows = call("--account")
    assert result.exit_code == 1
    assert rows["key"][:2] == ("red", "it may withdraw money")
    assert "workbench keys rotate bybit.simulator" in rows["key"][2]


def test_doctor_holds_leverage_and_margin_against_the_configuration(account, monkeypatch):
    monkeypatch.setenv("WORKBENCH_ACCOUNT__MARGIN_LEVERAGE", "3")
    monkeypatch.setenv("WORKBENCH_ACCOUNT__IS_ISOLATED", "true")
    result, rows = call("--account", "--symbol", "BTCUSDT")
    assert result.exit_code == 1
    assert rows["BTCUSDT leverage"][:2] == ("red", "10x, expected 3.0x")
    assert rows["margin mode"][0] == "red"


def test_doctor_without_the_key_of_the_environment_says_how_to_add_it(account, monkeypatch):
    monkeypatch.setenv("WORKBENCH_EXCHANGE__REST_URL", "https://api-testnet.bybit.com")
    result, _ = call("--account")
    assert result.exit_code == 1
    assert "workbench keys add bybit.testnet --kind exchange" in result.stderr
