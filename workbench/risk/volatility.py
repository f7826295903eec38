"""Volatility: estimators of a bar's variance, their means over a window, and the EWMA forecast.

Arrays have a row for each bar and, where there are several symbols, a column for each. Variances
are per bar, as squared fractions; volatilities are a year's, of 365 days of 24 hours. Row t knows
the bars up to t and no others. A window with a missing bar is NaN. Prices that stand still have a
volatility of zero.

The estimators of a bar are unbiased for a geometric Brownian motion that is watched without pause.
A bar of N trades does not show its true extremes: its range falls short by about 1.165 / sqrt(N) of
the bar's volatility [7]_, so Parkinson's volatility is too low by 2 per cent with 1,000 trades a
bar and by 7 per cent with 100. Parkinson and Garman-Klass take the drift as zero.

References
----------
.. [1] Parkinson (1980), "The extreme value method for estimating the variance of the rate of
   return", Journal of Business 53(1), 61-65.
.. [2] Garman and Klass (1980), "On the estimation of security price volatilities from historical
   data", Journal of Business 53(1), 67-78.
.. [3] Rogers and Satchell (1991), "Estimating variance from high, low and closing prices",
   Annals of Applied Probability 1(4), 504-512.
.. [4] Yang and Zhang (2000), "Drift-independent volatility estimation based on high, low, open,
   and close prices", Journal of Business 73(3), 477-491.
.. [5] J.P. Morgan (1996), "RiskMetrics technical document", 4th ed., section 5.2.
.. [6] Andersen, Bollerslev, Diebold and Labys (2003), "Modeling and forecasting realized
   volatility", Econometrica 71(2), 579-625.
.. [7] Broadie, Glasserman and Kou (1997), "A continuity correction for discrete barrier options",
   Mathematical Finance 7(4), 325-348: the mean shortfall of a discrete maximum is 0.5826 steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from math import log
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.core.errors import DataError
from workbench.core.records import Market

Floats = NDArray[np.float64]

HORIZONS: Final[Mapping[str, timedelta]] = {
    "1h": timedelta(hours=1),
    "4h": timedelta(hours=4),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
}
"""The horizons of realised volatility."""

DECAY: Final = 0.94
"""RiskMetrics' weight of yesterday's forecast, for daily bars [5]_."""


def parkinson(high: Floats, low: Floats) -> Floats:
    """Return the variance of each bar from its range [1]_: ln(H/L)^2 / (4 ln 2)."""
    return _log(high, low) ** 2 / (4.0 * log(2.0))


def garman_klass(opened: Floats, high: Floats, low: Floats, close: Floats) -> Floats:
    """Return the variance of each bar from its range and body [2]_, the practical form of eq. 20.

    0.5 ln(H/L)^2 - (2 ln 2 - 1) ln(C/O)^2; that of a single bar can be negative.
    """
    return 0.5 * _log(high, low) ** 2 - (2.0 * log(2.0) - 1.0) * _log(close, opened) ** 2


def rogers_satchell(opened: Floats, high: Floats, low: Floats, close: Floats) -> Floats:
    """Return the variance of each bar whatever its drift [3]_.

    ln(H/C) ln(H/O) + ln(L/C) ln(L/O).
    """
    return _log(high, close) * _log(high, opened) + _log(low, close) * _log(low, opened)


def yang_zhang(
    opened: Floats, high: Floats, low: Floats, close: Floats, *, before: Floats, window: int
) -> Floats:
    """Return the mean variance a bar over a window, whatever its drift and with its gaps [4]_.

    ``before`` is the close of the bar before. The variances of gaps and bodies divide by n - 1;
    k = 0.34 / (1.34 + (n + 1) / (n - 1)), eq. 10. A market without pauses has nearly no gaps.
    """
    _check_window(window, 2)
    k = 0.34 / (1.34 + (window + 1) / (window - 1))
    inside = trailing_mean(rogers_satchell(opened, high, low, close), window=window)
    gaps, bodies = _spread(_log(opened, before), window), _spread(_log(close, opened), window)
    return gaps + k * bodies + (1.0 - k) * inside


def semivariance(returns: Floats) -> Floats:
    """Return each bar's squared loss, zero where it gained.

    Twice its mean is comparable with the variance of returns that are symmetric about zero.
    """
    return np.asarray(np.minimum(returns, 0.0) ** 2)


def trailing_mean(variances: Floats, *, window: int) -> Floats:
    """Return the mean of the last ``window`` bars at each bar; NaN before and where one is missing.

    Summed afresh in every window, so that a row is the same to the last bit on any history.

    Examples
    --------
    >>> trailing_mean(np.array([1.0, 2.0, 6.0]), window=2)
    array([nan, 1.5, 4. ])
    """
    _check_window(window, 1)
    return _over_windows(variances, window, lambda windows: windows.mean(axis=-1))


def ewma(values: NDArray[np.floating], *, decay: float = DECAY, start: object = None) -> Floats:
    """Return the exponentially weighted mean that is known before each row, and after the last.

    Parameters
    ----------
    values : ndarray of shape (n_bars, ...)
        Squared returns for a variance, outer products of returns for a covariance.
    decay : float, default=0.94
        Weight of what was known before; the half-life is ln(0.5) / ln(decay) bars.
    start : ndarray of shape (...), optional
        Mean before the first row. Without it the weights of the rows seen so far are scaled to
        one, so that a short history is not biased towards its first bar.

    Returns
    -------
    ndarray of shape (n_bars + 1, ...)
        Row t is the forecast for row t of ``values``, from rows before it; the last row is the
        forecast for the bar to come. A missing value leaves the mean as it was; NaN before the
        first value.

    Raises
    ------
    DataError
        If the decay is not between 0 and 1.

    Notes
    -----
    RiskMetrics [5]_, eq. 5.3: v[t+1] = decay * v[t] + (1 - decay) * x[t].

    Examples
    --------
    >>> ewma(np.array([1.0, 4.0]), decay=0.5, start=1.0)
    array([1. , 1. , 2.5])
    """
    x = np.asarray(values, dtype=np.float64)
    running = RunningMean(x.shape[1:], decay=decay, start=start)
    answer = np.empty((len(x) + 1, *x.shape[1:]))
    answer[0] = running.mean
    for t, row in enumerate(x):
        answer[t + 1] = running.update(row)
    return answer


class RunningMean:
    """An exponentially weighted mean that takes one row at a time; ``ewma`` is a walk of it.

    ``mean`` is NaN before the first value. See ``ewma`` for decay and start.
    """

    __slots__ = ("decay", "mean", "total", "weight")

    def __init__(self, shape: tuple[int, ...], *, decay: float, start: object = None) -> None:
        if not 0.0 < decay < 1.0:
            raise DataError(f"A decay of {decay} keeps no mean.", "Give one between 0 and 1.")
        self.decay = decay
        self.weight = np.full(shape, 0.0 if start is None else 1.0 / (1.0 - decay))
        first = 0.0 if start is None else np.asarray(start, dtype=np.float64)
        self.total: Floats = self.weight * first
        self.mean: Floats = np.full(shape, np.nan) if start is None else self.total / self.weight

    def update(self, row: Floats) -> Floats:
        """Return the mean after one more row; a missing value leaves its own as it was."""
        is_there = np.isfinite(row)
        if is_there.all():
            self.total = self.decay * self.total + row
            self.weight = self.decay * self.weight + 1.0
            self.mean = self.total / self.weight
            return self.mean
        keep = np.where(is_there, self.decay, 1.0)
        self.total = keep * self.total + np.where(is_there, row, 0.0)
        self.weight = keep * self.weight + is_there
        with np.errstate(invalid="ignore"):
            self.mean = self.total / self.weight
        return self.mean


def ewma_variance(returns: NDArray[np.floating], *, decay: float = DECAY) -> Floats:
    """Return the RiskMetrics variance forecast before each bar and after the last [5]_.

    See ``ewma``, which this is of squared returns; the mean return is taken as zero.
    """
    return ewma(np.asarray(returns, dtype=np.float64) ** 2, decay=decay)


def decay_of(half_life_bars: float) -> float:
    """Return the decay whose weights halve in so many bars."""
    if not half_life_bars > 0:
        raise DataError(
            f"A half-life of {half_life_bars} bars is none.", "Give a positive number of bars."
        )
    return float(0.5 ** (1.0 / half_life_bars))


def estimate_volatility(
    market: Market, *, estimator: str = "yang_zhang", window: int
) -> pd.DataFrame:
    """Return the annual volatility of each symbol over the last ``window`` bars.

    Parameters
    ----------
    market : Market
    estimator : {"close", "downside", "parkinson", "garman_klass", "rogers_satchell", "yang_zhang"}
        ``close`` is realised volatility: the mean squared log return from close to close [6]_, the
        drift taken as zero. ``downside`` is the semi-volatility of the same returns.
    window : int

    Returns
    -------
    DataFrame of shape (n_bars, n_symbols)
        Indexed by ``known_at``; NaN until the window is full, where a bar of it is missing, and
        where the estimate is negative, as Garman-Klass of a few bars can be.

    Raises
    ------
    DataError
        If the estimator is unknown, a price is not positive, or a high lies below a low.
    """
    opened, high, low, close = _prices(market)
    before = market.close.shift(1).to_numpy()
    if estimator == "yang_zhang":
        variance = yang_zhang(opened, high, low, close, before=before, window=window)
    else:
        per_bar: Mapping[str, Callable[[], Floats]] = {
            "close": lambda: _log(close, before) ** 2,
            "downside": lambda: semivariance(_log(close, before)),
            "parkinson": lambda: parkinson(high, low),
            "garman_klass": lambda: garman_klass(opened, high, low, close),
            "rogers_satchell": lambda: rogers_satchell(opened, high, low, close),
        }
        if estimator not in per_bar:
            raise DataError(
                f"There is no estimator {estimator!r}.",
                f"Choose one of {', '.join(per_bar)}, yang_zhang.",
            )
        variance = trailing_mean(per_bar[estimator](), window=window)
    annual = np.sqrt(np.where(variance < 0.0, np.nan, variance) * market.bars_per_year)
    return pd.DataFrame(annual, index=market.index, columns=market.close.columns)


def realised_horizons(market: Market) -> dict[str, pd.DataFrame]:
    """Return the annual volatility realised over 1 hour, 4 hours, 24 hours and 7 days.

    A horizon that is not a whole number of bars is left out. One of a single bar is one squared
    return: its square is unbiased, and noisy.
    """
    length = market.bar_length
    return {
        name: estimate_volatility(market, estimator="close", window=span // length)
        for name, span in HORIZONS.items()
        if not span % length
    }


def volatility_of_volatility(
    volatility: pd.DataFrame, *, window: int, periods: float
) -> pd.DataFrame:
    """Return the annual standard deviation of the changes in the logarithm of a volatility.

    Parameters
    ----------
    volatility : DataFrame of shape (n_bars, n_symbols)
    window : int
        Bars of changes.
    periods : float
        Bars a year.

    Returns
    -------
    DataFrame of shape (n_bars, n_symbols)
        Free of the volatility's level. Overlapping windows of the volatility smooth its changes,
        so compare like with like. A volatility of zero has no logarithm: NaN.
    """
    _check_window(window, 2)
    values = volatility.to_numpy()
    logs = np.log(np.where(values > 0, values, np.nan))
    changes = np.diff(logs, axis=0, prepend=np.nan)
    return pd.DataFrame(
        np.sqrt(_spread(changes, window) * periods),
        index=volatility.index,
        columns=volatility.columns,
    )


def _log(top: Floats, bottom: Floats) -> Floats:
    return np.asarray(np.log(top / bottom))


def _spread(values: Floats, window: int) -> Floats:
    return _over_windows(values, window, lambda windows: windows.var(axis=-1, ddof=1))


def _over_windows(values: Floats, window: int, measure: Callable[[Floats], Floats]) -> Floats:
    answer = np.full_like(values, np.nan)
    if len(values) >= window:
        answer[window - 1 :] = measure(np.lib.stride_tricks.sliding_window_view(values, window, 0))
    return answer


def _check_window(window: int, least: int) -> None:
    if window < least:
        raise DataError(f"A window of {window} bars is too short.", f"Give {least} bars or more.")


def _prices(market: Market) -> list[Floats]:
    opened, high, low, close = prices = [
        getattr(market, name).to_numpy() for name in ("open", "high", "low", "close")
    ]
    is_wrong = (low <= 0) | (high < np.fmax(opened, close)) | (low > np.fmin(opened, close))
    if is_wrong.any():
        row, column = np.argwhere(is_wrong)[0]
        seen = ", ".join(str(price[row, column]) for price in prices)
        raise DataError(
            f"The bar of {market.symbols[column]} at {market.index[row]} is {seen}.",
            "Correct or drop it: prices are positive, and high and low enclose the others.",
        )
    return prices
