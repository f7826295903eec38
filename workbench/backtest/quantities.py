"""A path of quantities through the kernel: positions that were given, not decided by a strategy."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.backtest import kernel
from workbench.backtest.inputs import Floats, Inputs
from workbench.strategies.base import KEEP, WEIGHT_QUANTUM

SAME: Final = 1e-9
"""A quantity that differs by no more than this share of it is the one that is held."""


class Held(NamedTuple):
    """What holding given quantities came to: equity per bar, and the cash of the account."""

    equity: Floats
    cash: Floats


def hold_quantities(inputs: Inputs, targets: NDArray[np.float64]) -> Held:
    """Hold given quantities of each symbol, with every layer of reality that the inputs hold.

    Parameters
    ----------
    inputs : Inputs
    targets : ndarray of shape (n_bars, n_symbols)
        The position wanted at each close, in base coin; it fills in the next bar. NaN keeps.

    Returns
    -------
    Held

    Notes
    -----
    The kernel trades weights of the equity, so that at each order the scale of a full weight is
    set to the largest position wanted: that one is met exactly, smaller ones of the same bar to
    1e-4 of it. What margin does not cover is cut, and after a liquidation a symbol stays flat
    until its target is 0 or on the other side.
    """
    n_bars, n_symbols = targets.shape
    weights = np.full(targets.shape, KEEP, dtype=np.int16)
    rules = inputs.rules.copy()
    # Every new target is an order, whatever its weight was called before.
    rules[kernel.BAND] = 0.0
    brackets = np.full((1, n_symbols, kernel.N_BRACKETS), np.nan)
    book, cash = kernel.open_account(inputs.capital_usdt, n_symbols)
    equity, none = np.empty(n_bars), np.empty((0, n_symbols))
    fills = np.empty((0, kernel.N_FILL))
    done = 0
    orders = np.flatnonzero(np.isfinite(targets[:-1]).any(axis=1)) + 1
    for last in [*orders.tolist(), n_bars]:
        kernel.simulate(
            done, last, inputs.bars, weights, brackets, inputs.finer, inputs.finer_first,
            inputs.spec, inputs.tiers, rules, book, cash, equity, none, none, fills,
        )  # fmt: skip
        done = last
        if last == n_bars or cash[kernel.EQUITY] <= 0:
            continue
        row, held = targets[last - 1], book[:, kernel.QTY]
        is_given = np.isfinite(row) & (np.abs(row - held) > SAME * np.abs(held))
        if not is_given.any():
            continue
        value = row[is_given] * inputs.bars[last - 1, is_given, kernel.CLOSE]
        full = float(np.abs(value).max())
        rules[kernel.LEVERAGE] = full / cash[kernel.EQUITY] if full > 0 else 1.0
        share = value / full if full > 0 else value
        weights[last - 1, is_given] = np.rint(share / WEIGHT_QUANTUM).astype(np.int16)
    return Held(equity, cash)
