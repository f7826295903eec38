"""Protects the simulated market: it never contradicts the bars, trades or books it is made of."""

from collections import defaultdict
from datetime import timedelta
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.markets import make_instrument, make_market, random_market
from workbench.core.errors import DataError
from workbench.core.records import Market
from workbench.exchange.records import Candle
from workbench.exchange.simulator import (
    BookSource,
    CandleSource,
    Refused,
    Settings,
    Simulator,
    TradeSource,
)
from workbench.exchange.simulator.paths import MadeBook, make_paths

D = Decimal
HOUR = 3_600_000


def on_ticks(market):
    """The market with its prices on the tick, as an exchange has them."""
    names = [f"{kind}{n}" for kind in ("", "mark_") for n in ("open", "high", "low", "close")]
    frames = {name: (getattr(market, name) * 10).round() / 10 for name in names}
    frames["volume"] = market.turnover / market.close
    for name in ("turnover", "funding_settled"):
        frames[name] = getattr(market, name)
    return Market.from_frames(
        frames, interval=market.interval, instruments=market.instruments, snapshot_id="t"
    )


def play(market, *, start=None, seed=0, wanted=("trade",), **options):
    sim = Simulator(
        list(market.instruments.values()), source=CandleSource(market, start=start), seed=seed,
        settings=Settings(**options),
    )  # fmt: skip
    sim.wanted = set(wanted)
    return sim


