"""Protects the forecasts that reviews rest on: causal, the same bar by bar as all at once."""

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.markets import make_index
from workbench.risk.dependence import ewma_covariance
from workbench.risk.outlook import HALF_LIFE_DAYS, Backdrop, Forecaster, read_backdrops
from workbench.risk.regime import Regime, RegimeRules, detect_regimes
from workbench.risk.tails import normal_tail
from workbench.risk.volatility import decay_of

HOUR = timedelta(hours=1)


def walk(n_bars, n_symbols=3, seed=0, scale=0.01):
    """Returns of a random walk, as a frame by known_at."""
    moves = np.random.default_rng(seed).normal(0, scale, (n_bars, n_symbols))
    return pd.DataFrame(moves, index=make_index(n_bars), columns=list("ABC")[:n_symbols])


def outlook_of(prices):
    """The outlook after the last of some bars."""
    forecaster = Forecaster(prices.shape[1], bar_length=HOUR, level=0.95)
    for row in prices:
        forecaster.update(row, row)
    n = prices.shape[1]
    return forecaster.outlook(Backdrop(), turnover_usdt=np.full(n, 1e9), scales=np.ones(1))


@given(st.integers(2, 60), st.integers(0, 2**32 - 1), st.floats(0, 0.4))
def test_forecaster_bar_by_bar_is_the_covariance_of_all_bars_to_the_last_bit(n_bars, seed, gaps):
    """The same in the loop of a backtest, in replay and live."""
    rng = np.random.default_rng(seed)
    prices = 100 * np.exp(rng.normal(0, 0.01, (n_bars, 3)).cumsum(axis=0))
    prices[rng.random(prices.shape) < gaps] = np.nan
    seen = pd.DataFrame(prices).ffill().shift(1)
    returns = pd.DataFrame(prices) / seen - 1.0
    decay = decay_of(HALF_LIFE_DAYS * 24)
    whole = ewma_covariance(returns, decay=decay)[-1] * 24
    np.testing.assert_array_equal(outlook_of(prices).covariance, whole)


def test_forecaster_of_a_missing_bar_keeps_the_price_and_counts_its_age():
    seen = outlook_of(np.array([[1.0, 2.0], [np.nan, 3.0], [np.nan, np.nan]]))
    np.testing.assert_array_equal(seen.price, [1.0, 3.0])
    np.testing.assert_array_equal(seen.mark, [1.0, 3.0])
    np.testing.assert_array_equal(seen.age_bars, [2.0, 1.0])


def test_forecaster_without_a_history_of_tails_takes_no_lighter_one_than_the_normal():
    seen = outlook_of(np.array([[1.0], [2.0]]))
    assert seen.tail >= normal_tail(0.0, 1.0, level=0.95).value_at_risk
    assert seen.regime is Regime.UNKNOWN
    assert np.isnan(seen.volatility_ratio)


@settings(max_examples=10)
@given(st.integers(300, 500), st.integers(0, 2**32 - 1))
def test_read_backdrops_of_a_prefix_are_those_of_the_whole(stop, seed):
    """Nothing reads the future."""
    rules = RegimeRules(usual_days=20)
    returns = walk(500, seed=seed)
    whole = read_backdrops(returns, bar_length=HOUR, level=0.95, rules=rules)
    part = read_backdrops(returns.iloc[:stop], bar_length=HOUR, level=0.95, rules=rules)
    for one, other in zip(part, whole[:stop], strict=True):
        np.testing.assert_array_equal(one, other)


def test_read_backdrops_are_the_regimes_that_are_detected():
    rules = RegimeRules(usual_days=20)
    returns = walk(600)
    table = detect_regimes(returns, bar_length=HOUR, rules=rules)
    seen = read_backdrops(returns, bar_length=HOUR, level=0.95, rules=rules)
    assert [int(row.regime) for row in seen] == table["regime"].tolist()
    assert len({row.regime for row in seen}) > 1


def test_read_backdrops_of_too_short_a_history_are_unknown_and_say_so():
    seen = read_backdrops(walk(100), bar_length=HOUR, level=0.95)
    assert {row.regime for row in seen} == {Regime.UNKNOWN}


@pytest.mark.parametrize("level", [0.95, 0.99])
def test_read_backdrops_of_normal_returns_find_the_normal_tail(level):
    returns = walk(6_000, 1, seed=4)
    seen = read_backdrops(returns, bar_length=HOUR, level=level)[-1]
    expected = normal_tail(0.0, 1.0, level=level).value_at_risk
    assert seen.tail == pytest.approx(expected, rel=0.06)
