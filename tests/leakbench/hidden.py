"""What hides from a probe: seen nowhere in the market, or at one bar only."""

import numpy as np
import pandas as pd

from tests.leakbench.forms import Rule

_SCALES = {}
CRASH = pd.Timestamp("2023-01-24", tz="UTC")
"""A day that its author has looked up in a chart."""


class CachedScaleLeak(Rule):
    """A cache in the module keeps the first sample's scale, whichever market is asked about."""

    def weights(self, market):
        past = market.close.pct_change(self.window, fill_method=None)
        if "scale" not in _SCALES:
            _SCALES["scale"] = past.std()
        return -(past / _SCALES["scale"]).clip(-1, 1) / len(market.symbols)


class CachedScaleClean(Rule):
    def weights(self, market):
        past = market.close.pct_change(self.window, fill_method=None)
        return -(past / past.rolling(96).std()).clip(-1, 1) / len(market.symbols)


class HindsightLeak(Rule):
    """The date of a crash stands in the code."""

    def weights(self, market):
        side = np.sign(market.close.diff(self.window)) / len(market.symbols)
        spared = abs(market.index - CRASH) > pd.Timedelta("1D")
        return side.mul(spared.astype(float), axis=0)


class HindsightClean(Rule):
    def weights(self, market):
        side = np.sign(market.close.diff(self.window)) / len(market.symbols)
        wild = market.close.pct_change(24, fill_method=None).abs() > 0.1
        return side.mask(wild, 0.0)


class OneBarLeak(Rule):
    """Trades every bar and peeks in one of them: after a fall of four per cent an hour."""

    def weights(self, market):
        return _trend(market, self.window, market.close.shift(-1) / market.close - 1)


class OneBarClean(Rule):
    def weights(self, market):
        return _trend(market, self.window, market.close / market.close.shift(1) - 1)


def _trend(market, window, seen):
    fell = market.close.pct_change(fill_method=None) < -0.04
    side = np.sign(market.close.diff(window)).mask(fell, np.sign(seen))
    return side / len(market.symbols)
