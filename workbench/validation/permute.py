"""Permutations: markets, signals and labels in which nothing can be known, by reordering real ones.

A p-value is (k + 1) / (n + 1), k of n permutations at least as extreme: never 0.

References
----------
.. [1] Phipson and Smyth (2010), "Permutation p-values should never be zero", Statistical
   Applications in Genetics and Molecular Biology 9(1).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.core.errors import DataError
from workbench.core.records import Market
from workbench.validation.shuffle import Shuffle

Floats = NDArray[np.float64]
Progress = Callable[[int, int], None]
"""Called with the permutations done and the number of all."""

_T = TypeVar("_T")

MAX_EXACT: Final = 20
CHUNK_FLIPS: Final = 4_000_000


@dataclass(frozen=True, slots=True)
class PermutationTest:
    """What the same work finds where there is nothing to find.

    Attributes
    ----------
    observed : float
        Statistic on the data as they were.
    null : ndarray of shape (n,)
        Statistic on each permutation.
    p_value : float
        (k + 1) / (n + 1), k of the permutations at least as large as ``observed``.
    """

    observed: float
    null: Floats
    p_value: float

    @property
    def z(self) -> float:
        """Standard deviations of the null between its mean and what was observed."""
        return float((self.observed - self.null.mean()) / self.null.std(ddof=1))


def permutation_pvalue(null: NDArray[np.floating], observed: float) -> float:
    """Return the share of permutations at least as large as what was seen, itself counted [1]_.

    Raises
    ------
    DataError
        If there are none, or one of them is missing.
    """
    values = np.asarray(null, dtype=np.float64)
    if not values.size or np.isnan(values).any() or np.isnan(observed):
        raise DataError(
            "The null distribution is empty, or a value of it or the observed one is missing.",
            "Count a permutation that gives nothing by the worst value, not by none.",
        )
    return float(((values >= observed).sum() + 1) / (values.size + 1))


def permutation_test(
    best_of: Callable[[Market], float],
    market: Market,
    *,
    n: int = 1_000,
    start: int = 0,
    seed: int = 0,
    workers: int | None = None,
    progress: Progress | None = None,
) -> PermutationTest:
    """Repeat the whole choice on permuted markets, where nothing can be known.

    Parameters
    ----------
    best_of : callable
        Gives, for a market, what the choice was made by: run the whole sweep and return its best
        Sharpe ratio, so that the permutations choose as freely as you did. Called from several
        threads; let a sweep inside use one worker.
    market : Market
    n : int, default=1000
    start : int, default=0
        The last bar that stays, see ``shuffle.permute_bars``.
    seed : int, default=0
    workers : int, optional
        Threads; the kernel releases the interpreter lock. By default one for each core.
    progress : callable, optional

    Returns
    -------
    PermutationTest

    Notes
    -----
    Finer markets are dropped from the observed one as from the permutations, so that both are
    filled alike.
    """
    bars = Shuffle.prepare(market, start=start)
    return _compare(
        best_of, bars.market, lambda k: bars.draw((seed, k)),
        n=n, workers=workers, progress=progress,
    )  # fmt: skip


def signal_test(
    measure: Callable[[pd.DataFrame], float],
    weights: pd.DataFrame,
    *,
    block: int = 1,
    n: int = 1_000,
    seed: int = 0,
    workers: int | None = None,
    progress: Progress | None = None,
) -> PermutationTest:
    """Compare what weights earn, by ``measure``, with the same weights at other times.

    See ``permute_signal``; the market stays, so its trends stay with it.
    """
    return _compare(
        measure, weights, lambda k: permute_signal(weights, seed=(seed, k), block=block),
        n=n, workers=workers, progress=progress,
    )  # fmt: skip


def permute_signal(
    weights: pd.DataFrame, *, seed: int | Sequence[int], block: int = 1
) -> pd.DataFrame:
    """Return weights in another order of blocks of rows, cut at a random row.

    The same positions at other times: their sizes, turnover inside blocks and correlation between
    symbols stay, what they knew of the moment goes.
    """
    n = len(weights)
    if not 1 <= block < n:
        raise DataError(f"{n} rows cannot be permuted in blocks of {block}.", "Use shorter blocks.")
    rng = np.random.default_rng(seed)
    turned = np.roll(np.arange(n), int(rng.integers(n)))
    parts = [turned[k : k + block] for k in range(0, n, block)]
    order = np.concatenate([parts[k] for k in rng.permutation(len(parts))])
    return pd.DataFrame(weights.to_numpy()[order], weights.index, weights.columns)


def permute_labels(
    estimator: Any,
    features: pd.DataFrame,
    labels: pd.Series,
    *,
    cv: Any,
    n: int = 200,
    scoring: str | None = None,
    seed: int = 0,
) -> PermutationTest:
    """Compare a cross-validated score with that on shuffled labels, by scikit-learn.

    ``cv`` should be a ``splits.PurgedKFold``: labels that overlap the test would make any null
    look beaten.
    """
    from sklearn.model_selection import permutation_test_score

    score, null, pvalue = permutation_test_score(
        estimator, features, labels, cv=cv, n_permutations=n, scoring=scoring, random_state=seed
    )
    return PermutationTest(float(score), np.asarray(null, dtype=np.float64), float(pvalue))


@dataclass(frozen=True, slots=True)
class SignFlip:
    """How often flipping signs at random gives a mean as large; ``n`` is the flips tried."""

    count: int
    n: int
    one_sided: float
    two_sided: float
    is_exact: bool


def flip_signs(values: NDArray[np.floating], *, flips: int = 9_999, seed: int = 0) -> SignFlip:
    """Test a mean against zero, assuming no more than symmetry about it.

    All 2^n flips are tried for up to 20 values, and p-values are exact shares; else ``flips`` are
    drawn and they are (k + 1) / (flips + 1).
    """
    x = np.asarray(values, dtype=np.float64)
    if not len(x) or not np.isfinite(x).all():
        raise DataError("There are no values, or some are missing.", "Drop what is missing.")
    is_exact = len(x) <= MAX_EXACT
    if is_exact:
        sums = np.zeros(1)
        for value in x:
            sums = np.concatenate([sums + value, sums - value])
    else:
        rng, step = np.random.default_rng(seed), max(CHUNK_FLIPS // len(x), 1)
        sizes = [min(step, flips - first) for first in range(0, flips, step)]
        # The sum less twice what is flipped.
        sums = np.concatenate([x.sum() - 2 * (rng.random((k, len(x))) < 0.5) @ x for k in sizes])
    # Sums of the same numbers in another order differ in their last bits.
    seen, room = float(x.sum()), 1e-12 * float(np.abs(x).sum())
    count = int((sums >= seen - room).sum())
    both = int((np.abs(sums) >= abs(seen) - room).sum())
    more, n = (0, len(sums)) if is_exact else (1, len(sums))
    return SignFlip(count, n, (count + more) / (n + more), (both + more) / (n + more), is_exact)


def _compare(
    statistic: Callable[[_T], float],
    data: _T,
    draw: Callable[[int], _T],
    *,
    n: int,
    workers: int | None,
    progress: Progress | None,
) -> PermutationTest:
    observed, null = float(statistic(data)), np.empty(n)
    with ThreadPoolExecutor(max_workers=workers or os.cpu_count() or 1) as pool:
        for k, value in enumerate(pool.map(lambda k: float(statistic(draw(k))), range(n))):
            null[k] = value
            if progress is not None:
                progress(k + 1, n)
    return PermutationTest(observed, null, permutation_pvalue(null, observed))
