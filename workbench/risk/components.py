"""Components: what each position adds to a portfolio's value at risk and expected shortfall.

References
----------
.. [1] Tasche (2000), "Risk contributions and performance measurement", Technische Universitaet
   Muenchen: the derivative by a weight is the mean loss of the symbol where the portfolio loses as
   much.
.. [2] McNeil, Frey and Embrechts (2005), "Quantitative risk management", Princeton, section 6.3.
.. [3] Jorion (2007), "Value at risk", 3rd ed., McGraw-Hill, chapter 7.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import floor
from typing import Final, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.core.errors import DataError
from workbench.risk.dependence import common_rows
from workbench.risk.tails import (
    Tail,
    historical,
    normal,
    normal_tail,
    student,
    student_shape,
    student_tail,
)

Floats = NDArray[np.float64]
Method = Literal["historical", "normal", "student"]

METHODS: Final[Mapping[str, Callable[..., Tail]]] = {
    "historical": historical,
    "normal": normal,
    "student": student,
}


@dataclass(frozen=True, slots=True)
class Contributions:
    """A portfolio's tail and what each position adds to it.

    Attributes
    ----------
    total : Tail
        Of the portfolio's return, as fractions of equity.
    table : DataFrame
        By symbol: ``weight``; ``marginal_var`` and ``marginal_es``, the change for one unit more of
        weight; ``component_var`` and ``component_es``, weight times marginal, which add up to the
        total; ``share_var`` and ``share_es`` of it; ``incremental_var`` and ``incremental_es``,
        the total less that of the portfolio without the position.
    """

    total: Tail
    table: pd.DataFrame


def contributions(
    returns: pd.DataFrame,
    weights: pd.Series,
    *,
    level: float = 0.99,
    method: Method = "historical",
) -> Contributions:
    """Divide a portfolio's value at risk and expected shortfall among its positions.

    Parameters
    ----------
    returns : DataFrame of shape (n_bars, n_symbols)
        As fractions. Bars that one of the held symbols lacks are left out.
    weights : Series of shape (n_symbols,)
        Signed fractions of equity, held throughout.
    level : float, default=0.99
    method : {"historical", "normal", "student"}
        Historical components of the value at risk rest on one or two bars and are noisy; those of
        the shortfall rest on the whole tail.

    Raises
    ------
    DataError
        If nothing is held, a symbol has no returns, or the common bars are too few.

    Notes
    -----
    Both measures are homogeneous in the weights, so the components add up to the total by Euler's
    theorem [1]_ [2]_.
    """
    held = weights[weights != 0].astype(float)
    missing = [str(name) for name in held.index if name not in returns]
    if missing or not len(held) or not np.isfinite(held).all():
        raise DataError(
            f"There are no returns of {', '.join(missing)}." if missing else "Nothing is held.",
            "Give finite weights of symbols that have returns.",
        )
    table = common_rows(returns[held.index], least=30)
    r, w = np.asarray(table), np.asarray(held)
    tail = METHODS[method]
    total = tail(r @ w, level=level)
    marginal = (_historical if method == "historical" else _elliptical)(r, w, level, method)
    without = [_without(r, w, i, tail, level) for i in range(len(w))]
    answer = pd.DataFrame({"weight": held})
    for j, name in enumerate(("var", "es")):
        answer[f"marginal_{name}"] = marginal[j]
        answer[f"component_{name}"] = w * marginal[j]
        answer[f"share_{name}"] = w * marginal[j] / total[j]
        answer[f"incremental_{name}"] = [total[j] - other[j] for other in without]
    return Contributions(total, answer)


def _elliptical(r: Floats, w: Floats, level: float, method: Method) -> list[Floats]:
    portfolio = r @ w
    unit = (
        student_tail(0.0, 1.0, student_shape(portfolio), level=level)
        if method == "student"
        else normal_tail(0.0, 1.0, level=level)
    )
    mean = r.mean(axis=0)
    slope = (r - mean).T @ (portfolio - portfolio.mean()) / len(r) / portfolio.std()
    return [measure * slope - mean for measure in unit]


def _historical(r: Floats, w: Floats, level: float, _: Method) -> list[Floats]:
    order = np.argsort(r @ w, kind="stable")
    n, beyond = len(r), 1.0 - level
    # The bars, and how much of each, that core.measures makes its two measures of.
    place = (n - 1) * beyond
    first = floor(place)
    on_quantile = np.zeros(n)
    on_quantile[first] = 1.0 - (place - first)
    on_quantile[min(first + 1, n - 1)] += place - first
    in_tail = np.clip(n * beyond - np.arange(n), 0.0, 1.0) / (n * beyond)
    return [-(share @ r[order]) for share in (on_quantile, in_tail)]


def _without(r: Floats, w: Floats, i: int, tail: Callable[..., Tail], level: float) -> Tail:
    rest = np.delete(w, i)
    if not len(rest):
        return Tail(0.0, 0.0)
    return tail(np.delete(r, i, axis=1) @ rest, level=level)
