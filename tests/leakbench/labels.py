"""Splits whose training labels reach into the test."""

import numpy as np
import pandas as pd
from sklearn.model_selection import KFold, TimeSeriesSplit

from workbench.validation.leaks import Labels
from workbench.validation.splits import PurgedKFold, walk_forward

HORIZON = 12


def _spans(market):
    starts = market.index[:-HORIZON]
    return starts, starts + HORIZON * market.bar_length


def _barriers(market):
    # The label of a bar ends where its price has first moved by one per cent, within a day.
    close = market.close.iloc[:, 0].ffill().bfill().to_numpy()
    starts, ends = market.index[:-24], []
    for row in range(len(starts)):
        moved = np.abs(close[row : row + 25] / close[row] - 1) >= 0.01
        ends.append(market.index[row + (int(moved.argmax()) if moved.any() else 24)])
    return starts, pd.DatetimeIndex(ends)


def k_folds_leak(market):
    """Plain folds: neighbours of the test are learnt from."""
    starts, ends = _spans(market)
    return Labels(starts, ends, KFold(5).split(starts))


def k_folds_clean(market):
    starts, ends = _spans(market)
    folds = PurgedKFold(pd.Series(ends, starts), n_splits=5)
    return Labels(starts, ends, folds.split(pd.DataFrame(index=starts)))


def shuffled_leak(market):
    """Shuffled folds: every test row has neighbours that are learnt from."""
    starts, ends = _spans(market)
    return Labels(starts, ends, KFold(5, shuffle=True, random_state=0).split(starts))


def shuffled_clean(market):
    starts, ends = _barriers(market)
    folds = PurgedKFold(pd.Series(ends, starts), n_splits=5, embargo=pd.Timedelta("6h"))
    return Labels(starts, ends, folds.split(pd.DataFrame(index=starts)))


def expanding_leak(market):
    """Time is respected, the labels are not: there is no gap."""
    starts, ends = _spans(market)
    return Labels(starts, ends, TimeSeriesSplit(5).split(starts))


def expanding_clean(market):
    starts, ends = _spans(market)
    return Labels(starts, ends, TimeSeriesSplit(5, gap=HORIZON).split(starts))


def short_purge_leak(market):
    """The purge is that of another horizon."""
    starts, ends = _barriers(market)
    return Labels(starts, ends, walk_forward(len(starts), train=300, test=100, purge=2))


def short_purge_clean(market):
    starts, ends = _barriers(market)
    return Labels(starts, ends, walk_forward(len(starts), train=300, test=100, purge=24))