@st.composite
def bar_arrays(draw):
    n = draw(st.integers(1, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    o, c = rng.integers(50, 150, (2, n))
    span = draw(st.integers(0, 30))
    high, low = np.maximum(o, c) + rng.integers(0, span + 1, n), np.minimum(o, c) - span
    lots = rng.integers(0, draw(st.sampled_from((3, 30, 100_000))), n)
    return np.column_stack([o, high, low, c]), lots, draw(st.integers(4, 20)), rng


@given(bar_arrays())
@settings(max_examples=100, deadline=None)
def test_path_never_contradicts_its_bar(case):
    """First is the open, last the close, both extremes are touched, the volume adds up."""
    bars, lots, steps, rng = case
    paths = make_paths(bars, bars, lots, steps, rng)
    o, high, low, c = bars.T
    assert (paths.ticks[:, 0] == o).all()
    assert (paths.ticks[:, -1] == c).all()
    assert (paths.ticks.max(axis=1) == high).all()
    assert (paths.ticks.min(axis=1) == low).all()
    assert (paths.lots.sum(axis=1) == lots).all()
    assert (paths.lots >= 0).all()
    is_traded = paths.lots > 0
    assert ((np.where(is_traded, paths.ticks, 0).max(axis=1) == high) | (lots < 4)).all()
    assert ((np.where(is_traded, paths.ticks, 999).min(axis=1) == low) | (lots < 4)).all()
    assert (paths.marks.min(axis=1) >= low).all()
    moves = np.diff(paths.ticks, axis=1)
    assert (np.sign(moves) * paths.signs[:, 1:] >= 0).all()


def test_tape_of_a_bar_adds_up_to_the_bar():
    market = on_ticks(random_market(3, n_bars=40))
    sim = play(market)
    sim.advance(int(market.index[-1].timestamp() * 1000))
    bars = defaultdict(list)
    for event in sim.take_events():
        trade = event.record
        bars[trade.symbol, trade.time_ms // HOUR].append(trade)
    for s, symbol in enumerate(market.symbols):
        for i, known_at in enumerate(market.index):
            tape = bars[symbol, int(known_at.timestamp() * 1000) // HOUR - 1]
            prices = [float(t.price) for t in tape]
            got = (prices[0], max(prices), min(prices), prices[-1])
            names = ("open", "high", "low", "close")
            assert got == tuple(getattr(market, n).iat[i, s] for n in names)
            step = float(market.instruments[symbol].qty_step)
            volume = round(market.volume.iat[i, s] / step)
            assert sum(t.size for t in tape) == D(volume) * market.instruments[symbol].qty_step


def test_book_stands_around_the_last_price_at_every_moment():
    market = on_ticks(random_market(4, n_bars=20, n_symbols=1))
    sim = play(market)
    while sim.next_ms is not None:
        sim.advance(sim.next_ms)
        book, last = sim.book("AAAUSDT", 5), sim.ticker("AAAUSDT").last_price
        assert book.bids[0].price <= last <= book.asks[0].price
        assert book.bids[0].price < book.asks[0].price
        assert all(level.size > 0 for level in (*book.bids, *book.asks))


def test_made_book_keeps_its_sizes_while_the_price_moves():
    """A place in the queue means something only if what stands before it stays."""
    before = MadeBook(bid=999, ask=1001, depth=5, lots=100, salt=1)
    after = MadeBook(bid=1002, ask=1004, depth=5, lots=100, salt=1)
    assert before.size(1, 997) == after.size(1, 997)
    assert [ticks for ticks, _ in after.levels(-1)] == [1004, 1005, 1006, 1007, 1008]


@pytest.mark.parametrize("interval", ["60", "240", "D"])
def test_candles_of_longer_intervals_are_those_of_the_market(interval):
    market = on_ticks(random_market(5, n_bars=72, n_symbols=1))
    sim = play(market, start=market.index[20])
    sim.advance(int(market.index[-1].timestamp() * 1000))
    wanted = market.resample(interval)
    rows = sim.candles("AAAUSDT", interval, limit=1000)
    closed = [row for row in reversed(rows) if row.confirm]
    assert [row.start_ms for row in closed][-len(wanted.index) :] == [
        int((known - wanted.bar_length).timestamp() * 1000) for known in wanted.index
    ]
    for row, known_at in zip(closed[-len(wanted.index) :], wanted.index, strict=True):
        got = [float(x) for x in (row.open, row.high, row.low, row.close)]
        names = ("open", "high", "low", "close")
        assert got == [getattr(wanted, n).at[known_at, "AAAUSDT"] for n in names]
    marks = sim.candles("AAAUSDT", interval, kind="mark", limit=1)
    assert marks[0].volume is None
    assert float(marks[0].close) == market.mark_close.iat[-1, 0]


def test_finer_candles_are_made_of_trades_once_they_are_asked_for():
    market = on_ticks(random_market(6, n_bars=3, n_symbols=1))
    sim = play(market)
    assert sim.candles("AAAUSDT", "5") == []
    sim.advance(int(market.index[0].timestamp() * 1000))
    rows = sim.candles("AAAUSDT", "5")
    assert len(rows) == 12
    assert rows[-1].open == D(str(market.open.iat[0, 0]))
    step = market.instruments["AAAUSDT"].qty_step
    assert sum(r.volume for r in rows) == round(market.volume.iat[0, 0] / float(step)) * step


def test_candle_in_progress_and_pages():
    market = on_ticks(random_market(7, n_bars=10, n_symbols=1))
    sim = play(market)
    start = sim.now_ms
    sim.advance(start + 3 * HOUR + HOUR // 2)
    rows = sim.candles("AAAUSDT", "60")
    assert [row.confirm for row in rows] == [False, True, True, True]
    page = sim.candles("AAAUSDT", "60", start_ms=start, limit=2)
    assert [row.start_ms for row in page] == [start + HOUR, start]
    page = sim.candles("AAAUSDT", "60", end_ms=start + HOUR)
    assert [row.start_ms for row in page] == [start + HOUR, start]
    with pytest.raises(Refused):
        sim.candles("AAAUSDT", "7")


def test_same_seed_gives_the_same_market_however_time_is_stepped():
    market = on_ticks(random_market(8, n_bars=12))
    end = int(market.index[-1].timestamp() * 1000)

    def events(seed, stride):
        sim = play(market, seed=seed)
        while sim.now_ms < end:
            sim.advance(min(end, sim.now_ms + stride))
        return sim.take_events()

    assert events(1, 1_000_000) == events(1, end)
    assert events(1, end) != events(2, end)


def test_unwatched_bars_end_as_watched_ones_do():
    market = on_ticks(random_market(9, n_bars=30, n_symbols=1))
    end = int(market.index[-1].timestamp() * 1000)
    watched, unwatched = play(market), play(market, wanted=())
    watched.advance(end)
    unwatched.advance(end)
    assert unwatched.candles("AAAUSDT", "60") == watched.candles("AAAUSDT", "60")
    assert unwatched.book("AAAUSDT").bids == watched.book("AAAUSDT").bids
    assert unwatched.funding_history("AAAUSDT") == watched.funding_history("AAAUSDT")


def test_funding_is_paid_by_what_was_held_before_the_stamp():
    """BYBIT.md 2.7: bars of an hour, the eighth settles on its closing mark."""
    market = on_ticks(random_market(10, n_bars=9, n_symbols=1))
    stamp = int(market.index[7].timestamp() * 1000)
    sim = play(market)
    for uid in ("before", "after"):
        sim.add_account(uid, wallet_usdt="1000")
    body = {"symbol": "AAAUSDT", "side": "Buy", "orderType": "Market", "qty": "1"}
    sim.advance(stamp - 1)
    assert sim.ticker("AAAUSDT").next_funding_time_ms == stamp
    sim.create_order("before", body)
    sim.advance(stamp)
    sim.create_order("after", body)
    paid = sim.executions("before")[0]
    assert (paid.exec_type, paid.exec_time_ms) == ("Funding", stamp)
    rate, mark = market.funding_settled.iat[7, 0], market.mark_close.iat[7, 0]
    assert float(paid.exec_fee) == pytest.approx(rate * mark, abs=1e-8)
    assert sim.executions("after")[0].exec_type == "Trade"
    assert sim.funding_history("AAAUSDT")[0].time_ms == stamp


def test_missing_bar_leaves_the_market_as_it_was():
    nan = float("nan")
    frames = {"open": [100, nan, 102], "high": [101, nan, 103], "low": [99, nan, 101],
              "close": [100.5, nan, 102.5], "volume": [10, nan, 10]}  # fmt: skip
    market = make_market(instruments={"AAAUSDT": make_instrument()}, **frames)
    sim = play(market)
    sim.advance(sim.now_ms + 2 * HOUR)
    assert sim.ticker("AAAUSDT").last_price == D("100.5")
    assert len(sim.candles("AAAUSDT", "60")) == 1


def test_source_that_begins_after_its_end_is_refused():
    market = random_market(1, n_bars=5)
    with pytest.raises(DataError, match="Start earlier"):
        CandleSource(market, start=market.index[-1] + timedelta(hours=1))


def test_orders_rest_and_fill_along_the_path():
    """A bid at the low of a bar that trades there on, and nothing below it."""
    market = on_ticks(random_market(11, n_bars=6, n_symbols=1))
    sim = play(market)
    sim.add_account("a", wallet_usdt="100000")
    low = D(str(market.low.iat[0, 0]))
    sim.advance(sim.now_ms + 1)
    body = {"symbol": "AAAUSDT", "side": "Buy", "orderType": "Limit", "qty": "0.1"}
    sim.create_order("a", body | {"price": str(low + D("0.1"))})
    sim.create_order("a", body | {"price": str(low - D("0.1"))})
    sim.advance(sim.now_ms + HOUR - 2)
    assert [e.exec_price for e in sim.executions("a")] == [low + D("0.1")]


class TestArchives:
    """Trades and books as the exchange's archives have them."""

    @pytest.mark.parametrize(
        ("name", "symbol", "price", "size"),
        [
            ("BTCUSDT2026-07-24.new11col.sample.csv.gz", "BTCUSDT", "65065.8", "0.038"),
            ("FXSUSDT2022-04-04.old10col.sample.csv.gz", "FXSUSDT", "38.32", "0.01"),
        ],
    )
    def test_trades(self, shared_data, name, symbol, price, size):
        path = shared_data.parent / "bybit" / "archive_samples" / name
        rules = make_instrument(symbol, tick_size=D("0.01"))
        sim = Simulator([rules], source=TradeSource(path))
        sim.advance(sim.next_ms)
        (trade,) = sim.trades(symbol)
        assert (trade.price, trade.size, trade.side) == (D(price), D(size), "Buy")
        assert sim.book(symbol, 1).asks[0].price == D(price)
        assert sim.next_ms is None

    def test_trades_back_in_time_are_refused(self, tmp_path):
        path = tmp_path / "trades.csv"
        path.write_text("timestamp,symbol,side,size,price\n2,A,Buy,1,1\n1,A,Buy,1,1\n")
        sim = Simulator([], source=TradeSource(path))
        with pytest.raises(DataError, match="back in time"):
            sim.advance(5_000)

    def test_order_book(self, shared_data):
        """A genuine archive: after every frame the book is sorted, uncrossed, and as the frames."""
        path = next((shared_data / "bybit_ob500_xrp").glob("*.zip"))
        sim = Simulator(
            [make_instrument("XRPUSDT", tick_size=D("0.0001"), qty_step=D(1))],
            source=BookSource(path),
        )  # fmt: skip
        source, shadow = sim._sources[0], {"b": {}, "a": {}}
        n_frames = 0
        while sim.next_ms is not None:
            frame = source._frame
            for side in ("b", "a"):
                levels = {D(p): D(q) for p, q in frame["data"][side]}
                shadow[side] = levels if frame["type"] == "snapshot" else shadow[side] | levels
            sim.advance(sim.next_ms)
            book = sim.book("XRPUSDT", 1000)
            for side, levels, way in (("b", book.bids, -1), ("a", book.asks, 1)):
                wanted = sorted((way * p, q) for p, q in shadow[side].items() if q)
                assert [(way * level.price, level.size) for level in levels] == wanted
            assert book.bids[0].price < book.asks[0].price
            n_frames += 1
        assert n_frames == 50
        assert sim.ticker("XRPUSDT").last_price > 0

    def test_book_with_a_gap_waits_for_a_snapshot(self, tmp_path):
        path = tmp_path / "book.ndjson"
        frame = (
            '{{"type":"{}","ts":{},"data":{{"s":"A","b":[["1.0","{}"]],"a":[["1.2","5"]],"u":{}}}}}'
        )
        rows = [("snapshot", 1, 5, 10), ("delta", 2, 6, 11), ("delta", 3, 9, 13),
                ("delta", 4, 9, 14), ("snapshot", 5, 7, 20)]  # fmt: skip
        path.write_text("\n".join(frame.format(*row) for row in rows))
        sim = Simulator([make_instrument("A")], source=BookSource(path))
        sizes = []
        for moment in range(1, 6):
            sim.advance(moment)
            sizes.append(int(sim.book("A", 1).bids[0].size))
        assert sizes == [5, 6, 6, 6, 7]


def test_live_market_is_matched_against_and_settles_its_funding():
    """Paper trading: what public sockets tell is pushed in, orders meet it."""
    sim = Simulator([make_instrument()])
    sim.add_account("a", wallet_usdt="1000")
    body = {"symbol": "AAAUSDT", "side": "Buy", "orderType": "Market", "qty": "1"}
    with pytest.raises(Refused):
        sim.create_order("a", body)
    sim.push_ticker("AAAUSDT", 0, mark=D(100), index=D(100), funding_rate=D("0.001"),
                    next_funding_ms=5_000, open_interest=D(7))  # fmt: skip
    sim.push_book("AAAUSDT", [("99.9", "5")], [("100.1", "5")], 1, is_snapshot=True)
    sim.push_trade("AAAUSDT", D("100.1"), D(2), "Buy", 2, "their-id")
    sim.push_book("AAAUSDT", [], [("100.1", "0"), ("100.2", "5")], 3, is_snapshot=False)
    sim.create_order("a", body)
    assert sim.executions("a")[0].exec_price == D("100.2")
    assert [t.exec_id for t in sim.trades("AAAUSDT")][-1] == "their-id"
    sim.advance(5_000)
    sim.push_ticker("AAAUSDT", 5_000, mark=D(101))
    paid = sim.executions("a")[0]
    assert (paid.exec_type, paid.exec_fee) == ("Funding", D("0.101"))
    ticker = sim.ticker("AAAUSDT")
    assert (ticker.open_interest, ticker.mark_price, ticker.index_price) == (7, 101, 100)
    sim.advance(6_000)
    sim.push_ticker("AAAUSDT", 6_000, mark=D(101))
    assert sim.executions("a")[0] is paid


def test_live_market_has_the_history_that_was_pushed():
    """A strategy needs candles from before its first trade."""
    sim = Simulator([make_instrument()], start_ms=2 * HOUR)
    rows = [Candle(k * 60_000, D(k), D(k + 1), D(k), D(k), D(1), D(k)) for k in range(1, 121)]
    sim.push_candles("AAAUSDT", "1", rows[::-1])
    sim.push_trade("AAAUSDT", D(121), D(2), "Buy", 2 * HOUR + 60_000)
    sim.advance(2 * HOUR + 70_000)
    (now, before) = sim.candles("AAAUSDT", "1", limit=2)
    assert (now.open, now.confirm, before.open) == (121, False, 120)
    (hour,) = sim.candles("AAAUSDT", "60", start_ms=HOUR, end_ms=HOUR)
    assert (hour.open, hour.high, hour.volume, hour.confirm) == (60, 120, 60, True)
    with pytest.raises(DataError, match="first"):
        sim.push_candles("AAAUSDT", "1", rows)


def test_premium_candles_are_the_gap_of_mark_and_index():
    sim = Simulator([make_instrument()])
    for moment, mark in ((1_000, 101), (2_000, 103), (61_000, 100)):
        sim.push_ticker("AAAUSDT", moment, mark=D(mark), index=D(100))
    sim.advance(62_000)
    now, before = sim.candles("AAAUSDT", "1", kind="premium")
    assert (before.open, before.high, before.close) == (D("0.01"), D("0.03"), D("0.03"))
    assert (now.close, now.volume) == (0, None)


def test_ticker_tells_what_is_predicted_and_open():
    columns = {"open": [100, 101], "close": [101, 102], "high": [102, 103], "low": [99, 100],
               "volume": [5, 5], "funding_predicted": [1e-4, 2e-4],
               "open_interest": [50, 60]}  # fmt: skip
    sim = play(make_market(instruments={"AAAUSDT": make_instrument()}, **columns))
    sim.advance(sim.now_ms + HOUR)
    (ticker,) = sim.tickers()
    assert (ticker.funding_rate, ticker.open_interest) == (D("0.0001"), 50)
    assert ticker.open_interest_value == 50 * 101
    assert (ticker.high_price24h, ticker.low_price24h, ticker.volume24h) == (102, 99, 5)
    sim.advance(sim.now_ms + HOUR)
    assert [row.value for row in sim.open_interest("AAAUSDT")] == [60, 50]


def test_time_only_moves_forward():
    sim = Simulator([], start_ms=10)
    with pytest.raises(DataError, match="forward"):
        sim.advance(9)
