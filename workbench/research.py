"""The verbs of research: load a market, backtest, sweep, compare. Every evaluation is recorded.

This is the only writer of trials. Notebooks call these verbs and never the kernel behind them, so
that no look at a result goes uncounted; looking at the same one twice counts once.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from workbench.backtest.inputs import day_ends
from workbench.backtest.run import Result
from workbench.backtest.run import run as run_backtest
from workbench.backtest.sweep import Progress, Sweep
from workbench.backtest.sweep import sweep as run_sweep
from workbench.core.config import Config, load_config
from workbench.core.costs import Costs
from workbench.core.errors import DataError, ModelError
from workbench.core.records import FIELDS, Account, Market, to_moment
from workbench.strategies import BuyAndHold, Strategy
from workbench.strategies.identity import strategy_hash

Kind = Literal["backtest", "sweep", "explore"]
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
    _register(config, market)
    return market


def backtest(
    strategy: Strategy,
    market: Market,
    *,
    costs: Costs | None = None,
    account: Account | None = None,
    family: str | None = None,
    kind: Kind = "backtest",
) -> Result:
    """Backtest a strategy and record the trial; costs and account default to the configuration's.

    Raises
    ------
    ModelError, DataError
        As ``workbench.backtest.run``.
    """
    config = load_config()
    costs, account = costs or config.costs, account or config.account
    result = run_backtest(strategy, market, costs=costs, account=account)
    daily = result.daily_returns.to_numpy(dtype=np.float32)[None, :]
    _record(config, [strategy], market, costs, account, daily, family=family, kind=kind)
    return result


def sweep(
    strategy: Strategy,
    market: Market,
    grid: Mapping[str, Sequence[Any]],
    *,
    costs: Costs | None = None,
    account: Account | None = None,
    family: str | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Sweep:
    """Backtest every combination of a grid and record each as a trial.

    Raises
    ------
    ModelError, DataError
        As ``workbench.backtest.sweep``.
    """
    config = load_config()
    costs, account = costs or config.costs, account or config.account
    swept = run_sweep(
        strategy, market, grid, costs=costs, account=account, workers=workers, progress=progress
    )
    _record(
        config, swept.strategies, market, costs, account, swept.returns, family=family, kind="sweep"
    )
    return swept


def compare(
    strategies: Mapping[str, Strategy] | Sequence[Strategy],
    market: Market,
    *,
    costs: Costs | None = None,
    account: Account | None = None,
) -> dict[str, Result]:
    """Backtest several strategies on one market, with buy-and-hold beside them."""
    if not isinstance(strategies, Mapping):
        named = {type(strategy).__name__: strategy for strategy in strategies}
        if len(named) < len(strategies):
            raise ModelError(
                "Two of the strategies are of the same class.",
                "Give them names: compare({'fast': ..., 'slow': ...}, market).",
            )
        strategies = named
    everyone = {**strategies, "buy and hold": BuyAndHold()}
    return {
        name: backtest(strategy, market, costs=costs, account=account)
        for name, strategy in everyone.items()
    }


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


def _register(config: Config, market: Market) -> None:
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


def _record(
    config: Config,
    strategies: Sequence[Strategy],
    market: Market,
    costs: Costs,
    account: Account,
    daily: np.ndarray[Any, np.dtype[np.float32]],
    *,
    family: str | None,
    kind: Kind,
) -> None:
    from workbench.store import Store, Trial

    _register(config, market)
    setting = {
        "costs": asdict(costs),
        "account": asdict(account),
        "symbols": market.symbols,
        "interval": market.interval,
        "first": market.index[0].isoformat(),
        "last": market.index[-1].isoformat(),
        "finer": sorted(market.others),
    }
    digest = hashlib.sha256(json.dumps(setting, sort_keys=True).encode()).hexdigest()
    trials = [
        Trial(
            family=family or type(strategy).__name__,
            strategy=type(strategy).__name__,
            strategy_hash=strategy_hash(strategy),
            params=strategy.params,
            snapshot_id=identify(market),
            costs_hash=digest,
            kind=kind,
            measures={},
            first_day=day_ends(market.index)[0][0].date(),
        )
        for strategy in strategies
    ]
    with Store.open() as store:
        store.add_trials(trials, returns=daily, run_id=os.environ.get("WORKBENCH_RUN_ID"))
