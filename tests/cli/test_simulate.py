"""``workbench simulate``: an exchange that a client finds where the command says it is."""

import json
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from http.client import HTTPConnection

import pytest
from pybit.unified_trading import HTTP
from typer.testing import CliRunner

from workbench.cli import app
from workbench.exchange.server import read_journal

ACCOUNTS = """
[[account]]
uid = "7"
wallet_usdt = "2500"
margin_mode = "ISOLATED_MARGIN"
fee_tier = "VIP3"

[[account.keys]]
key = "my-key"
secret = "my-secret"
expires = 2099-01-01T00:00:00Z
"""


@contextmanager
def running(*options):
    """The command in a process of its own; gives what it said, and ends it by Ctrl-C."""
    command = [sys.executable, "-m", "workbench.cli", "simulate", "--port", "0", *options]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as one:
        said = {}
        try:
            for line in one.stdout:
                name, _, value = line.partition(" ")
                said[name] = value.strip()
                if name == ("account" if "--accounts" in options else "secret"):
                    break
            said["process"] = one
            yield said
        finally:
            one.send_signal(signal.SIGINT)
            _, errors = one.communicate(timeout=20)
            said["errors"], said["code"] = errors, one.returncode


def session(said, key, secret):
    http = HTTP(api_key=key, api_secret=secret)
    http.endpoint = said["REST"]
    return http


def test_exchange_of_the_synthetic_market_is_up_in_seconds_and_trades(home):
    began = time.monotonic()
    with running("--symbols", "BTCUSDT,ETHUSDT", "--journal", "all.ndjson") as said:
        http = session(said, said["key"], said["secret"])
        now = int(http.get_server_time()["time"]) / 1000
        took = time.monotonic() - began
        assert abs(now - datetime.now(UTC).timestamp()) < 5
        http.place_order(
            category="linear", symbol="ETHUSDT", side="Buy", orderType="Market", qty="1"
        )
        wallet = http.get_wallet_balance(accountType="UNIFIED")["result"]["list"][0]
        assert float(wallet["totalEquity"]) == pytest.approx(10_000, abs=20)
        http.client.close()
    assert (said["code"], said["errors"]) == (0, "")
    assert took < 12  # three seconds on a quiet machine; the benchmark holds it to that
    paths = {row["p"] for row in read_journal(home / "all.ndjson") if row["k"] == "request"}
    assert {"/v5/market/time", "/v5/order/create", "/v5/account/wallet-balance"} <= paths


def test_exchange_of_a_file_is_stepped_by_control_with_accounts_of_its_own(home):
    rows = ["timestamp,open,high,low,close,volume"]
    rows += [f"2024-01-01T{h:02}:{m:02}:00Z,100,102,99,{100 + m % 3},50" for h in range(3)
             for m in range(60)]  # fmt: skip
    (home / "LTCUSDT_1m.csv").write_text("\n".join(rows) + "\n")
    (home / "accounts.toml").write_text(ACCOUNTS)
    with running("--symbols", "LTCUSDT", "--source", "LTCUSDT_1m.csv", "--speed", "0",
                 "--start", "2024-01-01T01:00", "--accounts", "accounts.toml", "--exact",
                 "--scenario", "rate_limit") as said:  # fmt: skip
        assert said["account"] == "7 with 2,500 USDT"
        assert "typical ones stand in" in said["LTCUSDT:"]
        place = said["REST"].removeprefix("http://")
        token = re.search(r"X-Control-Token: (\S+)", said["control"])[1]

        def ask(method, path, body=None):
            wire = HTTPConnection(place, timeout=10)
            wire.request(method, path, body, {"X-Control-Token": token,
                                              "Content-Type": "application/json"})  # fmt: skip
            found = json.loads(wire.getresponse().read())
            wire.close()
            return found

        state = ask("GET", "/control/state")
        assert (state["now_ms"], state["speed"]) == (1704070800000, 0)
        assert [fault["kind"] for fault in state["faults"]] == ["refuse"]
        ask("POST", "/control/step", '{"ms": 1800000}')
        http = session(said, "my-key", "my-secret")
        info = http.get_account_info()
        assert info["result"]["marginMode"] == "ISOLATED_MARGIN"
        assert info["time"] == 1704070800000 + 1_800_000
        http.client.close()
    assert said["code"] == 0


def refused(*options):
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["simulate", "--port", "0", *options])
    assert result.exit_code == 1
    return result.stderr


def test_exchange_is_not_opened_to_other_machines_unless_told(home):
    assert "--allow-remote" in refused("--host", "0.0.0.0")


@pytest.mark.parametrize(
    ("text", "why"),
    [(None, "cannot be read"), ("x = ", "no TOML"), ("[[account]]\nuid = 'me'", "account.0"),
     (ACCOUNTS.replace('secret = "my-secret"', ""), "no secret")],
)  # fmt: skip
def test_accounts_that_are_not_understood_are_refused_with_their_place(home, text, why):
    if text is not None:
        (home / "accounts.toml").write_text(text)
    assert why in refused("--accounts", "accounts.toml")
