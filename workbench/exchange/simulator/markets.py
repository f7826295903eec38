"""The market of one symbol: last, mark and index price, book, tape, candles, funding."""

from __future__ import annotations

from collections import deque
from decimal import Decimal
from typing import Final

from workbench.exchange import records
from workbench.exchange.simulator.book import OrderBook
from workbench.exchange.simulator.candles import DAY_MS, Candles, Row, to_candle
from workbench.exchange.simulator.orders import ZERO, LiveOrder
from workbench.exchange.simulator.rules import Contract, Settings
from workbench.exchange.wire import Level
from workbench.exchange.words import Side, TriggerBy

TAPE: Final = 1_000
MINUTE_MS: Final = 60_000
PREMIUM_MS: Final = 30_000
NANO: Final = Decimal("1e-8")


class SymbolMarket:
    """The state of a symbol's market, and what can be read of it."""

    def __init__(self, contract: Contract, settings: Settings, salt: str) -> None:
        self.contract, self.settings = contract, settings
        self.last = self.mark = self.index = ZERO
        self.book = OrderBook()
        self.tape: deque[records.PublicTrade] = deque(maxlen=TAPE)
        self.traded = Candles(MINUTE_MS)
        self.marked = Candles(MINUTE_MS)
        self.indexed = Candles(MINUTE_MS)
        self.finer: dict[int, Candles] = {}
        self.funding_rate = ZERO
        self.next_funding_ms = 0
        self.settled: list[records.Stamp] = []
        self.open_interest = ZERO
        self.interest: list[records.Stamp] = []
        self.triggers: list[LiveOrder] = []
        self.premiums: deque[tuple[int, Decimal]] = deque()
        self.direction = "ZeroPlusTick"
        self.seq = 0
        self.now_ms = 0
        self.is_marked = self.is_live = False
        self._salt = salt
        self._day: tuple[int, records.Candle | None, Decimal] | None = None

    @property
    def symbol(self) -> str:
        """Its name."""
        return self.contract.symbol

    def price_of(self, by: TriggerBy) -> Decimal:
        """Return the price that a trigger looks at."""
        if by is TriggerBy.MARK:
            return self.mark
        return self.index if by is TriggerBy.INDEX else self.last

    def print(self, price: Decimal, lots: int, moment: int) -> None:
        """Let the last trade be at a price."""
        if price != self.last:
            self.direction = "PlusTick" if price > self.last else "MinusTick"
        else:
            self.direction = "Zero" + self.direction.removeprefix("Zero")
        self.last, self.now_ms = price, moment
        size = self.contract.step * lots
        value = size * price
        self.traded.add(moment, price, size, value)
        for candles in self.finer.values():
            candles.add(moment, price, size, value)

    def value(self, moment: int, mark: Decimal, index: Decimal) -> None:
        """Set mark and index."""
        self.mark, self.index, self.now_ms = mark, index, moment
        self.marked.add(moment, mark)
        self.indexed.add(moment, index)

    def price_limit(self) -> tuple[int, int]:
        """Return the highest ticks of a purchase and the lowest of a sale.

        The rule of 2026-05-26: the nearer of the outer fraction around the mark, and the farther
        of the index and the inner fraction with the premium of the last 30 seconds.
        """
        x, y, mark = self.settings.limit_x, self.settings.limit_y, self.mark
        premium = self._premium()
        high = min(mark * (1 + y), max(self.index, mark * (1 + x) + max(ZERO, premium)))
        low = max(mark * (1 - y), min(self.index, mark * (1 - x) + min(ZERO, premium)))
        tick = self.contract.tick
        return int(high / tick), max(1, -int(-low // tick))

    def _premium(self) -> Decimal:
        while self.premiums and self.premiums[0][0] < self.now_ms - PREMIUM_MS:
            self.premiums.popleft()
        if not self.premiums:
            return ZERO
        return sum((gap for _, gap in self.premiums), ZERO) / len(self.premiums)

    def note_premium(self) -> None:
        """Remember how far the middle of the book stands from the mark."""
        bid, ask = self.book.touch[1], self.book.touch[-1]
        if bid is not None and ask is not None:
            middle = self.contract.tick * (bid + ask) / 2
            self.premiums.append((self.now_ms, middle - self.mark))
            if len(self.premiums) > 2 * PREMIUM_MS // 100:
                self.premiums.popleft()

    def snapshot(self, depth: int) -> records.Book:
        """Return the best levels of the book, the accounts' orders among them."""
        price, qty = self.contract.price, self.contract.qty
        bids, asks = (
            tuple(Level(price(t), qty(n)) for t, n in self.book.merged(side, depth))
            for side in (1, -1)
        )
        return records.Book(
            self.symbol, bids, asks, self.book.update_id, self.seq, self.now_ms, self.now_ms
        )

    def keep(self, row: Row, mark: Row) -> None:
        """Keep a whole candle of last price and mark; the index goes with the mark."""
        self.traded.put(row)
        self.marked.put(mark)
        self.indexed.put(mark)

    def trade(self, exec_id: str, sign: int, price: Decimal, lots: int) -> records.PublicTrade:
        """Put a trade on the tape."""
        self.seq += 1
        name = exec_id or f"{self._salt}{self.seq:012x}"
        record = records.PublicTrade(
            self.symbol,
            name,
            Side.BUY if sign > 0 else Side.SELL,
            price,
            self.contract.qty(lots),
            self.now_ms,
            self.seq,
            self.direction,
        )
        self.tape.append(record)
        return record

    def ticker(self) -> records.Ticker:
        """Return the state of the symbol."""
        day, before_hour = self._last_day()
        book, contract = self.book, self.contract
        bid, ask = ((book.merged(side, 1) or [(0, 0)])[0] for side in (1, -1))
        opened = day.open if day else self.last
        return records.Ticker(
            symbol=self.symbol,
            last_price=self.last,
            mark_price=self.mark,
            index_price=self.index,
            bid1_price=contract.price(bid[0]) if bid[1] else None,
            bid1_size=contract.qty(bid[1]) if bid[1] else None,
            ask1_price=contract.price(ask[0]) if ask[1] else None,
            ask1_size=contract.qty(ask[1]) if ask[1] else None,
            funding_rate=self.funding_rate,
            funding_cap=contract.instrument.upper_funding_rate,
            funding_interval_hour=contract.instrument.funding_interval_min // 60,
            next_funding_time_ms=self.next_funding_ms,
            open_interest=self.open_interest,
            open_interest_value=self.open_interest * self.mark,
            prev_price24h=opened,
            price24h_pcnt=round(self.last / opened - 1, 6) if opened else ZERO,
            high_price24h=max(day.high, self.last) if day else self.last,
            low_price24h=min(day.low, self.last) if day else self.last,
            prev_price1h=before_hour,
            volume24h=day.volume if day else ZERO,
            turnover24h=day.turnover if day else ZERO,
            tick_direction=self.direction,
        )

    def _last_day(self) -> tuple[records.Candle | None, Decimal]:
        # Rolled over at whole minutes: the day's figures need no more, and are asked for often.
        minute = self.now_ms // MINUTE_MS
        if self._day is None or self._day[0] != minute:
            length = self.traded.length
            rows = self.traded.read(length, self.now_ms - DAY_MS, self.now_ms, DAY_MS // length + 1)
            candle, before_hour = None, self.last
            if rows:
                candle = records.Candle(
                    rows[-1][0],
                    rows[-1][1],
                    max(r[2] for r in rows),
                    min(r[3] for r in rows),
                    rows[0][4],
                    sum((r[5] for r in rows), ZERO),
                    sum((r[6] for r in rows), ZERO),
                )
                hour = [r for r in rows if r[0] > self.now_ms - 60 * MINUTE_MS - length]
                before_hour = hour[-1][1] if hour else rows[0][1]
            self._day = (minute, candle, before_hour)
        return self._day[1], self._day[2]

    def candles(
        self, interval: str, length: int, kind: str, start: int, end: int, limit: int
    ) -> list[records.Candle]:
        """Return candles that start in a span, the newest first; the last may be in progress."""
        if kind == "premium":
            rows = self._premium_rows(length, start, end, limit)
        else:
            source = {"kline": self.traded, "mark": self.marked, "index": self.indexed}[kind]
            if length % source.length:
                # Finer than what the source keeps: made of trades from the first time on that
                # somebody asks.
                source = self.finer.setdefault(length, Candles(length))
            rows = source.read(length, start, end, limit)
        is_last = kind == "kline"
        return [
            to_candle(row, interval, confirm=row[0] + length <= self.now_ms, has_volume=is_last)
            for row in rows
        ]

    def _premium_rows(self, length: int, start: int, end: int, limit: int) -> list[Row]:
        marks = self.marked.read(length, start, end, limit)
        indexes = {row[0]: row for row in self.indexed.read(length, start, end, limit)}
        found: list[Row] = []
        for row in marks:
            index = indexes.get(row[0])
            if index is not None:
                gaps = [
                    (m - i) / i if i else ZERO for m, i in zip(row[1:5], index[1:5], strict=True)
                ]
                o, high, low, c = (gap.quantize(NANO) for gap in gaps)
                found.append((row[0], o, max(o, high, low, c), min(o, high, low, c), c, ZERO, ZERO))
        return found
