"""Protects Kelly's stakes: closed forms, and nothing where the sample shows no edge."""

from math import inf, nan, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.errors import DataError
from workbench.core.measures import kelly_fraction, kelly_stake
from workbench.risk import kelly
from workbench.risk.kelly import kelly_size


@given(p=st.floats(0.05, 0.95), gain=st.floats(0.1, 5), loss=st.floats(0.1, 1))
def test_kelly_of_a_coin_is_that_of_the_numeric_maximum(p, gain, loss):
    """RK-06."""
    numeric = kelly.discrete_kelly(np.array([gain, -loss]), np.array([p, 1 - p]))
    assert numeric == pytest.approx(kelly_stake(p, gain=gain, loss=loss), abs=1e-9)


def test_kelly_of_trades_is_that_of_their_coin():
    trades = np.array([20.0, -10.0, 20.0, -10.0, -10.0])
    assert kelly_fraction(trades) == pytest.approx(kelly_stake(0.4, gain=2.0))
    assert kelly.discrete_kelly(trades / 10, np.full(5, 0.2)) == pytest.approx(0.1)


@given(share=st.floats(0, 2), mean=st.floats(0.01, 1), sd=st.floats(0.05, 2))
def test_fraction_of_kelly_keeps_its_share_of_the_growth(share, mean, sd):
    """RK-06: half of it keeps three quarters."""
    whole = kelly.continuous_kelly(mean, sd)
    growth = kelly.continuous_growth(share * whole, mean, sd)
    best = kelly.continuous_growth(whole, mean, sd)
    assert growth == pytest.approx(kelly.kelly_growth_share(share) * best, abs=1e-9 * best)


def coin_flips(p, n=1_000):
    flips = np.where(np.random.default_rng(3).permutation(n) < p * n, 1.0, -1.0)
    return 0.1 * flips


def test_kelly_size_finds_the_coin_and_stays_below_it():
    """RK-06: ten times the stake of the coin, whose bets are a tenth."""
    found = kelly_size(coin_flips(0.6), fraction=0.5, cap=5.0, block=1.0)
    error = 10 * 2 * sqrt(0.24 / 1_000)
    assert found.full == pytest.approx(2.0, abs=1e-6)
    assert found.low == pytest.approx(2.0 - 1.2816 * error, abs=0.08)
    assert found.high == pytest.approx(2.0 + 1.2816 * error, abs=0.08)
    assert found.size == pytest.approx(0.5 * found.low)
    assert found.note == ""
    capped = kelly_size(coin_flips(0.6), cap=0.3)
    assert (capped.size, capped.note) == (0.3, "capped at 0.3")


@pytest.mark.parametrize(
    ("returns", "note"),
    [
        (coin_flips(0.5), "no edge"),
        (coin_flips(0.45), "no edge"),
        (coin_flips(0.515), "no edge"),
        (coin_flips(0.6, n=249), "249 returns are fewer than the 250"),
        (np.full(300, 0.01), "no return is a loss"),
    ],
)
def test_kelly_size_without_a_proven_edge_is_zero_and_says_why(returns, note):
    """RK-06: an edge that the sample cannot tell from luck is none."""
    found = kelly_size(returns)
    assert found.size == 0.0
    assert note in found.note


@pytest.mark.parametrize("bad", [nan, inf])
def test_kelly_size_of_a_sample_with_a_hole_is_an_error(bad):
    """Known trap: the default that hides total failure."""
    returns = coin_flips(0.6)
    returns[7] = bad
    with pytest.raises(DataError, match="bar 7"):
        kelly_size(returns)


def test_kelly_size_is_seldom_above_the_truth():
    """RK-06: nominally one bound in ten is, and one sample in ten without an edge is traded."""
    noise = np.random.default_rng(5).uniform(-0.05, 0.05, (100, 500))
    fooled = sum(kelly_size(x, seed=i, reps=200).size > 0 for i, x in enumerate(noise))
    assert 0 < fooled <= 18
    told = [kelly_size(x + 0.004, seed=i, reps=200) for i, x in enumerate(noise)]
    grid = np.linspace(-0.046, 0.054, 10_001)
    truth = kelly.discrete_kelly(grid, np.full(len(grid), 1 / len(grid)))
    assert sum(found.low > truth for found in told) <= 18
    assert sum(found.size > 0 for found in told) > 90


@pytest.mark.parametrize(
    "call",
    [
        lambda: kelly_size(coin_flips(0.6), fraction=1.5),
        lambda: kelly_size(coin_flips(0.6), level=1.0),
        lambda: kelly.discrete_kelly(np.array([1.0, 2.0]), np.array([0.5, 0.5])),
        lambda: kelly.discrete_kelly(np.array([1.0, -2.0]), np.array([0.5, 0.6])),
    ],
)
def test_options_out_of_range_are_refused(call):
    with pytest.raises(DataError):
        call()
