"""From the lake to a market: the one place where bar starts become ``known_at``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import polars as pl
from numpy.typing import NDArray

from workbench.core.errors import DataError
from workbench.core.records import Instrument, Market, interval_delta
from workbench.data.lake import BARS, MADE, Lake, Series
from workbench.data.snapshot import take_snapshot
from workbench.data.status import is_survivors, require_usable

INTEREST_A_DAY: Final = 0.0003
"""Bybit's interest rate in the funding formula: 0.01 % per 8 hours."""
PREMIUM_CLAMP: Final = 0.0005

Floats = NDArray[np.float64]
Stamps = NDArray[np.int64]


def load(
    symbols: Sequence[str],
    *,
    interval: str = "60",
    start: datetime | None = None,
    end: datetime | None = None,
    finer: str | None = None,
    venue: str = "bybit",
    lake: Path | Lake,
) -> Market:
    """Return a market from the lake.

    Parameters
    ----------
    symbols : sequence of str
    interval : str, default="60"
        Bybit name of the bar length.
    start, end : datetime, optional
        First and last ``known_at``, UTC-aware.
    finer : str, optional
        A finer interval to load beside it, into ``market.others``.
    venue : str, default="bybit"
    lake : Path or Lake

    Returns
    -------
    Market
        On the union of the symbols' bars; what is missing is NaN. Funding rates stand in the bar
        in which they settled, open interest as it was last known, the predicted funding rate from
        the premium index.

    Raises
    ------
    DataError
        If a symbol has no bars in the span, or its data did not pass the quality check.
    """
    lake = lake if isinstance(lake, Lake) else Lake(lake)
    market, paths = _load(lake, symbols, interval, start, end, venue)
    others = {}
    if finer is not None:
        if interval_delta(finer) >= market.bar_length:
            raise DataError(f"{finer} is not finer than {interval}.", "Choose a shorter interval.")
        first = market.index[0].to_pydatetime() - market.bar_length
        fine, more = _load(lake, symbols, finer, first, market.index[-1].to_pydatetime(), venue)
        others, paths = {finer: fine}, paths | more
    rules = lake.instruments_file(venue=venue)
    if rules.is_file():
        # Ticks, lots and margin tiers decide fills: other rules are other data.
        paths.add(rules)
    snapshot_id = take_snapshot(lake, paths).snapshot_id
    return replace(market, snapshot_id=snapshot_id, others=others, is_synthetic=venue in MADE)


def _load(
    lake: Lake,
    symbols: Sequence[str],
    interval: str,
    start: datetime | None,
    end: datetime | None,
    venue: str,
) -> tuple[Market, set[Path]]:
    length = interval_delta(interval)
    first = None if start is None else start - length
    last = None if end is None else end - length + timedelta(microseconds=1)
    bars: dict[str, pl.DataFrame] = {}
    paths: set[Path] = set()
    for symbol in symbols:
        series = Series("kline", symbol, interval, venue)
        bars[symbol] = lake.read(series, start=first, end=last)
        if bars[symbol].is_empty():
            raise DataError(
                f"The lake holds no {interval} bars of {symbol} from {venue} in this span.",
                f"`workbench data pull {symbol} --interval {interval}` brings them; "
                "`workbench data list` shows what there is.",
            )
        require_usable(lake, series)
        paths.update(lake.files(series, start=first, end=last))
    stamps = _union([_micros(frame) for frame in bars.values()])
    index = pd.DatetimeIndex(stamps.astype("datetime64[us]"), tz="UTC") + length
    known = index.as_unit("us").asi8
    instruments = {s: i for s, i in lake.read_instruments(venue=venue).items() if s in set(symbols)}
    tables = {
        name: np.full((len(index), len(symbols)), np.nan)
        for name in (
            *BARS, "volume", "turnover", *(f"mark_{name}" for name in BARS),
            "funding_settled", "funding_predicted", "open_interest",
        )
    }  # fmt: skip
    for column, symbol in enumerate(symbols):
        _place(tables, "", column, bars[symbol], stamps)
        for kind in ("mark", "premium", "funding", "open_interest"):
            paths |= _add(
                lake, tables, column, kind, symbol, interval, venue, known, length,
                instruments.get(symbol), (first, last),
            )  # fmt: skip
    frames = {
        name: pd.DataFrame(table, index=index, columns=list(symbols))
        for name, table in tables.items()
    }
    market = Market.from_frames(
        frames,
        interval=interval,
        instruments=instruments,
        is_survivors=any(is_survivors(lake, Series("kline", s, interval, venue)) for s in symbols),
    )
    return market, paths


def _add(
    lake: Lake,
    tables: dict[str, Floats],
    column: int,
    kind: str,
    symbol: str,
    interval: str,
    venue: str,
    known: Stamps,
    length: timedelta,
    instrument: Instrument | None,
    span: tuple[datetime | None, datetime | None],
) -> set[Path]:
    series = _find(lake, kind, symbol, interval, venue)
    if series is None:
        return set()
    first, last = span
    # Funding and open interest are stamped by the moment, and an earlier one may still be known.
    if kind in ("funding", "open_interest"):
        first = None if first is None else first - timedelta(days=1)
        last = None if last is None else last + length + timedelta(minutes=1)
    frame = lake.read(series, start=first, end=last)
    if frame.is_empty():
        return set()
    step = int(length / timedelta(microseconds=1))
    if kind == "mark":
        _place(tables, "mark_", column, frame, known - step)
    elif kind == "premium":
        premium = np.full(len(known), np.nan)
        _put(premium, frame, "close", known - step)
        minutes = 480 if instrument is None else instrument.funding_interval_min
        cap = 0.005 if instrument is None else float(instrument.upper_funding_rate)
        predicted = predict_funding(premium, known, step, minutes=minutes, cap=cap)
        tables["funding_predicted"][:, column] = predicted
    elif kind == "funding":
        tables["funding_settled"][:, column] = _settle(frame, known, step)
    else:
        tables["open_interest"][:, column] = _as_of(frame, known, step)
    return set(lake.files(series, start=first, end=last))


