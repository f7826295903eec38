"""Tails: value at risk and expected shortfall of one bar's return, by several methods.

``returns`` has shape (n_bars,), oldest first, as fractions. Both measures are losses: positive
fractions of what the returns are of, per bar, exceeded with a chance of ``1 - level``. A method
reads the bars it is given and answers for the bar after them. Each refuses missing returns, returns
that never move where it must estimate how they do, and fewer bars than it needs.

The historical measures are those of ``core.measures``; every other method either brings a sample
to them or has its own closed form.

References
----------
.. [1] Boudoukh, Richardson and Whitelaw (1998), "The best of both worlds", Risk 11(5), 64-67.
.. [2] McNeil, Frey and Embrechts (2005), "Quantitative risk management", Princeton, examples
   2.14 to 2.19.
.. [3] Favre and Galeano (2002), "Mean-modified value-at-risk optimization with hedge funds",
   Journal of Alternative Investments 5(2), 21-25; Zangari (1996), RiskMetrics Monitor Q1.
.. [4] Martin and Arora (2017), "Inefficiency and bias of modified value-at-risk and expected
   shortfall", Journal of Risk 19(6), 59-84.
.. [5] Barone-Adesi, Giannopoulos and Vosper (1999), "VaR without correlations for portfolios of
   derivative securities", Journal of Futures Markets 19(5), 583-602.
.. [6] Bailey (1994), "Polar generation of random variates with the t-distribution", Mathematics of
   Computation 62(206), 779-781.
.. [7] Chekhlov, Uryasev and Zabarankin (2005), "Drawdown measure in portfolio optimization",
   International Journal of Theoretical and Applied Finance 8(1), 13-58.
"""

from __future__ import annotations

from functools import lru_cache
from math import exp, inf, log, pi, sqrt
from statistics import NormalDist
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.core.errors import DataError
from workbench.core.measures import (
    check_returns,
    drawdown_path,
    excess_kurtosis,
    expected_shortfall,
    skewness,
    total_return,
    value_at_risk,
)

Floats = NDArray[np.float64]

MIN_SHAPE: Final = 2.05
MAX_SHAPE: Final = 200.0
"""Degrees of freedom between which a Student t is estimated: beyond, it is taken as normal."""

_NORMAL: Final = NormalDist()


class Tail(NamedTuple):
    """What a bar loses at a confidence level, as positive fractions."""

    value_at_risk: float
    expected_shortfall: float

    def scaled(self, *, mean: float = 0.0, sd: float) -> Tail:
        """Return the tail of ``mean + sd * x`` where this is the tail of x."""
        return Tail(sd * self.value_at_risk - mean, sd * self.expected_shortfall - mean)


def historical(returns: NDArray[np.floating], *, level: float = 0.99) -> Tail:
    """Return the historical tail, of ``core.measures``.

    Its quantile interpolates between bars of the sample (type 7), and new bars exceed it a little
    more often than ``1 - level``: (1 + (n - 1) (1 - level)) / (n + 1) of them, which is 1.27 per
    cent for 365 bars at 99.
    """
    x = sample(returns, least=1)
    return Tail(value_at_risk(x, level=level), expected_shortfall(x, level=level))


def weighted_historical(
    returns: NDArray[np.floating], *, level: float = 0.99, decay: float = 0.99
) -> Tail:
    """Return the historical tail with weights that fall by ``decay`` with each bar of age [1]_.

    The value at risk is the smallest loss with at least ``1 - level`` of the weight at or beyond
    it; the bar on the quantile counts in the shortfall by the share of it that lies in the tail.
    With a fast decay a level far out rests on one bar: a decay of 0.99 leaves the weight of about
    200 equal bars.
    """
    x = sample(returns, least=2)
    beyond = _beyond(level)
    if not 0.0 < decay <= 1.0:
        raise DataError(f"{decay} is no decay.", "Give one above 0 and up to 1.")
    weights = decay ** np.arange(len(x))[::-1]
    order = np.argsort(x, kind="stable")
    mass = np.cumsum(weights[order]) / weights.sum()
    last = min(int(np.searchsorted(mass, beyond - 1e-12)), len(x) - 1)
    worst = x[order[: last + 1]]
    shares = np.diff(np.minimum(mass[: last + 1], beyond), prepend=0.0)
    return Tail(float(-worst[-1]), float(-(worst @ shares) / beyond))


def normal(returns: NDArray[np.floating], *, level: float = 0.99) -> Tail:
    """Return the tail of the normal with the sample's mean and standard deviation (over n)."""
    x = sample(returns, least=2, moving=True)
    return normal_tail(float(x.mean()), float(x.std()), level=level)


def normal_tail(mean: float, sd: float, *, level: float = 0.99) -> Tail:
    """Return the tail of a normal [2]_.

    Examples
    --------
    >>> [round(value, 4) for value in normal_tail(0.0, 1.0, level=0.95)]
    [1.6449, 2.0627]
    """
    beyond = _beyond(level)
    z = _NORMAL.inv_cdf(beyond)
    return Tail(-z, _NORMAL.pdf(z) / beyond).scaled(mean=mean, sd=sd)


