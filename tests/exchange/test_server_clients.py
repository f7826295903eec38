"""Clients that were not written for it trade on the simulated exchange: only addresses change."""

import asyncio
import queue
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import ccxt
import ccxt.pro
import pytest
from pybit.exceptions import InvalidRequestError
from pybit.unified_trading import HTTP, WebSocket, WebSocketTrading

from tests.exchange.desk import KEY, OTHER, Desk, make_exchange
from workbench.core.vault.secret import Secret
from workbench.exchange.client import BybitClient
from workbench.exchange.requests import (
    AmendRequest,
    CancelRequest,
    OrderRequest,
    StopRequest,
)
from workbench.exchange.server import LimitRules, ServerSettings, machine_ms, serving
from workbench.exchange.words import OrderType, Side

BTC = {"category": "linear", "symbol": "BTCUSDT"}
WAIT_S = 10


@pytest.fixture(scope="module")
def desk():
    """An exchange on a port, a minute of its market in every second, its limits raised."""
    settings = ServerSettings(ack_ms=5, speed=60, seed=5, limits=LimitRules(100, 10**6, 10**6))
    desk = Desk(make_exchange(settings=settings, wall_ms=machine_ms()))
    with serving(desk.exchange, token="steer") as place:
        desk.place = place
        yield desk


class Local:
    """What BYBIT.md leaves to patch: the address of pybit's sockets."""

    def __init__(self, *args, base, **options):
        self.base = base
        # Its thread ends within a ping's patience after it is told to.
        super().__init__(*args, testnet=False, ping_timeout=0.2, **options)

    def _connect(self, url):
        if "{SUBDOMAIN}" in url:
            url = self.base + "/v5/" + url.split("/v5/", 1)[1]
        super()._connect(url)


class Stream(Local, WebSocket):
    """pybit's data sockets."""


class Trading(Local, WebSocketTrading):
    """pybit's trade socket."""


@pytest.fixture
def http(desk):
    session = HTTP(api_key=KEY.key, api_secret=KEY.secret)
    session.endpoint = f"http://{desk.place}"
    yield session
    session.client.close()


@pytest.fixture
def stream(desk):
    """Opens pybit sockets that put raw frames into a queue, and closes them."""
    opened = []

    def open_one(channel, **options):
        frames = queue.Queue()
        one = Stream(channel, base=f"ws://{desk.place}", callback_function=frames.put,
                     restart_on_error=False, **options)  # fmt: skip
        opened.append(one)
        return one, frames

    yield open_one
    for one in opened:
        one.exit()
        one.wst.join(WAIT_S)


def until(frames, wanted):
    """The next frame that is wanted."""
    while True:
        frame = frames.get(timeout=WAIT_S)
        if wanted(frame):
            return frame


def of(topic):
    return lambda frame: frame.get("topic") == topic


def test_pybit_urls_hold_what_the_patch_replaces():
    from pybit import _websocket_trading, unified_trading

    urls = [unified_trading.PUBLIC_WSS, unified_trading.PRIVATE_WSS, _websocket_trading.TRADE_WSS]
    assert all("{SUBDOMAIN}" in url and "/v5/" in url for url in urls)


def test_pybit_reads_the_market(http):
    assert int(http.get_server_time()["result"]["timeSecond"]) > 0
    rules = http.get_instruments_info(**BTC)["result"]["list"][0]
    assert Decimal(rules["priceFilter"]["tickSize"]) > 0
    candles = http.get_kline(**BTC, interval=1, limit=5)["result"]["list"]
    starts = [int(row[0]) for row in candles]
    assert starts == sorted(starts, reverse=True)
    assert len(starts) == 5
    book = http.get_orderbook(**BTC, limit=50)["result"]
    assert Decimal(book["b"][0][0]) < Decimal(book["a"][0][0])
    assert http.get_tickers(**BTC)["result"]["list"][0]["symbol"] == "BTCUSDT"
    assert http.get_public_trade_history(**BTC, limit=3)["result"]["list"]
    assert http.get_funding_rate_history(**BTC)["result"]["category"] == "linear"
    assert http.get_open_interest(**BTC, intervalTime="5min")["result"]["symbol"] == "BTCUSDT"
    assert http.get_risk_limit(**BTC)["result"]["list"][0]["isLowestRisk"] == 1


