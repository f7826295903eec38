"""Inference on Sharpe ratios: how sure one can be of one, and of the best of many.

Sharpe ratios are per period and not annualised unless the name says so; ``kurtosis`` is the full
fourth standardised moment (3 for a normal distribution); moments of a sample are the biased ones,
its Sharpe ratio divides by n - 1. A year has 365 days.

References
----------
.. [1] Bailey and Lopez de Prado (2012), "The Sharpe ratio efficient frontier", Journal of Risk
   15(2).
.. [2] Bailey and Lopez de Prado (2014), "The deflated Sharpe ratio", Journal of Portfolio
   Management 40(5).
.. [3] Bailey, Borwein, Lopez de Prado and Zhu (2014), "Pseudo-mathematics and financial
   charlatanism", Notices of the AMS 61(5).
.. [4] Lo (2002), "The statistics of Sharpe ratios", Financial Analysts Journal 58(4).
.. [5] Lopez de Prado, Lipton and Zoonekynd (2025), "How to use the Sharpe ratio", SSRN 5520741.
.. [6] Harvey and Liu (2015), "Backtesting", Journal of Portfolio Management 42(1).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import e, exp, inf, log, sqrt
from statistics import NormalDist
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from workbench.core.errors import DataError

Floats = NDArray[np.floating]
Adjustment = Literal["bonferroni", "holm", "bh", "bhy", "sidak", "holm-sidak", "hommel"]

EULER: Final = 0.5772156649015329
_STATSMODELS: Final = {"bh": "fdr_bh", "bhy": "fdr_by"}
_NORMAL: Final = NormalDist()


@dataclass(frozen=True, slots=True)
class SharpeStats:
    """The moments by which a Sharpe ratio is judged: per period, of ``n`` returns."""

    sharpe: float
    skewness: float
    kurtosis: float
    n: int

    @property
    def standard_error(self) -> float:
        """The standard error of the Sharpe ratio [1]_, eq. 6."""
        return sqrt(_unit_variance(self.sharpe, self.skewness, self.kurtosis) / (self.n - 1))


def sharpe_stats(returns: Floats) -> SharpeStats:
    """Return the moments of a series of returns of shape (n_bars,); missing ones are left out.

    Raises
    ------
    DataError
        If fewer than three returns are there, or they are all equal.
    """
    r = np.asarray(returns, dtype=np.float64)
    r = r[np.isfinite(r)]
    if len(r) < 3 or np.ptp(r) == 0.0:
        raise DataError(
            f"{len(r)} returns, or returns without spread, have no Sharpe ratio to judge.",
            "Give the returns of a strategy that traded, three at least.",
        )
    centred = r - r.mean()
    variance = float((centred**2).mean())
    return SharpeStats(
        float(r.mean() / r.std(ddof=1)),
        float((centred**3).mean() / variance**1.5),
        float((centred**4).mean() / variance**2),
        len(r),
    )


def probabilistic_sharpe(stats: SharpeStats, *, benchmark: float = 0.0) -> float:
    """Return the probability that the true Sharpe ratio is above a benchmark [1]_, eq. 9.

    Examples
    --------
    >>> round(probabilistic_sharpe(SharpeStats(0.458, 0.0, 3.0, 24)), 3)
    0.982
    """
    return _NORMAL.cdf((stats.sharpe - benchmark) / stats.standard_error)


def probabilistic_sharpe_2025(
    stats: SharpeStats, *, benchmark: float = 0.0, autocorrelation: float = 0.0
) -> float:
    """Return the same with the variance under the benchmark and AR(1) returns [5]_, section 4."""
    variance = _null_variance(benchmark, stats.skewness, stats.kurtosis, autocorrelation)
    return _NORMAL.cdf((stats.sharpe - benchmark) / sqrt(variance / stats.n))


def min_track_record(
    stats: SharpeStats, *, benchmark: float = 0.0, probability: float = 0.95
) -> float:
    """Return how many returns it takes to be so sure of a Sharpe ratio above a benchmark [1]_.

    Equation 11; infinite where the Sharpe ratio does not exceed the benchmark.
    """
    if stats.sharpe <= benchmark:
        return inf
    z = _NORMAL.inv_cdf(probability) / (stats.sharpe - benchmark)
    return 1.0 + _unit_variance(stats.sharpe, stats.skewness, stats.kurtosis) * z * z


def min_track_record_2025(
    stats: SharpeStats, *, benchmark: float = 0.0, alpha: float = 0.05, autocorrelation: float = 0.0
) -> float:
    """Return the same with the variance under the benchmark and AR(1) returns [5]_, section 5."""
    if stats.sharpe <= benchmark:
        return inf
    z = _NORMAL.inv_cdf(1.0 - alpha) / (stats.sharpe - benchmark)
    return _null_variance(benchmark, stats.skewness, stats.kurtosis, autocorrelation) * z * z


def expected_maximum(n_trials: float) -> float:
    """Return the expected maximum of so many standard normal variables [3]_, proposition 1.

    0 for one. The approximation by the extreme value theorem; it holds for more than a few.

    Examples
    --------
    >>> round(expected_maximum(10), 2)
    1.57
    """
    if n_trials < 1:
        raise DataError(f"{n_trials} trials have no best one.", "Count at least one.")
    if n_trials == 1:
        return 0.0
    return (1.0 - EULER) * _NORMAL.inv_cdf(1.0 - 1.0 / n_trials) + EULER * _NORMAL.inv_cdf(
        1.0 - 1.0 / (n_trials * e)
    )


def expected_maximum_exact(n_trials: int) -> float:
    """Return the same by the integral of the order statistic (Tippett, 1925)."""
    from scipy.integrate import quad
    from scipy.stats import norm

    if n_trials < 1:
        raise DataError(f"{n_trials} trials have no best one.", "Count at least one.")

    def density(x: float) -> float:
        return float(x * n_trials * exp(norm.logpdf(x) + (n_trials - 1) * norm.logcdf(x)))

    centre = expected_maximum(n_trials)
    value, _ = quad(density, centre - 12, centre + 12, points=[centre], limit=200)
    return float(value)


def deflated_sharpe(stats: SharpeStats, *, n_trials: float, variance: float) -> tuple[float, float]:
    """Return the deflated Sharpe ratio, and the one that luck alone gives the best of the trials.

    Parameters
    ----------
    stats : SharpeStats
        Of the chosen trial.
    n_trials : float
        How many there were, or how many independent ones they amount to.
    variance : float
        Of the trials' Sharpe ratios, per period.

    Returns
    -------
    (float, float)
        The probability that the true Sharpe ratio exceeds the expected maximum of trials without
        an edge [2]_, and that expected maximum, per period.
    """
    bar = sqrt(variance) * expected_maximum(n_trials)
    return probabilistic_sharpe(stats, benchmark=bar), bar


def min_backtest_length(n_trials: float, *, target: float = 1.0) -> tuple[float, float]:
    """Return the years below which the best of noise reaches a target, and their upper bound.

    ``target`` is an annual Sharpe ratio; [3]_, theorem 2.
    """
    return (expected_maximum(n_trials) / target) ** 2, 2.0 * log(n_trials) / target**2


def max_trials(years: float, *, target: float = 1.0) -> int:
    """Return how many trials so many years bear before noise is expected to reach a target [3]_.

    Examples
    --------
    >>> max_trials(5.0)
    45
    """
    bar = target * sqrt(years)
    low, high = 1, 2
    while expected_maximum(high) <= bar:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if expected_maximum(middle) <= bar else (low, middle)
    return low


def sharpe_error_iid(sharpe: float, n: int) -> float:
    """Return the standard error of a Sharpe ratio of independent normal returns [4]_, eq. 9."""
    return sqrt((1.0 + sharpe * sharpe / 2.0) / n)


def annualisation_factor(periods: int, *, autocorrelation: float = 0.0) -> float:
    """Return what annualises the Sharpe ratio of AR(1) returns [4]_, eq. 20 and 22."""
    k = np.arange(1, periods)
    shared = float(((periods - k) * autocorrelation**k).sum()) if periods > 1 else 0.0
    return periods / sqrt(periods + 2.0 * shared)


def independent_trials(n_trials: float, *, correlation: float) -> float:
    """Return how many independent trials so many of an average correlation imply [2]_, eq. 9."""
    return correlation + (1.0 - correlation) * n_trials


def effective_trials(returns: Floats, *, seed: int = 0) -> float:
    """Return how many independent trials there were, by clustering the trials' returns.

    Parameters
    ----------
    returns : ndarray of shape (n_days, n_trials)
        Missing days count as 0; trials without spread are left out.
    seed : int, default=0

    Returns
    -------
    float
        The number of clusters where the trials form clusters (average silhouette 0.1 or more);
        otherwise the participation ratio of the eigenvalues of their correlation, less what few
        days add to it: the number of trials for independent ones, 1 for copies.

    Notes
    -----
    As [2]_ suggests, trials are clustered by the distance sqrt((1 - correlation) / 2); k-means on
    the leading 50 principal components of the standardised returns stands in for it, which keeps
    10,000 trials within seconds, and k is the one with the best silhouette on at most 1,000 of
    the trials.
    """
    z = _standardise(returns)
    n = z.shape[1]
    if n < 3:
        return float(n)
    found = _count_clusters(z, seed)
    if found:
        return float(found)
    gram = z.T @ z if n <= len(z) else z @ z.T
    # The mean square of the eigenvalues of a sample correlation is too large by n / days.
    square = float((gram * gram).sum()) / len(z) ** 2 / n - n / (len(z) - 1)
    return float(np.clip(n / square, 1.0, n)) if square > 0 else float(n)


def adjust_pvalues(pvalues: Floats, *, method: Adjustment = "holm") -> NDArray[np.float64]:
    """Return p-values adjusted for their number, by statsmodels.

    ``bonferroni``, ``holm``, ``sidak``, ``holm-sidak`` and ``hommel`` bound the chance of one
    false discovery, ``bh`` and ``bhy`` the expected share of them.
    """
    from statsmodels.stats.multitest import multipletests

    values = np.asarray(pvalues, dtype=np.float64)
    if not len(values) or not ((values >= 0) & (values <= 1)).all():
        raise DataError("Some p-values lie outside [0, 1], or there are none.", "Give fractions.")
    return np.asarray(multipletests(values, method=_STATSMODELS.get(method, method))[1])


def haircut_sharpe(
    sharpes: Floats, *, chosen: int, years: float, method: Adjustment = "bhy"
) -> tuple[float, float]:
    """Return the annual Sharpe ratio that is left after multiple testing, and the share cut off.

    Parameters
    ----------
    sharpes : ndarray of shape (n_trials,)
        Annual Sharpe ratios of every trial, over about the same time.
    chosen : int
        Which of them is judged.
    years : float
    method : str, default="bhy"

    Notes
    -----
    The t statistic of a trial is its annual Sharpe ratio times the root of the years; its adjusted
    two-sided p-value is turned back into a Sharpe ratio [6]_, eq. 3-5.
    """
    t = np.asarray(sharpes, dtype=np.float64) * sqrt(years)
    pvalues = np.array([2.0 * _NORMAL.cdf(-abs(x)) for x in t])
    adjusted = float(adjust_pvalues(pvalues, method=method)[chosen])
    if adjusted >= 1.0 or t[chosen] <= 0:
        return 0.0, 1.0
    # A p-value that underflows to 0 leaves nothing to cut.
    left = t[chosen] if adjusted == 0.0 else -_NORMAL.inv_cdf(adjusted / 2.0)
    return float(left / sqrt(years)), float(1.0 - left / t[chosen])


def _unit_variance(sharpe: float, skewness: float, kurtosis: float) -> float:
    return 1.0 - skewness * sharpe + (kurtosis - 1.0) / 4.0 * sharpe * sharpe


def _null_variance(sharpe: float, skewness: float, kurtosis: float, rho: float) -> float:
    once, twice = rho / (1.0 - rho), rho * rho / (1.0 - rho * rho)
    return (
        1.0
        + 2.0 * once
        - (1.0 + once + twice) * skewness * sharpe
        + (1.0 + 2.0 * twice) * (kurtosis - 1.0) / 4.0 * sharpe * sharpe
    )


def _standardise(returns: Floats) -> NDArray[np.float64]:
    filled = np.nan_to_num(np.asarray(returns, dtype=np.float64))
    spread = filled.std(axis=0)
    moving = spread > 0
    if not moving.any():
        raise DataError("None of the trials has any spread.", "Count trials that traded.")
    return np.asarray((filled[:, moving] - filled[:, moving].mean(axis=0)) / spread[moving])


def _count_clusters(z: NDArray[np.float64], seed: int) -> int:
    from sklearn.cluster import MiniBatchKMeans
    from sklearn.decomposition import PCA
    from sklearn.metrics import silhouette_score

    n = z.shape[1]
    size = min(50, n - 1, len(z))
    points = PCA(size, svd_solver="randomized", random_state=seed).fit_transform(z.T)
    if np.allclose(points, points[0]):
        return 1
    best, count = 0.1, 0
    most = min(n - 1, max(int(2 * sqrt(n)), 10))
    for k in sorted({round(float(x)) for x in np.geomspace(2, most, 12)}):
        labels = MiniBatchKMeans(k, n_init=3, random_state=seed).fit_predict(points)
        if len(np.unique(labels)) < 2:
            continue
        score = silhouette_score(points, labels, sample_size=min(n, 1_000), random_state=seed)
        if score > best:
            best, count = float(score), len(np.unique(labels))
    return count
