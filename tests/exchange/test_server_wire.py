"""The exchange on its port: malformed requests, cut connections, control, and the live market."""

import asyncio
import json
import socket
from contextlib import closing, suppress
from decimal import Decimal
from functools import partial
from http.client import HTTPConnection

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.exchange.desk import KEY, MARKET, Desk, heard, make_exchange, sign
from workbench.exchange.server import (
    Exchange,
    LimitRules,
    ServerSettings,
    machine_ms,
    serving,
)
from workbench.exchange.server.exchange import ENDPOINTS
from workbench.exchange.server.live import follow
from workbench.exchange.server.roster import Account, add_accounts
from workbench.exchange.simulator import Simulator
from workbench.exchange.streams import PublicStream

RAISED = LimitRules(10**6, 10**9, 10**9, frames_waiting=10**6)
BTC = {"category": "linear", "symbol": "BTCUSDT"}
QUIET = settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def desk():
    """An exchange on a port, thirty times as fast as time, without limits."""
    rules = ServerSettings(ack_ms=0, speed=30, seed=5, limits=RAISED)
    desk = Desk(make_exchange(settings=rules, wall_ms=machine_ms()))
    with serving(desk.exchange, token="steer") as place:
        desk.place = place
        yield desk


@pytest.fixture(scope="module")
def bare():
    """The same exchange without a port, for what is thrown at it by the thousand."""
    return Desk(make_exchange(settings=ServerSettings(0, 0, 5, RAISED)))


NASTY = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**20), 10**20), st.floats(), st.text(max_size=8),
    st.sampled_from(
        ["", "NaN", "Infinity", "-0", "1e-9", "1e999", "0x10", "\u0661", "9" * 40, "-1",
         "0.0000000001"]
    ),
    st.lists(st.none(), max_size=2), st.dictionaries(st.text(max_size=3), st.none(), max_size=2),
)  # fmt: skip
NAMES = (
    "category", "symbol", "side", "orderType", "qty", "price", "timeInForce", "orderId",
    "orderLinkId", "triggerPrice", "triggerDirection", "triggerBy", "takeProfit", "stopLoss",
    "tpslMode", "tpLimitPrice", "tpOrderType", "positionIdx", "reduceOnly", "closeOnTrigger",
    "mode",
    "buyLeverage", "sellLeverage", "margin", "autoAddMargin", "setMarginMode", "trailingStop",
    "activePrice", "request", "limit", "cursor", "startTime", "endTime", "start", "end", "interval",
    "intervalTime", "openOnly", "settleCoin", "baseCoin", "accountType", "coin", "smpType",
    "utaDemoApplyMoney", "slSize", "tpSize",
)  # fmt: skip
SOUND = st.fixed_dictionaries(
    {"category": st.just("linear"), "symbol": st.just("BTCUSDT")},
    optional={
        "side": st.sampled_from(["Buy", "Sell"]), "orderType": st.sampled_from(["Limit", "Market"]),
        "qty": st.sampled_from(["0.01", "0", "0.001"]), "price": st.sampled_from(["40000", "1"]),
        "timeInForce": st.sampled_from(["GTC", "IOC", "FOK", "PostOnly"]),
        "request": st.lists(st.dictionaries(st.sampled_from(NAMES), NASTY, max_size=4), max_size=3),
        "interval": st.just("1"), "accountType": st.just("UNIFIED"), "settleCoin": st.just("USDT"),
    },
)  # fmt: skip
BODIES = st.builds(
    lambda sound, nasty: {**sound, **nasty},
    SOUND,
    st.dictionaries(st.sampled_from(NAMES), NASTY, max_size=4),
)


def envelope(reply):
    """The parsed reply, which is never an error of the server and always an envelope."""
    body = json.loads(reply.body)
    assert reply.status in (200, 401, 403, 404)
    assert body.keys() == {"retCode", "retMsg", "result", "retExtInfo", "time"}
    assert isinstance(body["retCode"], int)
    return body


@given(place=st.sampled_from(sorted(ENDPOINTS)), body=BODIES)
@QUIET
def test_signed_request_with_any_parameters_gets_an_envelope(bare, place, body):
    method, path = place
    if method == "POST":
        envelope(bare.send("POST", path, body=json.dumps(body)))
    else:
        query = "&".join(f"{name}={value}" for name, value in body.items())
        envelope(bare.send("GET", path, query=query.encode("utf-8", "replace").decode("latin-1")))


