"""What the bootstrap in blocks says of a series: block lengths, intervals, variances.

References
----------
.. [1] Politis and Romano (1994), "The stationary bootstrap", JASA 89(428).
.. [2] Politis and Romano (1992), "A circular block-resampling procedure for stationary data".
.. [3] Kunsch (1989), "The jackknife and the bootstrap for general stationary observations",
   Annals of Statistics 17(3).
.. [4] Politis and White (2004), "Automatic block-length selection for the dependent bootstrap",
   Econometric Reviews 23(1), corrected by Patton, Politis and White (2009).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.core.bootstrap import Scheme, check_block, draw_rows

Floats = NDArray[np.float64]


class Blocks(NamedTuple):
    """Block lengths: average for the stationary, fixed for the circular bootstrap."""

    stationary: float
    circular: float


def optimal_block(values: NDArray[np.floating]) -> Blocks:
    """Return the automatic block lengths for the mean of a series [4]_, by ``arch``.

    At least 1 and at most the length of the series.
    """
    from arch.bootstrap import optimal_block_length

    x = np.asarray(values, dtype=np.float64)
    row = optimal_block_length(x).iloc[0].clip(1.0, len(x))
    return Blocks(float(row["stationary"]), float(row["circular"]))


def cluster_block(returns: NDArray[np.floating]) -> float:
    """Return a stationary block that keeps clusters of volatility, of one series or the longest.

    The automatic length for the mean of the returns or of their sizes: returns that do not tell
    the sign of the next one often tell its size.
    """
    columns = np.asarray(returns, dtype=np.float64).reshape(len(returns), -1).T
    return max(optimal_block(x).stationary for x in (*columns, *np.abs(columns)))


def optimal_block_ar1(n: int, autocorrelation: float) -> Blocks:
    """Return the block lengths that are best for the mean of an AR(1) series [4]_, eq. 6."""
    rho = autocorrelation
    ratio = (2.0 * rho / (1.0 - rho) ** 2) / ((1.0 + rho) / (1.0 - rho))
    return Blocks((ratio**2 * n) ** (1 / 3), (1.5 * ratio**2 * n) ** (1 / 3))


def bootstrap_counts(
    n: int, *, block: float = 1.0, scheme: Scheme = "stationary", reps: int, seed: int
) -> NDArray[np.float32]:
    """Return how often each row is drawn in each resample, of shape (reps, n).

    ``counts @ returns / n`` is the mean of every resample of every column at once.
    """
    counts = np.empty((reps, n), dtype=np.float32)
    done = 0
    for rows in draw_rows(n, block, scheme, reps, seed):
        places = (rows + n * np.arange(len(rows))[:, None]).ravel()
        drawn = np.bincount(places, minlength=rows.size).reshape(rows.shape)
        counts[done : done + len(rows)] = drawn
        done += len(rows)
    return counts


def bootstrap_interval(
    returns: NDArray[np.floating],
    statistic: Callable[[Floats], float],
    *,
    level: float = 0.9,
    block: float | None = None,
    reps: int = 2_000,
    seed: int = 0,
) -> tuple[float, float]:
    """Return a percentile interval of a statistic of returns by the stationary bootstrap [1]_.

    ``block`` is the automatic length where it is not given.
    """
    values = np.asarray(returns, dtype=np.float64)
    length = optimal_block(values).stationary if block is None else block
    draws = chain.from_iterable(draw_rows(len(values), length, "stationary", reps, seed))
    seen = np.array([statistic(values[row]) for row in draws])
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(seen, [tail, 1.0 - tail])
    return float(low), float(high)


def mean_variance(
    values: NDArray[np.floating], *, block: float = 1.0, scheme: Scheme = "stationary"
) -> float:
    """Return the exact variance, over all resamples, of the root of n times the mean.

    Notes
    -----
    Independent draws: the biased variance. Fixed blocks [2]_ [3]_: that of the sums of blocks, the
    last one cut short. Stationary [1]_, lemma 1: circular autocovariances weighted by
    (1 - k/n)(1 - 1/block)^k.
    """
    x = np.asarray(values, dtype=np.float64)
    n = len(x)
    check_block(n, block)
    x = x - x.mean()
    if scheme == "iid":
        return float((x * x).mean())
    if scheme == "stationary":
        spectrum = np.fft.rfft(x, n)
        covariance = np.fft.irfft(spectrum * spectrum.conj(), n) / n
        k = np.arange(1, n)
        weights = (1.0 - k / n) * (1.0 - 1.0 / block) ** k
        return float(covariance[0] + 2.0 * (weights * covariance[1:]).sum())
    length = round(block)
    whole, rest = divmod(n, length)
    starts = np.arange(n if scheme == "circular" else n - length + 1)
    total = np.concatenate([[0.0], np.cumsum(np.tile(x, 2))])
    sums = [total[starts + size] - total[starts] for size in (length, rest)]
    return float((whole * sums[0].var() + sums[1].var()) / n)
