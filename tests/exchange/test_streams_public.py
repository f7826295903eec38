"""Protects market data: what is merged, replaced, dropped or kept, frame by frame, in memory."""

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.loopback.frames import BOOK, TICKER, TRADES, book, documented, trade
from workbench.core.clock import SimulatedClock
from workbench.exchange import records
from workbench.exchange.streams import Lapse, PublicStream
from workbench.exchange.streams.mailbox import Counters, Event, Mailbox, Recent
from workbench.exchange.wire import from_millis
from workbench.exchange.words import Side

NOW_MS = 1_782_907_200_123
KLINE = "kline.5.BTCUSDT"


def stream(*topics):
    own = PublicStream("ws://127.0.0.1:9", clock=SimulatedClock(from_millis(NOW_MS)))
    own.subscribe(*topics)
    own._live.update(topics)
    return own


def feed(own, *frames):
    for frame in frames:
        own.feed(json.dumps(frame).encode())


def taken(own):
    return list(iter(own.events.take, None))


def ticker(kind, number, **data):
    return {"topic": TICKER, "type": kind, "ts": NOW_MS - 5, "cs": number,
            "data": {"symbol": "BTCUSDT", **data}}  # fmt: skip


def candle(start, *, stamp, confirm=False, close="100"):
    row = {"start": start, "end": start + 299_999, "interval": "5", "open": "100", "close": close,
           "high": "101", "low": "99", "volume": "2", "turnover": "200", "confirm": confirm,
           "timestamp": stamp}  # fmt: skip
    return {"topic": KLINE, "type": "snapshot", "ts": stamp, "data": [row]}


@pytest.mark.parametrize(
    ("name", "kind", "moment"),
    [
        ("bybit_docs/websocket__public__ticker.0_0.repaired", records.Ticker, 1760325052630),
        ("bybit_docs/websocket__public__trade.0", records.PublicTrade, 1672304486865),
        ("bybit_docs/websocket__public__kline.0", records.Candle, 1672324988882),
        ("bybit_docs/websocket__public__all-liquidation.0", records.Liquidation, 1739502302929),
        ("bybit_docs/websocket__public__order-price-limit.1", records.PriceLimit, 1750059683782),
        ("bybit_docs/websocket__system__system-status.1", list, 1751858399649),
        ("nautilus/ws_ticker_linear", records.Ticker, None),
        ("nautilus/ws_kline", records.Candle, None),
    ],
)
def test_documented_push_becomes_an_event_with_both_times(shared_data, name, kind, moment):
    """TE-08."""
    frame = documented(shared_data, name)
    own = stream(frame["topic"])
    feed(own, frame)
    (event,) = taken(own)
    assert isinstance(event.record, kind)
    assert event.received_ms == NOW_MS
    assert event.exchange_ms == (moment or event.exchange_ms)
    assert event.exchange_time.utcoffset().total_seconds() == 0
    assert event.received_time == from_millis(NOW_MS)
    assert own.counters.latency_ms == NOW_MS - event.exchange_ms


def test_documented_book_is_a_live_book(shared_data):
    snapshot = documented(shared_data, "bybit_docs/websocket__public__orderbook.0_0.repaired")
    own = stream(snapshot["topic"])
    feed(own, snapshot)
    (event,) = taken(own)
    assert (event.exchange_ms, event.seq) == (1672304484976, 7961638724)
    assert event.record is own.books[snapshot["topic"]]
    assert event.record.best_bid == Decimal("16493.50")
    feed(own, documented(shared_data, "bybit_docs/websocket__public__orderbook.1"))
    assert own.counters.gaps == 1
    assert [type(event.record) for event in taken(own)] == [Lapse]


def test_ticker_delta_changes_what_it_names_and_nothing_else():
    own = stream(TICKER)
    feed(
        own,
        ticker("delta", 1, lastPrice="1"),
        ticker("snapshot", 5, lastPrice="100", markPrice="101", fundingRate="0.0001"),
    )
    feed(own, ticker("delta", 6, markPrice="102", fundingRate=""))
    (event,) = taken(own)
    assert (event.record.last_price, event.record.mark_price) == (Decimal(100), Decimal(102))
    assert event.record.funding_rate is None
    assert event.seq == 6
    feed(own, ticker("delta", 4, lastPrice="7"))
    assert taken(own) == []
    assert (own.counters.duplicates, own.counters.strays) == (1, 1)
    feed(own, ticker("snapshot", 2, lastPrice="8"))
    assert taken(own)[0].record.mark_price is None


