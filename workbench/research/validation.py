"""Put a strategy before a gate: all that can be said against it, and one verdict."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from workbench.backtest.run import Result
from workbench.backtest.sweep import Sweep
from workbench.core.config import load_config
from workbench.core.costs import Costs
from workbench.core.errors import DataError
from workbench.core.measures import DAYS_A_YEAR, sharpe
from workbench.core.records import Account, Market
from workbench.evidence.gates import Gate, load_gate
from workbench.evidence.judge import judge
from workbench.evidence.verdicts import Verdict, record_verdict
from workbench.lifecycle.prediction import predict
from workbench.research.luck import Trials, gather_trials, measure_luck
from workbench.research.permuted import best_of
from workbench.research.sealed import Sealed, look_at_sealed
from workbench.research.trials import backtest, sweep
from workbench.store import Store
from workbench.strategies import Strategy
from workbench.strategies.identity import strategy_hash
from workbench.validation.leaks import LeakReport, probe_leaks
from workbench.validation.maxstat import MaxStatistic
from workbench.validation.overfit import Cscv, cscv
from workbench.validation.permute import PermutationTest, permutation_test
from workbench.validation.robustness import Neighbourhood, neighbourhood
from workbench.validation.splits import default_windows, walk_forward
from workbench.validation.walkforward import (
    Paths,
    WalkForward,
    combinatorial_paths,
    walk_forward_returns,
)

MIN_DAYS: Final = 120
FEW_PARAMETERS: Final = 2
MOST_PARAMETERS: Final = 5
FACTORS: Final = (0.5, 0.7, 1.0, 1.4, 2.0)
FEW_FACTORS: Final = (0.7, 1.0, 1.4)
"""How far from its own value a parameter is looked at: less far where there are many."""

Progress = Callable[[str], None]
"""Called with the name of each step as it begins."""


@dataclass(frozen=True)
class Validation:
    """Everything that was found about a strategy, and what the gate says of it.

    Attributes
    ----------
    result : Result
        The backtest of the strategy itself, every cost on.
    sweep : Sweep
        The configurations around it, from which it was chosen or might have been.
    trials : Trials
        Every trial that counts.
    leaks, max_statistic, cscv, walk, paths, permutation, neighbourhood
        The findings by which it is judged; ``cscv`` and ``neighbourhood`` are None where there is
        one configuration only.
    sealed : Sealed or str
        The look at sealed data, or why there was none.
    measures : mapping
        What the gate was shown.
    verdict : Verdict
    """

    result: Result = field(repr=False)
    sweep: Sweep = field(repr=False)
    trials: Trials = field(repr=False)
    leaks: LeakReport = field(repr=False)
    max_statistic: MaxStatistic = field(repr=False)
    cscv: Cscv | None = field(repr=False)
    walk: WalkForward = field(repr=False)
    paths: Paths = field(repr=False)
    permutation: PermutationTest = field(repr=False)
    neighbourhood: Neighbourhood | None = field(repr=False)
    sealed: Sealed | str = field(repr=False)
    measures: Mapping[str, Any] = field(repr=False)
    verdict: Verdict

    @property
    def watermark(self) -> str:
        """What every title made from this must carry."""
        return self.result.watermark

    def judge(self, gate: str) -> Verdict:
        """Return what another gate says of the same measures; it is not put on record."""
        return _judge(self.measures, load_gate(gate), self.result.strategy, self.result.market)


def validate(
    strategy: Strategy,
    market: Market,
    grid: Mapping[str, Sequence[Any]] | None = None,
    *,
    gate: str = "default",
    costs: Costs | None = None,
    account: Account | None = None,
    permutations: int = 200,
    resamples: int = 2_000,
    seed: int = 0,
    progress: Progress | None = None,
) -> Validation:
    """Put a strategy before a gate and record the verdict.

    Parameters
    ----------
    strategy : Strategy
        With the parameters that it is to trade with.
    market : Market
        As ``research.load`` gave it, so that sealed data can follow it.
    grid : mapping of parameter to values, optional
        The configurations that it was chosen from; by default its neighbours.
    gate : str, default="default"
        Name of a gate, or the path of one's own.
    costs, account : Costs, Account, optional
        By default the configuration's.
    permutations, resamples : int
        Permuted markets over which the whole sweep is run again, and resamples of the bootstrap.
    seed : int, default=0
    progress : callable, optional

    Returns
    -------
    Validation

    Raises
    ------
    DataError
        If the market is too short to judge anything on (120 days), or the strategy never traded.
    ModelError, ConfigError
        As the strategy and the gate say.

    Notes
    -----
    The strategy and every configuration of the grid are trials and are recorded. Probes and
    permuted markets tell nothing about the market and are not. Sealed data are looked at only if
    every other required criterion holds: a look cannot be taken back.
    """
    config = load_config()
    costs, account = costs or config.costs, account or config.account
    say = progress or (lambda _: None)
    rules = load_gate(gate)
    say("backtest and neighbours")
    result = backtest(strategy, market, costs=costs, account=account)
    daily = result.daily_returns
    if len(daily) < MIN_DAYS:
        raise DataError(
            f"{len(daily)} days are too few to judge a strategy on.",
            f"Load {MIN_DAYS} days at least; years are better.",
        )
    grid = with_own_values(strategy, neighbours(strategy) if grid is None else grid)
    swept = sweep(strategy, market, grid, costs=costs, account=account)
    say("leaks")
    leaks = probe_leaks(strategy, market, seed=seed)
    say("luck")
    with Store.open() as store:
        trials = gather_trials(store, daily, is_synthetic=market.is_synthetic)
    luck, measures = measure_luck(trials, n_resamples=resamples, seed=seed)
    say("overfitting")
    table = swept.returns.T
    is_choice = len(swept.strategies) > 1
    overfit = cscv(table, n_blocks=16 if len(table) >= 320 else 8) if is_choice else None
    around = neighbourhood(swept.table, swept.grid, chosen=strategy.params) if is_choice else None
    say("walk-forward")
    train, test = default_windows(len(table))
    # A day's return is of yesterday's positions: one day lies between.
    windows = walk_forward(len(table), train=train, test=test, purge=1)
    walk = walk_forward_returns(table, windows)
    fan = combinatorial_paths(table)
    say("permuted markets")
    permutation = permutation_test(
        best_of(strategy, grid, costs, account), market, n=permutations, seed=seed
    )
    measures |= _measure(result, leaks, overfit, walk, fan, permutation)
    measures |= _measure_costs(costs, market)
    # What trading will be held against, stage by stage.
    measures |= predict(walk.returns).to_measures()
    sealed: Sealed | str = "it is not spent on what another criterion refuses"
    if _is_worth_a_look(_judge(measures | _measure_sealed(sealed), rules, strategy, market)):
        say("sealed data")
        sealed = look_at_sealed(
            strategy, market, walk.returns, costs=costs, account=account, seed=seed
        )
    measures |= _measure_sealed(sealed)
    verdict = _judge(measures, rules, strategy, market)
    with Store.open() as store:
        record_verdict(store, verdict, run_id=os.environ.get("WORKBENCH_RUN_ID"))
    return Validation(
        result, swept, trials, leaks, luck, overfit, walk, fan, permutation, around, sealed,
        measures, verdict,
    )  # fmt: skip


def neighbours(strategy: Strategy) -> dict[str, list[Any]]:
    """Return a grid around a strategy's own numbers, for one that was not chosen from a grid.

    What the strategy's own validation refuses is left out by the sweep.
    """
    own = {
        name: value
        for name, value in strategy.params.items()
        if name != "rebalance_band" and type(value) in (int, float)
    }
    names = list(own)[:MOST_PARAMETERS]
    factors = FACTORS if len(names) <= FEW_PARAMETERS else FEW_FACTORS
    kinds = {name: type(own[name]) for name in names}
    return {
        name: sorted({kinds[name](round(own[name] * factor, 10)) for factor in factors})
        for name in names
    }


def with_own_values(strategy: Strategy, grid: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
    """Return a grid with the strategy's own value in every row, so that it is one of them."""
    params = strategy.params
    unknown = sorted(set(grid) - set(params))
    if unknown:
        raise DataError(
            f"{type(strategy).__name__} has no parameter {', '.join(unknown)}.",
            f"It has {', '.join(params)}.",
        )
    return {
        name: list(values) if params[name] in values else sorted([*values, params[name]])
        for name, values in grid.items()
    }


