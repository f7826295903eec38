"""Transaction cost analysis: what orders cost against what they might have, and why.

Costs are positive, gains negative. The implementation shortfall of [1]_ is cut as the layers of a
backtest are (``portfolio.attribution``): of an order that is filled at once, delay, spread and fee
are the same, and impact is what is called slippage there. It is exact: the parts are ``Decimal``
and add up to the whole to the last digit.

References
----------
.. [1] Perold (1988), "The implementation shortfall: paper versus reality", Journal of Portfolio
   Management 14(3), 4-9.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, Inexact, localcontext
from itertools import pairwise
from math import nan
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.core.costs import BASIS_POINT
from workbench.core.errors import DataError

ORDERS: Final = (
    *("order_id", "symbol", "side", "qty", "algorithm", "decided_at", "sent_at", "ended_at"),
    *("decision", "arrival", "final"),
)
FILLS: Final = ("order_id", "filled_at", "qty", "price", "fee_usdt", "is_maker", "mid", "spread")
PARTS: Final = ("delay", "spread", "impact", "fee", "missed")
"""What a shortfall is made of, in the order in which it arises."""
BENCHMARKS: Final = ("decision", "arrival", "mid", "twap", "vwap")
PERCENTILES: Final = (5, 25, 50, 75, 95)


def split_shortfall(orders: pd.DataFrame, fills: pd.DataFrame) -> pd.DataFrame:
    """Divide the implementation shortfall of each order among its causes.

    Parameters
    ----------
    orders : DataFrame
        One row an order that has ended: ``order_id``, ``symbol``, ``side`` (1 or -1), ``qty``,
        ``algorithm``, ``decided_at``, ``sent_at``, ``ended_at`` (UTC), and in USDT the mids
        ``decision`` (when it was decided), ``arrival`` (when it was sent) and ``final`` (when it
        had ended).
    fills : DataFrame
        ``order_id``, ``filled_at``, ``qty``, ``price``, ``fee_usdt``, ``is_maker``, and of the book
        just before the fill ``mid`` and ``spread`` (full, in USDT). Numbers may be ``Decimal`` or
        float; a float is read as the digits that it is written with.

    Returns
    -------
    DataFrame of Decimal
        Indexed by ``order_id``, in USDT: ``PARTS`` and ``shortfall``, their sum. ``delay`` is the
        move of the mid from the decision to the arrival, on what was filled; ``spread`` half of it,
        which takers pay and makers earn; ``impact`` the rest of what was paid beyond the arrival:
        what the order moved, and what moved meanwhile; ``missed`` the move on what was not filled.

    Raises
    ------
    DataError
        If a column or a number is missing, a fill has no order, or more was filled than ordered.
    """
    _check(orders, fills)
    amounts = {
        name: _decimals(table[name])
        for table, names in ((orders, ORDERS[8:]), (fills, ("price", "fee_usdt", "mid", "spread")))
        for name in names
    }
    wanted, got = _decimals(orders["qty"]), _decimals(fills["qty"])
    rows = fills.groupby("order_id", sort=False).indices
    parts = []
    with localcontext(prec=100) as context:
        context.traps[Inexact] = True
        half = Decimal("0.5")
        sides = np.array([-half if made else half for made in fills["is_maker"]], dtype=object)
        for k, (name, side) in enumerate(zip(orders["order_id"], orders["side"], strict=True)):
            own, sign = rows.get(name, np.array([], dtype=np.intp)), Decimal(int(side))
            qty, price = got[own], amounts["price"][own]
            decision, arrival, final = (amounts[one][k] for one in ORDERS[8:])
            filled, paid = _sum(qty), _sum(qty * price)
            spread = _sum(sides[own] * amounts["spread"][own] * qty)
            fee = _sum(amounts["fee_usdt"][own])
            delay = sign * filled * (arrival - decision)
            missed = sign * (wanted[k] - filled) * (final - decision)
            impact = sign * (paid - filled * arrival) - spread
            whole = sign * (paid - filled * decision) + fee + missed
            parts.append((delay, spread, impact, fee, missed, whole))
    index = pd.Index(orders["order_id"], name="order_id")
    return pd.DataFrame(parts, index, columns=[*PARTS, "shortfall"], dtype=object)


def measure_orders(
    orders: pd.DataFrame, fills: pd.DataFrame, *, tape: Mapping[str, pd.DataFrame] | None = None
) -> pd.DataFrame:
    """Return what each order cost against every benchmark, and how it was filled.

    Parameters
    ----------
    orders, fills : DataFrame
        As in ``split_shortfall``; columns of orders beyond those are kept.
    tape : mapping of symbol to DataFrame, optional
        Trades of the market, or bars: ``price`` and ``qty``, indexed by their moment (UTC).

    Returns
    -------
    DataFrame of float
        Indexed by ``order_id``. ``value_usdt`` and ``average`` of the fills; the benchmarks
        ``mid`` (at the fills), ``twap`` and ``vwap`` (of the tape, from when it was sent to when it
        had ended); ``slippage_<benchmark>_bps``, and each part of the shortfall as ``<part>_bps``
        of the value that was ordered at its decision; ``fill_rate``, ``maker_share`` (of value),
        ``latency_s`` (decision to sending) and ``wait_s`` (to the first fill). NaN is unknown.
    """
    exact = split_shortfall(orders, fills)
    table = orders.set_index("order_id").copy()
    for name in ("qty", *ORDERS[8:]):
        table[name] = table[name].astype(float)
    own = fills.assign(**{name: fills[name].astype(float) for name in ("qty", "price", "mid")})
    own["value"] = own["qty"] * own["price"]
    own["middle"] = own["qty"] * own["mid"]
    own["made"] = own["value"].where(own["is_maker"].astype(bool), 0.0)
    sums = own.groupby("order_id")[["qty", "value", "middle", "made"]].sum().reindex(table.index)
    table["value_usdt"] = sums["value"].fillna(0.0)
    table["fill_rate"] = (sums["qty"] / table["qty"]).fillna(0.0)
    table["maker_share"] = sums["made"] / sums["value"]
    table["average"], table["mid"] = sums["value"] / sums["qty"], sums["middle"] / sums["qty"]
    spans = zip(table["symbol"], table["sent_at"], table["ended_at"], strict=True)
    prices = [_tape_prices((tape or {}).get(symbol), *span) for symbol, *span in spans]
    table[["twap", "vwap"]] = np.array(prices, dtype=np.float64).reshape(-1, 2)
    for name in BENCHMARKS:
        gap = table["side"] * (table["average"] / table[name] - 1.0)
        table[f"slippage_{name}_bps"] = gap / BASIS_POINT
    for name in (*PARTS, "shortfall"):
        table[f"{name}_bps"] = (
            exact[name].astype(float) / (table["qty"] * table["decision"]) / BASIS_POINT
        )
    first = own.groupby("order_id")["filled_at"].min().reindex(table.index)
    table["latency_s"] = (table["sent_at"] - table["decided_at"]).dt.total_seconds()
    table["wait_s"] = (first - table["sent_at"]).dt.total_seconds()
    return table


def compare_algorithms(measured: pd.DataFrame, *, by: str = "algorithm") -> pd.DataFrame:
    """Return for each algorithm its orders, value, means and percentiles of costs.

    Means of basis points are weighted by the value ordered; percentiles, of the slippage against
    arrival, are of orders alike.
    """
    rows = {}
    for name, own in measured.groupby(by, sort=True):
        weights = (own["qty"] * own["decision"]).to_numpy()
        slips = own["slippage_arrival_bps"].dropna().to_numpy()
        rows[name] = {
            "n_orders": len(own),
            "value_usdt": own["value_usdt"].sum(),
            "fill_rate": float(np.average(own["fill_rate"], weights=weights)),
            "maker_share": _mean(own["maker_share"], own["value_usdt"]),
            "latency_s": own["latency_s"].median(),
            **{f"{p}_bps": _mean(own[f"{p}_bps"], weights) for p in (*PARTS, "shortfall")},
            **{f"p{p}_bps": np.percentile(slips, p) if len(slips) else nan for p in PERCENTILES},
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(by)


def _check(orders: pd.DataFrame, fills: pd.DataFrame) -> None:
    for name, table, needed in (("orders", orders, ORDERS), ("fills", fills, FILLS)):
        missing = [column for column in needed if column not in table]
        if missing or table[list(needed)].isna().to_numpy().any():
            raise DataError(
                f"The {name} lack {', '.join(missing) or 'a value'}.",
                f"Each row needs {', '.join(needed)}.",
            )
    if orders["order_id"].duplicated().any() or not orders["side"].isin([1, -1]).all():
        raise DataError("An order stands twice, or its side is none.", "A side is 1 or -1.")
    left = dict(zip(orders["order_id"], _decimals(orders["qty"]), strict=True))
    for name, qty in zip(fills["order_id"], _decimals(fills["qty"]), strict=True):
        if name not in left:
            raise DataError(f"A fill belongs to no order: {name}.", "Give both of one span.")
        left[name] -= qty
        if left[name] < 0:
            raise DataError(f"More of {name} was filled than ordered.", "Is a fill there twice?")


def _decimals(values: pd.Series) -> NDArray[np.object_]:
    answer = np.empty(len(values), dtype=object)
    answer[:] = [v if isinstance(v, Decimal) else Decimal(repr(float(v))) for v in values]
    return answer


def _sum(values: Any) -> Decimal:
    return sum(values, Decimal(0))


def _tape_prices(tape: pd.DataFrame | None, since: Any, until: Any) -> tuple[float, float]:
    # Over the span (since, until]: the last price holds until the next, as time passes.
    if tape is None or until <= since:
        return nan, nan
    first, stop = tape.index.searchsorted([since, until], side="right")
    own = tape.iloc[first:stop].astype(float)
    traded = own["qty"].sum()
    vwap = float((own["price"] * own["qty"]).sum() / traded) if traded > 0 else nan
    if first == 0:
        return nan, vwap
    prices = tape["price"].iloc[first - 1 : stop].to_numpy(float)
    moments = [since, *own.index, until]
    lasted = [(b - a) / (until - since) for a, b in pairwise(moments)]
    return float(prices @ np.array(lasted)), vwap


def _mean(values: pd.Series, weights: Any) -> float:
    known = values.notna().to_numpy()
    kept = np.asarray(weights)[known]
    return float(np.average(values[known], weights=kept)) if kept.sum() > 0 else nan
