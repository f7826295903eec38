"""Protects the volatility estimators: unbiased where they say so, causal, and honest about gaps."""

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.markets import make_market, random_market
from tests.risk.simulated import brownian_bars
from workbench.core.errors import DataError
from workbench.core.measures import downside_deviation
from workbench.risk.volatility import (
    HORIZONS,
    decay_of,
    estimate_volatility,
    ewma,
    ewma_variance,
    realised_horizons,
    semivariance,
    trailing_mean,
    volatility_of_volatility,
)

YEAR = 8_760
ALL = ["close", "parkinson", "garman_klass", "rogers_satchell", "yang_zhang"]
BARS = 40_000


def last_of(bars, estimator):
    """The estimate over all bars but the first, as a deviation per bar."""
    window = len(bars["close"]) - 1
    table = estimate_volatility(make_market(**bars), estimator=estimator, window=window)
    return table.iloc[-1, 0] / np.sqrt(YEAR)


@pytest.mark.parametrize("estimator", ALL)
def test_estimator_is_unbiased_on_brownian_motion(estimator):
    """RK-12: within 3.5 standard errors, which are 0.35 per cent for closes and half of it else."""
    bars = brownian_bars(1, BARS, sd=0.01)
    tolerance = 0.012 if estimator == "close" else 0.006
    assert last_of(bars, estimator) == pytest.approx(0.01, rel=tolerance)


@pytest.mark.parametrize("estimator", ["rogers_satchell", "yang_zhang"])
def test_estimator_that_takes_no_drift_as_given_is_unbiased_with_one(estimator):
    bars = brownian_bars(2, BARS, sd=0.01, drift=0.01)
    assert last_of(bars, estimator) == pytest.approx(0.01, rel=0.014)
    assert last_of(bars, "parkinson") > 0.0115


def test_yang_zhang_alone_sees_gaps_with_the_range():
    bars = brownian_bars(3, BARS, sd=0.01, gap=0.01)
    assert last_of(bars, "yang_zhang") == pytest.approx(0.01 * np.sqrt(2), rel=0.014)
    assert last_of(bars, "close") == pytest.approx(0.01 * np.sqrt(2), rel=0.014)
    assert last_of(bars, "parkinson") == pytest.approx(0.01, rel=0.014)


def test_parkinson_of_a_hundred_trades_is_short_by_what_the_docstring_says():
    bars = brownian_bars(4, BARS, sd=0.01, steps=100, is_watched=False)
    assert last_of(bars, "parkinson") == pytest.approx(0.0093, rel=0.01)


def test_yang_zhang_weighs_bodies_and_ranges_by_its_formula():
    market = random_market(12, n_bars=6, n_symbols=1)
    o, h, low, c = (np.log(getattr(market, n).iloc[:, 0]) for n in ("open", "high", "low", "close"))
    n, k = 5, 0.34 / (1.34 + 6 / 4)
    inside = ((h - c) * (h - o) + (low - c) * (low - o)).iloc[1:].mean()
    variance = (o - c.shift()).var() + k * (c - o).iloc[1:].var() + (1 - k) * inside
    got = estimate_volatility(market, window=n).iloc[-1, 0]
    assert got == pytest.approx(np.sqrt(variance * YEAR), rel=1e-9)


def test_range_estimators_are_more_efficient_than_closes():
    bars = make_market(**brownian_bars(5, 20_000, sd=0.01))
    spread = {
        name: estimate_volatility(bars, estimator=name, window=24).std().iloc[0] for name in ALL
    }
    assert spread["parkinson"] < 0.55 * spread["close"]
    assert max(spread["garman_klass"], spread["yang_zhang"]) < 0.5 * spread["close"]


def test_downside_is_the_downside_deviation_of_log_returns():
    market = random_market(6, n_bars=100, n_symbols=1)
    returns = np.diff(np.log(market.close.iloc[:, 0].to_numpy()))
    got = estimate_volatility(market, estimator="downside", window=99).iloc[-1, 0]
    assert got == pytest.approx(downside_deviation(returns) * np.sqrt(YEAR), rel=1e-12)
    assert semivariance(np.array([-0.1, 0.1])).tolist() == pytest.approx([0.01, 0.0])


@given(seed=st.integers(0, 99), cut=st.integers(30, 80), estimator=st.sampled_from(ALL))
def test_estimate_on_a_prefix_equals_the_full_one_to_the_last_bit(seed, cut, estimator):
    market = random_market(seed, n_bars=90)
    full = estimate_volatility(market, estimator=estimator, window=12)
    part = estimate_volatility(market.until(market.index[cut - 1]), estimator=estimator, window=12)
    pd.testing.assert_frame_equal(full.iloc[:cut], part, check_exact=True, check_freq=False)


@pytest.mark.parametrize("estimator", ALL)
def test_missing_bar_is_missing_in_its_windows_and_nowhere_else(estimator):
    market = random_market(7, n_bars=60)
    clean = estimate_volatility(market, estimator=estimator, window=5)
    for name in ("open", "high", "low", "close"):
        table = getattr(market, name).copy()
        table.iloc[30, 0] = np.nan
        object.__setattr__(market, name, table)
    holed = estimate_volatility(market, estimator=estimator, window=5)
    gone = holed.iloc[:, 0].isna() & clean.iloc[:, 0].notna()
    needs_the_close_before = estimator in {"close", "yang_zhang"}
    assert np.flatnonzero(gone).tolist() == list(range(30, 35 + needs_the_close_before))
    pd.testing.assert_series_equal(clean.iloc[:, 1], holed.iloc[:, 1], check_exact=True)


