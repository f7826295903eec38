"""Attribution: where a profit came from, by strategy, symbol and layer of cost.

A fill differs from the decision behind it step by step: the price moved before it came (delay), the
taker paid half the spread, then slippage and impact, then a fee. What is left is the profit of the
positions at the prices at which they were decided: the signal, and what rounding made of it. This
is the implementation shortfall of [1]_, cut finer.

References
----------
.. [1] Perold (1988), "The implementation shortfall: paper versus reality", Journal of Portfolio
   Management 14(3), 4-9.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.core.costs import BASIS_POINT
from workbench.core.errors import DataError
from workbench.core.records import to_float
from workbench.portfolio.accounting import (
    Books,
    read_fills,
    read_funding,
    read_marks,
    split_name,
)

Floats = NDArray[np.float64]
Key = tuple[str, str]

LAYERS: Final = (
    "signal", "rounding", "delay", "spread", "slippage", "fee", "funding", "liquidation",
)  # fmt: skip
"""What a profit is made of, in the order in which a report shows it."""

CENT: Final = 0.01
_ORDERS: Final = ("weight", "rebalance", "limit")


def attribute(
    fills: pd.DataFrame,
    funding: pd.DataFrame,
    *,
    close: pd.DataFrame,
    mark: pd.DataFrame,
    spread_bps: float,
    wanted: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Divide a profit among its layers, for each strategy and symbol.

    Parameters
    ----------
    fills : DataFrame
        As in a backtest's ``Result.fills``, in the order of their booking: ``known_at``,
        ``symbol``, ``side``, ``qty``, ``price``, ``fee_usdt``, ``slippage_usdt``, ``reason``, and
        ``strategy`` where there are several. Optional columns, in USDT: ``mid``, the price before
        costs (else the price less slippage), and ``decision``, the price known at the decision
        (else the close before the bar; an exit within a bar is decided at its trigger).
    funding : DataFrame of shape (n_bars, n_symbols)
        USDT paid in each bar; columns are symbols, or pairs of strategy and symbol.
    close, mark : DataFrame of shape (n_bars, n_symbols)
        Last and mark prices by ``known_at``; gaps are carried forward.
    spread_bps : float
        Full bid-ask spread, of which a taker pays half.
    wanted : DataFrame of shape (n_bars, n_symbols), optional
        Exact quantity wanted as decided at each close, with the columns of ``funding``; see
        ``wanted_quantities``. Without it, and where it is NaN, nothing is put down to rounding.

    Returns
    -------
    DataFrame
        A row for each strategy and symbol that traded, the columns ``LAYERS`` and ``pnl``, in
        USDT; what is lost is negative. ``rounding`` is the profit of what is held over what was
        wanted: lots, minimum sizes, margin. ``liquidation`` is what was lost by being taken over
        rather than closed at the bar's mark.

    Raises
    ------
    DataError
        If a fill lies outside the bars, or the layers differ from the exact books by a cent.
    """
    close, mark = close.ffill(), mark.ffill()
    columns = {split_name(name): name for name in funding.columns}
    rows = {}
    for key, own in _by_key(_price_fills(fills, close, mark, spread_bps * BASIS_POINT)).items():
        exact = None if wanted is None else wanted[columns[key]].to_numpy()
        signal, rounding = _paper(own, close[key[1]].to_numpy(), mark[key[1]].iloc[-1], exact)
        costs = {layer: -float(own[layer].sum()) for layer in _OF_FILLS}
        paid = {"funding": -float(funding[columns[key]].sum())}
        rows[key] = {"signal": signal, "rounding": rounding} | costs | paid
    index = pd.MultiIndex.from_tuples(list(rows), names=["strategy", "symbol"])
    table = pd.DataFrame(list(rows.values()), index=index, columns=list(LAYERS), dtype=np.float64)
    earned = Books([*read_fills(fills), *read_funding(funding)]).pnl_usdt(read_marks(mark.iloc[-1]))
    table["pnl"] = [to_float(earned[key]) for key in rows]
    gap = (table[list(LAYERS)].sum(axis=1) - table["pnl"]).abs()
    if not (gap < CENT).all():
        raise DataError(
            f"The layers of {gap.idxmax()} and its books differ by {gap.max():.4f} USDT.",
            "Give fills, funding, close and mark of one run, whole from its start.",
        )
    return table


