"""Protects the bootstrap and the tests for the best of many that rest on it."""

import numpy as np
import pytest
from arch.bootstrap import SPA, StepM
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tests import refcases
from workbench.core.errors import DataError
from workbench.validation.resample import (
    bootstrap_counts,
    bootstrap_indices,
    bootstrap_interval,
    mean_variance,
    optimal_block,
    superior_ability,
    superior_ability_exact,
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


@pytest.mark.parametrize("is_studentised", [False, True])
@pytest.mark.parametrize(("scheme", "block"), [("iid", 1), ("circular", 3), ("stationary", 3)])
def test_superior_ability_is_within_chance_of_every_resample(scheme, block, is_studentised):
    """VA-06: within 4 sqrt(p (1 - p) / reps) + 1 / reps of complete enumeration."""
    d = np.random.default_rng(4).normal([0.3, 0.0, -1.5], [1, 2, 0.5], (6, 3))
    options = {"scheme": scheme, "block": block, "is_studentised": is_studentised}
    exact, _, count = superior_ability_exact(d, **options)
    drawn = superior_ability(d, reps=20_000, **options)

    assert count == (36 if scheme == "circular" else 6**6)
    assert drawn.statistic == pytest.approx(exact.statistic)
    for name in ("lower", "consistent", "upper"):
        p = getattr(exact, name)
        assert getattr(drawn, name) == pytest.approx(
            p, abs=4 * np.sqrt(p * (1 - p) / 20_000) + 1 / 20_000
        )
    assert exact.lower <= exact.consistent <= exact.upper


def test_superior_ability_equals_arch():
    """The same tests by the reference library, on columns that are already in one unit."""
    rng = np.random.default_rng(5)
    d = rng.normal(0, 1, (300, 12)) + np.array([0.25, 0.3] + 10 * [0.0])
    d[:, 3] -= 0.4
    ours = superior_ability(d, block=5, is_studentised=False, reps=8_000)
    options = {"block_size": 5, "reps": 2_000, "seed": 1}
    spa, step = SPA(np.zeros(300), -d, **options), StepM(np.zeros(300), -d, **options)
    spa.compute()
    step.compute()

    assert ours.superior == tuple(step.superior_models) == (0, 1)
    assert [ours.lower, ours.consistent, ours.upper] == pytest.approx(
        spa.pvalues.to_list(), abs=0.01
    )
    mixed = superior_ability(d * np.geomspace(1, 1_000, 12), block=5, reps=2_000)
    assert mixed.superior == (0, 1)


def test_superior_ability_under_the_null_is_uniform_or_larger():
    """VA-06: reality check and SPA are conservative, so bounded from above only."""
    pvalues = []
    for seed in range(500):
        d = np.random.default_rng(seed).standard_t(5, (120, 4)) + np.array([0, 0, 0, -0.3])
        answer = superior_ability(d, block=1, reps=199, seed=seed)
        plain = superior_ability(d, block=1, reps=199, seed=seed, is_studentised=False)
        pvalues.append((answer.consistent, answer.upper, plain.upper))

    for column in np.array(pvalues).T:
        assert stats.kstest(column, "uniform", alternative="greater").pvalue > 0.01
        assert column.min() >= 1 / 200
    # Models that are worse than the benchmark make the reality check blunt, and SPA less so.
    consistent, upper, _ = np.mean(pvalues, axis=0)
    assert consistent < upper


@pytest.mark.parametrize(
    "call",
    [
        lambda: bootstrap_indices(10, block=11, reps=5, seed=0),
        lambda: bootstrap_indices(10, block=0.5, reps=5, seed=0),
        lambda: bootstrap_indices(10, reps=0, seed=0),
        lambda: mean_variance(np.ones(10), block=11),
        lambda: superior_ability(np.ones((10, 2))),
        lambda: superior_ability(np.array([[1.0, np.nan], [2.0, 3.0], [1.0, 2.0]])),
        lambda: superior_ability_exact(np.random.default_rng(0).normal(size=(9, 2))),
    ],
)
def test_what_cannot_be_resampled_is_refused(call):
    with pytest.raises(DataError):
        call()
