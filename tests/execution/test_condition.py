"""Protects the measures of a book, which are exact, and the class that a market is put into."""

from datetime import timedelta
from decimal import Decimal
from math import sqrt

import numpy as np
import orjson
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.execution.made import START, make_book, plain_book
from tests.loopback.recorded import archived_books
from tests.markets import make_index, make_market
from workbench.core.errors import ConfigError, DataError
from workbench.exchange.streams.book import OrderBook
from workbench.exchange.words import Side
from workbench.execution import condition
from workbench.execution.condition import Scale, State, assess, curve_share, volume_curve

BOOK = make_book(
    [("99.8", "2"), ("99.7", "3"), ("99.6", "5")], [("100.2", "1"), ("100.4", "4"), ("101", "6")]
)
D = Decimal


def test_measures_equal_a_book_made_by_hand():
    """EX-03, exact: mid 100, spread 0.4, ten basis points hold nothing beyond 99.9 and 100.1."""
    assert condition.mid(BOOK) == 100
    assert condition.spread(BOOK) == D("0.004")
    assert condition.depth(BOOK, Side.BUY, within=D("0.003")) == D("99.8") * 2 + D("99.7") * 3
    assert condition.depth(BOOK, Side.SELL, within=D("0.004")) == D("100.2") + D("100.4") * 4
    assert condition.depth(BOOK, Side.SELL) == 0
    assert condition.imbalance(BOOK) == D(10 - 11) / D(10 + 11)
    assert condition.imbalance(BOOK, levels=1) == D(1) / D(3)


def test_sweep_equals_a_book_made_by_hand():
    """EX-03: 3 bought are 1 at 100.2 and 2 at 100.4."""
    got = condition.sweep(BOOK, Side.BUY, D(3))
    assert got == (D(3), D("301.0"), D("100.4"))
    assert condition.expected_slippage(BOOK, Side.BUY, D(3)) == (D("301.0") / 3 - 100) / 100
    assert condition.expected_slippage(BOOK, Side.SELL, D(2)) == D("0.002")
    assert condition.sweep(BOOK, Side.SELL, D(9), limit=D("99.7")) == (5, D("498.7"), D("99.7"))
    assert condition.sweep(BOOK, Side.BUY, D(20)).qty == 11
    assert condition.sweep(BOOK, Side.BUY, D(1), limit=D("100.1")) == (0, 0, 0)
    with pytest.raises(DataError, match="shows 11 of the 12"):
        condition.expected_slippage(BOOK, Side.BUY, D(12))


@given(qty=st.integers(1, 10), more=st.integers(0, 10), side=st.sampled_from(list(Side)))
def test_a_larger_order_never_pays_less(qty, more, side):
    book = plain_book(size=7.0)
    one, other = (condition.expected_slippage(book, side, D(q)) for q in (qty, qty + more))
    assert condition.spread(book) / 2 <= one <= other


@pytest.mark.parametrize("sides", [([], [(1, 1)]), ([(1, 1)], []), ([(2, 1)], [(2, 1)])])
def test_a_book_without_two_sides_measures_nothing(sides):
    for measure in (condition.mid, condition.spread, condition.imbalance):
        with pytest.raises(DataError, match="no bid below an ask"):
            measure(make_book(*sides))


def test_condition_is_the_mean_of_its_shares():
    """EX-07: each at its scale is a half, and the book is even."""
    book = make_book([("99.99", "100")], [("100.01", "100")])
    near = float(min(100 * D("99.99"), 100 * D("100.01")))
    seen = assess(book, volatility=0.05, scale=Scale(2.0, near, 0.05, thin=0.3, wild=0.2))
    assert seen.score == pytest.approx(0.125**0.25)
    assert (seen.spread_bps, seen.imbalance, seen.depth_usdt) == (pytest.approx(2.0), 0.0, near)
    assert seen.touch_usdt == pytest.approx(10_000.0)
    assert seen.state is State.NORMAL
    assert "the market is normal (liquidity 0.59: spread 2.00 bp" in seen.words


@given(
    bid=st.floats(90, 99.9).map(lambda x: round(x, 2)), size=st.floats(0.01, 1e4),
    volatility=st.floats(0, 0.5), worse=st.floats(0, 0.5),
)  # fmt: skip
def test_liquidity_falls_with_volatility_and_lies_between_nought_and_one(
    bid, size, volatility, worse
):
    book = make_book([(bid, size)], [(100, size)])
    one, other = (assess(book, volatility=v) for v in (volatility, volatility + worse))
    assert 0.0 <= other.score <= one.score <= 1.0
    assert (one.state is State.WILD) == (volatility >= 0.1)


def test_a_condition_needs_a_volatility_and_a_scale():
    with pytest.raises(DataError, match="Give a day of bars"):
        assess(BOOK, volatility=float("nan"))
    with pytest.raises(ConfigError, match="measures nothing"):
        Scale(thin=0.7)


def recorded_condition(row):
    sides = (
        sorted(((row[f"{s}_px{k}"], row[f"{s}_sz{k}"]) for k in range(5)), reverse=s == "bid")
        for s in ("bid", "ask")
    )
    return assess(make_book(*sides, symbol=row["symbol"]), volatility=0.03)


