"""A strategy's answers, computed once: to begin them later, hold them back, trade them elsewhere.

What a strategy wants at t does not depend on when an account begins, so one computation serves
every window; and what it would have wanted on another market can be traded on the real one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any, ClassVar, Final, NamedTuple, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field, SkipValidation

from workbench.backtest.run import Result, run
from workbench.core.costs import Costs
from workbench.core.errors import DataError
from workbench.core.measures import max_drawdown, sharpe, total_return
from workbench.core.records import Account, Market
from workbench.strategies.base import Brackets, Held, Intent, SteppedStrategy, Strategy

Made = TypeVar("Made")
Item = TypeVar("Item")

DAY: Final = timedelta(days=1)
IDLE: Final = "\0idle"
"""A feature that no strategy names: whether a row is sat out."""
SETTLING_BARS: Final = 3
"""Bars beyond a day that market impact needs before the first order."""


class GivenWeights(Strategy):
    """Weights and protective distances that are known already."""

    needs: ClassVar[tuple[str, ...]] = ()

    frame: pd.DataFrame
    distances: SkipValidation[Brackets] = Brackets()

    @property
    def lookback(self) -> int:
        """One bar: nothing is computed."""
        return 1

    def weights(self, market: Market) -> pd.DataFrame:
        """Return the rows of the market; NaN (keep) where nothing is known."""
        return _rows_of(market, self.frame)

    def brackets(self, market: Market) -> Brackets:
        """Return the distances at the rows of the market."""
        return _each_frame(self.distances, lambda frame: _rows_of(market, frame))


class GivenSteps(SteppedStrategy):
    """A stepped strategy whose features are known already, and which sits out its first rows."""

    needs: ClassVar[tuple[str, ...]] = ()

    inner: SkipValidation[SteppedStrategy]
    frames: dict[str, pd.DataFrame]
    start: pd.Timestamp | None = Field(default=None, description="first known_at that may decide")

    @property
    def lookback(self) -> int:
        """One bar: nothing is computed."""
        return 1

    def features(self, market: Market) -> dict[str, pd.DataFrame]:
        """Return the rows of the market, and how many of them are to be sat out."""
        skipped = 0 if self.start is None else int(market.index.searchsorted(self.start))
        idle = (np.arange(market.n_bars) < skipped).astype(np.float64)
        return {name: frame.reindex(market.index) for name, frame in self.frames.items()} | {
            IDLE: pd.DataFrame({IDLE: idle}, index=market.index)
        }

    def init(self) -> dict[str, Any]:
        """Return the inner state before its first bar."""
        return self.inner.init()

    def step(
        self,
        state: dict[str, Any],
        row: Mapping[str, NDArray[np.float64]],
        held: Mapping[str, Held],
    ) -> tuple[dict[str, Any], Sequence[Intent]]:
        """Return what the inner strategy wants, from the start on."""
        return (state, []) if row[IDLE][0] else self.inner.step(state, row, held)


Frozen = GivenWeights | GivenSteps


class Outcome(NamedTuple):
    """What an account did in a window.

    Attributes
    ----------
    equity : Series
        USDT by known_at, from the bar of the first decision, at which it is the capital.
    measures : dict
        ``total_return``, ``sharpe`` (a year, of bar returns), ``max_drawdown``, ``worst_bar``,
        ``exposure`` (share of the bars with a position), ``n_fills``, ``n_liquidations``,
        ``fees_usdt`` and ``funding_usdt`` (positive is paid).
    result : Result
        The backtest itself, with a day of flat rows before.
    """

    equity: pd.Series
    measures: dict[str, float]
    result: Result


def replay(
    strategy: Strategy,
    market: Market,
    *,
    start: pd.Timestamp | None = None,
    end: pd.Timestamp | None = None,
    costs: Costs | None = None,
    account: Account | None = None,
) -> Outcome:
    """Trade a fresh account over a window of a market, as the strategy stood at its start.

    Parameters
    ----------
    strategy : Strategy
        Asked on all bars up to ``end`` and none after, unless it is frozen.
    market : Market
    start, end : Timestamp, optional
        The first decision is made at the last ``known_at`` at or before the start: what was
        wanted then is bought at the next open, also where its last change lies further back.
    costs, account : Costs, Account, optional

    Returns
    -------
    Outcome

    Raises
    ------
    DataError
        If the market has less than two bars there.
    """
    seen = market if end is None else market.until(end)
    row = 0 if start is None else int(seen.index.searchsorted(start, side="right")) - 1
    if not 0 <= row < seen.n_bars - 1:
        raise DataError(
            f"The market has no two bars from {start} to {end}: it holds "
            f"{market.index[0]} to {market.index[-1]}.",
            "Give a window inside the market.",
        )
    frozen = strategy if isinstance(strategy, Frozen) else freeze(strategy, seen)
    first = max(0, row - round(DAY / seen.bar_length) - SETTLING_BARS)
    cut = seen.between(seen.index[first], None)
    result = run(begin(frozen, seen.index[row]), cut, costs=costs, account=account)
    return _measure(result, row - first)


def freeze(strategy: Strategy, market: Market) -> Frozen:
    """Return a strategy that answers as this one does on a market, on whatever it is run later."""
    if isinstance(strategy, SteppedStrategy):
        return GivenSteps(
            inner=strategy,
            frames=strategy.features(market),
            rebalance_band=strategy.rebalance_band,
        )
    return GivenWeights(
        frame=strategy.weights(market),
        distances=strategy.brackets(market) or Brackets(),
        rebalance_band=strategy.rebalance_band,
    )


def begin(frozen: Frozen, start: pd.Timestamp) -> Frozen:
    """Return the strategy as it would begin at a moment: flat before, then what it wanted last.

    A position that a stop had closed before is wanted again, where its weight stands; a stepped
    strategy begins with its first state.
    """
    if isinstance(frozen, GivenSteps):
        return frozen.model_copy(update={"start": start})
    row = int(frozen.frame.index.searchsorted(start))
    values = frozen.frame.to_numpy(copy=True)
    values[row] = frozen.frame.iloc[: row + 1].ffill().to_numpy()[-1]
    values[:row] = 0.0
    frame = pd.DataFrame(values, frozen.frame.index, frozen.frame.columns)
    return frozen.model_copy(update={"frame": frame})


def delay(frozen: Frozen, bars: int) -> Frozen:
    """Return the strategy acting on what it knew so many bars ago."""
    if isinstance(frozen, GivenSteps):
        frames = {name: frame.shift(bars) for name, frame in frozen.frames.items()}
        return frozen.model_copy(update={"frames": frames})
    moved = _each_frame(frozen.distances, lambda frame: frame.shift(bars))
    return frozen.model_copy(update={"frame": frozen.frame.shift(bars), "distances": moved})


def side_by_side(
    make: Callable[[Item], Made], items: Iterable[Item], *, workers: int | None = None
) -> list[Made]:
    """Return ``make`` of every item in their order, in threads: the kernel releases the lock."""
    with ThreadPoolExecutor(max_workers=workers or os.cpu_count() or 1) as pool:
        return list(pool.map(make, items))


def _measure(result: Result, first: int) -> Outcome:
    equity = result.equity.iloc[first:]
    returns = result.returns.to_numpy()[first:]
    held = (result.positions.to_numpy()[first:] != 0).any(axis=1)
    measures = {
        "total_return": float(total_return(returns)),
        "sharpe": float(sharpe(returns, result.market.bars_per_year)),
        "max_drawdown": float(max_drawdown(returns)),
        "worst_bar": float(returns.min()),
        "exposure": float(held.mean()),
    } | {
        name: float(result.totals[name])
        for name in ("n_fills", "n_liquidations", "fees_usdt", "funding_usdt")
    }
    return Outcome(equity, measures, result)


def _rows_of(market: Market, frame: pd.DataFrame) -> pd.DataFrame:
    return frame.reindex(index=market.index, columns=market.close.columns)


def _each_frame(distances: Brackets, change: Callable[[pd.DataFrame], pd.DataFrame]) -> Brackets:
    frames = {
        name: change(value)
        for name in ("stop_loss", "take_profit", "trailing")
        if isinstance(value := getattr(distances, name), pd.DataFrame)
    }
    return replace(distances, **frames)
