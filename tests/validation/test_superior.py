"""Protects the tests for the best of several models: exact for few bars, bounded under the null."""

import numpy as np
import pytest
from arch.bootstrap import SPA, StepM
from scipy import stats

from workbench.core.errors import DataError
from workbench.validation.superior import superior_ability, superior_ability_exact


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
        lambda: superior_ability(np.ones((10, 2))),
        lambda: superior_ability(np.array([[1.0, np.nan], [2.0, 3.0], [1.0, 2.0]])),
        lambda: superior_ability_exact(np.random.default_rng(0).normal(size=(9, 2))),
    ],
)
def test_what_cannot_be_tested_is_refused(call):
    with pytest.raises(DataError):
        call()
