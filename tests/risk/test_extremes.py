"""Protects the extreme value fits: they find the tail that made the data, or say they cannot."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from workbench.core.errors import DataError
from workbench.risk.extremes import ParetoTail, fit_pareto, fit_peaks, hill, peaks_over_threshold


@pytest.mark.parametrize("shape", [-0.3, 0.0, 0.2, 0.5, 1.2])
def test_fit_recovers_a_pareto_tail(shape):
    """RK-19: within three standard errors, (1 + shape) / sqrt(n)."""
    x = stats.genpareto.rvs(shape, scale=2.0, size=5_000, random_state=np.random.default_rng(1))
    found = fit_pareto(x, threshold=0.0)
    assert found.shape == pytest.approx(shape, abs=3 * (1 + shape) / np.sqrt(5_000))
    assert found.scale == pytest.approx(2.0, rel=0.08)
    assert found.n_beyond == found.n_bars == 5_000


@given(
    seed=st.integers(0, 300),
    shape=st.floats(-0.3, 1.5).map(lambda s: round(s, 3)),
    n=st.integers(15, 300),
)
def test_fit_is_at_least_as_likely_as_the_truth_and_as_scipys(seed, shape, n):
    x = stats.genpareto.rvs(shape, size=n, random_state=np.random.default_rng(seed))
    found = fit_pareto(x, threshold=0.0)
    assert found.loglikelihood == pytest.approx(
        stats.genpareto.logpdf(x, found.shape, scale=found.scale).sum(), rel=1e-6, abs=1e-6
    )
    assert found.loglikelihood >= stats.genpareto.logpdf(x, shape).sum() - 1e-6
    theirs, _, scale = stats.genpareto.fit(x, max(found.shape, 0.01), floc=0, scale=found.scale)
    if theirs > -0.5:
        likelihood = stats.genpareto.logpdf(x, theirs, scale=scale).sum()
        assert found.loglikelihood >= likelihood - 1e-4 * abs(likelihood)


def test_shape_is_not_sought_where_the_likelihood_has_no_bound():
    """A uniform has shape -1, where the likelihood grows without end."""
    assert fit_pareto(np.linspace(0.01, 1.0, 200), threshold=0.0).shape >= -0.5


def test_tail_equals_the_quantile_and_mean_of_the_law():
    tail = ParetoTail(0.03, 0.3, 0.01, 50, 1_000).tail(level=0.99)
    law = stats.genpareto(0.3, loc=0.03, scale=0.01)
    assert tail.value_at_risk == pytest.approx(law.ppf(1 - 0.01 / 0.05))
    assert tail.expected_shortfall == pytest.approx(law.expect(lb=tail.value_at_risk) / 0.2)


def test_tail_of_the_exponential_is_the_limit_of_its_neighbours():
    at = [ParetoTail(0.0, xi, 1.0, 100, 1_000).tail(level=0.99) for xi in (-1e-7, 0.0, 1e-7)]
    assert at[0] == pytest.approx(at[1], rel=1e-5)
    assert at[2] == pytest.approx(at[1], rel=1e-5)


def test_tail_without_a_mean_has_an_infinite_shortfall():
    assert ParetoTail(0.0, 1.0, 1.0, 100, 1_000).tail(level=0.99).expected_shortfall == np.inf


@pytest.mark.parametrize("level", [0.5, 0.94, 1.0])
def test_level_outside_the_tail_is_refused(level):
    with pytest.raises(DataError, match="outside the tail"):
        ParetoTail(0.03, 0.3, 0.01, 50, 1_000).tail(level=level)


def test_peaks_of_student_returns_have_their_tail():
    x = 0.02 * np.random.default_rng(2).standard_t(4, 20_000)
    fit = fit_peaks(x, share=0.05)
    assert fit.n_beyond == 1_000
    assert fit.shape == pytest.approx(0.25, abs=0.12)
    truth = -0.02 * stats.t.ppf(0.001, 4)
    assert peaks_over_threshold(x, level=0.999).value_at_risk == pytest.approx(truth, rel=0.1)


def test_too_few_excesses_are_refused():
    x = np.random.default_rng(3).standard_normal(60)
    with pytest.raises(DataError, match="6 of 60 losses"):
        fit_peaks(x)
    with pytest.raises(DataError, match="no threshold"):
        fit_peaks(x, share=1.0)


def test_hill_finds_the_index_of_a_power_law():
    x = np.random.default_rng(4).pareto(2.5, 20_000) + 1
    assert hill(x, k=1_000) == pytest.approx(0.4, abs=0.04)
    assert hill(np.array([8.0, 4.0, 2.0, 1.0]), k=2) == pytest.approx(1.5 * np.log(2))
    with pytest.raises(DataError, match="above zero"):
        hill(np.array([2.0, 1.0, -1.0]), k=2)
