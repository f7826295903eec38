"""The one cost model: fees, spread, slippage, square-root impact, funding and latency.

Formulas are plain functions over scalars, so that the kernel compiles the same ones that
execution, the simulated exchange (with Decimal) and tests call.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import sqrt

from workbench.core.errors import ConfigError
from workbench.core.margin import Number

BASIS_POINT = 1e-4


@dataclass(frozen=True, slots=True)
class Costs:
    """What trading costs.

    Attributes
    ----------
    maker_fee_bps, taker_fee_bps : float
        Fee on the value of a fill, in basis points; a negative maker fee is a rebate.
    spread_bps : float
        Full bid-ask spread; a taker pays half of it.
    slippage_bps : float
        Further distance from the mid that a taker pays, whatever the size.
    impact : float
        Coefficient of the square-root law: a taker pays ``impact * volatility *
        sqrt(value / traded_value)`` more, both measured over the trailing day.
    latency_s : float
        Time from the decision to the fill.
    has_funding : bool
        Whether funding is charged.
    """

    maker_fee_bps: float = 2.0
    taker_fee_bps: float = 5.5
    spread_bps: float = 1.0
    slippage_bps: float = 2.0
    impact: float = 0.0
    latency_s: float = 0.0
    has_funding: bool = True

    def __post_init__(self) -> None:
        bad = [
            f.name
            for f in fields(self)
            if not (getattr(self, f.name) >= (-10.0 if f.name == "maker_fee_bps" else 0.0))
        ]
        if bad:
            raise ConfigError(
                f"The costs {', '.join(f'{n}={getattr(self, n)}' for n in bad)} are below zero.",
                "Costs are what you pay; only maker_fee_bps may be negative (a rebate).",
            )


FREE = Costs(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, has_funding=False)
"""A market without any cost, for oracles and for the first layers of the realism waterfall."""


def taker_price(mid: Number, side: Number, half_spread: Number, impact: Number) -> Number:
    """Return the price at which a taker fills.

    ``side`` is +1 to buy and -1 to sell; ``half_spread`` (with slippage) and ``impact`` are
    fractions of the price.
    """
    return mid * (1 + side * (half_spread + impact))


def square_root_impact(coefficient: float, value: float, traded_value: float) -> float:
    """Return the price impact of an order as a fraction of the price.

    ``coefficient`` is the law's constant times the volatility over the period in which
    ``traded_value`` was traded; 0 where nothing was traded is an error of the caller.

    References
    ----------
    .. [1] Tóth et al. (2011), "Anomalous price impact and the critical nature of liquidity in
       financial markets", Physical Review X 1, 021006, equation 1.
    """
    return coefficient * sqrt(value / traded_value)


def fee(value: Number, rate: Number) -> Number:
    """Return the fee on a fill of a (positive) value; ``rate`` is a fraction."""
    return value * rate


def funding_payment(qty: Number, mark: Number, rate: Number) -> Number:
    """Return what a position pays at a settlement; longs pay when the rate is positive."""
    return qty * mark * rate
