"""Search a strategy's parameters by Optuna, judged out of sample, every evaluation on record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.backtest.sweep import Progress
from workbench.core.config import load_config
from workbench.core.costs import Costs
from workbench.core.errors import ModelError
from workbench.core.measures import DAYS_A_YEAR, max_drawdown, sharpe, total_return
from workbench.core.records import Account, Market
from workbench.research.space import Method, Space, grid_size, read_space
from workbench.research.study import StudyRun, Tried
from workbench.research.walk import Walk
from workbench.strategies.base import Strategy
from workbench.validation.splits import Split

N_TRIALS: Final = 100


@dataclass(frozen=True)
class Search:
    """The outcome of a search; ``table``, ``strategies`` and ``returns`` belong together by row.

    Attributes
    ----------
    study : str
        The name under which the study is kept.
    names : tuple of str
        The parameters that were searched.
    table : DataFrame
        A row for each configuration that was evaluated, in the order of the search: its
        parameters, ``value`` (mean Sharpe ratio of the windows it was judged on), ``state``
        (``complete`` or ``pruned``), ``n_windows``, and ``sharpe``, ``total_return`` and
        ``max_drawdown`` of its daily returns.
    trials : DataFrame
        A row for each combination that was tried: parameters, ``value`` and ``state``, which may
        also be ``refused`` by the strategy's own validation, or ``repeated``.
    returns : ndarray of float32 of shape (n_configurations, n_days)
        Daily returns: of the whole span, or of the windows where the strategy is refitted; NaN
        after a pruned one was given up.
    days : DatetimeIndex of length n_days
    strategies : list of Strategy
        Not fitted.
    splits : list of Split
        Rows of the market's days to learn from and to judge on.
    """

    study: str
    method: Method
    names: tuple[str, ...]
    table: pd.DataFrame
    trials: pd.DataFrame
    returns: NDArray[np.float32]
    days: pd.DatetimeIndex
    strategies: Sequence[Strategy]
    splits: Sequence[Split] = field(repr=False)
    market: Market = field(repr=False)
    costs: Costs
    account: Account

    @property
    def refused(self) -> list[dict[str, Any]]:
        """Combinations that the strategy's own validation refuses; nothing was looked at."""
        rows = self.trials[self.trials["state"] == "refused"]
        return [
            dict(zip(self.names, row, strict=True)) for row in rows[list(self.names)].to_numpy()
        ]

    @property
    def n_pruned(self) -> int:
        """Configurations that were given up before the last window; they count as trials."""
        return int((self.table["state"] == "pruned").sum())

    @property
    def best(self) -> Strategy:
        """The configuration with the best value of those that were judged on every window."""
        return self.strategies[self._place]

    @property
    def best_params(self) -> dict[str, Any]:
        """Its parameters, of those that were searched."""
        return {name: getattr(self.best, name) for name in self.names}

    @property
    def best_value(self) -> float:
        """Its value: the best of as many as were evaluated, and flattered by that."""
        return float(self.table["value"].iloc[self._place])

    @property
    def watermark(self) -> str:
        """What every title made from this search must carry."""
        return self.market.watermark

    def ranked(self, by: str = "value") -> pd.DataFrame:
        """Return the table with the best configuration first."""
        return self.table.sort_values(by, ascending=False, kind="stable")

    @property
    def _place(self) -> int:
        whole = self.table["value"].where(self.table["state"] == "complete", -np.inf)
        return int(whole.to_numpy().argmax())