def _limit(http, share):
    ticker = http.get_tickers(**BTC)["result"]["list"][0]
    tick = Decimal(http.get_instruments_info(**BTC)["result"]["list"][0]["priceFilter"]["tickSize"])
    return str(Decimal(ticker["lastPrice"]) * Decimal(share) // tick * tick)


def test_pybit_trades_every_kind_of_order_and_reads_what_became_of_it(http):
    http.set_leverage(**BTC, buyLeverage="5", sellLeverage="5")
    far, near = _limit(http, "0.97"), _limit(http, "1.01")
    kinds = [
        {"orderType": "Market", "side": "Buy"},
        {"orderType": "Limit", "side": "Buy", "price": near, "timeInForce": "IOC"},
        {"orderType": "Limit", "side": "Buy", "price": near, "timeInForce": "FOK"},
        {"orderType": "Limit", "side": "Buy", "price": far, "timeInForce": "PostOnly"},
        {"orderType": "Limit", "side": "Buy", "price": far, "takeProfit": near},
        {"orderType": "Market", "side": "Buy", "triggerPrice": near, "triggerDirection": 1,
         "triggerBy": "MarkPrice"},
        {"orderType": "Market", "side": "Sell", "reduceOnly": True, "qty": "0.005"},
    ]  # fmt: skip
    ids = [http.place_order(**BTC, **{"qty": "0.01", **k})["result"]["orderId"] for k in kinds]
    resting = http.get_open_orders(**BTC)["result"]["list"]
    assert {row["orderId"] for row in resting} == {ids[3], ids[4], ids[5]}
    http.amend_order(**BTC, orderId=ids[3], qty="0.02")
    changed = http.get_open_orders(**BTC, orderId=ids[3])["result"]["list"][0]
    assert Decimal(changed["qty"]) == Decimal("0.02")
    http.cancel_order(**BTC, orderId=ids[3])
    rows = [{"symbol": "BTCUSDT", "side": "Buy", "orderType": "Limit", "qty": "0.01", "price": far}]
    placed = http.place_batch_order(category="linear", request=rows * 2)["result"]["list"]
    assert all(row["orderId"] for row in placed)
    http.cancel_all_orders(**BTC)
    assert http.get_open_orders(**BTC)["result"]["list"] == []
    past = {row["orderId"]: row for row in http.get_order_history(**BTC)["result"]["list"]}
    assert past[ids[0]]["orderStatus"] == "Filled"
    assert past[ids[3]]["orderStatus"] == "Cancelled"
    fills = http.get_executions(**BTC, limit=100)["result"]["list"]
    bought = sum(Decimal(f["execQty"]) for f in fills if f["orderId"] == ids[0])
    assert bought == Decimal("0.01")
    position = http.get_positions(**BTC)["result"]["list"][0]
    assert position["side"] == "Buy"
    assert Decimal(position["leverage"]) == 5
    wallet = http.get_wallet_balance(accountType="UNIFIED")["result"]["list"][0]
    assert Decimal(wallet["totalInitialMargin"]) > 0
    assert http.get_fee_rates(**BTC)["result"]["list"][0]["takerFeeRate"] == "0.00055"
    assert http.get_closed_pnl(**BTC)["result"]["list"]
    assert http.get_transaction_log()["result"]["list"][0]["type"] == "TRADE"
    assert http.get_api_key_information()["result"]["readOnly"] == 0


def test_pybit_meets_a_refusal_as_its_own_error(http):
    with pytest.raises(InvalidRequestError, match="order not exists"):
        http.cancel_order(**BTC, orderId="no-such-order")


def test_pybit_streams_the_market(stream):
    _, frames = stream("linear")
    one = _
    one.orderbook_stream(depth=50, symbol="BTCUSDT", callback=frames.put)
    one.ticker_stream(symbol="BTCUSDT", callback=frames.put)
    one.trade_stream(symbol="BTCUSDT", callback=frames.put)
    one.kline_stream(interval=1, symbol="BTCUSDT", callback=frames.put)
    seen = {}
    while len(seen) < 4:
        frame = frames.get(timeout=WAIT_S)
        if "topic" in frame:
            seen.setdefault(frame["topic"].partition(".")[0], frame)
    assert seen["orderbook"]["type"] == "snapshot"
    assert seen["tickers"]["data"]["lastPrice"]


def test_pybit_streams_the_account_and_trades_by_socket(desk, http, stream):
    private, frames = stream("private", api_key=KEY.key, api_secret=KEY.secret,
                             private_auth_expire=5)  # fmt: skip
    private.order_stream(frames.put)
    private.execution_stream(frames.put)
    private.position_stream(frames.put)
    private.wallet_stream(frames.put)
    for _ in range(4):
        until(frames, lambda frame: frame.get("op") == "subscribe" and frame["success"])
    trading = Trading(base=f"ws://{desk.place}", api_key=KEY.key, api_secret=KEY.secret,
                      private_auth_expire=5, restart_on_error=False)  # fmt: skip
    replies = queue.Queue()
    try:
        trading.place_order(replies.put, **BTC, side="Buy", orderType="Market", qty="0.01")
        reply = replies.get(timeout=WAIT_S)
        assert reply["retCode"] == 0
        name = reply["data"]["orderId"]
        until(frames, lambda f: of("execution")(f) and f["data"][0]["orderId"] == name)
        done = until(frames, lambda f: of("order")(f) and f["data"][0]["orderId"] == name)
        assert done["data"][0]["orderStatus"] == "Filled"
        until(frames, of("position"))
        until(frames, of("wallet"))
        far = _limit(http, "0.97")
        order = {**BTC, "side": "Buy", "orderType": "Limit", "price": far, "qty": "0.01"}
        trading.place_order(replies.put, **order)
        name = replies.get(timeout=WAIT_S)["data"]["orderId"]
        trading.amend_order(replies.put, **BTC, orderId=name, qty="0.02")
        assert replies.get(timeout=WAIT_S)["retCode"] == 0
        trading.cancel_order(replies.put, **BTC, orderId=name)
        assert replies.get(timeout=WAIT_S)["retCode"] == 0
    finally:
        trading.exit()
        trading.wst.join(WAIT_S)


def _local(client, place):
    client.urls["api"] = dict.fromkeys(
        ("public", "private", "spot", "futures", "v2"), f"http://{place}"
    ) | {"ws": client.urls["api"].get("ws")}
    return client


CCXT = {
    "apiKey": KEY.key,
    "secret": KEY.secret,
    "enableRateLimit": False,
    "options": {"fetchMarkets": {"types": ["linear"]}, "defaultType": "swap"},
}
SWAP = "BTC/USDT:USDT"


def test_ccxt_trades_the_round_trip(desk):
    client = _local(ccxt.bybit(CCXT), desk.place)
    markets = client.load_markets()
    assert markets[SWAP]["linear"]
    assert len(client.fetch_ohlcv(SWAP, "1m", limit=5)) == 5
    assert client.fetch_order_book(SWAP)["bids"]
    ticker = client.fetch_ticker(SWAP)
    assert client.fetch_trades(SWAP, limit=3)
    assert client.fetch_funding_rate(SWAP)["fundingRate"] is not None
    client.fetch_funding_rate_history(SWAP)
    client.fetch_open_interest_history(SWAP, "1h")
    assert client.fetch_balance()["USDT"]["total"] > 0
    assert client.fetch_trading_fee(SWAP)["taker"] == 0.00055
    client.set_leverage(4, SWAP)
    taken = client.create_order(SWAP, "market", "buy", 0.01)
    price = float(client.price_to_precision(SWAP, ticker["last"] * 0.98))
    rest = client.create_order(SWAP, "limit", "buy", 0.01, price)
    client.edit_order(rest["id"], SWAP, "limit", "buy", 0.02, price)
    found = client.fetch_open_orders(SWAP)
    assert [(o["id"], o["amount"]) for o in found if o["id"] == rest["id"]] == [(rest["id"], 0.02)]
    stop = client.create_order(
        SWAP,
        "market",
        "sell",
        0.01,
        None,
        {"triggerPrice": price, "triggerDirection": "descending"},
    )
    client.cancel_order(rest["id"], SWAP)
    client.cancel_order(stop["id"], SWAP)
    client.cancel_all_orders(SWAP)
    fills = client.fetch_my_trades(SWAP, limit=100)
    assert sum(f["amount"] for f in fills if f["order"] == taken["id"]) == pytest.approx(0.01)
    assert client.fetch_positions([SWAP])[0]["side"] == "long"
    with pytest.raises(ccxt.OrderNotFound):
        client.cancel_order("no-such-order", SWAP)
    client.session.close()


def test_ccxt_pro_watches_and_trades_by_socket(desk):
    async def run():
        client = _local(ccxt.pro.bybit(CCXT), desk.place)
        client.urls["api"]["ws"] = {
            "public": {"linear": f"ws://{desk.place}/v5/public/linear"},
            "private": {
                "contract": f"ws://{desk.place}/v5/private",
                "spot": {"unified": f"ws://{desk.place}/v5/private"},
                "usdc": f"ws://{desk.place}/v5/private",
                "trade": f"ws://{desk.place}/v5/trade",
            },
        }
        try:
            await client.load_markets()
            book = await client.watch_order_book(SWAP)
            assert book["bids"][0][0] < book["asks"][0][0]
            assert (await client.watch_ticker(SWAP))["last"]
            assert await client.watch_trades(SWAP)
            assert await client.watch_ohlcv(SWAP, "1m")
            watching = [
                asyncio.create_task(client.watch_orders(SWAP)),
                asyncio.create_task(client.watch_my_trades(SWAP)),
                asyncio.create_task(client.watch_balance()),
                asyncio.create_task(client.watch_positions([SWAP])),
            ]
            made = set()
            while any(not task.done() for task in watching):
                made.add((await client.create_order_ws(SWAP, "market", "buy", 0.01))["id"])
            orders, trades, balance, positions = [task.result() for task in watching]
            assert orders[0]["id"] in made
            assert trades[0]["order"] in made
            assert balance["USDT"]["total"] > 0
            assert positions[0]["symbol"] == SWAP
            rest = await client.create_order_ws(SWAP, "limit", "buy", 0.01, 39_500)
            await client.edit_order_ws(rest["id"], SWAP, "limit", "buy", 0.02, 39_500)
            await client.cancel_order_ws(rest["id"], SWAP)
        finally:
            await client.close()

    asyncio.run(asyncio.wait_for(run(), WAIT_S))


def test_our_own_client_trades_and_reads_all_of_its_calls(desk):
    """Client, records and server were written apart: every record is read whole."""
    login = Secret({"api_key": OTHER.key, "api_secret": OTHER.secret})
    client = BybitClient(f"http://{desk.place}", login=login, requests_per_s=1e6)
    rules = client.instruments(["BTCUSDT"])[0]
    last = client.tickers("BTCUSDT")[0].last_price
    assert client.price_limit("BTCUSDT").buy_lmt > last
    assert client.book("BTCUSDT", depth=50).bids[0].price < last * 2
    assert client.trades("BTCUSDT", limit=3)
    assert client.adl_alerts("BTCUSDT")[0].symbol == "BTCUSDT"
    assert client.insurance()[0].balance > 0
    client.maintenance()
    far = last * Decimal("0.98") // rules.tick_size * rules.tick_size
    lots = Decimal("0.01")
    client.set_leverage("BTCUSDT", Decimal(3))
    ask = OrderRequest(symbol="BTCUSDT", side=Side.BUY, order_type=OrderType.MARKET, qty=lots,
                       order_link_id="own-market")  # fmt: skip
    assert client.create_order(ask).order_id
    rest = OrderRequest(symbol="BTCUSDT", side=Side.BUY, order_type=OrderType.LIMIT, qty=lots,
                        price=far, order_link_id="own-limit")  # fmt: skip
    assert client.pre_check(rest).post_imr_e4 >= 0
    acks = client.create_orders([rest, replace(rest, order_link_id="own-limit-2")])
    assert [ack.code for ack in acks] == [0, 0]
    client.amend_order(AmendRequest(symbol="BTCUSDT", order_link_id="own-limit", qty=2 * lots))
    assert client.find_order("BTCUSDT", order_link_id="own-limit").qty == 2 * lots
    client.cancel_order(CancelRequest(symbol="BTCUSDT", order_link_id="own-limit"))
    assert len(client.cancel_all("BTCUSDT")) == 1
    assert client.open_orders("BTCUSDT") == []
    client.set_stops(StopRequest(symbol="BTCUSDT", stop_loss=far))
    position = client.positions("BTCUSDT")[0]
    assert (position.side, position.size, position.leverage) == (Side.BUY, lots, Decimal(3))
    assert position.stop_loss == far
    now = client.server_time()
    past = now - timedelta(days=1)
    fills = client.executions(past, now)
    assert sum(fill.exec_qty for fill in fills if fill.order_link_id == "own-market") == lots
    assert {order.order_link_id for order in client.order_history(past, now)} >= {"own-limit"}
    assert client.transactions(past, now)
    assert client.closed_pnl(past, now) == []
    assert client.wallet().total_equity > 0
    assert client.account_info().is_unified
    assert client.fee_rates("BTCUSDT")[0].taker_fee_rate == Decimal("0.00055")
    assert client.key_info().can_trade
    assert not client.key_info().can_withdraw