def _measure(
    result: Result,
    leaks: LeakReport,
    overfit: Cscv | None,
    walk: WalkForward,
    fan: Paths,
    permutation: PermutationTest,
) -> dict[str, Any]:
    daily = result.daily_returns
    return {
        "sharpe": float(sharpe(daily.to_numpy(), DAYS_A_YEAR)),
        "days": len(daily),
        "bars": result.market.n_bars,
        **leaks.measures,
        # Without a choice, whole paths through the data stand in for the halves of a choice.
        "oos_loss": fan.p_loss if overfit is None else overfit.p_loss,
        "oos_splits": len(fan.chosen) if overfit is None else overfit.n_combinations,
        "pbo": None if overfit is None else overfit.pbo,
        "degradation_slope": None if overfit is None else overfit.slope,
        "walk_forward_sharpe": walk.sharpe,
        "walk_forward_drawdown": walk.drawdown,
        "efficiency": walk.efficiency,
        "consistency": walk.consistency,
        "path_sharpe_median": float(np.median(fan.sharpes)),
        "permutation_p": permutation.p_value,
        "permutation_z": permutation.z,
    }


def _measure_costs(costs: Costs, market: Market) -> dict[str, Any]:
    has = {
        "fees": costs.taker_fee_bps > 0,
        "spread and slippage": costs.spread_bps + costs.slippage_bps > 0,
        "funding": costs.has_funding and bool(market.funding_settled.notna().to_numpy().any()),
    }
    missing = [name for name, is_in in has.items() if not is_in]
    return {"costs_on": int(not missing), "missing_costs": " and ".join(missing)}


def _measure_sealed(sealed: Sealed | str) -> dict[str, Any]:
    if isinstance(sealed, str):
        return {"sealed_quantile": None, "looks": 0, "sealed_missing": sealed}
    return {"sealed_quantile": sealed.priced, "looks": sealed.looks, "sealed_missing": ""}


def _is_worth_a_look(verdict: Verdict) -> bool:
    others = (f for f in verdict.findings if f.is_required and f.measure != "sealed_quantile")
    return all(finding.status == "pass" for finding in others)


def _judge(measures: Mapping[str, Any], gate: Gate, strategy: Strategy, market: Market) -> Verdict:
    return judge(
        measures,
        gate,
        strategy=type(strategy).__name__,
        strategy_hash=strategy_hash(strategy),
        is_synthetic=market.is_synthetic,
    )
