"""Protects what is signed: keys and clock, what an answer means for an order, pace, pages."""

import base64
import itertools
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.loopback.fixtures import NOW
from tests.loopback.server import serving
from workbench.core.clock import SimulatedClock
from workbench.core.errors import (
    ConfigError,
    ExchangeBusy,
    ExchangeError,
    OrderRejected,
    OrderUnknown,
    SecretError,
)
from workbench.core.vault import Secret
from workbench.exchange import BybitClient
from workbench.exchange.client.offset import ServerClock
from workbench.exchange.client.session import Session
from workbench.exchange.pace import TokenBucket
from workbench.exchange.requests import AmendRequest, CancelRequest, OrderRequest, StopRequest
from workbench.exchange.words import MarginMode, OrderType, PositionMode, Side, TpslMode

CREATE = "/v5/order/create"


def limit_order(link_id="a-1", *, price="40000"):
    return OrderRequest(
        symbol="BTCUSDT", side=Side.BUY, order_type=OrderType.LIMIT, qty=Decimal("0.010"),
        price=Decimal(price), order_link_id=link_id,
    )  # fmt: skip


@pytest.fixture
def ready(trader):
    """A trader that has looked at its key, its clock and the rules of BTCUSDT."""
    trader.instrument("BTCUSDT")
    trader.open_orders()
    return trader


# Keys and signatures


def test_signed_reads_and_writes_pass_the_check_over_the_raw_bytes(ready, market):
    """TE-01: the server computes the signature anew over query and body as they came."""
    ready.create_order(limit_order())
    assert ready.open_orders()[0].order_link_id == "a-1"
    assert market.desk.sent(CREATE) == [
        {"category": "linear", "symbol": "BTCUSDT", "side": "Buy", "orderType": "Limit",
         "qty": "0.010", "orderLinkId": "a-1", "price": "40000", "positionIdx": 0}
    ]  # fmt: skip


def test_wrong_secret_is_refused_and_fatal(endpoint, clock, market, login):
    wrong = Secret({"api_key": market.desk.key, "api_secret": "other"})
    client = BybitClient(endpoint, login=wrong, clock=clock, requests_per_s=1000)
    with pytest.raises(SecretError, match="10004: The signature is wrong"):
        client.wallet()


def test_rsa_key_signs_with_rsa(endpoint):
    """TE-01: a secret that is a private key makes RSA-SHA256 signatures in base64."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    text = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    ).decode()
    login = Secret({"api_key": "k", "api_secret": text})
    session = Session(endpoint, login=login, now_ms=lambda: 1_700_000_000_000, timeout_s=1)
    sign = session._prepare_headers("a=1", 5000)["X-BAPI-SIGN"]
    key.public_key().verify(
        base64.b64decode(sign), b"1700000000000k5000a=1", padding.PKCS1v15(), hashes.SHA256()
    )


def test_secret_is_in_no_repr(ready, login):
    """pybit's own sessions print key and secret."""
    assert "loop-secret" not in f"{ready!r}{ready._session()!r}{vars(ready._session())}"


def test_session_keeps_pybit_from_retrying_and_logging(ready):
    """BYBIT.md 1.5: force_retry doubles orders, log_requests prints the key."""
    logger = logging.getLogger("pybit._http_manager")
    before = list(logger.handlers)
    session = Session("http://127.0.0.1:9", login=None, now_ms=lambda: 0, timeout_s=1)
    assert logger.handlers == before
    assert (session.force_retry, session.log_requests, session.api_secret) == (False, False, None)
    with pytest.raises(PermissionError):
        session.get_wallet_balance(accountType="UNIFIED")


def test_private_call_without_a_key_says_how_to_add_one(client, market):
    with pytest.raises(SecretError, match=r"workbench keys add bybit\.simulator"):
        client.wallet()
    assert market.requests == []


def test_key_that_may_withdraw_is_never_used(trader, market):
    told = market.desk.answers["/v5/user/query-api"]
    told["permissions"]["Wallet"] = ["AccountTransfer", "Withdraw"]
    for call in (trader.wallet, lambda: trader.create_order(limit_order()), trader.cancel_all):
        with pytest.raises(SecretError, match="may withdraw"):
            call()
    assert {path for path, _, _ in market.desk.calls} == {"/v5/user/query-api"}


