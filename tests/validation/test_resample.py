"""Protects the bootstrap: blocks as they were asked for, variances as theory has them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import refcases
from workbench.core.bootstrap import bootstrap_indices
from workbench.core.errors import DataError
from workbench.validation.resample import (
    bootstrap_counts,
    bootstrap_interval,
    mean_variance,
    optimal_block,
)

SCHEMES = ["iid", "circular", "moving", "stationary"]


def autoregression(n, rho, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    for k in range(1, n):
        x[k] += rho * x[k - 1]
    return x


@pytest.mark.parametrize("name", ["bootstrap_montecarlo", "multiple_testing_permutation"])
def test_published_cases_all_hold(shared_data, name):
    """VA-06, VA-07, VA-08."""
    outcomes = refcases.run_file(shared_data.parent / "refcases" / f"{name}.json")
    assert len(outcomes) >= 4
    assert [outcome for outcome in outcomes if not outcome.is_passed] == []


@settings(max_examples=30, deadline=None)
@given(
    scheme=st.sampled_from(SCHEMES), n=st.integers(2, 60), share=st.floats(0, 1),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_bootstrap_indices_rows_follow_one_another_inside_blocks(scheme, n, share, seed):
    block = 1 + share * (n - 1)
    rows = bootstrap_indices(n, block=block, scheme=scheme, reps=20, seed=seed)

    assert rows.shape == (20, n)
    assert ((rows >= 0) & (rows < n)).all()
    steps = (rows[:, 1:] - rows[:, :-1]) % n
    if scheme in ("circular", "moving"):
        places = np.arange(1, n)
        assert (steps[:, places % round(block) != 0] == 1 % n).all()
    if scheme == "moving":
        inside = np.arange(1, n) % round(block) != 0
        assert (rows[:, 1:] > rows[:, :-1])[:, inside].all()


def test_bootstrap_indices_of_stationary_blocks_have_the_asked_average_length():
    rows = bootstrap_indices(2_000, block=10.0, scheme="stationary", reps=200, seed=1)
    breaks = ((rows[:, 1:] - rows[:, :-1]) % 2_000 != 1).mean()

    assert breaks == pytest.approx(0.1, rel=0.03)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_bootstrap_counts_are_those_of_the_indices(scheme):
    """Also over several parts, into which large draws are cut."""
    options = {"block": 7.0, "scheme": scheme, "reps": 700, "seed": 2}
    counts, rows = bootstrap_counts(3_000, **options), bootstrap_indices(3_000, **options)

    assert (counts.sum(axis=1) == 3_000).all()
    for k in (0, 699):
        np.testing.assert_array_equal(counts[k], np.bincount(rows[k], minlength=3_000))


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("block", [1, 7, 25])
def test_mean_variance_equals_that_of_many_resamples(scheme, block):
    """VA-06: within four standard errors of a variance."""
    x = autoregression(100, 0.7)
    counts = bootstrap_counts(100, block=block, scheme=scheme, reps=40_000, seed=3)
    simulated = (counts @ x / 100).var() * 100

    exact = mean_variance(x, block=block, scheme=scheme)
    assert simulated == pytest.approx(exact, rel=4 * np.sqrt(2 / 40_000))


def test_optimal_block_grows_with_dependence():
    slow, fast = optimal_block(autoregression(2_000, 0.9)), optimal_block(autoregression(2_000, 0))

    assert slow.stationary > 5 * fast.stationary >= 5
    assert slow.circular > 5 * fast.circular >= 5


def test_bootstrap_interval_of_a_mean_is_that_of_theory():
    x = np.random.default_rng(0).normal(0.5, 2.0, 400)
    low, high = bootstrap_interval(x, np.mean, level=0.9, block=1, reps=4_000)

    half = 1.645 * x.std() / 20
    assert (low, high) == pytest.approx((x.mean() - half, x.mean() + half), abs=0.06 * half)
    slow = autoregression(400, 0.8)
    wide, narrow = (bootstrap_interval(slow, np.mean, block=b, reps=500) for b in (20, 1))
    assert wide[1] - wide[0] > 1.5 * (narrow[1] - narrow[0])


@pytest.mark.parametrize(
    "call",
    [
        lambda: bootstrap_indices(10, block=11, reps=5, seed=0),
        lambda: bootstrap_indices(10, block=0.5, reps=5, seed=0),
        lambda: bootstrap_indices(10, reps=0, seed=0),
        lambda: mean_variance(np.ones(10), block=11),
    ],
)
def test_what_cannot_be_resampled_is_refused(call):
    with pytest.raises(DataError):
        call()
