"""The feed: closed bars of several symbols from the candle stream, whole and in order.

A bar is released when every symbol has it, or ``GRACE`` after the first; a symbol that is late has
no values in it and keeps its position. What the stream does not bring is asked of REST. Mark,
funding and open interest of the newest bar are what the ticker said last; a little later REST puts
the exchange's own in their place, so that windows are those of research.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

import numpy as np
from numpy.typing import NDArray

from workbench.core.clock import Clock
from workbench.core.errors import WorkbenchError
from workbench.core.records import to_float
from workbench.exchange.records import Candle, PriceLimit, Ticker
from workbench.exchange.streams.mailbox import Event, Lapse
from workbench.exchange.streams.public import PublicStream
from workbench.exchange.wire import from_millis, to_millis
from workbench.execution.venue import Quote
from workbench.live.window import PLACE, Row, Window, blank

Floats = NDArray[np.float64]
Fetch = Callable[[datetime, datetime], list[Row]]
"""From the first and last ``known_at`` to what REST knows of these bars; called in a thread."""

GRACE: Final = timedelta(seconds=2)
REFINE_S: Final = 5.0
"""How long after a bar REST is asked for the exchange's own values of it."""
REFINED: Final = 3
"""How many bars are asked for then: a settled rate is told late."""
PRICES: Final = ("open", "high", "low", "close")


@dataclass(slots=True)
class _Pending:
    # A bar in the making, and since when.
    values: Floats
    since: datetime
    seen: set[int] = field(default_factory=set)


class Assembler:
    """Puts the candles of several symbols together; it reads no clock and waits for nothing."""

    def __init__(
        self, symbols: tuple[str, ...], length: timedelta, last: datetime | None = None
    ) -> None:
        self.columns = {symbol: column for column, symbol in enumerate(symbols)}
        self.length, self.last = length, last
        self._pending: dict[datetime, _Pending] = {}
        self._tickers: dict[int, Ticker] = {}
        self._marks: dict[int, tuple[float, float, float]] = {}

    @property
    def first_pending(self) -> datetime | None:
        """The oldest bar of which something is here."""
        return min(self._pending, default=None)

    def take_ticker(self, ticker: Ticker) -> None:
        """Note mark, funding and open interest of a symbol."""
        column = self.columns[ticker.symbol]
        self._tickers[column] = ticker
        if ticker.mark_price is not None:
            mark = to_float(ticker.mark_price)
            first, high, low = self._marks.get(column, (mark, mark, mark))
            self._marks[column] = first, max(high, mark), min(low, mark)

    def take(self, symbol: str, candle: Candle, now: datetime) -> Row | None:
        """Take a closed candle; one whose bar is out already comes back as a row to mend with."""
        known_at, column = from_millis(candle.start_ms) + self.length, self.columns[symbol]
        values = blank(len(self.columns))
        for name in (*PRICES, "volume", "turnover"):
            values[PLACE[name], column] = _number(getattr(candle, name))
        if self.last is not None and known_at <= self.last:
            return Row(known_at, values)
        self._add_ticker(values, column, known_at)
        self.merge(Row(known_at, values), now)
        return None

    def merge(self, row: Row, now: datetime) -> None:
        """Take what is known of a bar that is not out yet."""
        pending = self._pending.get(row.known_at)
        if pending is None:
            pending = self._pending[row.known_at] = _Pending(blank(len(self.columns)), now)
        pending.values = np.where(np.isnan(row.values), pending.values, row.values)
        pending.seen |= set(np.flatnonzero(~np.isnan(row.values[PLACE["close"]])).tolist())

    def _add_ticker(self, values: Floats, column: int, known_at: datetime) -> None:
        ticker = self._tickers.get(column)
        if ticker is None:
            return
        if column in self._marks:
            mark = _number(ticker.mark_price)
            for name, value in zip(PRICES, (*self._marks.pop(column), mark), strict=True):
                values[PLACE[f"mark_{name}"], column] = value
        values[PLACE["open_interest"], column] = _number(ticker.open_interest)
        rate, due_ms = _number(ticker.funding_rate), ticker.next_funding_time_ms
        values[PLACE["funding_predicted"], column] = rate
        if due_ms is not None and due_ms <= to_millis(known_at):
            values[PLACE["funding_settled"], column] = rate

    def release(self, now: datetime) -> Row | None:
        """Return the next bar if it is whole, or has waited long enough."""
        known_at = self.first_pending
        if known_at is None:
            return None
        pending = self._pending[known_at]
        if len(pending.seen) < len(self.columns) and now < pending.since + GRACE:
            return None
        del self._pending[known_at]
        self.last = known_at
        return Row(known_at, pending.values)

    def due_at(self) -> datetime | None:
        """Return when to look again: a bar has waited long enough, or should be there by then."""
        first = self.first_pending
        if first is not None:
            return self._pending[first].since + GRACE
        return None if self.last is None else self.last + self.length + GRACE

    def gap(self, now: datetime) -> datetime | None:
        """Return the first bar that has closed and of which nothing came, None if all is well."""
        if self.last is None:
            return None
        due, first = self.last + self.length, self.first_pending
        is_missing = now >= due + GRACE if first is None else first > due
        return due if is_missing else None


