"""History: what an account was worth day by day, what it held, and the measures of both.

Returns are time-weighted [1]_: the account is valued before each deposit, withdrawal, transfer and
payment of interest, and the sub-periods are chained. Money that comes or goes moves no return, no
drawdown and no ratio.

References
----------
.. [1] Bacon (2008), "Practical portfolio performance measurement and attribution", 2nd ed., Wiley,
   chapter 2: true time-weighted return.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from decimal import Decimal
from itertools import groupby
from typing import Any, Final

import numpy as np
import pandas as pd

from workbench.core.errors import DataError
from workbench.core.measures import DAYS_A_YEAR, drawdown_path, measure_returns, measure_trades
from workbench.core.records import to_float
from workbench.core.trips import pair_fills
from workbench.portfolio.accounting import FLOWS, Books, Fill, Payment, Posting, read_marks

_NOW: Final = (
    "realised_usdt", "unrealised_usdt", "fees_usdt", "funding_usdt", "flows_usdt", "drawdown",
    "leverage", "net_leverage",
)  # fmt: skip


def daily_history(postings: Sequence[Posting], marks: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each UTC day, from the first posting or mark to the last mark.

    Parameters
    ----------
    postings : sequence of Fill and Payment
        In any order; those of one moment are booked in the order given.
    marks : DataFrame of shape (n_bars, n_symbols)
        Mark prices by ``known_at``; gaps are carried forward. What is traded before its first mark
        is valued at the price of the fill.

    Returns
    -------
    DataFrame of shape (n_days, 15)
        At the end of each day, by its date: ``equity_usdt``, ``wallet_usdt``, ``unrealised_usdt``;
        ``gross_usdt`` and ``net_usdt``, absolute and signed position values; ``leverage`` and
        ``net_leverage``, both over the equity; ``n_positions``. So far: ``realised_usdt`` (before
        fees and funding), ``fees_usdt``, ``funding_usdt`` (positive is paid), ``flows_usdt``. Of
        the day: ``return_`` (time-weighted; 0 while nothing is there to earn on) and ``flow_usdt``.
        ``drawdown`` is the fall from the peak of the chained returns.

    Raises
    ------
    DataError
        If the marks end before the last posting, or are not indexed by time in UTC.

    Notes
    -----
    What happens at midnight belongs to the day that ends there.
    """
    index = marks.index
    if not isinstance(index, pd.DatetimeIndex) or index.tz is None or not len(index):
        raise DataError(
            "The marks are not indexed by time in UTC.", "Give mark prices by known_at."
        )
    ordered = sorted(postings, key=lambda posting: posting.moment)
    if ordered and ordered[-1].moment > index[-1]:
        raise DataError(
            f"The marks end at {index[-1]}, before the last posting at {ordered[-1].moment}.",
            "Give marks up to the moment at which the account is to be valued.",
        )
    account = _Valuation(marks.ffill())
    first = min(index[0], ordered[0].moment) if ordered else index[0]
    waiting = {day: list(own) for day, own in groupby(ordered, key=lambda own: _day(own.moment))}
    rows = {}
    for day in pd.date_range(_day(first), _day(index[-1]), freq="D"):
        for posting in waiting.get(day, ()):
            account.post(posting)
        rows[day] = account.close(day + pd.Timedelta(days=1))
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("day")
    table["flow_usdt"] = table["flows_usdt"].diff().fillna(table["flows_usdt"])
    table["drawdown"] = drawdown_path(table["return_"].to_numpy())
    return table


def measure_history(history: pd.DataFrame, trades: pd.DataFrame) -> dict[str, float]:
    """Return the measures of an account by name.

    Parameters
    ----------
    history : DataFrame
        As ``daily_history`` returns it.
    trades : DataFrame
        As ``pair_postings`` returns it.

    Returns
    -------
    dict
        Every measure of ``core.measures`` of the daily returns (365 days a year) and of the closed
        trades, and beside them what the account is worth, has earned and has paid, and how it is
        placed now.
    """
    last = history.iloc[-1]
    closed = trades.loc[~trades["is_open"], "pnl_usdt"].to_numpy(np.float64)
    return {
        "value_usdt": float(last["equity_usdt"]),
        "pnl_usdt": float(last["equity_usdt"] - last["flows_usdt"]),
        "daily_return": float(last["return_"]),
        **{name: float(last[name]) for name in _NOW},
        "average_leverage": float(history["leverage"].mean()),
        "exposure": float((history["n_positions"] > 0).mean()),
        **measure_returns(history["return_"].to_numpy(), periods=DAYS_A_YEAR),
        **measure_trades(closed),
    }


