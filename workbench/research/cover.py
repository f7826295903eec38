"""Which bars of the lake a list of trades can be repriced on, and what brings those that lack."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import pandas as pd

from workbench.core.config import load_config
from workbench.core.errors import DataError
from workbench.core.records import INTERVALS, Market
from workbench.data import Lake
from workbench.data.blotter import Blotter
from workbench.research.market import load, sealed_date
from workbench.research.reprice import Lag, find_lag, place_fills

MOST_CELLS: Final = 2_000_000
"""Bars times symbols of the finest market that is taken: a few seconds of work."""
HOURLY: Final = "60"
DAY: Final = pd.Timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Missing:
    """Trades that could not be repriced, and what would help."""

    symbol: str
    n_trades: int
    first: pd.Timestamp
    last: pd.Timestamp
    interval: str
    sealed: datetime | None = None

    @property
    def remedy(self) -> str:
        """What brings the bars that lack; nothing does where they are sealed."""
        if self.sealed is not None:
            return f"sealed since {self.sealed:%Y-%m-%d}, and not judged by"
        return (
            f"workbench data pull {self.symbol} --interval {self.interval} "
            f"--start {self.first - DAY:%Y-%m-%d} "
            f"--end {self.last + 2 * DAY:%Y-%m-%d}"
        )


def find_market(blotter: Blotter, *, interval: str | None = None) -> Market:
    """Return what the lake holds of a blotter's symbols, in the finest bars that reach the most.

    Raises
    ------
    DataError
        If it holds nothing of them; the message says what to pull.
    """
    span = _span(blotter)
    lake, held = Lake(load_config().lake_dir), {}
    for series in lake.series(venue="bybit", kind="kline"):
        reach = lake.span(series)
        if reach is not None and series.symbol in span.index:
            held[series.symbol, series.interval] = reach[:2]
    chosen = interval or _finest(held, blotter, span)
    symbols = [str(s) for s in span.index if _overlaps(held.get((s, chosen)), span.loc[s])]
    if not symbols:
        asked = [
            Missing(str(s), 0, span.loc[s, "first"], span.loc[s, "last"], chosen).remedy
            for s in span.index[:3]
        ]
        raise DataError(
            f"The lake holds no bars of {', '.join(map(str, span.index[:5]))} from "
            f"{span['first'].min():%Y-%m-%d} to {span['last'].max():%Y-%m-%d}.",
            f"Bring them: {'; '.join(asked)}.",
        )
    end = span["last"].max() + DAY + 3 * INTERVALS[chosen]
    return load(symbols, interval=chosen, start=span["first"].min().floor("D") - DAY, end=end)


def cover(
    blotter: Blotter, market: Market, guesses: list[str]
) -> tuple[pd.DataFrame, list[Missing]]:
    """Return the fills of the trades that lie wholly in a market, placed, and what lacks.

    What is guessed of the stamps is added to the guesses.

    Raises
    ------
    DataError
        If none does.
    """
    lag = _lag(blotter, market, guesses)
    fills = blotter.fills
    here = fills[fills["symbol"].isin(market.symbols)]
    placed = place_fills(here, market, lag=lag.span, timeframe=blotter.timeframe)
    lost = placed["trade"][(placed["row"] < 0) | (placed["next_row"] < 0)]
    kept = placed[~placed["trade"].isin(lost)].reset_index(drop=True)
    gone = fills[~fills["trade"].isin(kept["trade"])]
    until = sealed_date(market)
    ends = gone.groupby("trade")["moment"].transform("max") + lag.span + 2 * market.bar_length
    is_sealed = ends > (pd.Timestamp.max.tz_localize("UTC") if until is None else until)
    missing = [
        Missing(
            str(symbol), int(own["trade"].nunique()), own["moment"].min(), own["moment"].max(),
            market.interval, until if hidden else None,
        )
        for (symbol, hidden), own in gone.groupby(["symbol", is_sealed])
    ]  # fmt: skip
    if kept.empty:
        raise DataError(
            f"None of the {blotter.n_trades} trades lies where the market has bars: "
            f"{', '.join(market.symbols)} from {market.index[0]:%Y-%m-%d} to "
            f"{market.index[-1]:%Y-%m-%d}.",
            f"Bring the bars: {'; '.join(each.remedy for each in missing[:3])}.",
        )
    return kept, missing


def _span(blotter: Blotter) -> pd.DataFrame:
    moments = blotter.fills.groupby("symbol")["moment"].agg(["min", "max"])
    return moments.set_axis(["first", "last"], axis=1)


def _finest(held: Mapping[tuple[str, str], Any], blotter: Blotter, span: pd.DataFrame) -> str:
    duration = span["last"].max() - span["first"].min() + 2 * DAY
    counts = blotter.fills["symbol"].value_counts()
    best, most = HOURLY, 0.0
    for interval in sorted({i for _, i in held}, key=INTERVALS.__getitem__):
        own = [s for s in span.index if _overlaps(held.get((s, interval)), span.loc[s])]
        if duration / INTERVALS[interval] * len(own) > MOST_CELLS:
            continue
        reached = sum(counts[s] * _share(held[s, interval], span.loc[s]) for s in own)
        # A finer interval is worth a little of what it does not reach.
        if reached > 1.01 * most:
            best, most = interval, reached
    return best


def _overlaps(reach: Any, span: pd.Series) -> bool:
    return reach is not None and reach[0] <= span["last"] and reach[1] >= span["first"]


def _share(reach: Any, span: pd.Series) -> float:
    both = min(reach[1], span["last"]) - max(reach[0], span["first"])
    whole = span["last"] - span["first"]
    return float(both / whole) if whole else 1.0


def _lag(blotter: Blotter, market: Market, guesses: list[str]) -> Lag:
    if blotter.is_at_moment:
        return Lag(timedelta(0), 0.0)
    here = blotter.fills[blotter.fills["symbol"].isin(market.symbols)]
    lag = find_lag(here, market)
    if lag.span:
        guesses.append(
            f"stamps are the starts of bars of {describe_span(lag.span)} and fills are at their "
            f"closes: half of the prices lie within {1e4 * lag.distance:.1f} bps of those"
        )
    return lag


def describe_span(span: timedelta) -> str:
    """Return the length of a bar in words."""
    minutes = int(span / timedelta(minutes=1))
    if minutes % 1440 == 0:
        return f"{minutes // 1440} d"
    return f"{minutes // 60} h" if minutes % 60 == 0 else f"{minutes} min"
