"""Extremes: the losses that come once in so many bars, beyond what history holds.

References
----------
.. [1] Coles (2001), "An introduction to statistical modeling of extreme values", Springer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import pi, sqrt
from typing import Final, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.core.bootstrap import bootstrap_indices
from workbench.core.errors import DataError
from workbench.risk.extremes import fit_pareto
from workbench.validation.deflation import EULER
from workbench.validation.processes import check_rows
from workbench.validation.resample import cluster_block

Floats = NDArray[np.float64]
Method = Literal["gpd", "gev"]

MIN_EXTREMES: Final = 20
"""Exceedances, or maxima of blocks, below which no tail is fitted."""


def return_levels(
    returns: NDArray[np.floating],
    *,
    bars: Sequence[float],
    method: Method = "gpd",
    threshold: float = 0.95,
    block_bars: int = 30,
    level: float = 0.9,
    reps: int = 200,
    seed: int = 0,
) -> pd.DataFrame:
    """Return the losses that are exceeded once in so many bars on average, with a band.

    Parameters
    ----------
    returns : ndarray of shape (n_bars,)
        Simple returns.
    bars : sequence of float
        How rare: 1,000 asks for the loss of the worst bar in a thousand.
    method : {"gpd", "gev"}, default="gpd"
        Generalised Pareto distribution of what exceeds a threshold [1]_, eq. 4.13, or generalised
        extreme value distribution of the worst loss of each block [1]_, eq. 3.10, both by maximum
        likelihood.
    threshold : float, default=0.95
        Quantile of the losses from which on they are extreme (``gpd``).
    block_bars : int, default=30
        Bars of each block (``gev``).
    level : float, default=0.9
        Of the band, by a stationary bootstrap with blocks that keep clusters.
    reps, seed : int

    Returns
    -------
    DataFrame
        ``loss`` as a positive fraction, ``low`` and ``high``, a row for each of ``bars``.

    Raises
    ------
    DataError
        If fewer than 20 losses are extreme, or a loss is asked for that is not.

    Notes
    -----
    Losses come in clusters: the levels are those of bars, the band allows for the clusters. A loss
    beyond 1 cannot happen to what is held without leverage; it says how heavy the tail is.
    """
    losses = -check_rows(returns)[:, 0]
    periods = np.asarray(bars, dtype=np.float64)
    solve: Callable[[Floats, Floats], Floats]
    if method == "gpd":
        start = float(np.quantile(losses, threshold))
        solve, count = partial(_pareto, start=start), int((losses > start).sum())
        least = 1.0 / (1.0 - threshold)
    else:
        solve, count = partial(_maxima, block_bars=block_bars), len(losses) // block_bars
        # A level of one block has no chance left to be exceeded in.
        least = float(block_bars)
    if count < MIN_EXTREMES:
        raise DataError(
            f"{count} extreme losses in {len(losses)} bars tell nothing of the tail.",
            f"Give {MIN_EXTREMES}: more bars, a lower threshold or shorter blocks.",
        )
    if (periods <= least).any():
        raise DataError(
            f"A loss of once in {periods.min():g} bars is not extreme.",
            f"Ask for more than {least:g} bars, or read it off history.",
        )
    rows = bootstrap_indices(len(losses), block=cluster_block(losses), reps=reps, seed=seed)
    drawn = np.array([solve(losses[row], periods) for row in rows])
    low, high = np.quantile(drawn, [(1.0 - level) / 2.0, (1.0 + level) / 2.0], axis=0)
    return pd.DataFrame(
        {"loss": solve(losses, periods), "low": low, "high": high},
        index=pd.Index(periods, name="bars"),
    )


def _pareto(losses: Floats, periods: Floats, *, start: float) -> Floats:
    tail = fit_pareto(losses, threshold=start)
    # A resample may hold fewer extremes: its tail begins later.
    levels = np.maximum(1.0 - 1.0 / periods, 1.0 - tail.n_beyond / tail.n_bars)
    return np.array([tail.tail(level=level).value_at_risk for level in levels])


def _maxima(losses: Floats, periods: Floats, *, block_bars: int) -> Floats:
    from scipy.stats import genextreme

    whole = len(losses) // block_bars
    worst = losses[-whole * block_bars :].reshape(whole, block_bars).max(axis=1)
    # From its own start scipy's search often ends far from the maximum: begin at Gumbel's moments.
    scale = worst.std() * sqrt(6.0) / pi
    law = genextreme.fit(worst, -0.1, loc=worst.mean() - EULER * scale, scale=scale)
    # The worst of a block stays below a level if each of its bars does.
    return np.asarray(genextreme.ppf((1.0 - 1.0 / periods) ** block_bars, *law))
