"""Download of market data from the exchange: paged, resumable, never a bar in progress."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import polars as pl

from workbench.core.config import load_config
from workbench.core.errors import DataError
from workbench.core.records import interval_delta, to_float, to_moment
from workbench.data.lake import COLUMNS, MADE, TIME, Lake, Series
from workbench.data.quality import Finding
from workbench.data.seal import SEALED, seal_end
from workbench.data.status import check_series
from workbench.exchange.client import OI_INTERVALS, BybitClient, open_client
from workbench.exchange.records import Candle, Stamp

KINDS: Final = ("kline", "mark", "premium", "funding", "open_interest")
IN_BARS: Final = ("kline", "mark", "premium")

Progress = Callable[[str, float], None]
"""Called with what is being fetched and the share of it that is done."""


@dataclass(frozen=True, slots=True)
class PullReport:
    """What a pull brought: new rows of each series, and what quality found."""

    new_rows: dict[Series, int]
    findings: tuple[Finding, ...]
    until: datetime | None


def pull(
    symbols: Sequence[str],
    *,
    interval: str = "60",
    start: str | datetime = "2023-01-01",
    end: str | datetime | None = None,
    kinds: Iterable[str] = KINDS,
    lake: Path | Lake | None = None,
    client: BybitClient | None = None,
    venue: str | None = None,
    progress: Progress | None = None,
) -> PullReport:
    """Bring instruments, candles, marks, premium, funding and open interest into the lake.

    Parameters
    ----------
    symbols : sequence of str
        None at all is a pull of nothing.
    interval : str, default="60"
    start, end : str or datetime
        First bar's start and the end of the last bar; text without a zone is UTC. By default up
        to the last bar that has closed by the exchange's clock.
    kinds : iterable of str
    lake : Path or Lake, optional
        By default the configuration's.
    client : BybitClient, optional
        By default the configuration's endpoint.
    venue : str, optional
        Under which name the lake keeps it; by default ``bybit``, and for prices that are not those
        of the real market ``simulator`` or ``testnet``, which every title then says.
    progress : callable, optional

    Returns
    -------
    PullReport

    Raises
    ------
    DataError
        If a symbol or a kind does not exist.
    ExchangeError
        If the exchange does not answer. What has come so far is kept: the next pull goes on there.

    Notes
    -----
    Every page is written as it comes, so an interruption costs one page. The holes of a series are
    asked for again each time; what the exchange lacks stays missing. The first pull of real data
    seals their end.
    """
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        raise DataError(f"There is no kind {unknown[0]!r}.", f"Kinds: {', '.join(KINDS)}.")
    if not symbols:
        return PullReport({}, (), None)
    config = load_config()
    client = client or open_client(config)
    lake = lake if isinstance(lake, Lake) else Lake(lake or config.lake_dir)
    interval_delta(interval)
    now = client.server_time()
    first = to_moment(start).to_pydatetime()
    last = now if end is None else min(now, to_moment(end).to_pydatetime())
    instruments = client.instruments(symbols)
    own = client.venue.name
    venue = venue or (own if own in MADE else "bybit")
    lake.write_instruments(instruments, venue=venue)
    new_rows: dict[Series, int] = {}
    findings: list[Finding] = []
    for instrument in instruments:
        begin = max(first, instrument.launched or first)
        for kind in kinds:
            series = replace(_series(kind, instrument.symbol, interval), venue=venue)
            holes = _holes(lake, series, begin, last, instrument.funding_interval_min)
            new_rows[series] = _fill(client, lake, series, holes, now=now, progress=progress)
            if lake.files(series):
                findings += check_series(lake, series)
    if venue not in MADE:
        seal_end(now - SEALED, reason="first pull")
    return PullReport(new_rows, tuple(findings), last)


def _fill(
    client: BybitClient,
    lake: Lake,
    series: Series,
    holes: Iterable[tuple[datetime, datetime]],
    *,
    now: datetime,
    progress: Progress | None,
) -> int:
    count = 0
    tell = progress or (lambda _, __: None)
    what = f"{series.symbol} {series.kind}"
    for low, high in holes:
        for page in _pages(client, series, low, high):
            frame = _frame(page, series.kind)
            if series.kind in IN_BARS:
                frame = frame.filter(pl.col("time") + interval_delta(series.interval) <= now)
            count += lake.write(series, frame).n_new
            if not frame.is_empty():
                tell(what, _share(frame, low, high))
    tell(what, 1.0)
    return count


def _series(kind: str, symbol: str, interval: str) -> Series:
    if kind == "funding":
        return Series(kind, symbol)
    if kind == "open_interest" and interval not in OI_INTERVALS:
        return Series(kind, symbol, "60")
    return Series(kind, symbol, interval)


def _holes(
    lake: Lake,
    series: Series,
    first: datetime,
    last: datetime,
    funding_minutes: int,
) -> Iterator[tuple[datetime, datetime]]:
    # The stretches of a span in which the lake holds no row, each as long as can be.
    if series.kind == "funding":
        step = timedelta(minutes=funding_minutes)
    else:
        step = interval_delta(series.interval)
    held = lake.read(series, start=first, end=last)["time"].to_list()
    at = first
    for stamp in held:
        if stamp - at >= step and stamp > at:
            yield at, stamp
        at = max(at, stamp + timedelta(milliseconds=1))
        if series.kind in IN_BARS:
            at = stamp + step
    if last - at >= step or (series.kind in ("funding", "open_interest") and last > at):
        yield at, last


def _pages(
    client: BybitClient, series: Series, low: datetime, high: datetime
) -> Iterator[Sequence[Candle] | Sequence[Stamp]]:
    if series.kind == "funding":
        return client.funding(series.symbol, low, high)
    if series.kind == "open_interest":
        return client.open_interest(series.symbol, series.interval, low, high)
    return client.klines(series.symbol, series.interval, low, high, kind=series.kind)


def _frame(page: Sequence[Candle] | Sequence[Stamp], kind: str) -> pl.DataFrame:
    names = ["time", *(COLUMNS["kline"] if kind in IN_BARS else COLUMNS[kind])]
    schema = {name: pl.Int64 if name == "time" else pl.Float64 for name in names}
    table = pl.DataFrame([_floats(row) for row in page], schema=schema, orient="row")
    moment = (pl.col("time") * 1000).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    return table.with_columns(moment.cast(TIME).alias("time"))


def _floats(row: Candle | Stamp) -> tuple[int | float, ...]:
    if isinstance(row, Stamp):
        return row.time_ms, to_float(row.value)
    amounts = (row.open, row.high, row.low, row.close, row.volume, row.turnover)
    return row.start_ms, *(float("nan") if own is None else to_float(own) for own in amounts)


def _share(frame: pl.DataFrame, low: datetime, high: datetime) -> float:
    newest = frame["time"].max()
    assert isinstance(newest, datetime)  # noqa: S101 - of a datetime column
    return min(1.0, max(0.0, (newest - low) / (high - low)))
