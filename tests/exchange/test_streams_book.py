"""Protects the order book: levels, sequence and spread, against a naive book and recorded days."""

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.loopback.recorded import archived_books, recording
from workbench.exchange.streams.book import OrderBook, Step

TICK = Decimal("0.05")
SIZES = st.sampled_from(["0", "0.000", "0.5", "1", "12.250", "900"])
SIDE = st.lists(st.tuples(st.integers(1, 12), SIZES), max_size=8)
FRAMES = st.lists(st.tuples(st.sampled_from(["snapshot", "delta"]), SIDE, SIDE), max_size=20)


def frame(kind, bids, asks, number, *, seq=None, **more):
    data = {"s": "BTCUSDT", "b": bids, "a": asks, "u": number, "seq": seq or number}
    return {"topic": "orderbook.50.BTCUSDT", "type": kind, "ts": 2, "cts": 1, "data": data, **more}


def naive(sides, rows):
    """Replace, add or delete by exact price, as the documentation says."""
    for side, changes in zip(sides, rows, strict=True):
        for price, size in changes:
            side.pop(Decimal(price), None)
            if Decimal(size):
                side[Decimal(price)] = Decimal(size)


def sorted_levels(sides):
    bids, asks = sides
    return tuple(sorted(bids.items(), reverse=True)), tuple(sorted(asks.items()))


@given(FRAMES)
def test_book_of_any_frames_equals_a_naive_book(frames):
    """Bids stay below 1 and asks above it, so that no frame crosses the book."""
    book, sides = OrderBook("BTCUSDT"), ({}, {})
    for number, (kind, bids, asks) in enumerate([("snapshot", [], []), *frames], start=2):
        rows = (
            [[str(TICK * k), size] for k, size in bids],
            [[str(1 + TICK * k), size] for k, size in asks],
        )
        if kind == "snapshot":
            sides = ({}, {})
        naive(sides, rows)
        assert book.apply(frame(kind, *rows, number)) is Step.MOVED
        seen, (bids_now, asks_now) = book.snapshot(), sorted_levels(sides)
        assert (seen.bids, seen.asks) == (bids_now, asks_now)
        assert book.best_bid == (bids_now[0][0] if bids_now else None)
        assert book.best_ask == (asks_now[0][0] if asks_now else None)
        assert book.snapshot(2).bids == bids_now[:2]
        assert (seen.update_id, seen.seq, seen.time_ms, seen.engine_ms) == (number, number, 2, 1)


def whole(number=5):
    book = OrderBook("BTCUSDT")
    book.apply(frame("snapshot", [["1.00", "2"]], [["1.10", "3"]], number))
    return book


@pytest.mark.parametrize("number", [7, 900])
def test_book_with_a_gap_is_empty_until_the_next_snapshot(number):
    """BYBIT.md 1.5: pybit does not see gaps."""
    book = whole()
    assert book.apply(frame("delta", [["1.05", "1"]], [], number)) is Step.GAP
    assert not book.is_whole
    assert (book.best_bid, book.snapshot().bids) == (None, ())
    assert book.apply(frame("delta", [["1.05", "1"]], [], number + 1)) is Step.WAITING
    assert book.apply(frame("snapshot", [["1.02", "1"]], [], 3)) is Step.MOVED
    assert book.best_bid == Decimal("1.02")


def test_book_repeated_delta_changes_nothing():
    book = whole()
    first = frame("delta", [["1.05", "1"]], [], 6)
    assert book.apply(first) is Step.MOVED
    assert book.apply(frame("delta", [["1.05", "0"]], [], 7)) is Step.MOVED
    assert book.apply(first) is Step.REPEATED
    assert book.best_bid == Decimal("1.00")


def test_book_lower_update_id_with_a_later_sequence_is_a_gap():
    """The exchange has started to count again and the word of it was lost."""
    book = whole()
    assert book.apply(frame("delta", [["1.05", "1"]], [], 3, seq=900)) is Step.GAP


@pytest.mark.parametrize("kind", ["snapshot", "delta"])
def test_book_update_id_of_one_overwrites_everything(kind):
    """A service restart: BYBIT.md 2.3."""
    book = whole()
    assert book.apply(frame(kind, [["0.90", "1"]], [["0.95", "1"]], 1)) is Step.MOVED
    assert book.snapshot().bids == ((Decimal("0.90"), Decimal(1)),)
    assert book.apply(frame("delta", [], [["0.94", "1"]], 2)) is Step.MOVED
    assert book.best_ask == Decimal("0.94")


def test_book_level_one_snapshot_that_repeats_is_no_news():
    book = whole()
    again = frame("snapshot", [["1.00", "2"]], [["1.10", "3"]], 5)
    assert book.apply(again) is Step.REPEATED
    assert book.is_whole


def test_book_delta_deletes_an_absent_level_and_a_better_one_sorts_first():
    """BYBIT.md 1.5: the first kills pybit's socket, the second is appended at its end."""
    book = whole()
    assert book.apply(frame("delta", [["0.77", "0"], ["1.05", "4"]], [], 6)) is Step.MOVED
    assert [level.price for level in book.snapshot().bids] == [Decimal("1.05"), Decimal("1.00")]


@pytest.mark.parametrize("bid", ["1.10", "1.15"])
def test_book_that_crosses_is_not_shown(bid):
    book = whole()
    assert book.apply(frame("delta", [[bid, "1"]], [], 6)) is Step.CROSSED
    assert (book.is_whole, book.best_bid, book.best_ask) == (False, None, None)


def test_book_of_an_archive_day_equals_a_naive_book(shared_data):
    """500 levels of XRPUSDT, snapshot and 49 deltas as the exchange sent them."""
    book, sides = OrderBook("XRPUSDT"), ({}, {})
    for raw in archived_books(shared_data):
        one = json.loads(raw)
        if one["type"] == "snapshot":
            sides = ({}, {})
        naive(sides, (one["data"]["b"], one["data"]["a"]))
        assert book.apply(one) is Step.MOVED
        assert (book.snapshot().bids, book.snapshot().asks) == sorted_levels(sides)
    assert (book.best_bid, book.best_ask) == (Decimal("1.9537"), Decimal("1.9538"))


def test_books_of_the_recording_equal_naive_books(shared_data):
    """Ten symbols for 50 seconds, as they ran together on one socket."""
    books, sides = {}, {}
    for raw in recording(shared_data):
        one = json.loads(raw)
        topic = one["topic"]
        if not topic.startswith("orderbook"):
            continue
        if one["type"] == "snapshot":
            books[topic], sides[topic] = OrderBook(topic), ({}, {})
        naive(sides[topic], (one["data"]["b"], one["data"]["a"]))
        assert books[topic].apply(one) is Step.MOVED
    assert len(books) == 10
    for topic, book in books.items():
        assert (book.snapshot().bids, book.snapshot().asks) == sorted_levels(sides[topic])
        assert len(book.snapshot().bids) == 25
