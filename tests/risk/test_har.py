"""Protects HAR: it finds the memory of a day, a week and a month, and admits failure."""

import numpy as np
import pytest
from arch.univariate import HARX

from workbench.core.errors import DataError
from workbench.risk.har import fit_har
from workbench.risk.volatility import ewma


def har_volatility(seed, n, *, constant=0.1, weights=(0.4, 0.3, 0.2)):
    """A volatility whose next value is a constant and weighted means of 1, 7 and 30 bars."""
    rng = np.random.default_rng(seed)
    x = np.full(n + 130, constant / (1 - sum(weights)))
    noise = 0.1 * np.clip(rng.standard_t(5, len(x)), -5, 5)
    for t in range(30, len(x)):
        means = [x[t - lag : t].mean() for lag in (1, 7, 30)]
        x[t] = max(constant + np.dot(weights, means) + noise[t], 0.05)
    return x[130:]


def test_fit_recovers_its_weights_in_any_unit():
    x = har_volatility(1, 6_000)
    fit = fit_har(0.01 * x)
    assert not fit.is_fallback
    assert fit.coefficients == pytest.approx((0.4, 0.3, 0.2), abs=0.08)
    assert fit.constant == pytest.approx(0.001, abs=0.0006)
    np.testing.assert_allclose(100 * fit.forecast(5), fit_har(x).forecast(5), rtol=1e-3)


def test_forecast_equals_that_of_arch_and_reverts():
    x = har_volatility(2, 1_000)
    fit = fit_har(x)
    model = HARX(x, lags=[1, 7, 30], use_rotated=False)
    parameters = np.array([fit.constant, *fit.coefficients, 0.01])
    theirs = model.fix(parameters).forecast(horizon=24).mean.iloc[-1]
    np.testing.assert_allclose(fit.forecast(24), theirs, rtol=1e-9)
    usual = fit.constant / (1 - sum(fit.coefficients))
    far = fit.forecast(400)
    assert abs(far[-1] - usual) < 0.2 * max(abs(far[0] - usual), 0.01)


def test_fit_that_fails_is_an_ewma_that_says_so(monkeypatch):
    x = har_volatility(3, 300)

    def stuck(*args, **kwargs):
        found = fit(*args, **kwargs)
        found.optimization_result.status = 9
        found.optimization_result.message = "no way"
        return found

    fit = HARX.fit
    monkeypatch.setattr(HARX, "fit", stuck)
    found = fit_har(x)
    assert found.is_fallback
    assert found.note == "EWMA stands in: HAR did not converge: no way"
    np.testing.assert_allclose(found.forecast(3), ewma(x)[-1])


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (np.ones(200), "stand still"),
        (np.array([1.0]), "bars or more"),
        (np.append(np.arange(200.0), np.nan), "is nan"),
        (np.arange(-1.0, 200.0), "negative"),
    ],
)
def test_volatility_that_cannot_be_fitted_is_refused(x, said):
    with pytest.raises(DataError, match=said):
        fit_har(x)
