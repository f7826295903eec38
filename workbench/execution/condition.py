"""What a market is like to trade in now: its book measured exactly, and its condition in a word.

The measures of a book are ``Decimal`` and exact; a condition, which only ranks markets, is float.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from math import floor, sqrt
from typing import Final, NamedTuple

import numpy as np
import pandas as pd

from workbench.core.costs import BASIS_POINT
from workbench.core.errors import ConfigError, DataError
from workbench.core.records import YEAR, Market, interval_delta, to_float
from workbench.exchange.records import Book
from workbench.exchange.wire import EPOCH
from workbench.exchange.words import Side
from workbench.risk.volatility import realised_horizons

DAY: Final = timedelta(days=1)
ZERO: Final = Decimal(0)
NEAR: Final = Decimal("0.001")
"""How far from the mid depth counts: ten basis points."""


class Sweep(NamedTuple):
    """What a taker gets: the quantity that stands there, what it costs, and the last price."""

    qty: Decimal
    value: Decimal
    worst: Decimal

    @property
    def average(self) -> Decimal:
        """The price paid on the average."""
        return self.value / self.qty


class State(StrEnum):
    """A market in a word; ``wild`` is one whose price moves more than waiting is worth."""

    DEEP = "deep"
    NORMAL = "normal"
    THIN = "thin"
    WILD = "wild"


@dataclass(frozen=True, slots=True)
class Scale:
    """Against what a market is measured.

    Attributes
    ----------
    spread_bps, depth_usdt, volatility : float
        Where each alone halves the score: the full spread, the value within ten basis points of the
        mid on the weaker side, and the volatility of a day. The first two are medians of 78 Bybit
        perpetuals in July 2024.
    deep, thin : float
        Scores from which a market is deep, and below which it is thin.
    wild : float
        Volatility of a day from which a market is wild, whatever its book looks like.
    """

    spread_bps: float = 2.3
    depth_usdt: float = 12_000.0
    volatility: float = 0.04
    deep: float = 0.6
    thin: float = 0.4
    wild: float = 0.1

    def __post_init__(self) -> None:
        levels = (self.spread_bps, self.depth_usdt, self.volatility, self.wild)
        if not (min(levels) > 0.0 and 0.0 <= self.thin <= self.deep <= 1.0):
            raise ConfigError(
                f"{self} measures nothing.", "Let all be above 0 and 0 <= thin <= deep <= 1."
            )


@dataclass(frozen=True, slots=True)
class Condition:
    """A market at a moment: ``score`` is its liquidity, from 0 (none) to 1.

    ``touch_usdt`` and ``depth_usdt`` are of the weaker side, ``imbalance`` is above 0 where more is
    bid than asked, and ``volatility`` a fraction a day.
    """

    spread_bps: float
    touch_usdt: float
    depth_usdt: float
    imbalance: float
    volatility: float
    score: float
    state: State

    @property
    def words(self) -> str:
        """The condition and the numbers behind it."""
        return (
            f"the market is {self.state} (liquidity {self.score:.2f}: spread "
            f"{self.spread_bps:.2f} bp, {self.depth_usdt:,.0f} USDT within 10 bp, imbalance "
            f"{self.imbalance:+.2f}, volatility {self.volatility:.1%} a day)"
        )


def mid(book: Book) -> Decimal:
    """Return the price between the best bid and the best ask.

    Raises
    ------
    DataError
        If a side is empty or the sides cross, as in every measure of this module.
    """
    if not (book.bids and book.asks) or book.bids[0].price >= book.asks[0].price:
        raise DataError(
            f"The book of {book.symbol} has no bid below an ask.",
            "Wait for a whole book before anything is priced by it.",
        )
    return (book.bids[0].price + book.asks[0].price) / 2


def spread(book: Book) -> Decimal:
    """Return the full bid-ask spread as a fraction of the mid."""
    middle = mid(book)
    return (book.asks[0].price - book.bids[0].price) / middle


def depth(book: Book, side: Side, *, within: Decimal = NEAR) -> Decimal:
    """Return the value in USDT that rests on a side within a fraction of the mid."""
    middle = mid(book)
    levels = book.bids if side is Side.BUY else book.asks
    near = (one for one in levels if abs(one.price - middle) <= within * middle)
    return sum((one.price * one.size for one in near), ZERO)


def imbalance(book: Book, *, levels: int = 5) -> Decimal:
    """Return (bid - asked) / (bid + asked) of the sizes of the best levels, from -1 to 1."""
    mid(book)
    bid, asked = (sum((one.size for one in own[:levels]), ZERO) for own in (book.bids, book.asks))
    return (bid - asked) / (bid + asked)


def sweep(book: Book, side: Side, qty: Decimal, *, limit: Decimal | None = None) -> Sweep:
    """Return what a taker of a side gets at once, at no worse than a limit, as far as it goes."""
    mid(book)
    left, value, worst = qty, ZERO, ZERO
    for price, size in book.asks if side is Side.BUY else book.bids:
        if left <= 0 or (limit is not None and (price - limit) * side.sign > 0):
            break
        taken = min(size, left)
        left, value, worst = left - taken, value + taken * price, price
    return Sweep(qty - left, value, worst)


def expected_slippage(book: Book, side: Side, qty: Decimal) -> Decimal:
    """Return what a taker pays beyond the mid, half the spread included, as a fraction of it.

    Raises
    ------
    DataError
        If the book does not hold the quantity.
    """
    got, middle = sweep(book, side, qty), mid(book)
    if got.qty < qty or qty <= 0:
        raise DataError(
            f"The book of {book.symbol} shows {got.qty} of the {qty} asked for.",
            "Ask for a positive quantity that it shows, or read more levels.",
        )
    return side.sign * (got.average - middle) / middle


def assess(book: Book, *, volatility: float, scale: Scale | None = None) -> Condition:
    """Return the condition of a market from its book and the volatility of a day.

    Notes
    -----
    The score is the geometric mean of ``1 / (1 + x / scale)`` of spread and of volatility,
    ``x / (x + scale)`` of depth, and ``1 - |x| / 2`` of imbalance, since one side may be full.
    """
    scale = scale or Scale()
    if not 0.0 <= volatility < float("inf"):
        raise DataError(
            f"The volatility of {book.symbol} is {volatility}.", "Give a day of bars before."
        )
    middle = mid(book)
    wide = to_float(spread(book)) / BASIS_POINT
    near = to_float(min(depth(book, side) for side in Side))
    tilt = to_float(imbalance(book))
    shares = (
        1.0 / (1.0 + wide / scale.spread_bps),
        near / (near + scale.depth_usdt),
        1.0 / (1.0 + volatility / scale.volatility),
        1.0 - abs(tilt) / 2.0,
    )
    score = float(np.prod(shares) ** 0.25)
    state = State.DEEP if score >= scale.deep else State.NORMAL
    if volatility >= scale.wild:
        state = State.WILD
    elif score < scale.thin:
        state = State.THIN
    touch = to_float(min(book.bids[0].size, book.asks[0].size) * middle)
    return Condition(wide, touch, near, tilt, volatility, score, state)


def day_volatility(market: Market, symbol: str) -> float:
    """Return the volatility realised over the last 24 hours of bars, as a fraction a day."""
    year = realised_horizons(market.select([symbol])).get("24h")
    if year is None or not len(year) or pd.isna(year[symbol].iloc[-1]):
        raise DataError(
            f"There is not a whole day of bars of {symbol}.",
            "Give bars that divide a day, and a day of them and one without a gap.",
        )
    return float(year[symbol].iloc[-1]) * sqrt(DAY / YEAR)


def volume_curve(volume: pd.Series, *, interval: str, days: int = 30) -> tuple[float, ...]:
    """Return which share of a day's volume is traded in each bar of a UTC day.

    Parameters
    ----------
    volume : Series of shape (n_bars,)
        By ``known_at``; the caller ends it at the decision, so that nothing later is in it.
    interval : str
        Of the bars, by Bybit's name; it must divide a day.
    days : int, default=30
        Last whole days that count, each alike, so that one wild day does not decide.

    Returns
    -------
    tuple of float
        From midnight on, adding up to 1.

    Raises
    ------
    DataError
        If there is no whole day. A day with a missing bar is left out.
    """
    length = interval_delta(interval)
    if DAY % length:
        raise DataError(f"Bars of {interval} do not divide a day.", "Take shorter ones.")
    starts = pd.DatetimeIndex(volume.index) - length
    places = (starts - starts.floor("D")) // length
    table = volume.groupby([starts.floor("D"), places]).sum(min_count=1).unstack()
    whole = table.reindex(columns=range(DAY // length)).dropna().tail(days)
    whole = whole[whole.sum(axis=1) > 0.0]
    if whole.empty:
        raise DataError("There is no whole day of volume.", "Load at least two days of bars.")
    shares = whole.div(whole.sum(axis=1), axis=0).mean()
    return tuple(float(share) for share in shares)


def curve_share(curve: tuple[float, ...], start: datetime, end: datetime) -> float:
    """Return the volume between two moments, in days' volumes, by a curve of the day."""
    midnight = start - (start - EPOCH) % DAY
    return _since(curve, end - midnight) - _since(curve, start - midnight)


def _since(curve: tuple[float, ...], time: timedelta) -> float:
    days, rest = divmod(time, DAY)
    place = rest / DAY * len(curve)
    whole = min(floor(place), len(curve) - 1)
    return days + sum(curve[:whole]) + curve[whole] * (place - whole)
