"""How much of a result is luck: the candidate against every trial that was ever made."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.core.errors import DataError
from workbench.core.measures import DAYS_A_YEAR
from workbench.validation.deflation import (
    deflated_sharpe,
    effective_trials,
    min_track_record,
    sharpe_stats,
)
from workbench.validation.maxstat import MaxStatistic, max_statistic, studentise

if TYPE_CHECKING:
    from workbench.store import Store


@dataclass(frozen=True, slots=True)
class Trials:
    """Every trial that counts beside a candidate, on one calendar.

    Attributes
    ----------
    returns : ndarray of float32 of shape (n_days, n_trials)
        Daily returns, NaN outside the span of a trial.
    candidate : ndarray of float64 of shape (n_days,)
    made : Series
        When each trial was made, in order: the count over time.
    """

    returns: NDArray[np.float32]
    candidate: NDArray[np.float64]
    made: pd.Series


def gather_trials(store: Store, candidate: pd.Series, *, is_synthetic: bool) -> Trials:
    """Return every trial of the ledger on the same kind of market, with the candidate's returns.

    A trial counts whatever it was called and whoever made it: the family of a choice is all that
    was looked at. Trials on synthetic markets count for candidates on synthetic markets only.

    Parameters
    ----------
    store : Store
    candidate : Series of shape (n_days,)
        Daily returns, indexed by day.
    is_synthetic : bool
        Whether the candidate's market is made.

    Raises
    ------
    DataError
        If no trial is on record: the candidate itself should be one.
    """
    made, snapshots = store.trials(), store.snapshots().set_index("snapshot_id")
    kind = snapshots["is_synthetic"].reindex(made["snapshot_id"]).to_numpy(dtype=bool)
    made = made[kind == is_synthetic]
    if made.empty:
        raise DataError(
            "The ledger holds no trial on a market of this kind.",
            "Evaluate the strategy with research.backtest first: every look counts.",
        )
    returns = store.trial_returns(made["trial_id"].tolist()).T
    first = pd.Timestamp(min(made["first_day"]), tz="UTC")
    own = pd.DatetimeIndex(candidate.index)
    begin = min(first, own[0])
    days = pd.date_range(begin, max(first + pd.Timedelta(days=len(returns) - 1), own[-1]))
    table = np.full((len(days), returns.shape[1]), np.nan, dtype=np.float32)
    offset = (first - begin).days
    table[offset : offset + len(returns)] = returns
    return Trials(
        table,
        candidate.reindex(days).to_numpy(dtype=np.float64),
        made["created"].reset_index(drop=True),
    )


def measure_luck(
    trials: Trials, *, n_resamples: int, seed: int
) -> tuple[MaxStatistic, dict[str, Any]]:
    """Return the studentised maximum, and what the gate is shown of it and beside it."""
    test = max_statistic(trials.returns, trials.candidate, n_resamples=n_resamples, seed=seed)
    statistics = studentise(trials.returns)
    counts = np.isfinite(trials.returns).sum(axis=0)
    daily = (statistics / np.sqrt(np.maximum(counts, 1)))[np.isfinite(statistics)]
    own = sharpe_stats(trials.candidate)
    # One trial has no spread of Sharpe ratios: its own uncertainty stands in.
    variance = float(daily.var(ddof=1)) if len(daily) > 1 else own.standard_error**2
    effective = effective_trials(trials.returns[:, np.isfinite(statistics)], seed=seed)
    everyone, bar = deflated_sharpe(own, n_trials=test.n_trials, variance=variance)
    clustered, _ = deflated_sharpe(own, n_trials=max(effective, 1.0), variance=variance)
    needed = min_track_record(own)
    return test, {
        "max_statistic_p": test.p_value,
        "trials": test.n_trials,
        "trial_sharpe_variance": variance,
        "effective_trials": effective,
        "deflated_sharpe": everyone,
        "deflated_sharpe_effective": clustered,
        "expected_maximum_sharpe": bar * sqrt(DAYS_A_YEAR),
        "track_record_share": own.n / needed,
    }
