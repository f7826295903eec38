"""Margin of a whole account: maintenance by tiers, liquidation prices and distances, a cascade.

The formulas are those of ``core/margin``; here they meet arrays, tiers and several positions at
once. Values are in USDT with the sign of the position, one per symbol: what strategies hold against
each other is netted first, as the exchange sees it. Fees to close are left out, as in the backtest.
Bybit adds them to maintenance, and so liquidates earlier, by at most the taker fee.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.core import margin
from workbench.core.costs import square_root_impact
from workbench.core.errors import DataError
from workbench.core.records import Instrument, to_float

Floats = NDArray[np.float64]


class Tiers(NamedTuple):
    """Risk limits of several symbols, each of shape (n_symbols, depth), ascending.

    ``limit`` is the value up to which a tier reaches, without end in the last one; ``rate`` the
    maintenance rate, ``deduction`` what makes it continuous, ``leverage`` the highest allowed.
    """

    limit: Floats
    rate: Floats
    deduction: Floats
    leverage: Floats


def stack_tiers(instruments: Mapping[str, Instrument], symbols: Sequence[str]) -> Tiers:
    """Return the tiers of some symbols as arrays; a shallow table repeats its last tier.

    Raises
    ------
    DataError
        Naming the symbols that have none.
    """
    lacking = [s for s in symbols if s not in instruments or not instruments[s].tiers]
    if lacking:
        raise DataError(
            f"There are no margin tiers of {', '.join(lacking)}.",
            "Load their instruments: without tiers no margin can be told.",
        )
    depth = max((len(instruments[s].tiers) for s in symbols), default=1)
    table = np.empty((len(symbols), depth, len(Tiers._fields)))
    for s, symbol in enumerate(symbols):
        rows = [
            (t.limit_usdt, t.maintenance_rate, t.deduction_usdt, t.max_leverage)
            for t in instruments[symbol].tiers
        ]
        for k in range(depth):
            table[s, k] = [to_float(amount) for amount in rows[min(k, len(rows) - 1)]]
        table[s, len(rows) - 1 :, 0] = np.inf
    return Tiers(*np.ascontiguousarray(np.moveaxis(table, -1, 0)))


def maintenance(value: Floats, tiers: Tiers) -> Floats:
    """Return the margin below which each position is liquidated, by its tier.

    Parameters
    ----------
    value : ndarray of shape (..., n_symbols)
        In USDT, of either sign; NaN stays NaN.
    tiers : Tiers

    Returns
    -------
    ndarray of shape (..., n_symbols)
        In USDT.
    """
    size = np.abs(value)
    row = _rows(size, tiers)
    needed: Floats = margin.maintenance_margin(
        size, tiers.rate.take(row), tiers.deduction.take(row)
    )
    return needed


def initial(value: Floats, leverage: Floats | float, tiers: Tiers) -> Floats:
    """Return the margin that each position needs to be opened, of the shape of ``value``.

    ``leverage`` is what is set at the exchange; where a tier allows less, the tier counts.
    """
    size = np.abs(value)
    allowed = np.minimum(leverage, tiers.leverage.take(_rows(size, tiers)))
    needed: Floats = margin.initial_margin(size, allowed)
    return needed


def liquidation_distance(equity: float, value: Floats, tiers: Tiers) -> float:
    """Return the adverse move of all positions at once that liquidates a cross-margin account.

    Parameters
    ----------
    equity : float
        Wallet and unrealised profit, in USDT.
    value : ndarray of shape (n_symbols,)
        Signed, in USDT on the mark; 0 where nothing is held, whatever the mark.
    tiers : Tiers

    Returns
    -------
    float
        As a fraction of each price: longs fall by it and shorts rise. 0 where liquidation is due
        already, infinity where not even the whole price would do, NaN where an input is NaN.

    Examples
    --------
    >>> tiers = Tiers(*np.array([[[np.inf]], [[0.005]], [[0.0]], [[100.0]]]))
    >>> round(liquidation_distance(1_000.0, np.array([10_000.0]), tiers), 6)
    0.095477
    """
    size = np.abs(value)
    return _reach(equity, size, size, np.sign(value), tiers)


def isolated_liquidation_price(
    entry: Floats,
    qty: Floats,
    leverage: Floats | float,
    tiers: Tiers,
    *,
    extra: Floats | float = 0.0,
) -> Floats:
    """Return the mark price at which each isolated position is liquidated.

    Parameters
    ----------
    entry : ndarray of shape (n_symbols,)
    qty : ndarray of shape (n_symbols,)
        Signed, in coins.
    leverage : float or ndarray of shape (n_symbols,)
        As set at the exchange; where the tier of the entry allows less, the tier counts.
    tiers : Tiers
    extra : float or ndarray of shape (n_symbols,)
        Margin added by hand, in USDT: it moves the price away, for longs down and for shorts up.

    Returns
    -------
    ndarray of shape (n_symbols,)
        By the tier in which the position is there, not where it began. NaN where nothing is held
        or where no price does it (a long whose margin outlasts a price of 0).
    """
    allowed = np.minimum(leverage, tiers.leverage.take(_rows(np.abs(qty) * entry, tiers)))
    return _settle(entry, qty, allowed, np.asarray(extra, dtype=np.float64), tiers)


def cross_liquidation_price(equity: float, qty: Floats, mark: Floats, tiers: Tiers) -> Floats:
    """Return for each symbol the mark price that liquidates the account while the others stand.

    Parameters
    ----------
    equity : float
        Of the whole account on ``mark``: wallet and unrealised profit, in USDT.
    qty, mark : ndarray of shape (n_symbols,)
        Signed coins, and the marks of today.
    tiers : Tiers

    Returns
    -------
    ndarray of shape (n_symbols,)
        NaN where nothing is held or no price does it. Beyond the mark already (above it for a
        long, below it for a short) where liquidation is due.
    """
    needed = np.where(qty == 0, 0.0, maintenance(qty * mark, tiers))
    never = np.asarray(np.inf)  # a position without margin of its own
    return _settle(mark, qty, never, equity - (needed.sum() - needed), tiers)


def safe_leverage(
    stop_distance: Floats | float, value: Floats, tiers: Tiers, *, buffer: float = 0.01
) -> Floats:
    """Return the highest margin leverage at which liquidation lies beyond the stop by a buffer.

    Parameters
    ----------
    stop_distance : float or ndarray of shape (..., n_symbols)
        Between entry and stop, as a fraction of the entry.
    value : ndarray of shape (..., n_symbols)
        Signed, in USDT at the entry.
    tiers : Tiers
    buffer : float, default=0.01
        How much further liquidation must lie, as a fraction of the entry.

    Returns
    -------
    ndarray of shape (..., n_symbols)
        At most what the tier allows; 0 where even a leverage of 1 is too much, and NaN where
        nothing is held or a distance is missing.
    """
    size, move = np.abs(value), np.asarray(stop_distance) + buffer
    there = np.maximum(size - value * move, 0.0)
    with np.errstate(invalid="ignore"):
        asked = size / (size * move + maintenance(there, tiers))
    allowed = np.minimum(asked, tiers.leverage.take(_rows(size, tiers)))
    return np.where(allowed < 1.0, 0.0, allowed)


class Nearness(IntEnum):
    """How near liquidation is, from far to due."""

    SAFE = 0
    WATCH = 1
    NEAR = 2
    CRITICAL = 3


BOUNDS: Final[Mapping[Nearness, float]] = {
    Nearness.WATCH: 0.30,
    Nearness.NEAR: 0.15,
    Nearness.CRITICAL: 0.05,
}
"""The distance from which on, downwards, each class counts."""


def classify_distance(distance: float, *, bounds: Mapping[Nearness, float] = BOUNDS) -> Nearness:
    """Return the class of a liquidation distance; one that is not known is critical."""
    return max(
        (near for near, bound in bounds.items() if not distance > bound), default=Nearness.SAFE
    )


class Takeover(NamedTuple):
    """One step of a cascade: the column taken over, at which joint move, and what it left.

    ``value`` is signed and then; ``lost`` is what the account forfeits, ``equity`` and ``needed``
    (maintenance) are of what remains, all in USDT.
    """

    column: int
    move: float
    value: float
    lost: float
    equity: float
    needed: float


def cascade(
    equity: float,
    value: Floats,
    tiers: Tiers,
    *,
    forfeit: float = 1.0,
    impact: Floats | None = None,
) -> list[Takeover]:
    """Return how a cross-margin account falls, position by position, as a joint move deepens.

    Each time that equity no longer covers maintenance, the position that needs most of it is taken
    over; what it gives free may carry the others further.

    Parameters
    ----------
    equity, value, tiers
        As for ``liquidation_distance``.
    forfeit : float, default=1
        Share of its maintenance margin that a takeover costs: all of it at the bankruptcy price,
        nothing where the position is closed on the mark.
    impact : ndarray of shape (n_symbols, n_symbols), optional
        ``impact[j, k] * sqrt(value)`` is the fraction by which the price of j falls where a long of
        k is taken over, and rises where a short is.

    Returns
    -------
    list of Takeover
        Empty where no move by less than the whole price liquidates; shorter than there are
        positions where the rest holds. Moves are fractions of the prices at the start.

    Raises
    ------
    DataError
        If equity, a value or an impact is not finite.
    """
    push = np.zeros((len(value), len(value))) if impact is None else impact
    if not (np.isfinite(equity) and np.isfinite(value).all() and np.isfinite(push).all()):
        raise DataError(
            "Equity, a value or an impact is missing.", "Give 0 for what is not held, or no impact."
        )
    base, side = np.abs(value).astype(float), np.sign(value)
    size, move, steps = base.copy(), 0.0, list[Takeover]()
    while move + (further := _reach(equity, size, base, side, tiers)) < 1.0:
        move += further
        equity -= further * float(base.sum())
        size -= side * further * base
        needed = maintenance(size, tiers)
        k = int(needed.argmax())
        taken, lost = float(size[k]), forfeit * float(needed[k])
        base[k] = size[k] = 0.0
        shift = -side[k] * square_root_impact(1.0, taken, 1.0) * push[:, k]
        equity += float((side * size * shift).sum()) - lost
        size = size * (1.0 + shift)
        left = float(maintenance(size, tiers).sum())
        steps.append(Takeover(k, move, float(side[k]) * taken, lost, equity, left))
    return steps


def _rows(size: Floats, tiers: Tiers) -> NDArray[np.intp]:
    # Flat positions of the tiers that sizes fall in; the last limit is infinite.
    n_symbols, depth = tiers.limit.shape
    tier: NDArray[np.intp] = (size[..., None] > tiers.limit).argmin(axis=-1)
    return tier + np.arange(0, n_symbols * depth, depth)


def _reach(equity: float, size: Floats, base: Floats, side: Floats, tiers: Tiers) -> float:
    # What is free of maintenance is a concave line in the move, with kinks where tiers change, so
    # Newton's steps come down on its zero exactly, from the right, in as many as there are kinks.
    move, row = 0.0, _rows(size, tiers)
    for _ in range(tiers.limit.size + 1):
        rate = tiers.rate.take(row)
        due = margin.maintenance_margin(size, rate, tiers.deduction.take(row))
        slope = float(base @ (1.0 - side * rate))
        if slope == 0.0:
            return np.inf
        move = (equity - float(due.sum())) / slope
        before, row = row, _rows(size - side * move * base, tiers)
        if move <= 0.0 or before.tolist() == row.tolist():
            break
    return np.inf if move >= 1.0 else max(move, 0.0)


def _settle(entry: Floats, qty: Floats, leverage: Floats, extra: Floats, tiers: Tiers) -> Floats:
    # The same steps as in `_reach`, for each symbol by itself.
    size, side = np.abs(qty), np.sign(qty)
    price, row = entry, _rows(size * entry, tiers)
    for _ in range(tiers.limit.size + 1):
        with np.errstate(divide="ignore", invalid="ignore"):
            price = margin.liquidation_price(
                entry, size, leverage, side, tiers.rate.take(row), tiers.deduction.take(row), extra
            )  # fmt: skip
        before, row = row, _rows(size * price, tiers)
        if before.tolist() == row.tolist():
            break
    is_never = (size == 0) | ((side > 0) & (price <= 0.0))
    return np.where(is_never, np.nan, np.maximum(price, 0.0))
