"""Protects value at risk and expected shortfall: each method against its formula and its order."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import integrate, optimize, stats

from tests import refcases
from workbench.core import measures
from workbench.core.errors import DataError
from workbench.risk import tails
from workbench.risk.extremes import peaks_over_threshold
from workbench.risk.tails import Tail

LEVELS = [0.95, 0.99, 0.995]
METHODS = {
    "historical": tails.historical,
    "weighted_historical": tails.weighted_historical,
    "normal": tails.normal,
    "student": tails.student,
    "cornish_fisher": tails.cornish_fisher,
    "monte_carlo": tails.monte_carlo,
    "peaks_over_threshold": peaks_over_threshold,
}
RETURNS = st.lists(st.floats(-0.5, 0.5), min_size=220, max_size=260).map(np.array)


def test_published_cases_all_hold(shared_data):
    """RK-10, RK-19: PerformanceAnalytics, QRM, Jorion, Basel, McNeil, McNeil and Frey."""
    outcomes = refcases.run_file(shared_data.parent / "refcases" / "var_es_evt_backtests.json")
    assert len(outcomes) >= 16
    assert [outcome for outcome in outcomes if not outcome.is_passed] == []


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("method", ["historical", "normal", "student", "cornish_fisher"])
def test_method_on_normal_returns_is_within_two_per_cent_of_the_formula(method, level):
    """RK-10: 95, 99 and 99.5 per cent."""
    x = 0.001 + 0.02 * np.random.default_rng(1).standard_normal(200_000)
    expected = tails.normal_tail(0.001, 0.02, level=level)
    assert METHODS[method](x, level=level) == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("errors", ["normal", "student"])
def test_monte_carlo_is_within_two_per_cent_of_its_formula(level, errors):
    """RK-10."""
    x = 0.02 * np.random.default_rng(2).standard_t(5, 2_000)
    expected = {"normal": tails.normal, "student": tails.student}[errors](x, level=level)
    got = tails.monte_carlo(x, level=level, errors=errors, paths=400_000)
    assert got == pytest.approx(expected, rel=0.02)


def test_weighted_historical_with_old_bars_forgotten_is_the_historical_one_of_the_rest():
    x = np.random.default_rng(3).standard_normal(1_000)
    even = tails.weighted_historical(x, level=0.95, decay=1.0)
    assert even.value_at_risk == pytest.approx(-np.sort(x)[49])
    assert even.expected_shortfall == pytest.approx(measures.expected_shortfall(x, level=0.95))

    with pytest.raises(DataError, match="no decay"):
        tails.weighted_historical(x, decay=0.0)
    calm = np.concatenate([10 * x, 0.1 * x])
    assert tails.weighted_historical(calm, level=0.95, decay=0.9).value_at_risk < 0.4
    assert tails.historical(calm, level=0.95).value_at_risk > 5


@pytest.mark.parametrize("nu", [2.5, 3.0, 5.0, 30.0])
@pytest.mark.parametrize("level", LEVELS)
def test_student_tail_equals_scipy(nu, level):
    scale = 0.02 * np.sqrt((nu - 2) / nu)
    law = stats.t(nu, 0.001, scale)
    quantile = -law.ppf(1 - level)
    beyond = integrate.quad(lambda x: -x * law.pdf(x), -np.inf, -quantile)[0] / (1 - level)
    assert tails.student_tail(0.001, 0.02, nu, level=level) == pytest.approx((quantile, beyond))


def test_student_tail_with_many_degrees_of_freedom_is_the_normal_one():
    near, limit = (tails.student_tail(0.0, 1.0, nu, level=0.99) for nu in (1e6, np.inf))
    assert limit == tails.normal_tail(0.0, 1.0, level=0.99)
    assert near == pytest.approx(limit, rel=1e-5)
    with pytest.raises(DataError, match="no variance"):
        tails.student_tail(0.0, 1.0, 2.0)


@pytest.mark.parametrize("nu", [2.3, 4.0, 8.0])
def test_student_shape_is_the_likeliest(nu):
    x = np.random.default_rng(4).standard_t(nu, 3_000)
    z = (x - x.mean()) / x.std()

    def loss(shape):
        return -stats.t.logpdf(z, shape, scale=np.sqrt((shape - 2) / shape)).sum()

    best = optimize.minimize_scalar(loss, bounds=(2.05, 60), method="bounded")
    assert tails.student_shape(x) == pytest.approx(best.x, rel=1e-3)


def test_student_shape_ends_at_its_bounds():
    rng = np.random.default_rng(5)
    assert tails.student_shape(rng.uniform(-1, 1, 1_000)) == np.inf
    assert tails.student_shape(rng.standard_cauchy(20_000)) == tails.MIN_SHAPE


def test_cornish_fisher_without_skew_or_kurtosis_is_normal():
    assert tails.cornish_fisher_tail(0.1, 2.0, 0.0, 0.0, level=0.99) == pytest.approx(
        tails.normal_tail(0.1, 2.0, level=0.99)
    )


def test_cornish_fisher_shortfall_is_the_mean_of_its_quantiles():
    at = [
        tails.cornish_fisher_tail(0, 1, -0.3, 1.0, level=1 - p).value_at_risk
        for p in (np.arange(20_000) + 0.5) / 20_000 * 0.05
    ]
    got = tails.cornish_fisher_tail(0, 1, -0.3, 1.0, level=0.95).expected_shortfall
    assert got == pytest.approx(np.mean(at), rel=1e-4)


def test_cornish_fisher_out_of_its_domain_has_the_shortfall_of_its_value_at_risk():
    """With these moments its quantile falls towards the end of the tail."""
    bent, further = (tails.cornish_fisher_tail(0, 1, 3.0, 2.0, level=p) for p in (0.99, 0.999))
    assert further.value_at_risk < bent.value_at_risk
    assert bent.expected_shortfall == bent.value_at_risk


@given(x=RETURNS, level=st.sampled_from(LEVELS), method=st.sampled_from(sorted(METHODS)))
def test_shortfall_is_never_below_value_at_risk(x, level, method):
    """RK-10: for any returns that move."""
    assume(np.ptp(x) > 1e-6 and len(np.unique(x)) > 100)
    tail = METHODS[method](x, level=level)
    assert tail.expected_shortfall >= tail.value_at_risk - 1e-12
    assert np.isfinite(tail.value_at_risk)


@given(
    x=RETURNS, factor=st.floats(0.1, 10), shift=st.floats(-0.1, 0.1),
    method=st.sampled_from(sorted(set(METHODS) - {"monte_carlo"})),
)  # fmt: skip
def test_tail_of_scaled_and_moved_returns_is_scaled_and_moved(x, factor, shift, method):
    assume(np.ptp(x) > 1e-3 and len(np.unique(x)) > 100)
    expected = METHODS[method](x, level=0.95).scaled(mean=shift, sd=factor)
    got = METHODS[method](shift + factor * x, level=0.95)
    assert got == pytest.approx(expected, rel=1e-3, abs=1e-6)


def test_filtered_historical_follows_the_volatility_of_the_bar_to_come():
    rng = np.random.default_rng(6)
    sd = np.concatenate([np.full(500, 0.01), np.full(501, 0.05)])
    x = sd[:-1] * rng.standard_normal(1_000)
    wild = tails.filtered_historical(x, variance=sd**2, level=0.99)
    calm = tails.filtered_historical(x[:500], variance=sd[:501] ** 2, level=0.99)
    assert wild.value_at_risk == pytest.approx(0.05 * 2.326, rel=0.1)
    # The 501st forecast is already that of the wild half.
    assert calm.value_at_risk == pytest.approx(0.05 * 2.326, rel=0.15)
    even = tails.filtered_historical(x, variance=np.full(1_001, 4.0), mean=0.002)
    assert even == pytest.approx(tails.historical(x))


@pytest.mark.parametrize("variance", [np.ones(3), np.array([1.0, 0.0, 1.0, 1.0])])
def test_filtered_historical_needs_a_variance_for_each_bar_and_one_more(variance):
    with pytest.raises(DataError, match="variances were given"):
        tails.filtered_historical(np.array([0.1, -0.1, 0.1]), variance=variance)


def test_monte_carlo_grows_with_the_root_of_the_horizon_and_repeats_itself():
    x = 0.001 * np.random.default_rng(7).standard_normal(5_000)
    one, four = (
        tails.monte_carlo(x, level=0.99, horizon_bars=h, errors="normal", paths=100_000)
        for h in (1, 4)
    )
    assert four.value_at_risk == pytest.approx(2 * one.value_at_risk, rel=0.03)
    again = tails.monte_carlo(x, level=0.99, errors="normal", paths=100_000)
    assert again == one
    assert one != tails.monte_carlo(x, level=0.99, errors="normal", paths=100_000, seed=1)


def test_monte_carlo_of_fat_tails_gets_thinner_with_the_horizon():
    """Sums of Student t are not Student t: the root of time overstates them."""
    x = 0.01 * np.random.default_rng(8).standard_t(3, 5_000)
    one = tails.monte_carlo(x, level=0.995, paths=100_000)
    many = tails.monte_carlo(x, level=0.995, horizon_bars=16, paths=100_000)
    assert many.expected_shortfall < 0.9 * 4 * one.expected_shortfall


def test_nobody_loses_more_than_everything():
    x = 0.5 * np.random.default_rng(9).standard_t(3, 500)
    assert tails.monte_carlo(x, level=0.999, horizon_bars=5).expected_shortfall <= 1.0


def test_drawdown_at_risk_is_the_tail_of_the_drawdown_path():
    x = 0.02 * np.random.default_rng(10).standard_normal(1_000)
    path = np.sort(measures.drawdown_path(x))
    tail = tails.drawdown_at_risk(x, level=0.95)
    assert tail.value_at_risk == pytest.approx(np.quantile(path, 0.95))
    assert tail.expected_shortfall == pytest.approx(path[950:].mean())
    assert tail.expected_shortfall <= measures.max_drawdown(x)


def test_worst_move_compounds_bars_on_end():
    x = np.array([0.1, -0.2, -0.1, 0.3, -0.25])
    assert tails.worst_move(x, bars=1) == pytest.approx(-0.25)
    assert tails.worst_move(x, bars=2) == pytest.approx(0.8 * 0.9 - 1)
    with pytest.raises(DataError, match="6 bars or more"):
        tails.worst_move(x, bars=6)


def test_mean_beyond_counts_only_larger_losses():
    assert tails.mean_beyond(np.array([-0.1, -0.3, -0.2, 0.5]), 0.1) == pytest.approx(0.25)
    assert np.isnan(tails.mean_beyond(np.array([0.1]), 0.0))


@pytest.mark.parametrize("method", sorted(METHODS))
@pytest.mark.parametrize(
    ("x", "said"),
    [
        (np.array([0.1] * 200 + [np.nan]), "bar 200 is nan"),
        (np.array([]), "no returns"),
        (np.array([0.01]), "."),
    ],
)
def test_returns_that_cannot_be_measured_are_refused(method, x, said):
    with pytest.raises(DataError, match=said):
        METHODS[method](x)


@pytest.mark.parametrize("method", sorted(set(METHODS) - {"historical", "weighted_historical"}))
def test_prices_that_stand_still_are_refused(method):
    with pytest.raises(DataError, match="stand still"):
        METHODS[method](np.full(300, 0.01))


@pytest.mark.parametrize("method", sorted(METHODS))
@pytest.mark.parametrize("level", [0.0, 1.0, 95.0])
def test_level_that_is_none_is_refused(method, level):
    with pytest.raises(DataError, match=r"level"):
        METHODS[method](np.random.default_rng(0).standard_normal(300), level=level)


def test_two_series_at_once_are_refused():
    with pytest.raises(DataError, match="one series"):
        tails.normal(np.ones((5, 2)) * [[1], [2], [3], [4], [5]])


def test_tail_scales_as_losses_do():
    assert Tail(1.0, 2.0).scaled(mean=0.5, sd=3.0) == (2.5, 5.5)
