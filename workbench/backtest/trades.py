"""Round trips, paired from fills and funding."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd

from workbench.core.trips import Trip, pair_fills

COLUMNS: Final = (
    "symbol",
    "side",
    "entered_at",
    "exited_at",
    "qty",
    "entry_price",
    "exit_price",
    "gross_pnl_usdt",
    "fees_usdt",
    "funding_usdt",
    "pnl_usdt",
    "return_",
    "bars_held",
    "entry_reason",
    "exit_reason",
    "is_open",
)


def pair_trades(fills: pd.DataFrame, funding: pd.DataFrame, *, mark: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each round trip: from flat, or from the other side, to flat.

    A fill that turns a position closes one trip and opens the next, its fee split by quantity.
    Trips still open at the end are marked to market and flagged. The sum of ``pnl_usdt`` is the
    change of equity.

    Parameters
    ----------
    fills : DataFrame
        As in ``Result.fills``, in the order of their booking.
    funding : DataFrame of shape (n_bars, n_symbols)
        Funding paid in each bar in USDT.
    mark : DataFrame of shape (n_bars, n_symbols)
        Mark prices, by which open trips are valued.

    Returns
    -------
    DataFrame
        Columns ``COLUMNS``: prices are averages over the quantity, ``return_`` is net profit as a
        fraction of the value entered, ``bars_held`` counts bars from the first fill to the last.
    """
    rows = []
    row_of = pd.Series(np.arange(len(funding)), index=funding.index)
    for symbol, own in fills.groupby("symbol", observed=True, sort=False):
        paid = np.concatenate([[0.0], np.cumsum(funding[symbol].to_numpy())])
        last_mark = float(mark[symbol].iloc[-1])
        for trip in pair_fills(own):
            row = _row(trip, paid=paid, row_of=row_of, mark=last_mark)
            rows.append({"symbol": str(symbol), **row})
    table = pd.DataFrame(rows, columns=list(COLUMNS)).astype({"is_open": bool})
    return table.sort_values("entered_at", kind="stable", ignore_index=True)


def _row(
    trip: Trip, *, paid: np.ndarray[Any, Any], row_of: pd.Series, mark: float
) -> dict[str, Any]:
    is_open = trip.is_open
    start = int(row_of[trip.first.known_at])
    stop = len(row_of) - 1 if is_open else int(row_of[trip.last.known_at])
    left_qty = trip.left_qty + (trip.held if is_open else 0.0)
    left_value = trip.left_value + (trip.held * mark if is_open else 0.0)
    # The bar of the last fill pays only if the position was still held at its close.
    cost = float(paid[stop + 1 if is_open else stop] - paid[start])
    if not is_open and trip.first.known_at == trip.last.known_at:
        cost = 0.0
    gross = trip.side * (left_value - trip.entered_value)
    net = gross - trip.fees - cost
    return {
        "side": trip.side,
        "entered_at": trip.first.filled_at,
        "exited_at": pd.NaT if is_open else trip.last.filled_at,
        "qty": trip.entered_qty,
        "entry_price": trip.entered_value / trip.entered_qty,
        "exit_price": left_value / left_qty,
        "gross_pnl_usdt": gross,
        "fees_usdt": trip.fees,
        "funding_usdt": cost,
        "pnl_usdt": net,
        "return_": net / trip.entered_value,
        "bars_held": stop - start + (1 if is_open else 0),
        "entry_reason": trip.first.reason,
        "exit_reason": "" if is_open else trip.last.reason,
        "is_open": is_open,
    }
