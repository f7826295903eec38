"""Market data as it happens: books, trades, tickers, candles, liquidations and price limits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final

from workbench.exchange.records import (
    parse_candle,
    parse_liquidation,
    parse_price_limit,
    parse_ticker,
    parse_trade,
)
from workbench.exchange.streams.book import OrderBook, Step
from workbench.exchange.streams.connection import Socket
from workbench.exchange.streams.mailbox import Event, Recent

STALE_S: Final[Mapping[str, float]] = {"orderbook.1": 10.0, "orderbook": 30.0, "tickers": 30.0}
"""How long a topic that speaks all the time may be silent; others may be for good."""

Frame = Mapping[str, Any]


class PublicStream(Socket):
    """Topics such as ``orderbook.50.BTCUSDT`` as events, whole and in order or not at all.

    The record of a book's event is the live ``OrderBook``: what is kept must be copied from it.
    A book or ticker that no reader has taken is replaced by its newest state; trades and
    liquidations are dropped, the oldest first and counted, when 100,000 wait.
    """

    path: ClassVar[str] = "/v5/public/linear"

    def __init__(
        self, base_url: str, *, stale_s: Mapping[str, float] = STALE_S, **options: Any
    ) -> None:
        super().__init__(base_url, **options)
        self.stale_s = stale_s
        self.books: dict[str, OrderBook] = {}
        self._tickers: dict[str, dict[str, Any]] = {}
        self._crossings: dict[str, int] = {}
        self._candles: dict[str, tuple[int, bool, int]] = {}
        self._trades: dict[str, Recent] = {}
        self._routes: dict[str, Callable[[str, Frame, int], bool]] = {
            "orderbook": self._book,
            "tickers": self._ticker,
            "publicTrade": self._trade,
            "kline": self._candle,
            "allLiquidation": self._liquidation,
            "priceLimit": self._price_limit,
        }

    def _push(self, topic: str, frame: Frame, received_ms: int) -> bool:
        return self._routes.get(_kind(topic), self._other)(topic, frame, received_ms)

    def _stale_after(self, topic: str) -> float | None:
        return self.stale_s.get(topic.rpartition(".")[0]) or self.stale_s.get(_kind(topic))

    def _on_garbage(self, topic: str | None) -> None:
        for one in [topic] if topic in self._live else self._live:
            if self._stale_after(one) is not None:
                self._mend(one, "A frame cannot be read.")

    def _on_lapse(self, topic: str) -> None:
        self.events.withdraw(topic)
        self._tickers.pop(topic, None)
        if book := self.books.get(topic):
            book.clear()

    def _book(self, topic: str, frame: Frame, received_ms: int) -> bool:
        book = self.books.get(topic)
        if book is None:
            book = self.books[topic] = OrderBook(frame["data"]["s"])
        step = book.apply(frame)
        if step is Step.MOVED:
            event = Event(topic, book.engine_ms, received_ms, book.seq, book)
            self._post(event, key=topic)
            return True
        if step is Step.REPEATED:
            self.counters.duplicates += frame["type"] == "delta"
            return bool(frame["type"] == "snapshot")  # level 1 says every 3 s that it stands
        if step is Step.WAITING:
            self.counters.strays += 1
        else:
            self.counters.gaps += 1
            self._mend(topic, f"The book has {step.value}.")
        return False

    def _ticker(self, topic: str, frame: Frame, received_ms: int) -> bool:
        crossing = frame.get("cs", 0)
        known = self._tickers.get(topic)
        if frame["type"] == "snapshot":
            known = self._tickers[topic] = dict(frame["data"])
        elif known is None or crossing < self._crossings[topic]:
            self.counters.strays += known is None
            self.counters.duplicates += known is not None
            return False
        else:
            known |= frame["data"]
        self._crossings[topic] = crossing
        event = Event(topic, frame["ts"], received_ms, crossing, parse_ticker(known))
        self._post(event, key=topic)
        return True

    def _trade(self, topic: str, frame: Frame, received_ms: int) -> bool:
        seen = self._trades.setdefault(topic, Recent(limit=4096))
        for row in frame["data"]:
            if row["i"] in seen:
                self.counters.duplicates += 1
                continue
            trade = parse_trade(row)
            seen.add(trade.exec_id)
            event = Event(topic, trade.time_ms, received_ms, trade.seq, trade)
            self._post(event, is_lossy=True)
        return True

    def _candle(self, topic: str, frame: Frame, received_ms: int) -> bool:
        for row in frame["data"]:
            # A bar is final once: what is older than the last frame, or the same, says nothing.
            mark = (row["start"], row["confirm"], row["timestamp"])
            if mark <= self._candles.get(topic, (0, False, 0)):
                self.counters.duplicates += 1
                continue
            event = Event(topic, row["timestamp"], received_ms, 0, parse_candle(row))
            self._candles[topic] = mark
            self._post(event, key=(topic, row["start"]))
        return True

    def _liquidation(self, topic: str, frame: Frame, received_ms: int) -> bool:
        for row in frame["data"]:
            event = Event(topic, row["T"], received_ms, 0, parse_liquidation(row))
            self._post(event, is_lossy=True)
        return True

    def _price_limit(self, topic: str, frame: Frame, received_ms: int) -> bool:
        limit = parse_price_limit({**frame["data"], "ts": frame["ts"]})
        self._post(Event(topic, frame["ts"], received_ms, 0, limit), key=topic)
        return True

    def _other(self, topic: str, frame: Frame, received_ms: int) -> bool:
        self._post(Event(topic, frame["ts"], received_ms, 0, frame["data"]), is_lossy=True)
        return True


def _kind(topic: str) -> str:
    return topic.partition(".")[0]
