"""Whether the best of several models beats a benchmark, as more than luck.

References
----------
.. [1] White (2000), "A reality check for data snooping", Econometrica 68(5).
.. [2] Hansen (2005), "A test for superior predictive ability", JBES 23(4).
.. [3] Romano and Wolf (2005), "Stepwise multiple testing as formalized data snooping",
   Econometrica 73(4).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, product
from math import ceil, log
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from workbench.core.bootstrap import Rows, Scheme
from workbench.core.errors import DataError
from workbench.validation.resample import (
    Floats,
    bootstrap_counts,
    mean_variance,
    optimal_block,
)

MAX_ENUMERATED: Final = 2_000_000


@dataclass(frozen=True, slots=True)
class SuperiorAbility:
    """Whether the best of several models beats a benchmark.

    ``lower``, ``consistent`` and ``upper`` are p-values by how models worse than the benchmark are
    centred; ``upper`` without studentising is White's reality check [1]_. ``superior`` names the
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
    """Test models against a benchmark: reality check [1]_, SPA [2]_ and stepwise [3]_.

    Parameters
    ----------
    differences : ndarray of shape (n_bars, n_models)
        Return of the model minus that of the benchmark: positive is better.
    block : float, optional
        By default the longest automatic length of the models.
    scheme : {"iid", "circular", "stationary"}, default="stationary"
    is_studentised : bool, default=True
        Whether each model is measured by its own standard error [2]_, section 3.
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


def _check(differences: NDArray[np.floating]) -> Floats:
    d = np.asarray(differences, dtype=np.float64)
    d = d[:, None] if d.ndim == 1 else d
    if d.ndim != 2 or len(d) < 3 or not np.isfinite(d).all() or (np.ptp(d, axis=0) == 0).any():
        raise DataError(
            f"Differences of shape {d.shape} cannot be tested: too few, missing, or constant.",
            "Give shape (n_bars, n_models), whole, of models that moved.",
        )
    return d
