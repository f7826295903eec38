"""What a verdict predicts of daily returns, and a test of it that holds at any time.

Whoever looks at a test every day and stops at the first bad one is wrong far more often than the
test says. The test here is a bet against the prediction: under it the wealth of the bettor is
expected not to grow, so that it ever reaches ``1 / alpha`` with a probability of at most ``alpha``,
however often one looks [1]_ [2]_.

References
----------
.. [1] Ville (1939), "Étude critique de la notion de collectif", Gauthier-Villars.
.. [2] Waudby-Smith and Ramdas (2024), "Estimating means of bounded random variables by betting",
   Journal of the Royal Statistical Society B 86(1), 1-27, sections 4 and 5.
.. [3] Efron and Morris (1973), "Stein's estimation rule and its competitors: an empirical Bayes
   approach", Journal of the American Statistical Association 68(341), 117-130.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from workbench.core.measures import DAYS_A_YEAR, check_returns

PRIOR_SHARPE: Final = 1.0
"""Annual Sharpe ratios of strategies before anything is seen: zero, give or take one."""

CEILING: Final = 5.0
BETS: Final = np.geomspace(0.2, 1.0, 8)
"""Stakes as shares of the largest that cannot lose more than everything."""

_BROKE: Final = 1e-300


@dataclass(frozen=True, slots=True)
class Prediction:
    """The daily return that a strategy promises, and the largest that is thought possible.

    Both are fractions of equity; ``ceiling`` bounds what one good day can cost the bettor.
    """

    mean: float
    ceiling: float

    def to_measures(self) -> dict[str, float]:
        """Return it under the names by which a verdict carries it."""
        return {"predicted_mean": self.mean, "predicted_ceiling": self.ceiling}

    @classmethod
    def from_measures(cls, measures: Mapping[str, Any]) -> Self | None:
        """Return the prediction that a verdict carries, None where it carries none."""
        found = [measures.get(name) for name in ("predicted_mean", "predicted_ceiling")]
        if any(value is None for value in found):
            return None
        return cls(*(float(value) for value in found if value is not None))


def predict(returns: NDArray[np.float64]) -> Prediction:
    """Return what daily returns out of sample predict: their mean, shrunk towards nothing.

    Parameters
    ----------
    returns : ndarray of shape (n_days,)
        Daily returns out of sample, as fractions of equity.

    Raises
    ------
    DataError
        If there is none, or one is not finite.

    Notes
    -----
    The posterior mean under a normal prior of annual Sharpe ratios about zero with a deviation of
    one [3]_: a year of data keeps half of its mean, three years three quarters. The ceiling is five
    standard deviations, or the best day if that is more.

    Examples
    --------
    >>> round(predict(np.tile([0.03, -0.01], 365)).mean, 6)
    0.006667
    """
    check_returns(returns)
    kept = len(returns) / (len(returns) + DAYS_A_YEAR / PRIOR_SHARPE**2)
    best = max(CEILING * float(returns.std()), float(returns.max()))
    return Prediction(float(returns.mean()) * kept, best)


def shortfall(returns: NDArray[np.float64], prediction: Prediction) -> float:
    """Return the p-value of the claim that every day's expected return is at least the predicted.

    Parameters
    ----------
    returns : ndarray of shape (n_days,)
        Daily returns since the watch began, all of them.
    prediction : Prediction

    Returns
    -------
    float
        In (0, 1], and never larger with more days: the chance that a strategy that keeps its
        promise ever looks as bad as this one did on its worst day is at most that.

    Notes
    -----
    The wealth is the mean over ``BETS`` of ``prod(1 - stake * (return - mean))``. Under the claim,
    each day given the days before, it is a supermartingale whatever the distribution and however
    the volatility moves, as long as no return exceeds the ceiling; a day above it costs the largest
    stakes all that they have.
    """
    if len(returns) == 0:
        return 1.0
    check_returns(returns)
    stakes = BETS / max(prediction.ceiling - prediction.mean, _BROKE)
    factors = 1.0 - np.outer(returns - prediction.mean, stakes)
    wealth = np.exp(np.log(np.maximum(factors, _BROKE)).cumsum(axis=0)).mean(axis=1)
    return float(min(1.0, 1.0 / max(wealth.max(), _BROKE)))
