"""Public topics in their rhythm: one frame is made for all who listen to a topic."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final

import orjson

from workbench.exchange.records import Book, Candle
from workbench.exchange.server import shapes
from workbench.exchange.server.market import INTERVALS
from workbench.exchange.simulator.simulator import Simulator
from workbench.exchange.wire import Level, from_millis, plain_text, to_millis

BOOK_MS: Final = {"1": 10, "50": 20, "200": 100, "1000": 200}
RHYTHM_MS: Final = {"tickers": 100, "kline": 1_000, "priceLimit": 1_000}
EVENTS: Final = {"publicTrade": "trade", "allLiquidation": "liquidation"}
"""The topics that pass events on as they come; the others look at the market in their rhythm."""
NEVER_MS: Final = 1 << 62
REPEAT_MS: Final = 3_000
"""The first level is sent again after this long without a change."""
MOST_TRADES: Final = 1_024
FIRST_UPDATE: Final = 1_000
RESTARTED: Final = 1
"""A snapshot with this update id tells that the service was restarted."""

Json = dict[str, Any]


@dataclass(eq=False, slots=True)
class Topic:
    """A topic that somebody listens to, and what was last said in it."""

    name: str
    kind: str
    symbol: str
    detail: str = ""
    due_ms: int = 0
    said_ms: int = 0
    book: Book | None = None
    update_id: int = FIRST_UPDATE
    revision: int = 0
    ticker: Json = field(default_factory=dict)
    candle: Candle | None = None
    waiting: list[Json] = field(default_factory=list)

    @property
    def rhythm_ms(self) -> int:
        """How long it is silent at least after it spoke."""
        return BOOK_MS[self.detail] if self.kind == "orderbook" else RHYTHM_MS[self.kind]

    @property
    def wake_ms(self) -> int:
        """When it may speak although nothing happened: candles end, the first level is repeated."""
        if self.kind == "kline":
            return self.due_ms
        return self.said_ms + REPEAT_MS if self.detail == "1" else NEVER_MS


def read_topic(name: str, simulator: Simulator) -> Topic | None:
    """Return what a topic's name asks for, or None if there is no such topic."""
    kind, *rest = name.split(".")
    has_detail = kind in ("orderbook", "kline")
    if len(rest) != 1 + has_detail or rest[-1] not in simulator.instruments:
        return None
    detail = rest[0] if has_detail else ""
    known = {"orderbook": BOOK_MS, "kline": INTERVALS}.get(kind, {**RHYTHM_MS, **EVENTS})
    if (detail or kind) not in known:
        return None
    return Topic(name, kind, rest[-1], detail)


