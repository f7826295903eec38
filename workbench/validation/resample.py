"""Bootstrap in blocks, and the tests for the best of many that rest on it.

References
----------
.. [1] Politis and Romano (1994), "The stationary bootstrap", JASA 89(428).
.. [2] Politis and Romano (1992), "A circular block-resampling procedure for stationary data".
.. [3] Kunsch (1989), "The jackknife and the bootstrap for general stationary observations",
   Annals of Statistics 17(3).
.. [4] Politis and White (2004), "Automatic block-length selection for the dependent bootstrap",
   Econometric Reviews 23(1), corrected by Patton, Politis and White (2009).
.. [5] White (2000), "A reality check for data snooping", Econometrica 68(5).
.. [6] Hansen (2005), "A test for superior predictive ability", JBES 23(4).
.. [7] Romano and Wolf (2005), "Stepwise multiple testing as formalized data snooping",
   Econometrica 73(4).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, islice, product
from math import ceil, log
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.core.errors import DataError

Floats = NDArray[np.float64]
Rows = NDArray[np.integer]
Scheme = Literal["iid", "circular", "moving", "stationary"]

MAX_ENUMERATED: Final = 2_000_000
CHUNK_PLACES: Final = 2_000_000


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


def bootstrap_indices(
    n: int,
    *,
    block: float = 1.0,
    scheme: Scheme = "stationary",
    size: int | None = None,
    reps: int,
    seed: int,
) -> Rows:
    """Return resampled rows of shape (reps, size).

    Parameters
    ----------
    n : int
        Rows of the sample.
    block : float, default=1.0
        Length of the blocks: the average for ``stationary`` [1]_, rounded for ``circular`` [2]_
        and ``moving`` [3]_, without effect for ``iid``. The last block is cut to the length.
    scheme : {"iid", "circular", "moving", "stationary"}, default="stationary"
    size : int, optional
        Rows of a resample; by default as many as the sample has.
    reps, seed : int

    Raises
    ------
    DataError
        If the blocks are longer than the sample, or nothing is asked for.
    """
    return np.concatenate(list(_draw(n, block, scheme, reps, seed, size)))


def bootstrap_counts(
    n: int, *, block: float = 1.0, scheme: Scheme = "stationary", reps: int, seed: int
) -> NDArray[np.float32]:
    """Return how often each row is drawn in each resample, of shape (reps, n).

    ``counts @ returns / n`` is the mean of every resample of every column at once.
    """
    counts = np.empty((reps, n), dtype=np.float32)
    done = 0
    for rows in _draw(n, block, scheme, reps, seed):
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
    draws = chain.from_iterable(_draw(len(values), length, "stationary", reps, seed))
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
    _check_block(n, block)
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


@dataclass(frozen=True, slots=True)
class SuperiorAbility:
    """Whether the best of several models beats a benchmark.

    ``lower``, ``consistent`` and ``upper`` are p-values by how models worse than the benchmark are
    centred; ``upper`` without studentising is White's reality check [5]_. ``superior`` names the
    columns that stepwise testing finds better at the size.
    """

    statistic: float
    lower: float
    consistent: float
    upper: float
    superior: tuple[int, ...] = ()


def superior_ability(
    differences: NDArray[np.floating],
    *,
    block: float | None = None,
    scheme: Literal["iid", "circular", "stationary"] = "stationary",
    is_studentised: bool = True,
    size: float = 0.05,
    reps: int = 2_000,
    seed: int = 0,
) -> SuperiorAbility:
    """Test models against a benchmark: reality check [5]_, SPA [6]_ and stepwise [7]_.

    Parameters
    ----------
    differences : ndarray of shape (n_bars, n_models)
        Return of the model minus that of the benchmark: positive is better.
    block : float, optional
        By default the longest automatic length of the models.
    scheme : {"iid", "circular", "stationary"}, default="stationary"
    is_studentised : bool, default=True
        Whether each model is measured by its own standard error [6]_, section 3.
    size : float, default=0.05
        Of the stepwise test.
    reps, seed : int

    Raises
    ------
    DataError
        If a difference is missing, or a model never differs from the benchmark.

    Notes
    -----
    Studentised or not, the standard errors are Hansen's, by the stationary kernel. p-values are
    (k + 1) / (reps + 1), k of the resamples with a larger maximum. ``arch`` has the same tests; it
    ignores its own option to studentise, takes losses, and needs a loop over the resamples.
    """
    d = _check(differences)
    if block is None:
        block = max(optimal_block(column)._asdict().get(scheme, 1.0) for column in d.T)
    counts = bootstrap_counts(len(d), block=block, scheme=scheme, reps=reps, seed=seed)
    unit, centres, statistics = _standards(d, block if scheme != "iid" else 1.0, is_studentised)
    drawn = counts @ (d / unit) / len(d)
    bar = _above(statistics)
    lower, consistent, upper = (
        float((((drawn - centre).max(axis=1) > bar).sum() + 1) / (reps + 1)) for centre in centres
    )
    superior = _stepwise(drawn - centres[1], statistics, size)
    return SuperiorAbility(float(statistics.max()), lower, consistent, upper, superior)


def superior_ability_exact(
    differences: NDArray[np.floating],
    *,
    block: int = 1,
    scheme: Literal["iid", "circular", "stationary"] = "iid",
    is_studentised: bool = False,
) -> tuple[SuperiorAbility, Floats, int]:
    """Return the same over every resample there is, with the models' variances and their number.

    p-values are exact: the probability, strictly, of a larger maximum. For small samples only.

    Raises
    ------
    DataError
        If there are more than two million resamples.
    """
    d = _check(differences)
    unit, centres, statistics = _standards(d, float(block), is_studentised)
    bar, reached, count = _above(statistics), np.zeros(3), 0
    for rows, chances in _every_resample(len(d), block, scheme):
        drawn = (d / unit)[rows].mean(axis=1)
        reached += [chances[(drawn - centre).max(axis=1) > bar].sum() for centre in centres]
        count += len(rows)
    lower, consistent, upper = reached.tolist()
    answer = SuperiorAbility(float(statistics.max()), lower, consistent, upper)
    return answer, np.array([mean_variance(c, block=block) for c in d.T]), count


def _draw(
    n: int, block: float, scheme: Scheme, reps: int, seed: int, size: int | None = None
) -> Iterator[Rows]:
    # In parts, so that memory does not grow with the number of resamples.
    _check_block(n, block)
    size = n if size is None else size
    if reps < 1 or size < 1:
        raise DataError(f"{reps} resamples of {size} rows were asked for.", "Ask for one at least.")
    rng, length = np.random.default_rng(seed), round(block)
    places, zero = np.arange(size, dtype=np.int32), np.int32(0)
    step = max(CHUNK_PLACES // size, 1)
    for first in range(0, reps, step):
        count = min(step, reps - first)
        if scheme == "iid":
            yield rng.integers(0, n, (count, size), dtype=np.int32)
        elif scheme == "stationary":
            begins = rng.random((count, size), dtype=np.float32) < 1.0 / block
            begins[:, 0] = True
            # The place at which the block of each place began.
            since = np.maximum.accumulate(np.where(begins, places, zero), axis=1)
            starts = rng.integers(0, n, (count, size), dtype=np.int32)
            yield (np.take_along_axis(starts, since, axis=1) + places - since) % n
        else:
            last = n if scheme == "circular" else n - length + 1
            heads = rng.integers(0, last, (count, ceil(size / length)))
            yield (heads[:, places // length] + places % length) % n


def _standards(d: Floats, block: float, is_studentised: bool) -> tuple[Floats, Floats, Floats]:
    # The unit of each model, its centres for the three p-values, and its statistic.
    omega2 = np.array([mean_variance(column, block=block) for column in d.T])
    unit = np.sqrt(omega2) if is_studentised else np.ones(len(omega2))
    means = d.mean(axis=0)
    bound = -np.sqrt(omega2 / len(d) * 2.0 * log(log(len(d))))
    centres = np.array([np.maximum(means, 0.0), np.where(means >= bound, means, 0.0), means])
    return unit, centres / unit, means / unit


def _above(statistics: Floats) -> float:
    # Maxima that differ from the statistic in their last bits only are not larger.
    return float(statistics.max() + 1e-12 * np.abs(statistics).max())


def _stepwise(drawn: Floats, statistics: Floats, size: float) -> tuple[int, ...]:
    left = np.ones(len(statistics), dtype=bool)
    while left.any():
        bar = np.quantile(drawn[:, left].max(axis=1), 1.0 - size)
        better = left & (statistics > bar)
        if not better.any():
            break
        left &= ~better
    return tuple(np.flatnonzero(~left).tolist())


def _every_resample(n: int, block: int, scheme: Scheme) -> Iterator[tuple[Rows, Floats]]:
    length = block if scheme == "circular" else 1
    parts = ceil(n / length)
    if n**parts > MAX_ENUMERATED:
        raise DataError(
            f"{n} rows in blocks of {length} have {float(n**parts):.1e} resamples.",
            "Use superior_ability, which draws some of them.",
        )
    places, every = np.arange(n), product(range(n), repeat=parts)
    while starts := list(islice(every, 50_000)):
        rows = (np.array(starts)[:, places // length] + places % length) % n
        # A row follows the one before with the chance of going on, or by a draw that hits it.
        jump = 1.0 / block if scheme == "stationary" else 1.0
        follows = rows[:, 1:] == (rows[:, :-1] + 1) % n
        chances = np.where(follows, 1.0 - jump + jump / n, jump / n).prod(axis=1) / n
        yield rows, chances if scheme == "stationary" else np.full(len(rows), float(n) ** -parts)


def _check_block(n: int, block: float) -> None:
    if n < 1 or not 1 <= block <= n:
        raise DataError(
            f"{n} rows cannot be resampled in blocks of {block:g}.",
            "Take blocks from one row to all of them.",
        )


def _check(differences: NDArray[np.floating]) -> Floats:
    d = np.asarray(differences, dtype=np.float64)
    d = d[:, None] if d.ndim == 1 else d
    if d.ndim != 2 or len(d) < 3 or not np.isfinite(d).all() or (np.ptp(d, axis=0) == 0).any():
        raise DataError(
            f"Differences of shape {d.shape} cannot be tested: too few, missing, or constant.",
            "Give shape (n_bars, n_models), whole, of models that moved.",
        )
    return d
