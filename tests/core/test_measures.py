"""Protects the measures: published values, an independent library, and what must always hold."""

import empyrical
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numba import njit

from tests import refcases
from workbench.core import measures
from workbench.core.errors import DataError

PERIODS = 8760.0
COMPILED = ("sharpe", "sortino", "total_return", "annual_volatility", "max_drawdown")

returns_of = arrays(
    np.float64, st.integers(3, 200), elements=st.floats(-0.5, 0.5).map(lambda x: round(x, 6))
)


@pytest.fixture(scope="module")
def series():
    return np.random.default_rng(1).standard_t(4, 5_000) * 0.005 + 1e-4


def test_measures_published_cases_are_met(shared_data):
    """BT-09: PerformanceAnalytics and Bacon (2008)."""
    outcomes = refcases.run_file(shared_data.parent / "refcases" / "performance_metrics.json")
    assert len(outcomes) >= 5
    assert [o for o in outcomes if not o.is_passed] == []


YEARLY = {"annualization": PERIODS}
ORACLES = [
    (measures.total_return, empyrical.cum_returns_final, {}),
    (measures.max_drawdown, lambda r: -empyrical.max_drawdown(r), {}),
    (lambda r: measures.sharpe(r, PERIODS), empyrical.sharpe_ratio, YEARLY),
    (lambda r: measures.sortino(r, PERIODS), empyrical.sortino_ratio, YEARLY),
    (lambda r: measures.cagr(r, PERIODS), empyrical.annual_return, YEARLY),
    (lambda r: measures.annual_volatility(r, PERIODS), empyrical.annual_volatility, YEARLY),
    (lambda r: measures.calmar(r, PERIODS), empyrical.calmar_ratio, YEARLY),
    (measures.omega, empyrical.omega_ratio, {"annualization": 1}),
    (measures.tail_ratio, empyrical.tail_ratio, {}),
    (measures.value_at_risk, lambda r: -empyrical.value_at_risk(r, 0.05), {}),
    (measures.downside_deviation, empyrical.downside_risk, {"annualization": 1}),
]


@pytest.mark.parametrize(("ours", "theirs", "options"), ORACLES)
def test_measure_equals_empyrical(series, ours, theirs, options):
    assert ours(series) == pytest.approx(float(theirs(series, **options)), rel=1e-9)


@pytest.mark.parametrize("name", COMPILED)
def test_measure_compiled_equals_itself(series, name):
    function = getattr(measures, name)
    more = () if name in ("total_return", "max_drawdown") else (PERIODS,)
    assert njit(function)(series, *more) == pytest.approx(function(series, *more), rel=1e-12)


@given(returns_of)
def test_expected_shortfall_is_the_minimum_of_rockafellar_and_uryasev(returns):
    level = 0.5
    losses = -returns
    objective = [c + np.maximum(losses - c, 0).sum() / (len(losses) * (1 - level)) for c in losses]
    ours = measures.expected_shortfall(returns, level=level)
    assert ours == pytest.approx(min(objective), abs=1e-9)
    assert ours >= measures.value_at_risk(returns, level=level) - 0.5


@given(returns_of)
def test_drawdown_table_holds_the_deepest_and_covers_the_path(returns):
    table = measures.drawdowns(returns)
    path = measures.drawdown_path(returns)
    assert measures.max_drawdown(returns) == pytest.approx(path.max(), abs=1e-12)
    assert (table["depth"].max() if len(table) else 0.0) == pytest.approx(path.max(), abs=1e-12)
    assert (table["to_trough"] <= table["length"]).all()


@given(returns_of, st.floats(0.1, 3))
def test_sharpe_does_not_depend_on_scale(returns, scale):
    assert measures.sharpe(returns * scale, PERIODS) == pytest.approx(
        measures.sharpe(returns, PERIODS), rel=1e-6, abs=1e-6
    )


def test_annualisation_uses_every_day_of_the_year():
    """Trap: 252 days for a market that never closes."""
    daily = np.array([0.01, -0.01] * 50)
    assert measures.annual_volatility(daily, 365) == pytest.approx(daily.std(ddof=1) * 365**0.5)


def test_first_bar_loss_is_a_drawdown():
    """Trap: the start of the equity counts as a peak."""
    assert measures.max_drawdown(np.array([-0.1, 0.05])) == pytest.approx(0.1)


def test_flat_returns_measure_zero_and_not_nan():
    named = measures.measure_returns(np.zeros(100), periods=PERIODS)
    assert {k: v for k, v in named.items() if v != 0 and k != "expected_shortfall_97.5"} == {}


def test_kelly_without_an_edge_is_zero():
    assert measures.kelly_fraction(np.array([1.0, -1.0, -1.0])) == 0
    assert measures.kelly_fraction(np.array([1.0, 1.0, -1.0])) == pytest.approx(1 / 3)


def test_at_least_twenty_five_measures_are_named():
    assert len(measures.RETURN_MEASURES) + len(measures.TRADE_MEASURES) >= 25


@pytest.mark.parametrize("bad", [[], [0.1, float("nan")], [float("inf")]])
def test_measure_of_bad_returns_is_refused(bad):
    with pytest.raises(DataError):
        measures.measure_returns(np.array(bad), periods=PERIODS)


def test_expected_shortfall_of_less_than_a_bar_is_refused():
    with pytest.raises(DataError, match=r"0\.25 of a bar"):
        measures.expected_shortfall(np.full(10, 0.1))


def test_equal_returns_have_no_sharpe_ratio_and_no_shape():
    """Trap: rounding leaves a spread of 1e-17, and a ratio of 1e15."""
    equal = np.full(100, 0.1)
    assert measures.sharpe(equal, 365.0) == 0
    assert measures.skewness(equal) == measures.excess_kurtosis(equal) == 0


def test_total_loss_is_a_loss_of_everything_and_no_more():
    ruined = np.array([0.1, -1.5, 0.2])
    assert measures.max_drawdown(ruined) == 1
    assert measures.cagr(ruined, 365.0) == -1


def test_cagr_of_a_short_strong_run_overflows_in_silence():
    assert measures.cagr(np.array([5.0]), 525_600.0) == np.inf
