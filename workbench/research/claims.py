"""What can be said of trades whose code and whose other trials are unknown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.core.costs import Costs
from workbench.core.measures import DAYS_A_YEAR
from workbench.core.records import Market
from workbench.research.cover import Missing
from workbench.research.reprice import CLAIMED, NEXT_OPEN
from workbench.validation.deflation import (
    deflated_sharpe,
    min_backtest_length,
    sharpe_stats,
)

MIN_DAYS: Final = 30


def measure_claims(
    placed: pd.DataFrame,
    daily: pd.DataFrame,
    waterfall: pd.DataFrame,
    totals: Mapping[str, float],
    missing: Sequence[Missing],
    n_trials: int,
    *,
    costs: Costs,
    market: Market,
) -> dict[str, Any]:
    """Return what the gate of an autopsy is shown."""
    n_trades = int(placed["trade"].nunique())
    # What is sealed is left out for a reason, and not for its results.
    n_lacking = sum(each.n_trades for each in missing if each.sealed is None)
    final = waterfall.iloc[-1]
    outside = placed["outside"].to_numpy()
    has = {
        "fees": costs.taker_fee_bps > 0,
        "spread and slippage": costs.spread_bps + costs.slippage_bps > 0,
        "funding": costs.has_funding
        and bool(market.funding_settled[sorted(set(placed["symbol"]))].notna().any().all()),
    }
    free = [name for name, is_in in has.items() if not is_in]
    return {
        "trials": n_trials,
        "trades": n_trades,
        "covered_share": n_trades / (n_trades + n_lacking),
        "fills": len(placed),
        "days": len(daily),
        "impossible": int((outside > 0).sum()),
        "impossible_share": float((outside > 0).mean()),
        "impossible_worst": float(outside.max()),
        "claimed_sharpe": waterfall.loc[CLAIMED, "sharpe"],
        "claimed_return": waterfall.loc[CLAIMED, "total_return"],
        "next_open_sharpe": waterfall.loc[NEXT_OPEN, "sharpe"],
        "sharpe": final["sharpe"],
        "total_return": final["total_return"],
        "costs_on": int(not free),
        "missing_costs": " and ".join(free),
        **totals,
        **_luck(daily.iloc[:, -1].to_numpy(), float(final["sharpe"]), n_trials),
    }


def _luck(daily: NDArray[np.float64], annual: float, n_trials: int) -> dict[str, Any]:
    if len(daily) < MIN_DAYS or np.ptp(daily) == 0:
        names = ("deflated_sharpe", "expected_maximum_sharpe", "years_needed", "length_share")
        return dict.fromkeys(names)
    stats = sharpe_stats(daily)
    # Without an edge the Sharpe ratio of n days has a variance of 1 / n: so wide do the trials
    # spread whose returns nobody has kept.
    deflated, bar = deflated_sharpe(stats, n_trials=n_trials, variance=1.0 / stats.n)
    has_length = annual > 0 and n_trials > 1
    needed = min_backtest_length(n_trials, target=annual)[0] if has_length else None
    return {
        "deflated_sharpe": deflated,
        "expected_maximum_sharpe": bar * sqrt(DAYS_A_YEAR),
        "years_needed": needed,
        "length_share": None if needed is None else len(daily) / DAYS_A_YEAR / needed,
    }
