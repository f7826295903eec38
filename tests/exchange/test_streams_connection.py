"""Protects the supervision: what kills pybit's sockets (BYBIT.md 1.5) leaves ours alive.

Real sockets on loopback, on virtual time: no test waits.
"""

import asyncio
import json
import logging
from datetime import timedelta

import pytest

from tests.loopback.frames import BOOK, TRADES, book, trade
from tests.loopback.sockets import LOGIN, PRIVATE, PUBLIC, SocketExchange
from tests.loopback.virtual import LoopClock, run
from workbench.core.errors import ConfigError, ExchangeBusy
from workbench.exchange.streams import (
    ConnectionBudget,
    Lapse,
    PrivateStream,
    PublicStream,
    Refill,
    Timing,
)

OTHER = "orderbook.50.ETHUSDT"


def public(exchange, *topics, **options):
    options = {"clock": LoopClock(), "budget": ConnectionBudget(), "seed": 1} | options
    stream = PublicStream(exchange if isinstance(exchange, str) else exchange.url, **options)
    stream.subscribe(*topics)
    return stream


async def nothing(gap):
    return Refill()


def private(exchange, **options):
    return PrivateStream(
        exchange.url, login=LOGIN, refill=nothing, seed=1,
        **{"clock": LoopClock(), "budget": ConnectionBudget()} | options,
    )  # fmt: skip


def taken(stream, kind=object):
    """Everything that waits, by topic."""
    events = iter(stream.events.take, None)
    return [event for event in events if isinstance(event.record, kind)]


def served(*topics):
    exchange = SocketExchange()
    exchange.first = {topic: [book(5, topic=topic)] for topic in topics}
    return exchange


class LateClock(LoopClock):
    """A clock that is behind."""

    def __init__(self, behind_s):
        super().__init__()
        self.behind_s = behind_s

    def now(self):
        return super().now() - timedelta(seconds=self.behind_s)


class EagerSocket:
    """A socket whose ``send`` returns only after the answer has been read."""

    def __init__(self, stream):
        self.stream, self.sent = stream, []

    async def send(self, raw, *, text):
        assert text
        message = json.loads(raw)
        self.sent.append(message)
        ack = {"success": True, "op": message["op"], "req_id": message.get("req_id", "")}
        self.stream.feed(json.dumps(ack).encode())


def test_acknowledgement_before_send_returns_is_kept():
    """1.5, first row: pybit stores the request after it has sent it, and 10 in 120 die."""

    async def main():
        stream = public("ws://127.0.0.1:9", BOOK)
        stream._socket = EagerSocket(stream)
        await asyncio.wait_for(stream._subscribe([BOOK]), 1)
        assert stream._live == {BOOK}
        assert stream.counters.strays == 0

    run(main())


def test_fresh_subscriptions_all_live_whatever_was_said_first():
    """1.5: forty fresh sockets, and acknowledgements of what nobody has asked yet."""

    async def main():
        async with served(BOOK) as exchange:
            exchange.stray_acks = True
            for _ in range(40):
                async with public(exchange, BOOK) as stream:
                    await stream.until_ready(1)
                    assert stream.books[BOOK].is_whole
        assert exchange.connections[PUBLIC] == 40

    run(main())


@pytest.mark.parametrize("how", [1000, 1001, "reset"])
def test_cut_connection_comes_back_with_login_and_subscriptions(how):
    """1.5, second row; TE-08."""

    async def main():
        async with (
            served(BOOK) as exchange,
            public(exchange, BOOK, TRADES) as market,
            private(exchange) as account,
        ):
            await market.until_ready()
            await account.until_ready()
            for again in range(2, 12):
                taken(market)
                if how == "reset":
                    exchange.reset()
                else:
                    await exchange.close(how)
                await asyncio.sleep(0.01)
                assert not market.is_ready
                assert not account.is_ready
                assert {event.topic for event in taken(market, Lapse)} == {BOOK, TRADES}
                assert not market.books[BOOK].is_whole
                await market.until_ready()
                await account.until_ready()
                await asyncio.sleep(6)  # settled: the next back-off begins anew
                await exchange.push(book(5))
                assert exchange.connections == {PUBLIC: again, PRIVATE: again}
        assert len(exchange.asked("auth")) == 11

    run(main())


