"""Load a market for research: what was pulled, imported or made, up to the sealed end."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from workbench.core.config import Config, load_config
from workbench.core.errors import DataError
from workbench.core.records import FIELDS, Market, to_moment

Moment = str | datetime | pd.Timestamp | None


def load(
    symbols: Sequence[str],
    *,
    interval: str = "60",
    start: Moment = None,
    end: Moment = None,
    source: str | Path = "lake",
    finer: str | None = None,
    seed: int = 0,
) -> Market:
    """Load a market for research, up to the sealed end of the data.

    Parameters
    ----------
    symbols : sequence of str
        Bybit names, ``BTCUSDT``.
    interval : str, default="60"
        Bybit name of the bar length.
    start, end : str or datetime, optional
        First and last ``known_at``; text without a zone is UTC.
    source : str or Path, default="lake"
        ``"lake"`` (what was pulled or imported), ``"synthetic"``, or the path of a CSV or Parquet
        file, which is imported first.
    finer : str, optional
        A finer interval to load beside it, which decides the order of touches inside a bar.
    seed : int, default=0
        Of the synthetic market.

    Returns
    -------
    Market
        Its snapshot is registered in the store. Rows after the sealed date are cut off.

    Raises
    ------
    DataError
        If the lake lacks a symbol or the data has not passed its quality check.
    """
    from workbench import data

    config = load_config()
    first, last = _moment(start), _moment(end)
    if str(source) == "synthetic":
        market: Market = data.synthesise(
            symbols, interval=interval, start=first or _year_before(last), end=last, seed=seed
        )
    else:
        venue = "bybit"
        if str(source) != "lake":
            venue = data.import_file(Path(source), lake=config.lake_dir).venues[0]
        last = _sealed(config, last)
        market = data.load(
            symbols, interval=interval, start=first, end=last, finer=finer, venue=venue,
            lake=config.lake_dir,
        )  # fmt: skip
    register(config, market)
    return market


def identify(market: Market) -> str:
    """Return the snapshot id of a market; of one made by hand the hash of its own content."""
    if market.snapshot_id:
        return market.snapshot_id
    content = hashlib.sha256(f"{market.symbols}{market.interval}".encode())
    content.update(market.index.asi8.tobytes())
    for name in FIELDS:
        content.update(np.ascontiguousarray(getattr(market, name).to_numpy()).tobytes())
    return content.hexdigest()


def unseal(until: Moment, *, reason: str) -> None:
    """Move the sealed end of the data, on the record: the gate prices every unseal in."""
    from workbench.store import Store

    moment = _moment(until)
    if moment is None or not reason.strip():
        raise DataError("An unseal needs a date and a reason.", "Say why you look, and until when.")
    detail = {"until": moment.isoformat(), "reason": reason}
    with Store.open() as store:
        store.add_event("seal", actor="research", detail=detail)


def _moment(value: Moment) -> datetime | None:
    return None if value is None else to_moment(value).to_pydatetime()


def _year_before(end: datetime | None) -> datetime:
    end = end or datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return end - pd.Timedelta(days=365)


def _sealed(config: Config, end: datetime | None) -> datetime | None:
    from workbench.store import Store

    with Store.open() as store:
        seals = store.events(kind="seal")
    if seals.empty:
        return end
    until = _moment(seals.iloc[0]["detail"]["until"])
    return until if end is None or (until is not None and until < end) else end


def register(config: Config, market: Market) -> None:
    """Put the snapshot behind a market on record in the store."""
    from workbench.data import Lake, has_snapshot
    from workbench.store import Store

    snapshot_id, lake = identify(market), Lake(config.lake_dir)
    kept = has_snapshot(lake, snapshot_id)
    files = () if kept is None else kept.files
    with Store.open() as store:
        store.add_snapshot(
            snapshot_id,
            files=files,
            interval=market.interval,
            symbols=market.symbols,
            start=market.index[0].to_pydatetime(),
            end=market.index[-1].to_pydatetime(),
            is_synthetic=market.is_synthetic,
        )
