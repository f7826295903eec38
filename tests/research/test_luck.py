"""Protects the count: every trial on the same kind of market stands beside the candidate."""

import numpy as np
import pandas as pd
import pytest

import workbench as wb
from workbench.core.errors import DataError
from workbench.research.luck import gather_trials, measure_luck
from workbench.store import Store
from workbench.strategies import MovingAverageCross, TimeSeriesMomentum

GRID = {"fast": [6, 12, 24], "slow": [48, 96]}


def load(**changes):
    span = {"start": "2024-01-01", "end": "2024-07-01", "seed": 3, **changes}
    return wb.load(["BTCUSDT"], source="synthetic", **span)


def gather(result, *, is_synthetic=True):
    with Store.open() as store:
        return gather_trials(store, result.daily_returns, is_synthetic=is_synthetic)


def test_gather_counts_trials_of_every_name_and_span(home):
    """DESIGN 6: families are what was looked at, not what it was called."""
    first = load()
    wb.sweep(MovingAverageCross(), first, GRID, family="one")
    later = load(start="2024-03-01", end="2024-09-01", seed=4)
    result = wb.research.backtest(TimeSeriesMomentum(horizon=48), later, family="another")

    trials = gather(result)

    assert trials.returns.shape == (len(pd.date_range("2024-01-01", "2024-08-31")), 7)
    assert np.isnan(trials.returns[:60, -1]).all()
    assert np.isnan(trials.returns[-60:, 0]).all()
    own = trials.candidate[np.isfinite(trials.candidate)]
    np.testing.assert_allclose(own, result.daily_returns, rtol=1e-6)
    np.testing.assert_allclose(trials.returns[np.isfinite(trials.candidate), -1], own, atol=1e-7)
    assert len(trials.made) == 7


def test_gather_without_a_trial_of_that_kind_says_so(home):
    result = wb.research.backtest(TimeSeriesMomentum(horizon=48), load())

    with pytest.raises(DataError, match="no trial"):
        gather(result, is_synthetic=False)


def test_more_trials_never_make_luck_less_likely(home):
    """The p-value of the same candidate rises with what else was tried."""
    market = load()
    result = wb.research.backtest(TimeSeriesMomentum(horizon=48), market)
    _, alone = measure_luck(gather(result), n_resamples=500, seed=1)
    wb.sweep(MovingAverageCross(), market, {"fast": [2, 4, 8, 16], "slow": [32, 64, 128, 256]})

    test, among = measure_luck(gather(result), n_resamples=500, seed=1)

    assert (alone["trials"], among["trials"]) == (1, 17)
    assert among["max_statistic_p"] >= alone["max_statistic_p"]
    assert among["expected_maximum_sharpe"] > alone["expected_maximum_sharpe"] == 0
    assert 1 <= among["effective_trials"] <= 17
    assert test.p_value == among["max_statistic_p"]
