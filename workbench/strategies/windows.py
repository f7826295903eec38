"""Trailing windows that strategies share, and the last step of every frame of weights."""

from __future__ import annotations

from math import ceil
from typing import Final

import numpy as np
import pandas as pd

from workbench.core.records import Market

MEMORY: Final = 16
"""Bars that an exponential mean must see, as a multiple of its centre of mass: what lies before
weighs e**-16, a ten-millionth, so that a truncated window moves no weight by a tenth of a quantum.
"""

_PRESENT: Final = 0.8


def present(window: int) -> int:
    """Return how many bars of a window must be there for it to count: four of five."""
    return ceil(_PRESENT * window)


def is_due(market: Market, every: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Return the rows at which a strategy that acts every so many bars acts.

    The count runs from the Unix epoch, so it does not depend on where the market starts.
    """
    length = pd.Timedelta(market.bar_length) // pd.Timedelta(microseconds=1)
    stamps = market.index.as_unit("us").asi8
    return np.asarray((stamps // length) % every == 0)


def wilder_range(market: Market, window: int) -> pd.DataFrame:
    """Return Wilder's average true range as a fraction of the close.

    Parameters
    ----------
    market : Market
    window : int
        Bars of Wilder's smoothing: each new range weighs 1 / window.

    Returns
    -------
    DataFrame of shape (n_bars, n_symbols)
        NaN for the first ``window`` bars of a symbol and where a bar is missing.

    References
    ----------
    .. [1] Wilder (1978), "New Concepts in Technical Trading Systems", chapter on the Volatility
       Index.
    """
    high, low = market.high.to_numpy(), market.low.to_numpy()
    before = market.close.shift(1).to_numpy()
    spans = np.stack([high - low, np.abs(high - before), np.abs(low - before)])
    true_range = pd.DataFrame(
        np.fmax.reduce(spans), index=market.index, columns=market.close.columns
    )
    mean = true_range.ewm(alpha=1 / window, adjust=False, min_periods=window).mean()
    return (mean / market.close).where(market.close.notna())


def settle(
    market: Market, values: np.ndarray[tuple[int, int], np.dtype[np.float64]], *, lookback: int
) -> pd.DataFrame:
    """Return finished weights: 0 before the lookback is full, NaN where a bar is missing."""
    weights = np.where(np.isnan(market.close.to_numpy()), np.nan, values)
    weights[: lookback - 1] = 0.0
    return pd.DataFrame(weights, index=market.index, columns=market.close.columns)