class Feeds:
    """The topics of the public socket; ``send`` takes a topic's name and a frame for all."""

    def __init__(self, simulator: Simulator, send: Callable[[str, str], None]) -> None:
        self.simulator, self.send = simulator, send
        self.topics: dict[str, Topic] = {}
        self._told: dict[tuple[str, str], Topic] = {}
        self._looked: list[Topic] = []
        self._spoken: dict[Topic, None] = {}
        self._seen, self._wake_ms = 0, 0
        self.revision = 1
        """Counts whatever may have changed the market: what was looked at since stays as it is."""
        self._is_fresh = False

    def open(self, name: str) -> str | None:
        """Listen to a topic and return the frame that brings a new listener up to date."""
        topic = self.topics.get(name)
        if topic is None:
            topic = read_topic(name, self.simulator)
            if topic is None:
                raise LookupError(name)
            topic.update_id = RESTARTED if self._is_fresh else FIRST_UPDATE
            self.topics[name] = topic
            if topic.kind in EVENTS:
                self._told[EVENTS[topic.kind], topic.symbol] = topic
            else:
                self._looked.append(topic)
                self._wake_ms = 0
        return self._snapshot(topic)

    def close(self, name: str) -> None:
        """Stop making a topic that nobody listens to."""
        topic = self.topics.pop(name)
        self._spoken.pop(topic, None)
        if topic.kind in EVENTS:
            del self._told[EVENTS[topic.kind], topic.symbol]
        else:
            self._looked.remove(topic)

    def restart(self) -> None:
        """Forget all topics; books begin again with the update id of a restart."""
        for name in list(self.topics):
            self.close(name)
        self._is_fresh = True

    def update_id(self, symbol: str) -> int:
        """Return the update id of a symbol's deepest book."""
        topic = self.topics.get(f"orderbook.1000.{symbol}")
        return topic.update_id if topic else FIRST_UPDATE

    def collect(self, kind: str, symbol: str, record: Any) -> None:
        """Take a public event for the topics that pass every event on."""
        topic = self._told.get((kind, symbol))
        if topic is not None:
            topic.waiting.append(_PUSHES[kind](record))
            self._spoken[topic] = None

    def publish(self, now_ms: int) -> None:
        """Send what is due."""
        spoken, self._spoken = self._spoken, {}
        for topic in spoken:
            self._say(topic, now_ms)
        if self.revision == self._seen and now_ms < self._wake_ms:
            return
        self._seen, self._wake_ms = self.revision, NEVER_MS
        for topic in self._looked:
            if now_ms >= topic.due_ms:
                if topic.revision != self.revision or now_ms >= topic.wake_ms:
                    topic.revision = self.revision
                    topic.due_ms = now_ms - now_ms % topic.rhythm_ms + topic.rhythm_ms
                    self._say(topic, now_ms)
                self._wake_ms = min(self._wake_ms, topic.wake_ms)
            else:
                self._wake_ms = min(self._wake_ms, topic.due_ms)

    def _say(self, topic: Topic, now_ms: int) -> None:
        for frame in _NEXT[topic.kind](self, topic, now_ms):
            topic.said_ms = now_ms
            self.send(topic.name, frame)

    def wanted(self) -> set[str]:
        """Return the kinds of event that ``collect`` is waiting for; the rest is asked for."""
        kinds = {topic.kind for topic in self.topics.values()}
        return {EVENTS[kind] for kind in kinds & EVENTS.keys()}

    def _snapshot(self, topic: Topic) -> str | None:
        now_ms = self.simulator.now_ms
        if topic.kind == "orderbook":
            if topic.book is None:
                topic.book = self.simulator.book(topic.symbol, int(topic.detail))
                topic.said_ms = now_ms
            return _book_frame(topic, topic.book, "snapshot", now_ms)
        if topic.kind == "tickers":
            if not topic.ticker:
                topic.ticker = shapes.TICKER_PUSH(self.simulator.ticker(topic.symbol))
            return _ticker_frame(topic, topic.ticker, "snapshot", now_ms)
        return None

    def _books(self, topic: Topic, now_ms: int) -> Iterator[str]:
        book = self.simulator.book(topic.symbol, int(topic.detail))
        before = topic.book
        is_same = before is not None and (before.bids, before.asks) == (book.bids, book.asks)
        if topic.detail == "1":
            if not is_same or now_ms - topic.said_ms >= REPEAT_MS:
                topic.update_id += not is_same
                topic.book = book
                yield _book_frame(topic, book, "snapshot", now_ms)
        elif not is_same:
            topic.update_id += 1
            topic.book = book
            if before is None:
                yield _book_frame(topic, book, "snapshot", now_ms)
                return
            sides = _changes(before.bids, book.bids), _changes(before.asks, book.asks)
            yield _book_frame(topic, book, "delta", now_ms, sides)

    def _tickers(self, topic: Topic, now_ms: int) -> Iterator[str]:
        now = shapes.TICKER_PUSH(self.simulator.ticker(topic.symbol))
        changed = {name: value for name, value in now.items() if topic.ticker.get(name) != value}
        if changed:
            topic.ticker = now
            topic.update_id += 1
            yield _ticker_frame(topic, {"symbol": topic.symbol, **changed}, "delta", now_ms)

    def _trades(self, topic: Topic, now_ms: int) -> Iterator[str]:
        rows, topic.waiting = topic.waiting, []
        for first in range(0, len(rows), MOST_TRADES):
            yield _frame(topic, rows[first : first + MOST_TRADES], now_ms, type="snapshot")

    def _candles(self, topic: Topic, now_ms: int) -> Iterator[str]:
        before = topic.candle
        rows = self.simulator.candles(
            topic.symbol, topic.detail, start_ms=before.start_ms if before else None, limit=1000
        )
        for row in reversed(rows if before else rows[:1]):
            end_ms = _candle_end(row.start_ms, topic.detail)
            candle = replace(row, interval=topic.detail, confirm=now_ms > end_ms)
            if candle != before:
                topic.candle = candle
                data = shapes.push_candle(candle, end_ms=end_ms, now_ms=now_ms)
                yield _frame(topic, [data], now_ms, type="snapshot")

    def _limits(self, topic: Topic, now_ms: int) -> Iterator[str]:
        limit = self.simulator.price_limit(topic.symbol)
        now = {"symbol": limit.symbol, "buyLmt": plain_text(limit.buy_lmt),
               "sellLmt": plain_text(limit.sell_lmt)}  # fmt: skip
        if now != topic.ticker:
            topic.ticker = now
            yield _frame(topic, now, now_ms)


_NEXT: Final[dict[str, Callable[[Feeds, Topic, int], Iterator[str]]]] = {
    "orderbook": Feeds._books,
    "publicTrade": Feeds._trades,
    "tickers": Feeds._tickers,
    "kline": Feeds._candles,
    "allLiquidation": Feeds._trades,
    "priceLimit": Feeds._limits,
}


_PUSHES: Final[dict[str, Callable[[Any], Json]]] = {
    "trade": shapes.push_trade, "liquidation": shapes.push_liquidation,
}  # fmt: skip


def _candle_end(start_ms: int, interval: str) -> int:
    if interval == "M":
        start = from_millis(start_ms)
        months = start.year * 12 + start.month
        return to_millis(start.replace(year=months // 12, month=months % 12 + 1)) - 1
    minutes = {"D": 1_440, "W": 10_080}.get(interval)
    return start_ms + (int(interval) if minutes is None else minutes) * 60_000 - 1


def _frame(topic: Topic, data: Any, now_ms: int, **more: Any) -> str:
    return orjson.dumps({"topic": topic.name, "data": data, "ts": now_ms, **more}).decode()


def _ticker_frame(topic: Topic, data: Json, kind: str, now_ms: int) -> str:
    return _frame(topic, data, now_ms, type=kind, cs=topic.update_id)


def _book_frame(
    topic: Topic, book: Book, kind: str, now_ms: int,
    sides: tuple[list[list[str]], list[list[str]]] | None = None,
) -> str:  # fmt: skip
    bids, asks = sides or (shapes.write_levels(book.bids), shapes.write_levels(book.asks))
    data = {"s": topic.symbol, "b": bids, "a": asks, "u": topic.update_id, "seq": book.seq}
    return _frame(topic, data, now_ms, type=kind, cts=book.engine_ms or now_ms)


def _changes(before: tuple[Level, ...], after: tuple[Level, ...]) -> list[list[str]]:
    # Levels that stand in both are most of a book: only the others are written.
    gone, come = set(before) - set(after), set(after) - set(before)
    rows = {level.price: "0" for level in gone} | {
        level.price: plain_text(level.size) for level in come
    }
    return [[plain_text(price), rows[price]] for price in sorted(rows)]
