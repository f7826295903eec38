"""Tables of risk as people read them: what each is, how to read it, and its numbers in units."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Final, NamedTuple

import pandas as pd

from workbench.core.wording import THIN


class Section(NamedTuple):
    """A table of the report: its title, and how to read it."""

    title: str
    read: str


SECTIONS: Final[Mapping[str, Section]] = {
    "positions": Section(
        "Positions",
        "Value over equity is the weight; beta is what a position moves by where Bitcoin moves by "
        "one; its share is of all absolute values.",
    ),
    "sectors": Section("Sectors", "What the book holds of each sector, long and short together."),
    "tails": Section(
        "Value at risk and expected shortfall, one day ahead",
        "What a day loses more than with a chance of one less the level, and what it loses on the "
        "average where it does, with today's positions. How far methods differ is the error.",
    ),
    "contributions": Section(
        "Where the risk comes from",
        "Components add up to the book's value at risk; a negative one hedges. Marginal is for one "
        "unit more of weight, incremental what closing the position would take away.",
    ),
    "volatility": Section(
        "Volatility, a year",
        "Realised looks back, the others forecast the next day (and the mean of the next seven). A "
        "model that could not be fitted says so, and EWMA answers for it.",
    ),
    "dependence": Section(
        "How the market moves together",
        "Means over all pairs. Tail is how often one symbol has one of its worst days in a "
        "twentieth where another has; DCC is today's correlation beside the median of its days.",
    ),
    "regimes": Section(
        "Regime",
        "The score is how many times as volatile as usual an equally weighted basket is; what "
        "correlations add or take is in it.",
    ),
    "liquidation": Section(
        "Distance to liquidation",
        "How far the mark must move against a position, all else standing still, until the "
        "exchange closes it; a dash where no move does.",
    ),
    "stress": Section(
        "Stress",
        "The positions revalued at the worst moment of each shock or episode, with liquidation "
        "where the margin is gone; worst day and week are the worst of the data for this book. "
        "A symbol that was not there moves as the others did on average.",
    ),
    "limits": Section(
        "Limits",
        "Use is the share of the limit that is taken; from 100 % on the risk system cuts or "
        "refuses.",
    ),
    "refusals": Section(
        "What risk refused or made smaller",
        "By reason, in the last 30 days of the data; a target can be cut for several.",
    ),
    "breakers": Section(
        "Circuit breakers",
        "Closed lets entries pass, open stops them, half-open tries some.",
    ),
}
"""The tables of a report in their order; one that could not be measured is left out and noted."""

HEADS: Final[Mapping[str, tuple[str, str]]] = {
    "side": ("side", ""),
    "qty": ("quantity", "number"),
    "price": ("mark, USDT", "number"),
    "notional_usdt": ("value, USDT", "usdt"),
    "weight": ("weight, of equity", "share"),
    "share": ("share of gross", "share"),
    "beta": ("beta to Bitcoin", "number"),
    "funding_usdt": ("funding a day, USDT", "usdt"),
    "gross": ("gross, of equity", "share"),
    "net": ("net, of equity", "share"),
    "var_95": ("VaR 95 %", "share"),
    "es_95": ("shortfall 95 %", "share"),
    "var_99": ("VaR 99 %", "share"),
    "es_99": ("shortfall 99 %", "share"),
    "var_99.5": ("VaR 99.5 %", "share"),
    "es_99.5": ("shortfall 99.5 %", "share"),
    "component_var": ("component, of equity", "share"),
    "share_var": ("share of the risk", "share"),
    "marginal_var": ("marginal", "number"),
    "incremental_var": ("incremental, of equity", "share"),
    "component_es": ("shortfall component, of equity", "share"),
    "realised_24h": ("realised 24 h", "share"),
    "realised_7d": ("realised 7 d", "share"),
    "yang_zhang": ("Yang-Zhang 30 d", "share"),
    "ewma": ("EWMA", "share"),
    "garch": ("GARCH-t", "share"),
    "garch_7d": ("GARCH-t 7 d", "share"),
    "har": ("HAR", "share"),
    "now": ("now", "number"),
    "usual": ("usual", "number"),
    "score": ("score", "number"),
    "time": ("share of the time", "share"),
    "liquidation": ("liquidated at, USDT", "number"),
    "distance": ("distance", "share"),
    "initial_usdt": ("initial margin, USDT", "usdt"),
    "maintenance_usdt": ("maintenance margin, USDT", "usdt"),
    "profit": ("profit over equity", "share"),
    "pnl_usdt": ("profit, USDT", "usdt"),
    "equity_usdt": ("equity left, USDT", "usdt"),
    "margin_ratio": ("maintenance over equity", "share"),
    "lost_usdt": ("lost, USDT", "usdt"),
    "move": ("move of all", "share"),
    "worst": ("worst position", ""),
    "assumed": ("move assumed", ""),
    "phase": ("stands", ""),
    "since": ("since", ""),
    "times": ("times", "number"),
    "last": ("last", ""),
    "opened": ("opened, times", "number"),
    "words": ("why", ""),
    "bars": ("days", "number"),
    "hits": ("days beyond", "number"),
    "rate": ("rate", "share"),
    "kupiec": ("Kupiec, p", "number"),
    "independence": ("independence, p", "number"),
    "christoffersen": ("Christoffersen, p", "number"),
    "zone": ("traffic light", ""),
    "z1": ("Z1", "number"),
    "z2": ("Z2", "number"),
    "var": ("mean VaR", "share"),
    "es": ("mean shortfall", "share"),
    "taken": ("taken", "number"),
    "limit": ("limit", "number"),
    "unit": ("unit", ""),
    "use": ("use", "share"),
    "closest": ("closest pair", ""),
}
"""What a column is called and how its numbers are written; others are shown as they are."""


def write_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table as text: heads in words, and each number in the unit of its column or row."""
    text = {
        str(name): [write_value(str(name), value) for value in own] for name, own in table.items()
    }
    if "unit" in table:
        for name in ("taken", "limit"):
            kinds = ["share" if unit.startswith("of ") else "number" for unit in table["unit"]]
            text[name] = [
                _write(kind, value) for kind, value in zip(kinds, table[name], strict=True)
            ]
    index = [str(label).replace("_", " ") for label in table.index]
    return pd.DataFrame(text, index).rename(columns=lambda name: HEADS.get(name, (name,))[0])


def write_value(column: str, value: object) -> str:
    r"""Return a cell of a report's table as text, in the unit of its column.

    Examples
    --------
    >>> write_value("weight", -0.512), write_value("pnl_usdt", 1234.5), write_value("beta", 1.2)
    ('-51.2\u202f%', '1,234', '1.20')
    """
    return _write(HEADS.get(column, ("", ""))[1], value)


def _write(how: str, value: object) -> str:
    if not isinstance(value, int | float):
        return "—" if value is None else str(value)
    if not isfinite(value):
        return "—"
    if how == "share":
        return percent(value)
    whole = how == "usdt" or abs(value) >= 1000 or float(value).is_integer()
    return f"{value:,.{0 if whole else 2 if abs(value) >= 0.1 else 4}f}"


def percent(value: float) -> str:
    """Return a fraction as per cent."""
    digits = 1 if abs(value) >= 0.1 or value == 0 else 2
    return f"{100 * value:,.{digits}f}{THIN}%"
