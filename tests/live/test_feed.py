"""Protects the feed: a bar is whole or says what it lacks, is released once and in order, and its
windows are those of research (DESIGN seam 1).
"""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench import data
from workbench.core.clock import SimulatedClock
from workbench.core.errors import DataError, ExchangeBusy
from workbench.data import synthesise
from workbench.exchange.records import Candle, Ticker
from workbench.exchange.streams.mailbox import Event, Lapse
from workbench.exchange.wire import to_millis
from workbench.live.feed import GRACE, Assembler, Feed
from workbench.live.history import fetch_rows
from workbench.live.window import PLACE, Row, Window, blank, read_rows, traded_a_day

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
HOUR = timedelta(hours=1)
START = datetime(2024, 3, 1, tzinfo=UTC)
CLOSE = PLACE["close"]


def candle(start, close=100, **changes):
    values = dict.fromkeys(("open", "high", "low", "close", "volume", "turnover"), Decimal(close))
    return Candle(to_millis(start), **{**values, "interval": "60", **changes})


def ticker(symbol="BTCUSDT", **changes):
    given_ = {
        "last_price": Decimal(100), "mark_price": Decimal(101), "funding_rate": Decimal("0.0001"),
        "open_interest": Decimal(7), "next_funding_time_ms": to_millis(START + 8 * HOUR),
    }  # fmt: skip
    return Ticker(symbol, **{**given_, **changes})


@given(st.permutations([(s, i) for s in SYMBOLS for i in range(4)]))
def test_bars_are_released_whole_once_and_in_order_however_candles_come(order):
    assembler, released = Assembler(SYMBOLS, HOUR, START), []
    for number, (symbol, i) in enumerate(order):
        now = START + timedelta(milliseconds=number)
        late = assembler.take(symbol, candle(START + i * HOUR, 100 + i), now)
        while (row := assembler.release(now)) is not None:
            released.append(row)
            assert not np.isnan(row.values[CLOSE]).any()
        # What comes after a later bar went out is handed back to be mended with.
        assert late is None or late.known_at <= released[-1].known_at
    known = [row.known_at for row in released]
    assert known == sorted(set(known))


def test_bar_of_a_late_symbol_is_released_after_the_grace_without_it():
    """DESIGN seam 2: what is 2 s late keeps its position."""
    assembler = Assembler(SYMBOLS, HOUR, START)
    now = START + HOUR
    assembler.take("BTCUSDT", candle(START), now)
    assert assembler.release(now + GRACE - timedelta(milliseconds=1)) is None
    row = assembler.release(now + GRACE)
    assert row.known_at == START + HOUR
    assert np.isnan(row.values[CLOSE]).tolist() == [False, True, True]
    late = assembler.take("ETHUSDT", candle(START, 5), now + 2 * GRACE)
    assert late.values[CLOSE, 1] == 5


def test_ticker_gives_mark_funding_and_interest_of_the_newest_bar():
    assembler = Assembler(SYMBOLS, HOUR, START + 6 * HOUR)
    for mark in (101, 99, 103, 102):
        assembler.take_ticker(ticker(mark_price=Decimal(mark)))
    for i in (6, 7):
        assembler.take("BTCUSDT", candle(START + i * HOUR), START + (i + 1) * HOUR)
    row = assembler.release(START + 9 * HOUR)
    names = ("mark_open", "mark_high", "mark_low", "mark_close", "open_interest")
    assert [row.values[PLACE[name], 0] for name in names] == [101, 103, 99, 102, 7]
    # The rate that stands at the stamp is the one that settles in the bar that ends with it.
    assert np.isnan(row.values[PLACE["funding_settled"], 0])
    row = assembler.release(START + 9 * HOUR)
    assert row.values[PLACE["funding_settled"], 0] == 0.0001


