"""Import of candles and funding from CSV and Parquet files, with a report of every guess."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import polars as pl

from workbench.core.errors import DataError
from workbench.core.records import INTERVALS, interval_delta
from workbench.data.lake import COLUMNS, NO_INTERVAL, Lake, Series
from workbench.data.quality import Finding, check
from workbench.data.status import check_series

ALIASES: Final[Mapping[str, tuple[str, ...]]] = {
    "time": (
        "timestamp", "time", "date", "datetime", "open_time", "opentime", "start", "starttime",
        "start_at", "fundingtime", "fundingratetimestamp", "calc_time", "unix", "t", "ts",
    ),
    "venue": ("exchange", "venue"),
    "symbol": ("symbol", "ticker", "pair", "instrument", "market", "s"),
    "open": ("open", "o", "open_price", "openprice"),
    "high": ("high", "h", "high_price", "highprice", "max"),
    "low": ("low", "l", "low_price", "lowprice", "min"),
    "close": ("close", "c", "close_price", "closeprice", "last", "price"),
    "volume": ("volume", "v", "vol", "base_volume", "volume_btc", "volume_base"),
    "turnover": (
        "turnover", "quote_volume", "quotevolume", "quote_asset_volume", "volume_usdt", "amount",
    ),
    "rate": ("funding_rate", "fundingrate", "rate", "last_funding_rate"),
    "open_interest": ("open_interest", "openinterest", "sum_open_interest", "oi"),
}  # fmt: skip
"""Names under which exchanges and tools write each column, compared in lower case."""

UNITS: Final = (("s", 1e8, 1e11), ("ms", 1e11, 1e14), ("us", 1e14, 1e17), ("ns", 1e17, 1e20))
"""Units of epoch numbers by their size: 1973 to 5138 in each."""

MIXED_SHARE: Final = 0.01
"""Above this share of clashing rows a file holds several series under one name."""

_SYMBOL: Final = re.compile(r"([A-Z0-9]{2,15}(?:USDT|USDC|USD|PERP))(?![A-Z0-9])")


@dataclass(frozen=True, slots=True)
class SeriesReport:
    """What came of one series of a file."""

    series: Series
    n_read: int
    n_new: int
    n_changed: int
    first: datetime
    last: datetime
    dropped: Mapping[str, int]
    findings: Sequence[Finding]


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import guessed, kept and left out."""

    path: Path
    kind: str
    interval: str
    venues: Sequence[str]
    columns: Mapping[str, str]
    guesses: Sequence[str]
    series: Sequence[SeriesReport]
    quarantine: Path | None = None
    ignored: Sequence[str] = field(default_factory=tuple)