def test_key_is_looked_at_once(ready, market):
    for _ in range(3):
        ready.open_orders()
    assert len(market.desk.sent("/v5/user/query-api")) == 1


@pytest.mark.parametrize("host", ["api.bybit.com", "api.bytick.com", "proxy.example.org"])
def test_mainnet_write_without_the_opt_ins_never_leaves(host, clock, login):
    """TE-13: the network is closed here, so anything that left would fail otherwise."""
    client = BybitClient(f"https://{host}", login=login, clock=clock)
    request = CancelRequest(symbol="BTCUSDT", order_link_id="a-1")
    for write in (lambda: client.cancel_order(request), client.cancel_all):
        with pytest.raises(ConfigError, match="two opt-ins"):
            write()


# Clock


@pytest.mark.parametrize("seconds", [-90, -3, 0.4, 3, 90])
def test_clock_that_is_off_is_made_up_for(endpoint, login, market, seconds):
    """TE-01: a stamp a second ahead is refused; the window stays at five seconds."""
    clock = SimulatedClock(NOW + timedelta(seconds=seconds))
    client = BybitClient(endpoint, login=login, clock=clock, requests_per_s=1000)
    assert client.open_orders() == []
    assert client.time.offset == timedelta(seconds=-seconds)
    assert client.time.now() == NOW
    assert {headers["X-BAPI-RECV-WINDOW"] for _, _, headers in market.desk.calls} == {"5000"}


def test_offset_is_taken_at_the_middle_of_the_shortest_round_trip():
    clock = SimulatedClock(NOW)
    trips = iter([(2.0, 0.1), (0.6, 0.3), (1.0, 0.9)])

    def ask():
        there, back = next(trips)
        clock.sleep(there)
        told = clock.now() + timedelta(seconds=5)
        clock.sleep(back)
        return told

    server = ServerClock(clock, ask)
    server.keep_fresh()
    assert server.trip == timedelta(seconds=0.9)
    assert server.offset == timedelta(seconds=5.15)


def test_offset_is_measured_again_when_it_is_old_and_kept_while_nobody_answers():
    clock, answers = SimulatedClock(NOW), []

    def ask():
        answers.append(clock.now())
        if len(answers) == 2:
            raise ExchangeBusy("away", "wait")
        return clock.now() + timedelta(seconds=len(answers))

    server = ServerClock(clock, ask, fresh_s=60)
    server.keep_fresh()
    server.keep_fresh()
    assert len(answers) == 1
    for offset in (1, 3):
        clock.sleep(61)
        server.keep_fresh()
        assert server.offset == timedelta(seconds=offset)


def test_old_offset_serves_while_another_thread_measures():
    clock, gate, asked = SimulatedClock(NOW), threading.Event(), []

    def ask():
        asked.append(True)
        if len(asked) == 2:
            gate.wait(timeout=20)
        return clock.now()

    server = ServerClock(clock, ask, fresh_s=1)
    server.keep_fresh()
    clock.sleep(2)
    with ThreadPoolExecutor(1) as threads:
        measuring = threads.submit(server.keep_fresh)
        while len(asked) < 2:
            threading.Event().wait(0.001)
        server.keep_fresh()
        assert not measuring.done()
        gate.set()


def test_first_offset_that_cannot_be_measured_stops_the_call():
    def ask():
        raise ExchangeBusy("away", "wait")

    with pytest.raises(ExchangeBusy):
        ServerClock(SimulatedClock(NOW), ask).keep_fresh()


def test_refused_stamp_sets_the_clock_and_a_read_goes_again(ready, market):
    """TE-06: 10002 means measure, never a wider window."""
    market.now_ms += 3_600_000
    assert ready.open_orders() == []
    assert abs(ready.time.offset - timedelta(hours=1)) < timedelta(seconds=1)
    assert {headers["X-BAPI-RECV-WINDOW"] for _, _, headers in market.desk.calls} == {"5000"}


