"""A small desk for the tests of the risk system: strategies, symbols, a book and an outlook."""

from datetime import UTC, datetime

import numpy as np

from tests.markets import make_instrument
from workbench.risk.limits import Limits, change_limits, load_limits
from workbench.risk.regime import Regime
from workbench.risk.state import Book, Outlook, Targets
from workbench.risk.system import RiskSystem

NOW = datetime(2024, 1, 1, 12, tzinfo=UTC)

NO_LIMITS = change_limits(
    load_limits(),
    **{
        name: float("inf")
        for name in Limits.model_fields
        if name.startswith(("max_", "risk_per")) or name in ("price_collar", "stop_volatilities")
    }
    | {
        **{"mode": "none", "max_positions": 10**6, "max_strategies": 100, "take_profit": 0.0},
        **dict.fromkeys(("regime_high", "regime_crisis", "correlation_floor"), 1.0),
        **dict.fromkeys(("min_reward_risk", "min_free_margin", "min_liquidation_distance"), 0.0),
        **dict.fromkeys(("min_sharpe", "min_consistency"), 0.0),
    },
)
"""Limits that limit nothing, and no bracket of their own."""


def make_system(n_strategies=2, n_symbols=3, *, mode="conservative", sectors=None, **changes):
    """A system of strategies s0, s1 ... and symbols AUSDT, BUSDT ..."""
    symbols = [f"{chr(65 + s)}USDT" for s in range(n_symbols)]
    return RiskSystem(
        change_limits(load_limits(mode), **changes) if changes else load_limits(mode),
        symbols=symbols,
        strategies=[f"s{k}" for k in range(n_strategies)],
        instruments={symbol: make_instrument(symbol) for symbol in symbols},
        sectors=sectors,
    )


def make_outlook(system, **changes):
    """Calm and known: prices of 100, two per cent a day, a third of it common."""
    n = len(system.symbols)
    fields = {
        "price": np.full(n, 100.0),
        "mark": np.full(n, 100.0),
        "age_bars": np.zeros(n),
        "covariance": 0.02**2 * (np.eye(n) * 0.7 + 0.3),
        "turnover_usdt": np.full(n, 1e9),
        "tail": 1.65,
        "regime": Regime.NORMAL,
        "volatility_ratio": 1.0,
        "correlation": 0.3,
        "scales": np.ones(len(system.strategies)),
    }
    return Outlook(**(fields | changes))


def make_book(system, **changes):
    """Ten thousand, flat, in equal parts."""
    shape = (len(system.strategies), len(system.symbols))
    fields = {
        "qty": np.zeros(shape),
        "stops": np.full(shape, np.nan),
        "equity_usdt": 10_000.0,
        "flows_usdt": 0.0,
        "shares": np.full(shape[0], 1.0 / shape[0]),
        "pnl_usdt": np.zeros(shape[0]),
    }
    return Book(**(fields | changes))


def make_targets(system, weights, *, brackets=None, known_at=NOW):
    """Targets from nested lists; no brackets of their own unless given."""
    shape = (len(system.strategies), len(system.symbols))
    bare = np.full((*shape, 3), np.nan)
    table = np.asarray(weights, dtype=float).reshape(shape)
    return Targets(known_at, table, bare if brackets is None else np.asarray(brackets, dtype=float))


def decide(system, weights, *, book=None, outlook=None, brackets=None):
    """Observe and review at one moment."""
    book, outlook = book or make_book(system), outlook or make_outlook(system)
    system.observe(NOW, book, outlook)
    return system.review(make_targets(system, weights, brackets=brackets), book, outlook)