@given(
    place=st.sampled_from(sorted(ENDPOINTS)), body=st.text(max_size=60), query=st.text(max_size=40)
)
@QUIET
def test_request_of_any_text_gets_an_envelope(bare, place, body, query):
    method, path = place
    envelope(bare.send(method, path, body=body, query=query))


FRAMES = st.one_of(
    st.text(max_size=60),
    st.builds(
        orjson.dumps,
        st.fixed_dictionaries(
            {},
            optional={
                "op": st.one_of(NASTY_JSON := st.one_of(
                    st.none(), st.integers(-(2**53), 2**53), st.text(max_size=6),
                    st.lists(st.integers(0, 3), max_size=2), st.just({}),
                ), st.sampled_from(["ping", "auth", "subscribe", "unsubscribe", "order.create",
                                    "order.cancel-batch"])),
                "args": st.one_of(NASTY_JSON, st.lists(NASTY_JSON, max_size=3), st.just([BTC])),
                "req_id": NASTY_JSON, "reqId": NASTY_JSON,
                "header": st.one_of(NASTY_JSON, st.just({"X-BAPI-TIMESTAMP": "now"})),
            },
        ),
    ).map(bytes.decode),
)  # fmt: skip


@given(path=st.sampled_from(["/v5/public/linear", "/v5/private", "/v5/trade"]), text=FRAMES,
       is_known=st.booleans())  # fmt: skip
@QUIET
def test_any_frame_gets_one_answer_that_is_json(bare, path, text, is_known):
    socket = bare.login(path)[0] if is_known and path != "/v5/public/linear" else bare.open(path)
    bare.exchange.hear(socket, text, bare.wall_ms)
    frames = heard(socket)
    assert frames
    assert all("topic" in frame for frame in frames[1:])
    bare.exchange.close_socket(socket, bare.wall_ms)


@given(
    lines=st.lists(st.binary(max_size=40), max_size=6),
    method=st.sampled_from([b"GET", b"POST", b"PUT", b"", b"G\x00T"]),
    path=st.sampled_from(
        [b"/v5/market/time", b"/v5/order/create", b"/%zz", b"", b"/" + b"a" * 9000, b"/control/x"]
    ),
)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_raw_bytes_never_hang_the_port_or_break_it(desk, lines, method, path):  # fmt: skip
    host, port = desk.place.split(":")
    answer = b""
    head = method + b" " + path + b" HTTP/1.1\r\nHost: x\r\n" + b"\r\n".join(lines)
    # It may hang up before it has heard everything; it may not wait for more (a timeout fails).
    with (
        closing(socket.create_connection((host, int(port)), timeout=5)) as wire,
        suppress(BrokenPipeError, ConnectionResetError),
    ):
        wire.sendall(head + b"\r\nConnection: close\r\n\r\n")
        while chunk := wire.recv(4096):
            answer += chunk
    assert not answer.startswith(b"HTTP/1.1 5")
    assert ask(desk, "GET", "/v5/market/time")[0] == 200


def ask(desk, method, path, body=None, **headers):
    """Status and body of a plain request over the port."""
    with closing(HTTPConnection(desk.place, timeout=10)) as wire:
        wire.request(method, path, body, headers)
        reply = wire.getresponse()
        return reply.status, reply.read()


def signed(body):
    stamp = str(machine_ms())
    return {"X-BAPI-API-KEY": KEY.key, "X-BAPI-TIMESTAMP": stamp, "X-BAPI-RECV-WINDOW": "5000",
            "X-BAPI-SIGN": sign(KEY.secret, f"{stamp}{KEY.key}5000{body}")}  # fmt: skip


def steer(desk, method, path, body=None, token="steer"):
    status, text = ask(desk, method, path, body, **{
        "X-Control-Token": token, "Content-Type": "application/json"})  # fmt: skip
    return status, json.loads(text)


