"""What is said on the four sockets, and in which rhythm (TE-08)."""

import itertools
import json

import pytest

from tests.exchange.desk import KEY, OTHER, Desk, heard, make_exchange, sign
from workbench.exchange.server import LimitRules, ServerSettings
from workbench.exchange.streams import OrderBook

BTC = {"category": "linear", "symbol": "BTCUSDT"}


@pytest.fixture
def desk():
    return Desk(make_exchange(settings=ServerSettings(0, 0, 5, LimitRules(1000))))


def test_ping_is_answered_in_the_form_of_each_socket(desk):
    now = str(desk.exchange.now_ms)
    frames = {}
    for path in ("/v5/public/linear", "/v5/private", "/v5/trade"):
        socket = desk.open(path)
        desk.say(socket, op="ping", req_id="8")
        frames[path] = heard(socket)[0]
    public, private, trade = frames.values()
    assert (public["success"], public["ret_msg"], public["op"]) == (True, "pong", "ping")
    assert (private["op"], private["args"]) == ("pong", [now])
    assert (trade["op"], trade["data"], trade["retCode"]) == ("pong", [now], 0)


def test_acknowledgements_have_the_documented_fields(desk, shared_data):
    docs = shared_data.parent / "bybit" / "bybit_docs"

    def example(name):
        return json.loads((docs / f"websocket__{name}.json").read_text())

    public, trade = desk.open(), desk.login("/v5/trade")
    private, login = desk.login()
    desk.say(public, op="subscribe", req_id="10001", args=["tickers.BTCUSDT"])
    assert heard(public)[0].keys() == example("wss-authentication.10").keys()
    desk.say(public, op="ping", req_id="")
    assert heard(public)[-1].keys() == example("wss-authentication.3").keys()
    assert login.keys() == example("wss-authentication.1").keys()
    desk.say(private, op="subscribe", args=["order"])
    assert heard(private)[0].keys() == example("wss-authentication.9").keys()
    desk.say(private, op="ping", req_id="test")
    assert heard(private)[0].keys() == example("wss-authentication.5").keys()
    assert trade[1].keys() == example("trade__guideline.1").keys()
    desk.say(trade[0], op="ping")
    assert heard(trade[0])[0].keys() == example("trade__guideline.7").keys()
    desk.trade(trade[0], "order.create", **BTC, side="Buy", orderType="Limit", qty="0.01",
               price=desk.price("0.99"))  # fmt: skip
    reply, documented = heard(trade[0])[0], example("trade__guideline.3")
    assert reply.keys() == documented.keys()
    assert reply["header"].keys() == documented["header"].keys()
    row = {"symbol": "BTCUSDT", "side": "Buy", "orderType": "Market", "qty": "0.01"}
    desk.trade(trade[0], "order.create-batch", req_id="r2", category="linear",
               request=[{**row, "positionIdx": 1}])  # fmt: skip
    reply, documented = heard(trade[0])[0], example("trade__guideline.5")
    assert reply.keys() - {"reqId"} == documented.keys()
    assert reply["data"]["list"][0].keys() == documented["data"]["list"][0].keys()
    assert reply["retExtInfo"]["list"][0] == documented["retExtInfo"]["list"][0]


@pytest.mark.parametrize(
    ("topics", "why"),
    [(["orderbook.3.BTCUSDT"], "handler not found"), (["tickers.NOUSDT"], "handler not found"),
     (["kline.7.BTCUSDT"], "handler not found"), (["liquidation.BTCUSDT"], "handler not found"),
     (["tickers.BTCUSDT", "nonsense"], "nonsense"), ([], "Params"), ("tickers.BTCUSDT", "Params"),
     ([1], "Params")],
)  # fmt: skip
def test_subscription_to_what_there_is_not_is_refused_whole(desk, topics, why):
    socket = desk.open()
    desk.say(socket, op="subscribe", req_id="q", args=topics)
    (frame,) = heard(socket)
    assert frame["success"] is False
    assert why in frame["ret_msg"]
    assert frame["req_id"] == "q"
    assert socket.topics == set()


