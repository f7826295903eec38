"""Splits in time: walk-forward, purged k-fold with embargo, combinatorial purged.

Observation i is known at ``starts[i]`` and its label is known at ``ends[i]``; both ends belong to
the interval. What is learnt from an observation whose interval touches the test's would have seen
the test, so it is purged; the embargo is a span of time after the latest label end of a run of test
observations.

References
----------
.. [1] Lopez de Prado (2018), "Advances in Financial Machine Learning", Wiley, chapters 7 and 12.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from math import comb
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from workbench.core.errors import DataError

Rows = NDArray[np.int64]

NO_TIME: Final = 0.0
MIN_TEST_DAYS: Final = 10
"""The Sharpe ratio of fewer days tells nothing."""


@dataclass(frozen=True, slots=True)
class Split:
    """Rows to learn from and rows to judge on; ``groups`` names the test groups where there are."""

    train: Rows
    test: Rows
    groups: tuple[int, ...] = ()


def walk_forward(
    n: int,
    *,
    train: int,
    test: int,
    step: int | None = None,
    purge: int = 0,
    is_anchored: bool = False,
) -> list[Split]:
    """Return windows that move forward in time: learn from the rows before, judge on those after.

    Parameters
    ----------
    n : int
        Rows in all.
    train, test : int
        Rows of a window to learn from (the first one, if anchored) and to judge on.
    step : int, optional
        How far a window lies after the one before; by default ``test``, so that every row after
        the first training window is judged once.
    purge : int, default=0
        Rows left out between the two: as many as a label, or a position, reaches ahead.
    is_anchored : bool, default=False
        Whether every window learns from the first row on.

    Returns
    -------
    list of Split
        A last window that is not whole is left out.

    Raises
    ------
    DataError
        If not even one window fits.
    """
    step = test if step is None else step
    if min(train, test, step) < 1 or purge < 0 or train + purge + test > n:
        raise DataError(
            f"{n} rows hold no window of {train} + {purge} + {test}, moved by {step}.",
            "Shorten the windows or take more data.",
        )
    rows = np.arange(n)
    splits = []
    for first in range(0, n - train - purge - test + 1, step):
        end, begin = first + train, first + train + purge
        start = 0 if is_anchored else first
        splits.append(Split(rows[start:end], rows[begin : begin + test]))
    return splits


def default_windows(n_days: int) -> tuple[int, int]:
    """Return how many days a window learns from and judges on where nothing else is said.

    A quarter of them to learn, a twelfth to judge.
    """
    return n_days // 4, max(n_days // 12, MIN_TEST_DAYS)


def purged_kfold(
    starts: ArrayLike,
    ends: ArrayLike,
    *,
    n_splits: int = 5,
    embargo: Any = NO_TIME,
    is_closed: bool = True,
) -> list[Split]:
    """Return k folds in time; each learns from both sides of its test, purged and embargoed [1]_.

    Parameters
    ----------
    starts, ends : array-like of shape (n,)
        When each observation is known, ascending, and when its label is: numbers or moments.
    n_splits : int, default=5
        The test folds are those of ``numpy.array_split``.
    embargo : number or timedelta, default=0
        Time after the latest label end of the test in which no training observation may start.
    is_closed : bool, default=True
        Whether intervals that share no more than an end overlap.

    Raises
    ------
    DataError
        If the observations are not in order, a label ends before it starts, or there are fewer
        observations than folds.
    """
    intervals = _Intervals.read(starts, ends, is_closed=is_closed)
    groups = _groups(len(intervals), n_splits)
    return [Split(intervals.train([group], embargo), group, (k,)) for k, group in enumerate(groups)]


def combinatorial_purged(
    starts: ArrayLike,
    ends: ArrayLike,
    *,
    n_groups: int = 6,
    n_test: int = 2,
    embargo: Any = NO_TIME,
    is_closed: bool = True,
) -> list[Split]:
    """Return a split for every choice of ``n_test`` of ``n_groups`` groups as the test [1]_.

    Neighbouring test groups make one run, which is purged and embargoed as a whole. The splits
    come in lexicographic order of their groups; ``paths`` tells how their tests make whole paths.
    Parameters and errors are those of ``purged_kfold``.
    """
    intervals = _Intervals.read(starts, ends, is_closed=is_closed)
    groups = _groups(len(intervals), n_groups)
    splits = []
    for chosen in choices(n_groups, n_test):
        runs = [np.concatenate([groups[g] for g in run]) for run in _runs(chosen)]
        splits.append(Split(intervals.train(runs, embargo), np.concatenate(runs), chosen))
    return splits


def choices(n_groups: int, n_test: int) -> list[tuple[int, ...]]:
    """Return the test groups of each combinatorial split, in order."""
    if not 1 <= n_test < n_groups:
        raise DataError(
            f"{n_test} of {n_groups} groups cannot be the test.",
            "Leave at least one group to learn from.",
        )
    return list(combinations(range(n_groups), n_test))


def n_paths(n_groups: int, n_test: int) -> int:
    """Return how many whole paths the combinatorial splits make [1]_, section 12.4.1."""
    return comb(n_groups, n_test) * n_test // n_groups


def paths(n_groups: int, n_test: int) -> NDArray[np.int64]:
    """Return which split judges which group on which path.

    Returns
    -------
    ndarray of int of shape (n_paths, n_groups)
        Path j takes group g from the j-th of the splits that test it.
    """
    splits = choices(n_groups, n_test)
    columns = [[k for k, chosen in enumerate(splits) if g in chosen] for g in range(n_groups)]
    return np.array(columns, dtype=np.int64).T


@dataclass
class PurgedKFold:
    """``purged_kfold`` as a scikit-learn splitter: ``X`` is indexed by when rows are known.

    ``ends`` maps each of those moments to the end of its label.
    """

    ends: pd.Series
    n_splits: int = 5
    embargo: Any = field(default_factory=lambda: pd.Timedelta(0))

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:  # noqa: N803
        """Return the number of folds."""
        return self.n_splits

    def split(
        self,
        X: pd.DataFrame,  # noqa: N803 - scikit-learn's name
        y: Any = None,
        groups: Any = None,
    ) -> Iterator[tuple[Rows, Rows]]:
        """Yield training and test rows of each fold."""
        ends = self.ends.reindex(X.index)
        if ends.isna().any():
            raise DataError(
                f"{int(ends.isna().sum())} rows have no end of their label.",
                "Give `ends` for every moment of X's index.",
            )
        for part in purged_kfold(X.index, ends, n_splits=self.n_splits, embargo=self.embargo):
            yield part.train, part.test


@dataclass(frozen=True, slots=True)
class _Intervals:
    starts: NDArray[Any]
    ends: NDArray[Any]
    is_closed: bool

    @classmethod
    def read(cls, starts: ArrayLike, ends: ArrayLike, *, is_closed: bool) -> _Intervals:
        one, other = _times(starts), _times(ends)
        if one.shape != other.shape or one.ndim != 1:
            raise DataError(
                f"{one.shape} starts and {other.shape} ends do not belong together.",
                "Give one label end for each observation.",
            )
        if (one[1:] < one[:-1]).any() or (other < one).any():
            raise DataError(
                "The observations are not in the order of time, or a label ends before it starts.",
                "Sort by when they are known; a label is known no earlier than its observation.",
            )
        return cls(one, other, is_closed)

    def __len__(self) -> int:
        return len(self.starts)

    def train(self, runs: Sequence[Rows], embargo: Any) -> Rows:
        keep = np.ones(len(self), dtype=bool)
        for run in runs:
            first, last = self.starts[run].min(), self.ends[run].max()
            if self.is_closed:
                keep &= ~((self.starts <= last) & (self.ends >= first))
            else:
                keep &= ~((self.starts < last) & (self.ends > first))
            if embargo:
                span = pd.Timedelta(embargo) if self.starts.dtype.kind == "M" else embargo
                keep &= ~((self.starts >= last) & (self.starts <= last + span))
            keep[run] = False
        return np.flatnonzero(keep).astype(np.int64)


def _times(values: ArrayLike) -> NDArray[Any]:
    if isinstance(values, pd.Index | pd.Series):
        # Moments with a zone become plain UTC: they only have to be compared.
        if isinstance(values.dtype, pd.DatetimeTZDtype):
            index = pd.DatetimeIndex(values)
            return index.tz_convert("UTC").tz_localize(None).to_numpy()
        return values.to_numpy()
    return np.asarray(values)


def _groups(n: int, n_groups: int) -> list[Rows]:
    if not 2 <= n_groups <= n:
        raise DataError(
            f"{n} observations cannot make {n_groups} groups.",
            "Take from two groups to as many as there are observations.",
        )
    return list(np.array_split(np.arange(n, dtype=np.int64), n_groups))


def _runs(chosen: Sequence[int]) -> list[list[int]]:
    runs: list[list[int]] = []
    for group in chosen:
        if runs and group == runs[-1][-1] + 1:
            runs[-1].append(group)
        else:
            runs.append([group])
    return runs
