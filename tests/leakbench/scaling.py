"""Scales, ranks and cut-offs taken from the whole sample."""

import numpy as np
import pandas as pd
from scipy.signal import detrend
from sklearn.preprocessing import StandardScaler

from tests.leakbench.forms import Rule, log_returns


class ZScoreLeak(Rule):
    """The mean and the deviation are those of the sample."""

    def weights(self, market):
        spread = np.log(market.close / market.close.shift(self.window))
        z = (spread - spread.mean()) / spread.std()
        return -z.clip(-1, 1) / len(market.symbols)


class ZScoreClean(Rule):
    def weights(self, market):
        spread = np.log(market.close / market.close.shift(self.window))
        z = (spread - spread.expanding(48).mean()) / spread.expanding(48).std()
        return -z.clip(-1, 1) / len(market.symbols)


def scaler_leak(market):
    """scikit-learn's scaler, fitted on everything at once."""
    features = pd.concat({n: log_returns(market, n) for n in (1, 6, 24)}, axis=1).fillna(0.0)
    features.columns = [f"{symbol}.{n}" for n, symbol in features.columns]
    scaled = StandardScaler().fit_transform(features)
    return pd.DataFrame(scaled, features.index, features.columns)


def scaler_clean(market):
    features = pd.concat({n: log_returns(market, n) for n in (1, 6, 24)}, axis=1).fillna(0.0)
    features.columns = [f"{symbol}.{n}" for n, symbol in features.columns]
    scaler = StandardScaler().fit(features.iloc[:240])
    return pd.DataFrame(scaler.transform(features), features.index, features.columns).iloc[240:]


def min_max_leak(market):
    """Between the lowest and the highest price that there will have been."""
    low, high = market.close.min(), market.close.max()
    return (market.close - low) / (high - low)


def min_max_clean(market):
    low, high = market.close.cummin(), market.close.cummax()
    return (market.close - low) / (high - low)


def rank_leak(market):
    """The rank in time among all bars, those to come included."""
    return market.volume.rank(pct=True)


def rank_clean(market):
    return market.volume.rolling(240, min_periods=24).rank(pct=True)


class QuantileCutoffLeak(Rule):
    """Trades on the strongest tenth of the signals of the sample."""

    def weights(self, market):
        past = market.close.pct_change(self.window, fill_method=None)
        strong = past > past.quantile(0.9)
        return strong.astype(float) / len(market.symbols)


class QuantileCutoffClean(Rule):
    def weights(self, market):
        past = market.close.pct_change(self.window, fill_method=None)
        strong = past > past.expanding(48).quantile(0.9)
        return strong.astype(float) / len(market.symbols)


def winsorised_leak(market):
    """Outliers are cut off where the sample has its outer per cents."""
    returns = log_returns(market)
    return returns.clip(returns.quantile(0.01), returns.quantile(0.99), axis=1)


def winsorised_clean(market):
    returns = log_returns(market)
    past = returns.shift(1).expanding(48)
    return returns.clip(past.quantile(0.01), past.quantile(0.99))


def detrended_leak(market):
    """A straight line is laid through the whole sample and taken away."""
    logs = np.log(market.close.ffill()).fillna(0.0)
    return pd.DataFrame(detrend(logs, axis=0), logs.index, logs.columns)


def detrended_clean(market):
    logs = np.log(market.close.ffill()).fillna(0.0)
    return logs - logs.rolling(120, min_periods=24).mean()


class VolatilityTargetLeak(Rule):
    """Positions are scaled by the volatility of the sample."""

    def weights(self, market):
        side = np.sign(market.close.diff(self.window))
        volatility = log_returns(market).std()
        return (side * (0.005 / volatility).clip(upper=1.0)) / len(market.symbols)


class VolatilityTargetClean(Rule):
    def weights(self, market):
        side = np.sign(market.close.diff(self.window))
        volatility = log_returns(market).rolling(96, min_periods=48).std()
        return (side * (0.005 / volatility).clip(upper=1.0)) / len(market.symbols)


def beta_leak(market):
    """The beta against the first symbol, over everything."""
    returns = log_returns(market)
    lead = returns.iloc[:, 0]
    beta = returns.apply(lambda column: column.cov(lead) / lead.var())
    return returns.sub(np.outer(lead, beta))


def beta_clean(market):
    returns = log_returns(market)
    lead = returns.iloc[:, 0]
    beta = returns.apply(lambda c: c.rolling(240, min_periods=48).cov(lead))
    return returns.sub(beta.div(lead.rolling(240, min_periods=48).var(), axis=0).mul(lead, axis=0))


def volume_share_leak(market):
    """A running sum divided by what it will come to."""
    return market.turnover.cumsum() / market.turnover.sum()


def volume_share_clean(market):
    return market.turnover.cumsum() / market.turnover.cumsum().rolling(240, min_periods=1).max()


def binned_leak(market):
    """pd.cut spans its bins between the extremes of the sample."""
    returns = log_returns(market, 6)
    return returns.apply(lambda column: pd.cut(column, 5, labels=False))


def binned_clean(market):
    returns = log_returns(market, 6)
    edges = [-np.inf, -0.02, -0.005, 0.005, 0.02, np.inf]
    return returns.apply(lambda column: pd.cut(column, edges, labels=False))


class InverseVarianceLeak(Rule):
    """The shares of the account come from the covariance of the sample."""

    def weights(self, market):
        variance = log_returns(market).var()
        share = (1 / variance) / (1 / variance).sum()
        held = market.close.notna() & market.member
        return held.astype(float) * share


class InverseVarianceClean(Rule):
    def weights(self, market):
        inverse = 1 / log_returns(market).rolling(96, min_periods=48).var()
        share = inverse.div(inverse.sum(axis=1), axis=0)
        held = market.close.notna() & market.member
        return held.astype(float) * share