def optimise(
    strategy: Strategy,
    market: Market,
    space: Space | None = None,
    *,
    method: Method = "tpe",
    n_trials: int | None = None,
    train_days: int | None = None,
    test_days: int | None = None,
    purge_days: int = 1,
    is_anchored: bool = False,
    pruning: bool = True,
    costs: Costs | None = None,
    account: Account | None = None,
    family: str | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Search:
    """Search parameters for the best mean Sharpe ratio over purged walk-forward windows.

    Parameters
    ----------
    strategy : Strategy
        Gives every parameter that is not searched. One with a ``fit`` of its own is fitted anew on
        the training days of every window and traded on the days that follow.
    market : Market
    space : mapping or sequence of str, optional
        ``{"fast": (5, 50), "band": (0.0, 0.02, 0.001), "slow": [100, 200]}``: ranges, ranges with
        steps, values; or names of parameters, whose own bounds are the range then. By default
        every number and flag of the strategy.
    method : {"tpe", "grid", "random", "genetic"}, default="tpe"
        Tree-structured Parzen estimator [2]_, the whole grid, random draws, or NSGA-II [3]_.
    n_trials : int, optional
        Valid combinations in all, those of earlier calls included; by default 100, or the grid.
    train_days, test_days, purge_days : int, optional
        By default a quarter and a twelfth of the days, and one day between the two.
    is_anchored : bool, default=False
        Whether every window learns from the first day on.
    pruning : bool, default=True
        Give up a configuration whose mean so far is below the median of the others. Only where
        every window costs a fit: a rule is computed in one pass, and nothing would be saved.
    costs, account : Costs, Account, optional
        By default the configuration's.
    family : str, optional
        Name in the ledger; by default the strategy's class.
    seed : int, default=0
    progress : callable, optional
        Called with the trials done and the number of all.

    Returns
    -------
    Search

    Raises
    ------
    ModelError
        If the space cannot be searched, or hardly any combination in it is valid.
    DataError
        If the market does not hold the windows.

    Notes
    -----
    The same call goes on where an earlier one stopped, and its trials are, one by one, those of a
    call that never stopped. Every window weighs alike in the mean, however wild it was; the median
    would forget what most of the few windows say. The best value is the best of many: what that is
    worth, ``validate`` says over the whole ledger.

    References
    ----------
    .. [1] Akiba et al. (2019), "Optuna: a next-generation hyperparameter optimization framework",
       KDD 2019, 2623-2631.
    .. [2] Bergstra et al. (2011), "Algorithms for hyper-parameter optimization", NeurIPS 24.
    .. [3] Deb et al. (2002), "A fast and elitist multiobjective genetic algorithm: NSGA-II", IEEE
       Transactions on Evolutionary Computation 6(2), 182-197.
    """
    config = load_config()
    costs, account = costs or config.costs, account or config.account
    ranges = read_space(strategy, space, method=method)
    wanted = n_trials if n_trials is not None else N_TRIALS
    if method == "grid":
        wanted = min(n_trials or grid_size(ranges), grid_size(ranges))
    if wanted < 1:
        raise ModelError(f"{wanted} trials find nothing.", "Ask for one at least.")
    walk = Walk.over(
        strategy, market, costs, account, train_days=train_days, test_days=test_days,
        purge_days=purge_days, is_anchored=is_anchored,
    )  # fmt: skip
    run = StudyRun(
        walk, ranges, method, seed, is_pruned=pruning and walk.is_refitted,
        family=family or type(strategy).__name__,
    )  # fmt: skip
    tried = run.search(wanted, progress)
    return _answer(run, tried)


def _answer(run: StudyRun, tried: Sequence[Tried]) -> Search:
    walk = run.walk
    days = walk.days[walk.first_day :][: walk.n_days(len(walk.splits))]
    evaluated = [(each, each.daily) for each in tried if each.daily is not None]
    if not evaluated:
        raise ModelError(
            f"None of the {len(tried)} combinations is valid.",
            "Try one by hand to see why: "
            f"{type(walk.strategy).__name__}(**{dict(tried[0].params)}).",
        )
    returns = np.full((len(evaluated), len(days)), np.nan, dtype=np.float32)
    rows = []
    for line, (each, daily) in enumerate(evaluated):
        returns[line, : len(daily)] = daily
        seen = daily.astype(np.float64)
        rows.append(
            {
                **each.params,
                "value": each.value,
                "state": each.state,
                "n_windows": each.n_windows,
                "sharpe": float(sharpe(seen, DAYS_A_YEAR)),
                "total_return": float(total_return(seen)),
                "max_drawdown": float(max_drawdown(seen)),
            }
        )
    trials = [{**each.params, "value": each.value, "state": each.state} for each in tried]
    return Search(
        study=run.name,
        method=run.method,
        names=tuple(run.space),
        table=pd.DataFrame(rows),
        trials=pd.DataFrame(trials),
        returns=returns,
        days=days,
        strategies=[each.strategy for each, _ in evaluated if each.strategy is not None],
        splits=walk.splits,
        market=walk.market,
        costs=walk.costs,
        account=walk.account,
    )
