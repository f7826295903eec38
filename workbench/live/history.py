"""History: bars that have closed before trading begins, or while the stream was away.

From the lake where it has them, and from REST; either way they are the rows that research sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import chain
from typing import TYPE_CHECKING, Final

import numpy as np

from workbench.core.errors import DataError
from workbench.core.records import interval_delta, to_float
from workbench.exchange.wire import from_millis, to_millis
from workbench.live.window import PLACE, Row, blank

if TYPE_CHECKING:
    from pathlib import Path

    from workbench.exchange.client import BybitClient
    from workbench.exchange.records import Candle

KINDS: Final = {"kline": "", "mark": "mark_"}
DAY: Final = timedelta(days=1)


def fetch_rows(
    client: BybitClient, symbols: Sequence[str], interval: str, first: datetime, last: datetime
) -> list[Row]:
    """Return the closed bars with ``first <= known_at <= last`` from REST.

    Settled funding stands in the bar in which it settled, open interest as it was last known;
    the predicted rate is the one that the premium index points to.
    """
    length = interval_delta(interval)
    n = (last - first) // length + 1
    if n < 1:
        return []
    rows = [Row(first + i * length, blank(len(symbols))) for i in range(n)]
    for column, symbol in enumerate(symbols):
        _add_candles(client, rows, column, symbol, interval, length)
        _add_funding(client, rows, column, symbol, interval, length)
        _add_interest(client, rows, column, symbol, interval, length)
    close = PLACE["close"]
    return [row for row in rows if not np.isnan(row.values[close]).all()]


def load_rows(
    lake: Path, venue: str, symbols: Sequence[str], interval: str, first: datetime, last: datetime
) -> list[Row]:
    """Return the bars of a span that the lake has; none where it lacks a symbol."""
    from workbench.data import load
    from workbench.live.window import read_rows

    try:
        market = load(symbols, interval=interval, start=first, end=last, venue=venue, lake=lake)
    except DataError:
        return []
    return read_rows(market, symbols)


def _add_candles(
    client: BybitClient, rows: list[Row], column: int, symbol: str, interval: str, length: timedelta
) -> None:
    start, end = rows[0].known_at - length, rows[-1].known_at
    for kind, prefix in KINDS.items():
        pages = client.klines(symbol, interval, start, end, kind=kind)
        for candle in chain.from_iterable(pages):
            place = _place(rows, candle, length)
            if place is None:
                continue
            values = rows[place].values
            for name in ("open", "high", "low", "close"):
                values[PLACE[prefix + name], column] = to_float(getattr(candle, name))
            if candle.volume is not None and candle.turnover is not None:
                values[PLACE["volume"], column] = to_float(candle.volume)
                values[PLACE["turnover"], column] = to_float(candle.turnover)


def _add_funding(
    client: BybitClient, rows: list[Row], column: int, symbol: str, interval: str, length: timedelta
) -> None:
    from workbench.data.frames import predict_funding

    first, last = rows[0].known_at, rows[-1].known_at
    settled = PLACE["funding_settled"]
    for stamp in chain.from_iterable(
        client.funding(symbol, first - length + timedelta(milliseconds=1),
                       last + timedelta(milliseconds=1))
    ):  # fmt: skip
        place = -((first - from_millis(stamp.time_ms)) // length)
        values = rows[place].values
        values[settled, column] = np.nansum([values[settled, column], to_float(stamp.value)])
    rules = client.instrument(symbol)
    window = timedelta(minutes=rules.funding_interval_min)
    since = to_millis(first - length)
    begin = from_millis(since - since % to_millis_of(window))
    n = (last - begin) // length
    premium, stamps = np.full(n, np.nan), np.empty(n, dtype=np.int64)
    for i in range(n):
        stamps[i] = to_millis(begin + (i + 1) * length) * 1_000
    for candle in chain.from_iterable(client.klines(symbol, interval, begin, last, kind="premium")):
        i = (from_millis(candle.start_ms) - begin) // length
        if 0 <= i < n:
            premium[i] = to_float(candle.close)
    predicted = predict_funding(
        premium, stamps, to_millis_of(length) * 1_000, minutes=rules.funding_interval_min,
        cap=to_float(rules.upper_funding_rate),
    )  # fmt: skip
    for i, row in enumerate(rows):
        row.values[PLACE["funding_predicted"], column] = predicted[n - len(rows) + i]


def _add_interest(
    client: BybitClient, rows: list[Row], column: int, symbol: str, interval: str, length: timedelta
) -> None:
    from workbench.exchange.client import OI_INTERVALS

    step = interval if interval in OI_INTERVALS else "5"
    first, last = rows[0].known_at, rows[-1].known_at
    span = max(2 * interval_delta(step), length)
    known = sorted(
        chain.from_iterable(
            client.open_interest(symbol, step, first - span, last + timedelta(milliseconds=1))
        )
    )
    stamps = [stamp.time_ms for stamp in known]
    for row in rows:
        i = int(np.searchsorted(stamps, to_millis(row.known_at), side="right")) - 1
        # What has not been renewed for two of its own steps is not known any more.
        if i >= 0 and row.known_at - from_millis(stamps[i]) <= span:
            row.values[PLACE["open_interest"], column] = to_float(known[i].value)


def _place(rows: list[Row], candle: Candle, length: timedelta) -> int | None:
    place = (from_millis(candle.start_ms) + length - rows[0].known_at) // length
    return place if 0 <= place < len(rows) else None


def to_millis_of(span: timedelta) -> int:
    """Return a span in milliseconds."""
    return span // timedelta(milliseconds=1)
