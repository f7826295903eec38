"""A plausible path and book inside a bar, which never contradict the bar."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


class Paths(NamedTuple):
    """Trades inside bars, of shape (n_bars, steps): ticks, lots, side of the taker, mark."""

    ticks: Ints
    lots: Ints
    signs: Ints
    marks: Ints


def make_paths(bars: Ints, marks: Ints, lots: Ints, steps: int, rng: np.random.Generator) -> Paths:
    """Make trades that open, touch, close and add up as the bars do.

    Parameters
    ----------
    bars, marks : ndarray of int64 of shape (n_bars, 4)
        Open, high, low and close in ticks.
    lots : ndarray of int64 of shape (n_bars,)
    steps : int
        Trades of a bar, at least 4.
    rng : Generator

    Returns
    -------
    Paths
        The first trade is at the open, the last at the close, and both extremes are touched
        between; which comes first is by chance, the one nearer to the open more often. Between
        those four the price wanders. A buyer trades where the price rose, a seller where it fell.
    """
    n = len(bars)
    inner = np.sort(np.argsort(rng.random((n, steps - 2)), axis=1)[:, :2], axis=1) + 1
    o, high, low, c = bars.T
    span = np.maximum(high - low, 1)
    low_first = rng.random(n) < np.clip((high - o + c - low) / (2 * span), 0.1, 0.9)
    way = np.where(low_first[:, None], [[0, 2, 1, 3]], [[0, 1, 2, 3]])
    at = np.column_stack([np.zeros(n, dtype=np.int64), inner, np.full(n, steps - 1)])
    ticks = _wander(at, np.take_along_axis(bars, way, 1), steps, rng, noise=0.15)
    ticks = np.clip(ticks, low[:, None], high[:, None])
    marked = _wander(at, np.take_along_axis(marks, way, 1), steps, rng, noise=0.0)
    moves = np.diff(ticks, axis=1, prepend=ticks[:, :1])
    signs = np.where(moves == 0, np.where(rng.random((n, steps)) < 0.5, 1, -1), np.sign(moves))
    return Paths(ticks, _spread(lots, at, steps, rng), signs.astype(np.int64), marked)


def _wander(at: Ints, levels: Ints, steps: int, rng: np.random.Generator, *, noise: float) -> Ints:
    # Straight between the four points, and a bridge of noise that vanishes on them.
    grid = np.arange(steps)
    leg = np.clip((grid[None, :, None] > at[:, None, 1:]).sum(axis=2), 0, 2)
    left, right = np.take_along_axis(at, leg, 1), np.take_along_axis(at, leg + 1, 1)
    share = (grid[None, :] - left) / np.maximum(right - left, 1)
    first, last = np.take_along_axis(levels, leg, 1), np.take_along_axis(levels, leg + 1, 1)
    path = first + (last - first) * share
    if noise:
        span = (levels.max(axis=1) - levels.min(axis=1))[:, None]
        path = path + noise * span * 4 * share * (1 - share) * rng.standard_normal(path.shape)
    whole: Ints = np.rint(path).astype(np.int64)
    return whole


def _spread(lots: Ints, at: Ints, steps: int, rng: np.random.Generator) -> Ints:
    # One lot for each trade, the four points first; the rest by chance, adding up to the lot.
    order = np.ones((len(lots), steps))
    np.put_along_axis(order, at, 0.0, 1)
    rank = np.argsort(np.argsort(order, axis=1, kind="stable"), axis=1)
    least = (rank < np.minimum(lots, steps)[:, None]).astype(np.int64)
    rest = np.maximum(lots - steps, 0)
    ends = rng.exponential(size=(len(lots), steps)).cumsum(axis=1)
    filled = np.floor(ends / ends[:, -1:] * rest[:, None]).astype(np.int64)
    filled[:, -1] = rest
    spread: Ints = least + np.diff(filled, axis=1, prepend=0)
    return spread


class MadeBook:
    """Levels around a price: sizes that depend on the price alone, so that a queue has a place."""

    def __init__(self, *, bid: int, ask: int, depth: int, lots: int, salt: int) -> None:
        self.touch = {1: bid, -1: ask}
        self.depth, self.lots, self.salt = depth, lots, salt

    def size(self, side: int, ticks: int) -> int:
        """Return the lots that stand at a price, displayed or farther away."""
        if side * (self.touch[side] - ticks) < 0:
            return 0
        chance = ((ticks * 2654435761 ^ self.salt * 40503) >> 4) & 1023
        return max(1, self.lots * (512 + chance) >> 10)

    def levels(self, side: int) -> list[list[int]]:
        """Return what is displayed on a side, the best first."""
        first = self.touch[side]
        prices = (first - side * k for k in range(self.depth))
        return [[ticks, self.size(side, ticks)] for ticks in prices if ticks > 0]
