"""Measured costs: what fills say about fees, spread and impact, for the next backtest.

References
----------
.. [1] MacKinnon and White (1985), "Some heteroskedasticity-consistent covariance matrix estimators
   with improved finite sample properties", Journal of Econometrics 29(3), 305-325: HC3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import inf, nan, sqrt
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.core.costs import BASIS_POINT, Costs
from workbench.core.errors import DataError

Floats = NDArray[np.float64]

LEAST: Final = 30
"""Fewer orders or fills than these measure nothing."""


class Estimate(NamedTuple):
    """A number, its standard error, and how many observations it rests on."""

    value: float
    error: float
    n: int

    @property
    def words(self) -> str:
        """The number with the range in which it lies with 95 per cent."""
        return f"{self.value:.3g} ± {1.96 * self.error:.2g} ({self.n})"


class ImpactFit(NamedTuple):
    """The square-root law as fitted: ``cost = slippage + impact * volatility * sqrt(share)``."""

    impact: Estimate
    slippage: Estimate
    r2: float


def fit_impact(measured: pd.DataFrame) -> ImpactFit:
    """Fit the square-root law of ``core.costs`` to what orders paid beyond half the spread.

    Parameters
    ----------
    measured : DataFrame
        Of ``measure_orders``, with ``volatility`` (a fraction) and ``day_usdt`` (traded), both of
        the day before the order. Orders without a fill are left out.

    Returns
    -------
    ImpactFit
        The coefficient as in ``Costs.impact``, the part that does not grow with size as a fraction,
        and the share of the variance that the law explains. Standard errors allow for noise that
        differs from order to order [1]_.

    Raises
    ------
    DataError
        If fewer than ``LEAST`` orders can be used, or they are all of one size.
    """
    size, paid = impact_points(measured)
    if len(size) < LEAST or np.ptp(size) <= 1e-12:
        raise DataError(
            f"An impact cannot be fitted to {len(size)} orders.",
            f"Give {LEAST} filled ones or more, of different sizes, with volatility and day_usdt.",
        )
    coefficients, errors, r2 = _least_squares(size, paid)
    slippage, impact = (
        Estimate(float(value), float(error), len(size))
        for value, error in zip(coefficients, errors, strict=True)
    )
    return ImpactFit(impact, slippage, r2)


def mostly_taken(measured: pd.DataFrame) -> pd.DataFrame:
    """Return the orders that took most of what they got: what a backtest's taker pays is theirs."""
    return measured[measured["maker_share"] < 0.5]


def impact_points(measured: pd.DataFrame) -> tuple[Floats, Floats]:
    """Return size and cost of each order that can tell: what the law is fitted to.

    The size is ``volatility * sqrt(value / day_usdt)``, the cost what was paid beyond half the
    spread on what was filled; both fractions of shape (n_orders,).
    """
    if not {"volatility", "day_usdt"} <= set(measured.columns):
        return np.empty(0), np.empty(0)
    is_used = (measured[["value_usdt", "day_usdt", "volatility"]] > 0).all(axis=1)
    used = measured[is_used]
    size = used["volatility"] * np.sqrt(used["value_usdt"] / used["day_usdt"])
    usdt = used["impact_bps"] * BASIS_POINT * used["qty"] * used["decision"]
    paid = usdt / (used["fill_rate"] * used["qty"] * used["arrival"])
    return size.to_numpy(np.float64), paid.to_numpy(np.float64)


@dataclass(frozen=True, slots=True)
class Measured:
    """Costs for the next backtest, what each rests on, and what is still assumed and why."""

    costs: Costs
    estimates: Mapping[str, Estimate]
    assumed: Mapping[str, str]

    @property
    def words(self) -> str:
        """Each number with its range and its sample, and what had too little to be measured."""
        told = [f"{name} {one.words}" for name, one in self.estimates.items()]
        kept = [f"{name} as assumed ({why})" for name, why in self.assumed.items()]
        return "; ".join([*told, *kept])


