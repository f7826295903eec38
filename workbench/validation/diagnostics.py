"""Residual diagnostics: are the assumptions behind a Sharpe ratio or a regression met.

Every p-value is that of statsmodels (Shapiro's of scipy) on the same values.

References
----------
.. [1] Jarque and Bera (1987), "A test for normality of observations and regression residuals",
   International Statistical Review 55(2).
.. [2] Shapiro and Wilk (1965), "An analysis of variance test for normality", Biometrika 52.
.. [3] Engle (1982), "Autoregressive conditional heteroscedasticity", Econometrica 50(4).
.. [4] Breusch and Pagan (1979), "A simple test for heteroscedasticity", Econometrica 47(5), in the
   studentised form of Koenker (1981).
.. [5] Ljung and Box (1978), "On a measure of lack of fit in time series models", Biometrika 65(2).
.. [6] Wald and Wolfowitz (1940), "On a test whether two samples are from the same population",
   Annals of Mathematical Statistics 11(2).
.. [7] Brock, Dechert, Scheinkman and LeBaron (1996), "A test for independence based on the
   correlation dimension", Econometric Reviews 15(3).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.core.errors import DataError

Floats = NDArray[np.float64]

MAX_SHAPIRO: Final = 5_000
"""Beyond it scipy's approximation of the p-value is not accurate."""
MAX_BDS: Final = 2_000
"""The BDS statistic compares every pair, so it takes the last so many values."""
BDS_DIMENSION: Final = 2

ASKS: Final = {
    "Jarque-Bera": "normality",
    "Shapiro-Wilk": "normality",
    "ARCH-LM": "heteroskedasticity",
    "Breusch-Pagan": "heteroskedasticity",
    "Ljung-Box": "autocorrelation",
    "runs": "independence",
    "BDS": "independence",
}
REJECTED: Final = {
    "normality": "not normal: intervals that assume normality are too narrow in the tails",
    "heteroskedasticity": "the spread changes: use robust errors, or model the volatility",
    "autocorrelation": "one value tells of the next: scaling by the root of time is wrong",
    "independence": "the order is not random: resample in blocks, not one by one",
}
KEPT: Final = {
    "normality": "nothing speaks against normality",
    "heteroskedasticity": "nothing speaks against a constant spread",
    "autocorrelation": "nothing speaks for autocorrelation",
    "independence": "nothing speaks against a random order",
}


@dataclass(frozen=True, slots=True)
class Diagnostics:
    """What tests say of residuals.

    Attributes
    ----------
    table : DataFrame
        By ``test``: what it ``asks`` about, ``n`` values used, ``statistic``, ``p_value`` under
        the assumption that all is well, ``is_rejected`` at the level, and ``words``.
    level : float
    """

    table: pd.DataFrame
    level: float

    @property
    def rejected(self) -> list[str]:
        """The assumptions that at least one test rejects."""
        return list(dict.fromkeys(self.table.loc[self.table["is_rejected"], "asks"]))


def diagnose_residuals(
    residuals: NDArray[np.floating] | pd.Series,
    *,
    regressors: NDArray[np.floating] | pd.DataFrame | None = None,
    lags: int = 10,
    fitted: int = 0,
    level: float = 0.05,
) -> Diagnostics:
    """Test residuals, or returns, for normality, constant spread, autocorrelation, independence.

    Parameters
    ----------
    residuals : ndarray or Series of shape (n,)
        In the order of time.
    regressors : ndarray or DataFrame of shape (n, k), optional
        What the residuals were fitted on, without a constant; only then there is a Breusch-Pagan
        test.
    lags : int, default=10
        Of the Ljung-Box and ARCH tests.
    fitted : int, default=0
        Autoregressive and moving-average parameters that were fitted; they cost the Ljung-Box test
        degrees of freedom.
    level : float, default=0.05
        P-value below which a test rejects. Several tests at once reject more often than that.

    Returns
    -------
    Diagnostics

    Raises
    ------
    DataError
        If values are missing, too few for the lags, or hardly any differ.

    Notes
    -----
    Jarque-Bera [1]_; Shapiro-Wilk [2]_ up to 5,000 values; ARCH-LM [3]_; Breusch-Pagan [4]_ on the
    regressors and a constant; Ljung-Box [5]_ over all lags; runs about the median [6]_; BDS [7]_ in
    two dimensions on the last 2,000 values. Days without a position are zeros that no test here is
    made for: leave them out.
    """
    x = _check(residuals, lags=lags, fitted=fitted, level=level)
    found = {
        **_normality(x),
        **_spread(x, regressors, lags=lags),
        **_order(x, lags=lags, fitted=fitted),
    }
    rows = []
    for test, (n, statistic, p_value) in found.items():
        asks, is_rejected = ASKS[test], p_value < level
        rows.append(
            {
                "test": test,
                "asks": asks,
                "n": n,
                "statistic": statistic,
                "p_value": p_value,
                "is_rejected": is_rejected,
                "words": (REJECTED if is_rejected else KEPT)[asks],
            }
        )
    return Diagnostics(pd.DataFrame(rows).set_index("test"), level)


