"""Protects orders over the socket: one answer, one refusal or one unknown fate; never a second."""

import asyncio
import json
from decimal import Decimal

import pytest

from tests.loopback.sockets import LOGIN, TRADE, SocketExchange, accept
from tests.loopback.virtual import START, LoopClock, run
from workbench.core.errors import ExchangeBusy, OrderRejected, OrderUnknown
from workbench.core.vault.secret import Secret
from workbench.exchange.requests import AmendRequest, CancelRequest, OrderRequest
from workbench.exchange.streams import ConnectionBudget, Timing, TradeSocket
from workbench.exchange.streams.protocol import sign_login
from workbench.exchange.wire import to_millis
from workbench.exchange.words import OrderType, Side

ORDER = OrderRequest(
    symbol="BTCUSDT", side=Side.BUY, order_type=OrderType.LIMIT, qty=Decimal("0.001"),
    price=Decimal(60_000), order_link_id="link-1",
)  # fmt: skip
CANCEL = CancelRequest(symbol="BTCUSDT", order_link_id="link-1")
HEADERS = accept({"reqId": "", "op": "", "args": [{}]})["header"]


class OpenGate:
    """A gate that lets through what it is not told to stop, and notes what passes."""

    def __init__(self):
        self.stops, self.passed, self.learned = None, [], []

    def admit(self, action, requests):
        if self.stops:
            raise self.stops
        self.passed.append((action, len(requests)))

    def learn(self, action, headers):
        self.learned.append((action, headers))


def trading(exchange, gate=None, **options):
    options = {"clock": LoopClock(), "budget": ConnectionBudget(), "seed": 1} | options
    return TradeSocket(exchange.url, login=LOGIN, gate=gate or OpenGate(), **options)


def orders(exchange):
    return [m for path, m in exchange.heard if path == TRADE and m["op"].startswith("order.")]


def coded(code, words="no"):
    return lambda message: {
        "reqId": message["reqId"], "retCode": code, "retMsg": words, "op": message["op"],
        "data": {}, "retExtInfo": {}, "header": HEADERS, "connId": "t-1",
    }  # fmt: skip


def test_every_request_has_the_documented_form_and_its_answer():
    gate = OpenGate()

    async def main():
        async with SocketExchange() as exchange, trading(exchange, gate) as socket:
            await socket.until_ready()
            ack = await socket.create(ORDER)
            assert (ack.order_id, ack.order_link_id, ack.code) == ("id-of-link-1", "link-1", 0)
            await socket.amend(
                AmendRequest(symbol="BTCUSDT", order_link_id="link-1", price=Decimal(5))
            )
            await socket.cancel(CANCEL)
            acks = await socket.create_batch([ORDER, ORDER])
            assert [one.code for one in acks] == [0, 0]
            await socket.amend_batch([AmendRequest(symbol="BTCUSDT", order_id="x", qty=Decimal(1))])
            await socket.cancel_batch([CANCEL])
            await asyncio.sleep(0.01)
        return orders(exchange)

    sent = run(main())
    assert [message["op"].removeprefix("order.") for message in sent] == [
        *["create", "amend", "cancel", "create-batch", "amend-batch", "cancel-batch"]
    ]
    first = sent[0]
    stamp = int(first["header"]["X-BAPI-TIMESTAMP"])
    assert 0 <= stamp - to_millis(START) < 1000
    assert first["header"]["X-BAPI-RECV-WINDOW"] == "5000"
    assert first["args"] == [
        {"category": "linear", "symbol": "BTCUSDT", "side": "Buy", "orderType": "Limit",
         "qty": "0.001", "price": "60000", "orderLinkId": "link-1", "positionIdx": 0}
    ]  # fmt: skip
    assert sent[3]["args"][0]["category"] == "linear"
    assert len(sent[3]["args"][0]["request"]) == 2
    ids = [message["reqId"] for message in sent]
    assert len(set(ids)) == 6
    assert all(len(one) <= 36 for one in ids)
    assert gate.passed[:3] == [("create", 1), ("amend", 1), ("cancel", 1)]
    assert gate.learned == [(action, HEADERS) for action, _ in gate.passed]