def measured_costs(
    measured: pd.DataFrame, fills: pd.DataFrame, *, assumed: Costs | None = None
) -> Measured:
    """Return the costs that fills show, for ``core.costs`` and so for the next backtest.

    Parameters
    ----------
    measured : DataFrame
        Of ``measure_orders``, for impact and slippage with what ``fit_impact`` needs.
    fills : DataFrame
    assumed : Costs, optional
        What holds where fewer than ``LEAST`` fills or orders tell.

    Notes
    -----
    Fees and spread are means weighted by value, the spread that of takers; the latency, from the
    decision to the first fill, is the median of orders that mostly took, and the law of impact is
    fitted to those. What is estimated below zero counts as zero; its estimate stays.
    """
    assumed = assumed or Costs()
    numbers = fills[["qty", "price", "fee_usdt", "mid", "spread"]].astype(float)
    value, is_maker = numbers["qty"] * numbers["price"], fills["is_maker"].astype(bool)
    rate, wide = numbers["fee_usdt"] / value, numbers["spread"] / numbers["mid"]
    takers = mostly_taken(measured)
    found = {
        "maker_fee_bps": _weighted(rate[is_maker] / BASIS_POINT, value[is_maker]),
        "taker_fee_bps": _weighted(rate[~is_maker] / BASIS_POINT, value[~is_maker]),
        "spread_bps": _weighted(wide[~is_maker] / BASIS_POINT, value[~is_maker]),
        "latency_s": _median((takers["latency_s"] + takers["wait_s"]).to_numpy(float)),
    }
    few = {name: f"{one.n} of {LEAST} seen" for name, one in found.items() if one.n < LEAST}
    try:
        fit = fit_impact(takers)
        value_, error_, n = fit.slippage
        slip = Estimate(value_ / BASIS_POINT, error_ / BASIS_POINT, n)
        found |= {"slippage_bps": slip, "impact": fit.impact}
    except DataError as error:
        few |= dict.fromkeys(("slippage_bps", "impact"), error.what.rstrip("."))
    kept = {name: one for name, one in found.items() if name not in few}
    values: dict[str, Any] = {
        name: one.value if name == "maker_fee_bps" else max(one.value, 0.0)
        for name, one in kept.items()
    }
    return Measured(replace(assumed, **values), kept, few)


def _weighted(values: pd.Series, weights: pd.Series) -> Estimate:
    # The error of a ratio of sums, by its linear form.
    n = len(values)
    if n < 2:
        return Estimate(nan, inf, n)
    share = (weights / weights.sum()).to_numpy()
    mean = float(share @ values.to_numpy())
    error = sqrt(n / (n - 1) * float(((share * (values.to_numpy() - mean)) ** 2).sum()))
    return Estimate(mean, error if error > 1e-12 * abs(mean) else 0.0, n)


def _median(values: Floats) -> Estimate:
    # The error from the order statistics about the middle, two standard errors of its rank wide.
    known = np.sort(values[~np.isnan(values)])
    n = len(known)
    if n < 2:
        return Estimate(nan, inf, n)
    low, high = (round((n - 1) / 2 + s * sqrt(n) / 2) for s in (-1, 1))
    width = float(known[min(high, n - 1)] - known[max(low, 0)])
    return Estimate(float(np.median(known)), width / 2.0, n)


def _least_squares(x: Floats, y: Floats) -> tuple[Floats, Floats, float]:
    # An intercept and a slope, their HC3 errors, and R squared.
    design = np.column_stack([np.ones_like(x), x])
    inverse = np.linalg.inv(design.T @ design)
    coefficients = inverse @ design.T @ y
    residuals = y - design @ coefficients
    leverage = np.einsum("ij,jk,ik->i", design, inverse, design)
    scaled = design * (residuals / (1.0 - leverage))[:, None]
    errors = np.sqrt(np.diag(inverse @ (scaled.T @ scaled) @ inverse))
    spread = float(((y - y.mean()) ** 2).sum())
    return coefficients, errors, 1.0 - float(residuals @ residuals) / spread if spread else nan
