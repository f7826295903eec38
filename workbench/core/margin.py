"""Margin and liquidation of linear perpetuals, generic over Decimal, float and arrays.

The functions are plain arithmetic: exchange calls them with Decimal, risk with arrays, and the
kernel compiles them for float64. ``side`` is +1 for a long and -1 for a short position; rates are
fractions. Formulas as Bybit publishes them for USDT perpetuals (cross margin on the mark price
since 2025-09-02).
"""

from decimal import Decimal
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Number = TypeVar("Number", Decimal, float, NDArray[np.float64])


def initial_margin(value: Number, leverage: Number) -> Number:
    """Return the margin that a position of a value needs to be opened."""
    return value / leverage


def maintenance_margin(value: Number, rate: Number, deduction: Number) -> Number:
    """Return the margin below which a position of a value is liquidated, by its tier."""
    return value * rate - deduction


def tier_deduction(
    previous_deduction: Number, previous_limit: Number, previous_rate: Number, rate: Number
) -> Number:
    """Return the deduction that makes maintenance margin continuous from one tier to the next."""
    return previous_deduction + previous_limit * (rate - previous_rate)


def closing_fee(entry: Number, qty: Number, leverage: Number, side: int, rate: Number) -> Number:
    """Return the fee to close at the bankruptcy price, which margin also covers."""
    return qty * (entry - side * entry / leverage) * rate


def bankruptcy_price(entry: Number, leverage: Number, side: int) -> Number:
    """Return the price at which the initial margin of an isolated position is used up."""
    return entry - side * entry / leverage


def liquidation_price(
    entry: Number,
    qty: Number,
    leverage: Number,
    side: int | Number,
    rate: Number,
    deduction: Number,
    extra: Number,
) -> Number:
    """Return the mark price at which an isolated position is liquidated.

    ``qty`` is the size without a sign and ``extra`` the margin added by hand. Solves margin plus
    unrealised profit equal to maintenance margin on the mark; below zero means never (long).
    """
    return (entry - side * entry / leverage - side * (extra + deduction) / qty) / (1 - side * rate)


def unrealised_pnl(entry: Number, mark: Number, qty: Number) -> Number:
    """Return the profit not yet realised; ``qty`` carries the sign."""
    return (mark - entry) * qty