def _find(lake: Lake, kind: str, symbol: str, interval: str, venue: str) -> Series | None:
    if kind in ("mark", "premium"):
        series = Series(kind, symbol, interval, venue)
        return series if lake.files(series) else None
    if kind == "funding":
        series = Series(kind, symbol, venue=venue)
        return series if lake.files(series) else None
    found = [s for s in lake.series(venue=venue, kind=kind) if s.symbol == symbol]
    exact = [s for s in found if s.interval == interval]
    return next(iter(exact or found), None)


def _union(stamps: list[Stamps]) -> Stamps:
    if all(np.array_equal(stamps[0], own) for own in stamps[1:]):
        return stamps[0]
    merged = np.sort(np.concatenate(stamps))
    return np.asarray(merged[np.append(True, merged[1:] != merged[:-1])], dtype=np.int64)


def _micros(frame: pl.DataFrame) -> Stamps:
    return np.asarray(frame["time"].to_physical().to_numpy(), dtype=np.int64)


def _place(
    tables: dict[str, Floats], prefix: str, column: int, frame: pl.DataFrame, starts: Stamps
) -> None:
    for name in frame.columns:
        if name != "time":
            _put(tables[prefix + name][:, column], frame, name, starts)


def _put(target: Floats, frame: pl.DataFrame, name: str, starts: Stamps) -> None:
    own = _micros(frame)
    if np.array_equal(own, starts):
        target[:] = frame[name].to_numpy()
        return
    rows = np.searchsorted(starts, own)
    rows_inside = np.minimum(rows, len(starts) - 1)
    is_known = starts[rows_inside] == own
    target[rows_inside[is_known]] = frame[name].to_numpy()[is_known]


def _settle(frame: pl.DataFrame, known: Stamps, step: int) -> Floats:
    # Stamps jitter by milliseconds at some venues: they mean the whole minute.
    minute = 60_000_000
    stamps = (_micros(frame) + minute // 2) // minute * minute
    rows = np.searchsorted(known, stamps)
    is_inside = (rows < len(known)) & (stamps > known[0] - step)
    # A stamp in a gap belongs to no bar.
    is_inside[is_inside] &= stamps[is_inside] > known[rows[is_inside]] - step
    settled = np.zeros(len(known))
    counts = np.zeros(len(known), dtype=np.int64)
    np.add.at(settled, rows[is_inside], frame["rate"].to_numpy()[is_inside])
    np.add.at(counts, rows[is_inside], 1)
    return np.where(counts > 0, settled, np.nan)


def _as_of(frame: pl.DataFrame, known: Stamps, step: int) -> Floats:
    stamps = _micros(frame)
    rows = np.searchsorted(stamps, known, side="right") - 1
    values = np.where(rows >= 0, frame["open_interest"].to_numpy()[np.maximum(rows, 0)], np.nan)
    # What has not been renewed for two of its own steps is not known any more.
    own = int(np.median(np.diff(stamps))) if len(stamps) > 1 else step
    is_stale = known - stamps[np.maximum(rows, 0)] > 2 * max(own, step)
    return np.where(is_stale, np.nan, values)


def predict_funding(
    premium: Floats, known: Stamps, step: int, *, minutes: int, cap: float
) -> Floats:
    """Return the funding rate that the premium so far points to at the next settlement.

    ``F = P + clamp(I - P, -0.05 %, 0.05 %)``: P is the average premium index since the last
    settlement, later bars weighing more (1, 2, ..., n), and I the interest rate of the interval;
    the rate is capped. NaN where the bars are as long as the funding interval.

    Parameters
    ----------
    premium : ndarray of shape (n_bars,)
        Premium index at the close of each bar, as a fraction; NaN is left out of the average.
    known : ndarray of int64 of shape (n_bars,)
        ``known_at`` in microseconds.
    step : int
        Length of a bar in microseconds.
    minutes : int
        Funding interval.
    cap : float
        Largest absolute rate.
    """
    window = minutes * 60_000_000
    if window <= step:
        return np.full(len(known), np.nan)
    group = (known - 1) // window
    weight = ((known - 1) % window // step + 1).astype(np.float64)
    weight = np.where(np.isnan(premium), 0.0, weight)
    sums = pd.DataFrame({"top": np.nan_to_num(premium) * weight, "bottom": weight})
    running = sums.groupby(group).cumsum()
    top, bottom = running["top"].to_numpy(), running["bottom"].to_numpy()
    average = np.divide(top, bottom, out=np.full(len(known), np.nan), where=bottom > 0)
    interest = INTEREST_A_DAY * minutes / 1440
    rate = average + np.clip(interest - average, -PREMIUM_CLAMP, PREMIUM_CLAMP)
    return np.asarray(np.clip(rate, -cap, cap), dtype=np.float64)
