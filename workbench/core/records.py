"""Records that cross rooms: instruments, the market, and the border between Decimal and float."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

import numpy as np
import pandas as pd

from workbench.core.errors import DataError

INTERVALS: Final[Mapping[str, timedelta]] = {
    **{str(m): timedelta(minutes=m) for m in (1, 3, 5, 15, 30, 60, 120, 240, 360, 480, 720)},
    "D": timedelta(days=1),
    "W": timedelta(days=7),
}
"""Bar lengths by their Bybit name (480 is not served by Bybit but made by ``resample``)."""

YEAR: Final = timedelta(days=365)
"""Crypto trades around the clock: a year is 365 days of 24 hours."""


def to_float(amount: Decimal) -> float:
    """Cross from the money side (Decimal) to the research side (float64)."""
    return float(amount)


def to_decimal(value: float, *, step: Decimal) -> Decimal:
    """Cross from the research side to the money side, rounded to a tick or lot step."""
    if not pd.notna(value) or value in (float("inf"), float("-inf")):
        raise DataError(
            f"The number {value} cannot become an amount of money.",
            "Find out why it is missing before it reaches an order.",
        )
    return (Decimal(repr(value)) / step).to_integral_value() * step


def interval_delta(interval: str) -> timedelta:
    """Return the length of a bar from its Bybit name (``"60"``, ``"D"``)."""
    if interval not in INTERVALS:
        raise DataError(
            f"{interval!r} is not an interval.",
            f"Use one of {', '.join(INTERVALS)} (minutes, D for a day, W for a week).",
        )
    return INTERVALS[interval]


def to_moment(value: str | datetime | pd.Timestamp) -> pd.Timestamp:
    """Return a moment in UTC; text without a zone is UTC, a naive datetime is an error."""
    stamp = pd.Timestamp(value)
    if stamp.tz is None:
        if not isinstance(value, str):
            raise DataError(
                f"The time {value} has no zone.", "Give it one: datetime(..., tzinfo=UTC)."
            )
        return stamp.tz_localize("UTC")
    return stamp.tz_convert("UTC")


@dataclass(frozen=True, slots=True)
class RiskTier:
    """One row of an instrument's risk limits: the margin rates up to a position value."""

    limit_usdt: Decimal
    maintenance_rate: Decimal
    initial_rate: Decimal
    max_leverage: Decimal
    deduction_usdt: Decimal


@dataclass(frozen=True, slots=True)
class Instrument:
    """A linear perpetual: its price and size steps, limits and margin tiers.

    ``price_limit_x`` and ``_y`` bound what orders may cost, as shares of index and mark price (0:
    not known); ``delisting`` is when a symbol stops trading, where that is announced.
    """

    symbol: str
    tick_size: Decimal
    qty_step: Decimal
    min_qty: Decimal
    max_qty: Decimal
    max_market_qty: Decimal
    min_notional_usdt: Decimal
    max_leverage: Decimal
    funding_interval_min: int
    tiers: tuple[RiskTier, ...]
    status: str = "Trading"
    launched: datetime | None = None
    upper_funding_rate: Decimal = Decimal("0.005")
    lower_funding_rate: Decimal = Decimal("-0.005")
    min_price: Decimal = Decimal(0)
    max_price: Decimal = Decimal("Infinity")
    price_limit_x: Decimal = Decimal(0)
    price_limit_y: Decimal = Decimal(0)
    leverage_step: Decimal = Decimal("0.01")
    delisting: datetime | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """How a simulated account is set up.

    ``leverage`` scales weights: a weight of 1 asks for ``leverage`` times the equity.
    ``margin_leverage`` is the leverage set at the exchange, by which initial margin is charged
    (never above the instrument's or its tier's maximum).
    """

    capital_usdt: float = 10_000.0
    leverage: float = 1.0
    margin_leverage: float = 10.0
    is_isolated: bool = False

    def __post_init__(self) -> None:
        if not (self.capital_usdt > 0 and self.leverage > 0 and self.margin_leverage >= 1):
            raise DataError(
                f"{self} cannot trade.",
                "Capital and leverage must be above 0 and margin_leverage at least 1.",
            )