def test_refused_stamp_of_an_order_is_not_sent_again_by_itself(ready, market):
    market.now_ms += 3_600_000
    with pytest.raises(ExchangeBusy, match="clock is set right now"):
        ready.create_order(limit_order())
    assert market.requests.count(CREATE) == 1
    assert ready.create_order(limit_order()).order_id == "id-1"


# What an answer means for an order


@pytest.mark.parametrize(
    ("fault", "error", "placed"),
    [
        ("lost", OrderUnknown, 1),
        ("cut", OrderUnknown, 0),
        ("garbage", OrderUnknown, 0),
        ("503", OrderUnknown, 0),
        ("10000", OrderUnknown, 0),
        ("10016", OrderUnknown, 0),
        ("170146", OrderUnknown, 0),
        ("99", OrderUnknown, 0),
        ("10006", ExchangeBusy, 0),
        ("10006+past", ExchangeBusy, 0),
        ("10429", ExchangeBusy, 0),
        ("429", ExchangeBusy, 0),
        ("110079", ExchangeBusy, 0),
        ("10001", OrderRejected, 0),
        ("110007", OrderRejected, 0),
        ("110999", OrderRejected, 0),
        ("10003", SecretError, 0),
        ("10005", SecretError, 0),
        ("33004", SecretError, 0),
        ("401", SecretError, 0),
        ("302", ExchangeError, 0),
        ("404", ExchangeError, 0),
        ("403", ExchangeError, 0),
    ],
)
def test_order_is_sent_once_whatever_the_answer(ready, market, monkeypatch, fault, error, placed):
    """TE-06: an order is never doubled, and nothing waits in here; BYBIT.md 1.5."""
    monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("it waited"))
    market.faults = [fault]
    with pytest.raises(error) as seen:
        ready.create_order(limit_order())
    assert type(seen.value) is error
    assert market.requests.count(CREATE) == 1
    assert len(market.desk.orders) == placed


def test_lost_answer_is_found_by_its_link_id_and_resent_under_no_other(ready, market):
    market.faults = ["lost"]
    with pytest.raises(OrderUnknown, match="order_link_id"):
        ready.create_order(limit_order())
    market.desk.orders["a-1"] |= {"orderStatus": "New"}
    assert ready.find_order("BTCUSDT", order_link_id="a-1").order_id == "id-1"
    again = ready.create_order(limit_order(), is_resend=True)
    assert (again.code, again.order_link_id) == (110072, "a-1")
    with pytest.raises(OrderRejected, match="110072"):
        ready.create_order(limit_order())
    assert len(market.desk.orders) == 1


def test_answer_that_comes_too_late_leaves_the_order_unknown_and_placed(endpoint, login, market):
    """BYBIT.md 1.5: a reply later than the timeout; the order is on the exchange."""
    client = BybitClient(endpoint, login=login, clock=SimulatedClock(NOW), timeout_s=0.2)
    client.instrument("BTCUSDT")
    client.open_orders()
    market.faults = ["hang"]
    with pytest.raises(OrderUnknown, match="ReadTimeout"):
        client.create_order(limit_order())
    market.gate.set()
    deadline = time.monotonic() + 5
    while not market.desk.orders and time.monotonic() < deadline:
        threading.Event().wait(0.005)
    assert client.find_order("BTCUSDT", order_link_id="a-1").order_id == "id-1"
    assert market.requests.count(CREATE) == 1


def test_order_that_ended_is_found_in_the_history_and_none_nowhere(ready):
    ready.create_order(limit_order())
    ready.cancel_order(CancelRequest(symbol="BTCUSDT", order_link_id="a-1"))
    assert ready.find_order("BTCUSDT", order_link_id="a-1").order_status == "Cancelled"
    assert ready.find_order("BTCUSDT", order_link_id="a-2") is None


def test_cancel_of_what_is_gone_is_done_already(ready):
    request = CancelRequest(symbol="BTCUSDT", order_link_id="nobody")
    assert ready.cancel_order(request).code == 110001


