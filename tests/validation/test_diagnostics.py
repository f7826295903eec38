"""Protects residual diagnostics: the p-values of statsmodels, and findings where there are any."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.sandbox.stats.runs import runstest_1samp
from statsmodels.stats.diagnostic import acorr_ljungbox, het_arch, het_breuschpagan
from statsmodels.stats.stattools import jarque_bera
from statsmodels.tsa.stattools import bds

from workbench.core.errors import DataError
from workbench.validation.diagnostics import diagnose_residuals

RNG = np.random.default_rng


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(60, 400), lags=st.integers(1, 12))
def test_p_values_equal_those_of_statsmodels(seed, n, lags):
    """VA-12."""
    rng = RNG(seed)
    x, regressors = rng.standard_t(5, n), rng.normal(size=(n, 2))

    table = diagnose_residuals(x, regressors=regressors, lags=lags).table["p_value"]

    expected = {
        "Jarque-Bera": jarque_bera(x)[1],
        "Shapiro-Wilk": stats.shapiro(x).pvalue,
        "ARCH-LM": het_arch(x, nlags=lags, result_object=False)[1],
        "Breusch-Pagan": het_breuschpagan(x, sm.add_constant(regressors))[1],
        "Ljung-Box": acorr_ljungbox(x, lags=[lags])["lb_pvalue"].iloc[0],
        "runs": runstest_1samp(x, cutoff="median")[1],
        "BDS": float(bds(x, max_dim=2)[1]),
    }
    assert list(table.index) == list(expected)
    assert table.to_dict() == pytest.approx(expected)


def test_statistics_equal_their_formulas():
    """VA-12, by an oracle of their own: moments, autocorrelations, n times R squared."""
    rng = RNG(1)
    n, lags = 300, 4
    x, z = rng.normal(size=n), rng.normal(size=n)
    statistic = diagnose_residuals(x, regressors=z, lags=lags).table["statistic"]

    assert statistic["Jarque-Bera"] == pytest.approx(
        n / 6 * (stats.skew(x) ** 2 + stats.kurtosis(x) ** 2 / 4)
    )
    centred = x - x.mean()
    acf = [centred[k:] @ centred[: n - k] / (centred @ centred) for k in range(1, lags + 1)]
    box = n * (n + 2) * sum(r**2 / (n - k) for k, r in enumerate(acf, start=1))
    assert statistic["Ljung-Box"] == pytest.approx(box)
    assert statistic["Breusch-Pagan"] == pytest.approx(n * np.corrcoef(x**2, z)[0, 1] ** 2)
    squares = x**2
    past = np.column_stack([squares[lags - k : n - k] for k in range(1, lags + 1)])
    fit = np.column_stack([np.ones(n - lags), past])
    line = fit @ np.linalg.lstsq(fit, squares[lags:], rcond=None)[0]
    r2 = 1 - ((squares[lags:] - line) ** 2).sum() / (
        squares[lags:] - squares[lags:].mean()
    ).var() / (n - lags)
    assert statistic["ARCH-LM"] == pytest.approx((n - lags) * r2)


def test_fitted_parameters_cost_the_box_test_degrees_of_freedom():
    x = RNG(2).normal(size=200)
    one, two = (diagnose_residuals(x, fitted=k).table.loc["Ljung-Box"] for k in (0, 3))

    assert one["statistic"] == two["statistic"]
    assert two["p_value"] == pytest.approx(stats.chi2.sf(two["statistic"], 7))


def series(kind, n=1_000, seed=0):
    rng = RNG(seed)
    e = rng.normal(size=n)
    if kind == "tails":
        return rng.standard_t(3, n)
    if kind == "clusters":
        x, variance = np.zeros(n), 1.0
        for t in range(1, n):
            variance = 0.1 + 0.4 * x[t - 1] ** 2 + 0.5 * variance
            x[t] = np.sqrt(variance) * e[t]
        return x
    if kind == "memory":
        for t in range(1, n):
            e[t] += 0.4 * e[t - 1]
        return e
    x = np.empty(n)
    x[0] = 0.3
    for t in range(1, n):
        x[t] = 4 * x[t - 1] * (1 - x[t - 1])
    return x


@pytest.mark.parametrize(
    ("kind", "test", "asks"),
    [
        ("tails", "Jarque-Bera", "normality"),
        ("tails", "Shapiro-Wilk", "normality"),
        ("clusters", "ARCH-LM", "heteroskedasticity"),
        ("memory", "Ljung-Box", "autocorrelation"),
        ("memory", "runs", "independence"),
        ("chaos", "BDS", "independence"),
    ],
)
def test_what_is_wrong_is_found_and_said(kind, test, asks):
    found = diagnose_residuals(series(kind))

    row = found.table.loc[test]
    assert row["p_value"] < 1e-6
    assert row["is_rejected"]
    assert row["asks"] == asks
    assert asks in found.rejected
    assert not row["words"].startswith("nothing")


def test_logistic_map_is_white_to_correlations_but_not_to_bds():
    table = diagnose_residuals(series("chaos")).table

    assert not table.loc["Ljung-Box", "is_rejected"]
    assert table.loc["BDS", "is_rejected"]


def test_spread_that_grows_with_a_regressor_is_found():
    rng = RNG(3)
    z = rng.uniform(0, 1, 500)
    table = diagnose_residuals(rng.normal(size=500) * (0.2 + z), regressors=pd.DataFrame({"z": z}))

    assert table.table.loc["Breusch-Pagan", "p_value"] < 1e-6


def test_level_is_kept_on_independent_normal_values():
    """Each test rejects about one in twenty of what is as it should be."""
    rng = RNG(4)
    runs = [
        diagnose_residuals(rng.normal(size=200), regressors=rng.normal(size=200), lags=5)
        for _ in range(200)
    ]
    share = pd.concat([run.table["is_rejected"] for run in runs], axis=1).mean(axis=1)

    # Three standard errors of a share of one in twenty; BDS rejects too often in small samples.
    assert (share.drop("BDS") < 0.05 + 3 * 0.0155).all()
    assert share["BDS"] < 0.2
    assert share.mean() > 0.02
    assert all(
        words.startswith("nothing")
        for words in runs[0].table["words"][~runs[0].table["is_rejected"]]
    )


def test_long_series_leave_out_shapiro_and_shorten_bds():
    x = RNG(5).normal(size=5_001)
    table = diagnose_residuals(x).table

    assert "Shapiro-Wilk" not in table.index
    assert table.loc["BDS", "n"] == 2_000
    assert table.loc["BDS", "p_value"] == pytest.approx(float(bds(x[-2_000:], max_dim=2)[1]))
    assert table.loc["Ljung-Box", "n"] == 5_001


@pytest.mark.parametrize(
    ("x", "options", "words"),
    [
        (np.zeros(100), {}, "1 different value"),
        (np.r_[np.zeros(95), 1.0, 2, 3, 4, 5], {}, "6 different values"),
        (np.r_[RNG(0).normal(size=99), np.nan], {}, "none missing"),
        (RNG(0).normal(size=15), {}, "at least 22"),
        (RNG(0).normal(size=(50, 2)), {}, "one series"),
        (RNG(0).normal(size=100), {"fitted": 10}, "more lags"),
        (RNG(0).normal(size=100), {"level": 1.0}, "between 0 and 1"),
        (RNG(0).normal(size=100), {"regressors": np.ones(100)}, "no constant"),
        (RNG(0).normal(size=100), {"regressors": np.arange(99.0)}, "one row for each"),
    ],
)
def test_residuals_that_cannot_be_tested_are_refused(x, options, words):
    with pytest.raises(DataError, match=words):
        diagnose_residuals(x, **options)
