"""The whole choice again on permuted markets: what a sweep finds where there is nothing to find."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from workbench.backtest.sweep import Progress
from workbench.backtest.sweep import sweep as run_sweep
from workbench.core.config import load_config
from workbench.core.costs import Costs
from workbench.core.records import Account, Market
from workbench.research.trials import sweep
from workbench.strategies import Strategy
from workbench.validation.permute import PermutationTest, permutation_test


def permute_sweep(
    strategy: Strategy,
    market: Market,
    grid: Mapping[str, Sequence[Any]],
    *,
    n: int = 500,
    costs: Costs | None = None,
    account: Account | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> PermutationTest:
    """Compare the best Sharpe ratio of a sweep with those of the same sweep on permuted markets.

    What was tried on the market itself is recorded; permuted markets tell nothing about it, and are
    not.

    Raises
    ------
    ModelError, DataError
        As ``research.sweep`` and ``validation.permute.permutation_test``.
    """
    config = load_config()
    costs, account = costs or config.costs, account or config.account
    sweep(strategy, market, grid, costs=costs, account=account)
    best = best_of(strategy, grid, costs, account)
    return permutation_test(best, market, n=n, seed=seed, progress=progress)


def best_of(
    strategy: Strategy, grid: Mapping[str, Sequence[Any]], costs: Costs, account: Account
) -> Callable[[Market], float]:
    """Return what gives the best Sharpe ratio of a sweep over a market, off the record."""

    def best(market: Market) -> float:
        again = run_sweep(strategy, market, grid, costs=costs, account=account, workers=1)
        return float(again.table["sharpe"].max())

    return best
