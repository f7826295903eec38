"""What the lake holds, and how a market looks: tables for people."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import polars as pl

from workbench.core.config import load_config
from workbench.core.records import Market, to_bar_start
from workbench.data.lake import Lake
from workbench.data.quality import Finding, check


def inventory(lake: Path | Lake | None = None) -> pd.DataFrame:
    """Return a row for each series of the lake: what, from when to when, how many rows."""
    lake = _lake(lake)
    rows = []
    for series in lake.series():
        span = lake.span(series)
        if span is not None:
            first, last, count = span
            rows.append(
                (series.venue, series.kind, series.symbol, series.interval, first, last, count)
            )
    columns = ["venue", "kind", "symbol", "interval", "first", "last", "rows"]
    return pd.DataFrame(rows, columns=columns)


def sql(query: str, *, lake: Path | Lake | None = None) -> pd.DataFrame:
    """Run SQL over the lake (views ``kline``, ``mark``, ``premium``, ``funding``, ...)."""
    answer = _lake(lake).sql(query)
    return pd.DataFrame({name: answer[name].to_numpy() for name in answer.columns})


def check_market(market: Market) -> pd.DataFrame:
    """Return what quality finds in the candles of a market, a row for each finding."""
    found: list[Finding] = []
    for symbol in market.symbols:
        columns = {
            name: to_bar_start(getattr(market, name)[[symbol]], market.interval)[symbol]
            for name in ("open", "high", "low", "close", "volume", "turnover")
        }
        table = pd.DataFrame(columns).dropna(subset=["close"])
        frame = pl.DataFrame(
            {
                "time": pl.Series(pd.DatetimeIndex(table.index).as_unit("us").asi8)
                .cast(pl.Datetime("us"))
                .dt.replace_time_zone("UTC"),
                **{name: table[name].to_numpy() for name in table.columns},
            }
        )
        last = market.index[-1].to_pydatetime()
        found += check(frame, symbol=symbol, interval=market.interval, as_of=last)
    columns_shown = ["code", "severity", "symbol", "at", "what", "fix"]
    rows = [[getattr(finding, name) for name in columns_shown] for finding in found]
    return pd.DataFrame(rows, columns=columns_shown)


def _lake(lake: Path | Lake | None) -> Lake:
    if isinstance(lake, Lake):
        return lake
    return Lake(load_config().lake_dir if lake is None else lake)
