"""Protects the gate's first criterion: the best of many is judged against the best of as many."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.core.errors import DataError
from workbench.validation.maxstat import max_statistic, studentise
from workbench.validation.resample import bootstrap_counts


def noise(n_days, n_trials, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_t(4, size=(n_days, n_trials)) * 0.01


def best(returns):
    return returns[:, np.nanargmax(studentise(returns))]


def by_hand(returns, candidate, counts):
    """The same test, one resample and one trial at a time."""
    everyone = np.column_stack([returns, candidate])
    statistic = candidate.mean() / (candidate.std(ddof=1) / np.sqrt(len(candidate)))
    reached = 0
    for row in counts.astype(int):
        days = np.repeat(np.arange(len(row)), row)
        largest = -np.inf
        for column in everyone.T:
            drawn = (column - np.nanmean(column))[days]
            drawn = drawn[np.isfinite(drawn)]
            largest = max(largest, drawn.mean() / (drawn.std(ddof=1) / np.sqrt(len(drawn))))
        reached += largest >= statistic
    return statistic, (reached + 1) / (len(counts) + 1)


@pytest.mark.parametrize("absent", [0, 60])
def test_max_statistic_equals_a_plain_loop(absent):
    """Also over trials of other spans: each counts on the days that it has."""
    returns = noise(120, 7)
    candidate = returns[:, 0].copy()
    returns[:absent, 1:] = np.nan

    ours = max_statistic(returns, candidate, n_resamples=200, block_days=5, seed=3)

    statistic, p_value = by_hand(
        returns, candidate, bootstrap_counts(120, block=5, reps=200, seed=3)
    )
    assert ours.statistic == pytest.approx(statistic, rel=1e-9)
    assert ours.p_value == pytest.approx(p_value)


def test_max_statistic_of_the_best_of_noise_is_uniform_or_larger():
    """VA-06, VA-07: at every level no more than that share of noise families passes."""
    values = [
        max_statistic(family, best(family), n_resamples=199, block_days=1, seed=seed).p_value
        for seed in range(300)
        for family in [noise(250, 40, seed)]
    ]

    for level in (0.05, 0.1, 0.25, 0.5):
        allowed = level + 3 * np.sqrt(level * (1 - level) / len(values))
        assert np.mean(np.array(values) <= level) <= allowed


def test_max_statistic_of_one_true_edge_is_small():
    returns = noise(730, 50)
    returns[:, 7] += 0.003

    assert max_statistic(returns, returns[:, 7], n_resamples=500).p_value < 0.01


def test_max_statistic_copies_of_a_trial_cost_nothing():
    returns = noise(400, 1, seed=11) + 0.001
    alone = max_statistic(returns, returns[:, 0], n_resamples=400, block_days=1)
    crowd = max_statistic(
        np.repeat(returns, 300, axis=1), returns[:, 0], n_resamples=400, block_days=1
    )

    assert crowd.p_value == pytest.approx(alone.p_value, abs=1 / 401)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), factor=st.floats(0.01, 100.0))
def test_max_statistic_does_not_depend_on_the_size_of_a_trial(seed, factor):
    returns = noise(90, 5, seed)
    candidate = best(returns)
    scaled = returns.copy()
    scaled[:, 2] *= factor

    one = max_statistic(returns, candidate, n_resamples=99, block_days=3)
    other = max_statistic(scaled, candidate, n_resamples=99, block_days=3)

    np.testing.assert_allclose(one.null, other.null, rtol=1e-4)


def test_max_statistic_more_trials_never_help_the_candidate():
    returns = noise(300, 400)
    candidate = best(returns[:, :10])
    few = max_statistic(returns[:, :10], candidate, n_resamples=300, block_days=1)
    many = max_statistic(returns, candidate, n_resamples=300, block_days=1)

    assert many.p_value >= few.p_value


def test_max_statistic_trials_of_other_spans_count_on_their_own_days():
    returns = noise(400, 30)
    returns[:200, 10:] = np.nan
    answer = max_statistic(returns, returns[:, 0], n_resamples=100, block_days=1)

    assert answer.n_trials == 30
    assert np.isfinite(answer.null).all()


def test_max_statistic_trials_that_never_traded_are_left_out():
    returns = noise(100, 5)
    returns[:, 3] = 0.0
    returns[:90, 4] = np.nan

    assert max_statistic(returns, returns[:, 0], n_resamples=50).n_trials == 3


@pytest.mark.parametrize("candidate", [np.zeros(100), np.full(100, np.nan), np.ones(99)])
def test_max_statistic_candidate_that_cannot_be_judged_is_refused(candidate):
    with pytest.raises(DataError):
        max_statistic(noise(100, 3), candidate)
