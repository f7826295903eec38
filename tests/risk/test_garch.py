"""Protects GARCH: it finds what made the data, forecasts what the closed form says, owns up."""

import pickle

import numpy as np
import pytest
from arch.univariate import EGARCH, GARCH, ConstantMean, StudentsT
from scipy import stats
from scipy.optimize import OptimizeResult

from tests import refcases
from tests.risk.simulated import egarch_returns, garch_returns
from workbench.core.errors import DataError
from workbench.risk import garch
from workbench.risk.forecast import half_life, persistence, revert, simulate_paths, step_variance
from workbench.risk.garch import apply_garch, fit_garch
from workbench.risk.volatility import ewma

GARCH_11 = {"mu": 0.01, "omega": 0.1, "alpha": 0.08, "beta": 0.90, "nu": 6.0}
GJR_11 = GARCH_11 | {"alpha": 0.03, "gamma": 0.10}
EGARCH_11 = {"mu": 0.01, "omega": 0.02, "alpha": 0.15, "gamma": -0.08, "beta": 0.97, "nu": 6.0}
MODELS = {"garch": GARCH_11, "gjr": GJR_11, "egarch": EGARCH_11}


def test_published_cases_all_hold(shared_data):
    """RK-13, RK-15: Fiorentini, Calzolari and Panattoni, rmgarch, RiskMetrics."""
    outcomes = refcases.run_file(shared_data.parent / "refcases" / "garch_dcc.json")
    assert len(outcomes) >= 9
    assert [outcome for outcome in outcomes if not outcome.is_passed] == []


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("errors", ["student", "normal"])
def test_fit_recovers_simulated_garch(seed, errors):
    """RK-13: alpha and beta within 0.05."""
    x = garch_returns(seed, 4_000, alpha=0.08, beta=0.90, nu=8.0)[:, 0]
    fit = fit_garch(x, errors=errors)
    assert fit.note == ""
    assert fit.parameters["alpha"] == pytest.approx(0.08, abs=0.05)
    assert fit.parameters["beta"] == pytest.approx(0.90, abs=0.05)
    if errors == "student":
        assert fit.parameters["nu"] == pytest.approx(8.0, abs=2.5)
    assert fit.residuals.std() == pytest.approx(1.0, abs=0.05)


def test_fit_recovers_what_falls_do_to_gjr_and_egarch():
    x = garch_returns(4, 10_000, alpha=0.03, gamma=0.12, beta=0.85)[:, 0]
    p = fit_garch(x, model="gjr").parameters
    assert p["alpha"] == pytest.approx(0.03, abs=0.03)
    assert p["gamma"] == pytest.approx(0.12, abs=0.05)
    assert p["beta"] == pytest.approx(0.85, abs=0.05)
    x = egarch_returns(5, 6_000, alpha=0.2, gamma=-0.1, beta=0.95)
    p = fit_garch(x, model="egarch", errors="normal").parameters
    assert p["alpha"] == pytest.approx(0.2, abs=0.05)
    assert p["gamma"] == pytest.approx(-0.1, abs=0.03)
    assert p["beta"] == pytest.approx(0.95, abs=0.03)


def by_hand(x, model, p):
    """Variances and log-likelihood by the formulas of the docstring, a bar at a time."""
    e = 100 * x - p["mu"]
    first = np.mean(e**2)
    h = np.empty(len(e) + 1)
    if model == "egarch":
        h[0] = np.exp(p["omega"] + p["beta"] * np.log(first))
    else:
        h[0] = p["omega"] + persistence(model, p) * first
    for t, shock in enumerate(e):
        z = shock / np.sqrt(h[t])
        if model == "egarch":
            news = p["alpha"] * (abs(z) - np.sqrt(2 / np.pi)) + p["gamma"] * z
            h[t + 1] = np.exp(p["omega"] + news + p["beta"] * np.log(h[t]))
        else:
            weight = p["alpha"] + p.get("gamma", 0.0) * (shock < 0)
            h[t + 1] = p["omega"] + weight * shock**2 + p["beta"] * h[t]
    scale = np.sqrt(h[:-1] * (p["nu"] - 2) / p["nu"])
    return h / 1e4, stats.t.logpdf(e, p["nu"], scale=scale).sum()


@pytest.mark.parametrize("model", MODELS)
def test_applied_model_equals_its_formula(model):
    x = garch_returns(6, 300)[:, 0]
    done = apply_garch(x, parameters=MODELS[model], model=model, presample="residuals")
    variance, loglikelihood = by_hand(x, model, MODELS[model])
    np.testing.assert_allclose(done.variance, variance, rtol=1e-9)
    assert done.loglikelihood == pytest.approx(loglikelihood)
    np.testing.assert_allclose(done.residuals * np.sqrt(done.variance[:-1]) + done.mean, x)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("presample", ["smoothed", "residuals"])