@pytest.mark.parametrize("down_s", [0.5, 3.0, 600.0])
def test_exchange_that_is_down_is_met_again_soon_and_not_hammered(down_s):
    """1.5: pybit is dead for good after 0.1 s, or tries 85 times a second."""

    async def main():
        async with served(BOOK) as exchange, public(exchange, BOOK) as stream:
            await stream.until_ready()
            await exchange.shut()
            loop = asyncio.get_running_loop()
            await asyncio.sleep(down_s)
            assert not stream.is_ready
            await exchange.open()
            opened = loop.time()
            await stream.until_ready(31)
            assert loop.time() - opened <= min(2 * down_s + 0.5, 30.5)
        attempts = len(stream.budget._starts)
        assert attempts <= {0.5: 4, 3.0: 7, 600.0: 40}[down_s]

    run(main())


def test_bad_gateways_on_reconnection_are_survived():
    async def main():
        async with served(BOOK) as exchange, public(exchange, BOOK) as stream:
            await stream.until_ready()
            exchange.bad_gateways = 4
            await exchange.close(1000)
            await asyncio.sleep(0.5)
            assert "502" in stream.trouble
            await stream.until_ready()
            assert exchange.connections[PUBLIC] == 2

    run(main())


@pytest.mark.parametrize("scheme", ["wss", "ws"])
def test_address_that_does_not_answer_says_so(scheme):
    """TLS against a plain port, and a port where nobody listens."""

    async def main():
        async with SocketExchange() as exchange:
            port = exchange.port if scheme == "wss" else 9
            async with public(f"{scheme}://127.0.0.1:{port}", BOOK) as stream:
                with pytest.raises(ExchangeBusy, match=f"127.0.0.1:{port}.*not ready after 3 s: "):
                    await stream.until_ready(3)
                assert stream.counters.connections == 0

    run(main())


def test_address_without_a_scheme_is_refused():
    with pytest.raises(ConfigError, match="wss"):
        public("stream.bybit.com")


def test_silent_death_is_noticed_by_the_missing_pong(caplog):
    """A cable that is pulled sends no close: only the deadline of a pong tells."""

    async def main():
        async with served(BOOK) as exchange, public(exchange, BOOK) as stream:
            await stream.until_ready()
            exchange.is_mute = True
            await asyncio.sleep(20 + 10 + 0.1)
            assert not stream.is_ready
            assert not stream.books[BOOK].is_whole
            await asyncio.sleep(0.9)
            exchange.is_mute = False
            await stream.until_ready()
            assert exchange.connections[PUBLIC] == 3  # one more was made to the deaf

    run(main())
    assert "lost: No answer to ping in 10 s." in caplog.text


def test_pings_are_json_and_pongs_are_read_in_their_three_forms():
    """BYBIT.md 2.3: ten minutes of silence are survived on public and private sockets."""

    async def main():
        async with (
            SocketExchange() as exchange,
            private(exchange) as account,
            public(exchange, TRADES) as market,
        ):
            await asyncio.sleep(600)
            assert market.is_ready
            assert account.is_ready
        assert exchange.connections == {PUBLIC: 1, PRIVATE: 1}
        assert len(exchange.asked("ping")) in (58, 60)
        assert market.counters.strays == account.counters.strays == 0

    run(main())


def test_socket_that_is_always_closed_backs_off_and_never_exceeds_its_budget():
    """1.5: Bybit bans an address for 500 connections in five minutes."""

    async def main():
        async with served(BOOK) as exchange:
            exchange.closes_after_login = True
            async with private(exchange):
                await asyncio.sleep(300)
                assert exchange.connections[PRIVATE] <= 25
            hasty = Timing(first_wait_s=0.001, last_wait_s=0.001)
            exchange.connections.clear()
            budget = ConnectionBudget(limit=100, window_s=300)
            async with private(exchange, timing=hasty, budget=budget):
                for periods in (1, 2):
                    await asyncio.sleep(299)
                    assert exchange.connections[PRIVATE] == 100 * periods

    run(main())


def test_login_that_is_refused_is_tried_again_and_says_why(caplog):
    """1.5: pybit dies in its thread with a refused key, or a clock that is a second behind."""

    async def main():
        clock = LateClock(3600)
        async with SocketExchange() as exchange, private(exchange, clock=clock) as stream:
            with pytest.raises(ExchangeBusy, match="login is refused: bad key"):
                await stream.until_ready(5)
            clock.behind_s = 9
            await stream.until_ready()
            taken(stream)
            exchange.refuses_login = True
            await exchange.close(1000)
            await asyncio.sleep(14)
            assert "refused" in stream.trouble
            exchange.refuses_login = False
            await stream.until_ready()

    run(main())
    assert LOGIN.reveal()["api_secret"] not in caplog.text


