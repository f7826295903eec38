"""Sections of a risk report: each measures one side of a book, and says what it could not.

Only research and the worker import this module; ``perils`` holds what may go wrong. Every function
takes a ``Sight`` of the book, puts its tables into a dict by the names of ``report.SECTIONS`` and
returns its headlines.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.core.errors import DataError
from workbench.core.measures import drawdown_path
from workbench.core.records import Market
from workbench.risk import dependence, diversity, tails
from workbench.risk.components import contributions
from workbench.risk.coverage import forecast_tails
from workbench.risk.garch import LEAST_BARS

DAY: Final = timedelta(days=1)
LEVELS: Final = (0.95, 0.99, 0.995)
METHOD: Final = "garch_student"
"""The method that headlines and limits are of; the others stand beside it."""
BENCHMARK: Final = "BTCUSDT"
LEAST_DAYS: Final = 30
PATH_DAYS: Final = 365
"""Days of equity and of regimes that a report keeps, to be drawn."""

Tables = dict[str, pd.DataFrame]
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Sight:
    """What is held at the end of a market.

    Attributes
    ----------
    market : Market
    qty, weights : Series of shape (n_symbols,)
        Signed quantities, and their values on the mark over the equity.
    equity : Series
        In USDT, bar by bar.
    returns : DataFrame of shape (window + 1, n_symbols)
        Of days that end at the hour of the last bar.
    window : int
        Days that estimates rest on.
    notes : list of str
        What could not be measured.
    """

    market: Market
    qty: pd.Series
    weights: pd.Series
    equity: pd.Series
    returns: pd.DataFrame
    window: int
    notes: list[str] = field(default_factory=list)

    @property
    def held(self) -> pd.Series:
        """The weights that are not zero."""
        return self.weights[self.weights != 0]

    def attempt(self, what: str, measure: Callable[[], Answer]) -> Answer | None:
        """Return a measure; where the data cannot give it, None, and the reason is noted."""
        try:
            return measure()
        except DataError as error:
            self.notes.append(f"No {what}: {error.what}")
            return None


def look(market: Market, positions: pd.DataFrame, equity: pd.Series, *, window: int) -> Sight:
    """Return what a book holds at the last bar of a market.

    Raises
    ------
    DataError
        If the bars are longer than a day, no equity is left, or a held symbol has no mark.
    """
    if market.bar_length > DAY:
        raise DataError(
            f"Bars of {market.interval} are longer than a day.",
            "Risk is measured a day ahead: load bars of a day or shorter.",
        )
    at = market.index[-1]
    equity = equity[equity.index <= at]
    qty = pd.Series(positions.to_numpy()[positions.index.get_loc(at)], positions.columns)
    if not equity.iloc[-1] > 0:
        raise DataError(
            f"The equity is {equity.iloc[-1]:,.2f} USDT at {at}.",
            "An account without equity has no risk left to measure.",
        )
    mark = market.mark_close.ffill().iloc[-1]
    unknown = [str(name) for name in qty.index[qty != 0] if not mark.get(name, np.nan) > 0]
    if unknown:
        raise DataError(
            f"{', '.join(unknown)} is held and has no mark at {at}.",
            "Load its prices: what has no price has no measurable risk.",
        )
    closes: pd.DataFrame = market.close.loc[is_daily(market.index)]
    returns = closes.pct_change(fill_method=None).iloc[1:].tail(window + 1)
    weights = (qty * mark / equity.iloc[-1]).where(qty != 0, 0.0)
    return Sight(market, qty, weights, equity, returns, window)


def is_daily(index: pd.Index) -> NDArray[np.bool_]:
    """Return which moments lie whole days before the last of them."""
    moments = pd.DatetimeIndex(index)
    return np.asarray((moments[-1] - moments) % DAY == pd.Timedelta(0))


def exposures(
    book: Sight, tables: Tables, *, sectors: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Measure what is held: how much, which way, and how few bets it comes down to."""
    w, held = book.weights, book.held
    equity = float(book.equity.iloc[-1])
    now: dict[str, Any] = {
        "equity_usdt": equity,
        "gross": float(w.abs().sum()),
        "net": float(w.sum()),
        "n_positions": len(held),
        "largest_weight": float(w.abs().max()) if len(w) else 0.0,
    }
    if not len(held):
        return now
    market = book.market
    funding = market.funding_settled[market.index > market.index[-1] - DAY].sum(min_count=1)
    slopes = None
    if BENCHMARK in book.returns:
        slopes = book.attempt("beta", lambda: dependence.beta(book.returns, to=BENCHMARK))
    else:
        book.notes.append(f"No beta: the market does not hold {BENCHMARK}.")
    table = pd.DataFrame({"side": np.where(held > 0, "long", "short"), "qty": book.qty[held.index]})
    table["price"] = market.mark_close.ffill().iloc[-1]
    table["notional_usdt"] = held * equity
    table["weight"] = held
    table["share"] = diversity.shares(held)
    table["beta"] = np.nan if slopes is None else slopes
    table["funding_usdt"] = held * equity * funding
    tables["positions"] = table.sort_values("share", ascending=False)
    if sectors is not None:
        found = book.attempt("sectors", lambda: diversity.sector_exposure(w, sectors))
        if found is not None:
            tables["sectors"] = found
            now["largest_sector"] = float(found["gross"].max())
    return now | {
        "effective_number": diversity.effective_number(held),
        "herfindahl": diversity.herfindahl(held),
        "beta": float((held * table["beta"]).sum(min_count=len(held))),
        "funding_usdt": float(table["funding_usdt"].sum(min_count=1)),
        **_diversity(book),
    }


