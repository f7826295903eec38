"""Protects correlations: their formulas, who shares bars with whom, and how fast they follow."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tests.risk.simulated import frame
from workbench.core.errors import DataError
from workbench.risk.dcc import dcc_path, fit_correlation, fit_dcc
from workbench.risk.dependence import (
    beta,
    cluster,
    common_rows,
    correlation,
    ewma_covariance,
    mean_correlation,
    principal_components,
    rolling_beta,
    student_tail_dependence,
    tail_dependence,
    to_correlation,
    tracking_error,
)
from workbench.risk.shrinkage import ESTIMATORS, shrink_covariance
from workbench.risk.volatility import decay_of

RNG = np.random.default_rng


def together(seed, n, rho, n_symbols=2, sd=0.02):
    """Normal returns with one correlation between all pairs."""
    rng = RNG(seed)
    common = rng.standard_normal((n, 1))
    own = rng.standard_normal((n, n_symbols))
    return frame(sd * (np.sqrt(rho) * common + np.sqrt(1 - rho) * own))


def switched(seed, n, before, after, n_symbols=2):
    parts = [
        together(seed + i, n, rho, n_symbols).to_numpy() for i, rho in enumerate((before, after))
    ]
    return frame(np.concatenate(parts))


@pytest.mark.parametrize(
    ("method", "oracle"),
    [("pearson", stats.pearsonr), ("spearman", stats.spearmanr), ("kendall", stats.kendalltau)],
)
def test_correlation_of_each_pair_uses_the_bars_that_both_have(method, oracle):
    """RK-14."""
    returns = together(1, 200, 0.6, 3)
    returns.iloc[:50, 2] = np.nan
    found = correlation(returns, method=method)
    for one, other in (("AUSDT", "BUSDT"), ("AUSDT", "CUSDT")):
        pair = returns[[one, other]].dropna()
        expected = oracle(pair[one], pair[other])[0]
        assert found.loc[one, other] == pytest.approx(expected)
    pd.testing.assert_frame_equal(
        found.iloc[:2, :2], correlation(returns.iloc[:, :2], method=method)
    )


@pytest.mark.parametrize("measure", [correlation, tail_dependence])
def test_disjoint_histories_are_refused_by_name(measure):
    returns = together(2, 400, 0.5, 3)
    returns.iloc[:200, 1] = np.nan
    returns.iloc[200:, 2] = np.nan
    with pytest.raises(DataError, match="BUSDT and CUSDT share 0") as caught:
        measure(returns)
    assert "leave one of them out" in str(caught.value)


def test_prices_that_stand_still_and_single_bars_are_refused():
    returns = together(3, 100, 0.5)
    with pytest.raises(DataError, match="BUSDT did not move"):
        correlation(returns.assign(BUSDT=0.0))
    with pytest.raises(DataError, match="AUSDT has 1"):
        correlation(returns.iloc[:1])
    with pytest.raises(DataError, match="1 bars are common"):
        common_rows(returns.iloc[:1], least=30)


def test_tail_dependence_is_the_quantile_of_independent_and_one_of_equal_returns():
    returns = together(4, 20_000, 0.0)
    returns["CUSDT"] = 3 * returns["AUSDT"]
    found = tail_dependence(returns, quantile=0.05)
    assert found.loc["AUSDT", "BUSDT"] == pytest.approx(0.05, abs=0.02)
    assert found.loc["AUSDT", "CUSDT"] == 1.0
    assert (np.diag(found) == 1.0).all()
    opposite = returns.assign(CUSDT=-returns["AUSDT"])
    assert tail_dependence(opposite).loc["AUSDT", "CUSDT"] == 0.0


def test_tail_dependence_of_a_shared_crash_is_in_the_lower_tail_alone():
    rng = RNG(5)
    returns = together(6, 10_000, 0.0)
    crash = rng.random(10_000) < 0.04
    returns[crash] = -0.5 + 0.01 * rng.standard_normal((crash.sum(), 2))
    assert tail_dependence(returns).loc["AUSDT", "BUSDT"] > 0.7
    assert tail_dependence(returns, is_lower=False).loc["AUSDT", "BUSDT"] < 0.15


@pytest.mark.parametrize(
    ("nu", "rho", "expected"),
    [
        (2, 0.0, 0.18),
        (4, 0.5, 0.25),
        (4, 0.9, 0.63),
        (8, 0.5, 0.12),
        (10, 0.0, 0.01),
        (2, -0.5, 0.06),
    ],
)
def test_student_tail_dependence_is_the_published_one(nu, rho, expected):
    """McNeil, Frey and Embrechts (2005), table 5.1; two decimals."""
    assert student_tail_dependence(rho, nu) == pytest.approx(expected, abs=0.011)


def test_student_tail_dependence_at_its_limits():
    assert student_tail_dependence(0.5, np.inf) == 0.0
    assert student_tail_dependence(-1.0, 4) == 0.0
    assert student_tail_dependence(1.0, 4) == pytest.approx(1.0)
    with pytest.raises(DataError, match="none"):
        tail_dependence(together(7, 200, 0.5), quantile=0.001)


def test_ewma_correlation_follows_a_switch_within_a_few_half_lives():
    """RK-15: half of the way after one half-life, nine tenths after four."""
    half_life = 40
    paths = [
        to_correlation(
            ewma_covariance(switched(10 * seed, 1_000, 0.1, 0.9), decay=decay_of(half_life))
        )[:, 0, 1]
        for seed in range(20)
    ]
    mean = np.mean(paths, axis=0)
    assert mean[1_000] == pytest.approx(0.1, abs=0.1)
    assert mean[1_000 + half_life] == pytest.approx(0.5, abs=0.1)
    assert mean[1_000 + 4 * half_life] > 0.8
    assert mean[-1] == pytest.approx(0.9, abs=0.05)


def test_dcc_follows_a_switch_and_knows_no_later_bar():
    """RK-15."""
    z = switched(8, 1_000, 0.0, 0.8).to_numpy() / 0.02
    fit = fit_correlation(z)
    path = fit.path.correlation[:, 0, 1]
    assert fit.note == ""
    assert path[900:1_000].mean() < 0.25
    assert path[-300:].mean() > 0.6
    assert (fit.a + fit.b) ** fit.half_life == pytest.approx(0.5)
    changed = z.copy()
    changed[1_500:] = 3.0
    target = np.cov(z.T)
    before, after = (dcc_path(y, a=fit.a, b=fit.b, target=target).correlation for y in (z, changed))
    np.testing.assert_array_equal(before[:1_501], after[:1_501])


def test_dcc_of_constant_correlations_stays_where_it_is():
    z = together(9, 2_000, 0.5).to_numpy() / 0.02
    path = fit_correlation(z).path.correlation[100:, 0, 1]
    assert path.mean() == pytest.approx(0.5, abs=0.05)
    assert path.std() < 0.06


def test_dcc_of_returns_has_margins_and_a_covariance(monkeypatch):
    returns = together(10, 400, 0.6, 3)
    returns.iloc[:20, 1] = np.nan
    fit = fit_dcc(returns)
    assert list(fit.margins) == ["AUSDT", "BUSDT", "CUSDT"]
    sd = np.sqrt(np.diag(fit.covariance))
    assert sd == pytest.approx([np.sqrt(m.variance[-1]) for m in fit.margins.values()])
    assert np.linalg.eigvalsh(fit.covariance).min() > 0
    assert np.isfinite(fit.loglikelihood)

    from workbench.risk import garch

    monkeypatch.setattr(garch, "_problem", lambda *_: "stuck")
    assert "the variance of AUSDT, BUSDT, CUSDT is an EWMA" in fit_dcc(returns).note
    with pytest.raises(DataError, match="60 bars are common"):
        fit_dcc(returns.iloc[-60:])


def test_missing_return_of_one_symbol_touches_no_other_pair():
    returns = together(11, 100, 0.5, 3)
    holed = returns.copy()
    holed.iloc[40:60, 2] = np.nan
    full, part = ewma_covariance(returns), ewma_covariance(holed)
    np.testing.assert_array_equal(full[:, :2, :2], part[:, :2, :2])
    np.testing.assert_array_equal(part[41:61, 2], np.broadcast_to(part[40, 2], (20, 3)))


def test_mean_correlation_leaves_out_what_is_missing():
    matrix = np.array([[1, 0.2, np.nan], [0.2, 1, 0.6], [np.nan, 0.6, 1]])
    assert mean_correlation(matrix) == pytest.approx(0.4)
    assert np.isnan(mean_correlation(np.ones((4, 1, 1)))).all()


def test_beta_is_the_slope_over_the_bars_that_both_have():
    """RK-14: beta to BTC."""
    rng = RNG(12)
    market = 0.03 * rng.standard_normal(500)
    returns = frame(
        np.column_stack([market, 1.5 * market + 0.01 * rng.standard_normal(500), -0.5 * market])
    ).set_axis(["BTCUSDT", "ETHUSDT", "HUSDT"], axis=1)
    returns.iloc[:100, 1] = np.nan
    found = beta(returns)
    expected = stats.linregress(market[100:], returns["ETHUSDT"].iloc[100:]).slope
    assert found.tolist() == pytest.approx([1.0, expected, -0.5])
    window = rolling_beta(returns, window=60)
    assert window["ETHUSDT"].iloc[-1] == pytest.approx(
        stats.linregress(market[-60:], returns["ETHUSDT"].iloc[-60:]).slope
    )
    # A window that begins before the symbol does uses the bars that both have.
    assert window["ETHUSDT"].iloc[139] == pytest.approx(
        stats.linregress(market[100:140], returns["ETHUSDT"].iloc[100:140]).slope
    )
    assert window["ETHUSDT"].iloc[:129].isna().all()
    assert tracking_error(returns, periods=365)["BTCUSDT"] == 0.0
    assert tracking_error(returns, periods=365)["HUSDT"] == pytest.approx(
        1.5 * market.std(ddof=1) * np.sqrt(365)
    )


@pytest.mark.parametrize("measure", [beta, lambda r: tracking_error(r, periods=1)])
def test_benchmark_that_is_not_there_or_still_is_refused(measure):
    returns = together(13, 100, 0.5)
    with pytest.raises(DataError, match="no returns of BTCUSDT"):
        measure(returns)
    with pytest.raises(DataError, match="do not move"):
        measure(returns.assign(BTCUSDT=0.0))
    with pytest.raises(DataError, match="BTCUSDT and AUSDT share 0"):
        measure(
            returns.assign(
                BTCUSDT=returns["BUSDT"].where(np.arange(100) < 50),
                AUSDT=returns["AUSDT"].where(np.arange(100) >= 50),
            )
        )


def test_clusters_are_the_planted_ones():
    blocks = [together(20 + i, 800, 0.8, n).to_numpy() for i, n in enumerate((3, 2, 4))]
    found = cluster(correlation(frame(np.column_stack(blocks))))
    assert found.tolist() == [1, 1, 1, 2, 2, 3, 3, 3, 3]
    assert cluster(pd.DataFrame([[1.0]], ["A"], ["A"])).tolist() == [1]


def test_principal_components_are_the_variance_whole():
    returns = together(14, 3_000, 0.7, 5)
    matrix = returns.cov()
    found = principal_components(matrix)
    assert found.variance.sum() == pytest.approx(np.trace(matrix))
    assert found.share.iloc[0] == pytest.approx((1 + 4 * 0.7) / 5, abs=0.03)
    rebuilt = found.loadings.to_numpy() * found.variance.to_numpy() @ found.loadings.to_numpy().T
    np.testing.assert_allclose(rebuilt, matrix, atol=1e-12)
    assert (found.loadings["pc1"] > 0).all()


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_shrunk_covariance_is_whole_and_named(estimator):
    returns = together(15, 120, 0.5, 6)
    found = shrink_covariance(returns, estimator=estimator)
    assert list(found.index) == list(found.columns) == list(returns.columns)
    assert np.linalg.eigvalsh(found).min() > -1e-12
    np.testing.assert_allclose(found, found.T)


def test_shrinkage_and_denoising_are_nearer_to_the_truth_than_the_sample():
    truth = 4e-4 * (np.full((40, 40), 0.5) + 0.5 * np.eye(40))
    errors = dict.fromkeys(("sample", "ledoit_wolf", "oas", "denoised"), 0.0)
    for seed in range(5):
        returns = together(100 + seed, 80, 0.5, 40)
        for name in errors:
            inverse = np.linalg.pinv(shrink_covariance(returns, estimator=name))
            weights = inverse.sum(axis=1) / inverse.sum()
            errors[name] += weights @ truth @ weights
    # The variance that a minimum-variance portfolio made with the estimate really has.
    assert max(errors["ledoit_wolf"], errors["oas"], errors["denoised"]) < 0.8 * errors["sample"]


def test_shrinkage_refuses_what_it_cannot_use():
    with pytest.raises(DataError, match="no estimator 'magic'"):
        shrink_covariance(together(16, 100, 0.5), estimator="magic")
    with pytest.raises(DataError, match="29 bars are common"):
        shrink_covariance(together(17, 29, 0.5))


@given(seed=st.integers(0, 50), n=st.integers(2, 5))
def test_correlations_of_any_covariance_lie_within_one(seed, n):
    x = RNG(seed).standard_normal((50, n)) @ RNG(seed + 1).standard_normal((n, n))
    found = to_correlation(ewma_covariance(pd.DataFrame(x))[5:])
    assert np.abs(found).max() <= 1 + 1e-12
    np.testing.assert_allclose(np.diagonal(found, axis1=1, axis2=2), 1.0)
