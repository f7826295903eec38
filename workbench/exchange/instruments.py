"""Instruments and margin tiers from the rows in which the exchange lists them."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from workbench.core.errors import DataError
from workbench.core.margin import tier_deduction
from workbench.core.records import Instrument, RiskTier
from workbench.exchange.wire import Row, from_millis


def parse_instrument(row: Row, tiers: tuple[RiskTier, ...]) -> Instrument:
    """Make an instrument from its row and its tiers."""
    lots, prices = row["lotSizeFilter"], row["priceFilter"]
    leverage, bounds = row["leverageFilter"], row.get("riskParameters") or {}
    delisting = int(row.get("deliveryTime") or 0)
    return Instrument(
        symbol=row["symbol"],
        tick_size=Decimal(prices["tickSize"]),
        qty_step=Decimal(lots["qtyStep"]),
        min_qty=Decimal(lots["minOrderQty"]),
        max_qty=Decimal(lots["maxOrderQty"]),
        max_market_qty=Decimal(lots.get("maxMktOrderQty") or lots["maxOrderQty"]),
        min_notional_usdt=Decimal(lots.get("minNotionalValue") or 0),
        max_leverage=Decimal(leverage["maxLeverage"]),
        funding_interval_min=int(row["fundingInterval"]),
        tiers=tiers,
        status=row["status"],
        launched=from_millis(int(row["launchTime"])),
        upper_funding_rate=Decimal(row.get("upperFundingRate") or "0.005"),
        lower_funding_rate=Decimal(row.get("lowerFundingRate") or "-0.005"),
        min_price=Decimal(prices.get("minPrice") or 0),
        max_price=Decimal(prices.get("maxPrice") or "Infinity"),
        price_limit_x=Decimal(bounds.get("priceLimitRatioX") or 0),
        price_limit_y=Decimal(bounds.get("priceLimitRatioY") or 0),
        leverage_step=Decimal(leverage.get("leverageStep") or "0.01"),
        delisting=from_millis(delisting) if delisting else None,
    )


def parse_tiers(rows: Sequence[Row]) -> tuple[RiskTier, ...]:
    """Make the margin tiers of a symbol from their rows, smallest first.

    Raises
    ------
    DataError
        If a rate lies outside 0 to 1, whatever the scale.
    """
    rows = sorted(rows, key=lambda row: Decimal(row["riskLimitValue"]))
    # The documentation's samples are in percent, the exchange answers with fractions.
    rates = [Decimal(row["maintenanceMargin"]) for row in rows]
    scale = Decimal(100) if any(rate >= Decimal("0.5") for rate in rates[:1]) else Decimal(1)
    tiers: list[RiskTier] = []
    for row, raw in zip(rows, rates, strict=True):
        rate = raw / scale
        if not 0 < rate < 1:
            raise DataError(
                f"The maintenance margin of a tier is {raw}.", "Rates lie between 0 and 1."
            )
        before = tiers[-1] if tiers else None
        deduction = _decimal(row.get("mmDeduction"))
        if deduction is None:
            deduction = Decimal(0)
            if before is not None:
                deduction = tier_deduction(
                    before.deduction_usdt, before.limit_usdt, before.maintenance_rate, rate
                )
        leverage = Decimal(row["maxLeverage"])
        tiers.append(
            RiskTier(Decimal(row["riskLimitValue"]), rate, 1 / leverage, leverage, deduction)
        )
    return tuple(tiers)


def _decimal(text: Any) -> Decimal | None:
    try:
        return Decimal(str(text))
    except InvalidOperation:
        return None
