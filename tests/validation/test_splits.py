"""Protects splits in time: nothing that is learnt from has seen what it is judged on."""

from math import comb

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skfolio.model_selection import CombinatorialPurgedCV
from sklearn.dummy import DummyRegressor
from sklearn.model_selection import TimeSeriesSplit, cross_val_score

from tests import refcases
from workbench.core.errors import DataError
from workbench.validation.splits import (
    PurgedKFold,
    choices,
    combinatorial_purged,
    n_paths,
    paths,
    purged_kfold,
    walk_forward,
)


@st.composite
def intervals(draw, least=12):
    """Ascending starts with labels of any length, whole numbers so that ends touch."""
    n = draw(st.integers(least, 60))
    gaps = draw(st.lists(st.integers(0, 3), min_size=n, max_size=n))
    lengths = draw(st.lists(st.integers(0, 12), min_size=n, max_size=n))
    starts = np.cumsum(gaps)
    return starts, starts + np.array(lengths)


def test_published_cases_all_hold(shared_data):
    """VA-04, VA-05."""
    path = shared_data.parent / "refcases" / "cv_purged_walkforward.json"
    outcomes = refcases.run_file(path)
    assert len(outcomes) >= 6
    assert [outcome for outcome in outcomes if not outcome.is_passed] == []


def check(split, starts, ends, embargo):
    """No training label touches a test run, none starts in the embargo, all else is kept."""
    runs = np.split(split.test, np.flatnonzero(np.diff(split.test) > 1) + 1)
    for i in range(len(starts)):
        is_clear = all(
            (starts[i] > ends[run].max() or ends[i] < starts[run].min())
            and not (embargo and ends[run].max() <= starts[i] <= ends[run].max() + embargo)
            for run in runs
        )
        assert (i in split.train) == (is_clear and i not in split.test)


@settings(max_examples=60, deadline=None)
@given(intervals(), st.integers(2, 6), st.integers(0, 8))
def test_purged_kfold_no_training_label_touches_the_test(given_intervals, n_splits, embargo):
    """VA-04."""
    starts, ends = given_intervals
    folds = purged_kfold(starts, ends, n_splits=n_splits, embargo=embargo)

    np.testing.assert_array_equal(np.concatenate([f.test for f in folds]), np.arange(len(starts)))
    for fold in folds:
        check(fold, starts, ends, embargo)


@settings(max_examples=40, deadline=None)
@given(intervals(), st.integers(3, 6), st.integers(1, 2), st.integers(0, 5))
def test_combinatorial_purged_no_training_label_touches_any_run(given_intervals, n, k, embargo):
    """VA-05."""
    starts, ends = given_intervals
    splits = combinatorial_purged(starts, ends, n_groups=n, n_test=k, embargo=embargo)

    assert len(splits) == comb(n, k)
    for split in splits:
        check(split, starts, ends, embargo)


def test_purged_kfold_learns_from_both_sides():
    folds = purged_kfold(np.arange(30), np.arange(30) + 2, n_splits=5, embargo=1)

    assert folds[2].train.min() == 0
    assert folds[2].train.max() == 29


def test_purged_kfold_open_intervals_keep_what_only_touches():
    starts, ends = np.arange(10.0), np.arange(10.0) + 1

    closed = purged_kfold(starts, ends, n_splits=2)[0]
    opened = purged_kfold(starts, ends, n_splits=2, is_closed=False)[0]

    assert closed.train[0] == 6
    assert opened.train[0] == 5


def test_purged_kfold_takes_moments_with_a_zone_and_a_span_as_embargo():
    starts = pd.date_range("2024-01-01", periods=48, freq="1h", tz="UTC")
    folds = purged_kfold(
        starts, starts + pd.Timedelta("3h"), n_splits=4, embargo=pd.Timedelta("5h")
    )

    assert folds[0].test.tolist() == list(range(12))
    assert folds[0].train[0] == 11 + 3 + 5 + 1