@pytest.mark.parametrize("estimator", ALL)
def test_prices_that_stand_still_have_no_volatility(estimator):
    market = make_market(close=[5.0] * 20)
    assert estimate_volatility(market, estimator=estimator, window=10).iloc[-1, 0] == 0.0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"low": [1.0, 0.0, 1.0]}, "BBB|AAAUSDT at"),
        ({"high": [2.0, 0.9, 2.0]}, "AAAUSDT at"),
        ({"open": [1.0, 3.0, 1.0]}, "AAAUSDT at"),
    ],
)
def test_bar_that_cannot_be_is_refused_by_name(changes, said):
    bars = {"open": [1.0] * 3, "high": [2.0] * 3, "low": [0.5] * 3, "close": [1.0] * 3} | changes
    with pytest.raises(DataError, match=said):
        estimate_volatility(make_market(**bars), window=2)


def test_unknown_estimator_and_short_windows_are_refused():
    market = random_market(8, n_bars=20)
    with pytest.raises(DataError, match="no estimator 'atr'"):
        estimate_volatility(market, estimator="atr", window=5)
    with pytest.raises(DataError, match="too short"):
        estimate_volatility(market, estimator="yang_zhang", window=1)
    with pytest.raises(DataError, match="too short"):
        trailing_mean(np.ones(5), window=0)


def test_single_bar_has_no_estimate():
    market = make_market(close=[5.0])
    assert estimate_volatility(market, window=2).isna().all().all()


@pytest.mark.parametrize(
    ("interval", "names"),
    [
        ("5", ["1h", "4h", "24h", "7d"]),
        ("60", ["1h", "4h", "24h", "7d"]),
        ("D", ["24h", "7d"]),
        ("W", ["7d"]),
    ],
)
def test_realised_horizons_are_those_that_the_bars_fit(interval, names):
    """RK-12: 1 h, 4 h, 24 h and 7 d, annualised with 365 days of 24 hours."""
    rng = np.random.default_rng(9)
    n = timedelta(days=22) // make_market(interval=interval, close=[1.0]).bar_length
    market = make_market(interval=interval, close=np.exp(0.01 * rng.standard_normal(n).cumsum()))
    got = realised_horizons(market)
    assert list(got) == names
    squares = np.log(market.close).diff().pow(2)
    for name, table in got.items():
        window = HORIZONS[name] // market.bar_length
        expected = np.sqrt(squares.iloc[-window:].mean() * market.bars_per_year)
        assert table.iloc[-1, 0] == pytest.approx(expected.iloc[0], rel=1e-12)


@given(
    values=st.lists(st.floats(0, 10), min_size=1, max_size=60),
    decay=st.floats(0.5, 0.99),
    start=st.floats(0.1, 5),
)
def test_ewma_equals_the_recursion_and_pandas(values, decay, start):
    x = np.array(values)
    scaled = pd.Series(x).ewm(alpha=1 - decay, adjust=True).mean().to_numpy()
    np.testing.assert_allclose(ewma(x, decay=decay)[1:], scaled, rtol=1e-9, atol=1e-12)
    given_start = pd.Series([start, *x]).ewm(alpha=1 - decay, adjust=False).mean().to_numpy()
    np.testing.assert_allclose(ewma(x, decay=decay, start=start), given_start, rtol=1e-9)


def test_ewma_forecast_does_not_know_its_own_bar():
    x = np.random.default_rng(10).standard_normal(50)
    changed = x.copy()
    changed[30:] = 9.0
    np.testing.assert_array_equal(ewma_variance(x)[:31], ewma_variance(changed)[:31])
    assert ewma_variance(changed)[31] > ewma_variance(x)[31]


def test_ewma_keeps_its_mean_where_a_value_is_missing():
    x = np.array([[1.0, 1.0], [np.nan, 4.0], [9.0, 9.0]])
    got = ewma(x, decay=0.5, start=np.array([1.0, 1.0]))
    assert got[2].tolist() == [1.0, 2.5]
    assert got[3, 0] == 5.0
    assert np.isnan(ewma(np.array([np.nan, 1.0]))).tolist() == [True, True, False]


def test_decay_halves_weights_in_its_half_life():
    assert decay_of(10) ** 10 == pytest.approx(0.5)
    with pytest.raises(DataError, match="half-life"):
        decay_of(0)
    with pytest.raises(DataError, match="decay"):
        ewma(np.ones(3), decay=1.0)


def test_volatility_of_volatility_is_free_of_the_level():
    rng = np.random.default_rng(11)
    logs = 0.1 * rng.standard_normal((2_000, 1)).cumsum(axis=0)
    table = pd.DataFrame(np.exp(logs))
    got = volatility_of_volatility(table, window=1_999, periods=365)
    assert got.iloc[-1, 0] == pytest.approx(0.1 * np.sqrt(365), rel=0.05)
    pd.testing.assert_frame_equal(
        got, volatility_of_volatility(7 * table, window=1_999, periods=365), rtol=1e-9
    )
    still = volatility_of_volatility(pd.DataFrame(np.zeros((9, 1))), window=3, periods=365)
    assert still.isna().all().all()