def import_file(
    path: Path,
    *,
    lake: Path | Lake,
    kind: str | None = None,
    symbol: str | None = None,
    interval: str | None = None,
    venue: str | None = None,
    as_of: datetime | None = None,
    survivors_only: bool = False,
) -> ImportReport:
    """Import one CSV (also gzipped) or Parquet file into the lake.

    Parameters
    ----------
    path : Path
    lake : Path or Lake
    kind : str, optional
        ``kline``, ``mark``, ``premium``, ``funding`` or ``open_interest``; guessed from the columns
        and the file name.
    symbol : str, optional
        Where the file has no column for it; guessed from the file name.
    interval : str, optional
        Bybit name of the bar length; guessed from the commonest step.
    venue : str, optional
        By default what a column ``exchange`` or ``venue`` says row by row, else ``bybit``.
    as_of : datetime, optional
        When the file was made. Without it the last bar of each series is taken to be in progress
        and dropped.
    survivors_only : bool, default=False
        Declare that the file holds only symbols that still trade: results carry the watermark.

    Returns
    -------
    ImportReport
        Rows that cannot be used are kept beside the lake under ``quarantine``, never lost.

    Raises
    ------
    DataError
        If the file cannot be read, or something cannot be guessed; it says what to give.
    """
    lake = lake if isinstance(lake, Lake) else Lake(lake)
    table, columns, guesses, ignored = _read_table(path)
    kind = kind or _guess_kind(path, columns, guesses)
    needed = [n for n in COLUMNS[kind] if n not in ("volume", "turnover")]
    missing = [name for name in needed if name not in columns]
    if missing:
        raise DataError(
            f"{path.name} has no column for {', '.join(missing)}; it has "
            f"{', '.join(pl.Series(table.columns).to_list())}.",
            f"Rename one of its columns, or give another kind than {kind}.",
        )
    table = _with_symbol(table, path, columns, symbol, guesses)
    is_in_bars = kind not in ("funding",)
    if is_in_bars and interval is None:
        interval = _guess_interval(table, path, guesses)
    name = interval if is_in_bars and interval else NO_INTERVAL
    if is_in_bars:
        interval_delta(name)
    reports = []
    bad: list[pl.DataFrame] = []
    place = pl.lit(venue) if venue or "venue" not in columns else pl.col("venue").str.to_lowercase()
    table = table.with_columns(venue=place.fill_null("bybit"))
    _refuse_mixed(table, path, ignored)
    for (where, own), part in table.group_by("venue", "symbol", maintain_order=True):
        series = Series(kind, str(own), name, str(where))
        rows = part.drop("venue", "symbol")
        report, left_out = _import_series(lake, series, rows, as_of=as_of)
        if report is not None:
            check_series(lake, series, survivors_only=survivors_only or None)
            reports.append(report)
        if not left_out.is_empty():
            bad.append(left_out.with_columns(venue=pl.lit(where), symbol=pl.lit(own)))
    quarantine = _quarantine(lake, path, bad)
    if not reports:
        raise DataError(
            f"Nothing in {path.name} could be used.",
            f"Look at {quarantine}: it holds the rows and why each was left out."
            if quarantine
            else "The file has no rows.",
        )
    shown = (*COLUMNS[kind], "time", "symbol", "venue")
    used = {column: source for column, source in columns.items() if column in shown}
    venues = tuple(dict.fromkeys(report.series.venue for report in reports))
    return ImportReport(path, kind, name, venues, used, guesses, reports, quarantine, ignored)


def _read_table(path: Path) -> tuple[pl.DataFrame, dict[str, str], list[str], list[str]]:
    if not path.is_file():
        raise DataError(f"There is no file {path}.", "Give the path of a CSV or Parquet file.")
    try:
        if path.suffix == ".parquet":
            raw = pl.read_parquet(path)
        else:
            raw = pl.read_csv(path, infer_schema_length=None, try_parse_dates=True)
    except (pl.exceptions.PolarsError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path.name} cannot be read as {'Parquet' if path.suffix == '.parquet' else 'CSV'}: "
            f"{str(error).splitlines()[0]}.",
            "Give a CSV file with a header row, or a Parquet file.",
        ) from error
    raw = _with_header(raw)
    columns = _guess_columns(raw, path)
    guesses = [f"{target} from {name}" for target, name in columns.items() if target != name]
    ignored = [name for name in raw.columns if name not in columns.values()]
    table = raw.select(pl.col(name).alias(target) for target, name in columns.items())
    table = table.with_columns(_moments(table["time"], path, guesses))
    numbers = [name for name in columns if name not in ("time", "symbol", "venue")]
    table = table.with_columns(pl.col(numbers).cast(pl.Float64, strict=False))
    return table, columns, guesses, ignored


def _guess_columns(raw: pl.DataFrame, path: Path) -> dict[str, str]:
    lower = {name.lower().strip().replace(" ", "_"): name for name in reversed(raw.columns)}
    columns: dict[str, str] = {}
    for target, names in ALIASES.items():
        taken = columns.values()
        found = [lower[name] for name in names if name in lower and lower[name] not in taken]
        if target == "time":
            # Of several the one with the clock time: a mere date may stand beside it.
            found.sort(key=lambda name: raw.schema[name] == pl.Date)
        if found:
            columns[target] = found[0]
    if "time" not in columns:
        raise DataError(
            f"{path.name} has no column for the time; it has {', '.join(raw.columns)}.",
            f"Name it {ALIASES['time'][0]}: epoch numbers or ISO times in UTC.",
        )
    return columns


