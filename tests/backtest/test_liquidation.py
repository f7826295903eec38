"""Protects the reading of the mark: on real prices a close misses most of what liquidates."""

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from tests.markets import make_instrument, scripted
from workbench.backtest import run
from workbench.core.costs import FREE
from workbench.core.records import Account, RiskTier
from workbench.data import import_file, load

LEVERAGE, MAINTENANCE = 7, 0.005
ACCOUNT = Account(10_000, margin_leverage=LEVERAGE, is_isolated=True)


@pytest.fixture(scope="module")
def sol(shared_data, tmp_path_factory):
    """SOL's hourly bars and marks of 2024, with one margin tier of 0.5 per cent."""
    lake = tmp_path_factory.mktemp("lake")
    for name in ("ohlcv_1h", "mark_1h"):
        import_file(shared_data / "bybit_linear_2024" / f"{name}.parquet", lake=lake)
    first, last = pd.Timestamp("2024-01-01", tz="UTC"), pd.Timestamp("2025-01-01", tz="UTC")
    market = load(["SOLUSDT"], start=first, end=last, lake=lake)
    tier = RiskTier(Decimal(10**9), Decimal("0.005"), Decimal("0.01"), Decimal(100), Decimal(0))
    return replace(market, instruments={"SOLUSDT": make_instrument("SOLUSDT", tiers=(tier,))})


def liquidated_days(market):
    """The days on which a short of 7 times its margin, opened at midnight, does not live."""
    day = (market.index - market.index[0]).days
    days = []
    # Every other day, so that each position is opened anew and none survives its day.
    for odd in (0, 1):
        weights = np.where(day % 2 == odd, -0.5, 0.0)
        result = run(scripted(weights.tolist()), market, costs=FREE, account=ACCOUNT)
        fills = result.fills[result.fills["reason"] == "liquidation"]
        days += [str(t.date()) for t in fills["known_at"] - market.bar_length]
    return sorted(days)


def test_hourly_close_misses_two_liquidations_of_three(sol):
    """BT-08: the extremes of the mark decide, as a count by hand over the same marks says."""
    bar_start = sol.index - sol.bar_length
    inside = bar_start >= sol.index[0]
    opened = sol.open["SOLUSDT"][inside].groupby(bar_start[inside].date).first()
    highest = sol.mark_high["SOLUSDT"][inside].groupby(bar_start[inside].date).max()
    level = opened * (1 + 1 / LEVERAGE) / (1 + MAINTENANCE)
    expected = [str(day) for day in opened.index[(highest >= level).to_numpy()]]

    closes = replace(sol, mark_high=sol.mark_close, mark_low=sol.mark_close)
    assert liquidated_days(sol) == expected
    assert (len(expected), len(liquidated_days(closes))) == (3, 1)
