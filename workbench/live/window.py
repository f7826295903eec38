"""The window: the last closed bars of every symbol, handed out as the ``Market`` of research."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.core.errors import DataError
from workbench.core.records import FIELDS, Instrument, Market, interval_delta
from workbench.exchange.wire import EPOCH

Floats = NDArray[np.float64]

PLACE: Final[Mapping[str, int]] = {name: row for row, name in enumerate(FIELDS)}
DAY: Final = timedelta(days=1)
TICK: Final = timedelta(microseconds=1)
CLOSE, MARK = PLACE["close"], PLACE["mark_close"]
_LAST: Final = [PLACE[name] for name in ("open", "high", "low", "close")]
_MARKS: Final = [PLACE[f"mark_{name}"] for name in ("open", "high", "low", "close")]


@dataclass(frozen=True, slots=True)
class Row:
    """One closed bar: when it is known, and its values of shape (n_fields, n_symbols).

    Fields are in the order of ``FIELDS``; NaN is what is not known.
    """

    known_at: datetime
    values: Floats = field(repr=False)


class Window:
    """The last ``bars`` rows at least; what is handed out never changes afterwards."""

    def __init__(
        self,
        symbols: Sequence[str],
        interval: str,
        instruments: Mapping[str, Instrument],
        *,
        bars: int,
        is_synthetic: bool = False,
    ) -> None:
        self.symbols, self.interval, self.bars = tuple(symbols), interval, max(bars, 1)
        self.length, self.instruments = interval_delta(interval), instruments
        self.is_synthetic = is_synthetic
        self._columns = pd.Index(self.symbols)
        self._values = self._room()
        self._known = np.empty(2 * self.bars, dtype=np.int64)
        self._end = 0
        self._made: dict[tuple[int, tuple[str, ...]], Market] = {}

    def __len__(self) -> int:
        return min(self._end, self.bars)

    @property
    def last_at(self) -> datetime | None:
        """The ``known_at`` of the newest row."""
        return None if not self._end else _moment(int(self._known[self._end - 1]))

    @property
    def last(self) -> Floats:
        """The values of the newest row, of shape (n_fields, n_symbols)."""
        return self._values[:, self._end - 1]

    def append(self, row: Row) -> None:
        """Take the next closed bar.

        Raises
        ------
        DataError
            If it is not newer than the last one.
        """
        stamp = _stamp(row.known_at)
        if self._end and stamp <= self._known[self._end - 1]:
            raise DataError(
                f"The bar of {row.known_at} follows that of {self.last_at}.",
                "Bars come in the order of their time.",
            )
        if self._end == len(self._known):
            # What was handed out keeps the old memory.
            values, known = self._room(), np.empty_like(self._known)
            values[:, : self.bars] = self._values[:, -self.bars :]
            known[: self.bars] = self._known[-self.bars :]
            self._values, self._known, self._end = values, known, self.bars
        self._values[:, self._end] = _fill_marks(row.values)
        self._known[self._end] = stamp
        self._end += 1
        self._made.clear()

    def extend(self, rows: Iterable[Row]) -> None:
        """Take several bars."""
        for row in rows:
            self.append(row)

    def mend(self, row: Row) -> bool:
        """Put what came late into its row; return whether that row is here and changed by it."""
        stamp = _stamp(row.known_at)
        place = int(np.searchsorted(self._known[: self._end], stamp))
        if place == self._end or self._known[place] != stamp:
            return False
        old = self._values[:, place]
        new = _fill_marks(np.where(np.isnan(row.values), old, row.values))
        if np.array_equal(old, new, equal_nan=True):
            return False
        # What was handed out keeps the old memory.
        self._values = self._values.copy()
        self._values[:, place] = new
        self._made.clear()
        return True

    def known(self, bars: int) -> list[datetime]:
        """Return the moments of the last rows."""
        first = max(self._end - bars, 0)
        return [_moment(int(stamp)) for stamp in self._known[first : self._end]]

    def column(self, name: str, bars: int) -> Floats:
        """Return the last values of a field, of shape (n_rows, n_symbols)."""
        return self._values[PLACE[name], max(self._end - bars, 0) : self._end]

    def market(self, bars: int, symbols: Sequence[str] | None = None) -> Market:
        """Return the last ``bars`` rows, of all symbols or some of them."""
        names = self.symbols if symbols is None else tuple(symbols)
        made = self._made.get((bars, names))
        if made is None:
            made = self._made[bars, names] = self._make(bars, names)
        return made

    def _make(self, bars: int, names: tuple[str, ...]) -> Market:
        rows = slice(max(self._end - bars, 0), self._end)
        index = pd.DatetimeIndex(
            self._known[rows].astype("datetime64[us]"), name="known_at"
        ).tz_localize("UTC")
        values, columns = self._values[:, rows], self._columns
        if names != self.symbols:
            columns = pd.Index(names)
            values = values[:, :, self._columns.get_indexer(columns)]
        values.flags.writeable = False
        frames: dict[str, Any] = {
            name: pd.DataFrame(values[place], index=index, columns=columns, copy=False)
            for name, place in PLACE.items()
        }
        return Market(
            **frames,
            member=frames["close"].notna(),
            instruments={s: self.instruments[s] for s in names if s in self.instruments},
            interval=self.interval,
            snapshot_id="",
            is_synthetic=self.is_synthetic,
        )

    def _room(self) -> Floats:
        return np.full((len(FIELDS), 2 * self.bars, len(self.symbols)), np.nan)


def blank(n_symbols: int) -> Floats:
    """Return a row of which nothing is known."""
    return np.full((len(FIELDS), n_symbols), np.nan)


def traded_a_day(window: Window) -> Floats:
    """Return the value traded over the trailing day, of shape (n_symbols,); NaN where unknown."""
    bars_a_day = max(2, round(DAY / window.length))
    turnover, volume, close = (
        window.column(name, bars_a_day) for name in ("turnover", "volume", "close")
    )
    value = np.where(np.isnan(turnover), volume * close, turnover)
    is_known = ~np.isnan(value)
    total = np.where(is_known, value, 0.0).sum(axis=0)
    return np.where(is_known.any(axis=0), total, np.nan)


def read_rows(market: Market, symbols: Sequence[str]) -> list[Row]:
    """Return the bars of a market as rows of some symbols; one that it lacks is not known."""
    places = [market.symbols.index(s) if s in market.symbols else -1 for s in symbols]
    is_there = np.array(places) >= 0
    table = np.full((market.n_bars, len(FIELDS), len(symbols)), np.nan)
    for name, k in PLACE.items():
        table[:, k][:, is_there] = getattr(market, name).to_numpy()[
            :, [place for place in places if place >= 0]
        ]
    moments = market.index.to_pydatetime()
    return [Row(moment, values) for moment, values in zip(moments, table, strict=True)]


def _fill_marks(values: Floats) -> Floats:
    # Where a mark is missing the last price stands in, as in research.
    filled = values.copy()
    marks, last = filled[_MARKS], filled[_LAST]
    filled[_MARKS] = np.where(np.isnan(marks), last, marks)
    return filled


def _stamp(moment: datetime) -> int:
    return (moment - EPOCH) // TICK


def _moment(stamp: int) -> datetime:
    return EPOCH + stamp * TICK
