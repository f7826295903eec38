"""Sizing: how much to hold, before limits cut it.

Plain arithmetic on floats and on arrays of one value a symbol. What cannot be sized because a stop
or a forecast is missing is NaN there and nowhere else, which nobody may trade. What is wrong as a
whole (a singular covariance) is an error. No method falls back to another. Kelly's stakes are in
``risk.kelly``, sizes under a limit of drawdown in ``risk.drawdown``.

References
----------
.. [1] Maillard, Roncalli and Teiletche (2010), "The properties of equally weighted risk
   contribution portfolios", Journal of Portfolio Management 36(4), 60-70.
.. [2] Spinu (2013), "An algorithm for computing risk parity weights", SSRN 2297383.
"""

from __future__ import annotations

from math import exp, inf, sqrt
from typing import Final, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.core.errors import DataError, ModelError
from workbench.risk.dependence import check_covariance
from workbench.risk.regime import Regime

Floats = NDArray[np.float64]

_FALL: Final = 2.0
"""How far the exponential of a schedule falls before it is stretched: exp(-2 x)."""


class RiskSchedule(NamedTuple):
    """Loss at the stop that a trade may cost, by equity: ``high`` for a small account, then less.

    From ``high`` up to ``equity_low_usdt`` to ``low`` from ``equity_high_usdt`` on, between them by
    ``decay``, without a jump. A schedule of ``high == low`` is flat.
    """

    high: float
    low: float
    equity_low_usdt: float = 10_000.0
    equity_high_usdt: float = 100_000.0
    decay: Literal["exponential", "linear"] = "exponential"


def risk_fraction(equity_usdt: float, schedule: RiskSchedule) -> float:
    """Return the fraction of the equity that a trade may lose at its stop.

    Notes
    -----
    With x from 0 to 1 between the two equities, the exponential is exp(-2 x) stretched so that it
    ends at ``low``: (exp(-2 x) - exp(-2)) / (1 - exp(-2)) of the way. Unstretched it would jump
    there.

    Examples
    --------
    >>> schedule = RiskSchedule(high=0.02, low=0.005)
    >>> [round(risk_fraction(usdt, schedule), 6) for usdt in (5e3, 1e4, 55e3, 1e5, 1e6)]
    [0.02, 0.02, 0.009034, 0.005, 0.005]
    """
    high, low, begin, end, decay = schedule
    if equity_usdt <= begin:
        return high
    if equity_usdt >= end:
        return low
    x = (equity_usdt - begin) / (end - begin)
    if decay == "linear":
        return high + (low - high) * x
    left = exp(-_FALL)
    return low + (high - low) * (exp(-_FALL * x) - left) / (1.0 - left)


def fixed_fractional(
    equity_usdt: Floats | float, risk: Floats | float, stop_distance: Floats | float
) -> Floats:
    """Return the position value in USDT that loses ``risk`` of the equity at its stop.

    ``stop_distance`` is a fraction of the price; NaN where it is missing or not above zero.

    Examples
    --------
    >>> float(fixed_fractional(10_000.0, 0.01, 0.04))
    2500.0
    """
    distance = np.asarray(stop_distance, dtype=np.float64)
    return np.asarray(equity_usdt * risk / np.where(distance > 0.0, distance, np.nan))


def volatility_target(
    volatility: Floats | float, *, target: float, floor: float = 0.0, ceiling: float = inf
) -> Floats:
    """Return the multiple at which a forecast volatility meets a target, within bounds.

    Parameters
    ----------
    volatility : ndarray or float
        Forecast of what is held at a multiple of 1; both in the same unit (a year's, say).
    target : float
    floor, ceiling : float
        Least and largest multiple; the ceiling is a cap on leverage.

    Returns
    -------
    ndarray
        NaN where the forecast is missing or zero: prices that stand still are no reason to hold
        the most.
    """
    if not (target > 0.0 and 0.0 <= floor <= ceiling):
        raise DataError(
            f"A target of {target} between {floor} and {ceiling} cannot be met.",
            "Give a target above 0, and a floor from 0 up to the ceiling.",
        )
    forecast = np.asarray(volatility, dtype=np.float64)
    multiple = target / np.where(forecast > 0.0, forecast, np.nan)
    return np.asarray(np.minimum(np.maximum(multiple, floor), ceiling))


def risk_shares(weights: NDArray[np.floating], covariance: NDArray[np.floating]) -> Floats:
    """Return each position's share of the portfolio's variance; they add up to 1."""
    w = np.asarray(weights, dtype=np.float64)
    parts = w * (np.asarray(covariance, dtype=np.float64) @ w)
    return np.asarray(parts / parts.sum())


def inverse_variance(covariance: NDArray[np.floating] | pd.DataFrame) -> Floats:
    """Return weights in proportion to one over each variance; they add up to 1."""
    inverse = 1.0 / np.diag(check_covariance(covariance))
    return np.asarray(inverse / inverse.sum())


