"""Windows that reach ahead."""

import numpy as np
import pandas as pd
from pandas.api.indexers import FixedForwardWindowIndexer
from scipy.signal import argrelextrema

from tests.leakbench.forms import Rule, log_returns


class SingleCandleLeak(Rule):
    """One bar peeks: the candle that confirms the pattern is the next one."""

    def weights(self, market):
        is_up = market.close > market.open
        engulfs = is_up.shift(-1, fill_value=False) & ~is_up
        side = engulfs.astype(float) - (~is_up.shift(-1, fill_value=True) & is_up)
        return side / len(market.symbols)


class SingleCandleClean(Rule):
    def weights(self, market):
        is_up = market.close > market.open
        engulfs = is_up & ~is_up.shift(1, fill_value=True)
        side = engulfs.astype(float) - (~is_up & is_up.shift(1, fill_value=False))
        return side / len(market.symbols)


def centred_mean_leak(market):
    """Half of the window lies ahead."""
    return market.close / market.close.rolling(24, center=True).mean() - 1


def centred_mean_clean(market):
    return market.close / market.close.rolling(24).mean() - 1


def gaussian_window_leak(market):
    """A bell-shaped window is centred, or it makes no sense to its author."""
    smooth = market.close.rolling(25, win_type="gaussian", center=True).mean(std=4)
    return smooth.diff() / smooth


def gaussian_window_clean(market):
    smooth = market.close.rolling(25, win_type="gaussian").mean(std=4)
    return smooth.diff() / smooth


def forward_volatility_leak(market):
    """The volatility of the coming day, meant as a label, stays among the features."""
    window = FixedForwardWindowIndexer(window_size=24)
    return {"vol": log_returns(market).rolling(window, min_periods=12).std()}


def forward_volatility_clean(market):
    return {"vol": log_returns(market).rolling(24, min_periods=12).std()}


class PastReturnLeak(Rule):
    """pct_change counts backwards from a negative number: the past it was meant to be."""

    def weights(self, market):
        past = market.close.pct_change(-self.window, fill_method=None)
        return -np.sign(past) / len(market.symbols)


class PastReturnClean(Rule):
    def weights(self, market):
        past = market.close.pct_change(self.window, fill_method=None)
        return np.sign(past) / len(market.symbols)


def distance_to_high_leak(market):
    """Frames sorted newest first: the running high comes from the other end."""
    newest_first = market.high.iloc[::-1]
    return market.close / newest_first.cummax().iloc[::-1] - 1


def distance_to_high_clean(market):
    return market.close / market.high.cummax() - 1


def zero_lag_leak(market):
    """An exponential mean is run forwards and backwards to take its lag away."""
    ahead = market.close.ewm(span=24).mean()
    back = ahead.iloc[::-1].ewm(span=24).mean().iloc[::-1]
    return market.close / back - 1


def zero_lag_clean(market):
    ahead = market.close.ewm(span=24).mean()
    twice = 2 * ahead - ahead.ewm(span=24).mean()
    return market.close / twice - 1


class LagRemovedLeak(Rule):
    """The mean is moved to the middle of its window, as charts draw it."""

    def weights(self, market):
        mean = market.close.rolling(self.window).mean().shift(-self.window // 2)
        return np.sign(market.close - mean) / len(market.symbols)


class LagRemovedClean(Rule):
    def weights(self, market):
        mean = market.close.rolling(self.window).mean()
        return np.sign(market.close - mean) / len(market.symbols)


def slope_leak(market):
    """np.gradient takes central differences: one bar of each slope is the next."""
    logs = np.log(market.close.ffill().fillna(1.0))
    return pd.DataFrame(np.gradient(logs, axis=0), logs.index, logs.columns)


def slope_clean(market):
    logs = np.log(market.close.ffill().fillna(1.0))
    return logs.diff(2) / 2


def convolved_leak(market):
    """mode="same" centres the kernel."""
    returns = log_returns(market).fillna(0.0)
    kernel = np.exp(-np.arange(12) / 4)
    return returns.apply(lambda column: np.convolve(column, kernel, mode="same"), raw=True)


def convolved_clean(market):
    returns = log_returns(market).fillna(0.0)
    kernel = np.exp(-np.arange(12) / 4)
    whole = returns.apply(lambda c: np.convolve(c, kernel)[: len(c)], raw=True)
    return pd.DataFrame(whole, returns.index, returns.columns)


class SwingHighLeak(Rule):
    """A swing high is known five bars after it, not at it."""

    def weights(self, market):
        is_top = market.high == market.high.rolling(11, center=True).max()
        return -is_top.astype(float) / len(market.symbols)


class SwingHighClean(Rule):
    def weights(self, market):
        is_top = market.high == market.high.rolling(11, center=True).max()
        return -is_top.shift(5, fill_value=False).astype(float) / len(market.symbols)


def zigzag_leak(market):
    """The last turning point counts from its own bar on."""
    return _turns(market, confirmed_after=0)


def zigzag_clean(market):
    return _turns(market, confirmed_after=6)


def _turns(market, confirmed_after):
    table = {}
    for symbol, column in market.close.ffill().items():
        turns = pd.Series(np.nan, column.index)
        rows = argrelextrema(column.to_numpy(), np.greater, order=6)[0]
        rows = rows[rows + 6 < len(column)]
        seen = rows + confirmed_after
        turns.iloc[seen] = column.to_numpy()[rows]
        table[symbol] = column / turns.ffill() - 1
    return pd.DataFrame(table)


def first_rows_kept_leak(market):
    """Reversed so that min_periods eats the newest rows and not the first ones."""
    reversed_high = market.high.iloc[::-1].rolling(24, min_periods=1).max()
    return reversed_high.iloc[::-1] / market.close - 1


def first_rows_kept_clean(market):
    return market.high.rolling(24, min_periods=1).max() / market.close - 1
