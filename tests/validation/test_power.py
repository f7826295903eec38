"""Protects the promise of honest statistics: noise passes as rarely as stated, an edge is found."""

import numpy as np
import pandas as pd
import pytest
import sklearn.cluster  # noqa: F401 - its threads are limited only once it is loaded
from scipy.stats import binomtest
from threadpoolctl import threadpool_limits

from workbench.core.measures import DAYS_A_YEAR, sharpe
from workbench.validation.power import (
    MEMORY,
    deflated,
    family_seed,
    judge_family,
    noise_family,
    pass_rates,
    per_call,
    plant_edge,
    whole_ledger,
)

ALL, CALL = whole_ledger(), per_call()


@pytest.fixture(autouse=True)
def _one_thread():
    """Small matrices: threads would wait for one another longer than they work."""
    with threadpool_limits(1):
        yield


def judge(n_trials, families, *, edges=(0.0,), rules=(ALL,), n_days=3 * DAYS_A_YEAR):
    """The rates of so many families."""
    seeds = [family_seed(1, n_trials, k) for k in range(families)]
    tables = [
        judge_family(n_trials, edges=edges, rules=rules, n_days=n_days, seed=seed) for seed in seeds
    ]
    return pass_rates(pd.concat(tables)).droplevel("n_trials")


@pytest.mark.slow
@pytest.mark.parametrize("n_trials", [10, 100, 1_000])
def test_the_best_of_noise_passes_no_more_often_than_stated(n_trials):
    """DESIGN 6: the false-pass rate is at most the level at every number of trials; by call not."""
    rules = (ALL,) if n_trials == 10 else (ALL, CALL)
    passed = 200 * judge(n_trials, 200, rules=rules).loc[0.0, "passed"]

    assert binomtest(round(passed[ALL.name]), 200, 0.05, alternative="greater").pvalue > 0.01
    if n_trials > 10:
        assert binomtest(round(passed[CALL.name]), 200, 0.05, alternative="greater").pvalue < 1e-6
        assert passed[CALL.name] > 2 * passed[ALL.name] + 20


@pytest.mark.slow
@pytest.mark.parametrize(("n_trials", "useful"), [(10, 0.6), (100, 0.4)])
def test_a_true_edge_is_found_and_the_larger_the_more_often(n_trials, useful):
    """DESIGN 6: the power against Sharpe ratios of 0.5, 1 and 2 over three years."""
    rates = judge(n_trials, 60, edges=(0.0, 0.5, 1.0, 2.0))["found"].to_numpy()

    assert rates[0] == 0.0
    assert (np.diff(rates[1:]) > 0).all()
    assert rates[3] > useful


def test_noise_family_is_noise_whose_trials_are_alike_as_those_of_a_sweep():
    """Means of zero, clusters of volatility, heavy tails, groups of neighbours."""
    tables = [noise_family(3 * DAYS_A_YEAR, 100, seed=seed)[0] for seed in range(40)]
    statistics = [sharpe(t[:, 0].astype(float), DAYS_A_YEAR) * np.sqrt(3) for t in tables]

    assert abs(np.mean(statistics)) < 3 / np.sqrt(40)
    assert np.std(statistics) == pytest.approx(1.0, abs=0.35)
    one = tables[0].astype(np.float64)
    ties = np.corrcoef(one.T)[np.triu_indices(100, 1)]
    assert 0.05 < (np.abs(ties) > 0.35).mean() < 0.2
    assert np.quantile(np.abs(ties), 0.5) < 0.15
    assert (one**4).mean() / (one**2).mean() ** 2 > 5
    assert np.corrcoef(np.abs(one[1:, 0]), np.abs(one[:-1, 0]))[0, 1] > 0.05
    assert 0 < MEMORY < 1


def test_plant_edge_raises_the_annual_sharpe_ratio_by_as_much():
    noise, planted = noise_family(3 * DAYS_A_YEAR, 5, seed=3)
    before = noise[:, planted].astype(float)
    after = plant_edge(noise[:, planted], 1.5).astype(float)

    raised = sharpe(after, DAYS_A_YEAR) - sharpe(before, DAYS_A_YEAR)
    assert raised == pytest.approx(1.5, abs=1e-3)


def test_judge_family_sees_the_same_noise_for_every_edge():
    table = judge_family(20, edges=(0.0, 0.0, 9.0), rules=(ALL, CALL), n_days=400, seed=5)

    assert table["p_value"][0] == table["p_value"][2]
    assert list(table["is_planted"]) == [False] * 4 + [True] * 2
    assert table["p_value"][4] == 1 / 501


def test_per_call_is_shown_the_call_of_the_chosen_one_only():
    returns, _ = noise_family(200, 25, seed=1)
    shown = per_call(10).p_value(returns, 23, 0)
    by_hand = whole_ledger().p_value(returns[:, 20:], 3, 0)

    assert shown == by_hand


def test_deflated_counts_clusters_or_all_trials():
    """With fewer trials the bar is lower: the clustered count never gives the larger p-value."""
    returns, _ = noise_family(400, 60, seed=2)
    copies = np.repeat(returns[:, :4], 15, axis=1) + 1e-6 * returns
    raw, clustered = (deflated(is_clustered=k).p_value(copies, 0, 7) for k in (False, True))

    assert clustered < raw
    again = deflated(is_clustered=True)
    assert again.p_value(copies, 0, 7) == clustered
    assert again.p_value(copies, 0, 8) == pytest.approx(clustered, abs=0.05)


def test_pass_rates_count_families_and_finds():
    outcomes = pd.DataFrame(
        {
            "n_trials": 10, "edge": 1.0, "rule": "a",
            "p_value": [0.05, 0.051, 0.01, 0.5], "is_planted": [True, True, False, False],
        }
    )  # fmt: skip
    row = pass_rates(outcomes).loc[(10, 1.0, "a")]

    assert row.to_dict() == {"passed": 0.5, "found": 0.25, "families": 4}
