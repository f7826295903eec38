"""Other futures for a market: cut off, poisoned, or tossed anew by a fair coin.

What is known at a moment stays as it is, bit for bit; everything after it is made to lie.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import cycle
from typing import Any, Final, Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.core.records import FIELDS, Market

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]
Poison = Literal["spike", "missing", "lift", "sink", "mirror", "reverse", "shuffle"]

EXTREME: Final[tuple[Poison, ...]] = ("spike", "missing", "lift", "sink")
PLAUSIBLE: Final[tuple[Poison, ...]] = ("mirror", "shuffle", "reverse")
"""Poisons in pairs: an extreme one moves what averages, a plausible one passes for data."""

_BARS: Final = ("open", "high", "low", "close")
_MARKS: Final = tuple(f"mark_{name}" for name in _BARS)
_RATES: Final = ("funding_settled", "funding_predicted")
_SWAPPED: Final = {"high": "low", "low": "high", "mark_high": "mark_low", "mark_low": "mark_high"}
_FACTOR: Final = 20.0
_RATE: Final = 0.01
_PERIODS: Final = ("8h", "D", "W", "M")


def fields_of(market: Market) -> list[str]:
    """Return what can carry the future: fields that hold anything, ``others``, ``instruments``."""
    held = [name for name in FIELDS if bool(getattr(market, name).notna().to_numpy().any())]
    others = [f"others[{name}]" for name in market.others]
    return [*held, "member", *others, *(["instruments"] if market.instruments else [])]


def poison(
    market: Market,
    moment: pd.Timestamp,
    *,
    kind: Poison,
    seed: int = 0,
    fields: Sequence[str] | None = None,
) -> Market:
    """Return a market that is the same up to a moment and lies after it.

    Parameters
    ----------
    market : Market
    moment : Timestamp
        The last ``known_at`` that is left as it is; a coarser bar that is not complete by then
        lies as well.
    kind : str
        ``spike`` multiplies prices and sizes by 20 or 1/20 by chance, ``lift`` and ``sink`` all of
        them; ``missing`` takes everything away; ``mirror`` turns every rise into a fall around the
        last close; ``reverse`` and ``shuffle`` put the bars in another order. Funding becomes one
        per cent up or down, or changes its sign; membership and the instruments' status change.
    seed : int, default=0
    fields : sequence of str, optional
        Which of ``fields_of`` lie; by default all. The same seed gives a field the same values
        whatever else lies.

    Returns
    -------
    Market
    """
    rng = np.random.default_rng([seed, get_args(Poison).index(kind)])

    def is_lying(name: str) -> bool:
        return fields is None or name in fields

    others = {
        name: poison(other, moment, kind=kind, seed=seed) if is_lying(f"others[{name}]") else other
        for name, other in market.others.items()
    }
    instruments = dict(market.instruments)
    if is_lying("instruments"):
        for symbol in sorted(instruments)[:: 1 if kind == "missing" else 2]:
            was = instruments[symbol].status
            instruments[symbol] = replace(
                instruments[symbol], status="Closed" if was == "Trading" else "Trading"
            )
    known = int(market.index.searchsorted(moment, side="right"))
    frames: dict[str, Any] = {}
    if known < market.n_bars:
        lies = _future(market, known, kind, rng)
        for name in (*FIELDS, "member"):
            if is_lying(name):
                frame = getattr(market, name)
                values = np.concatenate([frame.to_numpy()[:known], lies[name]])
                frames[name] = pd.DataFrame(
                    values, index=frame.index, columns=frame.columns, copy=False
                )
    return replace(market, **frames, others=others, instruments=instruments)


def _future(
    market: Market, known: int, kind: Poison, rng: np.random.Generator
) -> dict[str, NDArray[Any]]:
    future = {name: getattr(market, name).to_numpy()[known:] for name in (*FIELDS, "member")}
    shape = future["close"].shape
    if kind in ("reverse", "shuffle"):
        order = np.arange(shape[0])[::-1] if kind == "reverse" else rng.permutation(shape[0])
        return {name: values[order] for name, values in future.items()}
    if kind == "mirror":
        return _mirrored(market, known, future)
    if kind == "missing":
        gone: dict[str, NDArray[Any]] = {name: np.full(shape, np.nan) for name in FIELDS}
        return gone | {"member": np.zeros(shape, dtype=bool)}
    sign = np.where(rng.random(shape) < 0.5, -1.0, 1.0)
    if kind != "spike":
        sign = np.full(shape, 1.0 if kind == "lift" else -1.0)
    factor = np.where(sign > 0, _FACTOR, 1.0 / _FACTOR)
    lies = {name: values * factor for name, values in future.items() if name != "member"}
    return lies | dict.fromkeys(_RATES, _RATE * sign) | {"member": sign > 0}


def _mirrored(
    market: Market, known: int, future: dict[str, NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    lies: dict[str, NDArray[Any]] = {"member": ~future["member"]}
    for name in _RATES:
        lies[name] = -future[name]
    sizes = ("volume", "turnover", "open_interest")
    pivots = {
        name: _last(getattr(market, name).to_numpy(), known) ** 2 for name in ("close", *sizes)
    }
    with np.errstate(divide="ignore", invalid="ignore"):
        for name in (*_BARS, *_MARKS, *sizes):
            lies[name] = pivots.get(name, pivots["close"]) / future[_SWAPPED.get(name, name)]
    return lies


def _last(values: Floats, known: int) -> Floats:
    # The last value known, or where there is none the first to come.
    ordered = np.concatenate([values[:known][::-1], values[known:]])
    return np.asarray(ordered[(~np.isnan(ordered)).argmax(axis=0), np.arange(values.shape[1])])


def cut_points(index: pd.DatetimeIndex, *, events: Rows, holes: Rows, cuts: int, seed: int) -> Rows:
    """Return the rows after which the future is changed, drawn from places where leaks show.

    Parameters
    ----------
    index : DatetimeIndex of shape (n_bars,)
        ``known_at`` of every bar.
    events : ndarray of int
        Rows in which an answer changes: what reaches one bar ahead shows nowhere else.
    holes : ndarray of int
        Rows in which something is missing that was there before and comes again.
    cuts : int
        How many, where there are as many.
    seed : int

    Returns
    -------
    ndarray of int of shape (n_cuts,)
        In the order in which they are drawn: the last row but one, the first event, then in turn
        events, holes, rows before the first event and rows anywhere after it, and the last row and
        the last but one of eight hours, of a day, a week and a month.
    """
    rng = np.random.default_rng(seed)
    last = len(index) - 2
    rows = np.arange(len(index))
    # A bar that closes at midnight belongs to the day that ends there.
    opened = (index - pd.Timedelta(1, unit="us")).tz_localize(None)
    ends = [rows[:-1][_periods(opened, name)] for name in _PERIODS]
    first = int(events[0]) if len(events) else 0
    late = [each[each >= first] for each in ends]
    pools = [
        *(events, rows[first:], holes, *late, rows[:first]),
        *(events, rows[first:], holes, *(each - 1 for each in late)),
    ]
    drawn = cycle([_drawn(pool[(pool >= 0) & (pool <= last)], rng) for pool in pools])
    chosen = dict.fromkeys([last, *(min(int(row), last) for row in events[:1])])
    misses = 0
    while len(chosen) < cuts and misses < len(pools):
        row = next(next(drawn), None)
        misses = misses + 1 if row is None else 0
        if row is not None:
            chosen[row] = None
    return np.array(list(chosen)[:cuts], dtype=np.int64)


def _periods(opened: pd.DatetimeIndex, name: str) -> NDArray[np.bool_]:
    span = opened.floor(name).asi8 if name in ("8h", "D") else opened.to_period(name).asi8
    return np.asarray(span[1:] != span[:-1])


def _drawn(pool: Rows, rng: np.random.Generator) -> Iterator[int]:
    return iter(rng.permutation(np.unique(pool)).tolist())


def fair_coin(market: Market, *, seed: int = 0) -> Market:
    """Return a market whose every bar went up or down by the toss of a fair coin.

    Parameters
    ----------
    market : Market
    seed : int, default=0

    Returns
    -------
    Market
        Each symbol's bars as they were or turned upside down around the close before, so that
        nothing known before a bar tells its direction. Whatever is not a price stays; coarser
        intervals are made anew and finer ones are left out.

    Notes
    -----
    A bar goes up with the chance ``1 / (1 + exp(|r|))``, r its log return, which makes the price
    a martingale in simple returns: on it no position that was taken before can earn.
    """
    rng = np.random.default_rng(seed)
    close = market.close.to_numpy()
    before = market.close.ffill().shift(1).to_numpy()
    before = np.where(np.isnan(before), market.open.to_numpy(), before)
    move = np.log(close / before)
    is_up = rng.random(close.shape) < 1.0 / (1.0 + np.exp(np.abs(np.nan_to_num(move))))
    turn = np.where((move >= 0) == is_up, 1.0, -1.0)
    level = np.cumsum(np.nan_to_num(turn * move), axis=0)
    start = np.log(market.close.bfill().to_numpy()[:1])
    reference = start + np.vstack([np.zeros_like(level[:1]), level[:-1]])
    frames: dict[str, Any] = {}
    for name in (*_BARS, *_MARKS):
        kept = getattr(market, name).to_numpy()
        swapped = getattr(market, _SWAPPED.get(name, name)).to_numpy()
        offset = np.log(np.where(turn > 0, kept, swapped) / before)
        frames[name] = pd.DataFrame(
            np.exp(reference + turn * offset), index=market.index, columns=market.close.columns
        )
    tossed = replace(market, **frames, others={})
    coarser = [name for name, m in market.others.items() if m.bar_length > market.bar_length]
    return replace(tossed, others={name: tossed.resample(name) for name in coarser})


def roughen(market: Market, *, longest: int = 6, seed: int = 0) -> Market:
    """Return a market with the holes of real ones, for probes that a smooth one would let pass.

    Parameters
    ----------
    market : Market
    longest : int, default=6
        Bars of the longest gap.
    seed : int, default=0

    Returns
    -------
    Market
        One bar in a hundred is missing, in runs of up to ``longest``. With three symbols or more
        the last one is listed after a fifth of the time, and the one before it ends after nine
        tenths (``Closed``); neither belongs to the universe where it does not trade. Fields that
        hold nothing hold draws: sizes of their own, funding every eighth bar. So do ``others``.
    """
    rng = np.random.default_rng(seed)
    n_bars, n_symbols = market.close.shape
    is_gone = np.zeros((n_bars, n_symbols), dtype=bool)
    for column in range(n_symbols):
        for start in rng.integers(0, n_bars, -(-n_bars // (50 * (longest + 1)))):
            is_gone[start : start + rng.integers(1, longest + 1), column] = True
    member = market.member.to_numpy(copy=True)
    instruments = dict(market.instruments)
    if n_symbols >= 3:
        closed = market.symbols[-2]
        for rows, column in ((slice(0, n_bars // 5), -1), (slice(9 * n_bars // 10, None), -2)):
            is_gone[rows, column] = True
            member[rows, column] = False
        if closed in instruments:
            instruments[closed] = replace(instruments[closed], status="Closed")
    frames: dict[str, Any] = {n: _held(market, n, rng).mask(is_gone) for n in FIELDS}
    frames["member"] = pd.DataFrame(member, index=market.index, columns=market.close.columns)
    others = {
        name: roughen(each, longest=longest, seed=seed) for name, each in market.others.items()
    }
    return replace(market, **frames, instruments=instruments, others=others)


def _held(market: Market, name: str, rng: np.random.Generator) -> pd.DataFrame:
    frame: pd.DataFrame = getattr(market, name)
    if bool(frame.notna().to_numpy().any()):
        return frame
    if name in _RATES:
        draws = rng.normal(1e-4, 2e-4, frame.shape)
        if name == "funding_settled":
            draws[np.arange(len(draws)) % 8 != 7] = np.nan
    else:
        draws = rng.lognormal(10.0, 1.0, frame.shape)
    return pd.DataFrame(draws, index=frame.index, columns=frame.columns)
