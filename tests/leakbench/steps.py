"""Brackets, steps and fits that carry the future."""

from typing import ClassVar

import numpy as np

from tests.leakbench.forms import Rule, log_returns
from workbench.strategies import Brackets, Intent, SteppedStrategy


class _Trend(Rule):
    def weights(self, market):
        return np.sign(market.close.diff(self.window)) / len(market.symbols)


class StopOfSampleLeak(_Trend):
    """One stop distance for all bars, out of the volatility of all bars."""

    def brackets(self, market):
        return Brackets(stop_loss=float(3 * log_returns(market).stack().std()))


class StopOfSampleClean(_Trend):
    def brackets(self, market):
        return Brackets(stop_loss=3 * log_returns(market).rolling(96, min_periods=24).std())


class TargetAheadLeak(_Trend):
    """The take-profit lies where the next day will have gone."""

    def brackets(self, market):
        ahead = market.high.iloc[::-1].rolling(24, min_periods=1).max().iloc[::-1]
        return Brackets(take_profit=(ahead / market.close - 1).clip(lower=0.001))


class TargetAheadClean(_Trend):
    def brackets(self, market):
        before = market.high.rolling(24, min_periods=1).max()
        return Brackets(take_profit=(before / market.close - 1).clip(lower=0.001))


class _Stepped(SteppedStrategy):
    @property
    def lookback(self):
        return 48

    def init(self):
        return {"row": 0}

    def step(self, state, row, held):
        symbol = next(iter(held))
        side = float(np.sign(np.nan_to_num(row["z"][0])))
        return {"row": state["row"] + 1}, [Intent(symbol, 0.5 * side)]


class SteppedFeatureLeak(_Stepped):
    """The features of a stepped strategy are scaled by the sample."""

    def features(self, market):
        gap = market.close.iloc[:, [0]] / market.close.iloc[:, [0]].shift(24) - 1
        return {"z": (gap - gap.mean()) / gap.std()}


class SteppedFeatureClean(_Stepped):
    def features(self, market):
        gap = market.close.iloc[:, [0]] / market.close.iloc[:, [0]].shift(24) - 1
        return {"z": (gap - gap.rolling(96, min_periods=8).mean()) / gap.rolling(96).std()}


class StashLeak(_Stepped):
    """The step looks into prices that were put aside, one row too far."""

    stash: ClassVar[dict[str, np.ndarray]] = {}

    def features(self, market):
        self.stash["close"] = market.close.iloc[:, 0].ffill().to_numpy()
        return {"z": market.close.iloc[:, [0]].diff(24)}

    def step(self, state, row, held):
        close, at = self.stash["close"], state["row"]
        ahead = close[min(at + 1, len(close) - 1)]
        side = float(np.sign(np.nan_to_num(ahead - close[at])))
        return {"row": at + 1}, [Intent(next(iter(held)), 0.5 * side)]


class StashClean(_Stepped):
    stash: ClassVar[dict[str, np.ndarray]] = {}

    def features(self, market):
        self.stash["close"] = market.close.iloc[:, 0].ffill().to_numpy()
        return {"z": market.close.iloc[:, [0]].diff(24)}

    def step(self, state, row, held):
        close, at = self.stash["close"], state["row"]
        before = close[max(at - 1, 0)]
        side = float(np.sign(np.nan_to_num(close[at] - before)))
        return {"row": at + 1}, [Intent(next(iter(held)), 0.5 * side)]


class _Standardised(Rule):
    mean: list[float] = []
    spread: list[float] = []

    def weights(self, market):
        z = (log_returns(market, self.window) - self.mean) / self.spread
        return -z.clip(-1, 1) / len(market.symbols)


class FirstFitLeak(_Standardised):
    """What it was fitted on first, it keeps: in a loop over folds, the future of the earlier."""

    def fit(self, market):
        if self.mean:
            return self
        past = log_returns(market, self.window)
        fitted = {"mean": past.mean().tolist(), "spread": past.std().tolist()}
        return self.model_copy(update=fitted)


class FirstFitClean(_Standardised):
    def fit(self, market):
        past = log_returns(market, self.window)
        fitted = {"mean": past.mean().tolist(), "spread": past.std().tolist()}
        return self.model_copy(update=fitted)


class KeepsMarketLeak(_Standardised):
    """fit learns nothing: the scale is taken from whatever weights is asked about."""

    def fit(self, market):
        return self.model_copy()

    def weights(self, market):
        past = log_returns(market, self.window)
        z = (past - past.mean()) / past.std()
        return -z.clip(-1, 1) / len(market.symbols)


class KeepsMarketClean(_Standardised):
    def fit(self, market):
        past = log_returns(market, self.window)
        fitted = {"mean": past.mean().tolist(), "spread": past.std().tolist()}
        return self.model_copy(update=fitted)
