"""Combinatorially symmetric cross-validation: what choosing the best of many is worth."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import Final, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.core.errors import DataError

Floats = NDArray[np.float64]
Metric = Literal["sharpe", "mean"]

MAX_BLOCKS: Final = 16
CHUNK_BYTES: Final = 64 * 2**20
GRID: Final = 201


@dataclass(frozen=True, slots=True)
class Cscv:
    """What became, out of sample, of the configuration that was best in sample.

    Attributes
    ----------
    logits : ndarray of shape (n_splits,)
        Logit of the relative rank, out of sample, of the one chosen in sample: below zero it is in
        the worse half. In the lexicographic order of the blocks in sample.
    is_best, oos_best : ndarray of shape (n_splits,)
        Metric of the chosen one in sample and out of sample, per bar.
    chosen : ndarray of shape (n_splits,)
        Which configuration was chosen.
    slope, intercept, r2 : float
        Performance degradation: the line of ``oos_best`` on ``is_best``.
    p_loss : float
        Share of the splits in which the chosen one was below the threshold out of sample.
    dominance : DataFrame
        Columns ``selected`` and ``all``: distribution functions, on a grid of the metric, of the
        chosen one and of every configuration out of sample; ``second_order`` is the integral of
        their difference, positive where choosing is better than drawing at random.
    """

    logits: Floats
    is_best: Floats
    oos_best: Floats
    chosen: NDArray[np.intp]
    slope: float
    intercept: float
    r2: float
    p_loss: float
    dominance: pd.DataFrame

    @property
    def pbo(self) -> float:
        """The probability of backtest overfitting: share of logits at or below zero."""
        return float((self.logits <= 0).mean())

    @property
    def n_combinations(self) -> int:
        """Splits that were tried."""
        return len(self.logits)

    @property
    def dominates(self) -> Literal["first", "second", "none"]:
        """In which order choosing dominates drawing at random, out of sample."""
        if (self.dominance["selected"] <= self.dominance["all"] + 1e-12).all():
            return "first"
        return "second" if (self.dominance["second_order"] >= -1e-12).all() else "none"


def cscv(
    returns: NDArray[np.floating],
    *,
    n_blocks: int = 16,
    metric: Metric = "sharpe",
    threshold: float = 0.0,
    risk_free: float = 0.0,
) -> Cscv:
    """Choose the best configuration on every half of the blocks and judge it on the other half.

    Parameters
    ----------
    returns : ndarray of shape (n_bars, n_configurations)
        Simple returns, rows in time, of at least two configurations over the same bars.
    n_blocks : int, default=16
        Contiguous blocks of equal length, an even number to 16; the oldest rows that do not fill
        a block are left out. 16 make 12,870 splits.
    metric : {"sharpe", "mean"}, default="sharpe"
        Per bar, not annualised; the Sharpe ratio of returns without spread is 0.
    threshold : float, default=0.0
        Below it the metric out of sample is a loss.
    risk_free : float, default=0.0
        Per bar, taken off every return.

    Returns
    -------
    Cscv

    Raises
    ------
    DataError
        If a return is missing, or there are too few rows, blocks or configurations.

    Notes
    -----
    The relative rank is the average rank over n + 1, so that no logit is infinite [1]_. Every
    split comes from the sums of its blocks, and the blocks out of sample of one split are those in
    sample of another, so each half is evaluated once. Sums are taken about each configuration's
    mean: nothing cancels.

    References
    ----------
    .. [1] Bailey, Borwein, Lopez de Prado and Zhu (2017), "The probability of backtest
       overfitting", Journal of Computational Finance 20(4), section 2.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> edge = np.append(np.zeros(9), 0.01)
    >>> cscv(rng.normal(0, 0.01, (320, 10)) + edge, n_blocks=8).pbo
    0.0
    """
    returns = _check(returns, n_blocks)
    length = len(returns) // n_blocks
    kept = returns[len(returns) - length * n_blocks :].astype(np.float64) - risk_free
    centre = kept.mean(axis=0)
    blocks = (kept - centre).reshape(n_blocks, length, -1)
    sums, squares = blocks.sum(axis=1), np.einsum("sln,sln->sn", blocks, blocks)
    halves = _halves(n_blocks)
    n_splits, n = len(halves), kept.shape[1]
    is_best, oos_best = np.empty(n_splits), np.empty(n_splits)
    logits, chosen = np.empty(n_splits), np.empty(n_splits, dtype=np.intp)
    size = length * n_blocks // 2
    low, high = _range(sums, squares, centre, size, metric, halves)
    grid = np.linspace(low, high, GRID)
    counts = np.zeros(GRID + 1, dtype=np.int64)
    step = max(CHUNK_BYTES // (8 * n), 1)
    for first in range(0, n_splits, step):
        rows = slice(first, first + step)
        inside = _evaluate(halves[rows], sums, squares, centre, size, metric)
        # The complement of the k-th half in lexicographic order is the k-th from the end.
        outside = _evaluate(~halves[rows], sums, squares, centre, size, metric)
        best = inside.argmax(axis=1)
        each = np.arange(len(best))
        value = outside[each, best]
        below = (outside < value[:, None]).sum(axis=1)
        equal = (outside == value[:, None]).sum(axis=1)
        rank = (below + (equal + 1) / 2) / (n + 1)
        is_best[rows], oos_best[rows], chosen[rows] = inside[each, best], value, best
        logits[rows] = np.log(rank / (1 - rank))
        counts += _histogram(outside, low, high)
    slope, intercept, r2 = _line(is_best, oos_best)
    return Cscv(
        logits, is_best, oos_best, chosen, slope, intercept, r2,
        float((oos_best < threshold).mean()), _dominance(oos_best, counts, grid),
    )  # fmt: skip


def _check(returns: NDArray[np.floating], n_blocks: int) -> NDArray[np.floating]:
    returns = np.asarray(returns)
    if returns.ndim != 2 or returns.shape[1] < 2:
        raise DataError(
            f"Returns of shape {returns.shape} leave nothing to choose from.",
            "Give shape (n_bars, n_configurations) with two configurations or more.",
        )
    if n_blocks % 2 or not 2 <= n_blocks <= MAX_BLOCKS:
        raise DataError(
            f"{n_blocks} blocks cannot be halved into at most {comb(16, 8):,} splits.",
            f"Use an even number from 2 to {MAX_BLOCKS}.",
        )
    if len(returns) < 2 * n_blocks:
        raise DataError(
            f"{len(returns)} rows are too few for {n_blocks} blocks.",
            "Give at least two rows for each block.",
        )
    if not np.isfinite(returns).all():
        row, column = np.argwhere(~np.isfinite(returns))[0]
        raise DataError(
            f"The return of configuration {column} at row {row} is missing or infinite.",
            "Compare configurations over the same bars; a bar without a position returns 0.",
        )
    return returns


def _halves(n_blocks: int) -> NDArray[np.bool_]:
    chosen = np.array(list(combinations(range(n_blocks), n_blocks // 2)))
    halves = np.zeros((len(chosen), n_blocks), dtype=bool)
    np.put_along_axis(halves, chosen, values=True, axis=1)
    return halves


def _evaluate(
    halves: NDArray[np.bool_], sums: Floats, squares: Floats, centre: Floats, size: int,
    metric: Metric,
) -> Floats:  # fmt: skip
    weights = halves.astype(np.float64)
    shift = weights @ sums / size
    mean = shift + centre
    if metric == "mean":
        return np.asarray(mean)
    spread = weights @ squares - size * shift * shift
    # What rounding leaves of the spread of equal returns is no risk to divide by.
    spread[spread <= 1e-24 * size * mean * mean + 1e-300] = np.inf
    return np.asarray(mean / np.sqrt(spread / (size - 1)))


def _range(
    sums: Floats, squares: Floats, centre: Floats, size: int, metric: Metric,
    halves: NDArray[np.bool_],
) -> tuple[float, float]:  # fmt: skip
    seen = _evaluate(halves[:: max(len(halves) // 64, 1)], sums, squares, centre, size, metric)
    low, high = float(seen.min()), float(seen.max())
    room = (high - low) / 4 or 1.0
    return low - room, high + room


def _histogram(values: Floats, low: float, high: float) -> NDArray[np.int64]:
    """Count the values at or below each point of the grid but above the one before."""
    place = np.ceil((values - low) * ((GRID - 1) / (high - low)))
    bins = np.clip(place, 0, GRID).astype(np.int64).ravel()
    return np.bincount(bins, minlength=GRID + 1)


def _dominance(selected: Floats, counts: NDArray[np.int64], grid: Floats) -> pd.DataFrame:
    everyone = counts[:GRID].cumsum() / counts.sum()
    chosen = np.searchsorted(np.sort(selected), grid, side="right") / len(selected)
    gap = everyone - chosen
    second = np.concatenate([[0.0], ((gap[1:] + gap[:-1]) / 2 * np.diff(grid)).cumsum()])
    return pd.DataFrame(
        {"selected": chosen, "all": everyone, "second_order": second},
        index=pd.Index(grid, name="metric"),
    )


def _line(x: Floats, y: Floats) -> tuple[float, float, float]:
    dx, dy = x - x.mean(), y - y.mean()
    sxx, syy, sxy = float(dx @ dx), float(dy @ dy), float(dx @ dy)
    if sxx == 0.0:
        return float("nan"), float("nan"), float("nan")
    slope = sxy / sxx
    r2 = sxy * sxy / (sxx * syy) if syy > 0 else float("nan")
    return slope, float(y.mean() - slope * x.mean()), r2
