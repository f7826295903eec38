"""A risk report of a small synthetic book, for the tests of what shows it."""

from functools import cache

import numpy as np
import pandas as pd

from workbench.core.records import Account
from workbench.data import synthesise
from workbench.research import risk_report
from workbench.risk.limits import change_limits, load_limits
from workbench.risk.report import RiskReport

SYMBOLS = ["BTCUSDT", "ETHUSDT", "SOLUSDT"]


def hold(market, shares, capital=10_000.0):
    """Quantities bought once, and the equity that they make."""
    first = market.mark_close.bfill().iloc[0]
    qty = pd.Series(shares, dtype=float).reindex(market.symbols).fillna(0.0) * capital / first
    moved = (market.mark_close.ffill() - first).fillna(0.0)
    positions = pd.DataFrame(np.tile(qty, (market.n_bars, 1)), market.index, market.symbols)
    return positions, capital + moved @ qty


@cache
def document(*, is_flat: bool = False) -> dict:
    """The document of a report that is over one limit and near another, or of a flat book."""
    market = synthesise(SYMBOLS, n_bars=24 * 125, seed=5)
    shares = {} if is_flat else {"BTCUSDT": 0.6, "ETHUSDT": 0.3, "SOLUSDT": -0.2}
    limits = change_limits(load_limits(), max_value_at_risk=0.001, max_positions=3)
    return risk_report(
        market, *hold(market, shares), limits=limits, account=Account(), window_days=110
    ).to_document()


def make_report(*, is_flat: bool = False) -> RiskReport:
    """The report of it."""
    return RiskReport.from_document(document(is_flat=is_flat))
