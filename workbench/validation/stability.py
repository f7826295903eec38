"""Stability: does a result hang on a month, a half, ten days or one window of time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.core.errors import DataError
from workbench.core.measures import (
    DAYS_A_YEAR,
    annual_volatility,
    max_drawdown,
    sharpe,
    total_return,
)
from workbench.core.records import Market
from workbench.validation.frozen import side_by_side
from workbench.validation.resample import bootstrap_interval

Floats = NDArray[np.float64]

SHORTEST_DAYS: Final = 30
BEST_DAYS: Final = 10


@dataclass(frozen=True, slots=True)
class Subsamples:
    """A score on parts of the days.

    Attributes
    ----------
    table : DataFrame
        ``days``, ``sharpe`` (a year) and ``total_return`` on all days, on each half, on odd and
        even months, and without the best month and the best ten days.
    months : DataFrame
        The same with each calendar month left out.
    interval : tuple of float
        Where the Sharpe ratio of all days lies nine times of ten, by the stationary bootstrap.
    """

    table: pd.DataFrame
    months: pd.DataFrame = field(repr=False)
    interval: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Rolling:
    """Values from window to window.

    Attributes
    ----------
    table : DataFrame
        By the end of each window.
    """

    table: pd.DataFrame

    @property
    def summary(self) -> pd.DataFrame:
        """By value that is a number: mean, std, min, max, ``same_sign`` and ``trend``.

        ``same_sign`` is the share of the windows with the sign of the mean, ``trend`` Spearman's
        rank correlation with time (windows overlap, so it has no p-value).
        """
        numbers = self.table.select_dtypes("number").astype(np.float64)
        answer = numbers.agg(["mean", "std", "min", "max"]).T
        answer["same_sign"] = (np.sign(numbers) == np.sign(numbers.mean())).mean()
        time = pd.Series(np.arange(len(numbers)), numbers.index)
        answer["trend"] = numbers.rank().corrwith(time)
        return answer


def subsamples(returns: pd.Series, *, reps: int = 2_000, seed: int = 0) -> Subsamples:
    """Score parts of the days: does the result hang on a month, a half, or ten days.

    Parameters
    ----------
    returns : Series of shape (n_days,)
        Daily returns as ``Result.daily_returns``, indexed by day.
    reps, seed : int
        Of the bootstrap.

    Returns
    -------
    Subsamples

    Raises
    ------
    DataError
        If there are not two calendar months and thirty days, all finite.
    """
    values = _daily(returns)
    days = pd.DatetimeIndex(returns.index)
    month = days.year * 12 + days.month
    names = np.unique(month)
    if len(names) < 2 or len(values) < SHORTEST_DAYS:
        raise DataError(f"{len(values)} days have no parts to compare.", "Give two months or more.")
    half = np.arange(len(values)) < len(values) // 2
    months = pd.DataFrame(
        [_score(values[month != name]) for name in names],
        index=pd.Index([f"{(n - 1) // 12}-{(n - 1) % 12 + 1:02d}" for n in names], name="without"),
    )
    best = np.zeros(len(values), dtype=bool)
    best[np.argsort(values, kind="stable")[-BEST_DAYS:]] = True
    least = str(months["total_return"].idxmin())
    parts = {
        "all days": values,
        "first half": values[half],
        "second half": values[~half],
        "odd months": values[month % 2 == 1],
        "even months": values[month % 2 == 0],
        f"without its best {BEST_DAYS} days": values[~best],
    }
    parts[f"without its best month, {least}"] = values[month != names[months.index.get_loc(least)]]
    rows = {name: _score(part) for name, part in parts.items()}
    return Subsamples(
        table=pd.DataFrame.from_dict(rows, orient="index").astype({"days": "int64"}),
        months=months,
        interval=bootstrap_interval(
            values, lambda drawn: float(sharpe(drawn, DAYS_A_YEAR)), reps=reps, seed=seed
        ),
    )


def rolling_scores(returns: pd.Series, *, window_days: int = 365, step_days: int = 30) -> Rolling:
    """Return Sharpe ratio, return, volatility and drawdown of daily returns in rolling windows.

    Raises
    ------
    DataError
        If there are fewer days than a window, or one is missing.
    """
    values = _daily(returns)
    stops = _stops(len(values), window_days, step_days)
    rows = []
    for stop in stops:
        part = values[stop - window_days : stop]
        rows.append(
            _score(part)
            | {
                "volatility": float(annual_volatility(part, DAYS_A_YEAR)),
                "max_drawdown": float(max_drawdown(part)),
            }
        )
    index = returns.index[[stop - 1 for stop in stops]].rename("end")
    return Rolling(pd.DataFrame(rows, index=index).drop(columns="days"))


def rolling_estimates(
    estimate: Callable[[Market], Mapping[str, Any]],
    market: Market,
    *,
    window_bars: int,
    step_bars: int,
    workers: int | None = None,
) -> Rolling:
    """Estimate the same values in rolling windows: fitted parameters, importances, a best choice.

    Parameters
    ----------
    estimate : callable
        Gives values by name for a market, such as ``lambda m: pair.fit(m).params``, or the
        parameters that are best in a sweep. Called from several threads.
    market : Market
    window_bars, step_bars : int
    workers : int, optional
        Threads.

    Returns
    -------
    Rolling

    Raises
    ------
    DataError
        If the market is shorter than a window.
    """
    ends = market.index[[stop - 1 for stop in _stops(market.n_bars, window_bars, step_bars)]]
    rows = side_by_side(
        lambda end: dict(estimate(market.until(end, bars=window_bars))), ends, workers=workers
    )
    return Rolling(pd.DataFrame(rows, index=ends.rename("end")))


def _score(values: Floats) -> dict[str, float]:
    return {
        "days": len(values),
        "sharpe": float(sharpe(values, DAYS_A_YEAR)),
        "total_return": float(total_return(values)),
    }


def _daily(returns: pd.Series) -> Floats:
    values = returns.to_numpy(dtype=np.float64)
    if not isinstance(returns.index, pd.DatetimeIndex) or not np.isfinite(values).all():
        raise DataError(
            "The returns are not whole, or not indexed by day.", "Give Result.daily_returns."
        )
    return values


def _stops(n: int, window: int, step: int) -> list[int]:
    if not 2 <= window <= n or step < 1:
        raise DataError(
            f"{n} rows hold no window of {window} moved by {step}.",
            "Take a window of two rows or more that fits, and a step of at least one.",
        )
    return list(range(window, n + 1, step))
