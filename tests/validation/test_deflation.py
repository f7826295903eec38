"""Protects inference on Sharpe ratios: published numbers, and what must hold for any sample."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from tests import refcases
from workbench.core.errors import DataError
from workbench.validation.deflation import (
    SharpeStats,
    adjust_pvalues,
    annualisation_factor,
    deflated_sharpe,
    effective_trials,
    expected_maximum,
    expected_maximum_exact,
    haircut_sharpe,
    independent_trials,
    max_trials,
    min_backtest_length,
    min_track_record,
    min_track_record_2025,
    probabilistic_sharpe,
    sharpe_stats,
)

RNG = np.random.default_rng


def test_published_cases_all_hold(shared_data):
    """VA-03, VA-07: PSR, DSR, MinTRL, MinBTL, Lo, adjusted p-values."""
    folder = shared_data.parent / "refcases"
    outcomes = refcases.run_file(folder / "sharpe_psr_dsr.json")
    outcomes += [
        outcome
        for outcome in refcases.run_file(folder / "multiple_testing_permutation.json")
        if outcome.method == "adjust"
    ]
    assert len(outcomes) >= 13
    assert [outcome for outcome in outcomes if not outcome.is_passed] == []


def test_deflated_sharpe_published_example():
    """Bailey and Lopez de Prado (2014), "A numerical example": 0.9004, and 0.1132."""
    stats = SharpeStats(2.5 / np.sqrt(250), -3.0, 10.0, 1_250)
    value, bar = deflated_sharpe(stats, n_trials=100, variance=0.5 / 250)

    assert value == pytest.approx(0.9004, abs=5e-5)
    assert bar == pytest.approx(0.1132, abs=5e-5)


@given(
    sharpe=st.floats(-0.3, 0.3),
    skew=st.floats(-2, 2),
    extra=st.floats(0.1, 20),
    n=st.integers(30, 5_000),
)
def test_probabilistic_sharpe_rises_with_the_record_and_falls_with_the_bar(sharpe, skew, extra, n):
    stats = SharpeStats(sharpe, skew, 1 + skew * skew + extra, n)
    longer = SharpeStats(sharpe, skew, 1 + skew * skew + extra, 2 * n)
    middle = probabilistic_sharpe(stats)

    assert probabilistic_sharpe(stats, benchmark=0.1) <= middle
    if sharpe > 0:
        assert probabilistic_sharpe(longer) >= middle >= 0.5


@given(sharpe=st.floats(0.02, 0.3), skew=st.floats(-1, 1), kurt=st.floats(3, 15))
def test_min_track_record_is_where_the_probability_is_reached(sharpe, skew, kurt):
    needed = min_track_record(SharpeStats(sharpe, skew, kurt, 2), probability=0.95)
    # The formula is exact in n, which need not be whole.
    value = probabilistic_sharpe(SharpeStats(sharpe, skew, kurt, needed))

    assert value == pytest.approx(0.95, abs=1e-9)


def test_min_track_record_of_no_edge_is_endless():
    stats = SharpeStats(-0.01, 0.0, 3.0, 100)

    assert min_track_record(stats) == min_track_record_2025(stats) == float("inf")


def test_deflated_sharpe_falls_with_the_number_of_trials():
    stats = sharpe_stats(RNG(0).normal(0.001, 0.01, 700))
    values = [deflated_sharpe(stats, n_trials=n, variance=1e-3)[0] for n in (1, 10, 100, 1_000)]

    assert values == sorted(values, reverse=True)
    assert values[0] == probabilistic_sharpe(stats)


@pytest.mark.parametrize(
    ("n", "exact"), [(1, 0.0), (2, 0.5641896), (10, 1.5387527), (100, 2.50759)]
)
def test_expected_maximum_exact_equals_tippett(n, exact):
    assert expected_maximum_exact(n) == pytest.approx(exact, abs=1e-5)


def test_expected_maximum_approaches_the_exact_one():
    for n in (50, 1_000, 100_000):
        assert expected_maximum(n) == pytest.approx(expected_maximum_exact(n), rel=0.02)


def test_max_trials_published_five_years_bear_forty_five():
    """Bailey et al. (2014): after 45 trials on five years, expect an annual Sharpe ratio of 1."""
    assert max_trials(5.0) == 45
    assert min_backtest_length(45)[0] <= 5.0 < min_backtest_length(46)[0]


def test_annualisation_factor_of_independent_returns_is_the_root():
    assert annualisation_factor(365) == pytest.approx(np.sqrt(365))
    assert annualisation_factor(12, autocorrelation=0.2) < np.sqrt(12)


def test_sharpe_stats_missing_returns_are_left_out():
    r = RNG(1).normal(0, 1, 50)
    holes = np.insert(r, 10, np.nan)

    assert sharpe_stats(holes) == sharpe_stats(r)


@pytest.mark.parametrize("returns", [[0.1], [0.0] * 10, [np.nan] * 5])
def test_sharpe_stats_of_what_has_none_is_refused(returns):
    with pytest.raises(DataError):
        sharpe_stats(np.array(returns))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_adjust_pvalues_equals_statsmodels_and_never_falls_below(values):
    p = np.array(values)
    for method, theirs in (("bonferroni", "bonferroni"), ("bh", "fdr_bh"), ("bhy", "fdr_by")):
        ours = adjust_pvalues(p, method=method)
        np.testing.assert_array_equal(ours, multipletests(p, method=theirs)[1])
        assert (ours >= p - 1e-15).all()


@pytest.mark.parametrize("values", [[], [1.2], [-0.1]])
def test_adjust_pvalues_of_no_probabilities_is_refused(values):
    with pytest.raises(DataError):
        adjust_pvalues(np.array(values))


def test_haircut_sharpe_bonferroni_by_hand():
    """One of 300 tests, t = 3.2 (p = 0.0014): adjusted 0.41, t = 0.82, three quarters cut off."""
    t = np.zeros(300)
    t[0] = 3.2
    left, cut = haircut_sharpe(t / np.sqrt(10), chosen=0, years=10, method="bonferroni")

    assert left * np.sqrt(10) == pytest.approx(0.819, abs=2e-3)
    assert cut == pytest.approx(1 - 0.819 / 3.2, abs=1e-3)


def test_haircut_sharpe_methods_are_ordered():
    sharpes = RNG(3).normal(0, 0.5, 40)
    sharpes[7] = 2.0
    cut = [haircut_sharpe(sharpes, chosen=7, years=6, method=m)[1] for m in ("bonferroni", "holm")]

    assert cut[0] >= cut[1] > 0
    assert haircut_sharpe(sharpes, chosen=7, years=6, method="bh")[1] <= cut[1]
    assert haircut_sharpe(-np.abs(sharpes), chosen=7, years=6) == (0.0, 1.0)
    assert haircut_sharpe(np.array([2.0]), chosen=0, years=6)[1] == pytest.approx(0.0, abs=1e-9)


def test_effective_trials_counts_clusters_copies_and_independents():
    groups = RNG(0).normal(size=(800, 6))
    members = np.repeat(groups, 20, axis=1) + 0.3 * RNG(1).normal(size=(800, 120))

    assert effective_trials(members) == 6
    assert effective_trials(np.repeat(groups[:, :1], 40, axis=1)) == 1
    assert effective_trials(RNG(2).normal(size=(800, 150))) == pytest.approx(150, rel=0.05)
    assert effective_trials(groups[:, :1]) == 1
    assert effective_trials(groups[:, :2]) == 2


def test_effective_trials_of_more_trials_than_days_is_not_capped_by_the_days():
    assert effective_trials(RNG(4).normal(size=(300, 900))) == pytest.approx(900, rel=0.1)


def test_effective_trials_without_any_spread_is_refused():
    with pytest.raises(DataError, match="spread"):
        effective_trials(np.zeros((50, 3)))


def test_independent_trials_lies_between_one_and_all():
    assert independent_trials(100, correlation=1.0) == 1.0
    assert independent_trials(100, correlation=0.0) == 100.0