def test_fit_is_a_maximum_of_its_likelihood(model, presample):
    x = garch_returns(7, 1_000)[:, 0]
    fit = fit_garch(x, model=model, presample=presample)
    for name, value in fit.parameters.items():
        for factor in (0.98, 1.02):
            near = fit.parameters | {name: factor * value}
            other = apply_garch(x, parameters=near, model=model, presample=presample)
            assert other.loglikelihood <= fit.loglikelihood + 1e-3


@pytest.mark.parametrize("model", [*MODELS, "ewma"])
def test_applied_model_knows_no_later_bar(model):
    x = garch_returns(8, 300)[:, 0]
    changed = x.copy()
    changed[200:] *= 5
    p = MODELS.get(model, {"mu": 0.0, "decay": 0.94})
    before, after = (apply_garch(y, parameters=p, model=model).variance for y in (x, changed))
    np.testing.assert_allclose(before[:201], after[:201], rtol=1e-12)
    assert after[201] != before[201]


@pytest.mark.parametrize("horizon", [1, 4, 24])
@pytest.mark.parametrize("model", ["garch", "gjr"])
def test_forecast_equals_that_of_arch(model, horizon):
    """RK-13: 1, 4 and 24 bars ahead."""
    x = garch_returns(9, 1_000)[:, 0]
    fit = fit_garch(x, model=model)
    theirs = ConstantMean(
        100 * x, volatility=GARCH(p=1, o=int(model == "gjr"), q=1), distribution=StudentsT()
    )
    variance = theirs.forecast(np.array(list(fit.parameters.values())), horizon=horizon).variance
    np.testing.assert_allclose(1e4 * fit.forecast(horizon), variance.iloc[-1], rtol=1e-9)
    assert fit.volatility_over(horizon) == pytest.approx(
        np.sqrt(variance.iloc[-1].sum()) / 100, rel=1e-9
    )


def test_egarch_forecast_equals_the_simulated_one_of_arch():
    x = garch_returns(10, 1_000)[:, 0]
    fit = apply_garch(x, parameters=EGARCH_11, model="egarch")
    theirs = ConstantMean(100 * x, volatility=EGARCH(p=1, o=1, q=1), distribution=StudentsT())
    variance = theirs.forecast(
        np.array(list(EGARCH_11.values())), horizon=24, method="simulation", simulations=40_000,
        random_state=np.random.RandomState(0),
    ).variance.iloc[-1]  # fmt: skip
    ours = 1e4 * fit.forecast(24, paths=40_000)
    assert ours[0] == pytest.approx(variance.iloc[0])
    np.testing.assert_allclose(ours, variance, rtol=0.03)


@pytest.mark.parametrize("model", MODELS)
def test_forecast_reverts_to_the_usual_variance(model):
    """RK-13: from above and from below, ever closer."""
    p = MODELS[model]
    for factor in (0.3, 3.0):
        x = factor * garch_returns(11, 200, sd=0.02)[:, 0]
        path = apply_garch(x, parameters=p, model=model).forecast(600, paths=2_000)
        usual = path[-100:].mean()
        if model != "egarch":
            assert usual == pytest.approx(p["omega"] / (1 - persistence(model, p)) / 1e4, rel=1e-2)
        gaps = np.abs(path[[0, 3, 23, 100]] - usual)
        assert (np.diff(gaps) < 0).all()


def test_variance_that_is_integrated_says_that_it_does_not_revert():
    p = GARCH_11 | {"alpha": 0.1, "beta": 0.9}
    fit = apply_garch(garch_returns(12, 200)[:, 0], parameters=p)
    assert "do not revert" in fit.note
    assert not fit.is_fallback
    assert half_life(fit.persistence) == np.inf
    np.testing.assert_allclose(np.diff(fit.forecast(10)), p["omega"] / 1e4)


def failing(*statuses):
    """What stands in for the optimiser: it ends with the statuses in turn, and keeps its starts."""
    starts = []
    real, waiting = garch._optimise, list(statuses)

    def optimise(x, model, errors, start, presample):
        starts.append(start)
        status = waiting.pop(0)
        if status == 0:
            return real(x, model, errors, start, presample)
        found = np.full(6, np.nan) if status < 0 else np.full(6, 0.5)
        return OptimizeResult(
            x=found[: 5 + (model != "garch")], fun=1.0, status=max(status, 0), message="no way"
        )

    return optimise, starts


@pytest.mark.parametrize(("status", "said"), [(9, "did not converge: no way"), (-1, "not finite")])
def test_fit_that_fails_is_an_ewma_that_says_so(monkeypatch, status, said):
    """RK-13: the convergence flag."""
    x = garch_returns(13, 300)[:, 0]
    monkeypatch.setattr(garch, "_optimise", failing(status)[0])
    fit = fit_garch(x, model="gjr")
    assert fit.is_fallback
    assert (fit.asked, fit.model) == ("gjr", "ewma")
    assert "EWMA stands in" in fit.note
    assert said in fit.note
    squares = (x - x.mean()) ** 2
    np.testing.assert_allclose(fit.variance, ewma(squares, start=squares[:75].mean()))
    np.testing.assert_array_equal(fit.forecast(5), fit.variance[-1])
    assert np.isnan(fit.loglikelihood)
    assert fit.persistence == 1.0
    again = apply_garch(x, parameters=fit.parameters, model=fit.model)
    np.testing.assert_allclose(again.variance, fit.variance)
    assert simulate_paths(fit, horizon_bars=3, paths=10).shape == (10, 3)