def test_slow_reader_finds_the_newest_state_and_every_trade():
    own = stream(BOOK, TRADES)
    feed(own, book(5))
    for number in range(6, 1006):
        feed(own, book(number, kind="delta", bids=[["100", str(number)]]), trade(number))
    events = taken(own)
    assert len(events) == 1001
    assert own.counters.coalesced == 1000
    assert own.counters.backlog_max == 1001
    assert own.counters.backlog == 0
    assert events[0].record.snapshot().bids[0].size == 1005
    assert events[0].seq == 10_050
    assert [event.seq for event in events[1:]] == list(range(6, 1006))


def test_trades_beyond_the_limit_push_out_the_oldest_and_are_counted():
    own = stream(TRADES, TICKER)
    own.events.lossy_limit = 3
    feed(own, ticker("snapshot", 1, lastPrice="1"), *(trade(k) for k in range(10)))
    assert [event.seq for event in taken(own)] == [1, 7, 8, 9]
    assert own.counters.dropped == 7
    feed(own, *(trade(k) for k in range(10, 13)))
    assert [event.seq for event in taken(own)] == [10, 11, 12]


def test_trade_that_is_repeated_is_told_once():
    own = stream(TRADES)
    feed(own, trade(1), trade(2), trade(1), trade(2), trade(3))
    assert [event.seq for event in taken(own)] == [1, 2, 3]
    assert own.counters.duplicates == 2


def test_candle_is_final_once_and_a_late_frame_of_it_is_not_told():
    own = stream(KLINE)
    feed(own, candle(0, stamp=10), candle(0, stamp=20, close="101"))
    feed(own, candle(0, stamp=30, confirm=True, close="102"))
    feed(own, candle(0, stamp=20, close="101"), candle(0, stamp=40), candle(300_000, stamp=50))
    feed(own, candle(300_000, stamp=50))
    first, second = taken(own)
    assert (first.record.close, first.record.confirm) == (Decimal(102), True)
    assert (second.record.start_ms, second.record.confirm) == (300_000, False)
    assert own.counters.duplicates == 3


def test_liquidation_of_a_long_is_a_purchase(shared_data):
    """BYBIT.md 2.3: S = Buy means that a long was liquidated."""
    frame = documented(shared_data, "bybit_docs/websocket__public__all-liquidation.0")
    frame["data"][0]["S"] = "Buy"
    own = stream(frame["topic"])
    feed(own, frame)
    assert taken(own)[0].record.side is Side.BUY


def test_state_that_lapsed_is_taken_back_from_the_queue():
    """No reader may meet a book as good that has broken meanwhile."""
    own = stream(BOOK)
    feed(own, book(5), book(9, kind="delta"))
    (event,) = taken(own)
    assert isinstance(event.record, Lapse)
    assert own.trouble


def test_frame_of_a_topic_that_nobody_wants_is_a_stray():
    own = stream(BOOK)
    feed(own, trade(1))
    assert (own.counters.strays, taken(own)) == (1, [])


@given(st.lists(st.one_of(st.integers(0, 5), st.sampled_from(["lossy", "kept", "take"]))))
def test_mailbox_keeps_order_counts_what_it_drops_and_loses_nothing_else(steps):
    """States by key, lossy events beyond three, and events that are never lost."""
    box, model, got, told, dropped = Mailbox(Counters(), lossy_limit=3), {}, [], [], 0
    for number, step in enumerate(steps):
        event = Event("t", number, number, number, step)
        if step == "take":
            got.append(box.take())
            told.append(model.pop(next(iter(model))) if model else None)
        elif step == "lossy":
            lossy = [key for key in model if isinstance(key, tuple)]
            box.put(event, is_lossy=True)
            model[step, number] = event
            if len(lossy) == 3:
                del model[lossy[0]]
                dropped += 1
        else:
            box.put(event, key=f"key {step}" if isinstance(step, int) else None)
            model[f"key {step}" if isinstance(step, int) else f"kept {number}"] = event
        assert box.counters.backlog == len(model)
    got += iter(box.take, None)
    assert got == told + list(model.values())
    assert box.counters.dropped == dropped


def test_recent_ids_forget_the_oldest():
    recent = Recent(["a", "b"], limit=3)
    recent.add("c")
    recent.add("d")
    assert ([*recent], len(recent)) == (["b", "c", "d"], 3)
    assert "a" not in recent
