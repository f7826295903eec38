"""How measures are written for people: their names, their values, and which way is better."""

from __future__ import annotations

from collections.abc import Mapping
from math import isinf, isnan
from typing import Final

WORDS: Final[Mapping[str, str]] = {
    "cagr": "growth a year (CAGR)",
    "sharpe": "Sharpe ratio",
    "geometric_sharpe": "geometric Sharpe ratio",
    "sortino": "Sortino ratio",
    "calmar": "Calmar ratio",
    "omega": "Omega ratio",
    "kappa_3": "Kappa 3",
    "martin_ratio": "Martin ratio",
    "burke_ratio": "Burke ratio",
    "kelly_fraction": "Kelly fraction",
    "value_at_risk_95": "value at risk, 95 %",
    "expected_shortfall_97.5": "expected shortfall, 97.5 %",
    "n_trades": "trades",
    "n_fills": "fills",
    "n_liquidations": "liquidations",
    "n_margin_cuts": "orders cut by margin",
}
"""Names that are more than their own words."""

THIN: Final = "\u202f"
"""The narrow space before a sign of per cent, at which no line breaks."""

SHARES: Final = frozenset(
    {
        *("total_return", "cagr", "annual_volatility", "volatility", "max_drawdown", "win_rate"),
        *("average_drawdown", "ulcer_index", "pain_index", "value_at_risk_95", "best_bar"),
        *("expected_shortfall_97.5", "worst_bar", "exposure", "kelly_fraction", "share_above_zero"),
    }
)
"""Measures that are fractions, shown as per cents."""

MORE: Final = frozenset(
    {
        *("total_return", "cagr", "sharpe", "geometric_sharpe", "sortino", "calmar", "omega"),
        *("kappa_3", "martin_ratio", "pain_ratio", "burke_ratio", "tail_ratio", "win_rate"),
        *("profit_factor", "payoff", "expectancy_usdt", "system_quality", "final_equity_usdt"),
        *("average_win_usdt", "average_loss_usdt", "largest_loss_usdt", "worst_bar"),
    }
)
LESS: Final = frozenset(
    {
        *("annual_volatility", "volatility", "max_drawdown", "average_drawdown", "ulcer_index"),
        *("longest_drawdown_bars", "pain_index", "value_at_risk_95", "expected_shortfall_97.5"),
        *("fees_usdt", "slippage_usdt", "funding_usdt", "turnover_usdt", "turnover_a_year"),
        *("n_liquidations", "n_margin_cuts"),
    }
)
"""Measures of which more, or less, is better; of all others neither is."""


def describe_name(name: str) -> str:
    """Return a measure's name in words: ``strategy.max_drawdown`` is ``strategy: max drawdown``.

    Examples
    --------
    >>> describe_name("buy_and_hold.sharpe")
    'buy and hold: Sharpe ratio'
    >>> describe_name("fees_usdt")
    'fees, USDT'
    """
    group, own = _split(name)
    words = WORDS.get(own) or own.removesuffix("_usdt").removesuffix("_bars").replace("_", " ")
    unit = ", USDT" if own.endswith("_usdt") else ", bars" if own.endswith("_bars") else ""
    return f"{group.replace('_', ' ')}: {words}{unit}" if group else f"{words}{unit}"


def describe_value(name: str, value: float | str | None) -> str:
    r"""Return a measure's value as text, in the unit and to the digits that its name asks for.

    Examples
    --------
    >>> describe_value("strategy.total_return", -0.2923)
    '-29.2\u202f%'
    >>> describe_value("n_trades", 1460.0), describe_value("sharpe", 1.855)
    ('1,460', '1.85')
    """
    if value is None or isinstance(value, str | bool):
        return "—" if value is None else str(value)
    if isnan(value):
        return "—"
    if isinf(value):
        return "∞" if value > 0 else "-∞"
    _, own = _split(name)
    if own in SHARES:
        return f"{100 * value:,.{1 if abs(value) >= 0.1 else 2}f}{THIN}%"
    if own.startswith("n_") or own.endswith("_bars") or isinstance(value, int):
        return f"{value:,.0f}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:,.2f}" if abs(value) >= 0.1 or value == 0 else f"{value:.2g}"


def better_way(name: str) -> int:
    """Return 1 where more of a measure is better, -1 where less is, 0 where neither is."""
    _, own = _split(name)
    return (own in MORE) - (own in LESS)


def _split(name: str) -> tuple[str, str]:
    if name.endswith("97.5"):
        head, _, tail = name.removesuffix("97.5").rpartition(".")
        return head, f"{tail}97.5"
    head, _, tail = name.rpartition(".")
    return head, tail
