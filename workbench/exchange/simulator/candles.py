"""Candles of one price: those that are known, the one in progress, and any longer interval."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from decimal import Decimal
from typing import Final

from workbench.core.records import interval_delta
from workbench.exchange import records
from workbench.exchange.simulator.orders import ZERO

Row = tuple[int, Decimal, Decimal, Decimal, Decimal, Decimal, Decimal]
"""Start in milliseconds, open, high, low, close, volume, turnover."""

DAY_MS: Final = 86_400_000
MONDAY_MS: Final = 4 * DAY_MS


def length_ms(interval: str) -> int:
    """Return the length of an interval of Bybit's name."""
    return int(interval_delta(interval).total_seconds() * 1000)


def floor_ms(moment: int, length: int) -> int:
    """Return the start of the bar that holds a moment; weeks begin on Monday."""
    origin = MONDAY_MS if length == 7 * DAY_MS else 0
    return moment - (moment - origin) % length


class Candles:
    """The candles of one price at one length, from which longer ones are made."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.rows: list[Row] = []
        self.running: list[Decimal] | None = None
        self.running_ms = 0

    def add(self, moment: int, price: Decimal, size: Decimal = ZERO, value: Decimal = ZERO) -> None:
        """Add a trade to the candle in progress, ending the one before where it is over."""
        row = self.running
        if row is None or moment - self.running_ms >= self.length:
            self.close()
            self.running_ms = floor_ms(moment, self.length)
            self.running = [price, price, price, price, size, value]
            return
        if price > row[1]:
            row[1] = price
        elif price < row[2]:
            row[2] = price
        row[3] = price
        row[4] += size
        row[5] += value

    def close(self) -> None:
        """End the candle in progress."""
        if self.running is not None:
            self.put((self.running_ms, *self.running))  # type: ignore[arg-type]
        self.running = None

    def put(self, row: Row) -> None:
        """Add a whole candle in place of the one in progress."""
        self.running = None
        if not self.rows or self.rows[-1][0] < row[0]:
            self.rows.append(row)
        else:
            place = bisect_left(self.rows, row[0], key=lambda known: known[0])
            is_there = self.rows[place][0] == row[0]
            self.rows[place : place + is_there] = [row]

    def read(self, length: int, start: int, end: int, limit: int) -> list[Row]:
        """Return candles of a length that start in a span, the newest first."""
        first = floor_ms(start, length)
        if first < start:
            first += length
        rows = self.rows
        at = bisect_right(rows, end + length - 1, key=lambda known: known[0])
        found: list[Row] = []
        if self.running is not None and self.running_ms <= end + length - 1:
            self._merge(found, (self.running_ms, *self.running), length)  # type: ignore[arg-type]
        while at and rows[at - 1][0] >= first:
            at -= 1
            if self._merge(found, rows[at], length) and len(found) > limit + 1:
                break
        return [row for row in found if first <= row[0] <= end][:limit]

    def _merge(self, found: list[Row], row: Row, length: int) -> bool:
        # Rows come newest first: an older one gives the open of the bar that both are in.
        start, o, high, low, c, volume, value = row
        start = floor_ms(start, length)
        if not found or found[-1][0] != start:
            found.append((start, o, high, low, c, volume, value))
            return True
        _, _, h, low_after, close, v, t = found[-1]
        found[-1] = (start, o, max(h, high), min(low_after, low), close, v + volume, t + value)
        return False


def to_candle(row: Row, interval: str, *, confirm: bool, has_volume: bool) -> records.Candle:
    """Return a row as a record."""
    start, o, high, low, close, volume, turnover = row
    return records.Candle(
        start,
        o,
        high,
        low,
        close,
        volume if has_volume else None,
        turnover if has_volume else None,
        interval,
        confirm,
    )
