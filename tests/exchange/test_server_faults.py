"""What goes wrong on purpose goes wrong as told, and the books of the exchange stay whole."""

import json
from decimal import Decimal

import pytest

from tests.exchange.desk import Desk, heard, make_exchange
from workbench.core.errors import ConfigError
from workbench.exchange.server import LimitRules, ServerSettings, list_scenarios, load_scenario
from workbench.exchange.server.acts import play, strike
from workbench.exchange.server.faults import KINDS, Fault, Faults, read_fault

BTC = {"category": "linear", "symbol": "BTCUSDT"}


@pytest.fixture
def desk():
    return Desk(make_exchange(settings=ServerSettings(0, 0, 5, LimitRules(1000))))


def order(desk, **more):
    body = {**BTC, "side": "Buy", "orderType": "Limit", "qty": "0.01", "price": desk.price("0.99")}
    return desk.send("POST", "/v5/order/create", body=json.dumps(body | more))


def is_there(desk, link):
    return bool(desk.get("/v5/order/realtime", **BTC, orderLinkId=link)["result"]["list"])


@pytest.mark.parametrize(
    ("fault", "accepted", "cut", "code"),
    [
        ({"kind": "cut"}, True, True, None),
        ({"kind": "lose"}, False, True, None),
        ({"kind": "obscure", "code": 10000}, True, False, 10000),
        ({"kind": "refuse", "code": 10006}, False, False, 10006),
        ({"kind": "delay", "seconds": 3.0}, True, False, 0),
    ],
)
def test_fault_of_a_request_happens_once_and_only_there(desk, fault, accepted, cut, code):
    strike(desk.exchange, Fault(where="order.create", **fault))
    assert desk.get("/v5/account/info")["retCode"] == 0
    reply = order(desk, orderLinkId="first")
    assert reply.is_cut == cut
    if code is not None:
        assert json.loads(reply.body)["retCode"] == code
    assert reply.delay_ms == (3000 if fault["kind"] == "delay" else 0)
    assert is_there(desk, "first") == accepted
    assert json.loads(order(desk, orderLinkId="second").body)["retCode"] == 0
    assert desk.exchange.faults.active == []


def test_fault_of_a_request_is_that_of_the_trade_socket_too(desk):
    socket, _ = desk.login("/v5/trade")
    body = {**BTC, "side": "Buy", "orderType": "Limit", "qty": "0.01", "price": desk.price("0.99")}
    for kind in ("refuse", "obscure"):
        strike(desk.exchange, Fault(kind, "order.create", code=10016))
        desk.trade(socket, "order.create", req_id=kind, **body, orderLinkId=kind)
        assert heard(socket)[0]["retCode"] == 10016
        assert is_there(desk, kind) == (kind == "obscure")
    strike(desk.exchange, Fault("cut", "order.create"))
    desk.trade(socket, "order.create", req_id="cut", **body, orderLinkId="cut")
    assert (heard(socket), socket.close_code, is_there(desk, "cut")) == ([], 0, True)


def test_status_is_answered_until_its_time_is_over(desk):
    strike(desk.exchange, Fault("status", code=503, seconds=2.0))
    assert desk.send("GET", "/v5/market/time").status == 503
    desk.wait(1.9)
    assert desk.send("GET", "/v5/market/time").status == 503
    desk.wait(0.2)
    assert desk.send("GET", "/v5/market/time").status == 200


def test_frames_are_doubled_lost_late_or_out_of_order_as_told(desk):
    socket = desk.listen("order", path="/v5/private")
    heard(socket)

    def links():
        return [frame["data"][0]["orderLinkId"] for frame in heard(socket)]

    for kind, seen in (("duplicate", ["a", "a"]), ("drop", []), ("late", [])):
        strike(desk.exchange, Fault(kind, "order", seconds=1.0))
        desk.order(orderLinkId=f"{kind}-a")
        assert [link[-1] for link in links()] == seen
    desk.wait(1.1)
    assert links() == ["late-a"]
    strike(desk.exchange, Fault("reorder", "order"))
    desk.order(orderLinkId="one")
    desk.order(orderLinkId="two")
    assert links() == ["two", "one"]
    strike(desk.exchange, Fault("reorder", "order"))
    desk.order(orderLinkId="alone")
    assert links() == []
    desk.wait(1.1)
    assert links() == ["alone"]


def test_stale_topic_is_silent_while_the_connection_lives(desk):
    socket = desk.listen("orderbook.50.BTCUSDT", "tickers.BTCUSDT")
    heard(socket)
    strike(desk.exchange, Fault("stale", "orderbook", seconds=30.0))
    desk.move(60)
    assert {frame["topic"] for frame in heard(socket)} == {"tickers.BTCUSDT"}
    desk.wait(31)
    desk.move(60)
    assert "orderbook.50.BTCUSDT" in {frame["topic"] for frame in heard(socket)}