def test_window_is_the_market_of_research(tmp_path):
    market = synthesise(SYMBOLS, interval="60", start=START, n_bars=200, seed=1)
    rows = read_rows(market, SYMBOLS)
    window = Window(SYMBOLS, "60", market.instruments, bars=40, is_synthetic=True)
    window.extend(rows[:90])
    kept = window.market(40)
    for row in rows[90:]:
        window.append(row)
    for seen, end in ((kept, 90), (window.market(40), 200)):
        expected = market.until(market.index[end - 1], bars=40)
        for name in PLACE:
            own, its = getattr(seen, name), getattr(expected, name)
            assert own.equals(its), name
            assert own.index.equals(its.index)
        assert seen.watermark == expected.watermark
    assert list(window.market(7, ("SOLUSDT", "BTCUSDT")).close.columns) == ["SOLUSDT", "BTCUSDT"]
    value = market.turnover.iloc[-24:].sum().to_numpy()
    assert np.allclose(traded_a_day(window), value, rtol=1e-12)


def test_window_refuses_an_older_bar_and_cannot_be_changed_by_a_strategy():
    market = synthesise(SYMBOLS, interval="60", start=START, n_bars=10, seed=1)
    rows = read_rows(market, SYMBOLS)
    window = Window(SYMBOLS, "60", market.instruments, bars=5)
    window.extend(rows[:6])
    with pytest.raises(DataError, match="order of their time"):
        window.append(rows[5])
    seen = window.market(5)
    with pytest.raises(ValueError, match="read-only"):
        seen.close.iloc[0, 0] = 0.0


def test_window_is_mended_where_it_lacked_something_and_what_was_seen_stays():
    market = synthesise(SYMBOLS, interval="60", start=START, n_bars=6, seed=1)
    rows = read_rows(market, SYMBOLS)
    holed = rows[3].values.copy()
    holed[:, 1] = np.nan
    window = Window(SYMBOLS, "60", market.instruments, bars=6)
    window.extend([*rows[:3], Row(rows[3].known_at, holed), *rows[4:]])
    seen = window.market(6)
    assert window.mend(rows[3])
    assert not window.mend(rows[3])
    assert seen.close.iloc[3].isna().sum() == 1
    assert window.market(6).close.equals(market.close)
    assert not window.mend(Row(START - HOUR, rows[0].values))


class Stream:
    """A public stream that says nothing by itself."""

    def __init__(self):
        self.topics, self.lapsed, self.trouble = (), {}, ""

    def subscribe(self, *topics):
        self.topics = topics


@pytest.fixture
def feed():
    """A feed after one bar, with a clock that stands and a REST that knows five more."""
    market = synthesise(SYMBOLS, interval="60", start=START, n_bars=6, seed=1)
    rows = read_rows(market, SYMBOLS)
    window = Window(SYMBOLS, "60", market.instruments, bars=6)
    window.append(rows[0])
    asked, notes, mended = [], [], []

    def fetch(first, last):
        asked.append((first, last))
        if feed.is_down:
            raise ExchangeBusy("No answer.", "Again.")
        return [row for row in rows if first <= row.known_at <= last]

    clock = SimulatedClock(rows[0].known_at)
    feed = Feed(Stream(), window, fetch, clock=clock, note=notes.append, mended=mended.append)
    feed.is_down, feed.asked, feed.notes, feed.told, feed.all = False, asked, notes, mended, rows
    return feed


def push(feed, row, symbols=SYMBOLS):
    """Let the stream bring a bar."""
    for symbol in symbols:
        s = SYMBOLS.index(symbol)
        names = ("open", "high", "low", "close", "volume", "turnover")
        values = {n: Decimal(repr(float(row.values[PLACE[n], s]))) for n in names}
        record = Candle(to_millis(row.known_at - HOUR), **values, interval="60")
        feed.take(Event(f"kline.60.{symbol}", 0, 0, 0, record))


def test_feed_asks_rest_for_bars_that_the_stream_never_brought(feed):
    feed.clock.sleep(3600 + 1)
    assert asyncio.run(feed.release()) == []
    feed.clock.sleep(2 * 3600 + 1)
    released = asyncio.run(feed.release())
    assert [row.known_at for row in released] == [row.known_at for row in feed.all[1:4]]
    assert feed.asked == [(feed.all[1].known_at, feed.all[3].known_at)]
    assert len(feed.window) == 4