def _diversity(book: Sight) -> dict[str, Any]:
    held = book.held
    covariance = book.attempt(
        "diversification",
        lambda: dependence.common_rows(book.returns[held.index], least=LEAST_DAYS).cov(),
    )
    if covariance is None:
        return {}
    return {
        "effective_bets": diversity.effective_bets(held, covariance),
        "diversification_ratio": diversity.diversification_ratio(held, covariance),
    }


def losses_so_far(book: Sight, tables: Tables) -> dict[str, Any]:
    """Measure what the account has lost: today, from its peak, and how deep it usually is."""
    moves = np.asarray(book.equity.pct_change().iloc[1:], dtype=np.float64)
    below = np.concatenate([[0.0], drawdown_path(moves)])
    path = pd.DataFrame({"equity_usdt": book.equity, "drawdown": below})
    path = path[is_daily(path.index)]
    tables["path"] = path.tail(PATH_DAYS)
    daily = path["equity_usdt"].pct_change().iloc[1:].to_numpy()
    now = {
        "drawdown": float(below[-1]),
        "worst_drawdown": float(below.max()),
        "day_return": float(daily[-1]) if len(daily) else 0.0,
    }
    at_risk = book.attempt("drawdown at risk", lambda: tails.drawdown_at_risk(daily, level=0.95))
    if at_risk is not None:
        now["drawdown_at_risk"], now["drawdown_beyond"] = at_risk
    return now


def losses_ahead(
    book: Sight, tables: Tables, *, level: float, methods: Sequence[str]
) -> dict[str, Any]:
    """Measure what a day may lose: by every method, and what each position adds to it."""
    held = book.held
    if not len(held):
        return {}
    returns = book.returns[held.index].dropna()
    days = min(book.window, len(returns) - 1)
    if days < LEAST_BARS:
        book.notes.append(
            f"No tails: what is held shares {len(returns)} days, and {LEAST_BARS + 1} are needed."
        )
        return {}
    if days < book.window:
        book.notes.append(f"Tails rest on {days} days, which is all that what is held shares.")
    # A level needs a bar beyond it to say what is lost there.
    levels = [one for one in sorted({*LEVELS, level}) if days * (1.0 - one) >= 1.0]
    if level not in levels:
        book.notes.append(f"No tails: {days} days say nothing of what lies beyond {level:g}.")
        return {}
    own = (returns @ held).rename("book").to_frame().tail(days + 1)
    made = book.attempt(
        "tails",
        lambda: forecast_tails(own, window=days, levels=levels, methods=methods, refit_bars=1),
    )
    if made is None:
        return {}
    if made.fits["note"].iloc[-1]:
        book.notes.append(f"The volatility of the book: {made.fits['note'].iloc[-1]}.")
    both = made.table.iloc[-2:]  # known yesterday and today, of the positions of today
    shown = {
        f"{measure}_{100 * one:g}": _by_method(both, one, measure).iloc[-1]
        for one in levels
        for measure in ("var", "es")
    }
    tables["tails"] = pd.DataFrame(shown).loc[list(methods)]
    same, found = _by_method(both, level, "var").to_dict("records")
    return {
        "level": level,
        "value_at_risk": found[METHOD],
        "value_at_risk_same_book": same[METHOD],
        "value_at_risk_low": min(found.values()),
        "value_at_risk_high": max(found.values()),
        "expected_shortfall": float(_by_method(both, level, "es")[METHOD].iloc[-1]),
        **_sources(returns.tail(days), held, level, tables),
    }


def _by_method(table: pd.DataFrame, level: float, measure: str) -> pd.DataFrame:
    columns: Any = table.columns
    methods = [m for m, one, _, what in columns if one == level and what == measure]
    return pd.DataFrame({m: table[m, level, "book", measure] for m in methods})


def _sources(
    returns: pd.DataFrame, held: pd.Series, level: float, tables: Tables
) -> dict[str, Any]:
    parts = contributions(returns, held, level=level, method="student").table
    parts["share"] = diversity.shares(held)
    columns = ["weight", "share", "component_var", "share_var", "marginal_var", "incremental_var"]
    parts = parts[[*columns, "component_es"]].sort_values("share_var", ascending=False)
    tables["contributions"] = parts
    return {
        "largest": str(parts.index[0]),
        "largest_share": float(parts["share_var"].iloc[0]),
        "largest_of_gross": float(parts["share"].iloc[0]),
    }