def risk_parity(
    covariance: NDArray[np.floating] | pd.DataFrame,
    *,
    budgets: NDArray[np.floating] | None = None,
) -> Floats:
    """Return long weights whose shares of the risk are the budgets.

    Parameters
    ----------
    covariance : ndarray of shape (n_symbols, n_symbols)
    budgets : ndarray of shape (n_symbols,), optional
        Above zero; their proportions count. Equal by default [1]_.

    Returns
    -------
    ndarray of shape (n_symbols,)
        They add up to 1.

    Raises
    ------
    DataError
        If the covariance has no inverse, or a budget is not above zero.
    ModelError
        If the weights are not found, which is never answered with others.

    Notes
    -----
    The minimum of y'Cy / 2 - sum(b log y), with C the correlations and y each weight times its
    volatility, is the only solution. Newton's steps, damped while far from it, always arrive [2]_.
    """
    sigma = check_covariance(covariance)
    n = len(sigma)
    b = np.full(n, 1.0 / n) if budgets is None else np.asarray(budgets, dtype=np.float64)
    if b.shape != (n,) or not (np.isfinite(b).all() and (b > 0.0).all()):
        raise DataError(
            f"{b.tolist()} are no budgets for {n} symbols.",
            "Give one above zero for each; leave out what shall take no risk.",
        )
    b = b / b.sum()
    sd = np.sqrt(np.diag(sigma))
    c = sigma / np.outer(sd, sd)
    y = np.sqrt(b / c.sum(axis=1).clip(min=1.0 / n))
    for _ in range(200):
        slope = c @ y - b / y
        step = np.linalg.solve(c + np.diag(b / y**2), slope)
        # Self-concordance: undamped steps stay inside once the decrement is below about 0.38.
        decrement = sqrt(max(float(slope @ step) / float(b.min()), 0.0))
        y = y - (step if decrement < 0.38 else step / (1.0 + decrement))
        if decrement < 1e-9:
            return np.asarray(y / sd / (y / sd).sum())
    raise ModelError(
        "The risk budgets were not met in 200 steps.",
        "Leave out symbols that nearly double another, or shrink the covariance.",
    )


def blend(sizes: NDArray[np.floating], weights: NDArray[np.floating]) -> Floats:
    """Return the weighted geometric mean of what several sizers say.

    Parameters
    ----------
    sizes : ndarray of shape (n_sizers, ...)
        Multiples or values of one unit, none below zero; NaN stays where it is.
    weights : ndarray of shape (n_sizers,)
        Not below zero; their proportions count, and a sizer of weight zero is not asked.

    Returns
    -------
    ndarray of shape (...)

    Notes
    -----
    Sizes differ by factors, not by sums: doubling one sizer's answer then has the same effect
    whatever its level, the mean is never above the arithmetic one, and a sizer that says zero
    (Kelly without an edge) has a veto.

    Examples
    --------
    >>> blend(np.array([[4.0, 2.0], [1.0, 0.0]]), np.array([0.5, 0.5])).round(6)
    array([2., 0.])
    """
    x, w = np.asarray(sizes, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    if len(x) != len(w) or not (w >= 0.0).all() or not w.sum() > 0.0 or (x < 0.0).any():
        raise DataError(
            f"Sizes of shape {x.shape} and weights {w.tolist()} cannot be blended.",
            "Give a weight for each sizer, one of them above zero, and sizes from zero on.",
        )
    with np.errstate(divide="ignore"):
        logs = np.log(x[w > 0.0])
    return np.asarray(np.exp(np.tensordot(w[w > 0.0] / w.sum(), logs, axes=1)))


def regime_multiplier(regime: Regime, *, normal: float, high: float, crisis: float) -> float:
    """Return what a regime leaves of a size; a low one is as normal, an unknown one as high."""
    if regime == Regime.CRISIS:
        return crisis
    return high if regime in (Regime.HIGH, Regime.UNKNOWN) else normal


def correlation_multiplier(correlation: float, n: int, *, usual: float, floor: float) -> float:
    """Return what the measured correlation of n symbols leaves of a size, in [floor, 1].

    An equally weighted basket of them is sqrt((1 + (n - 1) correlation) / n) as volatile as one:
    the multiple brings it back to what it is at the ``usual`` correlation. A correlation that is
    missing counts as 1; a single symbol has none to count.

    Examples
    --------
    >>> round(correlation_multiplier(0.9, 5, usual=0.5, floor=0.5), 6)
    0.807573
    """
    if n < 2:
        return 1.0
    seen = correlation if correlation == correlation else 1.0
    common, norm = 1.0 + (n - 1) * seen, 1.0 + (n - 1) * usual
    if common <= norm:
        return 1.0
    return max(floor, sqrt(max(norm, 0.0) / common))


def volatility_multiplier(
    volatility: Floats | float, usual: Floats | float, *, floor: float
) -> Floats:
    """Return what a volatility above its usual leaves of a size, in [floor, 1]; NaN if unknown."""
    forecast = np.asarray(volatility, dtype=np.float64)
    multiple = usual / np.where(forecast > 0.0, forecast, np.nan)
    return np.asarray(np.minimum(np.maximum(multiple, floor), 1.0))
