"""Protects the money: the entry, the cap, the cut, and never more than the budget (GR-08)."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.lifecycle.capital import (
    CAP_USDT,
    cut_capital,
    entry_capital,
    fit_capital,
    scale_capital,
)

FACTOR = {"high": Decimal("1.5"), "medium": Decimal(1), "low": Decimal("0.5")}
MONEY = st.decimals(0, 20_000, places=2)


@pytest.mark.parametrize(
    ("score", "confidence", "listed"),
    [
        (0.5, "medium", "1000.00"),
        (0.75, "high", "2250.00"),
        (0.75, "low", "750.00"),
        (1.0, "high", "3000.00"),
        (1.5, "medium", "3000.00"),
        (1.6, "medium", "3000.00"),
        (1.7, "high", "4500.00"),
        (0.0, "high", "0.00"),
        (1 / 3, "medium", "666.66"),
    ],
)
def test_entry_capital_is_the_listed_formula(score, confidence, listed):
    assert entry_capital(score, confidence) == Decimal(listed)


@given(score=st.floats(0, 10), confidence=st.sampled_from(sorted(FACTOR)))
def test_entry_capital_is_capped_and_whole_cents(score, confidence):
    amount = entry_capital(score, confidence)
    exact = min(1000 * min(2 * Decimal(score), Decimal(3)) * FACTOR[confidence], Decimal(5000))

    assert amount <= CAP_USDT == 5000
    assert abs(amount - exact) <= Decimal("0.02")
    assert amount == amount.quantize(Decimal("0.01"))


@given(MONEY)
def test_cut_capital_leaves_half(amount):
    assert amount / 2 - Decimal("0.01") < cut_capital(amount) <= amount / 2


@given(amount=MONEY, free=st.decimals(-5000, 5000, places=2), is_faultless=st.booleans())
def test_scale_capital_goes_up_within_cap_and_budget_or_down(amount, free, is_faultless):
    to = scale_capital(amount, is_faultless=is_faultless, free_usdt=free)

    if is_faultless:
        assert amount <= to <= max(CAP_USDT, amount)
        assert to - amount <= max(free, 0)
        assert to <= amount * Decimal("1.25")
    else:
        assert amount * Decimal("0.75") - Decimal("0.01") < to <= amount * Decimal("0.75")


def test_scale_capital_by_a_quarter():
    up = {"is_faultless": True, "free_usdt": Decimal(9999)}
    assert scale_capital(Decimal(1000), **up) == Decimal("1250.00")
    assert scale_capital(Decimal(4800), **up) == Decimal("5000.00")


@given(amounts=st.lists(st.decimals(1, 5000, places=2), min_size=1, max_size=6), data=st.data())
def test_fit_capital_brings_the_sum_within_a_smaller_budget(amounts, data):
    total = sum(amounts)
    budget = data.draw(st.decimals(0, total, places=2))
    fitted = [fit_capital(amount, budget / total) for amount in amounts]

    assert sum(fitted) <= budget
