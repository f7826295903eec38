"""Protects the allocation: published weights, optimality, constraints kept, failures raised.

The one module of tests of the room that loads skfolio.
"""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import refcases
from workbench.core.errors import ConfigError, DataError, ModelError
from workbench.portfolio import allocation
from workbench.portfolio.allocation import (
    CALM_SHARE,
    METHODS,
    Constraints,
    Moments,
    allocate,
    estimate_moments,
)
from workbench.risk.regime import Regime
from workbench.risk.sizing import risk_parity

NAMES = ["BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT", "BNBUSDT"]
GIVEN = {
    "views": {"BTCUSDT": 0.001, "ETHUSDT - SOLUSDT": 0.0005},
    "regime": Regime.HIGH,
}


def simulated(seed=0, n=5, days=500, scale=0.04):
    rng = np.random.default_rng(seed)
    loads = rng.uniform(0.3, 1.0, n)
    values = rng.standard_normal((days, 1)) * loads + rng.standard_normal((days, n)) * 0.6
    values = values * rng.uniform(0.3, 1.0, n) * scale + 0.001
    return pd.DataFrame(values, columns=NAMES[:n])


def moments(seed=0, n=5, **changes):
    return estimate_moments(simulated(seed, n), **changes)


def allocate_all(ask, constraints):
    """The allocation of each method, and for each that has none the reason."""
    found, failed = {}, {}
    for method in METHODS:
        try:
            found[method] = allocate(ask, method=method, constraints=constraints, **GIVEN)
        except (ConfigError, ModelError) as error:
            failed[method] = str(error)
    return found, failed


def best_of_many(ask, objective, constraints, tries=4_000):
    """The best value of an objective over random weights that keep the constraints."""
    rng = np.random.default_rng(1)
    n = len(ask.mean)
    weights = rng.dirichlet(np.full(n, 0.7), tries)
    low, high = constraints.bounds(ask.mean.index)
    kept = weights[((weights >= low) & (weights <= high)).all(axis=1)]
    return max(objective(w) for w in kept)


def test_published_hierarchical_weights_are_reproduced(shared_data):
    """PM-04: all ten weights and the order of Lopez de Prado (2016)."""
    outcomes = refcases.run_file(shared_data.parent / "refcases" / "sizing_allocation.json")
    ours = [o for o in outcomes if o.method == "hrp"]
    assert [(o.case, o.is_passed) for o in ours] == [("hrp-ldp2016", True)]


@pytest.mark.parametrize("scale", [0.04, 0.0005], ids=["daily", "minutes"])
def test_risk_parity_is_that_of_the_sizing(scale):
    """PM-04: two independent solvers, and budgets, at daily and at tiny variances."""
    ask = estimate_moments(simulated(3, scale=scale))
    found = allocate(ask, method="risk_parity")
    assert np.allclose(found.weights, risk_parity(ask.covariance), atol=1e-5)
    assert np.allclose(found.risk_shares, 0.2, atol=1e-4)
    budgets = dict(zip(NAMES, [0.4, 0.3, 0.1, 0.1, 0.1], strict=True))
    budgeted = allocate(ask, method="risk_parity", budgets=budgets)
    assert np.allclose(budgeted.risk_shares, list(budgets.values()), atol=1e-4)


@pytest.mark.parametrize("scale", [0.04, 0.0005], ids=["daily", "minutes"])
def test_long_short_least_variance_is_the_closed_form(scale):
    """Without bounds that bind, C^-1 1 over its sum, at daily and at tiny variances."""
    ask = estimate_moments(simulated(4, scale=scale))
    free = Constraints(min_weight=-5, max_weight=5)
    raw = np.linalg.solve(ask.covariance, np.ones(5))
    found = allocate(ask, method="minimum_variance", constraints=free)
    assert np.allclose(found.weights, raw / raw.sum(), atol=1e-4)
    raw = np.linalg.solve(ask.covariance, ask.mean)
    tangent = allocate(ask, method="maximum_sharpe", constraints=free)
    assert np.allclose(tangent.weights, raw / raw.sum(), atol=1e-3)


def test_each_method_is_the_best_by_its_own_measure():
    """PM-04: no random portfolio under the same bounds is better."""
    ask, bounds = moments(5), Constraints(max_weight=0.45)
    sigma, mean = ask.covariance.to_numpy(), ask.mean.to_numpy()
    sd = np.sqrt(np.diag(sigma))
    measures = {
        "mean_variance": lambda w: w @ mean - 3.0 * w @ sigma @ w,
        "minimum_variance": lambda w: -(w @ sigma @ w),
        "maximum_sharpe": lambda w: w @ mean / np.sqrt(w @ sigma @ w),
        "maximum_diversification": lambda w: w @ sd / np.sqrt(w @ sigma @ w),
        "minimum_correlation": lambda w: -(w @ (sigma / np.outer(sd, sd)) @ w),
    }
    for method, measure in measures.items():
        found = allocate(ask, method=method, constraints=bounds, risk_aversion=3.0)
        best = best_of_many(ask, measure, bounds)
        assert measure(found.weights.to_numpy()) >= best - 1e-9 * abs(best), method
        assert measure(found.weights.to_numpy()) <= best + 0.2 * abs(best), method


