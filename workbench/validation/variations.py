"""Variations that should not matter: another start, another clock, prices a little off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

import numpy as np
import pandas as pd

from workbench.core.costs import Costs
from workbench.core.errors import DataError
from workbench.core.records import FIELDS, Account, Market
from workbench.strategies.base import Strategy
from workbench.validation.frozen import DAY, freeze, replay, side_by_side
from workbench.validation.shocks import rescale

SCORES: Final = ("sharpe", "total_return", "max_drawdown", "n_fills", "n_liquidations")
SHORTEST_DAYS: Final = 30


@dataclass(frozen=True, slots=True)
class Variations:
    """One strategy in many variations that should not matter.

    Attributes
    ----------
    table : DataFrame
        By variation: ``sharpe``, ``total_return``, ``max_drawdown``, ``n_fills`` and
        ``n_liquidations``.
    base : dict
        The same without variation.
    watermark : str
    """

    table: pd.DataFrame
    base: Mapping[str, float]
    watermark: str

    @property
    def share_positive(self) -> float:
        """Share of the variations with a Sharpe ratio above 0."""
        return float((self.table["sharpe"] > 0).mean())

    @property
    def quantiles(self) -> pd.DataFrame:
        """Smallest, 5 %, median, 95 % and largest of every score, each by itself."""
        levels = [0.0, 0.05, 0.5, 0.95, 1.0]
        return self.table[list(SCORES)].quantile(levels).rename_axis("quantile")


def start_dates(
    strategy: Strategy,
    market: Market,
    *,
    starts: int = 50,
    horizon_days: int | None = 365,
    costs: Costs | None = None,
    account: Account | None = None,
    workers: int | None = None,
) -> Variations:
    """Begin a strategy with a fresh account at many dates.

    Parameters
    ----------
    strategy : Strategy
    market : Market
    starts : int, default=50
        Spread evenly over the bars after the lookback.
    horizon_days : int, optional
        Days that each account lives; None lets all live to the end of the market, which leaves the
        last of them 30 days.
    costs, account : Costs, Account, optional
    workers : int, optional
        Threads.

    Returns
    -------
    Variations
        By ``start`` (``known_at`` of the first decision), with ``hold_return`` beside: what the
        mean price of all symbols that trade at the start made.

    Raises
    ------
    DataError
        If the market is too short.

    Notes
    -----
    Windows overlap: the spread says how much the date decides, not how certain the mean is.
    """
    bars = round(
        (SHORTEST_DAYS if horizon_days is None else horizon_days) * DAY / market.bar_length
    )
    first, last = strategy.lookback - 1, market.n_bars - 1 - bars
    if last <= first or starts < 2 or bars < 1:
        raise DataError(
            f"A market of {market.n_bars} bars has no room for {starts} starts after "
            f"{first + 1} bars of lookback and {bars} bars before the end.",
            "Take a shorter horizon, a longer market, and at least two starts.",
        )
    rows = np.unique(np.linspace(first, last, starts).astype(np.int64)).tolist()
    frozen = freeze(strategy, market)

    def one(row: int) -> dict[str, float]:
        stop = market.n_bars - 1 if horizon_days is None else row + bars
        done = replay(
            frozen, market, start=market.index[row], end=market.index[stop], costs=costs,
            account=account,
        )  # fmt: skip
        close = market.close.iloc[row : stop + 1].ffill()
        held = (close.iloc[-1] / close.iloc[0]).mean() - 1.0
        return done.measures | {"hold_return": float(held)}

    table = pd.DataFrame(
        side_by_side(one, rows, workers=workers), index=market.index[rows].rename("start")
    )
    base = replay(frozen, market, costs=costs, account=account).measures
    return Variations(table[[*SCORES, "hold_return"]], _scores(base), market.watermark)


def clock_offsets(
    strategy: Strategy,
    market: Market,
    *,
    offsets: Sequence[int] | None = None,
    costs: Costs | None = None,
    account: Account | None = None,
    workers: int | None = None,
) -> Variations:
    """Let a strategy read a clock that is some bars ahead: it rebalances at other hours.

    Parameters
    ----------
    strategy : Strategy
        One that does not read the time, nor resamples, answers the same on every clock.
    market : Market
        Its bars stay in their order; only the time that they carry moves.
    offsets : sequence of int, optional
        Bars; by default up to 24 of a day, or the seven days of a week where bars are days.
    costs, account : Costs, Account, optional
    workers : int, optional
        Threads.

    Returns
    -------
    Variations
        By ``offset``.
    """
    a_day = round(DAY / market.bar_length)
    steps = offsets
    if steps is None:
        steps = range(7) if a_day < 2 else np.unique(np.arange(24) * a_day // 24).tolist()

    def one(offset: int) -> dict[str, float]:
        moved = _move_clock(market, offset * market.bar_length)
        return replay(strategy, moved, costs=costs, account=account).measures

    done = side_by_side(one, [0, *steps], workers=workers)
    table = pd.DataFrame(done[1:], index=pd.Index(steps, name="offset"))
    return Variations(table[list(SCORES)], _scores(done[0]), market.watermark)


def price_noise(
    strategy: Strategy,
    market: Market,
    *,
    levels: Sequence[float] = (0.1, 0.25, 0.5),
    draws: int = 10,
    seed: int = 0,
    costs: Costs | None = None,
    account: Account | None = None,
    workers: int | None = None,
) -> Variations:
    """Let a strategy see prices that are a little off, and trade at those that were.

    Parameters
    ----------
    strategy : Strategy
    market : Market
    levels : sequence of float
        Standard deviation of the noise as a share of each symbol's own log return per bar.
    draws, seed : int
        Noises at each level.
    costs, account : Costs, Account, optional
    workers : int, optional
        Threads.

    Returns
    -------
    Variations
        By ``level`` and ``draw``.

    Notes
    -----
    Every bar's prices and marks are multiplied by one lognormal factor of their symbol, so that a
    bar keeps its shape. Fills happen at real prices: noise that could be traded would be a gift to
    every strategy that bets on a return.
    """
    if draws < 1 or any(level < 0 for level in levels):
        raise DataError(
            f"{draws} draws at the levels {tuple(levels)} are no noise.",
            "Take at least one draw, and levels from 0 up.",
        )
    moves = np.diff(np.log(market.close.to_numpy()), axis=0)
    spread = np.nan_to_num(np.nanstd(moves, axis=0)) if len(moves) else np.zeros(moves.shape[1])

    def one(job: tuple[int, int]) -> dict[str, float]:
        level, draw = job
        drawn = np.random.default_rng((seed, level, draw)).standard_normal(market.close.shape)
        seen = rescale(market, levels[level] * spread * drawn)
        frozen = freeze(strategy, seen)
        return replay(frozen, market, costs=costs, account=account).measures

    jobs = [(level, draw) for level in range(len(levels)) for draw in range(draws)]
    index = pd.MultiIndex.from_tuples(
        [(levels[level], draw) for level, draw in jobs], names=["level", "draw"]
    )
    table = pd.DataFrame(side_by_side(one, jobs, workers=workers), index=index)
    base = replay(strategy, market, costs=costs, account=account).measures
    return Variations(table[list(SCORES)], _scores(base), market.watermark)


def _scores(measures: Mapping[str, float]) -> dict[str, float]:
    return {name: measures[name] for name in SCORES}


def _move_clock(market: Market, by: timedelta) -> Market:
    frames = {
        name: (frame := getattr(market, name)).set_axis(frame.index + by, axis=0)
        for name in (*FIELDS, "member")
    }
    others = {name: _move_clock(other, by) for name, other in market.others.items()}
    return replace(market, **frames, others=others)
