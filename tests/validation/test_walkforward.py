"""Protects walk-forward and combinatorial paths: every choice is blind to what judges it."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.core.errors import DataError
from workbench.core.measures import sharpe
from workbench.validation.splits import n_paths, walk_forward
from workbench.validation.walkforward import (
    by_regime,
    combinatorial_paths,
    walk_forward_fit,
    walk_forward_returns,
)

RNG = np.random.default_rng


def returns(n_days=400, n=8, seed=0):
    return RNG(seed).normal(0.0, 0.01, (n_days, n))


def test_walk_forward_returns_choose_the_best_of_each_window():
    """VA-01, by a plain loop."""
    table = returns()
    splits = walk_forward(400, train=120, test=40, purge=1)

    answer = walk_forward_returns(table, splits)

    stitched = []
    for split, chosen in zip(splits, answer.table["chosen"], strict=True):
        scores = [sharpe(table[split.train, k], 365.0) for k in range(8)]
        assert chosen == int(np.argmax(scores))
        stitched.append(table[split.test, chosen])
    np.testing.assert_array_equal(answer.returns, np.concatenate(stitched))
    assert answer.sharpe == pytest.approx(sharpe(np.concatenate(stitched), 365.0))
    np.testing.assert_array_equal(answer.rows, np.arange(121, 121 + len(answer.rows)))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1_000), window=st.integers(0, 5))
def test_walk_forward_returns_shuffled_future_changes_no_earlier_choice(seed, window):
    table = returns(seed=seed)
    splits = walk_forward(400, train=100, test=50)
    cut = int(splits[window].test[0])
    other = table.copy()
    other[cut:] = RNG(seed + 1).permutation(other[cut:])

    one, two = walk_forward_returns(table, splits), walk_forward_returns(other, splits)

    pd.testing.assert_series_equal(
        one.table["chosen"].iloc[: window + 1], two.table["chosen"].iloc[: window + 1]
    )


def test_walk_forward_efficiency_of_noise_is_low_and_of_an_edge_high():
    splits = walk_forward(1_200, train=300, test=60)
    noise = [walk_forward_returns(returns(1_200, 30, s), splits).efficiency for s in range(20)]
    table = returns(1_200, 30)
    table[:, 3] += 0.003

    assert abs(np.mean(noise)) < 0.3
    answer = walk_forward_returns(table, splits)
    assert answer.efficiency > 0.6
    assert answer.consistency == 1.0
    assert (answer.table["chosen"] == 3).all()


def test_walk_forward_overlapping_windows_count_each_day_once():
    answer = walk_forward_returns(returns(), walk_forward(400, train=100, test=60, step=20))

    assert len(np.unique(answer.rows)) == len(answer.rows) == len(answer.returns)


def test_walk_forward_fit_asks_for_the_rows_of_each_window():
    table = returns(n=1)[:, 0]
    asked = []

    def fit_predict(train, test):
        asked.append((train.max(), test.max()))
        return np.sign(table[train].mean()) * table[test]

    answer = walk_forward_fit(fit_predict, walk_forward(400, train=100, test=50, purge=2))

    assert len(asked) == 2 * len(answer.table)
    assert all(test <= train or test - train > 2 for train, test in asked)
    assert answer.efficiency == answer.efficiency


def test_walk_forward_fit_answer_of_the_wrong_length_is_refused():
    with pytest.raises(DataError, match="one return for each row"):
        walk_forward_fit(lambda _, __: np.zeros(3), walk_forward(100, train=50, test=10))


def test_combinatorial_paths_cover_every_day_once_and_choose_blind():
    """VA-05: poisoned test days change what a path earned, never what was chosen for them."""
    table = returns(500, 12)
    answer = combinatorial_paths(table, n_groups=5, n_test=2, embargo_days=3)

    assert answer.returns.shape == (n_paths(5, 2), 500)
    for path in answer.returns:
        assert all(path[day] in table[day] for day in range(500))
    poisoned = table.copy()
    poisoned[:100, 0] += 1.0
    again = combinatorial_paths(poisoned, n_groups=5, n_test=2, embargo_days=3)
    # The splits whose test holds the first group: (0, 1), (0, 2), (0, 3), (0, 4).
    np.testing.assert_array_equal(answer.chosen[:4], again.chosen[:4])
    assert (again.chosen[4:] == 0).all()


def test_combinatorial_paths_of_an_edge_hardly_lose_and_of_noise_often_do():
    table = returns(1_000, 50)
    noise = combinatorial_paths(table)
    table[:, 9] += 0.003

    assert combinatorial_paths(table).p_loss == 0.0
    assert combinatorial_paths(table).sharpes.min() > 2
    assert noise.p_loss > 0.1


def test_combinatorial_paths_too_short_are_refused():
    with pytest.raises(DataError, match="nothing to learn from"):
        combinatorial_paths(returns(30, 3), embargo_days=30)


def test_by_regime_splits_the_days_and_leaves_out_those_without_a_label():
    days = pd.date_range("2024-01-01", periods=6, freq="1D", tz="UTC")
    values = pd.Series([0.01, -0.02, 0.03, 0.01, 0.0, 0.05], index=days)
    labels = pd.Series(["calm", "calm", "wild", "wild", None, "wild"], index=days)

    table = by_regime(values, labels)

    assert table.loc["calm", "days"] == 2
    assert table.loc["wild", "total_return"] == pytest.approx(1.03 * 1.01 * 1.05 - 1)
    assert table.loc["calm", "max_drawdown"] == pytest.approx(0.02)
    with pytest.raises(DataError):
        by_regime(values, labels.iloc[1:])


@pytest.mark.parametrize("bad", [np.zeros(5), np.full((10, 2), np.nan)])
def test_returns_that_are_no_whole_table_are_refused(bad):
    with pytest.raises(DataError):
        combinatorial_paths(bad)