def test_lost_cancel_is_unknown(ready, market):
    ready.create_order(limit_order())
    market.faults = ["lost"]
    with pytest.raises(OrderUnknown, match="cancel"):
        ready.cancel_order(CancelRequest(symbol="BTCUSDT", order_link_id="a-1"))
    assert market.desk.orders["a-1"]["orderStatus"] == "Cancelled"


@pytest.mark.parametrize(
    ("path", "code", "call"),
    [
        ("position/set-leverage", 110043, lambda c: c.set_leverage("BTCUSDT", Decimal(5))),
        ("position/switch-mode", 110025, lambda c: c.set_position_mode(PositionMode.ONE_WAY)),
    ],
)
def test_setting_that_is_so_already_is_no_error(ready, market, path, code, call):
    market.desk.codes[f"/v5/{path}"] = code
    call(ready)
    assert len(market.desk.sent(f"/v5/{path}")) == 1


def test_setting_of_unknown_outcome_may_be_repeated_and_added_margin_may_not(ready, market):
    market.faults = ["503"]
    with pytest.raises(ExchangeBusy):
        ready.set_leverage("BTCUSDT", Decimal(5))
    market.faults = ["503"]
    with pytest.raises(OrderUnknown, match="Read the account"):
        ready.add_margin("BTCUSDT", Decimal(5))


def test_refused_margin_mode_tells_the_exchanges_reasons(ready, market, documents):
    path = "/v5/account/set-margin-mode"
    market.desk.codes[path] = 3400045
    market.desk.answers[path] = documents("account__set-margin-mode.0")
    with pytest.raises(ExchangeError, match=r"3400045.*1000 USDC"):
        ready.set_margin_mode(MarginMode.CROSS)


def test_write_to_nobody_was_not_sent(market, clock, login):
    """A refused connection carries nothing: the order is not unknown."""
    with serving(market) as address:
        client = BybitClient(address, login=login, clock=clock, timeout_s=1, requests_per_s=1000)
        client.instrument("BTCUSDT")
        client.open_orders()
    with ThreadPoolExecutor(1) as fresh, pytest.raises(ExchangeBusy, match="No answer"):
        fresh.submit(client.create_order, limit_order()).result()


def test_ban_stops_writes_at_once(ready, market):
    market.faults = ["403"]
    with pytest.raises(ExchangeError, match="banned"):
        ready.create_order(limit_order())
    count = len(market.requests)
    with pytest.raises(ExchangeBusy, match="600"):
        ready.cancel_all()
    assert len(market.requests) == count


# Rules before sending


@pytest.mark.parametrize("link_id", ["", "a b", "ä", "x" * 37, "a.b"])
def test_order_without_a_good_link_id_never_leaves(ready, market, link_id):
    """TE-04: the link id is the only thing by which an order is found again."""
    with pytest.raises(OrderRejected, match="order_link_id"):
        ready.create_order(limit_order(link_id))
    assert CREATE not in market.requests


def test_batch_with_one_bad_order_sends_none(ready, market):
    with pytest.raises(OrderRejected, match="tick"):
        ready.create_orders([limit_order("a-1"), limit_order("a-2", price="40000.05")])
    assert market.desk.orders == {}


def test_market_order_is_valued_at_the_last_price(ready, market, documents):
    """Where no stream has told a price in five seconds, it is asked for."""
    ticker = documents("market__tickers.0")["list"][0] | {"symbol": "BTCUSDT", "lastPrice": "4000"}
    market.desk.answers["/v5/market/tickers"] = {"list": [ticker]}
    small = OrderRequest(symbol="BTCUSDT", side=Side.BUY, order_type=OrderType.MARKET,
                         qty=Decimal("0.001"), order_link_id="m-1")  # fmt: skip
    with pytest.raises(OrderRejected, match="at least 5 USDT"):
        ready.create_order(small)
    ready.note_price("BTCUSDT", Decimal(6000))
    assert ready.create_order(small).order_id == "id-1"
    assert market.requests.count("/v5/market/tickers") == 1


