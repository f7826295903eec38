"""Trades that another tool made, at the prices, costs and rules of the lake's market."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.backtest import kernel
from workbench.backtest.inputs import Realism, build_inputs, day_ends
from workbench.backtest.quantities import hold_quantities
from workbench.backtest.sweep import daily_returns
from workbench.core.costs import BASIS_POINT, Costs, taker_price
from workbench.core.measures import DAYS_A_YEAR, max_drawdown, sharpe, total_return
from workbench.core.records import INTERVALS, Account, Market

Floats = NDArray[np.float64]

TOLERANCE: Final = 10 * BASIS_POINT
"""Venues differ by so much at one moment: a price this near to the lake's is that price."""
LAGS: Final = (timedelta(0), *(span for span in INTERVALS.values() if span <= timedelta(days=1)))
CLAIMED: Final = "as claimed"
NEXT_OPEN: Final = "next-open fills"


@dataclass(frozen=True, slots=True)
class Lag:
    """How far after their stamps fills happen, and how well that fits (median distance)."""

    span: timedelta
    distance: float


def find_lag(fills: pd.DataFrame, market: Market) -> Lag:
    """Return the time after the stamps at which the claimed prices are the market's.

    Tools label a bar by its start, and many fill at its close: then the price of a stamp is that
    of one bar later. Of all bar lengths the one is taken whose prices are nearest, if they are at
    less than half the distance of those at the stamps themselves.
    """
    fits = [Lag(span, _distance(fills, market, span)) for span in LAGS if _is_grid(fills, span)]
    plain, best = fits[0], min(fits, key=lambda lag: lag.distance)
    return best if best.distance < plain.distance / 2 else plain


def place_fills(
    fills: pd.DataFrame, market: Market, *, lag: timedelta, timeframe: timedelta | None
) -> pd.DataFrame:
    """Find each fill in the market.

    Parameters
    ----------
    fills : DataFrame
        Of a ``Blotter``.
    market : Market
        With all their symbols.
    lag : timedelta
        After its stamp.
    timeframe : timedelta, optional
        Within how much time after that a fill lies, if longer than a bar.

    Returns
    -------
    DataFrame
        The fills with ``row`` (bar of the fill; -1 where the market has none), ``next_row`` (bar at
        whose open it could honestly have been filled, -1 where there is none) and ``outside``: how
        far the price lies outside of what was traded then, as a fraction.

    Notes
    -----
    A fill at the open of the bar that starts at its moment, within 10 bps, stays there: it was
    decided before. A price inside the bars that follow was known when it was traded, so that the
    next open after it is the honest fill; to take the open before it would look ahead.
    """
    rows = [
        _place(fill, market, _prices(market, str(fill.symbol)), lag, timeframe)
        for fill in fills.itertuples()
    ]
    return fills.assign(
        **pd.DataFrame(rows, columns=["row", "next_row", "outside"], index=fills.index)
    )


def reprice(
    placed: pd.DataFrame, market: Market, *, costs: Costs, account: Account
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, float]]:
    """Return the waterfall of layers, their daily returns, and the totals of the last one.

    Parameters
    ----------
    placed : DataFrame
        Of ``place_fills``, all of them in the market.
    market : Market
    costs, account : Costs, Account

    Returns
    -------
    waterfall : DataFrame
        ``sharpe`` (a year, of daily returns), ``total_return`` and ``max_drawdown`` after each
        layer: the claimed prices with what the file charges; with taker fees in its place, spread
        and slippage, funding; then through the kernel, at next opens, rounded to lots, and with
        margin and liquidation.
    daily : DataFrame of shape (n_days, n_layers)
    totals : dict
        ``n_liquidations``, ``n_cuts``, ``fees_usdt``, ``funding_usdt``, ``slippage_usdt``, and
        ``delayed_sharpe`` of fills one bar later still.
    """
    days, ends = day_ends(market.index)
    equity = _claimed(placed, market, costs=costs, account=account)
    base = Realism(rounding=False, liquidation=False)
    layers = {
        NEXT_OPEN: base,
        "lots and minimum notional": replace(base, rounding=True),
        "margin and liquidation": Realism(),
    }
    cash = np.zeros(kernel.N_CASH)
    for name, realism in layers.items():
        inputs = build_inputs(market, costs=costs, account=account, realism=realism)
        equity[name], cash = hold_quantities(inputs, _targets(placed, market, delay=0))
    late, _ = hold_quantities(inputs, _targets(placed, market, delay=1))
    first = int(days.searchsorted(placed["moment"].min().floor("D")))
    table = {
        name: daily_returns(path, ends, account.capital_usdt)[first:]
        for name, path in {**equity, "late": late}.items()
    }
    delayed = sharpe(table.pop("late"), DAYS_A_YEAR)
    waterfall = pd.DataFrame({name: _measure(daily) for name, daily in table.items()}).T
    totals = {
        "n_liquidations": cash[kernel.N_LIQUIDATIONS],
        "n_cuts": cash[kernel.N_CUTS],
        "fees_usdt": cash[kernel.FEES],
        "slippage_usdt": cash[kernel.SLIPPAGE],
        "funding_usdt": cash[kernel.FUNDING_PAID],
        "delayed_sharpe": delayed,
    }
    return (
        waterfall.rename_axis("layer"),
        pd.DataFrame(table, index=days[first:]),
        {name: float(value) for name, value in totals.items()},
    )