def test_private_topics_need_a_login_and_are_not_mixed(desk):
    socket = desk.open("/v5/private")
    desk.say(socket, op="subscribe", args=["order"])
    assert heard(socket)[0]["success"] is False
    socket, _ = desk.login()
    desk.say(socket, op="subscribe", args=["order", "order.linear"])
    assert "mixed" in heard(socket)[0]["ret_msg"]
    desk.say(socket, op="subscribe", args=["order.linear", "wallet"])
    assert heard(socket)[0]["success"] is True
    desk.order(orderType="Market")
    assert {frame["topic"] for frame in heard(socket)} == {"order.linear", "wallet"}


def test_account_is_told_its_own_events_and_nobody_elses(desk):
    mine = desk.listen("order", "execution", "position", "wallet", path="/v5/private")
    theirs = Desk(desk.exchange, OTHER).listen("order", "execution", path="/v5/private")
    heard(mine), heard(theirs)
    assert desk.order(orderType="Market")["retCode"] == 0
    assert [frame["topic"] for frame in heard(mine)] == ["execution", "order", "position", "wallet"]
    assert heard(theirs) == []


def test_wallet_is_not_pushed_on_subscription_nor_for_the_price(desk):
    desk.order(orderType="Market")
    socket = desk.listen("wallet", path="/v5/private")
    assert [frame.get("topic") for frame in heard(socket)] == [None]
    desk.move(120)
    assert heard(socket) == []


def test_fast_fill_of_a_maker_has_no_link(desk):
    socket = desk.listen("execution.fast", path="/v5/private")
    desk.order(orderType="Market", orderLinkId="taker")
    desk.order(price=desk.price("0.9999"), orderLinkId="maker", qty="0.001")
    rows = []
    for _ in range(60):
        desk.move(60)
        rows += [row for frame in heard(socket) for row in frame.get("data", [])]
        if any(row["isMaker"] for row in rows):
            break
    assert {row["orderLinkId"] for row in rows if not row["isMaker"]} == {"taker"}
    assert {row["orderLinkId"] for row in rows if row["isMaker"]} == {""}


@pytest.mark.parametrize("depth", [50, 200])
def test_deltas_of_a_book_rebuild_what_rest_shows(desk, depth):
    topic = f"orderbook.{depth}.BTCUSDT"
    socket = desk.listen(topic)
    desk.order(price=desk.price("0.9999"), qty="0.5")
    desk.move(600)
    heard_frames = [frame for frame in heard(socket) if frame.get("topic") == topic]
    assert [frame["type"] for frame in heard_frames[:2]] == ["snapshot", "delta"]
    updates = [frame["data"]["u"] for frame in heard_frames]
    assert updates == list(range(updates[0], updates[0] + len(updates)))
    book = OrderBook("BTCUSDT")
    for frame in heard_frames:
        book.apply(frame)
    shown = book.snapshot(depth)
    truth = desk.exchange.simulator.book("BTCUSDT", depth)
    assert (shown.bids, shown.asks) == (truth.bids, truth.asks)


def test_late_listener_joins_the_sequence_of_the_book(desk):
    first = desk.listen("orderbook.50.BTCUSDT")
    desk.move(30)
    second = desk.listen("orderbook.50.BTCUSDT")
    before = [frame for frame in heard(first) if "topic" in frame][-1]
    snapshot = next(frame for frame in heard(second) if "topic" in frame)
    assert (snapshot["type"], snapshot["data"]["u"]) == ("snapshot", before["data"]["u"])
    desk.move(30)
    assert [f["data"] for f in heard(first)] == [f["data"] for f in heard(second)]