def test_price_limit_counts_while_it_is_fresh(ready, market, clock):
    market.desk.answers["/v5/market/price-limit"] = {
        "symbol": "BTCUSDT", "buyLmt": "39000", "sellLmt": "35000", "ts": "1"
    }  # fmt: skip
    ready.price_limit("BTCUSDT")
    with pytest.raises(OrderRejected, match="At most 39000"):
        ready.create_order(limit_order())
    clock.sleep(6)
    assert ready.create_order(limit_order()).order_id == "id-1"


def test_rules_are_read_anew_each_hour_but_closing_waits_for_nothing(ready, market, clock):
    """BYBIT.md 4: size limits change on the 3rd and 17th."""
    path = "/v5/market/instruments-info"
    before = market.requests.count(path)
    clock.sleep(2 * 3600)
    close = replace(limit_order("c-1"), reduce_only=True)
    ready.create_order(close)
    ready.set_stops(StopRequest(symbol="BTCUSDT", stop_loss=Decimal(30000)))
    assert market.requests.count(path) == before
    ready.create_order(limit_order("c-2"))
    assert market.requests.count(path) > before


def test_every_number_is_sent_as_plain_text(ready, market):
    """BYBIT.md 1.5: pybit turns 1e-05 into "1e-05" and leaves trailing stops as JSON floats."""
    ready.set_stops(
        StopRequest(symbol="BTCUSDT", trailing_stop=Decimal("1E+2"), take_profit=Decimal("5E4"),
                    stop_loss=Decimal(0), tpsl_mode=TpslMode.FULL)
    )  # fmt: skip
    market.desk.answers["/v5/position/add-margin"] = {"symbol": "BTCUSDT", "size": "1"}
    ready.add_margin("BTCUSDT", Decimal("-1E-5"))
    ready.set_leverage("BTCUSDT", Decimal("1E+1"))
    ready.set_auto_margin("BTCUSDT", is_on=True)
    ready.apply_demo_money({"USDT": Decimal("1E+5")})
    sent = {path: query for path, query, _ in market.desk.calls}
    assert sent["/v5/position/trading-stop"] == {
        "category": "linear", "symbol": "BTCUSDT", "tpslMode": "Full", "positionIdx": 0,
        "takeProfit": "50000", "stopLoss": "0", "trailingStop": "100",
    }  # fmt: skip
    assert sent["/v5/position/add-margin"]["margin"] == "-0.00001"
    assert sent["/v5/position/set-leverage"]["buyLeverage"] == "10"
    assert sent["/v5/position/set-auto-add-margin"]["autoAddMargin"] == 1
    money = sent["/v5/account/demo-apply-money"]["utaDemoApplyMoney"]
    assert money == [{"coin": "USDT", "amountStr": "100000"}]


def test_amendments_and_batches_reach_their_paths(ready, market):
    """TE-04: amend, cancel and cancel-all, and the batch of each with a code of its own."""
    acks = ready.create_orders([limit_order("b-1"), limit_order("b-2"), limit_order("b-1")])
    assert [ack.code for ack in acks] == [0, 0, 110072]
    market.desk.answers["/v5/order/amend"] = {"orderId": "id-1", "orderLinkId": "b-1"}
    amended = AmendRequest(symbol="BTCUSDT", order_link_id="b-1", price=Decimal("39999.9"))
    assert ready.amend_order(amended).order_id == "id-1"
    gone = ready.cancel_orders(
        [CancelRequest(symbol="BTCUSDT", order_link_id=link) for link in ("b-1", "nobody")]
    )
    assert [ack.code for ack in gone] == [0, 110001]
    assert {ack.order_link_id for ack in ready.cancel_all()} == {"b-1", "b-2"}
    market.desk.answers["/v5/order/pre-check"] = {
        "orderId": "", "orderLinkId": "", "preImrE4": 30, "preMmrE4": 21, "postImrE4": 357,
        "postMmrE4": 294,
    }  # fmt: skip
    assert ready.pre_check(limit_order("b-3")).post_imr_e4 == 357


@pytest.mark.parametrize("count", [0, 11])
def test_batch_that_passes_the_limit_of_a_second_is_refused(ready, market, count):
    with pytest.raises(OrderRejected, match="1 to 10"):
        ready.create_orders([limit_order(f"b-{k}") for k in range(count)])
    assert market.desk.orders == {}