def wanted_quantities(
    weights: pd.DataFrame,
    equity_usdt: pd.Series,
    fills: pd.DataFrame,
    *,
    close: pd.DataFrame,
    leverage: float = 1.0,
) -> pd.DataFrame:
    """Return the exact quantity that weights ask for, before lots, minimum sizes and margin.

    Parameters
    ----------
    weights : DataFrame of shape (n_bars, n_symbols)
        As in a backtest's ``Result``: NaN keeps the position.
    equity_usdt : Series of shape (n_bars,)
    fills : DataFrame
    close : DataFrame of shape (n_bars, n_symbols)
    leverage : float, default=1.0
        Of the account.

    Returns
    -------
    DataFrame of shape (n_bars, n_symbols)
        As decided at each close, from equity and close known then. It changes where the weight
        does or a rebalance fills; it is 0 after an exit within a bar until the weight turns or was
        0, and NaN while a limit order decides.
    """
    scale, prices = leverage * equity_usdt.clip(lower=0.0), close.ffill()
    by_key = _by_key(fills)
    answer = {}
    for name in weights:
        key = split_name(name)
        exact = weights[name] * scale / prices[key[1]]
        own = by_key.get(key, fills.iloc[:0])
        rows = weights.index.searchsorted(own["known_at"]).tolist()
        events: dict[str, dict[int, int]] = {"limit": {}, "rebalance": {}, "weight": {}, "exit": {}}
        for row, reason, side in zip(rows, own["reason"], own["side"], strict=True):
            events[reason if reason in _ORDERS else "exit"][row] = -int(side)
        answer[name] = _walk(weights[name].tolist(), exact.tolist(), events)
    return pd.DataFrame(answer, index=weights.index)


_OF_FILLS: Final = ("delay", "spread", "slippage", "fee", "liquidation")


def _price_fills(
    fills: pd.DataFrame, close: pd.DataFrame, mark: pd.DataFrame, spread: float
) -> pd.DataFrame:
    bar = close.index.searchsorted(fills["known_at"])
    column = close.columns.get_indexer(pd.Index(fills["symbol"].astype(str)))
    if len(fills) and (bar.min() < 1 or bar.max() >= len(close) or column.min() < 0):
        raise DataError(
            "A fill lies outside the bars, or in a symbol that has none.",
            "Give the close and the mark of every symbol, from before the first fill to the last.",
        )
    side, qty, price = (fills[name].to_numpy(np.float64) for name in ("side", "qty", "price"))
    is_order = fills["reason"].isin(_ORDERS).to_numpy()
    is_taken = (fills["reason"] == "liquidation").to_numpy()
    slipped = fills["slippage_usdt"].to_numpy(np.float64)
    mid = np.where(is_taken, mark.to_numpy()[bar, column], price - side * slipped / qty)
    mid = fills.get("mid", pd.Series(mid, fills.index)).to_numpy(np.float64)
    before = np.where(is_order, close.to_numpy()[bar - 1, column], mid)
    decision = fills.get("decision", pd.Series(before, fills.index)).to_numpy(np.float64)
    paid = side * qty * (price - mid)
    half = np.where(is_taken | (slipped == 0.0), 0.0, qty * mid * spread / 2.0)
    return pd.DataFrame(
        {
            "symbol": fills["symbol"],
            "strategy": fills.get("strategy", ""),
            "bar": bar,
            "qty": side * qty,
            "decision": decision,
            "is_order": is_order,
            "delay": side * qty * (mid - decision),
            "spread": half,
            "slippage": np.where(is_taken, 0.0, paid) - half,
            "fee": fills["fee_usdt"],
            "liquidation": np.where(is_taken, paid, 0.0),
        }
    )


def _paper(rows: pd.DataFrame, close: Floats, mark: float, wanted: Floats | None) -> Any:
    # Profit at decision prices of what was held, and the part of it beyond what was wanted.
    qty, bar = rows["qty"].to_numpy(), rows["bar"].to_numpy()
    total = float(qty.sum()) * mark - float(qty @ rows["decision"].to_numpy())
    if wanted is None:
        return total, 0.0
    is_order = rows["is_order"].to_numpy()
    moved = np.bincount(bar, qty, len(close)).cumsum()
    exits = np.bincount(bar[~is_order], qty[~is_order], len(close))
    leave = np.append(close[:-1], mark)
    leave[bar[~is_order]] = rows["decision"].to_numpy()[~is_order]
    beyond = np.nan_to_num((moved - exits)[1:] - wanted[:-1])
    rounding = float(beyond @ np.nan_to_num(leave[1:] - close[:-1]))
    return total - rounding, rounding


def _walk(
    weights: list[float], exact: list[float], events: dict[str, dict[int, int]]
) -> list[float]:
    # As the kernel reads weights: the one that was acted on, and the side that an exit has locked.
    applied, lock, now, answer = 0.0, 0, 0.0, []
    for t, weight in enumerate(weights):
        if t in events["exit"]:
            applied, lock, now = 0.0, events["exit"][t], 0.0
        if t + 1 in events["limit"]:
            applied = now = np.nan
        elif weight * lock <= 0.0:
            lock = 0
            if weight != applied or t + 1 in events["rebalance"]:
                applied, now = weight, exact[t]
        answer.append(now)
    return answer


def _by_key(fills: pd.DataFrame) -> dict[Key, pd.DataFrame]:
    names = fills["symbol"].astype(str)
    strategies = fills["strategy"].astype(str) if "strategy" in fills else ""
    keyed = fills.assign(strategy=strategies, symbol=names)
    groups: Any = keyed.groupby(["strategy", "symbol"], sort=False)
    return dict(iter(groups))
