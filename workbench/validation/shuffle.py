"""Markets with their bars in another order: the same moves, and nothing to be known.

References
----------
.. [1] Masters (2020), "Permutation and randomization tests for trading system development".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.core.errors import DataError
from workbench.core.records import Market, interval_delta

Floats = NDArray[np.float64]
Order = NDArray[np.int64]

BARS: Final = ("open", "high", "low", "close")
CARRIED: Final = ("volume", "turnover")
FUNDING: Final = ("funding_settled", "funding_predicted")
MAX_STUCK: Final = 0.1
"""Share of the bars that may have no partner to change places with."""


def permute_ohlc(
    ohlc: NDArray[np.floating],
    *,
    perm_gap: Sequence[int] | Order,
    perm_intrabar: Sequence[int] | Order,
    start_index: int = 0,
) -> Floats:
    """Rebuild bars from their gaps and their shapes in other orders [1]_.

    Parameters
    ----------
    ohlc : ndarray of shape (n_bars, 4) or (n_bars, 4, n_symbols)
        Open, high, low, close; positive, NaN where a bar is missing.
    perm_gap, perm_intrabar : sequence of int of length n_bars - start_index - 1
        Which bar after ``start_index`` gives the gap from the close before, and which the high, low
        and close over the open.
    start_index : int, default=0
        The last bar that stays.

    Returns
    -------
    ndarray of the shape of ``ohlc``
        The last close is that of the original: only the order is another.
    """
    table = np.asarray(ohlc, dtype=np.float64)
    moves = _moves(np.moveaxis(table.reshape(len(table), 4, -1), 1, 0), start_index)
    built = _rebuild(moves, np.asarray(perm_gap), np.asarray(perm_intrabar))
    answer = table.copy()
    answer[start_index + 1 :] = np.moveaxis(built, 0, 1).reshape(-1, *table.shape[1:])
    return answer


def permute_bars(market: Market, *, seed: int, start: int = 0) -> Market:
    """Return a market with its bars in another order: the same moves, nothing to be known.

    Parameters
    ----------
    market : Market
    seed : int
    start : int, default=0
        The last bar that stays, for strategies that need a beginning.

    Returns
    -------
    Market
        On the same index, marked as synthetic. Gaps and shapes of bars are permuted apart from each
        other and the same way for all symbols, so that their correlation within a bar stays; marks
        keep their distance to the last price, volume and the change of open interest go with their
        bar. Settled and predicted funding are permuted by whole funding periods of equal length.
        Membership stays, and bars that lack a symbol change places among themselves only, so what
        was missing is missing still. Coarser markets are made anew, finer ones are dropped.

    Raises
    ------
    DataError
        If a price is not positive, or too few bars could change places.

    Notes
    -----
    Drift, volatility as a whole and fat tails survive; trends, reversals, clusters of volatility
    and hours of the day do not, nor does what ties one bar to the next. So a strategy that only
    holds the drift is not flattered by the comparison.
    """
    return Shuffle.prepare(market, start=start).draw((seed,))


class _Moves(NamedTuple):
    # Logarithms, of the bars after the start: the level before, gaps (n, symbols), shapes (4, n,
    # symbols) over the open, NaN where a bar is missing.
    level: Floats
    gaps: Floats
    shapes: Floats


@dataclass(frozen=True, slots=True)
class Shuffle:
    """What all permutations of one market share, so that each is drawn in a few milliseconds."""

    market: Market
    start: int
    moves: _Moves
    groups: list[Order]
    distances: dict[str, Floats]
    carried: dict[str, Floats]
    interest: Floats | None
    periods: list[Order]

    @classmethod
    def prepare(cls, market: Market, *, start: int = 0) -> Self:
        """Take a market apart; see ``permute_bars``."""
        if not 0 <= start < market.n_bars - 2:
            raise DataError(
                f"A market of {market.n_bars} bars has nothing to permute after bar {start}.",
                "Give a longer market, or begin earlier.",
            )
        ohlc = np.stack([getattr(market, name).to_numpy() for name in BARS])
        moves = _moves(ohlc, start)
        groups = _groups(np.isfinite(ohlc).all(axis=0)[start:], moves.gaps)
        stuck = sum(len(rows) for rows in groups if len(rows) == 1) - len(moves.level)
        if stuck > MAX_STUCK * len(moves.gaps):
            raise DataError(
                f"{stuck} of {len(moves.gaps)} bars lack symbols as no other bar does, and cannot "
                "change places.",
                "Leave out the symbols with holes, or fill them.",
            )
        distances = {
            name: getattr(market, f"mark_{name}").to_numpy() / getattr(market, name).to_numpy()
            for name in BARS
            if getattr(market, f"mark_{name}") is not getattr(market, name)
        }
        carried = {name: getattr(market, name).to_numpy() for name in CARRIED}
        interest = market.open_interest.where(market.open_interest > 0).ffill().bfill().to_numpy()
        # Permutations are filled without finer bars, so what they are compared with is as well.
        return cls(
            replace(market, others=_coarser(market)), start, moves, groups, distances,
            {name: table for name, table in carried.items() if not np.isnan(table).all()},
            None if np.isnan(interest).all() else np.log(interest),
            _periods(market, start),
        )  # fmt: skip

    def draw(self, key: Sequence[int]) -> Market:
        """Return the permutation of a seed."""
        market, rng = self.market, np.random.default_rng(key)
        kept = np.arange(self.start + 1)
        gap_order, bar_order = _within(self.groups, rng), _within(self.groups, rng)
        source = np.concatenate([kept, self.start + 1 + bar_order])
        built = _rebuild(self.moves, gap_order, bar_order)
        tables: dict[str, Floats] = {}
        for k, name in enumerate(BARS):
            head = getattr(market, name).to_numpy()[kept]
            tables[name] = np.concatenate([head, built[k]])
            if name in self.distances:
                tables[f"mark_{name}"] = tables[name] * self.distances[name][source]
        tables |= {name: table[source] for name, table in self.carried.items()}
        if self.interest is not None:
            moved = np.diff(self.interest, axis=0, prepend=self.interest[:1])[source]
            moved[kept] = 0.0
            levels = np.exp(self.interest[self.start] + moved.cumsum(axis=0))
            levels[kept] = market.open_interest.to_numpy()[kept]
            levels[np.isnan(market.open_interest.to_numpy()[source])] = np.nan
            tables["open_interest"] = levels
        rows = np.arange(market.n_bars)
        for places in self.periods:
            rows[places] = rng.permutation(places)
        if self.periods:
            tables |= {name: getattr(market, name).to_numpy()[rows] for name in FUNDING}
        frames: dict[str, Any] = {
            name: pd.DataFrame(table, market.close.index, market.close.columns, copy=False)
            for name, table in tables.items()
        }
        for name in BARS:
            frames.setdefault(f"mark_{name}", frames[name])
        name = f"permuted-{market.snapshot_id}-{'-'.join(map(str, key))}"
        answer = replace(market, **frames, others={}, snapshot_id=name, is_synthetic=True)
        coarser = {interval: answer.resample(interval) for interval in market.others}
        return replace(answer, others=coarser) if coarser else answer


def _moves(ohlc: Floats, start: int) -> _Moves:
    # From prices of shape (4, n_bars, n_symbols).
    if (ohlc <= 0).any():
        raise DataError("Some prices are not above zero.", "Run `workbench data check`.")
    logs = np.where(np.isfinite(ohlc).all(axis=0), np.log(ohlc), np.nan)
    closes = pd.DataFrame(logs[3]).ffill().to_numpy()
    gaps = logs[0, start + 1 :] - closes[start:-1]
    # A symbol that comes later begins at its own first open.
    opens = pd.DataFrame(logs[0, start:]).bfill().to_numpy()[0]
    level = np.where(np.isnan(closes[start]), opens, closes[start])
    return _Moves(level, gaps, (logs - logs[0])[:, start + 1 :])


def _rebuild(moves: _Moves, gap_order: Order, bar_order: Order) -> Floats:
    shapes = moves.shapes[:, bar_order]
    body = np.nan_to_num(shapes[3])
    # Every close is the one before plus a gap plus the way from open to close.
    steps = np.nan_to_num(moves.gaps[gap_order]) + body
    shapes += moves.level + steps.cumsum(axis=0) - body
    return np.exp(shapes, out=shapes)


def _groups(present: NDArray[np.bool_], gaps: Floats) -> list[Order]:
    # Bars that may change places: those that hold the same symbols, and the same before them.
    pattern = np.concatenate([present[1:], present[:-1], np.isfinite(gaps)], axis=1)
    if (pattern == pattern[0]).all():
        return [np.arange(len(pattern))]
    _, group = np.unique(pattern, axis=0, return_inverse=True)
    return [np.flatnonzero(group == k) for k in range(int(group.max()) + 1)]


def _within(groups: list[Order], rng: np.random.Generator) -> Order:
    order = np.empty(sum(len(rows) for rows in groups), dtype=np.int64)
    for rows in groups:
        order[rows] = rng.permutation(rows)
    return order


def _periods(market: Market, start: int) -> list[Order]:
    # Rows of funding periods that may change places, of shape (n_periods, length) each.
    settled = np.isfinite(market.funding_settled.to_numpy())
    stamps = np.flatnonzero(settled.any(axis=1))
    stamps = stamps[stamps > start]
    ends, lengths = stamps[1:], np.diff(stamps)
    if not len(ends):
        return []
    # The period of a stamp is the rows after the stamp before, up to it.
    _, group = np.unique(np.column_stack([lengths, settled[ends]]), axis=0, return_inverse=True)
    return [
        ends[group == k][:, None] + 1 - lengths[group == k][0] + np.arange(lengths[group == k][0])
        for k in range(int(group.max()) + 1)
    ]


def _coarser(market: Market) -> dict[str, Market]:
    return {k: m for k, m in market.others.items() if interval_delta(k) > market.bar_length}
