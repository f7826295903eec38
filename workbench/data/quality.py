"""Quality of data: what is wrong with a series, where, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

import numpy as np
import pandas as pd
import polars as pl

from workbench.core.records import interval_delta

Severity = Literal["error", "warning", "info"]

LARGE_MOVE: Final = 0.5
"""A fall by half, or a rise to the double, in one bar is worth a look whatever the market."""
SPIKE_SIGMAS: Final = 15.0
"""A jump by so many robust deviations that the next bar takes back is a bad print."""
STALE_BARS: Final = 24
"""So many bars in a row without any change, though something traded, mean a dead feed."""
MAX_SHOWN: Final = 20


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found: a code, how bad it is, of which symbol, when, and what to do."""

    code: str
    severity: Severity
    symbol: str
    at: pd.Timestamp
    what: str
    fix: str


@dataclass(frozen=True, slots=True)
class _Rows:
    symbol: str
    interval: str | None
    frame: pd.DataFrame
    as_of: pd.Timestamp | None

    def finding(self, code: str, severity: Severity, row: int, what: str, fix: str) -> Finding:
        stamp = pd.Timestamp(self.frame["time"].iloc[row])
        return Finding(code, severity, self.symbol, stamp, what, fix)


def check(
    frame: pl.DataFrame,
    *,
    symbol: str,
    kind: str = "kline",
    interval: str | None = None,
    as_of: datetime | None = None,
) -> list[Finding]:
    """Return everything found in the rows of one series, as they came.

    Parameters
    ----------
    frame : polars DataFrame
        ``time`` (bar start or stamp, UTC) and the columns of the kind, unsorted and doubled as in
        the source.
    symbol : str
    kind : str, default="kline"
        ``funding`` and ``open_interest`` are checked for order, doubles and missing values only.
    interval : str, optional
        Bybit name of the bar length, for kinds that come in bars.
    as_of : datetime, optional
        When the rows were taken. Without it nothing shows that the last bar had closed.

    Returns
    -------
    list of Finding
        In the order of time; a code that recurs more than twenty times is summed up in one.
    """
    table = pd.DataFrame({name: frame[name].to_numpy() for name in frame.columns})
    table["time"] = pd.to_datetime(table["time"], utc=True)
    stamp = None if as_of is None else pd.Timestamp(as_of)
    rows = _Rows(symbol, interval, table, stamp)
    found = [*_order(rows)]
    ordered = _Rows(symbol, interval, _in_order(table), stamp)
    checks = _BAR_CHECKS if kind in ("kline", "mark", "premium") else (_missing_values,)
    for look in checks:
        if not (look is _non_positive and kind == "premium"):
            found += list(look(ordered))
    if kind == "kline":
        found += [*_moves(ordered), *_stale(ordered), *_turnover(ordered), *_no_volume(ordered)]
    return _summed(sorted(found, key=lambda f: (f.at, f.code)))


def has_error(findings: list[Finding]) -> bool:
    """Say whether the data must not be used as they are."""
    return any(finding.severity == "error" for finding in findings)


def _in_order(table: pd.DataFrame) -> pd.DataFrame:
    unique = table.drop_duplicates("time", keep="last")
    return unique.sort_values("time", kind="stable", ignore_index=True)


def _order(rows: _Rows) -> Iterator[Finding]:
    time = rows.frame["time"]
    if not time.is_monotonic_increasing and not time.is_monotonic_decreasing:
        row = int((time.diff() < pd.Timedelta(0)).to_numpy().argmax())
        yield rows.finding(
            "unsorted", "warning", row, "The rows are not in the order of time.",
            "An import sorts them.",
        )  # fmt: skip
    values = [name for name in rows.frame.columns if name != "time"]
    for stamp, same in rows.frame[time.duplicated(keep=False)].groupby("time"):
        is_same = len(same[values].drop_duplicates()) == 1
        times = "twice" if len(same) == 2 else f"{len(same)} times"
        yield Finding(
            "duplicate", "warning" if is_same else "error", rows.symbol, pd.Timestamp(str(stamp)),
            f"The row stands {times}{'' if is_same else ' with different values'}.",
            "An import keeps one." if is_same else "Find out which is right; the last one is kept.",
        )  # fmt: skip


def _missing_values(rows: _Rows) -> Iterator[Finding]:
    required = [n for n in rows.frame.columns if n not in ("time", "volume", "turnover")]
    missing = ~np.isfinite(rows.frame[required].to_numpy(dtype=np.float64))
    for row in np.flatnonzero(missing.any(axis=1)):
        names = ", ".join(np.array(required)[missing[row]])
        yield rows.finding(
            "missing_value", "error", int(row), f"No value for {names}.",
            "Download the row again, or drop it: a missing bar is better than a made-up one.",
        )  # fmt: skip


def _non_positive(rows: _Rows) -> Iterator[Finding]:
    prices = rows.frame[["open", "high", "low", "close"]]
    for row in np.flatnonzero((prices <= 0).any(axis=1)):
        names = ", ".join(n for n in prices.columns if prices[n].iloc[row] <= 0)
        yield rows.finding(
            "non_positive_price", "error", int(row), f"The {names} is not above zero.",
            "The first bar of a listing often has no open: drop it on import.",
        )  # fmt: skip


def _inconsistent(rows: _Rows) -> Iterator[Finding]:
    o, h, low, c = (rows.frame[n].to_numpy() for n in ("open", "high", "low", "close"))
    slack = 1e-9 * np.abs(h)
    bad = (h < np.maximum(o, c) - slack) | (low > np.minimum(o, c) + slack)
    for row in np.flatnonzero(bad):
        yield rows.finding(
            "inconsistent_bar", "error", int(row),
            f"Open {o[row]:g} and close {c[row]:g} do not lie between low {low[row]:g} and high "
            f"{h[row]:g}.",
            "Download the bar again; mark and last prices may have been mixed.",
        )  # fmt: skip