def student(returns: NDArray[np.floating], *, level: float = 0.99) -> Tail:
    """Return the tail of the Student t with the sample's mean and standard deviation (over n).

    Its degrees of freedom are those of ``student_shape``.
    """
    x = sample(returns, least=2, moving=True)
    return student_tail(float(x.mean()), float(x.std()), student_shape(x), level=level)


def student_tail(mean: float, sd: float, shape: float, *, level: float = 0.99) -> Tail:
    """Return the tail of a Student t of standard deviation ``sd`` [2]_.

    ``shape`` is its degrees of freedom, above 2; infinity is the normal.
    """
    from scipy.special import gammaln, stdtrit

    if shape == inf:
        return normal_tail(mean, sd, level=level)
    if not shape > 2:
        raise DataError(
            f"A Student t with {shape} degrees of freedom has no variance.", "Give more than 2."
        )
    beyond = _beyond(level)
    t = float(stdtrit(shape, beyond))
    log_peak = gammaln((shape + 1) / 2) - gammaln(shape / 2)
    density = exp(log_peak) / sqrt(shape * pi) * (1 + t * t / shape) ** (-(shape + 1) / 2)
    shortfall = density / beyond * (shape + t * t) / (shape - 1)
    return Tail(-t, shortfall).scaled(mean=mean, sd=sd * sqrt((shape - 2) / shape))


def student_shape(returns: NDArray[np.floating]) -> float:
    """Return the likeliest degrees of freedom of a Student t with the sample's mean and variance.

    Between 2.05 and 200, and infinity beyond: the normal.
    """
    from scipy.optimize import brentq
    from scipy.special import digamma

    x = sample(returns, least=2, moving=True)
    z2 = ((x - x.mean()) / x.std()) ** 2
    n = len(x)

    def slope(free: float) -> float:
        # Twice the derivative, per bar, of the log-likelihood of a t of unit variance by its
        # degrees of freedom, at 2 + exp(free).
        over = exp(free)
        gain = float(digamma((over + 3) / 2) - digamma((over + 2) / 2)) - 1.0 / over
        ratio = z2 / over
        spread = float((ratio / (1.0 + ratio)).sum())
        return gain + ((over + 3) / over * spread - float(np.log1p(ratio).sum())) / n

    low, high = log(MIN_SHAPE - 2.0), log(MAX_SHAPE - 2.0)
    if slope(high) >= 0:
        return inf
    return 2.0 + exp(brentq(slope, low, high, xtol=1e-4)) if slope(low) > 0 else MIN_SHAPE


def cornish_fisher(returns: NDArray[np.floating], *, level: float = 0.99) -> Tail:
    """Return the tail by the sample's first four moments; see ``cornish_fisher_tail``."""
    x = sample(returns, least=4, moving=True)
    return cornish_fisher_tail(
        float(x.mean()), float(x.std()), skewness(x), excess_kurtosis(x), level=level
    )


def cornish_fisher_tail(
    mean: float, sd: float, skew: float, kurtosis: float, *, level: float = 0.99
) -> Tail:
    """Return the tail by the Cornish-Fisher expansion of the quantile [3]_.

    ``kurtosis`` is the excess over the normal's. The shortfall is the mean of the expanded quantile
    beyond the level [4]_, or the value at risk where it is larger. The expansion is monotone only
    for small moments (without skew, up to a kurtosis of 8): beyond, as on many crypto histories,
    its value at risk means little and can even be a gain.
    """
    beyond = _beyond(level)
    z = _NORMAL.inv_cdf(beyond)
    quantile = (
        z
        + (z**2 - 1) * skew / 6
        + (z**3 - 3 * z) * kurtosis / 24
        - (2 * z**3 - 5 * z) * skew**2 / 36
    )
    bend = 1 + z * skew / 6 + (z**2 - 1) * kurtosis / 24 - (2 * z**2 - 1) * skew**2 / 36
    shortfall = _NORMAL.pdf(z) / beyond * bend
    return Tail(-quantile, max(shortfall, -quantile)).scaled(mean=mean, sd=sd)