def test_batch_with_an_answer_missing_is_unknown(ready, market):
    market.desk.answers["/v5/order/amend-batch"] = {"list": []}
    with pytest.raises(OrderUnknown, match="1 orders got 0 answers"):
        ready.amend_orders([AmendRequest(symbol="BTCUSDT", order_id="x", qty=Decimal(1))])


# Pace


def test_cancels_pass_while_creates_wait(ready, clock, market):
    """TE-07: the bucket of creates is empty, that of cancels is not."""
    for k in range(10):
        ready.create_order(limit_order(f"p-{k}"))
    for k in range(10):
        ready.cancel_order(CancelRequest(symbol="BTCUSDT", order_link_id=f"p-{k}"))
    assert clock.now() == NOW
    ready.create_order(limit_order("p-10"))
    assert clock.now() == NOW + timedelta(seconds=1)


def test_cancel_passes_a_create_that_hangs(ready, market):
    """Each thread has a connection of its own: nobody holds a lock while waiting for an answer."""
    ready.create_order(limit_order("a-1"))
    market.faults = ["hang"]
    with ThreadPoolExecutor(2) as threads:
        stuck = threads.submit(ready.create_order, limit_order("a-2"))
        while market.faults:
            threading.Event().wait(0.001)
        cancel = CancelRequest(symbol="BTCUSDT", order_link_id="a-1")
        assert threads.submit(ready.cancel_order, cancel).result(timeout=1.5).code == 0
        assert not stuck.done()
        market.gate.set()
        assert stuck.result().order_link_id == "a-2"


def test_batch_uses_a_unit_an_order(ready, clock):
    ready.create_orders([limit_order(f"u-{k}") for k in range(6)])
    ready.create_orders([limit_order(f"v-{k}") for k in range(4)])
    assert clock.now() == NOW
    ready.create_orders([limit_order("w-1")])
    assert clock.now() == NOW + timedelta(seconds=1)


def test_headers_raise_the_limit_and_count_what_others_use(ready, clock, market):
    market.desk.headers = {"X-Bapi-Limit": "20", "X-Bapi-Limit-Status": "15"}
    ready.create_order(limit_order("h-0"))
    market.desk.headers = {}
    for k in range(1, 16):
        ready.create_order(limit_order(f"h-{k}"))
    assert clock.now() == NOW
    ready.create_order(limit_order("h-16"))
    assert clock.now() == NOW + timedelta(seconds=1)


def test_bucket_keeps_its_reserve_for_the_urgent(clock):
    bucket = TokenBucket(limit=10, clock=clock, reserve=0.2)
    for _ in range(8):
        bucket.take()
    with pytest.raises(ExchangeBusy, match="was not sent"):
        bucket.take(patience_s=0.5)
    for _ in range(2):
        bucket.take(is_urgent=True)
    assert clock.now() == NOW
    bucket.take(is_urgent=True)
    assert clock.now() == NOW + timedelta(seconds=1)


def test_bucket_never_lets_more_than_its_limit_into_any_window(clock):
    """A bucket that refills as it drains lets nearly twice the limit into one second."""
    bucket, times = TokenBucket(limit=10, clock=clock), []
    for k in range(60):
        bucket.take()
        times.append(clock.now())
        clock.sleep(0.03 * (k % 5))
    for first in times:
        assert sum(first <= at < first + timedelta(seconds=1) for at in times) <= 10


def test_bucket_lets_a_request_larger_than_itself_through_when_it_is_full(clock):
    TokenBucket(limit=10, clock=clock).take(20)
    assert clock.now() == NOW


# Pages and windows


