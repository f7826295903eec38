"""The verbs that evaluate: backtest, sweep, compare. Every evaluation is recorded.

Only this room writes trials. Notebooks call these verbs and never the kernel behind them, so that
no look at a result goes uncounted; looking at the same one twice counts once.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date
from typing import Any, Literal

import numpy as np

from workbench.backtest.desk import DeskResult
from workbench.backtest.desk import run_desk as run_desk_backtest
from workbench.backtest.inputs import day_ends
from workbench.backtest.run import Result
from workbench.backtest.run import run as run_backtest
from workbench.backtest.sweep import Progress, Sweep
from workbench.backtest.sweep import sweep as run_sweep
from workbench.core.config import Config, load_config
from workbench.core.costs import Costs
from workbench.core.errors import ModelError
from workbench.core.records import Account, Market
from workbench.research.market import identify, register
from workbench.risk.limits import Limits
from workbench.risk.sizer import Sizer
from workbench.strategies import BuyAndHold, Strategy
from workbench.strategies.identity import strategy_hash

Kind = Literal["backtest", "sweep", "explore"]


def backtest(
    strategy: Strategy,
    market: Market,
    *,
    costs: Costs | None = None,
    account: Account | None = None,
    limits: Limits | None = None,
    sizer: Sizer | None = None,
    family: str | None = None,
    kind: Kind = "backtest",
) -> Result:
    """Backtest a strategy and record the trial; costs and account default to the configuration's.

    With ``limits`` risk is on, and a ``sizer`` scales the weights before them.

    Raises
    ------
    ModelError, DataError
        As ``workbench.backtest.run``.
    """
    config = load_config()
    costs, account = costs or config.costs, account or config.account
    result = run_backtest(
        strategy, market, costs=costs, account=account, limits=limits, sizer=sizer
    )
    daily = result.daily_returns.to_numpy(dtype=np.float32)[None, :]
    scheme = None
    if limits is not None:
        scheme = {"limits": limits.model_dump(), "sizer": None if sizer is None else asdict(sizer)}
    record_trials(
        config, [strategy], market, costs, account, daily, family=family, kind=kind, scheme=scheme
    )
    return result


def run_desk(
    strategies: Mapping[str, Strategy],
    market: Market,
    *,
    limits: Limits,
    shares: Mapping[str, float] | None = None,
    sectors: Mapping[str, str] | None = None,
    sizers: Mapping[str, Sizer] | None = None,
    costs: Costs | None = None,
    account: Account | None = None,
) -> DeskResult:
    """Run several strategies on one account with risk on, and record each as a trial.

    Raises
    ------
    ConfigError, ModelError, DataError
        As ``workbench.backtest.desk.run_desk``.
    """
    config = load_config()
    costs, account = costs or config.costs, account or config.account
    result = run_desk_backtest(
        strategies, market, limits=limits, shares=shares, sectors=sectors,
        sizers=sizers, costs=costs, account=account,
    )  # fmt: skip
    daily = result.strategy_returns.to_numpy(dtype=np.float32).T
    scheme = {"limits": limits.model_dump(), "shares": result.shares.to_dict()}
    scheme["sizers"] = {name: asdict(sizer) for name, sizer in (sizers or {}).items()}
    record_trials(
        config, list(strategies.values()), market, costs, account, daily, family=None,
        kind="backtest", scheme=scheme | {"sectors": dict(sectors or {})},
    )  # fmt: skip
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
    record_trials(
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


def record_trials(
    config: Config,
    strategies: Sequence[Strategy],
    market: Market,
    costs: Costs,
    account: Account,
    daily: np.ndarray[Any, np.dtype[np.float32]],
    *,
    family: str | None,
    kind: Kind,
    measures: Sequence[Mapping[str, Any]] | None = None,
    scheme: Mapping[str, Any] | None = None,
    first_day: date | None = None,
) -> None:
    """Append evaluations with daily returns of shape (n_strategies, n_days) to the ledger.

    A ``scheme`` says how they came about where it was not one backtest over the whole market, and
    ``first_day`` where its returns begin.
    """
    from workbench.store import Store, Trial

    register(config, market)
    digest = setting_hash(market, costs, account, scheme=scheme)
    first_day = first_day or day_ends(market.index)[0][0].date()
    measures = measures or [{}] * len(strategies)
    trials = [
        Trial(
            family=family or type(strategy).__name__,
            strategy=type(strategy).__name__,
            strategy_hash=strategy_hash(strategy),
            params=strategy.params,
            snapshot_id=identify(market),
            costs_hash=digest,
            kind=kind,
            measures=found,
            first_day=first_day,
        )
        for strategy, found in zip(strategies, measures, strict=True)
    ]
    with Store.open() as store:
        store.add_trials(trials, returns=daily, run_id=os.environ.get("WORKBENCH_RUN_ID"))


def setting_hash(
    market: Market, costs: Costs, account: Account, *, scheme: Mapping[str, Any] | None = None
) -> str:
    """Return the hash of what decides an outcome beside the strategy and the data."""
    setting: dict[str, Any] = {
        "costs": asdict(costs),
        "account": asdict(account),
        "symbols": market.symbols,
        "interval": market.interval,
        "first": market.index[0].isoformat(),
        "last": market.index[-1].isoformat(),
        "finer": sorted(market.others),
    }
    if scheme is not None:
        setting["scheme"] = dict(scheme)
    return hashlib.sha256(json.dumps(setting, sort_keys=True).encode()).hexdigest()