def test_refused_topic_is_reported_and_its_neighbours_live(caplog):
    topics = [f"orderbook.50.A{k}USDT" for k in range(23)]

    async def main():
        async with served(*topics) as exchange:
            exchange.refuses = {topics[7]: "error:handler not found"}
            async with public(exchange, *topics) as stream:
                with pytest.raises(ExchangeBusy, match="A7USDT: The subscription is refused: err"):
                    await stream.until_ready()
                assert stream.lapsed.keys() == {topics[7]}
                assert stream._live == {*topics} - {topics[7]}
                reports = [event for event in taken(stream, Lapse) if event.topic == topics[7]]
                assert "handler not found" in reports[0].record.reason
                assert stream.counters.refused == 1
                stream.unsubscribe(topics[7])
                assert stream.is_ready
        batches = [message["args"] for message in exchange.asked("subscribe")]
        assert [len(batch) for batch in batches] == [10, *[1] * 10, 10, 3]

    run(main())
    assert "refused" in caplog.text


def test_topics_come_and_go_on_a_living_socket():
    async def main():
        async with served(BOOK, OTHER) as exchange, public(exchange, BOOK) as stream:
            await stream.until_ready()
            stream.subscribe(OTHER)
            assert not stream.is_ready
            await stream.until_ready()
            stream.unsubscribe(BOOK)
            await asyncio.sleep(0.1)
            assert exchange.asked("unsubscribe")[0]["args"] == [BOOK]
            await exchange.close(1000)
            await asyncio.sleep(1)
            await stream.until_ready()
            assert exchange.asked("subscribe")[-1]["args"] == [OTHER]
            stream.subscribe(OTHER)
            assert stream.is_ready  # nothing new is wanted
            exchange.delay_s = 1.0
            stream.subscribe(BOOK)
            await asyncio.sleep(0.5)
            stream.unsubscribe(BOOK)  # while its acknowledgement is under way
            await stream.until_ready()
            await asyncio.sleep(3)
            assert [message["args"] for message in exchange.asked("unsubscribe")] == [
                [BOOK],
                [BOOK],
            ]
            assert stream.is_ready

    run(main())


def test_topic_that_falls_silent_is_asked_for_again():
    """BYBIT.md 4, stale data; TE-09: the stream is not ready while a book is stale."""

    async def main():
        async with served(BOOK) as exchange, public(exchange, BOOK, TRADES) as stream:
            await stream.until_ready()
            exchange.first = {}
            taken(stream)
            await asyncio.sleep(32)
            assert stream.trouble == f"{BOOK}: Nothing was heard for 30 s."
            lapse = taken(stream)[-1]
            assert lapse.record.since_ms < lapse.exchange_ms - 29_000
            assert not stream.books[BOOK].is_whole
            exchange.first = {BOOK: [book(9)]}
            await asyncio.sleep(32)
            assert stream.is_ready
            assert exchange.asked("unsubscribe")[0]["args"] == [BOOK]
            assert exchange.connections[PUBLIC] == 1

    run(main())


def test_topic_that_speaks_is_left_alone():
    async def main():
        async with served(BOOK) as exchange, public(exchange, BOOK) as stream:
            await stream.until_ready()
            for number in range(6, 12):
                await asyncio.sleep(20)
                await exchange.push(book(number, kind="delta"))
                assert stream.is_ready
            assert stream.counters.stale == 0

    run(main())


def test_book_whose_snapshot_never_comes_is_asked_for_again():
    """Deltas alone are a sign of life, but of no use."""

    async def main():
        async with served() as exchange, public(exchange, BOOK) as stream:
            for number in range(60):
                await exchange.push(book(number + 2, kind="delta"))
                await asyncio.sleep(1)
            assert stream.trouble.startswith(BOOK)
            assert stream.counters.stale == 1
            assert len(exchange.asked("subscribe")) == 2

    run(main())


def test_gap_in_a_book_repairs_that_topic_alone():
    async def main():
        async with served(BOOK, OTHER) as exchange, public(exchange, BOOK, OTHER) as stream:
            await stream.until_ready()
            taken(stream)
            exchange.first[BOOK] = [book(40, bids=[["99", "2"]])]
            await exchange.push(book(6, kind="delta"), book(8, kind="delta"))
            reason = "The book has a gap in the sequence."
            assert [event.record.reason for event in taken(stream, Lapse)] == [reason]
            await stream.until_ready()
            assert stream.books[BOOK].snapshot().update_id == 40
            assert stream.books[OTHER].snapshot().update_id == 5
            assert exchange.asked("unsubscribe")[0]["args"] == [BOOK]
            assert (stream.counters.gaps, exchange.connections[PUBLIC]) == (1, 1)

    run(main())


