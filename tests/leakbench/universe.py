"""Symbols chosen by how they ended."""

import numpy as np

from tests.leakbench.forms import Rule


class SurvivorsLeak(Rule):
    """Only what still trades on the last day is traded."""

    def weights(self, market):
        alive = market.close.iloc[-1].notna()
        side = np.sign(market.close.diff(self.window))
        return side.where(alive, 0.0, axis=1) / max(alive.sum(), 1)


class SurvivorsClean(Rule):
    def weights(self, market):
        alive = market.member & market.close.notna()
        side = np.sign(market.close.diff(self.window)).where(alive, 0.0)
        return side.div(alive.sum(axis=1).clip(lower=1), axis=0)


class LiquidLeak(Rule):
    """The two symbols with the highest turnover of the sample."""

    def weights(self, market):
        liquid = market.turnover.mean().rank(ascending=False) <= 2
        return np.sign(market.close.diff(self.window)) * (0.5 * liquid)


class LiquidClean(Rule):
    def weights(self, market):
        turnover = market.turnover.rolling(96, min_periods=24).mean()
        liquid = turnover.rank(axis=1, ascending=False) <= 2
        return np.sign(market.close.diff(self.window)) * (0.5 * liquid)


def complete_columns_leak(market):
    """Symbols with a gap anywhere are thrown out before anything else is done."""
    close = market.close.dropna(axis=1, thresh=int(0.85 * market.n_bars))
    return close.pct_change(24, fill_method=None).rank(axis=1, pct=True)


def complete_columns_clean(market):
    present = market.close.notna().rolling(240, min_periods=1).mean() > 0.85
    return market.close.pct_change(24, fill_method=None).where(present).rank(axis=1, pct=True)


class StatusLeak(Rule):
    """The instrument's status is that of today, whatever bar is asked for."""

    def weights(self, market):
        trading = [s for s in market.symbols if market.instruments[s].status == "Trading"]
        side = np.sign(market.close[trading].diff(self.window)) / max(len(trading), 1)
        return side.reindex(columns=market.symbols, fill_value=0.0)


class StatusClean(Rule):
    def weights(self, market):
        side = np.sign(market.close.diff(self.window)).where(market.member, 0.0)
        return side.div(market.member.sum(axis=1).clip(lower=1), axis=0)


class WinnersLeak(Rule):
    """Bought is what will have risen most: the names that everybody remembers."""

    def weights(self, market):
        close = market.close.ffill()
        risen = close.iloc[-1] / close.bfill().iloc[0] - 1
        held = market.close.notna() & market.member
        return held.astype(float) * (risen == risen.max())


class WinnersClean(Rule):
    def weights(self, market):
        close = market.close.ffill()
        risen = close / close.shift(self.window) - 1
        held = market.close.notna() & market.member
        return held.astype(float) * risen.eq(risen.max(axis=1), axis=0)
