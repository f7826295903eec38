"""Protects the account's stream: nothing twice, nothing lost, nothing backwards, gaps refilled."""

import asyncio
import json
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.loopback.frames import documented, fill, order, position, private, wallet
from tests.loopback.sockets import LOGIN, PRIVATE, SocketExchange
from tests.loopback.virtual import LoopClock, run
from workbench.core.clock import SimulatedClock
from workbench.core.errors import ExchangeBusy
from workbench.exchange.records import (
    Execution,
    Order,
    Position,
    Wallet,
    parse_execution,
    parse_order,
    parse_position,
    parse_wallet,
)
from workbench.exchange.streams import (
    ConnectionBudget,
    Gap,
    Lapse,
    PrivateStream,
    Recent,
    Refill,
    Timing,
)
from workbench.exchange.wire import from_millis

T0 = 1_782_907_200_000


def stream(refill, url="ws://127.0.0.1:9", **options):
    options = {"clock": LoopClock(), "budget": ConnectionBudget(), "seed": 1} | options
    return PrivateStream(url, login=LOGIN, refill=refill, **options)


def open_stream(**options):
    """A stream in memory that has been refilled with nothing."""
    own = stream(answering(Refill()), clock=SimulatedClock(from_millis(T0)), **options)
    asyncio.run(own._on_subscribed())
    taken(own)
    return own


def answering(*refills):
    """A refill that gives one answer after the other, and notes what it was asked."""
    answers = list(refills)

    async def refill(gap):
        refill.gaps.append(gap)
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    refill.gaps = []
    return refill


def feed(own, *frames):
    for frame in frames:
        own.feed(json.dumps(frame).encode())


def taken(own, kind=object):
    return [event.record for event in iter(own.events.take, None) if isinstance(event.record, kind)]


STEPS = st.lists(
    st.one_of(
        st.sampled_from(["fill", "fill", "drop", "subscribe", "refill"]),
        st.tuples(st.sampled_from(["deliver", "repeat"]), st.integers(0, 50)),
    ),
    max_size=50,
)


@given(STEPS)
def test_executions_come_exactly_once_whatever_the_network_does(steps):
    """Any order, any number of times, lost with any connection; BYBIT.md 4, rows 3 and 5."""
    made, under_way, state = [], [], "live"

    async def refill(gap):
        since = gap.since_ms or 0
        rows = [row for row in made if int(row["execTime"]) >= since]
        return Refill(executions=[parse_execution(row) for row in rows])

    async def main():
        nonlocal state
        own = stream(refill)
        await own._on_subscribed()
        for step in [*steps, "drop", "subscribe", "refill"]:
            if step == "fill":
                made.append(fill(f"fill-{len(made)}", at=T0 + 1000 * len(made)))
                if state != "down":
                    under_way.append(private("execution", made[-1]))
            elif step == "drop":
                own._forget()
                under_way.clear()
                state = "down"
            elif step == "subscribe" and state == "down":
                state = "subscribed"
            elif step == "refill" and state == "subscribed":
                await own._on_subscribed()
                state = "live"
            elif isinstance(step, tuple) and under_way:
                how, which = step
                place = which % len(under_way)
                feed(own, under_way[place] if how == "repeat" else under_way.pop(place))
        return taken(own, Execution)

    told = run(main())
    assert sorted(one.exec_id for one in told) == sorted(row["execId"] for row in made)


STATUS = st.sampled_from(["New", "PartiallyFilled", "Filled", "Cancelled", "Triggered"])
UPDATES = st.lists(st.tuples(STATUS, st.integers(1, 4), st.integers(0, 3)), max_size=25)


@given(UPDATES)
def test_orders_never_go_back(updates):
    """Time and filled quantity never fall, and what has ended stays ended; BYBIT.md 4, row 3."""
    own = open_stream()
    feed(own, *(private("order", order("a", s, updated=t, filled=str(f))) for s, t, f in updates))
    told = taken(own, Order)
    marks = [(one.updated_time_ms, one.cum_exec_qty) for one in told]
    assert marks == sorted(marks)
    assert [mark[1] for mark in marks] == sorted(mark[1] for mark in marks)
    ended = [one.order_status.is_final for one in told]
    assert ended == sorted(ended)
    assert all(one != after for one, after in pairwise(told))
    assert own.counters.duplicates == len(updates) - len(told)
    if updates:
        assert told[0].order_status == updates[0][0]