def test_views_move_what_they_are_about_and_agreeing_ones_move_nothing():
    """Views equal to the equilibrium leave its equal weights, but for their own uncertainty."""
    ask = moments(6)
    equilibrium = ask.covariance.mean(axis=1)
    agreeing = allocate(ask, method="black_litterman", views=equilibrium.to_dict())
    assert np.allclose(agreeing.weights, 0.2, atol=0.005)
    views = {"BTCUSDT": 2 * float(equilibrium["BTCUSDT"])}
    bullish = allocate(ask, method="black_litterman", views=views)
    assert bullish.weights["BTCUSDT"] > 0.3
    relative = {"ETHUSDT - SOLUSDT": float(equilibrium["ETHUSDT"])}
    tilted = allocate(ask, method="black_litterman", views=relative).weights
    assert tilted["ETHUSDT"] > 0.2 > tilted["SOLUSDT"]


def test_regime_aware_goes_from_risk_parity_to_the_least_variance():
    ask = moments(7)
    calm = allocate(ask, method="risk_parity").weights
    least = allocate(ask, method="minimum_variance").weights
    sds = []
    for regime in (Regime.LOW, Regime.NORMAL, Regime.HIGH, Regime.CRISIS):
        found = allocate(ask, method="regime_aware", regime=regime)
        share = CALM_SHARE[regime]
        assert np.allclose(found.weights, share * calm + (1 - share) * least, atol=1e-6)
        sds.append(found.sd)
    assert sds == sorted(sds, reverse=True)
    unknown = allocate(ask, method="regime_aware", regime=Regime.UNKNOWN)
    assert np.allclose(unknown.weights, (calm + least) / 2, atol=1e-6)


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 10_000), high=st.floats(0.25, 1.0), low=st.floats(0.0, 0.1),
    group=st.floats(0.3, 0.9), is_short=st.booleans(), is_neutral=st.booleans(),
)  # fmt: skip
def test_constraints_hold_or_the_method_says_why_not(seed, high, low, group, is_short, is_neutral):
    """PM-04: bounds, budget, gross and groups; whatever is found keeps them all."""
    groups = dict(zip(NAMES, ["old", "old", "new", "new", "new"], strict=True))
    constraints = Constraints(
        min_weight=-high if is_short else low, max_weight=high,
        budget=0.0 if is_neutral and is_short else 1.0, max_gross=1.6, groups=groups,
        group_limits={"old": (0.0 if not is_short else -1.0, group), "new": (-np.inf, 0.8)},
    )  # fmt: skip
    ask = moments(seed)
    ask = ask._replace(mean=ask.mean.abs())
    found, failed = allocate_all(ask, constraints)
    assert set(found) | set(failed) == set(METHODS)
    assert set(failed) >= {"hrp"}
    for own in found.values():
        w = own.weights
        assert constraints.violations(w) == []
        assert w.max() <= high + 1e-6
        assert w.min() >= (-high if is_short else low) - 1e-6
        assert w.sum() == pytest.approx(constraints.budget, abs=1e-6)
        assert w.abs().sum() <= 1.6 + 1e-6
        assert w[["BTCUSDT", "ETHUSDT"]].sum() <= group + 1e-6
        assert own.risk_shares.sum() == pytest.approx(1)
    if not is_short:
        # A solver that is not sure may refuse a problem that has an answer, and then says so.
        assert all("inaccurate" in failed[name] for name in set(failed) - {"hrp"}), failed
    assert all("equal" not in words for words in failed.values())


def test_violations_name_what_is_broken():
    own = Constraints(max_weight={"BTCUSDT": 0.1}, max_gross=1.0, groups={"ETHUSDT": "g"},
                      group_limits={"g": (0.9, 1.0)})  # fmt: skip
    weights = pd.Series([0.5, 0.7, 0.0, 0.0, 0.0], NAMES)
    assert [text.split(" by ")[0] for text in own.violations(weights)] == [
        "BTCUSDT", "group g", "the sum", "the gross",
    ]  # fmt: skip
    assert Constraints().violations(pd.Series(np.nan, NAMES)) != []


