"""Load a market for research: what was pulled, imported or made, up to the sealed end."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from workbench.core.config import Config, load_config
from workbench.core.errors import DataError
from workbench.core.records import FIELDS, YEAR, Market, to_moment

Moment = str | datetime | pd.Timestamp | None

HELD_BACK: Final = timedelta(days=182)
"""How much of a synthetic market follows its end unseen, as the sealed end of real data does."""

RECENT: Final = 20
"""A run reads few markets again and again: each is recorded once among so many events."""


@dataclass(frozen=True, slots=True)
class _Origin:
    symbols: tuple[str, ...]
    interval: str
    finer: str | None
    venue: str
    is_made: bool
    start: datetime | None
    end: datetime | None
    seed: int
    effect: float


_origins: dict[str, _Origin] = {}


def load(
    symbols: Sequence[str],
    *,
    interval: str = "60",
    start: Moment = None,
    end: Moment = None,
    source: str | Path = "lake",
    finer: str | None = None,
    seed: int = 0,
    effect: float = 0.0,
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
        ``"lake"`` (what was pulled or imported of Bybit; ``"lake:binance"`` of another venue),
        ``"synthetic"``, or the path of a CSV or Parquet file, which is imported first.
    finer : str, optional
        A finer interval to load beside it, which decides the order of touches inside a bar.
    seed : int, default=0
        Of the synthetic market.
    effect : float, default=0.0
        Size of a trend that is planted in the synthetic market (``data.synthetic.Model.trend``), to
        see what a true edge looks like; every title says so.

    Returns
    -------
    Market
        Its snapshot is registered in the store. Rows after the sealed date are cut off; a synthetic
        market goes on for half a year after its end, which is sealed as well.

    Raises
    ------
    DataError
        If the lake lacks a symbol or the data has not passed its quality check.
    """
    from workbench import data

    config = load_config()
    first, last = _moment(start), _moment(end)
    place, _, venue = str(source).partition(":")
    venue = venue if place == "lake" and venue else "bybit"
    is_made = str(source) == "synthetic"
    if is_made:
        first = first or _year_before(last)
        last = last or first + YEAR
    else:
        if effect:
            raise DataError(
                "An effect can be planted in a synthetic market only.",
                "Leave out the effect, or load source='synthetic'.",
            )
        if place != "lake":
            report = data.import_file(Path(source), lake=config.lake_dir)
            data.seal_import(report)
            venue = report.venues[0]
        last = _sealed(last)
        if first and last and first >= last:
            raise DataError(
                f"What comes after {last:%Y-%m-%d %H:%M} UTC is sealed, and {first:%Y-%m-%d} does.",
                "Begin earlier, pull older data, or move the seal on the record: "
                "research.unseal(date, reason=...).",
            )
    origin = _Origin(tuple(symbols), interval, finer, venue, is_made, first, last, seed, effect)
    market = _read(config, origin, first, last)
    _origins[identify(market)] = origin
    register(config, market)
    return market


def load_sealed(market: Market, *, bars: int) -> Market | None:
    """Return what follows the sealed date of a market that ``load`` gave, for one look on record.

    Parameters
    ----------
    market : Market
    bars : int
        How many bars before the sealed date come along, for a strategy to start from.

    Returns
    -------
    Market or None
        None where nothing follows, or the market was not loaded by ``load``. The caller records
        the look (``workbench.research.validate`` does): whoever looks twice has the better of two.
    """
    config, origin = load_config(), _origins.get(identify(market))
    until = None if origin is None else sealed_date(market)
    if origin is None or until is None:
        return None
    try:
        after = _read(config, origin, until - bars * market.bar_length, None)
    except DataError:
        # Nothing of these symbols lies there; what was loaded before does.
        return None
    seen = int(after.index.searchsorted(pd.Timestamp(until), side="right"))
    if seen == after.n_bars:
        return None
    after = after.between(after.index[max(seen - bars, 0)], None)
    register(config, after)
    return after


def sealed_date(market: Market) -> datetime | None:
    """Return the moment after which nothing of a market may be looked at; None where none is."""
    origin = _origins.get(identify(market))
    if origin is None:
        return None
    return origin.end if origin.is_made else _sealed(None)


def _read(config: Config, origin: _Origin, first: datetime | None, last: datetime | None) -> Market:
    from workbench import data
    from workbench.data.synthetic import Model

    if not origin.is_made:
        market: Market = data.load(
            origin.symbols, interval=origin.interval, start=first, end=last, finer=origin.finer,
            venue=origin.venue, lake=config.lake_dir,
        )  # fmt: skip
        return market
    assert origin.start is not None and origin.end is not None  # noqa: S101, PT018 - load sets both
    made: Market = data.synthesise(
        origin.symbols, interval=origin.interval, start=origin.start,
        end=origin.end + HELD_BACK, seed=origin.seed, model=Model(trend=origin.effect),
    )  # fmt: skip
    return made.between(first, last)


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


def _sealed(end: datetime | None) -> datetime | None:
    from workbench.store import Store

    with Store.open() as store:
        seals = store.events(kind="seal")
    if seals.empty:
        return end
    until = _moment(seals.iloc[0]["detail"]["until"])
    return until if end is None or (until is not None and until < end) else end


def register(config: Config, market: Market) -> None:
    """Put the snapshot behind a market on record, and in a job that the run has read it."""
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
        run_id = os.environ.get("WORKBENCH_RUN_ID")
        read = {"run_id": run_id, "snapshot_id": snapshot_id, "watermark": market.watermark}
        if run_id and read not in list(store.events(kind="read", limit=RECENT)["detail"]):
            store.add_event("read", actor="research", detail=read)