def test_many_orders_at_once_get_each_its_own_answer():
    """1.5: with 1,500 orders none is lost; ours are answered in any order."""

    async def main():
        async with SocketExchange() as exchange, trading(exchange) as socket:
            await socket.until_ready()
            links = [f"link-{k}" for k in range(500)]
            found = await asyncio.gather(*(socket.create(_named(link)) for link in links))
            assert [ack.order_link_id for ack in found] == links
            assert socket.counters.strays == 0

    run(main())


def _asking(*orders):
    rows = [{"orderLinkId": one.order_link_id} for one in orders]
    return {"reqId": "", "op": "order.create-batch", "args": [{"request": rows}]}


def _named(link):
    return OrderRequest(
        symbol="BTCUSDT", side=Side.BUY, order_type=OrderType.MARKET, qty=Decimal(1),
        order_link_id=link,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("code", "error"),
    [
        *[(10001, OrderRejected), (110007, OrderRejected), (110072, OrderRejected)],
        *[(10006, ExchangeBusy), (10429, ExchangeBusy), (10002, ExchangeBusy)],
        *[(10000, OrderUnknown), (10016, OrderUnknown), (777, OrderUnknown)],
        *[(10019, OrderUnknown), (20001, OrderRejected), (10003, OrderRejected)],
    ],
)
def test_return_code_becomes_the_error_of_its_outcome(code, error):
    async def main():
        async with SocketExchange() as exchange, trading(exchange) as socket:
            await socket.until_ready()
            exchange.answer = coded(code)
            with pytest.raises(error, match=str(code)):
                await socket.create(ORDER)
            await asyncio.sleep(1)
            assert len(orders(exchange)) == 1
            # A socket that the exchange gives up is given up here too.
            assert exchange.connections[TRADE] == (2 if code in (10019, 20001) else 1)

    run(main())


def test_cancel_of_what_has_ended_is_done():
    async def main():
        async with SocketExchange() as exchange, trading(exchange) as socket:
            await socket.until_ready()
            exchange.answer = coded(110001)
            ack = await socket.cancel(CANCEL)
            assert (ack.code, ack.order_link_id) == (110001, "link-1")
            with pytest.raises(OrderRejected):
                await socket.create(ORDER)

    run(main())


def test_silence_means_an_unknown_fate_and_the_late_answer_is_a_stray(caplog):
    async def main():
        async with SocketExchange() as exchange, trading(exchange) as socket:
            await socket.until_ready()
            held = []
            exchange.answer = lambda message: held.append(message)
            with pytest.raises(OrderUnknown, match="never send it again"):
                await socket.create(ORDER)
            assert len(orders(exchange)) == 1
            (one,) = exchange.subscribed
            await one.send(json.dumps(accept(held[0])))
            await asyncio.sleep(0.1)
            assert socket.counters.strays == 1
            assert socket.is_ready

    run(main())
    assert "id-of-link-1" in caplog.text


@pytest.mark.parametrize("how", [1000, "reset"])
def test_connection_lost_before_the_answer_means_unknown_fates(how):
    """Every order under way; none is sent again on the next connection."""

    async def main():
        async with SocketExchange() as exchange, trading(exchange) as socket:
            await socket.until_ready()
            exchange.answer = lambda message: None
            waiting = [asyncio.create_task(socket.create(_named(f"link-{k}"))) for k in range(5)]
            await asyncio.sleep(1)
            if how == "reset":
                exchange.reset()
            else:
                await exchange.close(how)
            cut_at = asyncio.get_running_loop().time()
            found = await asyncio.gather(*waiting, return_exceptions=True)
            assert asyncio.get_running_loop().time() - cut_at < 0.1
            assert [type(error) for error in found] == [OrderUnknown] * 5
            exchange.answer = accept
            await socket.until_ready()
            await asyncio.sleep(60)
            assert len(orders(exchange)) == 5
            assert (await socket.create(ORDER)).code == 0

    run(main())


