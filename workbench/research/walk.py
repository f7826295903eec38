"""One configuration of a strategy, walked forward over purged windows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.backtest.inputs import Inputs, build_inputs, day_ends
from workbench.backtest.sweep import daily_returns, evaluate
from workbench.core.costs import Costs
from workbench.core.errors import DataError
from workbench.core.measures import DAYS_A_YEAR, sharpe
from workbench.core.records import Account, Market
from workbench.strategies.base import Strategy
from workbench.validation.frozen import replay
from workbench.validation.splits import MIN_TEST_DAYS, Split, default_windows, walk_forward

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Walk:
    """Windows of a market's days, and what a configuration of one strategy earns in them.

    A rule is computed once over the whole market, since what it does on a day depends on nothing
    after. A strategy with a ``fit`` of its own is fitted on the training days of each window and
    traded by a fresh account on its test days; the windows are stitched.
    """

    strategy: Strategy
    market: Market
    costs: Costs
    account: Account
    days: pd.DatetimeIndex
    ends: NDArray[np.int64]
    splits: list[Split]
    plan: dict[str, Any]
    inputs: Inputs = field(repr=False)

    @classmethod
    def over(
        cls,
        strategy: Strategy,
        market: Market,
        costs: Costs,
        account: Account,
        *,
        train_days: int | None,
        test_days: int | None,
        purge_days: int,
        is_anchored: bool,
    ) -> Self:
        """Lay windows over a market: a quarter of it to learn, a twelfth to judge, by default.

        Raises
        ------
        DataError
            If the market does not hold them, or they are too short to tell anything.
        """
        days, ends = day_ends(market.index)
        train, test = default_windows(len(days))
        train = train if train_days is None else train_days
        test = test if test_days is None else test_days
        if test < MIN_TEST_DAYS:
            raise DataError(
                f"The Sharpe ratio of {test} days tells nothing.",
                f"Judge on {MIN_TEST_DAYS} days at least.",
            )
        splits = walk_forward(
            len(days), train=train, test=test, purge=purge_days, is_anchored=is_anchored
        )
        plan = {"train": train, "test": test, "purge": purge_days, "is_anchored": is_anchored}
        inputs = build_inputs(market, costs=costs, account=account)
        return cls(strategy, market, costs, account, days, ends, splits, plan, inputs)

    @property
    def is_refitted(self) -> bool:
        """Whether every window costs a fit."""
        return self.strategy.learns

    @property
    def first_day(self) -> int:
        """The first of the days that returns are kept of."""
        return int(self.splits[0].test[0]) if self.is_refitted else 0

    def n_days(self, n_windows: int) -> int:
        """Return how many days there are returns of after so many windows."""
        if not self.is_refitted:
            return len(self.days)
        return int(self.splits[n_windows - 1].test[-1]) + 1 - self.first_day

    def scheme(self, n_windows: int) -> dict[str, Any] | None:
        """Return how returns came about, for the ledger; None for a plain backtest."""
        return {"refitted": self.plan, "windows": n_windows} if self.is_refitted else None

    def configure(self, params: Mapping[str, Any]) -> Strategy:
        """Return the strategy with other parameters; what it refuses is a ``ValidationError``."""
        return type(self.strategy).model_validate({**self.strategy.model_dump(), **params})

    def earn(self, strategy: Strategy) -> Iterator[tuple[int, Floats]]:
        """Yield how many windows have been judged, and the daily returns until there."""
        if not self.is_refitted:
            equity, _ = evaluate(strategy, self.market, self.inputs)
            yield len(self.splits), daily_returns(equity, self.ends, self.account.capital_usdt)
            return
        earned = np.empty(0)
        for n_windows, split in enumerate(self.splits, start=1):
            earned = np.concatenate([earned, self._refit(strategy, split)])
            yield n_windows, earned

    def value(self, daily: Floats, n_windows: int) -> float:
        """Return the mean annual Sharpe ratio of so many windows."""
        tests = (split.test - self.first_day for split in self.splits[:n_windows])
        return float(np.mean([sharpe(daily[test], DAYS_A_YEAR) for test in tests]))

    def _refit(self, strategy: Strategy, split: Split) -> Floats:
        index, ends = self.market.index, self.ends
        first = int(ends[split.train[0] - 1]) + 1 if split.train[0] else 0
        fitted = strategy.fit(self.market.between(index[first], index[ends[split.train[-1]]]))
        # What is decided at the last bar before the test fills in its first one.
        decided = int(ends[split.test[0] - 1])
        warm = index[max(0, decided + 1 - fitted.lookback)]
        seen = self.market.between(warm, index[ends[split.test[-1]]])
        outcome = replay(fitted, seen, start=index[decided], costs=self.costs, account=self.account)
        # A day without bars is none of the account's, and earns nothing.
        daily = outcome.result.daily_returns.reindex(self.days[split.test], fill_value=0.0)
        return daily.to_numpy(dtype=np.float64)
