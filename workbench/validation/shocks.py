"""Shocks: a market and its costs as they would be if something happened that has not.

References
----------
.. [1] Kim and Finger (2000), "A stress test to incorporate correlation breakdown", Journal of
   Risk 2(3).
.. [2] Olkin and Pukelsheim (1982), "The distance between two random vectors with given dispersion
   matrices", Linear Algebra and its Applications 48, 257-263.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.core.costs import Costs
from workbench.core.errors import DataError
from workbench.core.records import Market, to_moment
from workbench.risk.scenarios import EVERY, MIN_ROWS, Shock, shock_sizes
from workbench.validation.frozen import DAY

Floats = NDArray[np.float64]

PRICES: Final = (
    *("open", "high", "low", "close"),
    *("mark_open", "mark_high", "mark_low", "mark_close"),
)


def shock_market(market: Market, shock: Shock, *, at: str | datetime | pd.Timestamp) -> Market:
    """Return the market as it would be with a shock in it.

    Parameters
    ----------
    market : Market
        Correlations, turnover and funding are changed from the shock to its end.
    shock : Shock
    at : Timestamp
        ``known_at`` of the first bar that opens shocked; nothing before it changes.

    Returns
    -------
    Market
        Each bar's prices and marks, and finer and coarser bars, are moved by one factor, so that
        a move is a gap at the open and highs and lows stay what they are to each other. Marked as
        synthetic.

    Raises
    ------
    DataError
        If the bar is not in the market after its first, or the market cannot show the shock.

    Notes
    -----
    Turnover and funding are changed at the market's own interval only.

    Correlations [1]_: log returns in the window, less their mean and over their deviation, are
    mapped linearly onto the target matrix by the map that moves them least [2]_. Every symbol
    keeps its drift and volatility and ends where it did; only who moves with whom changes.
    """
    row = int(market.index.searchsorted(to_moment(at)))
    if not 0 < row < market.n_bars:
        raise DataError(f"There is no bar at {at} to shock.", "Take one after the first bar.")
    reason = lacking(market, shock, row=row)
    if reason:
        raise DataError(f"{shock.name!r}: {reason}.", "Choose another, or load what it needs.")
    logs = np.zeros(market.close.shape)
    if shock.correlation:
        logs[row:] += _recorrelate(market, row, shock.correlation)
    if shock.factors or shock.moves:
        logs += _path(market, row, shock)[:, None] * shock_sizes(
            market, shock, until=market.index[row - 1]
        )
    shocked = rescale(market, logs, first=row)
    after = np.arange(market.n_bars)[:, None] >= row
    changed = {
        name: getattr(shocked, name) * np.where(after, shock.turnover_scale, 1.0)
        for name in ("volume", "turnover")
    } | {
        name: getattr(shocked, name) * np.where(after, shock.funding_scale, 1.0)
        + np.where(after, shock.funding_add, 0.0)
        for name in ("funding_settled", "funding_predicted")
    }
    return replace(
        shocked, **changed, snapshot_id=f"shocked-{market.snapshot_id}", is_synthetic=True
    )


def shock_costs(costs: Costs, shock: Shock) -> Costs:
    """Return the costs as they would be in a shock."""
    return replace(
        costs,
        maker_fee_bps=costs.maker_fee_bps * shock.fee_scale,
        taker_fee_bps=costs.taker_fee_bps * shock.fee_scale,
        spread_bps=costs.spread_bps * shock.spread_scale,
        slippage_bps=costs.slippage_bps * shock.slippage_scale,
        latency_s=costs.latency_s + shock.latency_s,
    )


def lacking(market: Market, shock: Shock, *, row: int) -> str:
    """Return what a market lacks to show a shock from a row on; nothing where it can."""
    absent = [s for s in (*shock.factors, *shock.moves) if s not in (*market.symbols, EVERY)]
    if absent:
        return f"the market has no {', '.join(absent)}"
    if shock.factors and len(market.close[[*shock.factors]].iloc[:row].dropna()) <= MIN_ROWS:
        return f"{', '.join(shock.factors)} have no {MIN_ROWS} bars before"
    if shock.correlation and int(_moves(market, row)[1].sum()) < 2:
        return "fewer than two symbols trade in it without a gap"
    rates = market.funding_settled.iloc[row:]
    if (shock.funding_add or shock.funding_scale != 1) and not rates.notna().to_numpy().any():
        return "the market has no funding rates"
    return ""


def rescale(market: Market, logs: Floats, *, first: int = 0) -> Market:
    """Return the market with each bar's prices times ``exp(logs)``, of shape (n_bars, n_symbols).

    Turnover, finer bars and, from row ``first`` on, coarser bars follow.
    """
    factor = np.exp(logs)
    frames = {name: getattr(market, name) * factor for name in (*PRICES, "turnover")}
    moved = replace(market, **frames)
    others = {}
    for interval, other in market.others.items():
        near = other.select(market.symbols)
        if near.bar_length < market.bar_length:
            owner = market.index.searchsorted(near.index).clip(max=market.n_bars - 1)
            others[interval] = rescale(replace(near, others={}), logs[owner])
        else:
            near = near.until(market.index[-1])
            own = moved.resample(interval)
            row = int(near.index.searchsorted(market.index[first]))
            changed = {
                name: pd.concat(
                    [
                        getattr(near, name).iloc[:row],
                        getattr(own, name).reindex(near.index[row:]),
                    ]
                )
                for name in (*PRICES, "turnover")
            }
            others[interval] = replace(near, **changed)
    return replace(moved, others=others)


def _path(market: Market, row: int, shock: Shock) -> Floats:
    # Which share of the move stands at every bar.
    hour = market.bar_length / DAY * 24
    slide = max(1, round(shock.slide_hours / hour))
    back = max(1, round(shock.recovery_hours / hour))
    since = np.arange(market.n_bars) - row + 1
    fallen = np.clip(since / slide, 0.0, 1.0)
    returned = np.clip((since - slide) / back, 0.0, 1.0)
    return np.asarray(fallen - shock.recovery * returned, dtype=np.float64)


def _recorrelate(market: Market, row: int, share: float) -> Floats:
    # Logs to add from the row on, so that the window has other correlations.
    returns, whole = _moves(market, row)
    r = returns[:, whole]
    mean, spread = r.mean(axis=0), r.std(axis=0)
    z = (r - mean) / spread
    seen = z.T @ z / len(z)
    goal = np.ones_like(seen) if share > 0 else np.eye(len(seen))
    target = (1.0 - abs(share)) * seen + abs(share) * goal
    root = _power(seen, 0.5)
    back = _power(seen, -0.5)
    map_ = back @ _power(root @ target @ root, 0.5) @ back
    answer = np.zeros(returns.shape)
    answer[:, whole] = np.cumsum((z @ map_ - z) * spread, axis=0)
    return answer


def _moves(market: Market, row: int) -> tuple[Floats, NDArray[np.bool_]]:
    # Log returns from a row on, and the symbols that have all of them and moved.
    returns = np.diff(np.log(market.close.to_numpy()[row - 1 :]), axis=0)
    whole = np.isfinite(returns).all(axis=0)
    whole[whole] = np.ptp(returns[:, whole], axis=0) > 0
    return returns, whole


def _power(matrix: Floats, exponent: float) -> Floats:
    values, vectors = np.linalg.eigh(matrix)
    # Rounding leaves a zero eigenvalue a little to either side of zero.
    floor = 1e-12 * values.max()
    scaled: Floats = vectors * np.maximum(values, floor) ** exponent
    return np.asarray(scaled @ vectors.T, dtype=np.float64)
