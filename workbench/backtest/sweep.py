"""Many configurations of one strategy over one market, side by side."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import ValidationError

from workbench.backtest import kernel
from workbench.backtest.inputs import (
    Floats,
    Inputs,
    build_brackets,
    build_inputs,
    check_frame,
    day_ends,
)
from workbench.backtest.run import simulate
from workbench.backtest.scan import scan
from workbench.core.costs import Costs
from workbench.core.errors import ModelError
from workbench.core.records import Account, Market
from workbench.strategies.base import SteppedStrategy, Strategy, quantise

COUNTS: Final = {
    "n_fills": kernel.N_FILLS,
    "turnover_usdt": kernel.TURNOVER,
    "fees_usdt": kernel.FEES,
    "funding_usdt": kernel.FUNDING_PAID,
    "n_liquidations": kernel.N_LIQUIDATIONS,
}

Progress = Callable[[int, int], None]
"""Called with the configurations done and the number of all."""


@dataclass(frozen=True)
class Sweep:
    """The outcome of a sweep: a row for each configuration, ranked by nobody.

    Attributes
    ----------
    table : DataFrame
        The grid's parameters, then ``sharpe``, ``sortino``, ``total_return``, ``volatility``,
        ``max_drawdown`` and counts; a row for each configuration in the order of the grid.
    returns : ndarray of float32 of shape (n_configurations, n_days)
        Daily returns, by which the ledger and the overfitting statistics judge the family.
    strategies : list of Strategy
        The configurations themselves.
    refused : list of dict
        Combinations of the grid that the strategy's own validation refuses (a fast average slower
        than the slow one, say).
    """

    table: pd.DataFrame
    returns: NDArray[np.float32]
    days: pd.DatetimeIndex
    grid: Mapping[str, Sequence[Any]]
    strategies: Sequence[Strategy]
    market: Market = field(repr=False)
    costs: Costs
    account: Account
    refused: Sequence[Mapping[str, Any]] = ()

    @property
    def watermark(self) -> str:
        """What every title made from this sweep must carry."""
        return self.market.watermark

    def ranked(self, by: str = "sharpe") -> pd.DataFrame:
        """Return the table with the best configuration first."""
        return self.table.sort_values(by, ascending=False, kind="stable")


def sweep(
    strategy: Strategy,
    market: Market,
    grid: Mapping[str, Sequence[Any]],
    *,
    costs: Costs | None = None,
    account: Account | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Sweep:
    """Backtest every combination of a grid of parameters.

    Parameters
    ----------
    strategy : Strategy
        Gives every parameter that the grid does not name.
    market : Market
    grid : mapping of parameter to values
    costs, account : Costs, Account, optional
        One of each for all configurations.
    workers : int, optional
        Threads; the kernel releases the interpreter lock. By default one for each core.
    progress : callable, optional

    Returns
    -------
    Sweep

    Raises
    ------
    ModelError
        If the grid names an unknown parameter or leaves no valid configuration.

    Notes
    -----
    Memory grows with the results kept (a row of measures and a float32 per day), not with the
    grid: each thread holds the weights and equity of one configuration at a time.
    """
    costs = Costs() if costs is None else costs
    account = Account() if account is None else account
    strategies, rows, refused = _configurations(strategy, grid)
    inputs = build_inputs(market, costs=costs, account=account)
    days, ends = day_ends(market.index)
    outcome = np.empty((len(strategies), len(kernel.MEASURES) + len(COUNTS)))
    daily = np.empty((len(strategies), len(ends)), dtype=np.float32)

    def fill(k: int) -> None:
        equity, cash = evaluate(strategies[k], market, inputs)
        room = np.empty(len(equity))
        kernel.summarise(equity, account.capital_usdt, market.bars_per_year, room, outcome[k])
        outcome[k, len(kernel.MEASURES) :] = cash[list(COUNTS.values())]
        daily[k] = daily_returns(equity, ends, account.capital_usdt)

    with ThreadPoolExecutor(max_workers=workers or os.cpu_count() or 1) as pool:
        for done, _ in enumerate(pool.map(fill, range(len(strategies))), start=1):
            if progress is not None:
                progress(done, len(strategies))
    table = pd.concat(
        [pd.DataFrame(rows), pd.DataFrame(outcome, columns=[*kernel.MEASURES, *COUNTS])], axis=1
    )
    return Sweep(
        table=table.astype(dict.fromkeys(("n_fills", "n_liquidations"), "int64")),
        returns=daily,
        days=days,
        grid={name: list(values) for name, values in grid.items()},
        strategies=strategies,
        market=market,
        costs=costs,
        account=account,
        refused=refused,
    )


def daily_returns(equity: Floats, ends: NDArray[np.int64], capital_usdt: float) -> Floats:
    """Return the simple return of each day from equity per bar and the last row of each day."""
    before = np.concatenate([[capital_usdt], equity[ends[:-1]]])
    growth: Floats = np.divide(equity[ends], before, out=np.ones_like(before), where=before > 0)
    return growth - 1


def _configurations(
    strategy: Strategy, grid: Mapping[str, Sequence[Any]]
) -> tuple[list[Strategy], list[dict[str, Any]], list[dict[str, Any]]]:
    fields = type(strategy).model_fields
    unknown = [name for name in grid if name not in fields]
    if unknown:
        raise ModelError(
            f"{type(strategy).__name__} has no parameter {', '.join(unknown)}.",
            f"It has {', '.join(fields)}.",
        )
    strategies, rows, refused = [], [], []
    for values in product(*grid.values()):
        row = dict(zip(grid, values, strict=True))
        try:
            strategies.append(type(strategy).model_validate(strategy.model_dump() | row))
            rows.append(row)
        except ValidationError:
            refused.append(row)
    if not strategies:
        raise ModelError(
            f"None of the {len(refused)} combinations of the grid is valid.",
            f"Try one by hand to see why: {type(strategy).__name__}(**{refused[:1]}).",
        )
    return strategies, rows, refused


def evaluate(strategy: Strategy, market: Market, inputs: Inputs) -> tuple[Floats, Floats]:
    """Return equity per bar and the cash of the account, on inputs that many strategies share."""
    rules = inputs.rules.copy()
    rules[kernel.BAND] = strategy.rebalance_band
    own = Inputs(
        inputs.bars, inputs.finer, inputs.finer_first, inputs.spec, inputs.tiers, rules,
        inputs.capital_usdt, inputs.notes,
    )  # fmt: skip
    if isinstance(strategy, SteppedStrategy):
        scanned = scan(strategy, market, own, keeps=False)
        return scanned.equity, scanned.cash
    weights = quantise(check_frame(strategy.weights(market), market, "weights"))
    books = simulate(own, weights, build_brackets(strategy, market), capacity=0)
    return books[0], books[1]