def test_book_that_always_breaks_is_not_asked_for_without_pause():
    async def main():
        async with served(BOOK) as exchange, public(exchange, BOOK) as stream:
            exchange.first[BOOK] = [book(5), book(9, kind="delta")]
            await asyncio.sleep(60)
            assert 60 <= len(exchange.asked("unsubscribe")) <= 130
            assert not stream.is_ready

    run(main())


@pytest.mark.parametrize(
    "raw",
    [
        *[b"", b"{", b"[]", b"7", b"null", b"\xff\xfe", b'{"op":"pong"', b'{"success":true}'],
        *[b'{"topic":"%s"}' % BOOK.encode(), b'{"topic":"%s","data":[{}]}' % TRADES.encode()],
        b'{"topic":["a"]}',
        json.dumps(book(6, bids=[["x", "y"]], kind="delta")).encode(),
        json.dumps(book(6, bids=[["99"]], kind="delta")).encode(),
    ],
)
def test_garbage_is_counted_and_costs_at_most_the_book(raw):
    async def main():
        async with served(BOOK) as exchange, public(exchange, BOOK, TRADES) as stream:
            await stream.until_ready()
            await exchange.push(raw)
            await stream.until_ready()
            await exchange.push(trade(1), book(6, kind="delta"))
            assert stream.books[BOOK].snapshot().update_id == 6
            assert stream.counters.garbage + stream.counters.strays == 1
            is_costly = stream.counters.garbage and TRADES.encode() not in raw
            assert len(exchange.asked("unsubscribe")) == bool(is_costly)
            assert exchange.connections[PUBLIC] == 1

    run(main())


def test_garbage_on_the_private_socket_reads_the_account_again():
    """It may have been a fill."""

    async def main():
        async with SocketExchange() as exchange, private(exchange) as stream:
            await stream.until_ready()
            await exchange.push(b'{"topic":"execution","creationTime":1,"data":[{}]}')
            assert not stream.is_ready
            await stream.until_ready()
            assert exchange.connections[PRIVATE] == 2

    run(main())


def test_reader_that_dies_leaves_the_socket_alone():
    """1.5: with pybit a callback that raises kills its socket."""

    async def main():
        async with served(BOOK) as exchange, public(exchange, BOOK, TRADES) as stream:

            async def read():
                async for _ in stream.events:
                    raise ZeroDivisionError

            await stream.until_ready()
            with pytest.raises(ZeroDivisionError):
                await read()
            await exchange.push(*(trade(k) for k in range(50)))
            assert stream.is_ready
            assert len(taken(stream)) == 50

    run(main())


def test_defect_of_ours_reaches_the_reader_and_whoever_started_the_stream():
    """Nothing is swallowed: what is no fault of the network ends the stream loudly."""

    async def broken():
        raise ZeroDivisionError

    async def use(stream):
        async with stream:
            with pytest.raises(BaseExceptionGroup):
                await anext(stream.events)

    async def main():
        async with served(BOOK) as exchange:
            stream = public(exchange, BOOK)
            stream._watch = broken
            with pytest.raises(BaseExceptionGroup) as caught:
                await use(stream)
            assert caught.group_contains(ZeroDivisionError)
            assert not stream.is_ready

    run(main())


def test_slow_replies_are_waited_for():
    async def main():
        async with served() as exchange:
            exchange.delay_s = 4.0
            async with public(exchange, TRADES) as stream:
                await stream.until_ready()
                await asyncio.sleep(120)
                assert exchange.connections[PUBLIC] == 1
                assert stream.counters.round_trip_ms == pytest.approx(4000, abs=50)

    run(main())


def test_nothing_is_left_running_when_a_stream_is_left():
    async def main():
        async with served(BOOK) as exchange:
            async with public(exchange, BOOK) as stream:
                await stream.until_ready()
            assert not stream.is_ready
            await asyncio.sleep(0.1)
            own = {task.get_coro().__qualname__ for task in asyncio.all_tasks()}
            assert not [name for name in own if name.startswith("Socket.")]

    run(main())


@pytest.fixture(autouse=True)
def quiet():
    logging.getLogger("websockets.server").setLevel(logging.CRITICAL)