def test_order_that_ends_twice_is_told_once_unless_more_was_filled():
    """BYBIT.md 2.3: a cancel that crosses a fill sends a second Filled."""
    own = open_stream()
    filled = order("a", "Filled", updated=5, filled="3")
    feed(own, private("order", filled), private("order", {**filled, "cancelType": "CancelByUser"}))
    feed(own, private("order", order("a", "PartiallyFilled", updated=9, filled="3")))
    assert [one.order_status for one in taken(own)] == ["Filled"]
    feed(own, private("order", order("b", "Cancelled", updated=5, filled="1")))
    feed(own, private("order", order("b", "Cancelled", updated=6, filled="2")))
    assert [one.cum_exec_qty for one in taken(own)] == [1, 2]


def test_positions_and_wallets_keep_the_newest():
    own = open_stream()
    feed(own, private("position", position("2", updated=5, seq=7)))
    feed(own, private("position", position("1", updated=5, seq=6)))
    feed(own, private("position", position("2", updated=5, seq=7)))
    feed(own, private("wallet", wallet("50"), at=T0 + 2), private("wallet", wallet("40"), at=T0))
    assert [getattr(one, "size", None) or one.total_equity for one in taken(own)] == [2, 50]
    assert own.counters.duplicates == 3


def test_state_that_returns_within_a_millisecond_is_told():
    """There and back: what came last holds, though the first was like it."""
    own = open_stream()
    feed(own, *(private("wallet", wallet(equity)) for equity in ("50", "40", "50", "50")))
    assert [one.total_equity for one in taken(own)] == [50, 40, 50]


def test_memory_of_ended_orders_is_bounded():
    own = open_stream(backlog_limit=5)
    for number in range(50):
        feed(own, private("order", order(f"o-{number}", "Filled", updated=number, filled="3")))
    assert len(own._orders.values()) == 5


def test_ids_that_were_handed_in_are_not_told_again():
    seen = Recent(["fill-1"])
    own = open_stream(seen=seen)
    feed(own, private("execution", fill("fill-1"), fill("fill-2")))
    assert [one.exec_id for one in taken(own)] == ["fill-2"]
    assert [*seen] == ["fill-1", "fill-2"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("bybit_docs/websocket__private__order.1", Order),
        ("bybit_docs/websocket__private__execution.1", Execution),
        ("bybit_docs/websocket__private__position.1", Position),
        ("bybit_docs/websocket__private__wallet.1", Wallet),
        ("nautilus/ws_account_execution_adl", Execution),
        ("nautilus/ws_account_order_stop_loss", Order),
        ("nautilus/ws_account_position_short", Position),
        ("nautilus/ws_account_wallet_small_order", Wallet),
    ],
)
def test_documented_push_is_told_once(shared_data, name, kind):
    frame = documented(shared_data, name)
    own = open_stream()
    feed(own, frame, frame)
    assert {type(record) for record in taken(own)} == {kind}
    assert own.counters.duplicates == len(frame["data"])


def test_gap_is_refilled_before_anything_is_released():
    """TE-08: subscribe, buffer, ask REST, merge, release; new risk is blocked meanwhile."""
    asked, answer = asyncio.Event(), asyncio.Event()
    gaps = []
    full = Refill(
        orders=[parse_order(order("a", "Filled", updated=40, filled="3"))],
        executions=[
            parse_execution(fill("fill-3", at=T0 + 9)),
            parse_execution(fill("fill-2", at=T0 + 5)),
        ],
        positions=[parse_position(position("3", updated=40, seq=9))],
        wallet=parse_wallet(wallet("77")),
        wallet_ms=T0 + 50,
    )

    async def refill(gap):
        gaps.append(gap)
        if len(gaps) == 1:
            return Refill()
        asked.set()
        await answer.wait()
        return full

    async def main():
        async with SocketExchange() as exchange, stream(refill, exchange.url) as own:
            await own.until_ready()
            await exchange.push(
                private("order", order("a", "New", updated=10)),
                private("execution", fill("fill-1", at=T0)),
                private("position", position("1", updated=20, seq=5)),
            )
            taken(own)
            await exchange.close(1000)
            await asked.wait()
            assert {type(record) for record in taken(own)} == {Lapse}
            await exchange.push(
                private("wallet", wallet("70"), at=T0 + 49),  # before the wallet of REST
                private("order", order("a", "PartiallyFilled", updated=30, filled="2")),
                private("execution", fill("fill-2", at=T0 + 5), fill("fill-4", at=T0 + 11)),
                private("position", position("0", updated=60, seq=12)),
                private("wallet", wallet("80"), at=T0 + 60),
            )
            assert taken(own) == []
            assert not own.is_ready
            answer.set()
            await own.until_ready()
            told = taken(own)
            assert [one.exec_id for one in told if isinstance(one, Execution)] == [
                *["fill-2", "fill-3", "fill-4"]
            ]
            assert [one.order_status for one in told if isinstance(one, Order)] == ["Filled"]
            assert [one.size for one in told if isinstance(one, Position)] == [3, 0]
            assert [one.total_equity for one in told if isinstance(one, Wallet)] == [77, 80]
            assert told[-1] is full

    run(main())
    first, second = gaps
    assert first == Gap(None)
    assert second.since_ms == T0 - 60_000
    assert [one.order_id for one in second.orders] == ["a"]
    assert [one.size for one in second.positions] == [Decimal(1)]