def _with_header(raw: pl.DataFrame) -> pl.DataFrame:
    # Binance's archives come without a header: eleven or twelve numbers, the first an open time.
    try:
        first = float(raw.columns[0])
    except (ValueError, IndexError):
        return raw
    if len(raw.columns) < 6 or not 1e11 < first < 1e17:
        return raw
    names = ["open_time", "open", "high", "low", "close", "volume", "close_time", "quote_volume"]
    rest = [f"column_{k}" for k in range(len(names), len(raw.columns))]
    # Two columns of one value are told apart by a suffix that is no part of it.
    values = [float(name.split("_duplicated_")[0]) for name in raw.columns]
    header = pl.DataFrame([values], schema=raw.columns, orient="row")
    both = pl.concat([header, raw.cast(pl.Float64, strict=False)])
    return both.rename(dict(zip(raw.columns, [*names, *rest], strict=False)))


def _moments(column: pl.Series, path: Path, guesses: list[str]) -> pl.Series:
    if isinstance(column.dtype, pl.Datetime):
        if column.dtype.time_zone is None:
            guesses.append("times without a zone are UTC")
            column = column.dt.replace_time_zone("UTC")
        return column.dt.convert_time_zone("UTC").dt.cast_time_unit("us").alias("time")
    if column.dtype == pl.Date:
        return column.cast(pl.Datetime("us")).dt.replace_time_zone("UTC").alias("time")
    if column.dtype.is_numeric():
        return _from_epoch(column, path, guesses)
    try:
        parsed = column.str.to_datetime(time_zone="UTC", time_unit="us")
    except pl.exceptions.PolarsError as error:
        raise DataError(
            f"The times of {path.name} cannot be read, {column[0]!r} for one.",
            "Write them as epoch numbers or as ISO times, 2024-01-31T00:00:00Z.",
        ) from error
    guesses.append("times without a zone are UTC")
    return parsed.alias("time")


def _from_epoch(column: pl.Series, path: Path, guesses: list[str]) -> pl.Series:
    middle = column.drop_nulls().median()
    size = abs(float(middle)) if isinstance(middle, int | float) else 0.0
    unit = next((name for name, low, high in UNITS if low <= size < high), None)
    if unit is None:
        raise DataError(
            f"The times of {path.name} are numbers near {size:g}, which no epoch unit explains.",
            "Write them in seconds, milliseconds, microseconds or nanoseconds since 1970.",
        )
    guesses.append(f"times in {unit} since 1970")
    if unit == "s":
        whole = (column.cast(pl.Float64) * 1e6).round(0).cast(pl.Int64)
    else:
        whole = column.cast(pl.Int64)
        whole = whole // 1_000 if unit == "ns" else whole * (1_000 if unit == "ms" else 1)
    return whole.cast(pl.Datetime("us")).dt.replace_time_zone("UTC").alias("time")


def _guess_kind(path: Path, columns: Mapping[str, str], guesses: list[str]) -> str:
    name = path.stem.lower()
    if {"open", "high", "low", "close"} <= set(columns):
        word = re.search(r"mark|premium", name)
        kind = word.group() if word else "kline"
    elif "rate" in columns and "open_interest" not in columns:
        kind = "funding"
    elif "open_interest" in columns:
        kind = "open_interest"
    else:
        raise DataError(
            f"{path.name} holds neither candles nor funding nor open interest: its columns are "
            f"{', '.join(columns.values())}.",
            f"Say which it is with kind= (--kind): {', '.join(COLUMNS)}.",
        )
    guesses.append(f"kind {kind}")
    return kind


def _with_symbol(
    table: pl.DataFrame,
    path: Path,
    columns: Mapping[str, str],
    symbol: str | None,
    guesses: list[str],
) -> pl.DataFrame:
    if symbol is not None:
        return table.with_columns(symbol=pl.lit(symbol))
    if "symbol" in columns:
        return table.with_columns(pl.col("symbol").cast(pl.String).str.to_uppercase())
    found = _SYMBOL.search(path.name.upper().replace("_", "-"))
    if found is None:
        raise DataError(
            f"{path.name} names no symbol, in a column or in its own name.",
            "Give it: symbol= (--symbol BTCUSDT).",
        )
    guesses.append(f"symbol {found.group(1)} from the file name")
    return table.with_columns(symbol=pl.lit(found.group(1)))


