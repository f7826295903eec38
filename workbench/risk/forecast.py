"""Forecasts of variance: what a fitted model says of the bars to come.

Loads nothing heavy: ``garch`` fits, and this answers from the numbers.

Models of the variance h of the bar after a shock e = sqrt(h) z:

- ``garch`` [1]_: omega + alpha e^2 + beta h
- ``gjr`` [2]_: the same + gamma e^2 where e is negative
- ``egarch`` [3]_: ln h = omega + alpha (abs(z) - sqrt(2 / pi)) + gamma z + beta ln h
- ``ewma``: decay h + (1 - decay) e^2, what a fit that fails falls back to

References
----------
.. [1] Bollerslev (1986), "Generalized autoregressive conditional heteroskedasticity", Journal of
   Econometrics 31(3), 307-327.
.. [2] Glosten, Jagannathan and Runkle (1993), "On the relation between the expected value and the
   volatility of the nominal excess return on stocks", Journal of Finance 48(5), 1779-1801.
.. [3] Nelson (1991), "Conditional heteroskedasticity in asset returns: a new approach",
   Econometrica 59(2), 347-370.
.. [4] Barone-Adesi, Giannopoulos and Vosper (1999), "VaR without correlations for portfolios of
   derivative securities", Journal of Futures Markets 19(5), 583-602.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import log, pi, sqrt
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Errors = Literal["student", "normal"]

PER_CENT: Final = 100.0

INTEGRATED: Final = 0.9999
"""Persistence from which on a forecast does not revert in any horizon of interest."""


@dataclass(frozen=True, slots=True)
class VolatilityFit:
    """A model of the variance at its parameters, run through its returns.

    Attributes
    ----------
    asked : str
        The model that was asked for.
    model : str
        The model that answers: the same, or ``ewma`` where its fit failed.
    note : str
        Empty, or what a reader must know: why there is a fallback, or that forecasts do not revert.
    errors : {"student", "normal"}
    parameters : dict of str to float
        Of per cent returns: mu, those of the model, and nu with Student errors.
    variance : ndarray of shape (n_bars + 1,)
        Variance of each bar as forecast before it, and of the bar to come; squared fractions.
    residuals : ndarray of shape (n_bars,)
        Returns less their mean, over their forecast volatility.
    loglikelihood : float
        Of per cent returns; NaN for a fallback.
    """

    asked: str
    model: str
    note: str
    errors: Errors
    parameters: Mapping[str, float]
    variance: Floats
    residuals: Floats
    loglikelihood: float

    @property
    def is_fallback(self) -> bool:
        """Whether the model that was asked for could not be fitted."""
        return self.model != self.asked

    @property
    def mean(self) -> float:
        """Mean return a bar, as a fraction."""
        return self.parameters["mu"] / PER_CENT

    @property
    def persistence(self) -> float:
        """Share of a shock to the variance (its logarithm for ``egarch``) that is left a bar on."""
        return persistence(self.model, self.parameters)

    def forecast(self, horizon_bars: int = 24, *, paths: int = 4_000, seed: int = 0) -> Floats:
        """Return the variance expected of each of the next bars, of shape (horizon_bars,).

        Closed form but for ``egarch`` beyond the first bar, which is the mean of simulated paths.
        """
        following = float(self.variance[-1])
        if self.model == "egarch" and horizon_bars > 1:
            variance = _simulate(self, horizon_bars, paths, seed, is_bootstrap=False)[1]
            return np.asarray(variance.mean(axis=0))
        omega = self.parameters.get("omega", 0.0) / PER_CENT**2
        return revert(following, omega, self.persistence, horizon_bars)

    def volatility_over(self, horizon_bars: int) -> float:
        """Return the standard deviation expected of the sum of the next returns."""
        return sqrt(float(self.forecast(horizon_bars).sum()))


def simulate_paths(
    fit: VolatilityFit,
    *,
    horizon_bars: int,
    paths: int = 10_000,
    seed: int = 0,
    draws: Literal["residuals", "errors"] = "residuals",
) -> Floats:
    """Return simulated returns of the next bars, of shape (paths, horizon_bars), as fractions.

    Shocks are the fit's own residuals, drawn anew (filtered historical simulation [4]_), or its
    Student or normal errors; each moves the variance of the bars after it.
    ``tails.historical`` of their sums is the tail over the horizon.
    """
    return _simulate(fit, horizon_bars, paths, seed, is_bootstrap=draws == "residuals")[0]


def persistence(model: str, parameters: Mapping[str, float]) -> float:
    """Return the share of a shock to the variance that is left a bar later."""
    if model == "ewma":
        return 1.0
    if model == "egarch":
        return parameters["beta"]
    return parameters["alpha"] + parameters.get("gamma", 0.0) / 2.0 + parameters["beta"]


def half_life(persistence: float) -> float:
    """Return the bars in which half of a shock to the variance is gone; infinite from 1 on.

    Examples
    --------
    >>> round(half_life(0.959108), 2)
    16.6
    """
    return log(0.5) / log(persistence) if persistence < 1.0 else float("inf")


def revert(following: float, omega: float, persistence: float, horizon_bars: int) -> Floats:
    """Return the variance expected of the next bars, from that of the first of them.

    h[k + 1] = omega + persistence h[k]: towards omega / (1 - persistence) where that is positive.
    """
    variance = np.empty(horizon_bars)
    for k in range(horizon_bars):
        variance[k] = following
        following = omega + persistence * following
    return variance


def step_variance(model: str, parameters: Mapping[str, float], h: Floats, z: Floats) -> Floats:
    """Return the variances after shocks z of unit variance to variances h, of one shape.

    In the units of the parameters: squared per cent.
    """
    p, squares = parameters, h * z**2
    if model == "ewma":
        return p["decay"] * h + (1.0 - p["decay"]) * squares
    if model == "egarch":
        news = p["alpha"] * (np.abs(z) - sqrt(2.0 / pi)) + p["gamma"] * z
        return np.asarray(np.exp(p["omega"] + news + p["beta"] * np.log(h)))
    weight = p["alpha"] + p.get("gamma", 0.0) * (z < 0)
    return np.asarray(p["omega"] + weight * squares + p["beta"] * h)


def _simulate(
    fit: VolatilityFit, horizon: int, paths: int, seed: int, *, is_bootstrap: bool
) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(seed)
    nu = fit.parameters.get("nu")
    if is_bootstrap:
        shocks = rng.choice(fit.residuals, (paths, horizon))
    elif fit.errors == "student" and nu is not None:
        shocks = rng.standard_t(nu, (paths, horizon)) * sqrt((nu - 2.0) / nu)
    else:
        shocks = rng.standard_normal((paths, horizon))
    variance = np.empty((paths, horizon))
    h = np.full(paths, PER_CENT**2 * fit.variance[-1])
    for k in range(horizon):
        variance[:, k] = h
        h = step_variance(fit.model, fit.parameters, h, shocks[:, k])
    variance /= PER_CENT**2
    return fit.mean + np.sqrt(variance) * shocks, variance
