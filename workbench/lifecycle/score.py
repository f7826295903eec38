"""The graduation score: five weighted parts in [0, 1]."""

from __future__ import annotations

from math import isnan
from typing import Final

from workbench.core.errors import DataError

WEIGHTS: Final = {
    "sharpe": 0.25,
    "drawdown": 0.25,
    "trades": 0.20,
    "validation": 0.15,
    "execution": 0.15,
}


def graduation_score(
    *,
    sharpe: float,
    max_drawdown: float,
    win_rate: float,
    profit_factor: float,
    validation_score: float,
    execution_rate: float,
    slippage: float,
) -> float:
    """Return the score of a strategy, in [0, 1] and monotone in each argument.

    Parameters
    ----------
    sharpe : float
        Annualised Sharpe ratio; 2 and more give the whole part, 0 and less nothing.
    max_drawdown : float
        Positive fraction; 20 % and more give nothing.
    win_rate, profit_factor : float
        Of closed trades; a profit factor of 2 and more gives its whole half.
    validation_score : float
        Share of the criteria of the validation's verdict that hold.
    execution_rate, slippage : float
        Share of orders executed, and the mean slippage as a fraction of the value traded (positive
        is paid); one per cent and more gives nothing, slippage that is earned counts as none.

    Raises
    ------
    DataError
        If an argument is NaN.

    Examples
    --------
    >>> round(graduation_score(sharpe=1.0, max_drawdown=0.15, win_rate=1.0, profit_factor=2.0,
    ...                        validation_score=1.0, execution_rate=1.0, slippage=0.0), 4)
    0.6875
    """
    parts = {
        "sharpe": _clip(sharpe / 2),
        "drawdown": _clip(1 - 5 * max_drawdown),
        "trades": (_clip(win_rate) + _clip(profit_factor / 2)) / 2,
        "validation": _clip(validation_score),
        "execution": (_clip(execution_rate) + 1 - _clip(100 * slippage)) / 2,
    }
    missing = [name for name, part in parts.items() if isnan(part)]
    if missing:
        raise DataError(
            f"The score cannot be computed: {', '.join(missing)} is missing.",
            "Give every measure as a number.",
        )
    return sum(WEIGHTS[name] * part for name, part in parts.items())


def _clip(value: float) -> float:
    # max and min would turn NaN into a number.
    return value if isnan(value) else min(max(value, 0.0), 1.0)