def test_first_level_is_sent_whole_and_again_after_three_seconds(desk):
    socket = desk.listen("orderbook.1.BTCUSDT")
    desk.move(60)
    frames = [frame for frame in heard(socket) if "topic" in frame]
    assert {frame["type"] for frame in frames} == {"snapshot"}
    gaps = [b["ts"] - a["ts"] for a, b in itertools.pairwise(frames)]
    assert max(gaps) <= 3_000 + 100


def test_ticker_is_a_snapshot_and_then_what_changed(desk):
    socket = desk.listen("tickers.BTCUSDT")
    desk.move(120)
    frames = [frame for frame in heard(socket) if "topic" in frame]
    assert [frame["type"] for frame in frames[:2]] == ["snapshot", "delta"]
    state = dict(frames[0]["data"])
    for frame in frames[1:]:
        assert all(frame["data"][k] != state[k] for k in frame["data"].keys() - {"symbol"})
        state |= frame["data"]
    row = desk.get("/v5/market/tickers", **BTC)["result"]["list"][0]
    assert {k: state[k] for k in state.keys() & row.keys()} == {
        k: row[k] for k in state.keys() & row.keys()
    }
    assert min(b["ts"] - a["ts"] for a, b in itertools.pairwise(frames)) >= 100


def test_candle_is_confirmed_once_and_equals_rest(desk):
    socket = desk.listen("kline.1.BTCUSDT")
    desk.move(185)
    rows = [row for frame in heard(socket) if "topic" in frame for row in frame["data"]]
    whole = [row for row in rows if row["confirm"]]
    assert [row["start"] for row in whole] == sorted({row["start"] for row in whole})
    assert len(whole) == 3
    rest = desk.get("/v5/market/kline", **BTC, interval="1", limit=10)["result"]["list"]
    candles = {int(row[0]): row[1:6] for row in rest}
    for row in whole:
        shown = [row[name] for name in ("open", "high", "low", "close", "volume")]
        assert shown == candles[row["start"]]


def test_trades_are_pushed_in_order_and_stand_on_the_tape(desk):
    socket = desk.listen("publicTrade.BTCUSDT")
    desk.move(120)
    rows = [row for frame in heard(socket) if "topic" in frame for row in frame["data"]]
    assert rows == sorted(rows, key=lambda row: (row["T"], row["seq"]))
    tape = desk.get("/v5/market/recent-trade", **BTC, limit=len(rows))["result"]["list"]
    assert [row["i"] for row in rows] == [row["execId"] for row in reversed(tape)]


def test_unsubscribed_topic_is_silent(desk):
    socket = desk.listen("tickers.BTCUSDT")
    desk.say(socket, op="unsubscribe", req_id="1", args=["tickers.BTCUSDT"])
    heard(socket)
    desk.move(60)
    assert heard(socket) == []
    assert desk.exchange.delivery.feeds.topics == {}


def test_trade_socket_carries_out_orders_and_refuses_in_its_own_codes(desk):
    socket = desk.open("/v5/trade")
    desk.trade(socket, "order.create", **BTC)
    assert heard(socket)[0]["retCode"] == 20001
    socket, _ = desk.login("/v5/trade")
    order = {**BTC, "side": "Buy", "orderType": "Limit", "qty": "0.01", "price": desk.price("0.99")}
    desk.trade(socket, "order.create", req_id="a", **order)
    placed = heard(socket)[0]
    assert (placed["reqId"], placed["retCode"]) == ("a", 0)
    assert placed["header"]["X-Bapi-Limit-Status"] == str(10 * 1000 - 1)
    desk.trade(socket, "order.create", req_id="a", **order)
    assert heard(socket)[0]["retCode"] == 20006
    desk.trade(socket, "order.replace", req_id="b", **order)
    assert heard(socket)[0]["retCode"] == 10404
    name = placed["data"]["orderId"]
    desk.trade(socket, "order.cancel", req_id="c", **BTC, orderId=name)
    desk.trade(socket, "order.cancel", req_id="d", **BTC, orderId=name)
    assert [frame["retCode"] for frame in heard(socket)] == [0, 110010]
    desk.trade(socket, "order.cancel", req_id="x" * 37, **BTC, orderId=name)
    assert heard(socket)[0]["retCode"] == 10001
    desk.say(socket, reqId="e", op="order.cancel", args=[BTC], header={"X-BAPI-TIMESTAMP": 5})
    assert heard(socket)[0]["retCode"] == 10002