FIELDS: Final = (
    "open",
    "high",
    "low",
    "close",
    "volume",
    "turnover",
    "mark_open",
    "mark_high",
    "mark_low",
    "mark_close",
    "funding_settled",
    "funding_predicted",
    "open_interest",
)
"""The frames of a market, in the order in which they are stored and hashed."""


@dataclass(frozen=True, slots=True)
class Market:
    """Everything a strategy may see: aligned frames of shape (n_bars, n_symbols).

    Every frame is indexed by ``known_at``, the moment when its row is known (the close of the
    bar), UTC-aware, strictly increasing. Missing is NaN, never zero.

    Attributes
    ----------
    open, high, low, close : DataFrame of shape (n_bars, n_symbols)
        Last-traded prices in USDT.
    volume, turnover : DataFrame of shape (n_bars, n_symbols)
        Base coin and USDT traded in the bar.
    mark_open, mark_high, mark_low, mark_close : DataFrame of shape (n_bars, n_symbols)
        Mark prices; where they are missing the last price stands in (see ``mark_is_last``).
    funding_settled : DataFrame of shape (n_bars, n_symbols)
        Sum of the funding rates settled in (previous known_at, known_at] as a fraction of
        position value; NaN where none settled. A rate stamped at a bar's close stands in that bar.
    funding_predicted : DataFrame of shape (n_bars, n_symbols)
        Rate expected at the next settlement, as known at the row's moment.
    open_interest : DataFrame of shape (n_bars, n_symbols)
        Contracts open, in base coin.
    member : DataFrame of bool of shape (n_bars, n_symbols)
        Whether the symbol belonged to the universe at that moment.
    instruments : mapping of symbol to Instrument
    interval : str
        Bybit name of the bar length.
    snapshot_id : str
        Hash of the data behind the market.
    others : mapping of interval to Market
        The same symbols at coarser or finer intervals, each indexed by its own ``known_at``.
    is_synthetic, is_planted, is_survivors, mark_is_last : bool
        Watermarks that every result made from the market carries; ``is_planted`` says that a
        synthetic market holds an effect that somebody put there.
    """

    open: pd.DataFrame
    high: pd.DataFrame
    low: pd.DataFrame
    close: pd.DataFrame
    volume: pd.DataFrame
    turnover: pd.DataFrame
    mark_open: pd.DataFrame
    mark_high: pd.DataFrame
    mark_low: pd.DataFrame
    mark_close: pd.DataFrame
    funding_settled: pd.DataFrame
    funding_predicted: pd.DataFrame
    open_interest: pd.DataFrame
    member: pd.DataFrame
    instruments: Mapping[str, Instrument]
    interval: str
    snapshot_id: str
    others: Mapping[str, Market] = field(default_factory=dict)
    is_synthetic: bool = False
    is_planted: bool = False
    is_survivors: bool = False
    mark_is_last: bool = False

    @classmethod
    def from_frames(
        cls,
        frames: Mapping[str, pd.DataFrame],
        *,
        interval: str,
        instruments: Mapping[str, Instrument] | None = None,
        snapshot_id: str = "",
        others: Mapping[str, Market] | None = None,
        is_synthetic: bool = False,
        is_planted: bool = False,
        is_survivors: bool = False,
    ) -> Market:
        """Build a market from the frames there are, checking index and shape.

        ``frames`` maps names of ``FIELDS`` (and ``member``) to frames indexed by ``known_at``;
        ``close`` is required. Open, high, low and mark fall back to close or last prices, other
        missing fields to NaN.

        Raises
        ------
        DataError
            If a name is unknown, or an index is naive, unsorted, doubled or unlike ``close``.
        """
        interval_delta(interval)
        unknown = set(frames) - {*FIELDS, "member"}
        if unknown or "close" not in frames:
            raise DataError(
                f"A market cannot be made of the fields {sorted(frames)}.",
                f"Give close and any of {', '.join(FIELDS)}, member.",
            )
        seen: dict[int, pd.DatetimeIndex] = {}
        close = _normalise(frames["close"], "close", seen)
        given = {name: _normalise(frame, name, seen) for name, frame in frames.items()}
        for name, frame in given.items():
            if not (_is_same(frame.index, close.index) and frame.columns.equals(close.columns)):
                raise DataError(
                    f"{name} has {frame.shape[0]} rows and columns {list(frame.columns)[:5]}, "
                    f"unlike close with {close.shape[0]} rows and {list(close.columns)[:5]}.",
                    "Align all frames to one index and one list of symbols.",
                )
        mark_is_last = "mark_close" not in given or bool(
            given["mark_close"].isna().where(close.notna(), False).to_numpy().any()
        )
        full = {name: given.get(name, close) for name in ("open", "high", "low", "close")}
        for name in ("open", "high", "low", "close"):
            last = full[name]
            mark = given.get(f"mark_{name}")
            full[f"mark_{name}"] = last if mark is None else mark.where(mark.notna(), last)
        empty = pd.DataFrame(float("nan"), index=close.index, columns=close.columns)
        for name in FIELDS:
            full.setdefault(name, given.get(name, empty))
        member = given.get("member", close.notna()).astype(bool)
        return cls(
            **full,
            member=member,
            instruments=dict(instruments or {}),
            interval=interval,
            snapshot_id=snapshot_id,
            others=dict(others or {}),
            is_synthetic=is_synthetic,
            is_planted=is_planted,
            is_survivors=is_survivors,
            mark_is_last=mark_is_last,
        )

    @property
    def index(self) -> pd.DatetimeIndex:
        """The ``known_at`` of every bar."""
        return pd.DatetimeIndex(self.close.index)

    @property
    def symbols(self) -> list[str]:
        """The columns of every frame."""
        return [str(symbol) for symbol in self.close.columns]

    @property
    def n_bars(self) -> int:
        """The number of rows of every frame."""
        return len(self.close)

    @property
    def bar_length(self) -> timedelta:
        """The time from one ``known_at`` to the next."""
        return interval_delta(self.interval)

    @property
    def bars_per_year(self) -> float:
        """How many bars a year of 365 days holds: the annualisation factor."""
        return YEAR / self.bar_length

    @property
    def watermark(self) -> str:
        """What every title made from this market must carry; empty for plain real data."""
        marks = [
            ("SYNTHETIC", self.is_synthetic),
            ("PLANTED EFFECT", self.is_planted),
            ("SURVIVORS ONLY", self.is_survivors),
        ]
        return " · ".join(text for text, is_on in marks if is_on)

    def until(self, moment: str | datetime | pd.Timestamp, *, bars: int | None = None) -> Market:
        """Return what was known at a moment: rows up to it, or only the last ``bars`` of them."""
        stop = int(self.index.searchsorted(to_moment(moment), side="right"))
        start = 0 if bars is None else max(0, stop - bars)
        cut = self._rows(slice(start, stop))
        others = {name: other.until(moment) for name, other in self.others.items()}
        return replace(cut, others=others)

    def between(
        self, start: str | datetime | pd.Timestamp | None, end: str | datetime | pd.Timestamp | None
    ) -> Market:
        """Return the rows with ``start <= known_at <= end``."""
        low = 0 if start is None else int(self.index.searchsorted(to_moment(start)))
        high = (
            self.n_bars
            if end is None
            else int(self.index.searchsorted(to_moment(end), side="right"))
        )
        others = {name: other.between(start, end) for name, other in self.others.items()}
        return replace(self._rows(slice(low, high)), others=others)

    def select(self, symbols: Sequence[str]) -> Market:
        """Return the same market with only these symbols, in this order."""
        missing = [symbol for symbol in symbols if symbol not in self.close.columns]
        if missing:
            raise DataError(
                f"The market has no {', '.join(missing)}.", f"It holds {', '.join(self.symbols)}."
            )
        columns = list(symbols)
        frames = {name: getattr(self, name)[columns] for name in (*FIELDS, "member")}
        others = {name: other.select(symbols) for name, other in self.others.items()}
        instruments = {s: self.instruments[s] for s in columns if s in self.instruments}
        return replace(self, **frames, instruments=instruments, others=others)

    def resample(self, interval: str) -> Market:
        """Return the market in longer bars, each labelled by the moment when it is complete.

        Bars are aligned to the Unix epoch as Bybit's are (weeks start on Monday); a last bar that
        is not complete is dropped.
        """
        length = interval_delta(interval)
        if length < self.bar_length or length % self.bar_length:
            raise DataError(
                f"Bars of {self.interval} cannot be made into bars of {interval}.",
                "Choose a longer interval that is a whole multiple.",
            )
        origin = pd.Timestamp("1970-01-05" if interval == "W" else "1970-01-01", tz="UTC")
        label = (self.index - origin).ceil(length) + origin
        frames = {}
        for name in (*FIELDS, "member"):
            how = _AGGREGATE[name]
            grouped = getattr(self, name).groupby(label)
            frames[name] = grouped.sum(min_count=1) if how == "sum" else grouped.agg(how)
        is_whole = frames["close"].index <= self.index[-1]
        frames = {name: frame[is_whole] for name, frame in frames.items()}
        coarse = Market.from_frames(
            frames,
            interval=interval,
            instruments=self.instruments,
            snapshot_id=self.snapshot_id,
            is_synthetic=self.is_synthetic,
            is_planted=self.is_planted,
            is_survivors=self.is_survivors,
        )
        return replace(coarse, mark_is_last=self.mark_is_last)

    def _rows(self, rows: slice) -> Market:
        frames = {name: getattr(self, name).iloc[rows] for name in (*FIELDS, "member")}
        return replace(self, **frames)