@pytest.mark.parametrize(("n_groups", "k"), [(6, 2), (10, 2), (8, 3), (5, 4), (4, 1)])
def test_paths_each_judges_every_group_once_by_a_split_that_tests_it(n_groups, k):
    splits, table = choices(n_groups, k), paths(n_groups, k)

    assert table.shape == (n_paths(n_groups, k), n_groups)
    for path in table:
        assert all(group in splits[split] for group, split in enumerate(path))
    used = [(split, group) for path in table for group, split in enumerate(path)]
    assert len(set(used)) == len(used) == len(splits) * k


def test_combinatorial_purged_equals_skfolio_for_a_constant_horizon():
    """skfolio purges rows, which is right where every label is as long."""
    n, horizon = 120, 3
    theirs = CombinatorialPurgedCV(n_folds=6, n_test_folds=2, purged_size=horizon, embargo_size=0)
    days = np.arange(n)
    ours = combinatorial_purged(days, days + horizon, n_groups=6, n_test=2)
    for split, (train, tests) in zip(ours, theirs.split(np.zeros((n, 1))), strict=True):
        np.testing.assert_array_equal(split.test, np.concatenate(tests))
        # skfolio purges after the test as many rows as before it.
        np.testing.assert_array_equal(split.train, train)


def test_walk_forward_equals_scikit_learn():
    ours = walk_forward(60, train=10, test=10, purge=2, is_anchored=True)
    theirs = list(TimeSeriesSplit(4, test_size=10, gap=2).split(np.zeros((60, 1))))
    for split, (train, test) in zip(ours[-3:], theirs[-3:], strict=True):
        assert split.test[0] - split.train[-1] == 3
        assert test[0] - train[-1] == 3
        assert len(split.test) == len(test)


@given(
    n=st.integers(20, 200), train=st.integers(1, 30), test=st.integers(1, 20),
    purge=st.integers(0, 5), step=st.integers(1, 20),
)  # fmt: skip
def test_walk_forward_never_learns_from_what_comes_after(n, train, test, purge, step):
    """VA-01."""
    if train + purge + test > n:
        with pytest.raises(DataError):
            walk_forward(n, train=train, test=test, purge=purge, step=step)
        return
    for is_anchored in (False, True):
        splits = walk_forward(
            n, train=train, test=test, purge=purge, step=step, is_anchored=is_anchored
        )
        for place, split in enumerate(splits):
            assert split.test[0] - split.train[-1] == purge + 1
            assert len(split.test) == test
            assert split.test[-1] < n
            assert split.train[0] == (0 if is_anchored else place * step)


def test_walk_forward_judges_every_row_after_the_first_window_once():
    splits = walk_forward(100, train=20, test=10)

    np.testing.assert_array_equal(np.concatenate([s.test for s in splits]), np.arange(20, 100))


def test_purged_kfold_splitter_serves_scikit_learn():
    index = pd.date_range("2024-01-01", periods=60, freq="1h", tz="UTC")
    x = pd.DataFrame({"a": np.arange(60.0)}, index=index)
    ends = pd.Series(index + pd.Timedelta("4h"), index=index)
    cv = PurgedKFold(ends, n_splits=3, embargo=pd.Timedelta("2h"))

    scores = cross_val_score(DummyRegressor(), x, x["a"], cv=cv, scoring="r2")

    assert len(scores) == cv.get_n_splits() == 3
    with pytest.raises(DataError, match="no end of their label"):
        next(PurgedKFold(ends.iloc[:50]).split(x))


@pytest.mark.parametrize(
    ("starts", "ends"), [([2, 1], [3, 3]), ([1, 2], [0, 3]), ([1, 2, 3], [2, 3])]
)
def test_intervals_out_of_order_are_refused(starts, ends):
    with pytest.raises(DataError):
        purged_kfold(np.array(starts), np.array(ends), n_splits=2)


@pytest.mark.parametrize(("n_groups", "k"), [(3, 3), (3, 0)])
def test_choices_that_leave_nothing_to_learn_from_are_refused(n_groups, k):
    with pytest.raises(DataError):
        choices(n_groups, k)