def filtered_historical(
    returns: NDArray[np.floating],
    *,
    variance: NDArray[np.floating],
    mean: float = 0.0,
    level: float = 0.99,
) -> Tail:
    """Return the historical tail of the returns' surprises, at the volatility of the bar to come.

    Parameters
    ----------
    returns : ndarray of shape (n_bars,)
    variance : ndarray of shape (n_bars + 1,)
        Variance of each bar as it was forecast before it, and of the bar to come: of
        ``garch.fit_garch``, or ``volatility.ewma_variance``.
    mean : float, default=0.0
        Mean return a bar.
    level : float, default=0.99

    Returns
    -------
    Tail
        For one bar. For more of them see ``forecast.simulate_paths`` [5]_.
    """
    x = sample(returns, least=2)
    if len(variance) != len(x) + 1 or not (np.asarray(variance) > 0).all():
        raise DataError(
            f"{len(variance)} variances were given for {len(x)} returns and the bar to come.",
            "Give one above zero for each bar and one more: leave out the bars before the first.",
        )
    residuals = (x - mean) / np.sqrt(variance[:-1])
    return historical(residuals, level=level).scaled(mean=mean, sd=sqrt(variance[-1]))


def monte_carlo(
    returns: NDArray[np.floating],
    *,
    level: float = 0.99,
    horizon_bars: int = 1,
    errors: Literal["student", "normal"] = "student",
    paths: int = 20_000,
    seed: int = 0,
) -> Tail:
    """Return the historical tail of ``simulate_moves``, over one bar or several.

    Of one bar this is ``student`` or ``normal`` with the noise of the draws: at 99 per cent, 20,000
    normal paths have a relative standard error of 1.2 per cent. Sums of Student t have no closed
    form: for more bars this is the method to take.
    """
    simulated = simulate_moves(
        returns, horizon_bars=horizon_bars, errors=errors, paths=paths, seed=seed
    )
    return historical(simulated, level=level)


def simulate_moves(
    returns: NDArray[np.floating],
    *,
    horizon_bars: int = 1,
    errors: Literal["student", "normal"] = "student",
    paths: int = 20_000,
    seed: int = 0,
) -> Floats:
    """Return simulated compound returns over the next bars, of shape (paths,).

    Parameters
    ----------
    returns : ndarray of shape (n_bars,)
        What the mean and standard deviation, and the degrees of freedom, are taken from.
    horizon_bars : int, default=1
    errors : {"student", "normal"}
        Independent from bar to bar: for clusters of volatility see ``forecast.simulate_paths``.
    paths, seed : int
        The same draws serve every call, so that two answers differ by their returns alone.

    Notes
    -----
    Draws of a Student t by the polar method [6]_, of which the normal is the limit. Nobody loses
    more than everything, which a tail without end would have it.
    """
    x = sample(returns, least=2, moving=True)
    shape = student_shape(x) if errors == "student" else inf
    logs, cosines = _draws(paths, horizon_bars, seed)
    squares = -2.0 * logs if shape == inf else (shape - 2) * np.expm1(-2.0 / shape * logs)
    growth = 1.0 + x.mean() + x.std() * np.sqrt(squares) * cosines
    return np.asarray(np.maximum(growth, 0.0).prod(axis=0) - 1.0)


def drawdown_at_risk(returns: NDArray[np.floating], *, level: float = 0.95) -> Tail:
    """Return the drawdown not exceeded in ``level`` of the bars, and the mean of those beyond [7]_.

    Of the drawdown path of ``core.measures``, as positive fractions of the peak.
    """
    return historical(-drawdown_path(sample(returns, least=1)), level=level)


def worst_move(returns: NDArray[np.floating], *, bars: int) -> float:
    """Return the worst compound return over so many bars on end: the worst day or week, say."""
    x = sample(returns, least=max(bars, 1))
    windows = np.lib.stride_tricks.sliding_window_view(x, bars)
    return min(total_return(window) for window in windows)


def mean_beyond(returns: NDArray[np.floating], loss: float) -> float:
    """Return the mean loss of the bars that lost more than ``loss``; NaN where none did."""
    x = sample(returns, least=1)
    is_beyond = x < -loss
    return float(-x[is_beyond].mean()) if is_beyond.any() else float("nan")


def sample(returns: NDArray[np.floating], *, least: int, moving: bool = False) -> Floats:
    """Return the returns as a float array if a method can use them.

    Raises
    ------
    DataError
        If one is not finite, there are fewer than ``least``, or, for ``moving`` ones, all are
        equal.
    """
    x = check_returns(np.asarray(returns, dtype=np.float64))
    if x.ndim != 1 or len(x) < least:
        raise DataError(
            f"Returns of shape {x.shape} are too few, or not of one series.",
            f"Give {least} bars or more of one series.",
        )
    if moving and np.ptp(x) <= 1e-12 * abs(x[0]):
        raise DataError(
            f"All {len(x)} returns are {x[0]}: prices that stand still have no tail to estimate.",
            "Leave the symbol out, or look at why its price does not move.",
        )
    return x


@lru_cache(maxsize=4)
def _draws(paths: int, horizon: int, seed: int) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(seed)
    shape = (horizon, paths)
    return np.log(1.0 - rng.random(shape)), np.cos(2.0 * pi * rng.random(shape))


def _beyond(level: float) -> float:
    if not 0.0 < level < 1.0:
        raise DataError(f"{level} is not a confidence level.", "Give one between 0 and 1.")
    return 1.0 - level