def test_nothing_is_sent_while_the_socket_is_not_ready():
    async def main():
        async with SocketExchange() as exchange:
            socket = trading(exchange)
            with pytest.raises(ExchangeBusy, match="Nothing was sent"):
                await socket.create(ORDER)
            async with socket:
                await socket.until_ready()
                await exchange.shut()
                await asyncio.sleep(0.1)
                with pytest.raises(ExchangeBusy, match="Nothing was sent"):
                    await socket.create(ORDER)
            assert orders(exchange) == []

    run(main())


def test_nothing_passes_that_the_gate_stops():
    """The rules, the opt-ins of the mainnet and the pace hold on the socket too."""
    gate = OpenGate()
    gate.stops = OrderRejected("The price is no multiple of the tick.", "Change it.")

    async def main():
        async with SocketExchange() as exchange, trading(exchange, gate) as socket:
            await socket.until_ready()
            for call in (socket.create(ORDER), socket.create_batch([ORDER])):
                with pytest.raises(OrderRejected, match="tick"):
                    await call
            assert orders(exchange) == []

    run(main())


def test_answer_that_cannot_be_read_means_an_unknown_fate():
    async def main():
        async with SocketExchange() as exchange, trading(exchange) as socket:
            await socket.until_ready()
            exchange.answer = lambda message: {
                "reqId": message["reqId"], "op": message["op"], "retMsg": "OK"
            }  # fmt: skip
            with pytest.raises(OrderUnknown):
                await socket.create(ORDER)
            for fewer in ({"retExtInfo": {"list": []}}, {"data": {}}, accept(_asking(ORDER))):
                exchange.answer = lambda m, fewer=fewer: {**accept(m), **fewer, "reqId": m["reqId"]}
                with pytest.raises(OrderUnknown):
                    await socket.create_batch([ORDER, ORDER])

    run(main())


def test_pace_that_raises_harms_no_order():
    gate = OpenGate()
    gate.learn = lambda action, headers: 1 / 0

    async def main():
        raised = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: raised.append(context["exception"]))
        async with SocketExchange() as exchange, trading(exchange, gate) as socket:
            await socket.until_ready()
            assert (await socket.create(ORDER)).code == 0
            await asyncio.sleep(0.1)
        assert [type(error) for error in raised] == [ZeroDivisionError]

    run(main())


def test_idle_socket_is_kept_alive_and_one_that_is_cut_comes_back():
    """2.3: the exchange cuts a trade socket after ten idle minutes."""

    async def main():
        async with SocketExchange() as exchange:
            async with trading(exchange) as socket:
                await asyncio.sleep(1200)
                assert exchange.connections[TRADE] == 1
                assert socket.counters.round_trip_ms >= 0
            async with trading(exchange, timing=Timing(ping_s=1e6)) as socket:
                await socket.until_ready()
                await exchange.close(1000)
                await asyncio.sleep(1)
                await socket.until_ready()
                assert (await socket.create(ORDER)).code == 0

    run(main())


def test_login_signs_with_either_kind_of_key():
    from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
        PublicFormat,
    )

    from workbench.core.vault.rsa import is_rsa_signature

    key = generate_private_key(65537, 2048)
    own = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    name, expires, sign = sign_login(Secret({"api_key": "k", "api_secret": own}), 1234)
    assert (name, expires) == ("k", 1234)
    assert is_rsa_signature(public.decode(), b"GET/realtime1234", sign)
    # printf 'GET/realtime1711010121452' | openssl dgst -sha256 -hmac secret
    _, _, sign = sign_login(Secret({"api_key": "k", "api_secret": "secret"}), 1711010121452)
    assert sign == "1ffcd649a19cb2c699953b6a7d660f2e3cae8c1223698be885259dc8e78c59a8"
