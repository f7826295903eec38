"""Protects sizes: published numbers, budgets met, and nothing where nothing is known."""

from math import nan, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import refcases
from tests.risk.simulated import garch_returns
from workbench.core.errors import DataError
from workbench.core.measures import annual_volatility
from workbench.risk import sizing
from workbench.risk.regime import Regime
from workbench.risk.sizing import RiskSchedule, risk_fraction, risk_parity, risk_shares
from workbench.risk.volatility import ewma_variance

SCHEDULE = RiskSchedule(high=0.02, low=0.005)
LINEAR = SCHEDULE._replace(decay="linear")
DAYS = 365.0


def test_published_cases_all_hold(shared_data):
    """RK-05, RK-06, RK-07; hierarchical risk parity is the portfolio room's."""
    outcomes = refcases.run_file(shared_data.parent / "refcases" / "sizing_allocation.json")
    mine = [o for o in outcomes if o.method != "hrp"]
    assert len(mine) == 7
    assert [o for o in mine if not o.is_passed] == []


@pytest.mark.parametrize("schedule", [SCHEDULE, LINEAR])
def test_risk_per_trade_falls_from_two_per_cent_to_half_of_one_without_a_jump(schedule):
    """RK-03, default numbers 2: unstretched, the exponential jumped from 0.70 to 0.50 per cent."""
    usdt = np.geomspace(1e3, 1e6, 2_000)
    risks = np.array([risk_fraction(float(e), schedule) for e in usdt])
    assert (risks[usdt <= 1e4] == 0.02).all()
    assert (risks[usdt >= 1e5] == 0.005).all()
    steps = np.diff(risks)
    assert (steps <= 0).all()
    assert steps.min() > -2e-4
    assert risk_fraction(1e5 - 1e-3, schedule) == pytest.approx(0.005, abs=1e-9)


def test_risk_per_trade_decays_as_its_schedule_says():
    """Default numbers 2: exp(-2x), stretched so that it ends where it must; half way, linear."""
    assert risk_fraction(55e3, LINEAR) == pytest.approx(0.0125)
    slope = [risk_fraction(1e4 + 9e4 * x, SCHEDULE) for x in (0.0, 0.5, 1.0)]
    ratio = (slope[1] - slope[2]) / (slope[0] - slope[1])
    assert ratio == pytest.approx(np.exp(-1.0))
    assert risk_fraction(1e9, RiskSchedule(0.01, 0.01)) == 0.01
    assert np.isnan(risk_fraction(nan, SCHEDULE))


@given(
    equity=st.floats(1e2, 1e7), risk=st.floats(1e-4, 0.05), distance=st.floats(1e-3, 0.9)
)  # fmt: skip
def test_fixed_fractional_loses_its_fraction_at_the_stop(equity, risk, distance):
    """RK-05."""
    value = sizing.fixed_fractional(equity, risk, distance)
    assert value * distance == pytest.approx(risk * equity)


def test_what_has_no_stop_or_forecast_is_not_sized_and_spoils_no_other():
    values = sizing.fixed_fractional(1e4, 0.01, np.array([0.05, nan, 0.0, -0.1]))
    assert values[0] == pytest.approx(2_000)
    assert np.isnan(values[1:]).all()
    for sized in (
        sizing.volatility_target(np.array([0.5, nan, 0.0]), target=0.25, ceiling=3.0),
        sizing.volatility_multiplier(np.array([0.5, nan, 0.0]), 0.25, floor=0.1),
    ):
        assert sized[0] == pytest.approx(0.5)
        assert np.isnan(sized[1:]).all()


@pytest.mark.parametrize("seed", range(3))
def test_volatility_target_is_met_on_simulated_clusters(seed):
    """RK-05: within 10 per cent, causally, though the volatility itself wanders."""
    returns = garch_returns(seed, 6_000, nu=8.0, sd=0.04)[:, 0]
    forecast = np.sqrt(ewma_variance(returns)[:-1] * DAYS)
    multiple = np.nan_to_num(sizing.volatility_target(forecast, target=0.4, ceiling=5.0))
    reached = annual_volatility((multiple * returns)[100:], DAYS)
    assert reached == pytest.approx(0.4, rel=0.1)
    assert annual_volatility(returns, DAYS) > 0.5


def test_volatility_target_keeps_floor_and_ceiling():
    multiples = sizing.volatility_target(
        np.array([1e-6, 0.1, 10.0]), target=0.2, floor=0.5, ceiling=3.0
    )
    assert multiples.tolist() == [3.0, 2.0, 0.5]


@st.composite
def covariances(draw):
    n = draw(st.integers(2, 20))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    factors = rng.standard_normal((n, draw(st.integers(1, 4))))
    common = draw(st.floats(0, 3))
    sigma = common * factors @ factors.T + np.diag(rng.uniform(0.05, 1.0, n))
    scale = np.exp(rng.uniform(-3, 3, n)) * 0.01
    budgets = rng.uniform(0.01, 1.0, n) if draw(st.booleans()) else None
    return sigma * np.outer(scale, scale), budgets


@settings(max_examples=150, deadline=None)
@given(covariances())
def test_risk_contributions_equal_their_budgets(case):
    """RK-07: within 1e-3 for 2 to 20 assets; here within 1e-8, for unequal ones and hedges too."""
    sigma, budgets = case
    weights = risk_parity(sigma, budgets=budgets)
    asked = np.full(len(sigma), 1 / len(sigma)) if budgets is None else budgets / budgets.sum()
    assert weights.sum() == pytest.approx(1.0)
    assert (weights > 0).all()
    assert risk_shares(weights, sigma) == pytest.approx(asked, abs=1e-8)


