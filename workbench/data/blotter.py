"""Trades that another tool made, as fills, with a report of every guess."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import pandas as pd

from workbench.core.errors import DataError


@dataclass(frozen=True, slots=True)
class Blotter:
    """What a file of trades says.

    Attributes
    ----------
    name, form : str
        Of the strategy or the file; ``freqtrade backtest``, ``round trips`` or ``orders``.
    fills : DataFrame
        In order of time: ``moment`` (UTC), ``symbol`` (as Bybit writes it), ``qty`` (base coin,
        negative sells), ``price``, ``fee_usdt`` and ``funding_usdt`` (positive is paid) as claimed,
        ``trade`` (number of the round trip it belongs to).
    capital_usdt, leverage : float or None
    is_isolated : bool
    timeframe : timedelta or None
        Bars of the strategy, within which a fill lies.
    is_at_moment : bool
        Whether fills are known to happen at or after their stamps, not at the close of a bar that
        is labelled by its start.
    guesses : tuple of str
    left_out : mapping of str to int
        Rows that could not be used, by reason.
    """

    name: str
    form: str
    fills: pd.DataFrame
    capital_usdt: float | None
    leverage: float | None
    is_isolated: bool
    timeframe: timedelta | None
    is_at_moment: bool
    guesses: tuple[str, ...]
    left_out: Mapping[str, int]

    @property
    def n_trades(self) -> int:
        """Round trips."""
        return int(self.fills["trade"].nunique())

    @property
    def symbols(self) -> list[str]:
        """What was traded."""
        return sorted(self.fills["symbol"].unique())


def bybit_name(name: str) -> str:
    """Return the name of the linear perpetual that a pair or ticker stands for.

    Examples
    --------
    >>> [bybit_name(n) for n in ("BTC/USDT:USDT", "eth-usd", "SOLUSDT.P", "XRP-USDT-SWAP")]
    ['BTCUSDT', 'ETHUSDT', 'SOLUSDT', 'XRPUSDT']
    """
    own = name.upper().strip().rpartition("|")[2].split(":")
    # BTC/USDT:USDT names the settlement behind the colon, BINANCE:BTCUSDT the venue before it.
    bare = own[0] if "/" in own[0] or len(own) == 1 else own[-1]
    bare = re.sub(r"(\.P|[-_]?PERP|-SWAP)$", "", bare)
    bare = re.sub(r"[/_-]", "", bare)
    return f"{bare}T" if bare.endswith("USD") else bare


def clean_fills(fills: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    """Return the fills of whole trades in order of time, and why how many rows were left out.

    Raises
    ------
    DataError
        If none is left.
    """
    if not isinstance(fills["moment"].dtype, pd.DatetimeTZDtype):
        fills["moment"] = [
            pd.Timestamp(m, unit="ms", tz="UTC") if isinstance(m, int | float) else
            pd.to_datetime(m, utc=True) for m in fills["moment"]
        ]  # fmt: skip
    fills["moment"] = fills["moment"].astype("datetime64[us, UTC]")
    number = fills["qty"].notna() & (fills["qty"] != 0) & np.isfinite(fills["price"])
    spans = fills.groupby("trade")["moment"].agg(["first", "last"])
    is_backwards = fills["trade"].map(spans["last"] < spans["first"]) & (fills["trade"] >= 0)
    why = np.select(
        [fills["moment"].isna(), ~(number & (fills["price"] > 0)), is_backwards],
        ["no time", "no price or quantity", "it ends before it begins"], "",
    )  # fmt: skip
    # A trade without one of its ends is no trade.
    broken = set(fills["trade"][why != ""]) - {-1}
    is_bad = (why != "") | fills["trade"].isin(broken)
    reasons = pd.Series(why[why != ""]).value_counts()
    kept = fills[~is_bad].sort_values("moment", kind="stable", ignore_index=True)
    if kept.empty:
        raise DataError(
            "None of the trades can be used: "
            + "; ".join(f"{count} with {reason}" for reason, count in reasons.items())
            + ".",
            "Each needs a time, a price above 0 and a quantity.",
        )
    return kept, {str(reason): int(count) for reason, count in reasons.items()}


def name_symbols(fills: pd.DataFrame, given: Sequence[str]) -> list[str]:
    """Write symbols as Bybit does, in place, and return what was guessed."""
    names = {name: bybit_name(str(name)) for name in dict.fromkeys(given)}
    fills["symbol"] = fills["symbol"].map(lambda name: names.get(name, bybit_name(str(name))))
    changed = [f"{own} for {name}" for name, own in names.items() if own != name]
    if not changed:
        return []
    shown = ", ".join(changed[:4]) + (" and so on" if len(changed) > 4 else "")
    return [f"the perpetual {shown}"]