def _is_grid(fills: pd.DataFrame, span: timedelta) -> bool:
    # A bar is labelled by its start: stamps off the grid are no labels of such bars.
    micros = span // timedelta(microseconds=1)
    return not micros or bool((fills["moment"].astype("int64") % micros == 0).all())


def _distance(fills: pd.DataFrame, market: Market, span: timedelta) -> float:
    length = market.bar_length
    opens = market.open.set_axis(market.index - length, axis=0)
    at = pd.DatetimeIndex(fills["moment"] + span)
    rows = opens.index.get_indexer(at)
    columns = opens.columns.get_indexer(pd.Index(fills["symbol"]))
    price = np.where(rows >= 0, opens.to_numpy()[rows, columns], np.nan)
    gaps = np.abs(fills["price"].to_numpy() / price - 1.0)
    found = np.isfinite(gaps)
    # Moments inside a bar have no price to compare with: too few of them tell nothing.
    return float(np.median(gaps[found])) if found.mean() > 0.5 else float("inf")


def _prices(market: Market, symbol: str) -> tuple[Floats, Floats, Floats, Floats]:
    frames = (market.open, market.high, market.low, market.close)
    open_, high, low, close = (frame[symbol].to_numpy() for frame in frames)
    return open_, high, low, close


def _place(
    fill: Any,
    market: Market,
    prices: tuple[Floats, Floats, Floats, Floats],
    lag: timedelta,
    timeframe: timedelta | None,
) -> tuple[int, int, float]:
    open_, high, low, close = prices
    length, index = market.bar_length, market.index
    moment = fill.moment + lag
    row = int(index.searchsorted(moment, side="right"))
    if not 1 <= row < len(index) or index[row] - length > moment or np.isnan(open_[row]):
        return -1, -1, 0.0
    is_start = index[row] - length == moment
    if is_start and abs(fill.price / open_[row] - 1.0) <= TOLERANCE:
        return row, row, 0.0
    last = int(index.searchsorted(moment + max(timeframe or length, length), side="left"))
    last = max(min(last, len(index) - 1), row)
    span = slice(row, last + 1)
    # At the very start of a bar the last price before it can still be had.
    before = close[row - 1] if is_start and np.isfinite(close[row - 1]) else open_[row]
    lowest, highest = np.fmin(low[span], before).min(), np.fmax(high[span], before).max()
    outside = max(lowest / fill.price - 1.0, fill.price / highest - 1.0, 0.0)
    inside = (low[span] * (1 - TOLERANCE) <= fill.price) & (
        fill.price <= high[span] * (1 + TOLERANCE)
    )
    met = row + int(inside.argmax()) if inside.any() else row
    later = np.flatnonzero(np.isfinite(open_[met + 1 :]))
    following = met + 1 + int(later[0]) if len(later) else -1
    return met, following, outside if outside > TOLERANCE else 0.0


def _claimed(
    placed: pd.DataFrame, market: Market, *, costs: Costs, account: Account
) -> dict[str, Floats]:
    shape = market.close.shape
    row, column = (
        placed["row"].to_numpy(),
        market.close.columns.get_indexer(pd.Index(placed["symbol"])),
    )
    qty, price = placed["qty"].to_numpy(), placed["price"].to_numpy()

    def by_bar(amounts: Floats) -> Floats:
        table = np.zeros(shape)
        np.add.at(table, (row, column), amounts)
        return table

    mark = market.mark_close.ffill().bfill().to_numpy()
    position = by_bar(qty).cumsum(axis=0)
    rates = np.nan_to_num(market.funding_settled.to_numpy()) * float(costs.has_funding)
    half = (costs.spread_bps / 2 + costs.slippage_bps) * BASIS_POINT
    worse = np.array(
        [taker_price(p, np.sign(q), half, 0.0) for p, q in zip(price, qty, strict=True)]
    )
    rate = costs.taker_fee_bps * BASIS_POINT

    def path(prices: Floats, fees: Floats, funding: Floats) -> Floats:
        spent = by_bar(qty * prices + fees) + funding
        worth: Floats = (position * mark - spent.cumsum(axis=0)).sum(axis=1)
        return account.capital_usdt + worth

    none = np.zeros(shape)
    paid = position * mark * rates
    return {
        CLAIMED: path(
            price, placed["fee_usdt"].to_numpy(), by_bar(placed["funding_usdt"].to_numpy())
        ),
        "Bybit's taker fees": path(price, np.abs(qty) * price * rate, none),
        "spread and slippage": path(worse, np.abs(qty) * worse * rate, none),
        "funding at its stamps": path(worse, np.abs(qty) * worse * rate, paid),
    }


def _targets(placed: pd.DataFrame, market: Market, *, delay: int) -> Floats:
    table = np.full(market.close.shape, np.nan)
    opened = market.open.to_numpy()
    for symbol, own in placed.groupby("symbol"):
        column = market.symbols.index(str(symbol))
        there = np.flatnonzero(np.isfinite(opened[:, column]))
        place = np.searchsorted(there, own["next_row"].to_numpy()) + delay
        order = np.argsort(place, kind="stable")
        held = own["qty"].to_numpy()[order].cumsum()
        held[np.abs(held) < 1e-9 * np.abs(held).max()] = 0.0
        place = np.minimum(place[order], len(there) - 1)
        # Of several fills at one open the last one says what is held after it.
        table[there[place] - 1, column] = held
    return table


def _measure(daily: Floats) -> dict[str, float]:
    return {
        "sharpe": float(sharpe(daily, DAYS_A_YEAR)),
        "total_return": float(total_return(daily)),
        "max_drawdown": float(max_drawdown(daily)),
    }