def test_history_is_asked_for_in_weeks_without_gap_or_overlap(ready, market):
    start = datetime(2024, 1, 1, tzinfo=UTC)
    asked = []

    def page(query):
        at = int(query.get("cursor", 0))
        asked.append((int(query["startTime"]), int(query["endTime"]), at))
        rows = [{"symbol": "BTCUSDT", "execId": f"{query['startTime']}-{at}", "orderId": "o",
                 "side": "Buy", "execPrice": "1", "execQty": "1",
                 "execTime": query["startTime"]}]  # fmt: skip
        return {"list": rows, "nextPageCursor": str(at + 1) if at < 2 else ""}

    market.desk.answers["/v5/execution/list"] = page
    fills = ready.executions(start, start + timedelta(days=20))
    assert len(fills) == 9
    spans = sorted({(low, high) for low, high, _ in asked})
    assert [high - low + 1 for low, high in spans] == [7 * 86_400_000] * 2 + [6 * 86_400_000]
    assert all(a[1] + 1 == b[0] for a, b in itertools.pairwise(spans))
    assert [fill.exec_time_ms for fill in fills] == sorted(fill.exec_time_ms for fill in fills)


def test_private_reads_are_records(ready, market, documents):
    """TE-03: wallet, positions, history, executions, closed PnL, fees, log, key, account."""
    market.desk.answers |= {
        f"/v5/{path}": documents(name)
        for path, name in {
            "account/wallet-balance": "account__wallet-balance.0",
            "account/fee-rate": "account__fee-rate.0",
            "account/info": "account__account-info.0",
            "account/transaction-log": "account__transaction-log.0",
            "position/list": "position__position.0",
            "position/closed-pnl": "position__close-pnl.0",
            "order/history": "order__order-list.0",
            "execution/list": "order__execution.0",
        }.items()
    }
    for path in ("order/history", "execution/list", "position/closed-pnl",
                 "account/transaction-log"):  # fmt: skip
        page = {**market.desk.answers[f"/v5/{path}"], "nextPageCursor": ""}
        market.desk.answers[f"/v5/{path}"] = page
    span = (NOW - timedelta(days=1), NOW)
    assert ready.wallet().total_equity == Decimal("3.31216591")
    assert ready.fee_rates("ETHUSDT")[0].taker_fee_rate == Decimal("0.0006")
    assert ready.account_info().is_unified
    assert [row.type for row in ready.transactions(*span)] == ["TRADE", "TRADE", "SETTLEMENT"]
    assert ready.positions("BTCUSD")[0].signed_size == -300
    assert ready.closed_pnl(*span)[0].closed_pnl == Decimal("-47.4065323")
    assert ready.order_history(*span)[0].reject_reason == "EC_PostOnlyWillTakeLiquidity"
    assert ready.executions(*span)[0].exec_fee == Decimal("0.071409")
    assert ready.key_info().can_trade
    scoped = market.desk.sent("/v5/order/history")[0]
    assert (scoped["settleCoin"], scoped["category"]) == ("USDT", "linear")


def test_admit_counts_an_order_by_socket_with_those_by_rest(ready, clock, market):
    """TE-07: one pace for both ways, and nothing waits: what does not fit is refused as busy."""
    for number in range(9):
        ready.admit("create", [limit_order(f"s-{number}")])
    ready.create_order(limit_order("a-10"))
    with pytest.raises(ExchangeBusy):
        ready.admit("create", [limit_order("s-11")])
    ready.admit("cancel", [CancelRequest(symbol="BTCUSDT", order_link_id="s-1")])
    clock.sleep(1.1)
    ready.admit("create", [limit_order("s-12")])
    assert len(market.desk.sent(CREATE)) == 1


def test_admit_holds_an_order_by_socket_against_the_rules(ready):
    """TE-05: what the exchange would refuse leaves by no way."""
    with pytest.raises(OrderRejected):
        ready.admit("create", [limit_order(price="40000.123")])
    with pytest.raises(OrderRejected):
        ready.admit("cancel", [CancelRequest(symbol="BTCUSDT")])


def test_learn_takes_the_limit_that_a_socket_was_told(ready):
    headers = {"X-Bapi-Limit": "20", "X-Bapi-Limit-Status": "19"}
    ready.learn("create", headers)
    for number in range(19):
        ready.admit("create", [limit_order(f"s-{number}")])
    with pytest.raises(ExchangeBusy):
        ready.admit("create", [limit_order("s-20")])
