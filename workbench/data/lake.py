"""The lake: Parquet files partitioned by venue, kind, interval, symbol and month.

Rows are stamped as the exchange stamps them (bars by their start); only this room sees that. Files
are written whole or not at all, and writing the same rows again changes no byte.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import polars as pl

from workbench.core.errors import DataError
from workbench.core.records import Instrument, RiskTier

BARS: Final = ("open", "high", "low", "close")
COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "kline": (*BARS, "volume", "turnover"),
    "mark": BARS,
    "premium": BARS,
    "funding": ("rate",),
    "open_interest": ("open_interest",),
}
"""The columns of each kind beside ``time``: the start of a bar, or the moment of a stamp."""

TIME: Final = pl.Datetime("us", "UTC")
NO_INTERVAL: Final = "none"
"""The partition of kinds that come at stamps and not in bars."""


MADE: Final = ("synthetic", "simulator", "testnet")
"""Venues whose prices are not those of the real market."""


@dataclass(frozen=True, slots=True)
class Series:
    """What names one series of the lake."""

    kind: str
    symbol: str
    interval: str = NO_INTERVAL
    venue: str = "bybit"

    def folder(self, root: Path) -> Path:
        """Return the folder of its monthly files."""
        parts = (f"{key}={value}" for key, value in self._partition())
        return root.joinpath(*parts)

    def _partition(self) -> Iterator[tuple[str, str]]:
        for key in ("venue", "kind", "interval", "symbol"):
            yield key, str(getattr(self, key))


@dataclass(frozen=True, slots=True)
class WriteReport:
    """What a write changed: rows that are new, rows whose values differ from before."""

    n_new: int = 0
    n_changed: int = 0
    files: tuple[Path, ...] = ()


class Lake:
    """A folder of market data; safe for several processes to write at once."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    def write(self, series: Series, frame: pl.DataFrame) -> WriteReport:
        """Merge rows into a series, month by month; a later row wins over one of the same time.

        Parameters
        ----------
        series : Series
        frame : polars DataFrame
            ``time`` (UTC) and the columns of the kind; missing columns are null.

        Raises
        ------
        DataError
            If the kind is unknown, or a time is missing or without a zone.
        """
        table = conform(frame, series.kind)
        n_new = n_changed = 0
        files = []
        with self._lock():
            for (month,), rows in table.with_columns(
                month=pl.col("time").dt.strftime("%Y-%m")
            ).group_by("month", maintain_order=True):
                path = series.folder(self.root) / f"{month}.parquet"
                new, changed = _merge(path, rows.drop("month"))
                n_new, n_changed = n_new + new, n_changed + changed
                if new or changed:
                    files.append(path)
        return WriteReport(n_new, n_changed, tuple(files))

    def read(
        self, series: Series, *, start: datetime | None = None, end: datetime | None = None
    ) -> pl.DataFrame:
        """Return the rows with ``start <= time < end``, sorted; empty where there are none."""
        paths = self.files(series, start=start, end=end)
        if not paths:
            return _empty(series.kind)
        rows = pl.concat([pl.scan_parquet(path) for path in paths])
        if start is not None:
            rows = rows.filter(pl.col("time") >= start)
        if end is not None:
            rows = rows.filter(pl.col("time") < end)
        return rows.collect()

    def files(
        self, series: Series, *, start: datetime | None = None, end: datetime | None = None
    ) -> list[Path]:
        """Return the monthly files of a series that may hold rows of a span, in order."""
        first = "" if start is None else f"{start:%Y-%m}"
        last = "9999" if end is None else f"{end:%Y-%m}"
        found = sorted(series.folder(self.root).glob("*.parquet"))
        return [path for path in found if first <= path.stem <= last]

    def series(self, *, venue: str | None = None, kind: str | None = None) -> list[Series]:
        """Return every series that holds a file."""
        pattern = f"venue={venue or '*'}/kind={kind or '*'}/interval=*/symbol=*"
        answer = []
        for folder in sorted(self.root.glob(pattern)):
            if any(folder.glob("*.parquet")):
                parts = dict(part.split("=", 1) for part in folder.relative_to(self.root).parts)
                answer.append(Series(**parts))
        return answer

    def span(self, series: Series) -> tuple[datetime, datetime, int] | None:
        """Return the first and last time of a series and its number of rows."""
        paths = self.files(series)
        if not paths:
            return None
        seen = (
            pl.scan_parquet(paths)
            .select(first=pl.col("time").min(), last=pl.col("time").max(), rows=pl.len())
            .collect()
        )
        row = seen.row(0)
        return row[0], row[1], row[2]

    def instruments_file(self, *, venue: str = "bybit") -> Path:
        """Return the file of the instruments of a venue, whether it is there or not."""
        return self.root / f"venue={venue}" / "instruments.json"

    def write_instruments(self, instruments: Sequence[Instrument], *, venue: str = "bybit") -> None:
        """Keep the instruments of a venue, replacing those of the same symbols."""
        known = self.read_instruments(venue=venue) | {i.symbol: i for i in instruments}
        path = self.instruments_file(venue=venue)
        rows = [asdict(known[symbol]) for symbol in sorted(known)]
        with self._lock():
            write_whole(path, json.dumps(rows, default=str, indent=1).encode())

    def read_instruments(self, *, venue: str = "bybit") -> dict[str, Instrument]:
        """Return the instruments of a venue by symbol."""
        path = self.instruments_file(venue=venue)
        if not path.is_file():
            return {}
        return {row["symbol"]: _instrument(row) for row in json.loads(path.read_bytes())}

    def digest(self, path: Path) -> str:
        """Return the SHA-256 of a file; computed once for each size, time and inode."""
        stat = path.stat()
        key = f"{path.relative_to(self.root)}|{stat.st_size}|{stat.st_mtime_ns}|{stat.st_ino}"
        name = self.root / ".digests" / sha256(key.encode()).hexdigest()
        if name.is_file():
            return name.read_text(encoding="ascii")
        answer = sha256(path.read_bytes()).hexdigest()
        write_whole(name, answer.encode("ascii"))
        return answer

    def sql(self, query: str) -> pl.DataFrame:
        """Run SQL over the views ``kline``, ``mark``, ``premium``, ``funding``, ``open_interest``.

        Each view holds ``venue``, ``interval`` and ``symbol`` beside the columns of its kind.

        Raises
        ------
        DataError
            If the query cannot be run; the message names the views that hold data.
        """
        context = pl.SQLContext()
        views = []
        for kind in COLUMNS:
            if any(self.root.glob(f"venue=*/kind={kind}/interval=*/symbol=*/*.parquet")):
                pattern = self.root / f"venue=*/kind={kind}/**/*.parquet"
                context.register(kind, pl.scan_parquet(pattern, hive_partitioning=True))
                views.append(kind)
        try:
            answer = context.execute(query, eager=True)
        except pl.exceptions.PolarsError as error:
            raise DataError(
                f"The query cannot be run: {error}.",
                f"Views with data: {', '.join(views) or 'none (pull or import some first)'}.",
            ) from error
        return answer

    @contextmanager
    def _lock(self) -> Iterator[None]:
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / ".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def conform(frame: pl.DataFrame, kind: str) -> pl.DataFrame:
    """Return rows in the schema of a kind, sorted by time, the last of a doubled time kept."""
    if kind not in COLUMNS:
        raise DataError(f"{kind!r} is not a kind of data.", f"Use one of {', '.join(COLUMNS)}.")
    if "time" not in frame.columns or not isinstance(frame.schema["time"], pl.Datetime):
        raise DataError("The rows have no column `time` of moments.", "Give UTC datetimes.")
    if frame.schema["time"].time_zone is None or frame["time"].null_count():
        raise DataError("Some times are missing or have no zone.", "Give UTC datetimes.")
    columns = [
        pl.col(name).cast(pl.Float64)
        if name in frame.columns
        else pl.lit(None, pl.Float64).alias(name)
        for name in COLUMNS[kind]
    ]
    return (
        frame.select(pl.col("time").dt.convert_time_zone("UTC").dt.cast_time_unit("us"), *columns)
        .unique("time", keep="last", maintain_order=True)
        .sort("time")
    )


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that a crash leaves the old one or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with draft.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _merge(path: Path, rows: pl.DataFrame) -> tuple[int, int]:
    old = pl.read_parquet(path) if path.is_file() else rows.clear()
    both = pl.concat([old, rows]).unique("time", keep="last", maintain_order=True).sort("time")
    n_new = len(both) - len(old)
    kept = both.join(old.select("time"), on="time", how="semi")
    n_changed = int(pl.DataFrame({"x": _differs(kept, old)})["x"].sum())
    if n_new or n_changed:
        write_whole(path, _parquet(both))
    return n_new, n_changed


