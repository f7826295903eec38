"""Protects the margin formulas: the exchange's own record, and the equation they solve."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core import margin

TAKER = Decimal("0.00055")


def test_margin_of_a_real_position_equals_the_exchange_record():
    """RK-22: q 0.001, E 60766.7, L 10: IM 6.10674952 and MM 0.33391302, fees to close included."""
    qty, entry, leverage = Decimal("0.001"), Decimal("60766.7"), Decimal(10)
    fee = margin.closing_fee(entry, qty, leverage, 1, TAKER)
    initial = margin.initial_margin(qty * entry, leverage) + fee
    maintenance = margin.maintenance_margin(qty * entry, Decimal("0.005"), Decimal(0)) + fee
    assert round(initial, 8) == Decimal("6.10674952")
    assert round(maintenance, 8) == Decimal("0.33391302")


positions = {
    "entry": st.decimals(10, 100_000, places=1),
    "qty": st.decimals("0.01", 100, places=2),
    "leverage": st.integers(2, 50).map(Decimal),
    "side": st.sampled_from([1, -1]),
    "rate": st.decimals("0.004", "0.019", places=3),
    "extra": st.decimals(0, 50, places=2),
}


@given(**positions)
def test_liquidation_price_is_where_margin_meets_maintenance(
    entry, qty, leverage, side, rate, extra
):
    """RK-22, trap: the sign of added margin. More margin moves the price away."""
    price = margin.liquidation_price(entry, qty, leverage, side, rate, Decimal(0), extra)
    held = margin.initial_margin(qty * entry, leverage) + extra
    profit = margin.unrealised_pnl(entry, price, side * qty)
    needed = margin.maintenance_margin(qty * price, rate, Decimal(0))
    assert abs(held + profit - needed) < Decimal("1e-15") * qty * entry
    bare = margin.liquidation_price(entry, qty, leverage, side, rate, Decimal(0), Decimal(0))
    assert side * (price - bare) <= 0


@given(**positions)
def test_decimal_and_float_agree(entry, qty, leverage, side, rate, extra):
    exact = margin.liquidation_price(entry, qty, leverage, side, rate, Decimal(1), extra)
    as_float = margin.liquidation_price(
        float(entry), float(qty), float(leverage), side, float(rate), 1.0, float(extra)
    )
    assert as_float == pytest.approx(float(exact), rel=1e-9, abs=1e-6)


def test_tier_deduction_makes_maintenance_continuous():
    limit, low, high = Decimal(2_000_000), Decimal("0.005"), Decimal("0.01")
    deduction = margin.tier_deduction(Decimal(0), limit, low, high)
    assert margin.maintenance_margin(limit, low, Decimal(0)) == margin.maintenance_margin(
        limit, high, deduction
    )


def test_short_is_bankrupt_above_its_entry():
    assert margin.bankruptcy_price(100.0, 10.0, -1) == pytest.approx(110.0)
