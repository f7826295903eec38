"""Drawdown: its chance under a diffusion, and the largest size that keeps it within a limit.

A size is a multiple of what the returns are of. Each method answers the same question, what is the
largest multiple whose chance of a drawdown beyond ``limit`` within ``horizon_bars`` is at most
``1 - confidence``, with another idea of what may come. The chance never falls as the multiple
grows: the logarithm of the growth between two bars is concave in it and zero at zero.

References
----------
.. [1] Taylor (1975), "A stopped Brownian motion formula", Annals of Probability 3(2), 234-246.
.. [2] Magdon-Ismail, Atiya, Pratap and Abu-Mostafa (2004), "On the maximum drawdown of a Brownian
   motion", Journal of Applied Probability 41(1), 147-161.
.. [3] Abate and Whitt (1995), "Numerical inversion of Laplace transforms of probability
   distributions", ORSA Journal on Computing 7(1), 36-43.
.. [4] Grossman and Zhou (1993), "Optimal investment strategies for controlling drawdowns",
   Mathematical Finance 3(3), 241-276.
"""

from __future__ import annotations

from collections.abc import Callable
from math import comb, inf, log, log1p, pi, sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from workbench.core.bootstrap import bootstrap_indices
from workbench.core.errors import DataError
from workbench.core.measures import drawdown_path
from workbench.risk.tails import sample

Floats = NDArray[np.float64]

_TERMS: Final = 12
_HALVINGS: Final = 24


def drawdown_chance(depth: float, *, mean: float, sd: float, horizon: float) -> float:
    """Return the chance that a Brownian motion falls by ``depth`` from a peak within a horizon.

    Parameters
    ----------
    depth : float
        Above zero, in the units of the motion: for an equity, -log(1 - drawdown).
    mean, sd : float
        Drift and standard deviation over one unit of time.
    horizon : float
        Units of time. The chance that it ever does is 1, whatever the drift.

    Returns
    -------
    float
        To about seven digits.

    Notes
    -----
    With k = mean / sd^2 and d = sqrt(k^2 + 2 s / sd^2), the time of the first such fall has the
    Laplace transform d exp(-k h) / (d cosh(d h) - k sinh(d h)) [1]_ at s. Its distribution,
    of which [2]_ gives the series, comes from Euler's inversion [3]_.

    Examples
    --------
    >>> round(drawdown_chance(1.0, mean=0.0, sd=1.0, horizon=1.0), 4)
    0.6292
    """
    if not (depth > 0.0 and sd > 0.0 and horizon > 0.0 and np.isfinite(mean)):
        raise DataError(
            f"A fall by {depth} of a motion of {mean} and {sd} over {horizon} has no chance.",
            "Give a depth, deviation and horizon above zero, and a finite mean.",
        )
    if horizon == inf:
        return 1.0
    # In units in which the motion falls from 0 to -1 and its variance is 1.
    k, t = mean * depth / sd**2, horizon * (sd / depth) ** 2
    terms = np.arange(2 * _TERMS + 1)
    s = (_TERMS * log(10.0) / 3.0 + 1j * pi * terms) / t
    d = np.sqrt(k**2 + 2.0 * s)
    passed = 2.0 * d * np.exp(-(k + d)) / ((d - k) + (d + k) * np.exp(-2.0 * d))
    tails = np.cumsum([comb(_TERMS, i) for i in range(_TERMS)]) / 2.0**_TERMS
    weights = np.concatenate([[0.5], np.ones(_TERMS), 1.0 - tails]) * (-1.0) ** terms
    chance = 10.0 ** (_TERMS / 3.0) / t * float(weights @ (passed / s).real)
    return float(min(max(chance, 0.0), 1.0))


