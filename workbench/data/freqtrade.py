"""Backtests of freqtrade: the documented content of the files that it exports."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pandas as pd

from workbench.core.errors import DataError
from workbench.data.blotter import Blotter, clean_fills, name_symbols

LARGEST: Final = 2**29
_TIMEFRAME: Final = re.compile(r"(\d+)([mhdw])")
_SPANS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def read_freqtrade(path: Path, *, strategy: str | None = None) -> Blotter:
    """Read a backtest, ``.zip`` or ``.json``; of several strategies one must be named.

    Raises
    ------
    DataError
        If it cannot be read, or there is no such strategy or no trade.
    """
    held = _find_backtest(path)
    if strategy is None and len(held) > 1:
        raise DataError(
            f"{path.name} holds {len(held)} strategies: {', '.join(held)}.",
            "Say which: strategy= (--strategy NAME).",
        )
    name = strategy or next(iter(held), "")
    if name not in held:
        raise DataError(
            f"{path.name} holds no strategy {name!r}.", f"It holds {', '.join(held) or 'none'}."
        )
    found = held[name]
    trades = found.get("trades") or []
    if not trades:
        raise DataError(
            f"The backtest of {name} made no trade.", "Run it with --export trades, on more days."
        )
    rows = [row for number, trade in enumerate(trades) for row in _freqtrade_fills(trade, number)]
    fills, left_out = clean_fills(pd.DataFrame(rows))
    parts = _TIMEFRAME.fullmatch(str(found.get("timeframe", "")))
    leverage = max((float(trade.get("leverage") or 1.0) for trade in trades), default=1.0)
    guesses = name_symbols(fills, [str(trade["pair"]) for trade in trades])
    if leverage > 1:
        guesses.append(f"leverage {leverage:g}, the highest of its trades")
    return Blotter(
        name=name,
        form="freqtrade backtest",
        fills=fills,
        capital_usdt=float(found["starting_balance"]) if found.get("starting_balance") else None,
        leverage=leverage if leverage > 1 else None,
        is_isolated=str(found.get("margin_mode", "")).lower() == "isolated",
        timeframe=timedelta(**{_SPANS[parts[2]]: int(parts[1])}) if parts else None,
        is_at_moment=True,
        guesses=tuple(guesses),
        left_out=left_out,
    )


def _find_backtest(path: Path) -> dict[str, Any]:
    try:
        if path.suffix.lower() == ".json":
            texts = [path.read_bytes()]
        else:
            with zipfile.ZipFile(path) as archive:
                members = [m for m in archive.infolist() if m.filename.endswith(".json")]
                if sum(member.file_size for member in members) > LARGEST:
                    raise DataError(f"{path.name} is too large.", "Export fewer trades at once.")
                texts = [archive.read(member) for member in members]
        for text in texts:
            content = json.loads(text)
            if isinstance(content, dict) and isinstance(content.get("strategy"), dict):
                return dict(content["strategy"])
    except (zipfile.BadZipFile, ValueError, NotImplementedError, RuntimeError) as error:
        raise DataError(
            f"{path.name} cannot be read: {error}.", "Give a backtest as freqtrade wrote it."
        ) from error
    raise DataError(
        f"{path.name} holds no backtest of freqtrade: there is no JSON with 'strategy' in it.",
        "Give backtest-result-....zip (or .json), or a table of trades as CSV or Parquet.",
    )


def _freqtrade_fills(trade: Mapping[str, Any], number: int) -> list[dict[str, Any]]:
    try:
        side = -1.0 if trade.get("is_short") else 1.0
        own = {"symbol": trade["pair"], "trade": number}
        rates = {True: trade.get("fee_open") or 0.0, False: trade.get("fee_close") or 0.0}
        orders = [
            (bool(order["ft_is_entry"]), order["order_filled_timestamp"], order["amount"],
             order["safe_price"])
            for order in trade.get("orders") or []
            if order.get("order_filled_timestamp")
        ] or [
            (True, trade["open_date"], trade["amount"], trade["open_rate"]),
            (False, trade["close_date"], trade["amount"], trade["close_rate"]),
        ]  # fmt: skip
    except KeyError as error:
        raise DataError(
            f"Trade {number + 1} of the backtest has no {error}.",
            "Give a backtest of freqtrade 2022.4 or later.",
        ) from error
    rows = [
        {
            **own,
            "moment": moment,
            "qty": side * amount * (1.0 if is_entry else -1.0),
            "price": price,
            "fee_usdt": amount * price * rates[is_entry],
            "funding_usdt": 0.0,
        }
        for is_entry, moment, amount, price in orders
        if moment and not (trade.get("is_open") and not is_entry)
    ]
    # What freqtrade calls funding fees is what was earned.
    rows[-1]["funding_usdt"] = -float(trade.get("funding_fees") or 0.0)
    return rows
