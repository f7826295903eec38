"""The studentised maximum: how good the best of so many would be by luck alone."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from workbench.core.errors import DataError
from workbench.core.measures import DAYS_A_YEAR
from workbench.validation.resample import bootstrap_counts, optimal_block

Floats = NDArray[np.floating]

MIN_DAYS: Final = 30
CHUNK_TRIALS: Final = 2_048


@dataclass(frozen=True, slots=True)
class MaxStatistic:
    """The best of many against what chance gives the best of as many.

    Attributes
    ----------
    p_value : float
        Chance that the largest statistic of these trials, had none of them an edge, reaches the
        candidate's: (k + 1) / (n_resamples + 1).
    statistic : float
        The candidate's mean over its standard error, of daily returns.
    n_trials, n_days : int
        Trials that could be studentised, and days of the calendar that they span.
    null : ndarray of shape (n_resamples,)
        The resampled maxima, for a figure.
    block_days : float
        Average length of the blocks.
    """

    p_value: float
    statistic: float
    n_trials: int
    n_days: int
    null: Floats
    block_days: float

    def threshold(self, alpha: float = 0.05) -> float:
        """Return the statistic that a candidate needs at a level."""
        return float(np.quantile(self.null, 1.0 - alpha, method="higher"))


def studentise(returns: Floats) -> NDArray[np.float64]:
    """Return the mean of each column over its standard error; NaN where it has no spread.

    Parameters
    ----------
    returns : ndarray of shape (n_days, n_trials)
        Daily simple returns; NaN outside the span of a trial.
    """
    count = np.isfinite(returns).sum(axis=0)
    few = count < MIN_DAYS
    filled = np.where(np.isfinite(returns), returns, 0.0).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = filled.sum(axis=0) / count
        square = (filled * filled).sum(axis=0) / count - mean * mean
        statistic = mean * np.sqrt(count) / np.sqrt(square * count / (count - 1))
    # A column that never traded, or has too few days to know its spread, cannot be judged.
    flat = square <= 1e-24 + 1e-12 * mean * mean
    return np.where(few | flat, np.nan, statistic)


def max_statistic(
    returns: Floats,
    candidate: Floats,
    *,
    n_resamples: int = 2_000,
    block_days: float | None = None,
    seed: int = 0,
) -> MaxStatistic:
    """Test the best of many trials against the distribution of the best of as many without edge.

    Parameters
    ----------
    returns : ndarray of shape (n_days, n_trials)
        Daily simple returns of every trial that counts, on one calendar; NaN outside the span of a
        trial. The candidate is one of them, or is put beside them.
    candidate : ndarray of shape (n_days,)
        Daily returns of the one that was chosen, on the same calendar.
    n_resamples : int, default=2000
    block_days : float, optional
        Average block of the stationary bootstrap; by default the automatic length for the
        candidate, at least 1 and at most a tenth of the calendar.
    seed : int, default=0

    Returns
    -------
    MaxStatistic

    Raises
    ------
    DataError
        If the shapes differ, or the candidate has fewer than 30 days or never moved.

    Notes
    -----
    With the mean of each trial taken out, every resample draws the same days for all trials, so
    that their dependence stays, and keeps the largest studentised mean: the distribution of
    max_i t_i under the hypothesis that no trial has an edge [1]_ [2]_. Studentising in each
    resample weighs quiet and wild trials alike [3]_. The answer holds however the candidate was
    chosen among the trials, and loses nothing to trials that are near copies of one another.
    Blocks are drawn by the stationary bootstrap [4]_.

    References
    ----------
    .. [1] White (2000), "A reality check for data snooping", Econometrica 68(5), eq. 7-11.
    .. [2] Romano and Wolf (2005), "Stepwise multiple testing as formalized data snooping",
       Econometrica 73(4), algorithm 4.1.
    .. [3] Hansen (2005), "A test for superior predictive ability", JBES 23(4), section 3.
    .. [4] Politis and Romano (1994), "The stationary bootstrap", JASA 89(428).
    """
    if returns.ndim != 2 or candidate.shape != (len(returns),):
        raise DataError(
            f"Trials of shape {returns.shape} and a candidate of shape {candidate.shape} differ.",
            "Give daily returns of shape (n_days, n_trials) and (n_days,) on one calendar.",
        )
    statistic = float(studentise(candidate[:, None])[0])
    if np.isnan(statistic):
        raise DataError(
            f"The candidate has {int(np.isfinite(candidate).sum())} days of returns, or never "
            "moved.",
            f"Evaluate it over at least {MIN_DAYS} days in which it trades.",
        )
    everyone = np.column_stack([returns, candidate.astype(returns.dtype)])
    everyone = everyone[:, np.isfinite(studentise(everyone))]
    n_days = len(everyone)
    if block_days is None:
        block_days = optimal_block(candidate[np.isfinite(candidate)]).stationary
    block_days = float(np.clip(block_days, 1.0, max(n_days / 10, 1.0)))
    counts = bootstrap_counts(n_days, block=block_days, reps=n_resamples, seed=seed)
    null = np.full(n_resamples, -np.inf)
    for first in range(0, everyone.shape[1], CHUNK_TRIALS):
        part = _resampled_maxima(everyone[:, first : first + CHUNK_TRIALS], counts)
        np.maximum(null, part, out=null)
    reached = int((null >= statistic).sum())
    return MaxStatistic(
        p_value=(reached + 1) / (n_resamples + 1),
        statistic=statistic,
        n_trials=everyone.shape[1] - 1 or 1,
        n_days=n_days,
        null=np.sort(null),
        block_days=block_days,
    )


def _resampled_maxima(returns: Floats, counts: Floats) -> Floats:
    valid = np.isfinite(returns)
    is_whole = bool(valid.all())
    filled = returns if is_whole else np.where(valid, returns, 0.0)
    days = valid.sum(axis=0)
    centred = filled - (filled.sum(axis=0, dtype=np.float64) / days).astype(returns.dtype)
    if not is_whole:
        centred[~valid] = 0.0
    # In units of its own spread a trial loses nothing to single precision.
    spread = np.sqrt((centred * centred).sum(axis=0, dtype=np.float64) / days)
    scaled = (centred / spread.astype(returns.dtype)).astype(np.float32)
    total = counts @ scaled
    squares = counts @ (scaled * scaled)
    n = float(len(returns)) if is_whole else counts @ valid.astype(np.float32)
    with np.errstate(invalid="ignore", divide="ignore"):
        average = total / n
        statistic = average * np.sqrt(n) / np.sqrt((squares / n - average * average) * n / (n - 1))
    statistic[~np.isfinite(statistic)] = -np.inf
    return np.asarray(statistic.max(axis=1), dtype=np.float64)


def annual_statistic(statistic: float, n_days: int) -> float:
    """Return the annual Sharpe ratio that a studentised mean over so many days amounts to."""
    return statistic / sqrt(n_days) * sqrt(DAYS_A_YEAR)
