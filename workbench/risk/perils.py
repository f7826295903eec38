"""Perils of a risk report: liquidation, stress, breakers, and what is taken of each limit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from workbench.core.records import Account
from workbench.risk import margin
from workbench.risk.breakers import Change, Kind, Phase
from workbench.risk.limits import Limits
from workbench.risk.scenarios import Shock, episode_moves, load_shocks, shock_moves, worst_moves
from workbench.risk.sections import DAY, Sight, Tables
from workbench.risk.stress import stress_book


def liquidations(book: Sight, tables: Tables, *, account: Account) -> dict[str, Any]:
    """Measure how far from liquidation a cross-margin account is, and what margin it takes."""
    held = book.held
    if not len(held):
        return {}
    if account.is_isolated:
        book.notes.append("No liquidation distance: it is told for cross margin only.")
        return {}
    symbols = [str(name) for name in held.index]
    tiers = book.attempt(
        "liquidation distance", lambda: margin.stack_tiers(book.market.instruments, symbols)
    )
    if tiers is None:
        return {}
    equity = float(book.equity.iloc[-1])
    value, qty = held.to_numpy() * equity, book.qty[held.index].to_numpy(dtype=np.float64)
    mark = value / qty
    table = pd.DataFrame({"price": mark}, held.index)
    table["liquidation"] = margin.cross_liquidation_price(equity, qty, mark, tiers)
    table["distance"] = (table["liquidation"] / mark - 1.0).abs()
    table["initial_usdt"] = margin.initial(value, account.margin_leverage, tiers)
    table["maintenance_usdt"] = margin.maintenance(value, tiers)
    tables["liquidation"] = table.sort_values("distance")
    return {
        "liquidation_distance": margin.liquidation_distance(equity, value, tiers),
        "margin_use": float(table["initial_usdt"].sum()) / equity,
    }


def stresses(
    book: Sight, tables: Tables, *, account: Account, shocks: Sequence[Shock] | None = None
) -> dict[str, Any]:
    """Measure what is left after shocks, episodes and the worst past day and week."""
    market, held = book.market, book.held
    if not len(held) or account.is_isolated:
        return {}
    symbols = [str(name) for name in held.index]
    tiers = book.attempt("stress", lambda: margin.stack_tiers(market.instruments, symbols))
    if tiers is None:
        return {}
    equity = float(book.equity.iloc[-1])
    positions = pd.DataFrame({"qty": book.qty[held.index], "mark": held * equity})
    positions["mark"] /= positions["qty"]
    # Of a cross account all that counts is the equity: entries may stand at the marks of today.
    positions["entry"] = positions["mark"]
    chosen = list(load_shocks() if shocks is None else shocks)
    bars, value = DAY // market.bar_length, held * equity
    moves = pd.concat(
        [
            shock_moves(market, chosen),
            worst_moves(market.close, value, {"worst day": bars, "worst week": 7 * bars}),
            episode_moves(market.close, value),
        ]
    )
    table = stress_book(
        positions,
        moves,
        wallet_usdt=equity,
        tiers=tiers,
        funding={shock.name: shock.funding_add for shock in chosen},
    )
    table = table.rename(columns={"share": "profit"}).dropna(subset="profit").sort_values("profit")
    shown = ["profit", "pnl_usdt", "equity_usdt", "margin_ratio", "worst", "liquidated", "assumed"]
    tables["stress"] = table[shown]
    return {
        "worst_stress": str(table.index[0]),
        "worst_stress_return": float(table["profit"].iloc[0]),
    }


def breakers_after(changes: Sequence[Change]) -> pd.DataFrame:
    """Return where each breaker stands after some changes, since when, and why."""
    last = {change.kind: change for change in changes}
    rows = {
        kind.words: {
            "phase": (last[kind].after if kind in last else Phase.CLOSED).value.replace("_", " "),
            "since": f"{last[kind].at:%Y-%m-%d %H:%M}" if kind in last else "",
            "opened": sum(c.kind is kind and c.after is Phase.OPEN for c in changes),
            "words": last[kind].words if kind in last else "",
        }
        for kind in Kind
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def refused_since(refusals: pd.DataFrame, moment: pd.Timestamp) -> pd.DataFrame:
    """Return how often each reason cut a target after a moment, and what was said last."""
    recent = refusals[refusals["known_at"] > moment]
    by_reason = recent.groupby("reason", sort=False)
    table = by_reason.agg(
        times=("words", "size"), last=("known_at", "last"), words=("words", "last")
    )
    table["last"] = [f"{moment:%Y-%m-%d %H:%M}" for moment in table["last"]]
    return table.sort_values("times", ascending=False)


def limit_use(now: Mapping[str, Any], limits: Limits) -> pd.DataFrame:
    """Return each limit beside what is taken of it; ``use`` is 1 where nothing is left."""
    most = {
        "gross exposure": (now["gross"], limits.max_gross, "of equity"),
        "net exposure": (abs(now["net"]), limits.max_net, "of equity"),
        "largest position": (
            now["largest_weight"], limits.max_symbol_share * limits.max_gross, "of equity",
        ),
        "largest sector": (
            now.get("largest_sector"), limits.max_sector_share * limits.max_gross, "of equity",
        ),
        "positions": (now["n_positions"], limits.max_positions, ""),
        f"value at risk, {limits.value_at_risk_level:.0%}": (
            now.get("value_at_risk"), limits.max_value_at_risk, "of equity",
        ),
        "value at risk, as reviewed": (
            now.get("value_at_risk_reviewed"), limits.max_value_at_risk, "of equity",
        ),
        "loss of 24 hours": (max(-now["day_return"], 0.0), limits.max_daily_loss, "of equity"),
        "drawdown": (now["drawdown"], limits.max_drawdown, "of the peak"),
        "volatility": (now.get("volatility_ratio"), limits.max_volatility_ratio, "times usual"),
    }  # fmt: skip
    least = {
        "liquidation distance": (
            now.get("liquidation_distance"), limits.min_liquidation_distance, "of the price",
        ),
        "free margin": (
            None if now.get("margin_use") is None else max(1.0 - now["margin_use"], 0.0),
            limits.min_free_margin, "of equity",
        ),
    }  # fmt: skip
    rows = {
        name: {"taken": taken, "limit": limit, "unit": unit, "use": taken / limit}
        for name, (taken, limit, unit) in most.items()
        if taken is not None
    }
    rows |= {
        name: {"taken": left, "limit": limit, "unit": unit, "use": limit / left if left else np.inf}
        for name, (left, limit, unit) in least.items()
        # Where not even the whole price would do, there is no distance to hold against anything.
        if left is not None and np.isfinite(left)
    }
    return pd.DataFrame.from_dict(rows, orient="index").sort_values("use", ascending=False)
