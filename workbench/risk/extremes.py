"""Extremes: the generalised Pareto tail beyond a threshold, and Hill's index.

References
----------
.. [1] McNeil and Frey (2000), "Estimation of tail-related risk measures for heteroscedastic
   financial time series: an extreme value approach", Journal of Empirical Finance 7, 271-300.
.. [2] McNeil, Frey and Embrechts (2005), "Quantitative risk management", Princeton, equations
   7.18 and 7.19.
.. [3] Grimshaw (1993), "Computing maximum likelihood estimates for the generalized Pareto
   distribution", Technometrics 35(2), 185-191.
.. [4] Hill (1975), "A simple general approach to inference about the tail of a distribution",
   Annals of Statistics 3(5), 1163-1174.
"""

from __future__ import annotations

from math import ceil, inf, log
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.core.errors import DataError
from workbench.risk.tails import Tail, sample

LEAST_EXCESSES: Final = 10
"""Fewer losses than this beyond a threshold say nothing about two parameters."""


class ParetoTail(NamedTuple):
    """A generalised Pareto distribution of the losses beyond a threshold.

    Attributes
    ----------
    threshold : float
    shape : float
        Xi: above 0 the tail is a power law of index 1 / shape, at 1 and above without a mean.
    scale : float
        Beta, in the unit of the losses.
    n_beyond, n_bars : int
        Losses beyond the threshold, and all of them.
    loglikelihood : float
        Of the excesses.
    """

    threshold: float
    shape: float
    scale: float
    n_beyond: int
    n_bars: int
    loglikelihood: float = float("nan")

    def tail(self, *, level: float = 0.99) -> Tail:
        """Return value at risk and expected shortfall at a level beyond the threshold [2]_.

        The shortfall of a tail without a mean is infinite.

        Raises
        ------
        DataError
            If the level lies before the threshold.
        """
        share = (1.0 - level) * self.n_bars / self.n_beyond
        if not 0.0 < share <= 1.0 + 1e-12:
            raise DataError(
                f"A level of {level} lies outside the tail of {self.n_beyond} of {self.n_bars} "
                "bars that was fitted.",
                "Take a higher level below 1, or a lower threshold.",
            )
        xi, beta, u = self.shape, self.scale, self.threshold
        excess = -log(share) if abs(xi) < 1e-9 else (share**-xi - 1.0) / xi
        quantile = u + beta * excess
        return Tail(quantile, (quantile + beta - xi * u) / (1.0 - xi) if xi < 1.0 else inf)


def fit_pareto(losses: NDArray[np.floating], *, threshold: float) -> ParetoTail:
    """Fit a generalised Pareto distribution to the losses beyond a threshold, by likelihood.

    Parameters
    ----------
    losses : ndarray of shape (n_bars,)
        Losses as positive numbers.
    threshold : float
        Only losses strictly beyond it are fitted.

    Raises
    ------
    DataError
        If a loss is missing, or fewer than ten lie beyond the threshold.

    Notes
    -----
    The likelihood is unbounded for shapes below -1 and irregular below -1/2: shapes from -1/2 on
    are searched. In theta = shape / scale one dimension is left [3]_: shape is the mean of
    ln(1 + theta y). Searched on a grid of ln(1 + theta max y), and finer ones around its best.
    """
    x = sample(losses, least=1)
    y = x[x > threshold] - threshold
    if len(y) < LEAST_EXCESSES:
        raise DataError(
            f"{len(y)} of {len(x)} losses lie beyond {threshold:g}.",
            f"Give more bars or a lower threshold, so that {LEAST_EXCESSES} do.",
        )
    centre, reach = 4.0, 12.0
    for points in (97, 17, 17, 17, 17):
        grid = np.linspace(centre - reach, centre + reach, points)
        shapes, scales, likelihoods = _profile(y, grid)
        best = int(np.argmax(likelihoods))
        centre, reach = float(grid[best]), 2.0 * reach / (points - 1)
    return ParetoTail(
        threshold=float(threshold),
        shape=float(shapes[best]),
        scale=float(scales[best]),
        n_beyond=len(y),
        n_bars=len(x),
        loglikelihood=float(likelihoods[best]),
    )


def fit_peaks(returns: NDArray[np.floating], *, share: float = 0.1) -> ParetoTail:
    """Fit the worst ``share`` of the bars [1]_.

    The threshold is the (k + 1)-th largest loss, k being that share of the bars, rounded up.

    Raises
    ------
    DataError
        If the bars are too few.
    """
    losses = -sample(returns, least=2, moving=True)
    k = ceil(share * len(losses))
    if not 0 < k < len(losses):
        raise DataError(f"A share of {share} leaves no threshold.", "Give one between 0 and 1.")
    return fit_pareto(losses, threshold=float(np.partition(losses, -k - 1)[-k - 1]))


def peaks_over_threshold(
    returns: NDArray[np.floating], *, level: float = 0.99, share: float = 0.1
) -> Tail:
    """Return the tail of ``fit_peaks`` at a level.

    Of standardised residuals, and ``Tail.scaled`` with the volatility to come, this is the
    conditional extreme value method [1]_.
    """
    return fit_peaks(returns, share=share).tail(level=level)


def hill(losses: NDArray[np.floating], *, k: int) -> float:
    """Return Hill's estimate [4]_ of the shape from the k largest losses over the (k + 1)-th.

    Raises
    ------
    DataError
        If there are not more than k losses above zero.
    """
    largest = np.sort(sample(losses, least=1))[::-1][: k + 1]
    if k < 1 or len(largest) <= k or largest[-1] <= 0:
        raise DataError(
            f"The {k + 1} largest losses are not all there and above zero.", "Take a smaller k."
        )
    return float(np.mean(np.log(largest[:-1] / largest[-1])))


def _profile(
    y: NDArray[np.float64], grid: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    theta = np.expm1(grid) / y.max()
    shapes = np.log1p(theta[:, None] * y).mean(axis=1)
    # Near theta = 0 the ratio is the exponential's scale, the mean.
    is_flat = np.abs(grid) < 1e-7
    scales = np.where(is_flat, y.mean(), shapes / np.where(is_flat, 1.0, theta))
    likelihoods = -len(y) * (np.log(scales) + shapes + 1.0)
    return shapes, scales, np.where(shapes < -0.5, -np.inf, likelihoods)