def _gaps(rows: _Rows) -> Iterator[Finding]:
    if rows.interval is None:
        return
    length = pd.Timedelta(interval_delta(rows.interval))
    time = rows.frame["time"]
    since = (time - pd.Timestamp("1970-01-05", tz="UTC")) // pd.Timedelta(microseconds=1)
    off = since.to_numpy() % (length // pd.Timedelta(microseconds=1)) != 0
    for row in np.flatnonzero(off):
        yield rows.finding(
            "unaligned", "error", int(row), f"The bar does not start on a multiple of {length}.",
            "Is the interval right, and is the stamp the start of the bar in UTC?",
        )  # fmt: skip
    steps = time.diff()
    for row in np.flatnonzero(steps > length):
        missing = int(steps.iloc[row] / length) - 1
        if missing:
            noun = "bar is" if missing == 1 else "bars are"
            yield rows.finding(
                "gap", "warning", int(row), f"{missing} {noun} missing before this one.",
                "`workbench data pull` fills holes; what the exchange lacks stays missing.",
            )  # fmt: skip


def _in_progress(rows: _Rows) -> Iterator[Finding]:
    if rows.interval is None or rows.frame.empty:
        return
    end = pd.Timestamp(rows.frame["time"].iloc[-1]) + pd.Timedelta(interval_delta(rows.interval))
    if rows.as_of is None:
        what = "Nothing shows that the last bar had closed when the file was made."
    elif rows.as_of < end:
        what = f"The bar ends at {end}, after the rows were taken ({rows.as_of})."
    else:
        return
    yield rows.finding(
        "bar_in_progress", "warning", len(rows.frame) - 1, what,
        "An import drops it; say when the file was made (as_of) to keep a closed one.",
    )  # fmt: skip


def _moves(rows: _Rows) -> Iterator[Finding]:
    close = rows.frame["close"].where(rows.frame["close"] > 0)
    step = np.log(close).diff().to_numpy()
    if np.isfinite(step).sum() < 2:
        return
    middle = np.nanmedian(step)
    sigma = 1.4826 * np.nanmedian(np.abs(step - middle))
    back = np.append(step[1:], np.nan)
    is_spike = (
        (np.abs(step) > max(SPIKE_SIGMAS * sigma, 0.2))
        & (np.abs(step + back) < 0.25 * np.abs(step))
        & (np.sign(step) != np.sign(back))
    )
    large = (np.expm1(step) <= -LARGE_MOVE) | (np.expm1(step) >= 1 / LARGE_MOVE - 1)
    for row in np.flatnonzero(is_spike | large):
        change = f"The close moves by {np.expm1(step[row]):+.0%}"
        if is_spike[row]:
            yield rows.finding(
                "outlier", "error", int(row), f"{change} and back in the next bar.",
                "Compare with another source; drop the bar if it is a bad print.",
            )  # fmt: skip
        else:
            yield rows.finding(
                "large_move", "warning", int(row), f"{change} in one bar.",
                "Compare with the news: a crash is genuine, a redenomination is not a return.",
            )  # fmt: skip


def _stale(rows: _Rows) -> Iterator[Finding]:
    prices = rows.frame[["open", "high", "low", "close"]]
    is_same = (prices.diff().abs().sum(axis=1, min_count=4) == 0) & (
        prices["high"] == prices["low"]
    )
    run = is_same.groupby((~is_same).cumsum()).cumsum()
    for row in np.flatnonzero(run == STALE_BARS):
        yield rows.finding(
            "stale", "error", int(row), f"Nothing has changed for {STALE_BARS} bars or more.",
            "The feed was dead or the symbol halted: leave these bars out.",
        )  # fmt: skip


def _turnover(rows: _Rows) -> Iterator[Finding]:
    if not {"volume", "turnover"} <= set(rows.frame.columns):
        return
    volume, turnover = (rows.frame[n].to_numpy(dtype=float) for n in ("volume", "turnover"))
    with np.errstate(divide="ignore", invalid="ignore"):
        average = turnover / volume
    low, high = (rows.frame[n].to_numpy() for n in ("low", "high"))
    bad = (volume > 0) & ((average < low * 0.99) | (average > high * 1.01))
    for row in np.flatnonzero(bad):
        yield rows.finding(
            "turnover_mismatch", "warning", int(row),
            f"Turnover over volume is {average[row]:g}, outside low and high.",
            "Volume may be in another unit than base coin.",
        )  # fmt: skip


def _no_volume(rows: _Rows) -> Iterator[Finding]:
    if "volume" in rows.frame.columns:
        for row in np.flatnonzero(rows.frame["volume"].to_numpy(dtype=float) == 0):
            yield rows.finding(
                "no_volume", "info", int(row), "Nothing traded in the bar.",
                "Genuine in quiet markets; nothing to do.",
            )  # fmt: skip


def _summed(found: list[Finding]) -> list[Finding]:
    answer = []
    for code in dict.fromkeys(finding.code for finding in found):
        same = [finding for finding in found if finding.code == code]
        if len(same) > MAX_SHOWN:
            first = same[0]
            what = f"{first.what} And {len(same) - 1} more like it, the last at {same[-1].at}."
            same = [Finding(code, first.severity, first.symbol, first.at, what, first.fix)]
        answer += same
    return sorted(answer, key=lambda f: (f.at, f.code))


_BAR_CHECKS: Final[tuple[Callable[[_Rows], Iterator[Finding]], ...]] = (
    _missing_values,
    _non_positive,
    _inconsistent,
    _gaps,
    _in_progress,
)