def test_conditions_of_real_books_rank_symbols_as_a_trader_would(shared_data):
    """EX-07 on 78 symbols at once: the file's asks stand with the worst first."""
    rows = pl.read_parquet(shared_data / "bybit_top5_book_2024" / "book_top5.parquet").to_dicts()
    seen = [(row["symbol"], recorded_condition(row)) for row in rows]
    table = pd.DataFrame({"symbol": [s for s, _ in seen], "score": [c.score for _, c in seen]})
    score = table.groupby("symbol")["score"].median().sort_values(ascending=False)
    assert set(score.index[:4]) >= {"BTCUSDT", "ETHUSDT"}
    states = pd.Series([c.state for _, c in seen]).value_counts(normalize=True)
    assert all(0.1 < states[state] < 0.6 for state in (State.DEEP, State.NORMAL, State.THIN))


def test_a_real_book_of_500_levels_is_measured_as_it_stands(shared_data):
    book = OrderBook("XRPUSDT")
    for line in archived_books(shared_data):
        book.apply(orjson.loads(line))
    now = book.snapshot()
    assert float(condition.spread(now)) * 1e4 == pytest.approx(0.51, abs=0.01)
    assert assess(now, volatility=0.1 - 1e-9).state is State.DEEP
    slip = [float(condition.expected_slippage(now, Side.BUY, D(q))) for q in (100, 10**5, 10**6)]
    assert slip[0] == pytest.approx(float(condition.spread(now)) / 2)
    assert slip[0] < slip[1] < slip[2] < 0.01


def test_day_volatility_is_that_of_the_last_day():
    rng = np.random.default_rng(3)
    moves = np.concatenate([np.full(24, 0.05), rng.normal(0, 0.004, 24)])
    market = make_market(close=100 * np.exp(moves.cumsum()))
    expected = sqrt(np.mean(moves[-24:] ** 2) * 24)
    assert condition.day_volatility(market, "AAAUSDT") == pytest.approx(expected)
    with pytest.raises(DataError, match="not a whole day of bars"):
        condition.day_volatility(make_market(close=[100.0] * 20), "AAAUSDT")
    with pytest.raises(DataError, match="not a whole day of bars"):
        condition.day_volatility(make_market(close=[100.0] * 20, interval="W"), "AAAUSDT")


def test_volume_curve_is_the_mean_share_of_whole_days_and_reads_nothing_later():
    """EX-04: two days of 24 bars weigh alike, though one has a hundred times the volume."""
    one, two = np.arange(1.0, 25.0), np.full(24, 100.0)
    volume = pd.Series(np.concatenate([one, two, [7.0] * 5]), make_index(53))
    curve = volume_curve(volume, interval="60")
    assert curve == pytest.approx((one / one.sum() + two / two.sum()) / 2)
    assert sum(curve) == pytest.approx(1.0)
    assert volume_curve(volume, interval="60", days=1) == pytest.approx([1 / 24] * 24)
    later = volume.copy()
    later.iloc[48:] = 1e9
    assert volume_curve(later.iloc[:48], interval="60") == curve
    holed = volume.copy()
    holed.iloc[30] = np.nan
    assert volume_curve(holed, interval="60") == pytest.approx(one / one.sum())


@pytest.mark.parametrize(("n", "interval", "words"), [(30, "W", "divide"), (20, "60", "no whole")])
def test_a_curve_needs_bars_that_divide_a_day_and_a_whole_one(n, interval, words):
    volume = pd.Series(1.0, make_index(n, interval))
    with pytest.raises(DataError, match=words):
        volume_curve(volume, interval=interval)


@given(start=st.integers(0, 10**6), minutes=st.integers(1, 5000), part=st.floats(0, 1))
def test_shares_of_a_curve_add_up(start, minutes, part):
    curve = (0.1, 0.2, 0.3, 0.4)
    begin = START + timedelta(seconds=start)
    end = begin + timedelta(minutes=minutes)
    middle = begin + part * (end - begin)
    both = curve_share(curve, begin, middle) + curve_share(curve, middle, end)
    assert both == pytest.approx(curve_share(curve, begin, end), abs=1e-9)


def test_curve_of_real_bars_foretells_the_next_month_better_than_a_flat_one(shared_data):
    """EX-04: BTC by the hour, estimated to the end of May, held against June 2025."""
    path = shared_data / "bybit_linear_2024" / "ohlcv_1h.parquet"
    bars = pl.read_parquet(path).filter(pl.col("symbol") == "BTCUSDT").sort("timestamp")
    stamps = pd.DatetimeIndex(bars["timestamp"].to_list()).as_unit("us") + timedelta(hours=1)
    volume = pd.Series(bars["volume"].to_numpy(), stamps)
    cut = pd.Timestamp("2025-06-01", tz="UTC")
    curve = np.array(volume_curve(volume[volume.index <= cut], interval="60", days=60))
    truth = np.array(volume_curve(volume[volume.index > cut], interval="60", days=60))
    assert np.abs(curve - truth).sum() < 0.6 * np.abs(1 / 24 - truth).sum()
    assert int(curve.argmax()) in (13, 14)  # when New York opens
