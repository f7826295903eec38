"""Funding and its stamps."""

import numpy as np

from tests.leakbench.forms import Rule


class ComingStampLeak(Rule):
    """The rate that settles at the coming stamp, from the hour after the last one on."""

    def weights(self, market):
        rate = market.funding_settled.bfill(limit=7)
        return -np.sign(rate).fillna(0.0) / len(market.symbols)


class ComingStampClean(Rule):
    def weights(self, market):
        rate = market.funding_predicted
        return -np.sign(rate).fillna(0.0) / len(market.symbols)


class BeforeTheStampLeak(Rule):
    """In the bar before the stamp it takes the side that will be paid."""

    def weights(self, market):
        coming = market.funding_settled.shift(-1)
        return -np.sign(coming).fillna(0.0) / len(market.symbols)


class BeforeTheStampClean(Rule):
    def weights(self, market):
        is_before = (market.index + market.bar_length).hour % 8 == 0
        side = -np.sign(market.funding_predicted).mul(is_before.astype(float), axis=0)
        return side.fillna(0.0) / len(market.symbols)


def carry_leak(market):
    """What a day of funding will have cost."""
    ahead = market.funding_settled.iloc[::-1].rolling(24, min_periods=1).sum().iloc[::-1]
    return {"carry": -ahead}


def carry_clean(market):
    behind = market.funding_settled.rolling(24, min_periods=1).sum()
    return {"carry": -behind}


class RichestLeak(Rule):
    """Short what pays most over the sample, long what pays least."""

    def weights(self, market):
        mean = market.funding_settled.mean()
        side = (mean == mean.min()).astype(float) - (mean == mean.max())
        return market.close.notna().astype(float) * (side / 2)


class RichestClean(Rule):
    def weights(self, market):
        mean = market.funding_settled.rolling(96, min_periods=8).mean()
        side = mean.eq(mean.min(axis=1), axis=0).astype(float)
        side -= mean.eq(mean.max(axis=1), axis=0)
        return side / 2
