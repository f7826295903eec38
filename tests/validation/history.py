"""Real hourly history as markets, read from the shared data."""

from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl

from workbench.core.records import Market

MAJORS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT", "BNBUSDT")
HOUR = pd.Timedelta(hours=1)


def read_market(path: Path, *, funding: Path | None = None) -> Market:
    """Hourly candles stamped by bar start, and funding stamped by its settlement."""
    table = _read(path)
    table["known_at"] = table["timestamp"] + HOUR
    frames = {
        name: table.pivot(index="known_at", columns="symbol", values=name)
        for name in ("open", "high", "low", "close", "volume")
    }
    if funding is not None:
        rates = _read(funding).pivot(index="timestamp", columns="symbol", values="funding_rate")
        close = frames["close"]
        frames["funding_settled"] = rates.reindex(index=close.index, columns=close.columns)
    return Market.from_frames(frames, interval="60", snapshot_id=path.parent.name)


def _read(path: Path) -> pd.DataFrame:
    rows = pl.read_parquet(path)
    table = pd.DataFrame({name: np.asarray(rows[name].to_list()) for name in rows.columns})
    table["timestamp"] = pd.to_datetime(rows["timestamp"].to_numpy(), utc=True)
    return table
