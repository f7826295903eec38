"""Protects the lookback probe: a window too short is caught, however rarely it decides."""

from typing import ClassVar

import numpy as np
import pandas as pd
import pytest

from tests.markets import random_market
from workbench.core.errors import DataError
from workbench.strategies import Strategy
from workbench.strategies.probe import probe_lookback


class Rare(Strategy):
    """Decides every so many bars by a mean of ``window``, and says that it needs ``says``."""

    needs: ClassVar[tuple[str, ...]] = ("close",)
    every: int = 168
    window: int = 100
    says: int = 100

    @property
    def lookback(self):
        return self.says

    def weights(self, market):
        mean = market.close.rolling(self.window, min_periods=1).mean()
        weights = np.tanh(market.close / mean - 1)
        hours = pd.DatetimeIndex(market.index).asi8 // 3_600_000_000
        weights[hours % self.every != 0] = np.nan
        return weights


class Ahead(Rare):
    """Looks at the next bar."""

    def weights(self, market):
        return np.tanh(market.close.shift(-1) / market.close - 1).fillna(0.5)


@pytest.fixture(scope="module")
def market():
    return random_market(1, n_bars=3_000)


@pytest.mark.parametrize("every", [1, 24, 168])
def test_lookback_that_is_enough_passes(market, every):
    report = probe_lookback(Rare(every=every), market)
    assert report.is_enough
    assert report.needed == 100


@pytest.mark.parametrize("every", [1, 24, 168])
def test_lookback_too_short_is_caught_and_the_right_one_named(market, every):
    """Trap: between rare decisions both sides keep what they hold, and agree about nothing."""
    report = probe_lookback(Rare(every=every, says=60), market)
    assert not report.is_enough
    assert 95 <= report.needed <= 100
    assert report.worst_difference > 1e-5


def test_strategy_that_looks_ahead_needs_no_lookback_that_exists(market):
    report = probe_lookback(Ahead(), market)
    assert not report.is_enough
    assert report.needed is None


def test_market_too_short_is_refused(market):
    with pytest.raises(DataError, match="cannot probe"):
        probe_lookback(Rare(), market.until(market.index[50]))
