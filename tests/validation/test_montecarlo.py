"""Protects Monte Carlo: exact where it can be, and within chance of the truth where it cannot."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from workbench.core.errors import DataError
from workbench.core.measures import max_drawdown, total_return
from workbench.validation.extremes import return_levels
from workbench.validation.montecarlo import (
    Outcomes,
    enumerate_trades,
    follow,
    ruin_probability,
    simulate_trades,
)
from workbench.validation.processes import MODELS, Jumps, fit_distribution, simulate_returns

TRADES = np.array([0.1, -0.08, 0.05, -0.12, 0.2, -0.05])


def heavy(n=1_500, seed=0, n_assets=1):
    rng = np.random.default_rng(seed)
    return 0.01 * rng.standard_t(5, (n, n_assets)) + 0.0005


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=20))
def test_follow_equals_the_measures_of_each_path(path):
    answer = follow(np.array([path, path[::-1]]))

    for k, returns in enumerate((path, path[::-1])):
        assert answer.final[k] == pytest.approx(1 + total_return(np.array(returns)))
        assert answer.drawdown[k] == pytest.approx(max_drawdown(np.array(returns)), abs=1e-12)


def test_follow_what_is_lost_stays_lost():
    """A return beyond -1 would turn the sign of the equity, and win by the next loss."""
    answer = follow(np.array([[0.1, -1.5, -1.5, 3.0]]))

    assert (answer.final[0], answer.drawdown[0]) == (0.0, 1.0)


def test_ruin_at_the_limit_counts_whatever_its_last_bit():
    assert follow(np.array([[0.1, -0.2]])).p_ruin(0.2) == 1.0


@pytest.mark.parametrize("is_resampled", [False, True])
def test_simulated_trades_are_within_chance_of_every_order(is_resampled):
    """VA-08: the order of trades, with and without replacement."""
    exact = enumerate_trades(TRADES, is_resampled=is_resampled)
    drawn = simulate_trades(TRADES, is_resampled=is_resampled, n_paths=40_000, seed=1)

    for limit in (0.1, 0.15, 0.2, 0.3):
        p = exact.p_ruin(limit)
        room = 4 * np.sqrt(p * (1 - p) / 40_000) + 1 / 40_000
        assert drawn.p_ruin(limit) == pytest.approx(p, abs=room)
    error = 4 * exact.final.std() / 200 + 1e-9
    assert drawn.final.mean() == pytest.approx(exact.final.mean(), abs=error)
    if not is_resampled:
        assert np.ptp(drawn.final) < 1e-12 < np.ptp(drawn.drawdown)


def test_simulated_trades_missed_and_slipped_cost_what_they_should():
    """VA-08: a trade is missed with its chance, and slips by an exponential of its mean."""
    same = np.full(400, 0.001)
    missed = simulate_trades(same, skip=0.25, n_paths=4_000, seed=2)
    slipped = simulate_trades(same, slippage_bps=5, n_paths=4_000, seed=3)

    assert np.log(missed.final).mean() == pytest.approx(300 * np.log1p(0.001), rel=0.01)
    assert np.log(missed.final).std() == pytest.approx(np.sqrt(75) * np.log1p(0.001), rel=0.05)
    assert np.log(slipped.final).mean() == pytest.approx(400 * 0.0005, rel=0.02)
    assert slipped.p_loss < 0.01 < slipped.p_ruin(0.0001)


@pytest.mark.parametrize(("p_win", "unit"), [(0.45, 1.0), (0.5, 2.0), (0.55, 1.0)])
def test_ruin_probability_equals_that_of_simulated_games(p_win, unit):
    rng, start, target = np.random.default_rng(0), 6.0, 14.0
    wealth = np.full(20_000, start)
    while ((wealth > 0) & (wealth < target)).any():
        playing = (wealth > 0) & (wealth < target)
        wealth[playing] += np.where(rng.random(playing.sum()) < p_win, unit, -unit)

    p = ruin_probability(p_win, start=start, target=target, unit=unit)
    assert (wealth <= 0).mean() == pytest.approx(p, abs=4 * np.sqrt(p * (1 - p) / 20_000))


def test_ruin_probability_of_large_and_endless_games():
    assert ruin_probability(0.4, start=5_000, target=10_000) == pytest.approx(1.0)
    assert ruin_probability(0.6, start=5_000, target=10_000) == pytest.approx(0.0, abs=1e-12)
    assert ruin_probability(0.6, start=2, target=np.inf) == pytest.approx((2 / 3) ** 2)
    assert ruin_probability(0.5, start=2, target=np.inf) == 1.0


@pytest.mark.parametrize(
    ("law", "name"),
    [
        (stats.norm(0.001, 0.02), "norm"),
        (stats.t(4, 0.001, 0.02), "t"),
        (stats.johnsonsu(0.8, 1.5, 0.001, 0.02), "johnsonsu"),
    ],
)
def test_fit_distribution_chooses_the_one_that_drew_by_akaike(law, name):
    """VA-08: the choice by AIC; quantiles of the fit are those of the law."""
    best, params, criteria = fit_distribution(law.rvs(4_000, random_state=3))

    assert best == name == criteria.idxmin()
    fitted = getattr(stats, best)(*params)
    np.testing.assert_allclose(fitted.ppf([0.05, 0.5, 0.95]), law.ppf([0.05, 0.5, 0.95]), atol=2e-3)


@pytest.mark.parametrize("model", sorted(MODELS))
def test_simulated_returns_have_the_moments_of_the_past(model):
    """VA-08: mean, deviation and correlation of two assets, whatever they are drawn from."""
    rng = np.random.default_rng(4)
    past = heavy(1_500, 1, 2) @ np.array([[1.0, 0.6], [0.0, 0.8]]) + rng.normal(0, 1e-4, (1_500, 2))
    options = {"model": model, "horizon": 20, "n_paths": 3_000, "seed": 5}
    one = simulate_returns(past, weights=np.array([1.0, 0.0]), **options)
    two = simulate_returns(past, weights=np.array([0.0, 1.0]), **options)

    assert one.shape == (3_000, 20)
    # A GARCH begins at the volatility of today.
    rel = 0.25 if model == "garch" else 0.06
    assert one.std() == pytest.approx(past[:, 0].std(), rel=rel)
    assert one.mean() == pytest.approx(
        past[:, 0].mean(), abs=4 * one.std() / np.sqrt(60_000) + 2e-4
    )
    tie = np.corrcoef(one.ravel(), two.ravel())[0, 1]
    assert tie == pytest.approx(np.corrcoef(past.T)[0, 1], abs=0.06)


def clusters(paths):
    """How far the size of one return tells that of the next."""
    size = np.abs(paths)
    return np.corrcoef(size[:, 1:].ravel(), size[:, :-1].ravel())[0, 1]


def test_simulated_returns_keep_what_their_model_knows_of_time():
    """VA-08: blocks, GARCH and regimes keep clusters of volatility, independent draws do not."""
    rng = np.random.default_rng(6)
    calm = np.repeat(rng.random(30) < 0.5, 60)
    past = rng.normal(0, np.where(calm, 0.005, 0.03))
    seen = {
        model: clusters(simulate_returns(past, model=model, horizon=60, n_paths=1_000, seed=1))
        for model in MODELS
    }

    assert clusters(past[None]) > 0.3
    assert max(seen["bootstrap"], seen["parametric"]) < 0.02
    assert min(seen["block"], seen["garch"], seen["regimes"]) > 0.1
    calmest = past[: np.flatnonzero(calm)[-1] + 1]
    wildest = past[: np.flatnonzero(~calm)[-1] + 1]
    for model in ("garch", "regimes"):
        first = [
            simulate_returns(x, model=model, horizon=1, n_paths=4_000, seed=2).std()
            for x in (calmest, wildest)
        ]
        assert first[1] > 2 * first[0]


def test_simulated_returns_are_the_same_for_a_seed_and_never_below_a_total_loss():
    past = heavy(300)
    options = {"horizon": 30, "n_paths": 50, "jumps": Jumps(0.05, -0.6, 0.3)}
    one, two, other = (simulate_returns(past, seed=seed, **options) for seed in (1, 1, 2))

    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, other)
    assert one.min() == -1.0


def test_jumps_add_their_moments():
    """Merton: the mean of a compound Poisson sum is rate * mean, its variance rate * E[size^2]."""
    past = np.tile([1e-9, -1e-9], 50)
    jumps = Jumps(0.1, -0.02, 0.05)
    drawn = simulate_returns(
        past, model="bootstrap", horizon=100, n_paths=4_000, jumps=jumps, seed=3
    )

    assert drawn.mean() == pytest.approx(-0.002, abs=4 * drawn.std() / np.sqrt(400_000))
    assert drawn.var() == pytest.approx(0.1 * (0.02**2 + 0.05**2), rel=0.03)


def test_terminal_losses_are_those_of_theory():
    """VA-08: independent normal returns end log-normally, nearly; terminal VaR and ES of that."""
    past = stats.norm(0.0, 0.01).ppf((np.arange(2_000) + 0.5) / 2_000)
    answer = follow(simulate_returns(past, model="parametric", horizon=100, n_paths=40_000, seed=4))

    log_mean, spread = -100 * 0.01**2 / 2, 0.1
    var = 1 - np.exp(log_mean + spread * stats.norm.ppf(0.05))
    assert answer.value_at_risk(level=0.95) == pytest.approx(var, rel=0.03)
    tail = np.exp(log_mean + spread**2 / 2) * stats.norm.cdf(stats.norm.ppf(0.05) - spread) / 0.05
    assert answer.expected_shortfall(level=0.95) == pytest.approx(1 - tail, rel=0.03)
    assert answer.p_loss == pytest.approx(stats.norm.cdf(-log_mean / spread), abs=0.015)


def test_convergence_is_the_spread_over_repetitions_and_falls_with_the_root():
    """VA-08: the stated standard error of a quantile is that of many simulations."""
    rng = np.random.default_rng(7)
    ends = np.exp(rng.normal(0, 0.2, (300, 2_000)))
    tables = [Outcomes(row, row).convergence(level=0.95, rows=2) for row in ends]

    spread = np.std([table["value_at_risk"].iloc[-1] for table in tables])
    error = np.mean([table["error"].iloc[-1] for table in tables])
    assert error == pytest.approx(spread, rel=0.15)
    first = np.mean([table["error"].iloc[0] for table in tables])
    assert list(tables[0].index) == [100, 2_000]
    assert first / error == pytest.approx(np.sqrt(20), rel=0.25)


@pytest.mark.parametrize("method", ["gpd", "gev"])
def test_return_levels_are_near_the_simulated_truth(method):
    """VA-11: quantiles of extremes against the law that drew them, inside the stated band."""
    bars, hits, ratios = [200.0, 1_000.0, 5_000.0], [], []
    truth = 0.01 * stats.t(4).isf(1 / np.array(bars))
    for seed in range(8):
        past = 0.01 * np.random.default_rng(seed).standard_t(4, 4_000)
        table = return_levels(past, bars=bars, method=method, level=0.99, reps=20, seed=seed)
        assert (table["low"] <= table["high"]).all()
        ratios.append(table["loss"] / truth)
        hits.append((table["low"] <= truth) & (truth <= table["high"]))

    np.testing.assert_allclose(np.median(ratios, axis=0), 1.0, atol=0.2)
    assert np.mean(hits) > 0.6


def test_return_levels_beyond_history_grow_with_the_tail():
    rng = np.random.default_rng(8)
    normal, heavy_tail = rng.normal(0, 0.01, 3_000), 0.01 * rng.standard_t(3, 3_000) / np.sqrt(3)
    thin, thick = (
        return_levels(x, bars=[100, 100_000], reps=2)["loss"] for x in (normal, heavy_tail)
    )

    assert thick.iloc[1] / thick.iloc[0] > 3 * thin.iloc[1] / thin.iloc[0] > 3


@pytest.mark.parametrize(
    "call",
    [
        lambda: simulate_trades(np.array([0.1])),
        lambda: simulate_trades(TRADES, skip=1.0),
        lambda: simulate_trades(TRADES, slippage_bps=-1.0),
        lambda: enumerate_trades(np.ones(11)),
        lambda: enumerate_trades(np.ones(8), is_resampled=True),
        lambda: simulate_trades(np.array([0.1, np.nan])),
        lambda: ruin_probability(1.0, start=1, target=2),
        lambda: ruin_probability(0.5, start=3, target=2),
        lambda: simulate_returns(np.zeros(50), horizon=5),
        lambda: simulate_returns(heavy(50, n_assets=2), horizon=5),
        lambda: return_levels(heavy(100)[:, 0], bars=[1_000]),
        lambda: return_levels(heavy(1_000)[:, 0], bars=[10]),
        lambda: return_levels(heavy(1_000)[:, 0], bars=[30], method="gev"),
    ],
)
def test_what_cannot_be_simulated_is_refused(call):
    with pytest.raises(DataError):
        call()


@settings(max_examples=25, deadline=None)
@given(limit=st.floats(0.01, 0.99), seed=st.integers(0, 50))
def test_deeper_ruin_is_rarer(limit, seed):
    answer = simulate_trades(TRADES, is_resampled=True, n_paths=200, seed=seed)

    assert answer.p_ruin(limit) >= answer.p_ruin(min(limit * 1.5, 1.0))
    assert 0 <= answer.p_loss <= 1
