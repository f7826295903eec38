"""Protects the preflight: each thing that must not be traded with is found, and said how to mend.

Every answer is a documented row with one thing changed.
"""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from tests.loopback.fixtures import NOW, millis
from workbench.core.clock import SimulatedClock
from workbench.core.errors import SecretError
from workbench.exchange import BybitClient
from workbench.exchange.client.offset import ServerClock
from workbench.exchange.preflight import preflight
from workbench.exchange.words import MarginMode


def look(client, **more):
    found = preflight(client, ["BTCUSDT"], **{"leverage": Decimal(10)} | more)
    return {own.name: own for own in found}, {own.level for own in found}


def answer(desk, path, **change):
    desk.answers[path] = desk.answers[path] | change


def test_account_in_order_is_green_and_nothing_is_written(trader, desk, market):
    found, levels = look(trader)
    assert levels == {"green"}
    assert list(found) == [
        "clock", "key", "sub-account", "account", "margin mode", "BTCUSDT", "BTCUSDT mode",
        "BTCUSDT leverage",
    ]  # fmt: skip
    reads = {"query-api", "info", "list"}
    assert {path.rpartition("/")[2] for path, _, _ in desk.calls} == reads


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        ({"permissions": {"Wallet": ["Withdraw"], "ContractTrade": ["Order", "Position"]}},
         "withdraw"),
        ({"readOnly": 1}, "not trade"),
        ({"permissions": {"ContractTrade": ["Order"]}}, "not trade"),
    ],
)  # fmt: skip
def test_key_that_must_not_be_used_ends_the_look(trader, desk, change, seen):
    answer(desk, "/v5/user/query-api", **change)
    found, _ = look(trader)
    assert found["key"].level == "red"
    assert seen in found["key"].seen
    assert found["key"].fix
    assert "account" not in found


def test_key_that_ends_soon_is_yellow(trader, desk):
    answer(desk, "/v5/user/query-api", deadlineDay=5)
    found = look(trader)[0]["key"]
    assert (found.level, found.seen) == ("yellow", "ends in 5 days")


def test_key_for_money_should_be_bound_to_an_address_and_to_a_sub_account(trader, desk):
    answer(desk, "/v5/user/query-api", ips=["*"], deadlineDay=80, isMaster=True)
    assert look(trader)[1] == {"green"}
    trader.venue = replace(trader.venue, name="mainnet")
    found, _ = look(trader)
    assert found["key"].level == found["sub-account"].level == "yellow"


def test_key_that_is_not_valid_is_an_error_of_its_own(trader, market):
    market.desk.key = "another"
    with pytest.raises(SecretError, match="10003"):
        preflight(trader)


@pytest.mark.parametrize(
    ("path", "change", "name"),
    [
        ("/v5/account/info", {"unifiedMarginStatus": 1}, "account"),
        ("/v5/account/info", {"marginMode": "ISOLATED_MARGIN"}, "margin mode"),
    ],
)
def test_account_that_is_set_up_otherwise_is_red(trader, desk, path, change, name):
    answer(desk, path, **change)
    assert look(trader)[0][name].level == "red"


def test_margin_mode_is_the_one_that_is_expected(trader, desk):
    answer(desk, "/v5/account/info", marginMode="ISOLATED_MARGIN")
    assert look(trader, margin_mode=MarginMode.ISOLATED)[0]["margin mode"].level == "green"


def test_hedge_mode_and_another_leverage_are_red(trader, desk):
    row = desk.answers["/v5/position/list"]({"symbol": ""})["list"][0]
    both = [row | {"positionIdx": k, "leverage": "5"} for k in (1, 2)]
    desk.answers["/v5/position/list"] = {"list": both}
    found, _ = look(trader)
    assert found["BTCUSDT mode"].level == found["BTCUSDT leverage"].level == "red"
    assert "expected 10x" in found["BTCUSDT leverage"].seen


def test_position_that_the_exchange_only_lets_shrink_is_red(trader, desk):
    row = desk.answers["/v5/position/list"]({"symbol": ""})["list"][0]
    desk.answers["/v5/position/list"] = {"list": [row | {"isReduceOnly": True}]}
    assert any("only be reduced" in own.seen for own in preflight(trader, ["BTCUSDT"]))


@pytest.mark.parametrize(
    ("change", "level", "seen"),
    [
        ({"status": "Closed"}, "red", "Closed"),
        ({"deliveryTime": str(millis(NOW + timedelta(days=2)))}, "red", "delisted on 2024-03-03"),
        ({"deliveryTime": str(millis(NOW + timedelta(days=9)))}, "yellow", "delisted"),
    ],
)
def test_symbol_that_will_not_be_traded_is_found(trader, desk, market, change, level, seen):
    market.instruments = [
        row | change if row["symbol"] == "BTCUSDT" else row for row in market.instruments
    ]
    found = next(own for own in look(trader)[0].values() if own.name == "BTCUSDT")
    assert (found.level, seen in found.seen) == (level, True)


def test_symbol_that_does_not_exist_names_the_nearest(trader, desk):
    (found,) = [own for own in preflight(trader, ["BTCUSD"]) if own.name == "BTCUSD"]
    assert (found.level, "BTCUSDT" in found.fix) == ("red", True)


def test_without_symbols_what_is_held_is_looked_at(trader, desk):
    assert "symbols" in {own.name for own in preflight(trader)}
    row = desk.answers["/v5/position/list"]({"symbol": ""})["list"][0]
    desk.answers["/v5/position/list"] = {"list": [row | {"symbol": "ETHUSDT", "size": "1"}]}
    assert "ETHUSDT leverage" in {own.name for own in preflight(trader)}


def test_maintenance_that_is_to_come_is_yellow(trader, desk, documents):
    row = documents("system-status.0")["list"][0]
    soon = {"begin": str(millis(NOW)), "end": str(millis(NOW + timedelta(hours=1)))}
    desk.answers["/v5/system/status"] = {"list": [row, row | soon | {"state": "scheduled"}]}
    found, _ = look(trader)
    assert found["maintenance"].level == "yellow"


def test_clock_that_is_off_is_yellow_and_made_up_for(endpoint, login, desk):
    ahead = SimulatedClock(NOW + timedelta(seconds=20))
    client = BybitClient(endpoint, login=login, clock=ahead)
    assert look(client)[1] == {"green"}  # a simulator keeps the time of its market
    client.venue = replace(client.venue, name="testnet")
    found, levels = look(client)
    assert (found["clock"].level, "-20.000" in found["clock"].seen) == ("yellow", True)
    assert "red" not in levels


def test_way_that_is_too_slow_is_red(trader, desk, clock):
    def ask():
        clock.sleep(3)
        return clock.now() - timedelta(seconds=1.5)

    trader.time = ServerClock(clock, ask)
    assert preflight(trader)[0].level == "red"


def test_demo_does_not_tell_what_a_key_may_do(clock, login, monkeypatch):
    client = BybitClient("https://api-demo.bybit.com", login=login, clock=clock)
    monkeypatch.setattr(client.time, "ask", clock.now)
    monkeypatch.setattr(client, "account_info", lambda: pytest.fail("reached"))
    with pytest.raises(pytest.fail.Exception, match="reached"):
        preflight(client)
