"""Fit strategies on early bars, to judge them on what follows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import pandas as pd

from workbench.core.errors import DataError
from workbench.core.records import Market, to_moment
from workbench.research.market import Moment
from workbench.strategies import Strategy

SHARE: Final = 1 / 3
"""How much of a market is learned from where nothing else is said."""


def fit(
    strategies: Mapping[str, Strategy], market: Market, *, until: Moment = None
) -> tuple[dict[str, Strategy], Market]:
    """Fit the strategies that learn, and return all of them with the market to judge them on.

    Parameters
    ----------
    strategies : mapping of str to Strategy
    market : Market
    until : str or datetime, optional
        The last ``known_at`` that is learned from; by default the end of the first third.

    Returns
    -------
    strategies : dict of str to Strategy
    market : Market
        What follows ``until``, the same for every strategy. Rules have nothing to learn: where all
        are rules, the whole market.

    Raises
    ------
    DataError
        If there are no bars before ``until`` or none after it.
    """
    if not any(strategy.learns for strategy in strategies.values()):
        return dict(strategies), market
    moment = market.index[int(market.n_bars * SHARE)] if until is None else to_moment(until)
    early = market.until(moment)
    late = market.between(moment + pd.Timedelta(1, unit="us"), None)
    if not early.n_bars or not late.n_bars:
        raise DataError(
            f"{early.n_bars} bars lie up to {moment} and {late.n_bars} after it.",
            f"Choose a moment between {market.index[0]} and {market.index[-1]}.",
        )
    return {name: strategy.fit(early) for name, strategy in strategies.items()}, late