def _differs(one: pl.DataFrame, other: pl.DataFrame) -> pl.Series:
    names = [name for name in one.columns if name != "time"]
    different = [one[name].ne_missing(other[name]) for name in names]
    return pl.select(pl.any_horizontal(different)).to_series() if len(one) else pl.Series([False])


def _parquet(table: pl.DataFrame) -> bytes:
    from io import BytesIO

    buffer = BytesIO()
    table.write_parquet(buffer, compression="zstd", compression_level=3, statistics=True)
    return buffer.getvalue()


def _empty(kind: str) -> pl.DataFrame:
    return pl.DataFrame(schema={"time": TIME, **dict.fromkeys(COLUMNS[kind], pl.Float64)})


def _instrument(row: Mapping[str, Any]) -> Instrument:
    values: dict[str, Any] = dict(row)
    values["tiers"] = tuple(
        RiskTier(**{name: Decimal(value) for name, value in tier.items()}) for tier in row["tiers"]
    )
    for name in ("launched", "delisting"):
        if row.get(name) is not None:
            values[name] = datetime.fromisoformat(row[name])
    money = {f.name for f in fields(Instrument) if f.type == "Decimal"}
    # A file that was written before a field was known lacks it.
    values |= {name: Decimal(values[name]) for name in money & values.keys()}
    return Instrument(**values)