def test_risk_parity_without_correlation_is_by_one_over_volatility():
    sd = np.array([0.2, 0.5, 1.0])
    assert risk_parity(np.diag(sd**2)) == pytest.approx((1 / sd) / (1 / sd).sum())
    assert sizing.inverse_variance(np.diag(sd**2)) == pytest.approx((1 / sd**2) / (1 / sd**2).sum())


@pytest.mark.parametrize(
    ("sigma", "budgets", "said"),
    [
        (np.array([[1.0, nan], [nan, 1.0]]), None, "lacks values"),
        (np.array([[1.0, 1.0], [1.0, 1.0]]), None, "no inverse"),
        (np.diag([1.0, 0.0]), None, "no inverse"),
        (np.array([[1.0, 0.5], [0.1, 1.0]]), None, "not symmetric"),
        (np.eye(2), np.array([1.0, 0.0]), "no budgets"),
        (np.eye(2), np.ones(3), "no budgets"),
    ],
)
def test_risk_parity_that_cannot_be_is_refused_and_never_equal_weights(sigma, budgets, said):
    with pytest.raises(DataError, match=said):
        risk_parity(sigma, budgets=budgets)


SIZES = st.lists(st.floats(0.01, 100), min_size=2, max_size=5)


@given(sizes=SIZES, seed=st.integers(0, 99), factor=st.floats(0.1, 10))
def test_blend_lies_between_its_sizers_and_scales_with_them(sizes, seed, factor):
    """RK-09."""
    x, w = np.array(sizes), np.random.default_rng(seed).uniform(0.1, 1, len(sizes))
    blended = sizing.blend(x, w)
    assert x.min() * (1 - 1e-9) <= blended <= (w @ x) / w.sum() * (1 + 1e-9)
    assert sizing.blend(factor * x, 3 * w) == pytest.approx(factor * blended)


def test_blend_gives_zero_where_one_vetoes_and_asks_nobody_of_no_weight():
    """RK-09: by symbol; a missing size stays missing there and nowhere else."""
    sizes = np.array([[2.0, 2.0, nan], [0.0, 8.0, 1.0], [5.0, 0.0, 1.0]])
    blended = sizing.blend(sizes, np.array([1.0, 1.0, 0.0]))
    assert blended[:2] == pytest.approx([0.0, 4.0])
    assert np.isnan(blended[2])


@pytest.mark.parametrize(
    ("sizes", "weights"),
    [([1.0, 2.0], [1.0]), ([1.0, 2.0], [0.0, 0.0]), ([1.0, 2.0], [2.0, -1.0]), ([-1.0, 1], [1, 1])],
)
def test_blend_of_what_is_no_size_is_refused(sizes, weights):
    with pytest.raises(DataError, match="cannot be blended"):
        sizing.blend(np.array(sizes), np.array(weights))


@pytest.mark.parametrize(
    ("regime", "left"),
    [
        (Regime.LOW, 1.0), (Regime.NORMAL, 1.0), (Regime.HIGH, 0.6), (Regime.CRISIS, 0.25),
        (Regime.UNKNOWN, 0.6),
    ],
)  # fmt: skip
def test_regime_multiplier_follows_its_table(regime, left):
    """RK-17; what is not known is not taken as calm."""
    assert sizing.regime_multiplier(regime, normal=1.0, high=0.6, crisis=0.25) == left


@given(
    rho=st.floats(-0.2, 1), n=st.integers(2, 30), usual=st.floats(0.0, 1), floor=st.floats(0.01, 1)
)  # fmt: skip
def test_correlation_multiplier_brings_a_basket_back_to_its_usual_risk(rho, n, usual, floor):
    """RK-09, RK-17: bounded, and by the volatility of a basket, which is computed afresh here."""
    left = sizing.correlation_multiplier(rho, n, usual=usual, floor=floor)

    def basket(r):
        w = np.full(n, 1 / n)
        return sqrt(max(float(w @ (r + (1 - r) * np.eye(n)) @ w), 0.0))

    assert floor <= left <= 1.0
    if floor < left < 1.0:
        assert left * basket(rho) == pytest.approx(basket(usual))
    assert (left == 1.0) == (basket(rho) <= basket(usual) or floor == 1.0)


def test_correlation_that_is_missing_counts_as_one():
    given_one, missing = (
        sizing.correlation_multiplier(rho, 5, usual=0.4, floor=0.1) for rho in (1.0, nan)
    )
    assert missing == given_one < 1.0
    assert sizing.correlation_multiplier(nan, 1, usual=0.4, floor=0.1) == 1.0


@given(forecast=st.floats(1e-3, 10), usual=st.floats(1e-3, 10), floor=st.floats(0.01, 1))
def test_volatility_multiplier_is_bounded_and_never_adds(forecast, usual, floor):
    """RK-17."""
    left = float(sizing.volatility_multiplier(forecast, usual, floor=floor))
    assert left == pytest.approx(min(1.0, max(floor, usual / forecast)))


@pytest.mark.parametrize(
    "call",
    [
        lambda: sizing.volatility_target(0.5, target=0.0),
        lambda: sizing.volatility_target(0.5, target=0.2, floor=2.0, ceiling=1.0),
    ],
)
def test_options_out_of_range_are_refused(call):
    with pytest.raises(DataError):
        call()
