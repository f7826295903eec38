"""Protects given quantities in the kernel: held exactly, paid for, cut and liquidated."""

import numpy as np
import pytest

from tests.markets import make_instrument, make_market, random_market
from workbench.backtest import kernel
from workbench.backtest.inputs import Realism, build_inputs
from workbench.backtest.quantities import hold_quantities
from workbench.core.costs import Costs
from workbench.core.records import Account

PLAIN = Realism(rounding=False, liquidation=False)


def hold(market, targets, *, account=None, realism=PLAIN, costs=None):
    inputs = build_inputs(
        market, costs=costs or Costs(), account=account or Account(), realism=realism
    )
    return hold_quantities(inputs, np.asarray(targets, dtype=float).reshape(market.close.shape))


def account_by_hand(market, targets, costs, capital=10_000.0):
    """Wallet and positions in plain sums: fills at opens, funding on the mark at the close."""
    held = np.zeros(targets.shape[1])
    cash, equity = capital, []
    slip = (costs.spread_bps / 2 + costs.slippage_bps) * 1e-4
    rates = np.nan_to_num(market.funding_settled.to_numpy())
    for row in range(len(targets)):
        if row:
            wanted = np.where(np.isfinite(targets[row - 1]), targets[row - 1], held)
            change = wanted - held
            price = market.open.to_numpy()[row] * (1 + np.sign(change) * slip)
            cash -= (change * price).sum() + (
                np.abs(change) * price
            ).sum() * costs.taker_fee_bps * 1e-4
            held = wanted
        mark = market.mark_close.to_numpy()[row]
        cash -= (held * mark * rates[row]).sum()
        equity.append(cash + (held * mark).sum())
    return np.array(equity)


@pytest.mark.parametrize("seed", range(4))
def test_quantities_are_held_as_an_account_by_hand_holds_them(seed):
    market = random_market(seed, n_bars=120, n_symbols=3)
    rng = np.random.default_rng(seed)
    targets = np.where(rng.random((120, 3)) < 0.2, rng.normal(0, 5, (120, 3)), np.nan)
    targets[rng.random((120, 3)) < 0.05] = 0.0
    by_hand = account_by_hand(market, targets, Costs())
    # Smaller positions of one bar are met to 1e-4 of the largest, ten of which are 1 USDT here.
    assert hold(market, targets).equity == pytest.approx(by_hand, abs=1.0)
    alone = np.where(np.arange(3) == seed % 3, targets, np.nan)
    assert hold(market, alone).equity == pytest.approx(
        account_by_hand(market, alone, Costs()), rel=1e-12
    )


def test_quantity_that_is_asked_for_again_makes_no_order():
    market = random_market(1, n_bars=30, n_symbols=1)
    once, again = np.full(30, np.nan), np.full(30, np.nan)
    once[3] = again[3] = again[9] = 7.0
    assert hold(market, again).cash[kernel.N_FILLS] == hold(market, once).cash[kernel.N_FILLS] == 1
    assert hold(market, again).equity == pytest.approx(hold(market, once).equity, rel=1e-12)


def test_quantity_is_rounded_to_the_lot():
    market = random_market(1, n_bars=10, n_symbols=1)
    targets = np.full(10, np.nan)
    targets[2] = 1.23456
    rounded, plain = hold(market, targets, realism=Realism()), hold(market, targets)
    assert rounded.cash[kernel.TURNOVER] / plain.cash[kernel.TURNOVER] == pytest.approx(
        1.234 / 1.23456
    )


def test_quantity_beyond_its_margin_is_liquidated_in_a_crash_and_stays_flat():
    close = [100.0, 100.0, 100.0, 85.0, 130.0, 130.0]
    market = make_market(
        open=[100.0, *close[:-1]], high=np.maximum([100.0, *close[:-1]], close),
        low=np.minimum([100.0, *close[:-1]], close), close=close,
        instruments={"AAAUSDT": make_instrument()},
    )  # fmt: skip
    targets = [np.nan, 800.0, np.nan, np.nan, np.nan, np.nan]
    account = Account(margin_leverage=10.0)
    safe = hold(market, targets, account=account)
    real = hold(market, targets, account=account, realism=Realism())
    assert safe.equity[-1] > 30_000
    assert real.cash[kernel.N_LIQUIDATIONS] == 1
    assert real.equity[-1] == 0.0


def test_quantity_that_margin_does_not_cover_is_cut():
    market = random_market(2, n_bars=10, n_symbols=1)
    targets = np.full(10, np.nan)
    targets[2] = 4_000.0
    cut = hold(market, targets, account=Account(margin_leverage=2.0), realism=Realism())
    assert cut.cash[kernel.N_CUTS] == 1
    assert cut.cash[kernel.TURNOVER] < 2 * 10_000
