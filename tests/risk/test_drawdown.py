"""Protects drawdown-constrained sizes: the chance of a diffusion, and breaches as rare as asked."""

from math import inf, nan, pi, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from tests.risk.simulated import garch_returns
from workbench.core.errors import DataError
from workbench.core.measures import drawdown_path, max_drawdown
from workbench.risk.drawdown import (
    diffusion_multiple,
    drawdown_chance,
    historical_multiple,
    simulated_multiple,
)

MEAN, SD = 0.001, 0.02


@given(sd=st.floats(0.05, 3), horizon=st.floats(0.1, 50))
@settings(max_examples=10, deadline=None)
def test_mean_drawdown_without_drift_is_the_published_one(sd, horizon):
    """Magdon-Ismail et al. (2004): sqrt(pi / 2) sd sqrt(T)."""
    scale = sd * sqrt(horizon)
    mean, _ = quad(
        lambda h: drawdown_chance(h * scale, mean=0.0, sd=sd, horizon=horizon), 1e-3, 9.0
    )
    assert mean + 1e-3 == pytest.approx(sqrt(pi / 2), rel=1e-5)


@pytest.mark.parametrize(
    ("depth", "mean", "sd", "horizon", "chance"),
    [
        (1.0, 0.0, 1.0, 1.0, 0.629222578),
        (0.5, 0.3, 0.4, 2.0, 0.437855820),
        (0.3, 0.5, 0.2, 3.0, 0.018186354),
        (0.2, -0.1, 0.3, 0.5, 0.745560395),
        (0.3, 0.8, 0.2, 10.0, 0.001909273),
    ],
)
def test_drawdown_chance_is_that_of_the_series(depth, mean, sd, horizon, chance):
    """From the eigenfunctions of the drawdown, reflected at 0 and stopped at the depth."""
    found = drawdown_chance(depth, mean=mean, sd=sd, horizon=horizon)
    assert found == pytest.approx(chance, abs=2e-8)


@given(
    mean=st.floats(-0.01, 0.01), sd=st.floats(0.001, 0.1), horizon=st.floats(1, 5_000),
    depth=st.floats(0.001, 2.0),
)  # fmt: skip
def test_drawdown_chance_rises_with_time_and_falls_with_depth_and_drift(mean, sd, horizon, depth):
    def chance(h=depth, m=mean, t=horizon):
        return drawdown_chance(h, mean=m, sd=sd, horizon=t)

    assert 0.0 <= chance() <= 1.0
    assert chance(t=2 * horizon) >= chance() - 1e-6
    assert chance(h=2 * depth) <= chance() + 1e-6
    assert chance(m=mean + 0.01) <= chance() + 1e-6
    assert chance(t=inf) == 1.0


def test_diffusion_multiple_is_breached_as_rarely_as_asked():
    """RK-08: by simulation. Bars see a little less of the motion than there is."""
    limit, days, fine, confidence = 0.6, 400, 4, 0.8
    multiple = diffusion_multiple(MEAN, SD, limit=limit, horizon_bars=days, confidence=confidence)
    noise = np.random.default_rng(1).standard_normal((3_000, days * fine))
    logs = (multiple * MEAN - (multiple * SD) ** 2 / 2) / fine + multiple * SD / sqrt(fine) * noise
    breaches = (drawdown_path(np.expm1(logs)).max(axis=1) > limit).mean()
    assert 0.8 * (1 - confidence) < breaches <= 1 - confidence


@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_historical_multiple_lets_just_so_many_stretches_of_history_exceed(confidence):
    """RK-08: counted one by one."""
    returns = garch_returns(1, 700)[:, 0]
    given_ = {"limit": 0.15, "horizon_bars": 60, "confidence": confidence}
    multiple = historical_multiple(returns, **given_)

    def beyond(m):
        return np.mean([max_drawdown(m * returns[i : i + 60]) > 0.15 for i in range(641)])

    assert beyond(multiple) <= 1 - confidence
    assert beyond(multiple * 1.01) > 1 - confidence


def test_simulated_multiple_is_breached_as_rarely_as_asked_by_a_future_it_has_not_seen():
    """RK-08: over many histories, each with futures of its own; what was seen is not the truth."""
    limit, days, breaches = 0.15, 250, []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        past, future = (MEAN + 0.01 * rng.standard_t(6, shape) for shape in (250, (50, days)))
        multiple = simulated_multiple(
            past, limit=limit, horizon_bars=days, confidence=0.9, paths=300, seed=seed
        )
        breaches.append((drawdown_path(multiple * future).max(axis=1) > limit).mean())
    assert 0.05 < np.mean(breaches) <= 0.1


@pytest.mark.parametrize("size", [historical_multiple, simulated_multiple])
def test_multiples_grow_with_the_limit_and_shrink_with_caution_and_time(size):
    returns = garch_returns(2, 800)[:, 0] + 0.0005

    def multiple(**changed):
        return size(returns, **({"limit": 0.2, "horizon_bars": 60, "confidence": 0.9} | changed))

    assert multiple(limit=0.1) < multiple() < multiple(limit=0.4)
    assert multiple(confidence=0.99) < multiple() < multiple(confidence=0.6)
    assert multiple(horizon_bars=200) < multiple()
    assert multiple(cap=0.5) == 0.5


def test_diffusion_multiple_for_ever_is_none():
    """Any constant multiple falls by any depth, sooner or later."""
    far = [diffusion_multiple(MEAN, SD, limit=0.2, horizon_bars=10**n) for n in (2, 4, 6)]
    assert far[0] > far[1] > far[2]
    assert diffusion_multiple(MEAN, 1e-6, limit=0.2, horizon_bars=100, cap=3.0) == 3.0


@pytest.mark.parametrize(
    "call",
    [
        lambda: drawdown_chance(0.0, mean=0.0, sd=1.0, horizon=1.0),
        lambda: drawdown_chance(1.0, mean=nan, sd=1.0, horizon=1.0),
        lambda: drawdown_chance(1.0, mean=0.0, sd=0.0, horizon=1.0),
        lambda: diffusion_multiple(MEAN, SD, limit=1.0, horizon_bars=10),
        lambda: historical_multiple(np.ones(5) * 0.01, limit=0.1, horizon_bars=6),
        lambda: historical_multiple(np.array([0.1, nan]), limit=0.1, horizon_bars=1),
        lambda: simulated_multiple(np.zeros(50), limit=0.1, horizon_bars=5),
        lambda: simulated_multiple(np.array([0.1, nan]), limit=0.1, horizon_bars=5),
        lambda: simulated_multiple(np.arange(5.0), limit=0.1, horizon_bars=0),
        lambda: simulated_multiple(np.arange(5.0), limit=0.1, horizon_bars=5, confidence=1.0),
    ],
)
def test_what_sets_no_size_is_refused(call):
    with pytest.raises(DataError):
        call()