def diffusion_multiple(
    mean: float,
    sd: float,
    *,
    limit: float,
    horizon_bars: int,
    confidence: float = 0.95,
    cap: float = 10.0,
) -> float:
    """Return the largest multiple under a diffusion of a known mean and deviation a bar.

    Parameters
    ----------
    mean, sd : float
        Of simple returns a bar; at a multiple m the logarithm of the equity has the mean
        m mean - (m sd)^2 / 2.
    limit : float
        Drawdown, as a fraction of the peak.
    horizon_bars : int
    confidence : float, default=0.95
    cap : float, default=10.0
        The largest answer.

    Notes
    -----
    The motion is watched without pause, between bars too. Without a horizon no constant multiple
    keeps a drawdown within a limit; [4]_ then lowers it as the drawdown grows.
    """
    _check(limit, confidence, horizon_bars, cap)
    depth = -log1p(-limit)

    def chance(m: float) -> float:
        drift = m * mean - 0.5 * (m * sd) ** 2
        return drawdown_chance(depth, mean=drift, sd=m * sd, horizon=horizon_bars)

    return _largest(chance, 1.0 - confidence, cap)


def historical_multiple(
    returns: NDArray[np.floating],
    *,
    limit: float,
    horizon_bars: int,
    confidence: float = 0.95,
    cap: float = 10.0,
) -> float:
    """Return the largest multiple for which so few stretches of the history exceed the limit.

    Parameters
    ----------
    returns : ndarray of shape (n_bars,)
        Simple returns; every stretch of ``horizon_bars`` on end counts, so they overlap: a history
        of two horizons tells hardly more than two of them.
    limit, horizon_bars, confidence, cap
        See ``diffusion_multiple``.
    """
    _check(limit, confidence, horizon_bars, cap)
    x = sample(returns, least=horizon_bars)
    paths = np.lib.stride_tricks.sliding_window_view(x, horizon_bars)
    return _largest(_share_beyond(paths, limit), 1.0 - confidence, cap)


def simulated_multiple(
    returns: NDArray[np.floating],
    *,
    limit: float,
    horizon_bars: int,
    confidence: float = 0.95,
    cap: float = 10.0,
    block: float | None = None,
    paths: int = 2_000,
    seed: int = 0,
) -> float:
    """Return the largest multiple for which so few paths, drawn from the history, exceed the limit.

    Parameters
    ----------
    returns : ndarray of shape (n_bars,)
        Simple returns.
    limit, horizon_bars, confidence, cap
        See ``diffusion_multiple``.
    block : float, optional
        Mean block of the stationary bootstrap; the cube root of the sample's length by default. A
        longer one keeps clusters of volatility whole.
    paths, seed : int

    Notes
    -----
    A history is a sample. Every path is drawn from a resample of it, not from itself, so that the
    chance is that of what is to come given what was seen: with the mean of the history taken as
    true, limits at 90 per cent were exceeded by 13 to 16 per cent of simulated futures. The share
    of paths that exceed the limit may be ``1 - confidence`` less its own standard error.
    """
    _check(limit, confidence, horizon_bars, cap)
    x = sample(returns, least=2, moving=True)
    length = len(x) ** (1 / 3) if block is None else block
    again, ahead = (
        bootstrap_indices(len(x), block=length, size=size, reps=paths, seed=seed + i)
        for i, size in enumerate((len(x), horizon_bars))
    )
    drawn = np.take_along_axis(x[again], ahead, axis=1)
    allowed = 1.0 - confidence
    allowed = max(allowed - sqrt(allowed * confidence / paths), 0.0)
    return _largest(_share_beyond(drawn, limit), allowed, cap)


def _share_beyond(paths: Floats, limit: float) -> Callable[[float], float]:
    def share(multiple: float) -> float:
        falls = drawdown_path(np.maximum(multiple * paths, -1.0)).max(axis=1)
        return float((falls > limit).mean())

    return share


def _largest(chance: Callable[[float], float], allowed: float, cap: float) -> float:
    if chance(cap) <= allowed:
        return cap
    low, high = 0.0, cap
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if chance(middle) <= allowed else (low, middle)
    return low


def _check(limit: float, confidence: float, horizon_bars: int, cap: float) -> None:
    if not (0.0 < limit < 1.0 and 0.0 < confidence < 1.0 and horizon_bars >= 1 and cap > 0.0):
        raise DataError(
            f"A drawdown of {limit} at {confidence} over {horizon_bars} bars sets no size.",
            "Give a limit and a confidence in (0, 1), a bar or more, and a cap above zero.",
        )
