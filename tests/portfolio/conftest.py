"""Real markets, and runs over them that trade in every way there is."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tests.markets import make_instrument, scripted
from workbench.backtest import run
from workbench.core.costs import Costs
from workbench.core.records import Account
from workbench.data import import_file, load

SYMBOLS = ["BTCUSDT", "ETHUSDT", "SOLUSDT"]
COSTS = Costs(impact=0.5, latency_s=60)


@pytest.fixture(scope="session")
def majors(shared_data, tmp_path_factory):
    """Three majors hourly in the first half of 2024, with their marks and funding."""
    lake = tmp_path_factory.mktemp("lake")
    for name in ("ohlcv_1h", "mark_1h", "funding"):
        import_file(shared_data / "bybit_linear_2024" / f"{name}.parquet", lake=lake)
    first, last = pd.Timestamp("2024-01-01", tz="UTC"), pd.Timestamp("2024-07-01", tz="UTC")
    market = load(SYMBOLS, start=first, end=last, lake=lake)
    return replace(market, instruments={s: make_instrument(s) for s in SYMBOLS})


def random_run(market, seed=0, *, is_isolated=True, leverage=2.0):
    """Longs, shorts, turns, partial closes, exits, rebalances and liquidations."""
    rng = np.random.default_rng(seed)
    weights = rng.uniform(-0.5, 0.5, market.close.shape)
    weights[rng.random(weights.shape) < 0.95] = np.nan
    weights = pd.DataFrame(weights).ffill(limit=20).to_numpy()
    plan = scripted(weights.tolist(), take_profit=0.04, rebalance_band=0.02)
    account = Account(10_000, leverage=leverage, margin_leverage=25, is_isolated=is_isolated)
    return run(plan, market, costs=COSTS, account=account)


@pytest.fixture(scope="session", params=["isolated", "cross"])
def busy(request, majors):
    """A run on real prices that did everything; with cross margin, until it lost everything."""
    is_isolated = request.param == "isolated"
    leverage = 2.0 if is_isolated else 10.0
    result = random_run(majors, 3, is_isolated=is_isolated, leverage=leverage)
    assert result.n_liquidations > 0
    assert {"weight", "rebalance", "take_profit", "liquidation"} <= set(result.fills["reason"])
    return result
