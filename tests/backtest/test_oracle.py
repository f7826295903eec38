"""Protects the kernel against an independent implementation: vectorbt, bar for bar."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.markets import random_market, scripted
from workbench.backtest import run
from workbench.core.costs import Costs

pytestmark = pytest.mark.filterwarnings("ignore:.*:Warning:vectorbt")


def vectorbt_equity(market, weights, *, fee, slippage, capital):
    """The same orders in vectorbt: targets in percent of the value at the close before."""
    import vectorbt as vbt

    wanted = weights.ffill().fillna(0.0)
    size = weights.where(wanted.ne(wanted.shift(1, fill_value=0.0))).shift(1)
    portfolio = vbt.Portfolio.from_orders(
        market.close,
        size=size,
        size_type="targetpercent",
        price=market.open,
        val_price=market.close.shift(1).fillna(market.open),
        fees=fee,
        slippage=slippage,
        init_cash=capital,
        cash_sharing=True,
        group_by=True,
        freq="1h",
    )
    return portfolio.value()


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10_000), n_symbols=st.sampled_from([1, 3]))
def test_run_without_funding_brackets_and_margin_equals_vectorbt(seed, n_symbols):
    """BT-09: equal bar for bar to 1e-9 of equity, long and short, with fees and slippage."""
    market = random_market(seed, n_symbols=n_symbols, n_bars=400, with_instruments=False)
    plain = {name: getattr(market, name) for name in ("open", "high", "low", "close")}
    market = type(market).from_frames(plain, interval="60")
    rng = np.random.default_rng(seed)
    weights = rng.uniform(-0.3, 0.3, (400, n_symbols)).round(4)
    weights[rng.random(weights.shape) < 0.7] = np.nan
    costs = Costs(0.0, 5.5, spread_bps=0, slippage_bps=3, has_funding=False)
    ours = run(scripted(weights.tolist()), market, costs=costs).equity
    frame = pd.DataFrame(weights, index=market.index, columns=market.symbols)
    theirs = vectorbt_equity(market, frame, fee=5.5e-4, slippage=3e-4, capital=10_000.0)
    assert np.abs(ours / theirs - 1).max() < 1e-9