def test_silent_socket_is_cut_after_the_time_it_asked_for(desk):
    short, long = desk.open(query="max_active_time=30s"), desk.open()
    desk.wait(31)
    assert (short.close_code, long.close_code) == (1000, None)
    desk.say(long, op="ping")
    desk.wait(599)
    assert long.close_code is None
    desk.wait(2)
    assert long.close_code == 1000


def test_reader_that_cannot_follow_is_cut():
    rules = LimitRules(frames_waiting=10)
    desk = Desk(make_exchange(settings=ServerSettings(0, 0, 5, rules)))
    slow, fast = desk.listen("tickers.BTCUSDT"), desk.listen("tickers.BTCUSDT")
    for _ in range(20):
        desk.move(30)
        heard(fast)
    assert (slow.close_code, fast.close_code) == (0, None)
    assert len(slow.outbox) <= 11


def test_reply_and_push_wait_for_the_delay_of_an_acknowledgement():
    desk = Desk(make_exchange(settings=ServerSettings(ack_ms=5, speed=0)))
    socket = desk.open("/v5/private")
    expires = desk.exchange.now_ms + 5_000
    signature = sign(KEY.secret, f"GET/realtime{expires}")
    desk.say(socket, op="auth", args=[KEY.key, expires, signature])
    desk.say(socket, op="subscribe", args=["order"])
    assert heard(socket) == []
    desk.wait(0.005)
    assert [frame["op"] for frame in heard(socket)] == ["auth", "subscribe"]
    reply = desk.send("POST", "/v5/order/cancel-all", body=json.dumps(BTC))
    assert reply.delay_ms == 5
    desk.order()
    assert heard(socket) == []
    desk.wait(0.005)
    assert [frame["topic"] for frame in heard(socket)] == ["order"]


def test_status_socket_tells_of_maintenance(desk):
    socket = desk.open("/v5/public/misc/status")
    desk.say(socket, op="subscribe", args=["system.status"])
    desk.exchange.control("fault", {"kind": "maintenance", "seconds": 5.0}, desk.wall_ms)
    assert desk.order()["retCode"] == 10016
    assert desk.get("/v5/market/tickers", **BTC)["retCode"] == 0
    desk.wait(6)
    states = [row["state"] for f in heard(socket) if "topic" in f for row in f["data"]]
    assert states == ["ongoing", "completed"]
    assert desk.get("/v5/system/status")["result"]["list"][0]["state"] == "completed"
    assert desk.order()["retCode"] == 0


def test_socket_keeps_the_account_that_it_logged_in_for(desk):
    socket, _ = desk.login()
    desk.say(socket, op="subscribe", args=["order"])
    heard(socket)
    expires = desk.exchange.now_ms + 5_000
    for key, is_taken in ((KEY, True), (OTHER, False)):
        signature = sign(key.secret, f"GET/realtime{expires}")
        desk.say(socket, op="auth", args=[key.key, expires, signature])
        assert heard(socket)[0]["success"] is is_taken
    desk.exchange.close_socket(socket, desk.wall_ms)
    assert desk.exchange.simulator.wanted == set()


@pytest.mark.parametrize("query", ["max_active_time=\u00b2s", "max_active_time=s", "x=%zz", "&&="])
def test_query_of_a_socket_that_says_nothing_leaves_ten_minutes(desk, query):
    assert desk.open(query=query).idle_ms == 600_000
