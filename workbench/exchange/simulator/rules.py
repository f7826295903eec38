"""What the simulated exchange refuses, the units of a contract, and how all is set up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from workbench.core.costs import Costs
from workbench.core.errors import DataError
from workbench.core.records import Instrument, RiskTier

CENT: Final = Decimal("1e-8")
"""The exchange's last decimal of money."""


class Refused(Exception):
    """The exchange's own refusal of a request: a V5 return code and its text."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message


def cash(amount: Decimal) -> Decimal:
    """Return an amount of money to the exchange's last decimal, so that sums of it are exact."""
    return amount.quantize(CENT)


@dataclass(frozen=True, slots=True)
class Settings:
    """How the exchange behaves.

    Attributes
    ----------
    is_exact : bool
        Candle-exact: the backtest's fills and path inside the bar, no book and no latency.
    costs : Costs
        Spread of a made book; slippage of takers in the candle-exact mode; ``latency_s`` from
        acceptance to the matching.
    steps : int
        Trades into which a bar is spread, at least 4.
    depth : int
        Levels of a made book on each side.
    depth_share : float
        What such a side holds, as a share of the volume of a minute.
    insurance_usdt : Decimal
        What the insurance fund holds at the start.
    max_open, max_conditional : int
        Open orders of a symbol, and conditional ones among them.
    limit_x, limit_y : Decimal
        The two fractions of the price limit around mark and index.
    """

    is_exact: bool = False
    costs: Costs = field(default_factory=Costs)
    steps: int = 12
    depth: int = 50
    depth_share: float = 0.5
    insurance_usdt: Decimal = Decimal(1_000_000)
    max_open: int = 500
    max_conditional: int = 10
    limit_x: Decimal = Decimal("0.02")
    limit_y: Decimal = Decimal("0.05")


FEE_TIERS: Final[Mapping[str, tuple[Decimal, Decimal]]] = {
    name: (Decimal(maker) / 100, Decimal(taker) / 100)
    for name, maker, taker in (
        ("VIP0", "0.02", "0.055"),
        ("VIP1", "0.018", "0.04"),
        ("VIP2", "0.016", "0.0375"),
        ("VIP3", "0.014", "0.035"),
        ("VIP4", "0.012", "0.032"),
        ("VIP5", "0.01", "0.032"),
        ("Supreme VIP", "0", "0.03"),
    )
}
"""Maker and taker fee of a perpetual by the tier of an account, as fractions."""

NO_TIER: Final = RiskTier(Decimal("1e15"), Decimal(0), Decimal(1), Decimal(100), Decimal(0))
"""What stands in for the tiers of an instrument that has none: no maintenance margin."""


class Contract:
    """An instrument in whole ticks and lots."""

    def __init__(self, instrument: Instrument) -> None:
        self.symbol = instrument.symbol
        self.tick, self.step = instrument.tick_size, instrument.qty_step
        self.unit = self.tick * self.step
        self.change(instrument)

    def change(self, instrument: Instrument) -> None:
        """Follow other rules, in the units of the first ones."""
        if instrument.tick_size % self.tick or instrument.qty_step % self.step:
            raise DataError(
                f"{self.symbol} counts in {self.tick} and {self.step}.",
                "Change tick and step to multiples of these.",
            )
        self.instrument = instrument
        self.tiers = instrument.tiers or (NO_TIER,)
        self.min_lots = int(instrument.min_qty / self.step)
        self.max_lots = int(instrument.max_qty / self.step)
        self.max_market_lots = int(instrument.max_market_qty / self.step)

    def ticks(self, price: Decimal) -> int:
        """Return a price in ticks; it must be a whole number of those that hold now."""
        if price % self.instrument.tick_size:
            raise Refused(10001, f"price {price} is not a multiple of {self.instrument.tick_size}")
        return int(price / self.tick)

    def lots(self, qty: Decimal) -> int:
        """Return a quantity in lots; it must be a whole number of those that hold now."""
        if qty % self.instrument.qty_step:
            raise Refused(10001, f"Qty invalid: {qty} is not a multiple of the step")
        return int(qty / self.step)

    def price(self, ticks: int) -> Decimal:
        """Return a price of whole ticks."""
        return self.tick * ticks

    def qty(self, lots: int) -> Decimal:
        """Return a quantity of whole lots."""
        return self.step * lots

    def tier(self, value: Decimal) -> RiskTier:
        """Return the risk tier of a position of a value."""
        for tier in self.tiers:
            if value <= tier.limit_usdt:
                return tier
        return self.tiers[-1]
