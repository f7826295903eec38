"""Gaps that are filled from the other side."""

import numpy as np
import pandas as pd

from tests.leakbench.forms import Rule, log_returns


def backfilled_leak(market):
    """What the forward fill leaves empty is filled backwards."""
    close = market.close.ffill().bfill()
    return close.pct_change(12)


def backfilled_clean(market):
    close = market.close.ffill()
    return close.pct_change(12, fill_method=None)


class InterpolatedLeak(Rule):
    """Missing bars lie on the line from the last quote to the next."""

    def weights(self, market):
        close = market.close.interpolate()
        return np.sign(close.diff(6)) / len(market.symbols)


class InterpolatedClean(Rule):
    def weights(self, market):
        close = market.close.ffill()
        return np.sign(close.diff(6)) / len(market.symbols)


def mean_filled_leak(market):
    """Missing volume becomes the mean of the sample."""
    return market.volume.fillna(market.volume.mean())


def mean_filled_clean(market):
    return market.volume.fillna(market.volume.expanding().mean())


def warm_up_leak(market):
    """The first rows of an indicator take its first value, so that no row is lost."""
    mean = market.close.rolling(48).mean()
    return market.close / mean.bfill(limit=48) - 1


def warm_up_clean(market):
    mean = market.close.rolling(48, min_periods=1).mean()
    return market.close / mean - 1


def imputed_leak(market):
    """scikit-learn's imputer learns the medians of the sample."""
    from sklearn.impute import SimpleImputer

    returns = log_returns(market, 6)
    filled = SimpleImputer(strategy="median", keep_empty_features=True).fit_transform(returns)
    return pd.DataFrame(filled, returns.index, returns.columns)


def imputed_clean(market):
    returns = log_returns(market, 6)
    return returns.fillna(returns.rolling(240, min_periods=12).median())
