"""Protects the comparison of allocations: no weight knows the future, no failure is made up for."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from workbench.data import synthesise
from workbench.portfolio.allocation import METHODS, estimate_moments
from workbench.portfolio.allocation import allocate as divide
from workbench.research import Allocated, compare_allocations, failures
from workbench.store import Store

SYMBOLS = ["BTCUSDT", "ETHUSDT", "SOLUSDT"]
SMALL = {"window_days": 60, "every": "week"}


@pytest.fixture(scope="module")
def market():
    """Five months of hours of three symbols."""
    return synthesise(SYMBOLS, n_bars=24 * 150, seed=4)


def test_equal_weights_begin_with_half_of_the_window_and_change_by_the_week(market):
    weights = Allocated(**SMALL).weights(market).dropna(how="all")
    assert weights.iloc[0].eq(0).all()
    held = weights[(weights > 0).all(axis=1)]
    assert (held == 1 / 3).all(axis=None)
    assert set(held.index.day_of_week) == {0}
    assert set(held.index.hour) == {0}
    first = held.index[0] - market.index[0]
    assert pd.Timedelta(days=30) <= first <= pd.Timedelta(days=38)


@pytest.mark.parametrize("method", ["risk_parity", "maximum_sharpe", "regime_aware"])
def test_weights_of_the_past_do_not_move_with_the_future(market, method):
    strategy = Allocated(method=method, **SMALL)
    full = strategy.weights(market)
    cut = market.index[24 * 120 + 5]
    changed = market.close.copy()
    changed.loc[changed.index > cut] *= np.linspace(1, 3, (changed.index > cut).sum())[:, None]
    for other in (market.until(cut), replace(market, close=changed)):
        pd.testing.assert_frame_equal(strategy.weights(other).loc[:cut], full.loc[:cut])


def test_weights_are_those_of_the_method_on_the_days_before(market):
    weights = Allocated(method="hrp", **SMALL).weights(market).dropna(how="all")
    moment = weights.index[-1]
    days = market.resample("D").close.pct_change().loc[:moment].tail(60)
    expected = divide(estimate_moments(days), method="hrp").weights
    pd.testing.assert_series_equal(weights.loc[moment], expected, check_names=False)


def test_method_that_finds_nothing_is_flat_and_counted(market):
    """Known trap: equal weights reported as a success of the optimiser."""
    falling = market.close * np.exp(-np.arange(market.n_bars) * 2e-3)[:, None]
    down = replace(market, **dict.fromkeys(("open", "high", "low", "close"), falling))
    weights = Allocated(method="maximum_sharpe", **SMALL).weights(down).dropna(how="all")
    assert (weights == 0).all(axis=None)


@pytest.mark.slow
def test_all_methods_are_walked_and_recorded(market, home):
    """PM-04: each is a trial; Black and Litterman need a view."""
    results = compare_allocations(market, views={"BTCUSDT": 0.001}, **SMALL)
    assert list(results) == ["equal", *METHODS]
    assert "black_litterman" not in compare_allocations(market, ["black_litterman"], **SMALL)
    for name, result in results.items():
        asked = result.weights.dropna(how="all")
        assert failures(result) <= len(asked) - 1
        assert (asked.sum(axis=1) <= 1 + 1e-3).all(), name
    with Store.open() as store:
        assert len(store.trials()) == len(results)