class Feed:
    """Reads the public stream: ``quotes`` by symbol, and closed bars by iteration.

    Rows are in the window before they are handed out. ``note`` is told what a person should know,
    ``mended`` each row that was filled later.
    """

    def __init__(
        self,
        stream: PublicStream,
        window: Window,
        fetch: Fetch,
        *,
        clock: Clock,
        note: Callable[[str], None],
        mended: Callable[[Row], None],
        quotes: dict[str, Quote] | None = None,
    ) -> None:
        self.stream, self.window, self.fetch = stream, window, fetch
        self.clock, self.note, self.mended = clock, note, mended
        self.quotes: dict[str, Quote] = {} if quotes is None else quotes
        self.assembler = Assembler(window.symbols, window.length, window.last_at)
        self._limits: dict[str, PriceLimit] = {}
        self._wake = asyncio.Event()
        kinds = (f"kline.{window.interval}", "tickers", "priceLimit")
        stream.subscribe(*(f"{kind}.{symbol}" for kind in kinds for symbol in window.symbols))

    @property
    def stale(self) -> Mapping[str, str]:
        """The symbols whose data cannot be relied on now, and why."""
        lapsed = {topic.rpartition(".")[2]: why for topic, why in self.stream.lapsed.items()}
        trouble = self.stream.trouble
        return dict.fromkeys(self.window.symbols, trouble) if trouble and not lapsed else lapsed

    async def read(self) -> None:
        """Read the stream, for good."""
        async for event in self.stream.events:
            self.take(event)

    def take(self, event: Event) -> None:
        """Take one event of the stream."""
        record, symbol = event.record, event.topic.rpartition(".")[2]
        if isinstance(record, Ticker):
            self.assembler.take_ticker(record)
            if record.last_price is not None and record.mark_price is not None:
                self.quotes[symbol] = Quote(
                    self.clock.now(), record.last_price, record.mark_price, record.bid1_price,
                    record.ask1_price, self._limits.get(symbol),
                )  # fmt: skip
        elif isinstance(record, PriceLimit):
            self._limits[symbol] = record
        elif isinstance(record, Candle) and record.confirm:
            late = self.assembler.take(symbol, record, self.clock.now())
            if late is not None:
                self._mend(late)
            self._wake.set()
        elif isinstance(record, Lapse):
            self.note(f"{event.topic}: {record.reason}")
            self._wake.set()

    async def rows(self) -> AsyncIterator[list[Row]]:
        """Yield the bars that have closed, several at once where some were missed."""
        while True:
            due = self.assembler.due_at()
            wait_s = None if due is None else max((due - self.clock.now()).total_seconds(), 0.0)
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()
            self._wake.clear()
            rows = await self.release()
            if rows:
                yield rows

    async def release(self) -> list[Row]:
        """Return the bars that are due, the oldest first, after asking for those that are lost."""
        first = self.assembler.gap(self.clock.now())
        if first is not None and not await self.repair(first):
            return []
        rows = []
        while (row := self.assembler.release(self.clock.now())) is not None:
            self.window.append(row)
            rows.append(row)
        return rows

    async def repair(self, first: datetime) -> bool:
        """Ask REST for closed bars from one on, and take what is missing; return whether it did."""
        length, now = self.window.length, self.clock.now()
        last = max(first + (now - first) // length * length, self.assembler.last or first)
        if (pending := self.assembler.first_pending) is not None:
            # What came after it says that it has closed, whatever the clock says.
            last = max(last, pending - length)
        try:
            rows = await asyncio.to_thread(self.fetch, first, last)
        except WorkbenchError as error:
            self.note(f"The bars from {first:%Y-%m-%d %H:%M} on cannot be had: {error}")
            await asyncio.sleep(GRACE.total_seconds())
            return False
        for row in rows:
            if self.assembler.last is not None and row.known_at <= self.assembler.last:
                self._mend(row)
            else:
                self.assembler.merge(row, now)
        return True

    async def refine(self) -> None:
        """Put the exchange's own values into the newest bars."""
        await asyncio.sleep(REFINE_S)
        known = self.window.known(REFINED)
        if known:
            await self.repair(known[0])

    def _mend(self, row: Row) -> None:
        if self.window.mend(row):
            self.mended(row)


def _number(value: Decimal | None) -> float:
    return float("nan") if value is None else to_float(value)
