"""Allocation methods walked forward as strategies: what each would have made after its costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Final, Literal

import numpy as np
import pandas as pd
from pydantic import Field

from workbench.backtest.run import Result
from workbench.core.costs import Costs
from workbench.core.errors import ModelError
from workbench.core.records import Account, Market
from workbench.portfolio.allocation import METHODS, Constraints, allocate, estimate_moments
from workbench.portfolio.rebalance import due_moments
from workbench.research.trials import backtest
from workbench.risk.regime import Regime, detect_regimes
from workbench.strategies.base import Strategy

EQUAL: Final = "equal"
"""The benchmark: one over the number of symbols, which estimates nothing."""
LEAST_SHARE: Final = 0.5
"""Share of the window that must be there before capital is divided."""


class Allocated(Strategy):
    """Divide the capital anew in each period by what the days before it say.

    A method that finds no weights is held flat until the next period, and never given others.
    """

    needs: ClassVar[tuple[str, ...]] = ("close",)
    source: ClassVar[str] = "DeMiguel, Garlappi and Uppal (2009), Optimal versus naive"

    method: str = EQUAL
    estimator: str = "ledoit_wolf"
    window_days: int = Field(default=180, ge=60)
    every: Literal["week", "month"] = "month"
    max_weight: float = Field(default=1.0, gt=0, le=1)
    views: dict[str, float] = Field(default_factory=dict)

    @property
    def lookback(self) -> int:
        """All bars: a regime rests on a year of them, and the periods on the calendar."""
        return 24 * 400

    def weights(self, market: Market) -> pd.DataFrame:
        """Return the weights of each period where it begins, NaN (keep) elsewhere."""
        daily = market.resample("D").close.pct_change(fill_method=None)
        due = market.index[due_moments(market.index, every=self.every)]
        regimes = _regimes(market) if self.method == "regime_aware" else None
        answer = pd.DataFrame(np.nan, market.index, market.symbols)
        for moment in due:
            past = daily.loc[:moment].tail(self.window_days)
            if past.notna().all(axis=1).sum() >= LEAST_SHARE * self.window_days:
                regime = None if regimes is None else Regime(int(regimes.loc[moment]))
                answer.loc[moment] = self._divide(past, regime)
        answer.iloc[0] = answer.iloc[0].fillna(0.0)
        return answer

    def _divide(self, past: pd.DataFrame, regime: Regime | None) -> pd.Series:
        if self.method == EQUAL:
            return pd.Series(1.0 / past.shape[1], past.columns)
        most = max(self.max_weight, 1.0 / past.shape[1])
        try:
            return allocate(
                estimate_moments(past, estimator=self.estimator),
                method=self.method,
                constraints=Constraints(max_weight=most),
                views=self.views,
                regime=regime,
            ).weights
        except ModelError:
            # Without weights there is nothing to hold; ``failures`` counts it.
            return pd.Series(0.0, past.columns)


def compare_allocations(
    market: Market,
    methods: Sequence[str] = (EQUAL, *METHODS),
    *,
    window_days: int = 180,
    every: Literal["week", "month"] = "month",
    max_weight: float = 1.0,
    views: Mapping[str, float] | None = None,
    costs: Costs | None = None,
    account: Account | None = None,
) -> dict[str, Result]:
    """Backtest allocation methods on one market, every cost on, each recorded as a trial.

    ``black_litterman`` needs views (expected return a day) and is left out without them.
    """
    chosen = [name for name in methods if name != "black_litterman" or views]
    return {
        name: backtest(
            Allocated(
                method=name, window_days=window_days, every=every, max_weight=max_weight,
                views=dict(views or {}) if name == "black_litterman" else {},
            ),
            market, costs=costs, account=account,
        )
        for name in chosen
    }  # fmt: skip


def failures(result: Result) -> int:
    """Return in how many periods the method found no weights and was held flat."""
    asked = result.weights.dropna(how="all").iloc[1:]
    return int((asked == 0.0).all(axis=1).sum())


def _regimes(market: Market) -> pd.Series:
    returns = market.close.pct_change(fill_method=None)
    return detect_regimes(returns, bar_length=market.bar_length)["regime"]