def test_restart_cuts_everybody_forgets_closed_orders_and_begins_books_at_one(desk):
    desk.order(orderLinkId="kept")
    desk.order(orderLinkId="closed")
    desk.post("/v5/order/cancel", **BTC, orderLinkId="closed")
    socket = desk.listen("orderbook.50.BTCUSDT")
    desk.move(1)
    strike(desk.exchange, Fault("restart", seconds=3.0))
    assert socket.close_code == 0
    assert desk.send("GET", "/v5/market/time").is_cut
    assert desk.open() == 0
    desk.wait(3.1)
    rows = desk.get("/v5/order/realtime", **BTC)["result"]["list"]
    assert [row["orderLinkId"] for row in rows] == ["kept"]
    assert desk.get("/v5/order/realtime", **BTC, openOnly=1)["result"]["list"] == []
    history = desk.get("/v5/order/history", **BTC)["result"]["list"]
    assert "closed" in {row["orderLinkId"] for row in history}
    snapshot = heard(desk.listen("orderbook.50.BTCUSDT"))[1]
    assert (snapshot["type"], snapshot["data"]["u"]) == ("snapshot", 1)


def test_skewed_clock_refuses_stamps_until_it_is_measured_again(desk):
    before = str(desk.exchange.now_ms)
    strike(desk.exchange, Fault("skew", amount="8000"))
    stale = desk.send("GET", "/v5/account/info", stamp=before)
    assert json.loads(stale.body)["retCode"] == 10002
    now = json.loads(desk.send("GET", "/v5/market/time", signed=False).body)["time"]
    assert json.loads(desk.send("GET", "/v5/account/info", stamp=now).body)["retCode"] == 0


def test_ban_is_403_for_its_time(desk):
    strike(desk.exchange, Fault("ban", seconds=600.0))
    assert desk.send("GET", "/v5/market/time").status == 403
    assert desk.open() == 403
    desk.wait(601)
    assert desk.send("GET", "/v5/market/time").status == 200


def test_resting_order_is_filled_in_part_and_cancelled_once_there_is_one(desk):
    strike(desk.exchange, Fault("partial"))
    desk.wait(0.5)
    desk.order(orderLinkId="half")
    desk.wait(0.2)
    row = desk.get("/v5/order/history", **BTC, orderLinkId="half")["result"]["list"][0]
    assert (row["orderStatus"], Decimal(row["cumExecQty"])) == ("Cancelled", Decimal("0.005"))
    position = desk.get("/v5/position/list", **BTC)["result"]["list"][0]
    assert Decimal(position["size"]) == Decimal("0.005")


def test_position_is_deleveraged_and_the_execution_says_so(desk):
    desk.order(orderType="Market", qty="0.04")
    strike(desk.exchange, Fault("adl"))
    row = desk.get("/v5/execution/list", **BTC, execType="AdlTrade")["result"]["list"][0]
    assert Decimal(row["execQty"]) == Decimal("0.02")
    position = desk.get("/v5/position/list", **BTC)["result"]["list"][0]
    assert Decimal(position["size"]) == Decimal("0.02")


def test_rules_of_an_instrument_change_for_rest_and_for_orders(desk):
    play(desk.exchange, "rules")
    row = desk.get("/v5/market/instruments-info", **BTC)["result"]["list"][0]
    assert row["lotSizeFilter"]["minOrderQty"] == "0.01"
    assert desk.order(qty="0.009")["retCode"] == 10001


@pytest.mark.parametrize("name", list_scenarios())
def test_scenario_plays_to_its_end_and_the_exchange_goes_on(name, desk):
    private = desk.listen("order", "execution", "position", path="/v5/private")
    public = desk.listen("orderbook.50.BTCUSDT", "tickers.BTCUSDT")
    play(desk.exchange, name)
    for k in range(8):
        order(desk, orderType="Market", orderLinkId=f"m{k}")
        order(desk, orderLinkId=f"l{k}", qty="0.02")
        desk.step(1)
        heard(private), heard(public)
    desk.wait(700)
    desk.exchange.control("clear", {}, desk.wall_ms)
    assert desk.get("/v5/account/info")["retCode"] == 0
    fills = desk.get("/v5/execution/list", **BTC, limit=100)["result"]["list"]
    held = sum(Decimal(f["execQty"]) * (1 if f["side"] == "Buy" else -1) for f in fills)
    position = desk.get("/v5/position/list", **BTC)["result"]["list"][0]
    assert Decimal(position["size"]) == abs(held)
    assert len({f["execId"] for f in fills}) == len(fills)
    assert load_scenario(name).expect


def test_every_kind_of_fault_is_played_by_a_scenario_or_tested_here():
    played = {fault.kind for name in list_scenarios() for fault in load_scenario(name).faults}
    assert KINDS.keys() - played == {"late"}


@pytest.mark.parametrize(
    "table",
    [{}, {"kind": "flood"}, {"kind": "cut", "wher": "order"}, {"kind": "cut", "times": -1},
     {"kind": "cut", "share": 0}, {"kind": "cut", "seconds": "2"}, {"kind": "cut", "times": True}],
)  # fmt: skip
def test_fault_that_is_not_understood_is_refused(table):
    with pytest.raises(ConfigError):
        read_fault(table)


def test_scenario_that_is_not_there_or_not_toml_is_refused(tmp_path):
    for text in ("x = ", "title = 'nothing happens'"):
        (tmp_path / "own.toml").write_text(text)
        with pytest.raises(ConfigError):
            load_scenario(str(tmp_path / "own.toml"))
    with pytest.raises(ConfigError, match="unknown_create"):
        load_scenario("no_such")


def test_chances_are_those_of_the_seed():
    def hits(seed):
        faults = Faults(seed)
        faults.add(Fault("drop", times=0, share=0.5))
        return [faults.hit({"drop": ""}, "order", "") is not None for _ in range(64)]

    assert hits(1) == hits(1) != hits(2)
    assert 16 < sum(hits(1)) < 48