def _normality(x: Floats) -> dict[str, tuple[int, float, float]]:
    from scipy.stats import shapiro
    from statsmodels.stats.stattools import jarque_bera

    statistic, p_value, _, _ = jarque_bera(x)
    found = {"Jarque-Bera": (len(x), float(statistic), float(p_value))}
    if len(x) <= MAX_SHAPIRO:
        own = shapiro(x)
        found["Shapiro-Wilk"] = (len(x), float(own.statistic), float(own.pvalue))
    return found


def _spread(
    x: Floats, regressors: NDArray[np.floating] | pd.DataFrame | None, *, lags: int
) -> dict[str, tuple[int, float, float]]:
    from statsmodels.stats.diagnostic import het_arch, het_breuschpagan

    # The tuple of four is what every release gives; the named result of later ones is opt-in.
    statistic, p_value, _, _ = het_arch(x, nlags=lags, result_object=False)
    found = {"ARCH-LM": (len(x), float(statistic), float(p_value))}
    if regressors is not None:
        table = np.asarray(regressors, dtype=np.float64).reshape(len(regressors), -1)
        is_whole = len(table) == len(x) and bool(np.isfinite(table).all())
        if not is_whole or (np.ptp(table, axis=0) == 0).any():
            raise DataError(
                f"Regressors of shape {table.shape} do not go with {len(x)} residuals.",
                "Give one row for each residual, nothing missing, and no constant.",
            )
        exog = np.column_stack([np.ones(len(x)), table])
        statistic, p_value, _, _ = het_breuschpagan(x, exog)
        found["Breusch-Pagan"] = (len(x), float(statistic), float(p_value))
    return found


def _order(x: Floats, *, lags: int, fitted: int) -> dict[str, tuple[int, float, float]]:
    from statsmodels.sandbox.stats.runs import runstest_1samp
    from statsmodels.stats.diagnostic import acorr_ljungbox
    from statsmodels.tsa.stattools import bds

    box = acorr_ljungbox(x, lags=[lags], model_df=fitted).iloc[0]
    runs, runs_p = runstest_1samp(x, cutoff="median")
    last = x[-MAX_BDS:]
    correlation, correlation_p = bds(last, max_dim=BDS_DIMENSION)
    return {
        "Ljung-Box": (len(x), float(box["lb_stat"]), float(box["lb_pvalue"])),
        "runs": (len(x), float(runs), float(runs_p)),
        "BDS": (len(last), float(correlation), float(correlation_p)),
    }


def _check(
    residuals: NDArray[np.floating] | pd.Series, *, lags: int, fitted: int, level: float
) -> Floats:
    x = np.asarray(residuals, dtype=np.float64)
    least = max(20, 2 * lags + 2)
    if x.ndim != 1 or len(x) < least or not np.isfinite(x).all():
        raise DataError(
            f"Residuals of shape {x.shape} cannot be tested with {lags} lags.",
            f"Give one series of at least {least} values, none missing.",
        )
    distinct = len(np.unique(x[-MAX_BDS:]))
    if distinct < least:
        raise DataError(
            f"The residuals take {distinct} different values.",
            "Test what varies: the days on which something was held, say.",
        )
    if not 0 <= fitted < lags or not 0 < level < 1:
        raise DataError(
            f"{fitted} fitted parameters, {lags} lags and a level of {level} do not go together.",
            "Take more lags than fitted parameters, and a level between 0 and 1.",
        )
    return x