@pytest.mark.parametrize("behind_s", [0, 3 * 3600])
def test_feed_fills_a_hole_before_the_bar_that_came(feed, behind_s):
    """Whether or not the clock knows already that it has closed."""
    feed.clock.sleep(3 * 3600 - behind_s)
    push(feed, feed.all[3])
    released = asyncio.run(feed.release())
    assert [row.known_at for row in released] == [row.known_at for row in feed.all[1:4]]


def test_feed_waits_while_rest_does_not_answer_and_says_so(feed, monkeypatch):
    monkeypatch.setattr("workbench.live.feed.GRACE", timedelta(0))
    feed.is_down = True
    feed.clock.sleep(3600)
    assert asyncio.run(feed.release()) == []
    assert "cannot be had" in feed.notes[0]
    feed.is_down = False
    assert len(asyncio.run(feed.release())) == 1


def test_feed_mends_a_late_symbol_and_tells_it(feed):
    feed.clock.sleep(3600)
    push(feed, feed.all[1], ("BTCUSDT", "ETHUSDT"))
    feed.clock.sleep(2)
    (row,) = asyncio.run(feed.release())
    assert np.isnan(row.values[CLOSE, 2])
    push(feed, feed.all[1], ("SOLUSDT",))
    assert [own.known_at for own in feed.told] == [row.known_at]
    assert feed.window.last[CLOSE, 2] == feed.all[1].values[CLOSE, 2]


def test_feed_names_what_is_stale(feed):
    feed.take(Event("tickers.BTCUSDT", 0, 0, 0, Lapse("Nothing was heard.", 0)))
    feed.stream.lapsed = {"tickers.BTCUSDT": "Nothing was heard."}
    assert feed.stale == {"BTCUSDT": "Nothing was heard."}
    feed.stream.lapsed, feed.stream.trouble = {}, "The connection is lost."
    assert set(feed.stale) == set(SYMBOLS)
    assert feed.notes == ["tickers.BTCUSDT: Nothing was heard."]


def test_feed_quotes_what_the_ticker_says(feed):
    feed.take(Event("tickers.BTCUSDT", 0, 0, 0, ticker(bid1_price=Decimal(99))))
    quote = feed.quotes["BTCUSDT"]
    assert (quote.last, quote.mark, quote.bid) == (100, 101, 99)


def test_rows_of_rest_are_those_of_the_lake(client, tmp_path, home):
    """The same bars, marks, funding and interest, whether pulled for research or for trading."""
    symbols, end = ["BTCUSDT", "ETHUSDT"], datetime(2024, 3, 1, 12, tzinfo=UTC)
    begin = end - timedelta(days=20)
    data.pull(
        symbols, interval="60", start=begin - timedelta(days=2), end=end + HOUR / 60, lake=tmp_path,
        client=client, venue="bybit",
    )  # fmt: skip
    lake = data.load(symbols, interval="60", start=begin, end=end, lake=tmp_path)
    rows = fetch_rows(client, symbols, "60", begin, end)
    expected = read_rows(lake, symbols)
    assert [row.known_at for row in rows] == [row.known_at for row in expected]
    window, other = (Window(symbols, "60", {}, bars=len(rows)) for _ in range(2))
    window.extend(rows)
    other.extend(expected)
    for name in PLACE:
        mine, its = window.column(name, len(rows)), other.column(name, len(rows))
        # Open interest and the running premium need what lies before the span.
        first = 24 if name in ("open_interest", "funding_predicted") else 0
        assert np.allclose(mine[first:], its[first:], equal_nan=True, rtol=1e-12), name
    assert np.isfinite(window.column("funding_settled", len(rows))).sum() > 100


def test_blank_row_knows_nothing():
    assert np.isnan(blank(3)).all()
