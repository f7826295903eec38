"""What a backtest says about itself: its statistics, and the same orders for vectorbt."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from workbench.core.measures import measure_returns, measure_trades
from workbench.core.records import YEAR
from workbench.core.wording import describe_name, describe_value

if TYPE_CHECKING:
    import vectorbt

    from workbench.backtest.run import Result


def measures(result: Result) -> pd.Series:
    """Return the statistics of a run by name.

    Returns
    -------
    Series
        Measures of the returns per bar, of closed trades (net of fees and funding), of exposure
        and turnover, and what was paid; a name says its unit where it has one.
    """
    market = result.market
    named = measure_returns(result.returns.to_numpy(), periods=market.bars_per_year)
    closed = result.trades[~result.trades["is_open"]]
    named |= measure_trades(closed["pnl_usdt"].to_numpy(dtype=np.float64))
    value = result.positions.abs() * market.mark_close.ffill()
    gross = value.sum(axis=1) / result.equity.where(result.equity > 0)
    years = len(result.equity) * market.bar_length / YEAR
    named |= {
        "average_bars_held": float(closed["bars_held"].mean()) if len(closed) else float("nan"),
        "exposure": float((result.positions != 0).any(axis=1).mean()),
        "average_gross_leverage": float(gross.mean()),
        "max_gross_leverage": float(gross.max()),
        "turnover_a_year": result.totals["turnover_usdt"] / float(result.equity.mean()) / years,
        "n_fills": result.totals["n_fills"],
        "fees_usdt": result.totals["fees_usdt"],
        "slippage_usdt": result.totals["slippage_usdt"],
        "funding_usdt": result.totals["funding_usdt"],
        "n_liquidations": result.totals["n_liquidations"],
        "n_margin_cuts": result.totals["n_cuts"],
        "final_equity_usdt": float(result.equity.iloc[-1]),
    }
    return pd.Series(named, name=type(result.strategy).__name__)


def readable(table: pd.DataFrame, *, by: Literal["rows", "columns"] = "rows") -> pd.DataFrame:
    """Return a table of measures as text for people: in words and units, a dash where missing.

    Parameters
    ----------
    table : DataFrame
        Its rows (or columns) are named by measures; what else it holds is written as it is.
    by : {"rows", "columns"}, default="rows"
    """
    if by == "columns":
        columns = {
            describe_name(str(name)): [describe_value(str(name), value) for value in own.tolist()]
            for name, own in table.items()
        }
        return pd.DataFrame(columns, index=table.index)
    rows = [
        [describe_value(str(name), value) for value in row]
        for name, row in zip(table.index, table.to_numpy().tolist(), strict=True)
    ]
    index = pd.Index([describe_name(str(name)) for name in table.index], name=table.index.name)
    return pd.DataFrame(rows, index=index, columns=table.columns)


def monthly_returns(result: Result) -> pd.DataFrame:
    """Return compound returns by year (rows) and month (columns 1 to 12); NaN outside the run."""
    growth = 1.0 + result.daily_returns
    days = pd.DatetimeIndex(growth.index)
    months = growth.groupby([days.year, days.month]).prod() - 1.0
    table = months.unstack()
    return table.reindex(columns=range(1, 13)).rename_axis(index="year", columns="month")


def to_vectorbt(result: Result) -> vectorbt.Portfolio:
    """Return a vectorbt portfolio made of the same fills, for its plots and statistics.

    vectorbt knows no funding and no margin: its cash is ours before funding, and a liquidation is
    an order at the bankruptcy price. Fills of one bar and symbol (an entry and its stop, say)
    become one order at their net quantity and cost.
    """
    with warnings.catch_warnings():
        # Its import and its indexing use deprecated calls of pandas 3.
        warnings.simplefilter("ignore")
        import vectorbt as vbt

        market = result.market
        fills = result.fills
        signed = fills["qty"] * fills["side"]
        cost = signed * fills["price"] + fills["fee_usdt"]
        keys = [fills["known_at"], fills["symbol"].astype(str)]

        def spread(values: pd.Series) -> pd.DataFrame:
            table = values.groupby(keys).sum().unstack()
            return table.reindex(index=market.index, columns=market.symbols).fillna(0.0)

        size, paid = spread(signed), spread(cost)
        price = market.close.ffill().bfill()
        fees = (paid - size * price).apply(lambda own: _carry(own, size[own.name] != 0))
        return vbt.Portfolio.from_orders(
            price,
            size=size.where(size != 0),
            price=price,
            fixed_fees=fees,
            init_cash=result.account.capital_usdt,
            cash_sharing=True,
            group_by=True,
            freq=market.bar_length,
        )


def _carry(cost: pd.Series, is_order: pd.Series) -> pd.Series:
    # What was paid in a bar that left the position as it was goes with the next order.
    block = is_order[::-1].cumsum()[::-1]
    return cost.groupby(block).transform("sum").where(is_order, 0.0)
