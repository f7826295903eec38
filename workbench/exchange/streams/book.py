"""The order book of one topic, from its snapshot and deltas, with every sequence checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from enum import Enum
from heapq import nlargest
from typing import Any, Final

from workbench.exchange.records import Book
from workbench.exchange.wire import Level

Rows = Sequence[tuple[str, str]]

NOTHING: Final = float("-inf")


class Step(Enum):
    """What a frame did to the book."""

    MOVED = "moved"
    REPEATED = "repeated"
    WAITING = "waiting for a snapshot"
    GAP = "a gap in the sequence"
    CROSSED = "best bid at or above best ask"


class OrderBook:
    """One symbol's book, which moves on with every frame: ``snapshot`` returns what can be kept.

    It is whole from a snapshot until a gap; otherwise it is empty.
    """

    __slots__ = ("_asks", "_best_ask", "_best_bid", "_bids", "engine_ms", "is_whole", "seq",
                 "symbol", "time_ms", "update_id")  # fmt: skip

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.clear()

    def clear(self) -> None:
        """Forget everything, and wait for a snapshot."""
        # Sizes as text, by a key that rises towards the market: the price, or its negative for
        # asks. A price has fewer than 15 digits, so its float is its own and gives it back.
        self._bids: dict[float, str] = {}
        self._asks: dict[float, str] = {}
        self._best_bid = self._best_ask = NOTHING
        self.update_id = self.seq = self.time_ms = self.engine_ms = 0
        self.is_whole = False

    def apply(self, frame: Mapping[str, Any]) -> Step:
        """Take in a frame of an ``orderbook`` topic."""
        data = frame["data"]
        update_id, seq = data["u"], data["seq"]
        # An update id of 1 says that the service has restarted: what it sends is all there is.
        if frame["type"] == "snapshot" or update_id == 1:
            if self.is_whole and update_id == self.update_id and seq == self.seq:
                return Step.REPEATED
            self.clear()
        elif not self.is_whole:
            return Step.WAITING
        elif update_id <= self.update_id and seq <= self.seq:
            return Step.REPEATED
        elif update_id != self.update_id + 1:
            self.clear()
            return Step.GAP
        self._best_bid = _merge(self._bids, data["b"], 1.0, self._best_bid)
        self._best_ask = _merge(self._asks, data["a"], -1.0, self._best_ask)
        if self._best_bid >= -self._best_ask:
            self.clear()
            return Step.CROSSED
        self.update_id, self.seq, self.is_whole = update_id, seq, True
        self.time_ms = frame["ts"]
        self.engine_ms = frame.get("cts", self.time_ms)
        return Step.MOVED

    @property
    def best_bid(self) -> Decimal | None:
        """The highest price that is bid."""
        return _price(self._best_bid)

    @property
    def best_ask(self) -> Decimal | None:
        """The lowest price that is asked."""
        return _price(self._best_ask)

    def snapshot(self, depth: int | None = None) -> Book:
        """Return the levels as they stand, the best first, all of them or so many a side."""
        return Book(
            self.symbol, _levels(self._bids, depth), _levels(self._asks, depth),
            self.update_id, self.seq, self.time_ms, self.engine_ms,
        )  # fmt: skip


def _merge(side: dict[float, str], rows: Rows, sign: float, best: float) -> float:
    for price, size in rows:
        key = sign * float(price)
        if size >= "1" or float(size):  # the first test spares most of the second
            side[key] = size
            if key > best:
                best = key
        else:
            side.pop(key, None)  # a level that is not there is gone already
    return best if best in side else max(side, default=NOTHING)


def _levels(side: Mapping[float, str], depth: int | None) -> tuple[Level, ...]:
    keys = sorted(side, reverse=True) if depth is None else nlargest(depth, side)
    return tuple(Level(Decimal(repr(abs(key))), Decimal(side[key])) for key in keys)


def _price(key: float) -> Decimal | None:
    return None if key == NOTHING else Decimal(repr(abs(key)))