def test_gap_after_a_restart_of_ours_begins_where_the_books_end():
    refill = answering(Refill())
    own = stream(refill, since_ms=T0, margin_s=5)
    asyncio.run(own._on_subscribed())
    assert refill.gaps == [Gap(T0 - 5000)]


@pytest.mark.parametrize("error", [ExchangeBusy("No answer.", "Wait."), ZeroDivisionError("bug")])
def test_refill_that_fails_is_tried_again_on_the_same_connection(error, caplog):
    """Whatever it raises: a callback never kills the socket."""
    refill = answering(error, error, Refill(orders=[parse_order(order("a", "New", updated=1))]))

    async def main():
        async with SocketExchange() as exchange, stream(refill, exchange.url) as own:
            await asyncio.sleep(0.05)
            assert "refill failed" in own.trouble
            await exchange.push(private("execution", fill("fill-1")))
            assert taken(own) == []
            await own.until_ready()
            assert [type(record) for record in taken(own)] == [Order, Execution, Refill]
            assert exchange.connections[PRIVATE] == 1

    run(main())
    assert "refill failed" in caplog.text


def test_refill_that_hangs_is_given_up_and_tried_again():
    calls = []

    async def refill(gap):
        calls.append(gap)
        if len(calls) == 1:
            await asyncio.sleep(1e6)
        return Refill()

    async def main():
        timing = Timing(refill_s=15)
        async with SocketExchange() as exchange, stream(refill, exchange.url, timing=timing) as own:
            await own.until_ready(20)
            assert len(calls) == 2
            assert exchange.connections[PRIVATE] == 1

    run(main())


def test_connection_lost_during_the_refill_begins_anew():
    calls = []

    async def refill(gap):
        calls.append(gap)
        if len(calls) == 1:
            await asyncio.sleep(5)
        return Refill(executions=[parse_execution(fill("fill-1", at=T0))])

    async def main():
        async with SocketExchange() as exchange, stream(refill, exchange.url) as own:
            await asyncio.sleep(0.1)
            await exchange.push(private("execution", fill("fill-1", at=T0), fill("fill-2", at=T0)))
            exchange.reset()
            await own.until_ready()
            # The second fill was held and lost; the exchange would list it, this one does not.
            assert [one.exec_id for one in taken(own, Execution)] == ["fill-1"]
            assert calls == [Gap(None), Gap(None)]

    run(main())


def test_private_events_wait_without_bound_and_block_new_risk():
    own = open_stream(backlog_limit=100)
    own._settled.set()
    assert own.is_ready
    for number in range(101):
        feed(own, private("execution", fill(f"fill-{number}")))
    assert own.trouble == "101 private events wait to be read."
    assert len(taken(own)) == 101
    assert own.is_ready
    assert own.counters.dropped == 0


def test_refilled_order_equals_the_pushed_one_and_is_told_once():
    row = order("a", "New", updated=5)
    refill = answering(Refill(), Refill(orders=[parse_order(row)]))

    async def main():
        own = stream(refill)
        await own._on_subscribed()
        feed(own, private("order", row))
        own._forget()
        await own._on_subscribed()
        return taken(own, Order)

    assert run(main()) == [parse_order(row)]