def test_control_needs_the_token_and_refuses_what_it_does_not_understand(desk):
    assert steer(desk, "GET", "/control/state", token="guess")[0] == 403
    status, state = steer(desk, "GET", "/control/state")
    assert (status, state["symbols"]) == (200, ["BTCUSDT", "ETHUSDT"])
    status, answer = steer(desk, "POST", "/control/faults", '{"kind": "flood"}')
    assert status == 422
    assert "cut" in answer["fix"]
    assert steer(desk, "POST", "/control/scenarios/no_such")[0] == 422
    assert steer(desk, "POST", "/control/step", '{"ms": 5}')[0] == 422
    assert steer(desk, "POST", "/control/deposits", '{"uid": "1001", "amount": "5"}')[0] == 200
    assert steer(desk, "POST", "/control/deposits", '{"uid": "9", "amount": "5"}')[0] == 422
    assert steer(desk, "DELETE", "/control/faults") == (200, {"faults": []})


def test_stepped_market_moves_by_the_control_alone():
    desk = Desk(make_exchange(wall_ms=machine_ms()))
    with serving(desk.exchange, token="steer") as desk.place:
        before = steer(desk, "GET", "/control/state")[1]["now_ms"]
        assert steer(desk, "GET", "/control/state")[1]["now_ms"] == before
        assert steer(desk, "POST", "/control/step", '{"ms": 60000}')[1]["now_ms"] == before + 60_000
        assert steer(desk, "POST", "/control/step", f'{{"to_ms": {before}}}')[0] == 422


def test_cut_reply_breaks_the_connection_after_the_order_was_taken(desk):
    steer(desk, "POST", "/control/faults", '{"kind": "cut", "where": "order.create"}')
    body = json.dumps({**BTC, "side": "Buy", "orderType": "Limit", "qty": "0.01", "price": "39000",
                       "orderLinkId": "cut-here"})  # fmt: skip
    with pytest.raises(ConnectionError):
        ask(desk, "POST", "/v5/order/create", body, **signed(body))
    query = "category=linear&orderLinkId=cut-here"
    _, text = ask(desk, "GET", f"/v5/order/realtime?{query}", **signed(query))
    assert json.loads(text)["result"]["list"][0]["orderLinkId"] == "cut-here"


def test_restart_refuses_connections_and_comes_back(desk):
    steer(desk, "POST", "/control/faults", '{"kind": "restart", "seconds": 0.3}')
    with pytest.raises(ConnectionError):
        ask(desk, "GET", "/v5/market/time")

    def is_back():
        try:
            return ask(desk, "GET", "/v5/market/time")[0] == 200
        except ConnectionError:
            return False

    assert any(is_back() for _ in range(10_000))


def test_unknown_socket_path_is_404_on_the_wire(desk):
    head = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}  # fmt: skip
    assert ask(desk, "GET", "/v5/public/spot", **head)[0] == 404


def test_live_market_is_followed_into_a_second_exchange(desk):
    """Paper trading on the real market: our own server stands for the exchange."""
    instruments = [MARKET.instruments[name] for name in ("BTCUSDT",)]
    simulator = Simulator(instruments, seed=1, start_ms=machine_ms())
    keys = add_accounts(simulator, [Account("1001", (KEY,), Decimal(10_000))])
    paper = Desk(Exchange(simulator, keys, wall_ms=machine_ms(), settings=ServerSettings(0, 1.0)))

    async def watch(place):
        async with PublicStream(f"ws://{place}") as stream:
            stream.subscribe("orderbook.50.BTCUSDT", "tickers.BTCUSDT", "publicTrade.BTCUSDT")
            await stream.until_ready(10)
            seen = set()
            async for event in stream.events:
                seen.add(event.topic)
                if len(seen) == 3:
                    return

    source = partial(follow, f"ws://{desk.place}", ["BTCUSDT"])
    with serving(paper.exchange, token="steer", follow=source) as paper.place:
        asyncio.run(asyncio.wait_for(watch(paper.place), 20))
        body = json.dumps({**BTC, "side": "Buy", "orderType": "Market", "qty": "0.001"})
        _, text = ask(paper, "POST", "/v5/order/create", body, **signed(body))
        assert json.loads(text)["retCode"] == 0
        _, text = ask(paper, "GET", "/v5/execution/list?category=linear",
                      **signed("category=linear"))  # fmt: skip
        fill = json.loads(text)["result"]["list"][0]
    assert Decimal("39000") < Decimal(fill["execPrice"]) < Decimal("41500")
