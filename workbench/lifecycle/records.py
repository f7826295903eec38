"""What was recorded of a strategy in a stage, and the measures that its gates read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.core import measures
from workbench.core.costs import BASIS_POINT, Costs
from workbench.core.errors import DataError
from workbench.core.trips import pair_fills
from workbench.lifecycle.prediction import Prediction, shortfall
from workbench.lifecycle.score import graduation_score

Floats = NDArray[np.float64]

FILLS: Final = (
    *("filled_at", "symbol", "side", "qty", "price", "fee_usdt"),
    *("funding_usdt", "expected_price", "order_id"),
)
ORDERS: Final = ("order_id", "sent_at", "qty", "status")
STATUSES: Final = frozenset({"filled", "cancelled", "rejected", "lost"})
FAILED: Final = frozenset({"rejected", "lost"})
MIN_COMMON_DAYS: Final = 20
WEEK: Final = 7
SCORED: Final = (
    *("sharpe", "max_drawdown", "win_rate", "profit_factor"),
    *("validation_score", "execution_rate", "slippage"),
)


@dataclass(frozen=True)
class Records:
    """What was recorded of one strategy, from its stage's beginning or before.

    Attributes
    ----------
    fills : DataFrame
        In the order of their booking: ``filled_at`` (UTC), ``symbol``, ``side`` (1 or -1), ``qty``,
        ``price``, ``fee_usdt``, ``funding_usdt`` (paid on the symbol's position since the fill
        before), ``expected_price`` (the mid when it was decided) and ``order_id``.
    orders : DataFrame
        Orders that have ended: ``order_id``, ``sent_at`` (UTC), ``qty`` and ``status`` (filled,
        cancelled, rejected, lost).
    equity : Series
        Equity of the strategy's own book in USDT, one value a day, indexed by its moment (UTC).
    mismatches : DatetimeIndex or None
        When a decision differed from its replay; None where none was replayed.
    incidents : DatetimeIndex or None
        When the books differed from the exchange; None where they were not compared.
    """

    fills: pd.DataFrame
    orders: pd.DataFrame
    equity: pd.Series
    mismatches: pd.DatetimeIndex | None = None
    incidents: pd.DatetimeIndex | None = None

    def __post_init__(self) -> None:
        _check_table(self.fills, "fills", FILLS, moment="filled_at")
        _check_table(self.orders, "orders", ORDERS, moment="sent_at")
        strange = set(self.orders["status"]) - STATUSES
        if strange:
            raise DataError(
                f"An order ended as {sorted(map(str, strange))[0]!r}.",
                f"Give one of {', '.join(sorted(STATUSES))}.",
            )
        _check_moments(pd.DatetimeIndex(self.equity.index), "equity")
        values = self.equity.to_numpy(dtype=np.float64)
        if len(values) == 0 or not np.isfinite(values).all() or (values[:-1] <= 0).any():
            raise DataError(
                "The equity is missing, not finite, or goes on after everything was lost.",
                "Record it once a day, from the day before the stage on.",
            )

    @property
    def returns(self) -> pd.Series:
        """Simple return of the equity between its moments."""
        return (self.equity / self.equity.shift(1) - 1.0).iloc[1:]


def measure_records(
    records: Records,
    *,
    start: datetime,
    end: datetime,
    costs: Costs,
    prediction: Prediction | None,
    watched_since: datetime | None = None,
    validation_score: float | None = None,
    others: Mapping[str, pd.Series] | None = None,
) -> dict[str, float | None]:
    """Measure what was recorded of a strategy in a window.

    Parameters
    ----------
    records : Records
    start, end : datetime
        The window: after ``start``, up to and with ``end``.
    costs : Costs
        What the backtest assumed.
    prediction : Prediction or None
        What the verdict promised.
    watched_since : datetime, optional
        Since when the returns are held against the prediction; by default ``start``.
    validation_score : float, optional
        Share of the criteria of the validation's verdict that hold.
    others : mapping of name to Series, optional
        Daily returns of the strategies on real money, as ``Records.returns``.

    Returns
    -------
    dict of str to float or None
        None is unknown. ``trades`` (closed round trips), ``days`` (whole ones), ``sharpe``,
        ``sharpe_7d`` (the last seven days), ``max_drawdown``, ``win_rate`` and ``profit_factor``
        (after fees and funding), ``losses_in_a_row`` (the longest run), ``execution_rate`` (share
        of orders not rejected or lost), ``fill_share`` (of the quantity ordered), ``slippage``
        (paid, on the value expected), ``cost_drift`` (slippage and fees over what was assumed, less
        one), ``correlation`` (the largest with another strategy; 0 where there is none),
        ``decision_mismatches``, ``reconciliation_incidents``, ``shortfall_p``,
        ``validation_score`` and ``score``.

    Notes
    -----
    A trip that was opened before the window counts where it closed in it.
    """
    returns = _between(records.returns, start, end)
    values = returns.to_numpy(dtype=np.float64)
    fills = records.fills[_is_in(records.fills["filled_at"], start, end)]
    orders = records.orders[_is_in(records.orders["sent_at"], start, end)]
    pnl = _closed_pnl(records.fills, start, end)
    watched = _between(records.returns, watched_since or start, end).to_numpy(dtype=np.float64)
    week = values[-WEEK:] if len(values) >= WEEK else None
    found: dict[str, float | None] = {
        "trades": float(len(pnl)),
        "days": _whole_days(records.equity, start, end),
        "sharpe": float(measures.sharpe(values, measures.DAYS_A_YEAR)) if len(values) > 1 else None,
        "sharpe_7d": None if week is None else float(measures.sharpe(week, measures.DAYS_A_YEAR)),
        "max_drawdown": float(measures.max_drawdown(values)),
        "win_rate": float(measures.win_rate(pnl)) if len(pnl) else None,
        "profit_factor": float(measures.profit_factor(pnl)) if len(pnl) else None,
        "losses_in_a_row": float(_longest_run(pnl < 0)),
        "correlation": _correlation(returns, others or {}),
        "decision_mismatches": _count(records.mismatches, start, end),
        "reconciliation_incidents": _count(records.incidents, start, end),
        "shortfall_p": None if prediction is None else shortfall(watched, prediction),
        "validation_score": validation_score,
        **_measure_orders(orders, fills),
        **_measure_costs(fills, costs),
    }
    return {**found, "score": _score(found)}


def assumed_cost(costs: Costs) -> float:
    """Return what a backtest charges a market order, as a fraction of its value."""
    return (costs.taker_fee_bps + costs.spread_bps / 2 + costs.slippage_bps) * BASIS_POINT


def _measure_orders(orders: pd.DataFrame, fills: pd.DataFrame) -> dict[str, float | None]:
    if orders.empty:
        return {"execution_rate": None, "fill_share": None}
    got = fills[fills["order_id"].isin(orders["order_id"])]["qty"].sum()
    return {
        "execution_rate": float(1.0 - orders["status"].isin(FAILED).mean()),
        "fill_share": float(got / orders["qty"].sum()),
    }


def _measure_costs(fills: pd.DataFrame, costs: Costs) -> dict[str, float | None]:
    if fills.empty:
        return {"slippage": None, "cost_drift": None}
    value = float((fills["qty"] * fills["expected_price"]).sum())
    worse = fills["side"] * fills["qty"] * (fills["price"] - fills["expected_price"])
    slippage = float(worse.sum()) / value
    paid = slippage + float(fills["fee_usdt"].sum()) / value
    assumed = assumed_cost(costs)
    return {"slippage": slippage, "cost_drift": paid / assumed - 1.0 if assumed > 0 else None}


def _closed_pnl(fills: pd.DataFrame, start: datetime, end: datetime) -> Floats:
    """Net profit of each trip that closed in the window, in the order of closing."""
    closed = []
    for _, group in fills.groupby("symbol", observed=True, sort=False):
        own = group.reset_index(drop=True)
        paid = own["funding_usdt"].cumsum()
        for trip in pair_fills(own):
            if not trip.is_open and start < trip.last.filled_at <= end:
                gross = trip.side * (trip.left_value - trip.entered_value)
                funding = paid[trip.last.Index] - paid[trip.first.Index]
                closed.append((trip.last.filled_at, float(gross - trip.fees - funding)))
    return np.array([pnl for _, pnl in sorted(closed, key=lambda each: each[0])], dtype=np.float64)


def _score(found: Mapping[str, float | None]) -> float | None:
    parts = {name: found[name] for name in SCORED}
    known = {name: value for name, value in parts.items() if value is not None}
    return graduation_score(**known) if len(known) == len(parts) else None


def _correlation(returns: pd.Series, others: Mapping[str, pd.Series]) -> float | None:
    found = []
    for other in others.values():
        both = pd.concat([_by_day(returns), _by_day(other)], axis=1, join="inner").to_numpy()
        if len(both) < MIN_COMMON_DAYS or (both.std(axis=0) == 0).any():
            return None
        found.append(float(np.corrcoef(both.T)[0, 1]))
    return max(found, default=0.0)


def _by_day(returns: pd.Series) -> pd.Series:
    return returns.set_axis(pd.DatetimeIndex(returns.index).floor("D"))


def _longest_run(is_in: NDArray[np.bool_]) -> int:
    return max((len(list(run)) for value, run in groupby(is_in) if value), default=0)


def _whole_days(equity: pd.Series, start: datetime, end: datetime) -> float:
    seen = equity.index[(equity.index >= start) & (equity.index <= end)]
    return float((seen[-1] - start) // timedelta(days=1)) if len(seen) else 0.0


def _count(moments: pd.DatetimeIndex | None, start: datetime, end: datetime) -> float | None:
    return None if moments is None else float(_is_in(moments.to_series(), start, end).sum())


def _between(series: pd.Series, start: datetime, end: datetime) -> pd.Series:
    return series[(series.index > start) & (series.index <= end)]


def _is_in(moments: pd.Series, start: datetime, end: datetime) -> pd.Series:
    return (moments > start) & (moments <= end)


def _check_table(table: pd.DataFrame, what: str, columns: tuple[str, ...], *, moment: str) -> None:
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise DataError(f"The {what} lack {', '.join(missing)}.", f"Give {', '.join(columns)}.")
    if table.empty:
        return
    _check_moments(pd.DatetimeIndex(table[moment]), what, is_strict=False)
    numbers: Any = table.select_dtypes("number").to_numpy(dtype=np.float64)
    if not np.isfinite(numbers).all() or not (table["qty"] > 0).all():
        raise DataError(
            f"A number of the {what} is missing, not finite, or a quantity not above zero.",
            "Record each as the exchange reported it; the side carries the sign.",
        )


def _check_moments(moments: pd.DatetimeIndex, what: str, *, is_strict: bool = True) -> None:
    if moments.tz is None or not moments.is_monotonic_increasing:
        raise DataError(
            f"The moments of the {what} have no zone or are not in order.",
            "Give them in UTC, the oldest first.",
        )
    if is_strict and not moments.floor("D").is_unique:
        raise DataError(f"Two values of the {what} are of one day.", "Give one a day.")