def _guess_interval(table: pl.DataFrame, path: Path, guesses: list[str]) -> str:
    keys = [name for name in ("venue", "symbol") if name in table.columns]
    steps = (
        table.sort(*keys, "time")
        .select(step=pl.col("time").diff().over(keys))
        .filter(pl.col("step") > timedelta(0))["step"]
    )
    if steps.is_empty():
        raise DataError(
            f"{path.name} holds too few bars to tell their length.",
            "Give it: interval= (--interval 60).",
        )
    common = steps.mode()[0]
    for name, length in INTERVALS.items():
        if length == common:
            guesses.append(f"interval {name} from the commonest step")
            return name
    raise DataError(
        f"The commonest step in {path.name} is {common}, which is no interval of Bybit.",
        f"Give it: interval= (--interval, one of {', '.join(INTERVALS)}).",
    )


def _refuse_mixed(table: pl.DataFrame, path: Path, ignored: Sequence[str]) -> None:
    keys = ["venue", "symbol", "time"]
    clashes = len(table.unique()) - len(table.unique(keys))
    if clashes > MIXED_SHARE * len(table):
        raise DataError(
            f"{path.name} holds {clashes:,} rows that repeat a time with other values.",
            f"It seems to mix several series; split it by {', '.join(ignored) or 'what differs'}.",
        )


def _import_series(
    lake: Lake, series: Series, rows: pl.DataFrame, *, as_of: datetime | None
) -> tuple[SeriesReport | None, pl.DataFrame]:
    interval = None if series.interval == NO_INTERVAL else series.interval
    found = check(
        rows.filter(pl.col("time").is_not_null()),
        symbol=series.symbol, kind=series.kind, interval=interval, as_of=as_of,
    )  # fmt: skip
    prices = [name for name in COLUMNS[series.kind] if name in rows.columns]
    needed = [name for name in prices if name not in ("volume", "turnover")]
    reason: Any = pl.when(pl.col("time").is_null()).then(pl.lit("no time"))
    reason = reason.when(pl.any_horizontal(pl.col(needed).is_null())).then(pl.lit("missing value"))
    if series.kind in ("kline", "mark"):
        zero = pl.any_horizontal(pl.col(needed) <= 0)
        reason = reason.when(zero).then(pl.lit("non-positive price"))
    marked = rows.with_columns(reason=reason.otherwise(None))
    last = rows["time"].max()
    if any(f.code == "bar_in_progress" for f in found):
        is_last = (pl.col("time") == last) & pl.col("reason").is_null()
        open_bar = pl.when(is_last).then(pl.lit("bar in progress")).otherwise(pl.col("reason"))
        marked = marked.with_columns(reason=open_bar)
    left_out = marked.filter(pl.col("reason").is_not_null())
    good = marked.filter(pl.col("reason").is_null()).drop("reason")
    if good.is_empty():
        return None, left_out
    written = lake.write(series, good.select("time", *prices))
    unique = good["time"].n_unique()
    dropped = dict(left_out["reason"].value_counts().iter_rows())
    if len(good) > unique:
        dropped["duplicate"] = len(good) - unique
    first, end = good["time"].min(), good["time"].max()
    assert isinstance(first, datetime)  # noqa: S101 - of a datetime column
    assert isinstance(end, datetime)  # noqa: S101
    report = SeriesReport(
        series, len(rows), written.n_new, written.n_changed, first, end, dropped, found
    )
    return report, left_out


def _quarantine(lake: Lake, path: Path, bad: Sequence[pl.DataFrame]) -> Path | None:
    if not bad:
        return None
    stamp = f"{datetime.now(UTC):%Y%m%d-%H%M%S}"
    place = lake.root / "quarantine" / f"{stamp}-{path.stem}.csv"
    place.parent.mkdir(parents=True, exist_ok=True)
    pl.concat(bad, how="diagonal").write_csv(place)
    return place
