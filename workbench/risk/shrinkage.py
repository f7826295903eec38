"""Shrinkage: covariances that a short history can carry, by scikit-learn and skfolio.

Only research and the worker import this module.

References
----------
.. [1] Ledoit and Wolf (2004), "A well-conditioned estimator for large-dimensional covariance
   matrices", Journal of Multivariate Analysis 88(2), 365-411.
.. [2] Chen, Wiesel, Eldar and Hero (2010), "Shrinkage algorithms for MMSE covariance estimation",
   IEEE Transactions on Signal Processing 58(10), 5016-5029.
.. [3] Lopez de Prado (2020), "Machine learning for asset managers", Cambridge, section 2:
   eigenvalues within Marchenko and Pastur's bound are noise, and are averaged.
.. [4] Gerber, Markowitz, Ernst, Miao, Javid and Sargen (2022), "The Gerber statistic", Journal of
   Portfolio Management 48(3), 87-102.
"""

from __future__ import annotations

from typing import Final

import pandas as pd

from workbench.core.errors import DataError
from workbench.risk.dependence import common_rows

ESTIMATORS: Final = {
    "sample": "EmpiricalCovariance",
    "ledoit_wolf": "LedoitWolf",
    "oas": "OAS",
    "denoised": "DenoiseCovariance",
    "gerber": "GerberCovariance",
}
"""skfolio's class for each estimator."""


def shrink_covariance(returns: pd.DataFrame, *, estimator: str = "ledoit_wolf") -> pd.DataFrame:
    """Return a covariance of the bars that all symbols have.

    Parameters
    ----------
    returns : DataFrame of shape (n_bars, n_symbols)
    estimator : {"sample", "ledoit_wolf", "oas", "denoised", "gerber"}
        The sample's own, and those of [1]_ to [4]_ in this order.

    Returns
    -------
    DataFrame of shape (n_symbols, n_symbols)
        Squared fractions a bar.

    Raises
    ------
    DataError
        If the estimator is unknown, fewer than 30 bars are common to all symbols, or one does not
        move.
    """
    from skfolio import moments

    if estimator not in ESTIMATORS:
        raise DataError(
            f"There is no estimator {estimator!r}.", f"Choose one of {', '.join(ESTIMATORS)}."
        )
    table = common_rows(returns, least=30)
    fitted = getattr(moments, ESTIMATORS[estimator])().fit(table)
    return pd.DataFrame(fitted.covariance_, returns.columns, returns.columns)
