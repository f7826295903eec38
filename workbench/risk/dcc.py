"""DCC: correlations that move with the surprises of the bars before, on GARCH margins.

Only research and the worker import this module.

References
----------
.. [1] Engle (2002), "Dynamic conditional correlation", Journal of Business & Economic Statistics
   20(3), 339-350.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.signal import lfilter
from scipy.special import expit, logit

from workbench.risk.dependence import common_rows, to_correlation
from workbench.risk.forecast import Errors, VolatilityFit, half_life
from workbench.risk.garch import LEAST_BARS, Model, fit_garch

Floats = NDArray[np.float64]

STARTS: Final = ((0.01, 0.97), (0.03, 0.95), (0.05, 0.90), (0.02, 0.75))
"""Weights from which the best is searched on: the likelihood is flat where a is small."""


class DccPath(NamedTuple):
    """Correlations at given weights.

    Attributes
    ----------
    correlation : ndarray of shape (n_bars + 1, n_symbols, n_symbols)
        Of each bar as forecast before it, and of the bar to come.
    loglikelihood : float
        What the correlations add to the margins'.
    """

    correlation: Floats
    loglikelihood: float


@dataclass(frozen=True, slots=True)
class DccFit:
    """Dynamic conditional correlation.

    Attributes
    ----------
    a, b : float
        Weights of the last surprise and of the last correlation.
    path : DccPath
    margins : dict of str to VolatilityFit
        By symbol; empty where residuals were given.
    note : str
        Empty, or what a reader must know: the search did not converge, or margins fell back.
    """

    a: float
    b: float
    path: DccPath
    margins: Mapping[str, VolatilityFit]
    note: str

    @property
    def half_life(self) -> float:
        """Bars in which half of a shock to the correlations is gone."""
        return half_life(self.a + self.b)

    @property
    def loglikelihood(self) -> float:
        """Of margins and correlations together, for per cent returns; NaN with a fallback."""
        return self.path.loglikelihood + sum(fit.loglikelihood for fit in self.margins.values())

    @property
    def covariance(self) -> pd.DataFrame:
        """Covariance forecast for the bar to come, in squared fractions."""
        sd = np.sqrt([fit.variance[-1] for fit in self.margins.values()])
        names = list(self.margins)
        return pd.DataFrame(self.path.correlation[-1] * np.outer(sd, sd), names, names)


def fit_dcc(returns: pd.DataFrame, *, model: Model = "garch", errors: Errors = "normal") -> DccFit:
    """Fit DCC(1,1) in two steps: each symbol's variance, then the correlations [1]_.

    Parameters
    ----------
    returns : DataFrame of shape (n_bars, n_symbols)
        As fractions. Only bars that all symbols have are used.
    model, errors
        Of the margins, as for ``garch.fit_garch``; normal errors make the two steps consistent
        whatever the errors are.

    Raises
    ------
    DataError
        If fewer than 100 bars are common to all symbols, or a symbol does not move.
    """
    table = common_rows(returns, least=LEAST_BARS)
    margins = {
        str(name): fit_garch(table[name].to_numpy(), model=model, errors=errors) for name in table
    }
    fit = fit_correlation(np.column_stack([fit.residuals for fit in margins.values()]))
    fallen = [name for name, margin in margins.items() if margin.is_fallback]
    notes = [fit.note] if fit.note else []
    if fallen:
        notes.append(f"the variance of {', '.join(fallen)} is an EWMA")
    return replace(fit, margins=margins, note="; ".join(notes))


def fit_correlation(residuals: NDArray[np.floating]) -> DccFit:
    """Fit the weights to residuals of shape (n_bars, n_symbols) with unit variances [1]_, eq. 26.

    Correlations revert to the covariance of the residuals.
    """
    z = np.asarray(residuals, dtype=np.float64)
    target = np.cov(z.T)

    def loss(point: Floats) -> float:
        a, b = _weights(point)
        return -dcc_path(z, a=a, b=b, target=target).loglikelihood

    starts = [np.array([logit(a + b), logit(a / (a + b))]) for a, b in STARTS]
    found = minimize(
        loss, min(starts, key=loss), method="Nelder-Mead", options={"xatol": 1e-3, "fatol": 1e-4}
    )
    a, b = _weights(found.x)
    note = "" if found.success else f"the search for correlations did not converge: {found.message}"
    return DccFit(a, b, dcc_path(z, a=a, b=b, target=target), {}, note)


def dcc_path(residuals: NDArray[np.floating], *, a: float, b: float, target: Floats) -> DccPath:
    """Return the correlations of residuals of shape (n_bars, n_symbols) [1]_, eq. 18 and 20.

    Q[t + 1] = (1 - a - b) target + a z[t] z[t]' + b Q[t], scaled to ones on the diagonal; Q of the
    first bar is the target.
    """
    z = np.asarray(residuals, dtype=np.float64)
    news = (1.0 - a - b) * target + a * z[:, :, None] * z[:, None, :]
    moving = lfilter([1.0], [1.0, -b], np.concatenate([target[None], news]), axis=0)
    correlation = to_correlation(moving)
    within = correlation[:-1]
    solved = np.linalg.solve(within, z[:, :, None])[:, :, 0]
    terms = np.linalg.slogdet(within)[1] + (z * solved).sum(axis=1) - (z * z).sum(axis=1)
    return DccPath(correlation, float(-0.5 * terms.sum()))


def _weights(point: Floats) -> tuple[float, float]:
    # Persistence below one, and the share of it that is news.
    both, share = expit(point)
    return float(both * share), float(both * (1.0 - share))
