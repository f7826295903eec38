"""Dependence: how symbols move together, in the middle and in the tail, and in what groups.

``returns`` is a frame of shape (n_bars, n_symbols) of fractions, oldest first. Correlations of
pairs use the bars that both symbols have, and are refused where these are few. What needs a whole
matrix (components, clusters by it, DCC) uses ``common_rows``.

References
----------
.. [1] McNeil, Frey and Embrechts (2005), "Quantitative risk management", Princeton, sections 5.2
   and 5.3.1.
.. [2] Mantegna (1999), "Hierarchical structure in financial markets", European Physical Journal B
   11, 193-197.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import sqrt
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.core.errors import DataError
from workbench.core.measures import annual_volatility
from workbench.risk.volatility import DECAY, ewma

Floats = NDArray[np.float64]
Method = Literal["pearson", "spearman", "kendall"]


def common_rows(returns: pd.DataFrame, *, least: int) -> pd.DataFrame:
    """Return the bars that all symbols have.

    Raises
    ------
    DataError
        If there are fewer than ``least``, naming the two symbols that share the fewest; or a
        symbol does not move in them.
    """
    whole = returns.dropna()
    if len(whole) < least:
        _refuse(returns, least, f"{len(whole)} bars are common to all symbols.")
    still = [str(name) for name in whole if np.ptp(whole[name].to_numpy()) == 0]
    if still:
        raise DataError(
            f"{', '.join(still)} did not move in {len(whole)} bars.",
            "Leave out what stands still: it has no correlation.",
        )
    return whole


def correlation(
    returns: pd.DataFrame, *, method: Method = "pearson", min_bars: int = 30
) -> pd.DataFrame:
    """Return the correlation of each pair of symbols over the bars that both have.

    Parameters
    ----------
    returns : DataFrame of shape (n_bars, n_symbols)
    method : {"pearson", "spearman", "kendall"}
        Linear, of ranks, or of the order of pairs of bars (tau-b).
    min_bars : int, default=30

    Returns
    -------
    DataFrame of shape (n_symbols, n_symbols)

    Raises
    ------
    DataError
        If two symbols share fewer than ``min_bars`` bars, or one does not move.
    """
    _check_pairs(returns, min_bars)
    still = [str(name) for name in returns if np.ptp(returns[name].dropna().to_numpy()) == 0]
    if still:
        raise DataError(
            f"{', '.join(still)} did not move.",
            "Leave out what stands still: it has no correlation.",
        )
    return returns.corr(method=method)


def tail_dependence(
    returns: pd.DataFrame, *, quantile: float = 0.05, is_lower: bool = True, min_bars: int = 100
) -> pd.DataFrame:
    """Return how often one symbol is in its tail where another is, for each pair.

    Parameters
    ----------
    returns : DataFrame of shape (n_bars, n_symbols)
    quantile : float, default=0.05
        Share of the bars that make a tail.
    is_lower : bool, default=True
        Whether of losses; else of gains.
    min_bars : int, default=100

    Returns
    -------
    DataFrame of shape (n_symbols, n_symbols)
        The empirical coefficient [1]_ at the quantile: the share of bars with both in the tail
        over ``quantile``, by ranks over the bars that both have. About ``quantile`` where they are
        independent, one where they crash as one.

    Raises
    ------
    DataError
        If two symbols share fewer than ``min_bars`` bars, or the tail holds none.
    """
    if not 0.0 < quantile < 0.5 or quantile * min_bars < 1.0:
        raise DataError(
            f"A tail of {quantile} of {min_bars} bars is none.",
            "Give a quantile below 0.5, and at least one bar in the tail.",
        )
    _check_pairs(returns, min_bars)
    values = returns.to_numpy() * (1.0 if is_lower else -1.0)
    n = values.shape[1]
    answer = np.eye(n)
    for i in range(n):
        for j in range(i):
            pair = values[:, [i, j]]
            pair = pair[np.isfinite(pair).all(axis=1)]
            k = int(quantile * len(pair))
            bounds = np.partition(pair, k - 1, axis=0)[k - 1]
            answer[i, j] = answer[j, i] = (pair <= bounds).all(axis=1).sum() / k
    return pd.DataFrame(answer, returns.columns, returns.columns)


def student_tail_dependence(correlation: float, shape: float) -> float:
    """Return the tail dependence that a Student t copula has in the limit [1]_, eq. 5.31.

    ``shape`` is its degrees of freedom; the normal's, infinite, has none.
    """
    from scipy.special import stdtr

    if shape == np.inf:
        return float(correlation >= 1.0)
    if correlation <= -1.0:
        return 0.0
    at = -sqrt((shape + 1.0) * (1.0 - correlation) / (1.0 + correlation))
    return 2.0 * float(stdtr(shape + 1.0, at))


def ewma_covariance(returns: pd.DataFrame, *, decay: float = DECAY) -> Floats:
    """Return the exponentially weighted covariance known before each bar, and after the last.

    Parameters
    ----------
    returns : DataFrame of shape (n_bars, n_symbols)
    decay : float, default=0.94
        See ``volatility.ewma``, and ``volatility.decay_of`` for a half-life.

    Returns
    -------
    ndarray of shape (n_bars + 1, n_symbols, n_symbols)
        Means are taken as zero. A pair with a missing return keeps its covariance; NaN before its
        first bar.
    """
    x = returns.to_numpy()
    return ewma(x[:, :, None] * x[:, None, :], decay=decay)


def check_covariance(covariance: NDArray[np.floating] | pd.DataFrame) -> Floats:
    """Return a covariance as an array if it has an inverse that can be trusted.

    Raises
    ------
    DataError
        If values are missing, it is not symmetric, a symbol stands still, or one doubles others.
    """
    sigma = np.asarray(covariance, dtype=np.float64)
    if sigma.ndim != 2 or not np.isfinite(sigma).all() or not np.allclose(sigma, sigma.T):
        raise DataError(
            f"The covariance of shape {sigma.shape} lacks values, or is not symmetric.",
            "Leave out the symbols without enough bars, or estimate it on common ones.",
        )
    sd = np.sqrt(np.maximum(np.diag(sigma), 0.0))
    if (sd <= 0).any() or np.linalg.cond(sigma / np.outer(sd, sd)) > 1e12:
        raise DataError(
            "The covariance has no inverse.",
            "Leave out what stands still or doubles another, or shrink the covariance.",
        )
    return sigma


def to_correlation(covariance: Floats) -> Floats:
    """Return the correlations of covariances of shape (..., n_symbols, n_symbols)."""
    sd = np.sqrt(np.diagonal(covariance, axis1=-2, axis2=-1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(covariance / (sd[..., :, None] * sd[..., None, :]))


def mean_correlation(correlation: Floats) -> Floats:
    """Return the mean correlation of all pairs, of shape (...), of those that are there.

    NaN without a pair.
    """
    rows, columns = np.triu_indices(correlation.shape[-1], k=1)
    pairs = correlation[..., rows, columns]
    is_there = np.isfinite(pairs)
    count = is_there.sum(axis=-1)
    total = np.where(is_there, pairs, 0.0).sum(axis=-1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def beta(returns: pd.DataFrame, *, to: str = "BTCUSDT", min_bars: int = 30) -> pd.Series:
    """Return the slope of each symbol's return on that of one of them, over the bars both have.

    Raises
    ------
    DataError
        If the benchmark is not there or does not move, or a symbol shares fewer than ``min_bars``
        bars with it.
    """
    market = _benchmark(returns, to)
    _check_pairs(returns, min_bars, to=to)
    slopes = {
        name: own.cov(market) / market.where(own.notna()).var() for name, own in returns.items()
    }
    return pd.Series(slopes, dtype=np.float64)


def rolling_beta(
    returns: pd.DataFrame, *, to: str = "BTCUSDT", window: int, min_bars: int = 30
) -> pd.DataFrame:
    """Return the slope over the last ``window`` bars at each bar, of shape (n_bars, n_symbols).

    NaN where a window has fewer than ``min_bars`` common bars, or a benchmark that stands still.
    """
    market = _benchmark(returns, to)
    own = returns.rolling(window, min_periods=min_bars).cov(market, pairwise=False)
    shared = pd.DataFrame({name: market.where(returns[name].notna()) for name in returns})
    slope: pd.DataFrame = own / shared.rolling(window, min_periods=min_bars).var()
    return slope.where(np.isfinite(slope))


def tracking_error(returns: pd.DataFrame, *, to: str = "BTCUSDT", periods: float) -> pd.Series:
    """Return the annual standard deviation of each symbol's return over that of one of them.

    Raises
    ------
    DataError
        If the benchmark is not there, or a symbol shares fewer than 30 bars with it.
    """
    market = _benchmark(returns, to)
    _check_pairs(returns, 30, to=to)
    over = returns.sub(market, axis=0)
    errors = {n: annual_volatility(own.dropna().to_numpy(), periods) for n, own in over.items()}
    return pd.Series(errors)


def cluster(correlation: pd.DataFrame, *, threshold: float = 0.5) -> pd.Series:
    """Return a group for each symbol: those whose mean correlation is above a threshold.

    Average linkage of the distance sqrt(2 (1 - correlation)) [2]_, cut at that of the threshold.
    Groups are numbered from 1, in the order of the first symbol of each.
    """
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    if len(correlation) < 2:
        return pd.Series(1, index=correlation.index)
    distance = np.sqrt(2.0 * (1.0 - np.clip(correlation.to_numpy(), -1.0, 1.0)))
    np.fill_diagonal(distance, 0.0)
    tree = linkage(squareform(distance, checks=False), method="average")
    found = fcluster(tree, sqrt(2.0 * (1.0 - threshold)), criterion="distance")
    return pd.Series(pd.factorize(found)[0] + 1, index=correlation.index)


class Components(NamedTuple):
    """Principal components, the largest first.

    Attributes
    ----------
    variance : Series of shape (n_symbols,)
        Of each component.
    share : Series of shape (n_symbols,)
        Of the whole.
    loadings : DataFrame of shape (n_symbols, n_symbols)
        A column for each component, of unit length, its largest entry positive.
    """

    variance: pd.Series
    share: pd.Series
    loadings: pd.DataFrame


def principal_components(matrix: pd.DataFrame) -> Components:
    """Return the principal components of a covariance or a correlation matrix."""
    values, vectors = np.linalg.eigh(matrix.to_numpy())
    values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
    largest = np.abs(vectors).argmax(axis=0)
    vectors = vectors * np.sign(vectors[largest, np.arange(len(values))])
    names = [f"pc{i + 1}" for i in range(len(values))]
    variance = pd.Series(values, names)
    loadings = pd.DataFrame(vectors, matrix.index, names)
    return Components(variance, variance / variance.sum(), loadings)


def _benchmark(returns: pd.DataFrame, to: str) -> pd.Series:
    if to not in returns or returns[to].nunique() < 2:
        raise DataError(
            f"There are no returns of {to}, or they do not move.",
            f"Choose one of {', '.join(map(str, returns))} that does.",
        )
    return returns[to]


def _check_pairs(returns: pd.DataFrame, least: int, *, to: str | None = None) -> None:
    shared, names = _shared(returns), [str(name) for name in returns]
    rows = range(len(names)) if to is None else [names.index(to)]
    if shared[list(rows)].min() < least:
        _refuse(returns, least, "A pair needs bars that both have.", rows)


def _refuse(returns: pd.DataFrame, least: int, what: str, rows: Iterable[int] = ()) -> None:
    shared, names = _shared(returns), [str(name) for name in returns]
    fewest, one, other = min(
        (int(shared[i, j]), names[i], names[j])
        for i in rows or range(len(names))
        for j in range(len(names))
    )
    who = f"{one} has" if one == other else f"{one} and {other} share"
    raise DataError(f"{what} {who} {fewest}.", f"Give {least} or more, or leave one of them out.")


def _shared(returns: pd.DataFrame) -> NDArray[np.int64]:
    there = returns.notna().to_numpy().astype(np.int64)
    return np.asarray(there.T @ there)