def pair_postings(postings: Sequence[Posting], marks: pd.DataFrame) -> pd.DataFrame:
    """Return the round trips of every strategy and symbol, net of their fees and funding.

    Parameters
    ----------
    postings : sequence of Fill and Payment
        In any order; those of one moment in that of their booking.
    marks : DataFrame of shape (n_bars, n_symbols)
        The last mark of each symbol values what is still open.

    Returns
    -------
    DataFrame
        ``strategy``, ``symbol``, ``side``, ``entered_at``, ``exited_at``, ``pnl_usdt`` and
        ``is_open``. Funding is borne by the trip that was open when it was booked.
    """
    last = marks.ffill().iloc[-1]
    ordered = sorted(postings, key=lambda own: (own.strategy, own.symbol, own.moment))
    rows = []
    for (strategy, symbol), group in groupby(ordered, key=lambda own: (own.strategy, own.symbol)):
        own = list(group)
        fills = [(i, *_amounts(p)) for i, p in enumerate(own) if isinstance(p, Fill)]
        paid = {
            i: to_float(p.amount_usdt)
            for i, p in enumerate(own)
            if isinstance(p, Payment) and p.kind not in FLOWS
        }
        places, total = list(paid), [0.0, *np.cumsum(list(paid.values()))]
        for trip in pair_fills(pd.DataFrame(fills, columns=_COLUMNS)):
            is_open, start = trip.is_open, trip.first.place
            stop = len(places) if is_open else bisect_right(places, trip.last.place)
            value = trip.left_value + (trip.held * last[symbol] if is_open else 0.0)
            pnl = trip.side * (value - trip.entered_value) - trip.fees
            pnl += total[stop] - total[bisect_right(places, start)]
            end = pd.NaT if is_open else own[trip.last.place].moment
            rows.append((strategy, symbol, trip.side, own[start].moment, end, pnl, is_open))
    names = ["strategy", "symbol", "side", "entered_at", "exited_at", "pnl_usdt", "is_open"]
    table = pd.DataFrame(rows, columns=names).astype({"is_open": bool, "pnl_usdt": float})
    return table.sort_values("entered_at", kind="stable", ignore_index=True)


class _Valuation:
    # The books as they grow, and the chained return since the last close of a day.

    def __init__(self, marks: pd.DataFrame) -> None:
        self.books = Books()
        self.marks = marks
        self.first: dict[str, Decimal] = {}
        self.base, self.growth = 0.0, 1.0

    def post(self, posting: Posting) -> None:
        is_flow = isinstance(posting, Payment) and posting.kind in FLOWS
        if is_flow:
            self.chain(self.known(posting.moment))
        elif isinstance(posting, Fill):
            self.first.setdefault(posting.symbol, posting.price)
        if self.books.post(posting) and is_flow:
            self.base = to_float(self.books.equity_usdt(self.known(posting.moment)))

    def known(self, moment: Any) -> dict[str, Decimal]:
        row = self.marks.index.searchsorted(moment, side="right") - 1
        return self.first | (read_marks(self.marks.iloc[row]) if row >= 0 else {})

    def chain(self, marks: Mapping[str, Decimal]) -> None:
        equity = to_float(self.books.equity_usdt(marks))
        self.growth *= equity / self.base if self.base > 0 else 1.0
        self.base = equity

    def close(self, moment: pd.Timestamp) -> dict[str, float]:
        marks = self.known(moment)
        self.chain(marks)
        held = [(p.qty, marks[s]) for s, p in self.books.positions.items() if p.qty]
        gross = to_float(sum((abs(qty) * mark for qty, mark in held), Decimal(0)))
        net = to_float(sum((qty * mark for qty, mark in held), Decimal(0)))
        equity, lines = self.base, self.books.lines.values()
        return_, self.growth = self.growth - 1.0, 1.0
        return {
            "equity_usdt": equity,
            "wallet_usdt": to_float(self.books.wallet_usdt),
            "unrealised_usdt": to_float(self.books.unrealised_usdt(marks)),
            "realised_usdt": float(sum(line.realised_usdt for line in lines)),
            "fees_usdt": float(sum(line.fees_usdt for line in lines)),
            "funding_usdt": float(sum(line.funding_usdt for line in lines)),
            "flows_usdt": to_float(self.books.flows_usdt),
            "gross_usdt": gross,
            "net_usdt": net,
            "leverage": gross / equity if equity > 0 else 0.0,
            "net_leverage": net / equity if equity > 0 else 0.0,
            "n_positions": float(len(held)),
            "return_": return_,
        }


_COLUMNS: Final = ["place", "side", "qty", "price", "fee_usdt"]


def _amounts(fill: Fill) -> tuple[int, float, float, float]:
    amounts = (to_float(abs(fill.qty)), to_float(fill.price), to_float(fill.fee_usdt))
    return (1 if fill.qty > 0 else -1, *amounts)


def _day(moment: Any) -> pd.Timestamp:
    # What happens at midnight belongs to the day that ends there.
    return (pd.Timestamp(moment).tz_convert("UTC") - pd.Timedelta(1, unit="us")).floor("D")