_AGGREGATE: Final[dict[str, str]] = {
    **dict.fromkeys(FIELDS, "last"),
    **dict.fromkeys(("open", "mark_open"), "first"),
    **dict.fromkeys(("high", "mark_high"), "max"),
    **dict.fromkeys(("low", "mark_low"), "min"),
    **dict.fromkeys(("volume", "turnover", "funding_settled"), "sum"),
    "member": "last",
}


def _is_same(one: pd.Index, other: pd.Index) -> bool:
    return one is other or one.equals(other)


def _normalise(frame: pd.DataFrame, name: str, seen: dict[int, pd.DatetimeIndex]) -> pd.DataFrame:
    # Frames mostly share one index object: it is checked and converted once.
    index = seen.get(id(frame.index))
    if index is None:
        index = seen[id(frame.index)] = _normalise_index(frame.index, name)
    frame = frame.set_axis(index, axis=0)
    return frame.astype(bool) if name == "member" else frame.astype(np.float64)


def _normalise_index(index: pd.Index, name: str) -> pd.DatetimeIndex:
    if not isinstance(index, pd.DatetimeIndex) or index.tz is None:
        raise DataError(
            f"The rows of {name} are not indexed by time with a zone.",
            "Index frames by known_at, UTC-aware (pd.to_datetime(..., utc=True)).",
        )
    if not (index.is_monotonic_increasing and index.is_unique):
        raise DataError(
            f"The index of {name} is not strictly increasing.",
            "Sort the rows and drop duplicates (`workbench data check` shows them).",
        )
    return index.tz_convert("UTC").as_unit("us").rename("known_at")


def from_bar_start(frame: pd.DataFrame, interval: str) -> pd.DataFrame:
    """Label a frame stamped by bar start (as Bybit and most files are) with its ``known_at``."""
    index = pd.DatetimeIndex(frame.index) + interval_delta(interval)
    return frame.set_axis(index.rename("known_at"), axis=0)


def to_bar_start(frame: pd.DataFrame, interval: str) -> pd.DataFrame:
    """Label a frame indexed by ``known_at`` with the start of its bars, for charts and files."""
    index = pd.DatetimeIndex(frame.index) - interval_delta(interval)
    return frame.set_axis(index.rename("bar_start"), axis=0)
