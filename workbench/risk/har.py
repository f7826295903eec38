"""HAR: realised volatility from its own means over a day, a week and a month, fitted by ``arch``.

Only research and the worker import this module.

References
----------
.. [1] Corsi (2009), "A simple approximate long-memory model of realized volatility", Journal of
   Financial Econometrics 7(2), 174-196, equation 8.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from arch.univariate import HARX, ConstantVariance, StudentsT
from numpy.typing import NDArray

from workbench.core.errors import DataError
from workbench.risk.tails import sample
from workbench.risk.volatility import DECAY, ewma

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class HarFit:
    """A heterogeneous autoregression of realised volatility, and the volatility it has seen.

    Attributes
    ----------
    lags : tuple of int
        Bars of each mean; none where the constant is the EWMA that stands in for a failed fit.
    constant : float
    coefficients : tuple of float
        Of each mean.
    nu : float
        Degrees of freedom of the Student errors; NaN for a fallback.
    note : str
        Empty, or why there is a fallback.
    seen : ndarray of shape (longest lag,)
        The last volatilities.
    """

    lags: tuple[int, ...]
    constant: float
    coefficients: tuple[float, ...]
    nu: float
    note: str
    seen: Floats

    @property
    def is_fallback(self) -> bool:
        """Whether the regression could not be fitted."""
        return not self.lags

    def forecast(self, horizon_bars: int = 24) -> Floats:
        """Return the volatility expected of each of the next bars, of shape (horizon_bars,)."""
        path = np.concatenate([self.seen, np.empty(horizon_bars)])
        for t in range(len(self.seen), len(path)):
            means = [path[t - lag : t].mean() for lag in self.lags]
            # A linear model can fall below zero; volatility below what was seen is none.
            following = self.constant + float(
                np.dot(self.coefficients, means[: len(self.coefficients)])
            )
            path[t] = max(following, float(self.seen.min()))
        return path[len(self.seen) :]


def fit_har(volatility: NDArray[np.floating], *, lags: tuple[int, ...] = (1, 7, 30)) -> HarFit:
    """Fit a heterogeneous autoregression with Student errors by maximum likelihood.

    Parameters
    ----------
    volatility : ndarray of shape (n_bars,)
        Realised volatility of each bar from finer bars, oldest first, windows not overlapping: of
        days from hours, say. In any unit.
    lags : tuple of int, default=(1, 7, 30)
        Bars of each mean: a day, a week and a month of daily bars, of markets that never close.

    Returns
    -------
    HarFit
        Where the optimiser does not converge, the EWMA of the volatility answers instead;
        ``is_fallback`` and ``note`` say so.

    Raises
    ------
    DataError
        If a volatility is missing or negative, none moves, or there are fewer than ten for each
        parameter beyond the longest lag.
    """
    least = max(lags) + 10 * (len(lags) + 3)
    x = sample(volatility, least=least, moving=True)
    if (x < 0).any():
        raise DataError("A volatility is negative.", "Give standard deviations, not returns.")
    unit = x.mean()
    model = HARX(
        x / unit,
        lags=list(lags),
        use_rotated=False,
        volatility=ConstantVariance(),
        distribution=StudentsT(),
        rescale=False,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what counts is the result, which is checked
        fitted = model.fit(update_freq=0, disp="off", show_warning=False)
    constant, *coefficients, _, nu = fitted.params.to_numpy().tolist()
    seen = x[-max(lags) :]
    result = fitted.optimization_result
    if result.status != 0 or not np.isfinite(fitted.params).all():
        note = f"EWMA stands in: HAR did not converge: {result.message}"
        following = float(ewma(x, decay=DECAY)[-1])
        return HarFit((), following, (), float("nan"), note, seen)
    return HarFit(lags, constant * unit, tuple(coefficients), nu, "", seen)
