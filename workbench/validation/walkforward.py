"""Out of sample: choose anew in every window or split, and look only at what comes after.

Works on daily returns of every configuration of a rule strategy (what a sweep keeps), where
choosing anew is picking a column; a fitted strategy gives a function that learns from some rows and
answers with its returns on others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.core.errors import DataError
from workbench.core.measures import DAYS_A_YEAR, max_drawdown, sharpe, total_return
from workbench.validation.splits import Rows, Split, combinatorial_purged, paths

Floats = NDArray[np.float64]
FitPredict = Callable[[Rows, Rows], NDArray[np.floating]]
"""Learns from the first rows and returns what it earned on each of the second."""


@dataclass(frozen=True, slots=True)
class WalkForward:
    """What re-optimising in every window earned.

    Attributes
    ----------
    table : DataFrame
        A row for each window: first and last test row, ``chosen`` (configuration, -1 for a fitted
        strategy), annual Sharpe ratios ``is_sharpe`` and ``oos_sharpe``, annual mean returns
        ``is_mean`` and ``oos_mean``, ``oos_return``.
    rows : ndarray of shape (n_judged,)
        Rows that were judged, in order.
    returns : ndarray of shape (n_judged,)
        The stitched out-of-sample daily returns.
    """

    table: pd.DataFrame
    rows: Rows
    returns: Floats

    @property
    def sharpe(self) -> float:
        """Annual Sharpe ratio of the stitched returns."""
        return float(sharpe(self.returns, DAYS_A_YEAR))

    @property
    def drawdown(self) -> float:
        """Deepest fall of the stitched returns."""
        return float(max_drawdown(self.returns))

    @property
    def efficiency(self) -> float:
        """Mean out-of-sample return over mean in-sample return, of the windows (Pardo, 2008).

        NaN where nothing was earned in sample: there is nothing to keep.
        """
        inside = float(self.table["is_mean"].mean())
        return float(self.table["oos_mean"].mean()) / inside if inside > 0 else float("nan")

    @property
    def consistency(self) -> float:
        """Share of the windows that earned something."""
        return float((self.table["oos_return"] > 0).mean())


@dataclass(frozen=True, slots=True)
class Paths:
    """Whole out-of-sample paths by combinatorial purged cross-validation.

    Attributes
    ----------
    returns : ndarray of shape (n_paths, n_days)
    chosen : ndarray of shape (n_splits,)
        The configuration that each split chose.
    """

    returns: Floats
    chosen: NDArray[np.int64]

    @property
    def sharpes(self) -> Floats:
        """Annual Sharpe ratio of each path."""
        return np.array([sharpe(path, DAYS_A_YEAR) for path in self.returns])

    @property
    def p_loss(self) -> float:
        """Share of the paths that lost money."""
        return float(np.mean([total_return(path) <= 0 for path in self.returns]))


def walk_forward_returns(returns: NDArray[np.floating], splits: Sequence[Split]) -> WalkForward:
    """Choose the configuration with the best Sharpe ratio in every window, and follow it after.

    Parameters
    ----------
    returns : ndarray of shape (n_days, n_configurations)
        Daily simple returns of causal strategies.
    splits : sequence of Split
        Of ``splits.walk_forward``.

    Returns
    -------
    WalkForward

    Notes
    -----
    Row t of a causal strategy knows nothing after t, so its return on a test row is out of sample
    although the backtest ran over the whole span; only the choice must not see it. A day's return
    depends on positions taken before: a purge of one row leaves those out.
    """
    table = _check(returns)

    def fit_predict(train: Rows, test: Rows) -> tuple[int, Floats, Floats]:
        best = int(_sharpes(table[train]).argmax())
        return best, table[train, best], table[test, best]

    return _walk(fit_predict, splits)


def walk_forward_fit(fit_predict: FitPredict, splits: Sequence[Split]) -> WalkForward:
    """Fit in every window and follow the fit after; ``fit_predict(train, train)`` is in sample."""

    def both(train: Rows, test: Rows) -> tuple[int, Floats, Floats]:
        inside = np.asarray(fit_predict(train, train), dtype=np.float64)
        outside = np.asarray(fit_predict(train, test), dtype=np.float64)
        if outside.shape != test.shape or inside.shape != train.shape:
            raise DataError(
                f"The fit answered {outside.shape} returns for {test.shape} rows.",
                "fit_predict must return one return for each row that it is asked for.",
            )
        return -1, inside, outside

    return _walk(both, splits)


def combinatorial_paths(
    returns: NDArray[np.floating],
    *,
    n_groups: int = 10,
    n_test: int = 2,
    horizon_days: int = 1,
    embargo_days: int = 5,
) -> Paths:
    """Choose anew on the purged training rows of every split, and join the tests into paths.

    Parameters
    ----------
    returns : ndarray of shape (n_days, n_configurations)
    n_groups, n_test : int
        10 and 2 make 45 splits and 9 paths.
    horizon_days, embargo_days : int
        How far a day's outcome reaches ahead, and the days after a test that nothing learns from.

    Returns
    -------
    Paths

    References
    ----------
    .. [1] Lopez de Prado (2018), "Advances in Financial Machine Learning", Wiley, section 12.4.
    """
    table = _check(returns)
    days = np.arange(len(table), dtype=np.int64)
    splits = combinatorial_purged(
        days, days + horizon_days, n_groups=n_groups, n_test=n_test, embargo=embargo_days
    )
    if min(len(split.train) for split in splits) < 2:
        raise DataError(
            f"{len(table)} days leave nothing to learn from in some splits.",
            "Take more days, fewer groups or a shorter embargo.",
        )
    chosen = np.array([int(_sharpes(table[split.train]).argmax()) for split in splits])
    groups = np.array_split(days, n_groups)
    joined = [
        np.concatenate([table[groups[g], chosen[split]] for g, split in enumerate(path)])
        for path in paths(n_groups, n_test)
    ]
    return Paths(np.array(joined), chosen)


def by_regime(returns: pd.Series, regimes: pd.Series) -> pd.DataFrame:
    """Return days, annual Sharpe ratio, total return and drawdown within each regime.

    ``returns`` are daily and ``regimes`` labels on the same index; days without a label are left
    out. Days of one regime are joined, so a drawdown may span a gap.
    """
    if not returns.index.equals(regimes.index):
        raise DataError(
            "Returns and regimes are not on the same days.", "Reindex the regimes first."
        )
    rows = {}
    for label, part in returns.groupby(regimes.to_numpy()):
        values = part.to_numpy(dtype=np.float64)
        rows[label] = {
            "days": len(values),
            "sharpe": float(sharpe(values, DAYS_A_YEAR)),
            "total_return": float(total_return(values)),
            "max_drawdown": float(max_drawdown(values)),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("regime")


def _walk(
    choose: Callable[[Rows, Rows], tuple[int, Floats, Floats]], splits: Sequence[Split]
) -> WalkForward:
    if not splits:
        raise DataError("There is no window.", "Make some with splits.walk_forward.")
    rows: list[dict[str, float]] = []
    stitched: dict[int, float] = {}
    for split in splits:
        chosen, inside, outside = choose(split.train, split.test)
        rows.append(
            {
                "first": int(split.test[0]),
                "last": int(split.test[-1]),
                "chosen": chosen,
                "is_sharpe": float(sharpe(inside, DAYS_A_YEAR)),
                "oos_sharpe": float(sharpe(outside, DAYS_A_YEAR)),
                "is_mean": float(inside.mean() * DAYS_A_YEAR),
                "oos_mean": float(outside.mean() * DAYS_A_YEAR),
                "oos_return": float(total_return(outside)),
            }
        )
        for row, value in zip(split.test.tolist(), outside, strict=True):
            # Where windows overlap, the first to judge a day counts: it knew the least.
            stitched.setdefault(row, float(value))
    order = np.array(sorted(stitched), dtype=np.int64)
    values = np.array([stitched[row] for row in order.tolist()])
    return WalkForward(pd.DataFrame(rows).rename_axis("window"), order, values)


def _sharpes(table: Floats) -> Floats:
    mean, spread = table.mean(axis=0), table.std(axis=0, ddof=1)
    # A column that never moved in the window cannot be preferred to one that earned.
    ratio: Floats = np.divide(mean, spread, out=np.zeros_like(mean), where=spread > 0)
    return ratio * sqrt(DAYS_A_YEAR)


def _check(returns: NDArray[np.floating]) -> Floats:
    table = np.asarray(returns, dtype=np.float64)
    if table.ndim != 2 or not np.isfinite(table).all():
        raise DataError(
            f"Returns of shape {table.shape} are not a whole table.",
            "Give daily returns of shape (n_days, n_configurations) without missing ones.",
        )
    return table
