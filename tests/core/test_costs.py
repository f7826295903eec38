"""Protects the cost model: signs, sizes and the refusal of nonsense."""

import pytest

from workbench.core.costs import FREE, Costs, fee, funding_payment, square_root_impact, taker_price
from workbench.core.errors import ConfigError


def test_defaults_are_the_published_rates():
    """CHECKLIST default numbers 4: 2 and 5.5 bp, spread 1 bp and slippage 2 bp."""
    costs = Costs()
    assert (costs.maker_fee_bps, costs.taker_fee_bps) == (2.0, 5.5)
    assert (costs.spread_bps, costs.slippage_bps) == (1.0, 2.0)


def test_taker_pays_up_to_buy_and_gets_less_to_sell():
    assert taker_price(100.0, 1.0, 0.001, 0.0) == pytest.approx(100.1)
    assert taker_price(100.0, -1.0, 0.001, 0.0) == pytest.approx(99.9)


def test_impact_of_four_times_the_size_is_twice():
    assert square_root_impact(0.02, 4e6, 1e8) == pytest.approx(
        2 * square_root_impact(0.02, 1e6, 1e8)
    )
    assert square_root_impact(0.02, 1e6, 1e8) == pytest.approx(0.002)


@pytest.mark.parametrize(("qty", "rate", "pays"), [(1, 1e-4, 1), (-1, 1e-4, -1), (1, -1e-4, -1)])
def test_funding_is_paid_by_longs_when_positive(qty, rate, pays):
    """BT-07: sign by side."""
    assert funding_payment(qty, 50_000.0, rate) == pytest.approx(5.0 * pays)


def test_fee_is_on_the_value():
    assert fee(1_000.0, 5.5e-4) == pytest.approx(0.55)


@pytest.mark.parametrize("bad", [{"taker_fee_bps": -1}, {"latency_s": float("nan")}])
def test_costs_below_zero_are_refused(bad):
    with pytest.raises(ConfigError, match=next(iter(bad))):
        Costs(**bad)


def test_maker_rebate_is_allowed_and_free_is_free():
    assert Costs(maker_fee_bps=-1).maker_fee_bps == -1
    assert not FREE.has_funding
