"""Protects what scales weights before limits: targets are met, no edge is no size, no leak."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from tests.markets import random_market, scripted
from tests.risk.desk import NO_LIMITS
from workbench.backtest.run import run
from workbench.core.errors import ConfigError
from workbench.core.measures import annual_volatility
from workbench.risk.sizer import Sizer, Sizing

NOW = datetime(2024, 1, 1, tzinfo=UTC)
RNG = np.random.default_rng(3)
EDGE = RNG.normal(0.004, 0.02, 400)
NO_EDGE = RNG.normal(-0.001, 0.02, 400)


def course(sizer, n_days=420, mean=0.0, seed=1):
    """The multiples of a strategy that is always long one symbol, day by day, and its days."""
    rng = np.random.default_rng(seed)
    sizing = Sizing([sizer], n_symbols=1, leverage=1.0)
    seen = []
    for day in range(n_days):
        moved = rng.normal(mean, 0.02, 1)
        seen.append(sizing.advance(NOW + timedelta(days=day), moved, np.array([[4e-4]]))[0])
        sizing.take(np.array([[1.0]]))
    return np.array(seen), sizing


def test_run_sized_to_a_target_volatility_meets_it():
    """RK-05: within ten per cent, though the weights are a tenth of what it would take."""
    market = random_market(7, n_bars=24 * 400, n_symbols=2, volatility=0.006)
    strategy = scripted([[0.1, 0.1]] * market.n_bars, rebalance_band=0.02)
    target = Sizer(target_volatility=0.4, ceiling=10.0)
    plain = run(strategy, market, limits=NO_LIMITS)
    sized = run(strategy, market, limits=NO_LIMITS, sizer=target)
    days = sized.daily_returns.to_numpy()[30:]
    assert annual_volatility(plain.daily_returns.to_numpy(), 365) < 0.12
    assert annual_volatility(days, 365) == pytest.approx(0.4, rel=0.1)
    assert sized.risk.scales.iloc[-1, 0] > 3


def test_run_with_a_sizer_of_a_prefix_is_that_of_the_whole():
    market = random_market(2, n_bars=24 * 60, volatility=0.01)
    strategy = scripted([[0.3, -0.2]] * market.n_bars, rebalance_band=0.02)
    sizer = Sizer(target_volatility=0.3, kelly_fraction=0.5, max_drawdown=0.2, min_days=30)
    whole = run(strategy, market, limits=NO_LIMITS, sizer=sizer)
    part = run(strategy, market.until(market.index[900]), limits=NO_LIMITS, sizer=sizer)
    pd.testing.assert_frame_equal(part.risk.scales, whole.risk.scales.iloc[:901])
    np.testing.assert_array_equal(part.equity, whole.equity.iloc[:901])
    assert part.risk.scales.iloc[:, 0].nunique() > 3


@pytest.mark.parametrize(
    ("record", "low", "high"), [(EDGE, 0.5, 3.0), (NO_EDGE, 0.0, 0.0), (EDGE[:50], 0.25, 0.25)]
)
def test_size_by_kelly_is_what_the_record_supports(record, low, high):
    """RK-06: zero without an edge, the floor where there is too little to say."""
    sized = Sizer(kelly_fraction=0.5, ceiling=3.0).size(record, 0.4)
    assert low <= sized.multiple <= high
    assert len(sized.words) == 1


def test_size_by_drawdown_is_smaller_for_a_tighter_limit():
    """RK-08."""
    sizes = [Sizer(max_drawdown=d).size(EDGE, 0.4).multiple for d in (0.1, 0.2, 0.4)]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[2]


def test_size_blended_lies_between_and_a_veto_is_zero():
    """RK-09."""
    by_volatility = Sizer(target_volatility=0.8).size(EDGE, 0.4).multiple
    by_drawdown = Sizer(max_drawdown=0.15).size(EDGE, 0.4).multiple
    both = Sizer(target_volatility=0.8, max_drawdown=0.15)
    assert by_drawdown < both.size(EDGE, 0.4).multiple < by_volatility
    vetoed = Sizer(target_volatility=0.8, kelly_fraction=0.5).size(NO_EDGE, 0.4)
    assert vetoed.multiple == 0.0
    assert "no edge" in vetoed.words[1]


def test_size_of_nothing_held_is_the_floor_and_of_nobody_asked_one():
    assert Sizer(target_volatility=0.2).size(EDGE, float("nan")).multiple == 0.25
    assert Sizer().size(EDGE, 0.4) == (1.0, ())


def test_sizing_answers_at_the_ends_of_days_and_no_oftener_than_asked():
    scales, sizing = course(Sizer(target_volatility=0.2, refit_days=7), n_days=60)
    assert (np.diff(np.flatnonzero(np.diff(scales))) % 7 == 0).all()
    assert len(sizing.days) == 59
    assert "to be 20%" in sizing.words[0][0]


def test_sizing_by_kelly_gives_size_back_to_a_record_that_recovers():
    """A size of zero is not for ever: the record goes on without trading."""
    sizer = Sizer(kelly_fraction=0.5, min_days=60, refit_days=1)
    rng, sizing = np.random.default_rng(0), Sizing([sizer], n_symbols=1, leverage=1.0)
    seen = []
    for day in range(500):
        moved = rng.normal(-0.004 if day < 120 else 0.006, 0.02, 1)
        seen.append(sizing.advance(NOW + timedelta(days=day), moved, np.array([[4e-4]]))[0])
        sizing.take(np.array([[1.0]]))
    assert 0.0 in seen[100:200]
    assert seen[-1] > 0.5


def test_sizer_that_makes_no_sense_is_refused():
    for fields in ({"floor": 3.0}, {"kelly_fraction": 2.0}, {"min_days": 5}, {"max_drawdown": 1.0}):
        with pytest.raises(ConfigError, match="cannot size"):
            Sizer(**fields)


def test_run_with_a_sizer_and_no_limits_says_what_is_missing():
    with pytest.raises(ConfigError, match="without limits"):
        run(scripted([1.0]), random_market(1), sizer=Sizer())