def test_fit_that_explodes_is_refused(monkeypatch):
    def optimise(*_):
        return OptimizeResult(x=np.array([0, 0.1, 0.6, 0.6, 5]), fun=1.0, status=0, message="")

    monkeypatch.setattr(garch, "_optimise", optimise)
    assert "explodes" in fit_garch(garch_returns(14, 300)[:, 0]).note


def test_fit_from_a_bad_start_starts_again(monkeypatch):
    x = garch_returns(15, 400)[:, 0]
    cold = fit_garch(x)
    optimise, starts = failing(9, 0)
    monkeypatch.setattr(garch, "_optimise", optimise)
    warm = fit_garch(x, start=cold)
    assert starts[0] is not None
    assert starts[1] is None
    assert warm.note == ""
    assert warm.parameters == cold.parameters


def test_fit_from_an_earlier_one_ends_at_the_same_place():
    x = garch_returns(16, 800)[:, 0]
    earlier, other = fit_garch(x[:770]), fit_garch(x, model="egarch")
    for start in (earlier, other):
        assert fit_garch(x, start=start).loglikelihood == pytest.approx(
            fit_garch(x).loglikelihood, abs=1e-3
        )


def test_simulated_paths_have_the_forecast_variance_and_repeat():
    fit = apply_garch(garch_returns(17, 1_000)[:, 0], parameters=GARCH_11)
    for draws in ("residuals", "errors"):
        paths = simulate_paths(fit, horizon_bars=24, paths=40_000, seed=3, draws=draws)
        # Drawn residuals have the variance that they have, not one.
        unit = np.mean(fit.residuals**2) if draws == "residuals" else 1.0
        assert paths.sum(axis=1).std() == pytest.approx(
            fit.volatility_over(24) * np.sqrt(unit), rel=0.06
        )
        again = simulate_paths(fit, horizon_bars=24, paths=40_000, seed=3, draws=draws)
        np.testing.assert_array_equal(paths, again)


def test_simulated_errors_have_the_tails_of_the_fit():
    x = garch_returns(21, 300)[:, 0]
    p = {"mu": 0.0, "omega": 1.0, "alpha": 0.0, "beta": 0.5, "nu": 4.5}
    for errors, kurtosis in (("student", 6.0), ("normal", 3.0)):
        fit = apply_garch(x, parameters=p, errors=errors)
        drawn = simulate_paths(fit, horizon_bars=1, paths=200_000, draws="errors")[:, 0]
        far = np.quantile(drawn / drawn.std(), 0.999)
        law = stats.t(4.5, scale=np.sqrt(2.5 / 4.5)) if errors == "student" else stats.norm()
        assert far == pytest.approx(law.ppf(0.999), rel=0.04)
        assert np.mean(drawn**4) / np.mean(drawn**2) ** 2 > kurtosis - 0.1


@pytest.mark.parametrize("model", [*MODELS, "ewma"])
def test_simulated_step_is_that_of_the_applied_model(model):
    p = MODELS.get(model, {"mu": 0.01, "decay": 0.9})
    done = apply_garch(garch_returns(20, 200)[:, 0], parameters=p, model=model)
    following = step_variance(model, p, 1e4 * done.variance[:-1], done.residuals)
    np.testing.assert_allclose(following, 1e4 * done.variance[1:], rtol=1e-9)


def test_simulated_paths_of_residuals_hold_nothing_else():
    fit = apply_garch(garch_returns(18, 200)[:, 0], parameters=GJR_11, model="gjr")
    first = simulate_paths(fit, horizon_bars=1, paths=500)[:, 0]
    allowed = fit.mean + np.sqrt(fit.variance[-1]) * fit.residuals
    assert np.isin(first.round(12), allowed.round(12)).all()


def test_revert_counts_from_the_variance_of_the_first_bar():
    assert revert(4.0, 1.0, 0.5, 4).tolist() == [4.0, 3.0, 2.5, 2.25]


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (np.append(np.ones(200), np.nan), "is nan"),
        (np.full(200, 0.01), "stand still"),
        (np.array([0.01, -0.01] * 49), "100 bars or more"),
        (np.array([0.01]), "100 bars or more"),
    ],
)
def test_returns_that_cannot_be_fitted_are_refused(x, said):
    with pytest.raises(DataError, match=said):
        fit_garch(x)


def test_fit_survives_pickling():
    fit = fit_garch(garch_returns(19, 200)[:, 0])
    again = pickle.loads(pickle.dumps(fit))
    np.testing.assert_array_equal(again.forecast(5), fit.forecast(5))