@pytest.mark.parametrize("method", METHODS)
def test_an_impossible_problem_raises_and_names_the_method(method):
    """Known trap: optimiser fallback to equal weights reported as success."""
    tight = Constraints(max_weight=0.1)
    with pytest.raises(ModelError, match=r"(risk_parity|" + method + r") found no weights: .+"):
        allocate(moments(1), method=method, constraints=tight, **GIVEN)


def test_no_positive_mean_leaves_no_best_sharpe_ratio():
    losing = moments(2, mean=pd.Series(-0.001, NAMES))
    with pytest.raises(ModelError, match="maximum_sharpe found no weights: the solver says"):
        allocate(losing, method="maximum_sharpe")


def test_weights_that_a_solver_is_not_sure_of_are_no_weights(monkeypatch):
    import warnings

    class Unsure:
        def fit(self, _):
            warnings.warn("Solution may be inaccurate.", stacklevel=1)

    changed = METHODS | {"hrp": METHODS["hrp"]._replace(build=lambda _: Unsure())}
    monkeypatch.setattr(allocation, "METHODS", changed)
    with pytest.raises(ModelError, match="hrp found no weights: Solution may be inaccurate"):
        allocate(moments(1), method="hrp")


def test_weights_that_break_a_constraint_are_no_weights(monkeypatch):
    class Loose:
        weights_ = np.array([0.9, 0.1, 0.1, 0.0, 0.0])

        def fit(self, _):
            return self

    changed = METHODS | {"hrp": METHODS["hrp"]._replace(build=lambda _: Loose())}
    monkeypatch.setattr(allocation, "METHODS", changed)
    with pytest.raises(ModelError, match="hrp broke its constraints: the sum by"):
        allocate(moments(1), method="hrp")


@pytest.mark.parametrize(
    ("method", "options", "words"),
    [
        ("equal", {}, "no method 'equal'"),
        ("hrp", {"constraints": Constraints(min_weight=-0.1)}, "long only"),
        ("hrp", {"constraints": Constraints(budget=0.5)}, "a budget of 1"),
        (
            "hrp",
            {"constraints": Constraints(groups={"BTCUSDT": "g"}, group_limits={"g": (0, 1)})},
            "no group limits",
        ),
        (
            "minimum_variance",
            {"constraints": Constraints(group_limits={"g": (0, 1)})},
            "without symbols",
        ),
        ("minimum_variance", {"constraints": Constraints(0.5, 0.4)}, "above max_weight"),
        ("black_litterman", {}, "needs views"),
        ("regime_aware", {}, "needs the regime"),
    ],
)
def test_what_a_method_cannot_do_is_told_before_it_tries(method, options, words):
    with pytest.raises(ConfigError, match=words):
        allocate(moments(1), method=method, **options)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda r: r.iloc[:1], "1 bars are common"),
        (lambda r: r.assign(ETHUSDT=0.0), "ETHUSDT did not move"),
        (lambda r: r.assign(ETHUSDT=np.nan), "share 0|has 0"),
        (
            lambda r: r.assign(BTCUSDT=r["BTCUSDT"][:250], ETHUSDT=r["ETHUSDT"][250:]),
            "BTCUSDT and ETHUSDT share 0",
        ),
        (lambda r: r.replace(r.iloc[0, 0], np.inf), "not all finite"),
        (lambda r: r[["BTCUSDT"]], "of 1 symbols"),
    ],
)
def test_returns_that_carry_no_allocation_are_refused(change, words):
    """NaN returns, constant prices, two symbols with disjoint history, a single bar."""
    with pytest.raises(DataError, match=words):
        estimate_moments(change(simulated()))


def test_expected_returns_are_given_for_each_symbol():
    with pytest.raises(DataError, match="no expected return of ETHUSDT"):
        moments(1, mean=pd.Series(0.001, NAMES).drop("ETHUSDT"))
    assert isinstance(moments(1, mean=pd.Series(0.001, NAMES)), Moments)


def test_all_methods_allocate_on_five_years_of_five_majors(shared_data):
    """PM-04 on real prices; each has its own character."""
    import polars as pl

    file = shared_data / "bybit_linear_major_long" / "ohlcv_1d.parquet"
    rows = pl.read_parquet(file).select("timestamp", "symbol", "close").to_dicts()
    closes = pd.DataFrame(rows).pivot(index="timestamp", columns="symbol", values="close")
    ask = estimate_moments(closes.pct_change(fill_method=None).iloc[1:])
    found, failed = allocate_all(ask, Constraints())
    assert failed == {}
    assert len({tuple(own.weights.round(4)) for own in found.values()}) == len(METHODS)
    assert found["minimum_variance"].sd == min(own.sd for own in found.values())
    assert found["minimum_variance"].weights.idxmax() == "BTCUSDT"
