"""Budgets: how the equity is divided among strategies, by the risk that each may take.

A share is a fraction of the account's equity, which risk applies to a strategy's weights. It is
no permission: how much money a stage is worth is for ``lifecycle.capital`` to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.core.errors import ConfigError, DataError
from workbench.risk.dependence import cluster, common_rows, correlation
from workbench.risk.sizing import risk_parity, risk_shares

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class StrategyShares:
    """How the equity is divided, and why.

    Attributes
    ----------
    shares : Series of shape (n_strategies,)
        Fractions of the equity; what they leave of 1 is not allotted.
    table : DataFrame
        By strategy: ``share``; ``budget``, the share of the risk that it was given, and
        ``risk_share``, what it takes (NaN for one on its floor); ``group`` of strategies that move
        as one and have one budget among them; ``n_days`` of history; ``note``, why it is not what
        its budget alone would give.
    """

    shares: pd.Series
    table: pd.DataFrame

    @property
    def unallotted(self) -> float:
        """What no strategy is given."""
        return 1.0 - float(self.shares.sum())


def share_among_strategies(
    returns: pd.DataFrame,
    *,
    budgets: Mapping[str, float] | None = None,
    max_share: float = 1.0,
    floor: float = 0.0,
    max_strategies: int | None = None,
    min_days: int = 90,
    max_correlation: float = 0.7,
) -> StrategyShares:
    """Divide the equity among strategies so that each takes its share of the risk.

    Parameters
    ----------
    returns : DataFrame of shape (n_days, n_strategies)
        Of each strategy on the equity it was allotted, as fractions; NaN before it began.
    budgets : mapping of strategy to float, optional
        Proportions of the risk, above zero. By default each group of strategies that are correlated
        beyond ``max_correlation`` has the same, divided equally within it: a copy of a strategy
        gets no second budget.
    max_share : float, default=1.0
        Most that one may be given. What it cuts goes to the others in their proportions, and stays
        unallotted when all are cut.
    floor : float, default=0.0
        Share of a strategy whose history is too short to measure its risk.
    max_strategies : int, optional
        How many may have a share; those with the longest history first, then in the order given.
    min_days : int, default=90
        Days of history that all must have in common.
    max_correlation : float, default=0.7

    Raises
    ------
    ConfigError
        If an option is out of range, the floors leave nothing, or a budget is missing.
    DataError
        If no history was given, strategies share too few days, or one never moved.
    """
    if not (0.0 < max_share <= 1.0 and 0.0 <= floor <= max_share and (max_strategies or 1) > 0):
        raise ConfigError(
            f"A floor of {floor}, a cap of {max_share} and {max_strategies} strategies do not fit.",
            "Let 0 <= floor <= max_share <= 1, and allow one strategy or more.",
        )
    days = returns.notna().sum()
    if not len(days) or np.isinf(returns.to_numpy()).any():
        raise DataError(
            "There are no strategies, or a return is infinite.",
            "Give a column of daily returns for each, NaN before it began.",
        )
    chosen = days.sort_values(ascending=False, kind="stable").index[:max_strategies]
    is_long = days >= min_days
    is_chosen = days.index.isin(chosen)
    seasoned, young = days.index[is_chosen & is_long], days.index[is_chosen & ~is_long]
    table = pd.DataFrame({"share": 0.0, "n_days": days, "note": "beyond max_strategies"})
    table.loc[young, "share"] = floor
    table.loc[young, "note"] = f"fewer than {min_days} days: on its floor"
    rest = 1.0 - floor * len(young)
    if rest < 0.0:
        raise ConfigError(
            f"{len(young)} floors of {floor} are more than the equity.",
            "Lower floor, or max_strategies.",
        )
    if len(seasoned):
        history = common_rows(returns[seasoned], least=min_days)
        groups = cluster(correlation(history, min_bars=min_days), threshold=max_correlation)
        risk, covariance = _budgets(budgets, groups), history.cov()
        share = _cap(risk_parity(covariance, budgets=risk), rest, max_share)
        table.loc[seasoned, "share"] = share
        table.loc[seasoned, "budget"] = risk
        table.loc[seasoned, "risk_share"] = risk_shares(share, covariance.to_numpy())
        table.loc[seasoned, "group"] = groups
        is_cut = (share >= max_share) & (share < rest)
        table.loc[seasoned, "note"] = np.where(is_cut, "cut to max_share", "")
    columns = ["share", "budget", "risk_share", "group", "n_days", "note"]
    return StrategyShares(table["share"].copy(), table.reindex(columns=columns))


def _budgets(given: Mapping[str, float] | None, groups: pd.Series) -> Floats:
    if given is None:
        size = groups.map(groups.value_counts())
        return np.asarray(1.0 / size / groups.nunique(), dtype=np.float64)
    missing = [str(name) for name in groups.index if not given.get(str(name), 0.0) > 0.0]
    if missing:
        raise ConfigError(
            f"{', '.join(missing)} has no budget above zero.",
            "Give one to each strategy, or leave its returns out.",
        )
    own = np.array([given[str(name)] for name in groups.index])
    return np.asarray(own / own.sum())


def _cap(ideal: Floats, total: float, most: float) -> Floats:
    # What a cap cuts is divided among those below it, until none is above it.
    is_cut = np.zeros(len(ideal), dtype=bool)
    share = ideal * total
    while (share > most * (1.0 + 1e-12)).any():
        is_cut |= share > most * (1.0 + 1e-12)
        rest = max(total - most * is_cut.sum(), 0.0)
        scale = rest / ideal[~is_cut].sum() if not is_cut.all() else 0.0
        share = np.where(is_cut, most, ideal * scale)
    return share
