"""Lists of trades or orders in tables whose columns are guessed: vectorbt's records, any CSV."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import polars as pl

from workbench.core.errors import DataError
from workbench.core.trips import DUST
from workbench.data.blotter import Blotter, bybit_name, clean_fills, name_symbols
from workbench.data.freqtrade import read_freqtrade
from workbench.data.importer import UNITS

COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "entered_at": (
        "entry_time", "entry_timestamp", "entered_at", "entry_date", "open_date", "open_time",
        "opened_at", "open_timestamp", "entrytime", "opentime", "opened",
    ),
    "exited_at": (
        "exit_time", "exit_timestamp", "exited_at", "exit_date", "close_date", "close_time",
        "closed_at", "close_timestamp", "exittime", "closetime", "closed",
    ),
    "entry_price": (
        "entry_price", "avg_entry_price", "average_entry_price", "open_rate", "open_price",
        "entryprice",
    ),
    "exit_price": (
        "exit_price", "avg_exit_price", "average_exit_price", "close_rate", "close_price",
        "exitprice",
    ),
    "moment": (
        "timestamp", "time", "datetime", "date", "date/time", "date_and_time", "filled_at",
        "executed_at", "exec_time", "trade_time", "order_filled_date",
    ),
    "price": ("price", "fill_price", "avg_price", "average_price", "exec_price", "average"),
    "symbol": ("symbol", "pair", "column", "ticker", "instrument", "market", "coin"),
    "side": ("side", "direction", "type", "action", "is_short", "position", "order_side"),
    "qty": (
        "qty", "quantity", "size", "amount", "contracts", "units", "volume", "exec_qty", "filled",
        "position_size", "size_(qty)",
    ),
    "entry_fee": ("entry_fees", "entry_fee", "open_fee"),
    "exit_fee": ("exit_fees", "exit_fee", "close_fee"),
    "fee": ("fees", "fee", "fees_usdt", "fee_usdt", "commission", "commissions", "exec_fee"),
    "funding": ("funding_usdt", "funding", "funding_paid"),
    "leverage": ("leverage", "lev"),
    "status": ("status", "is_open"),
}  # fmt: skip
"""Names under which tools write each column, compared in lower case without units."""

BUYS: Final = ("buy", "b", "long", "entry long", "exit short", "open long", "close short", "1")
SELLS: Final = ("sell", "s", "short", "entry short", "exit long", "open short", "close long", "-1")
SHORTS: Final = (*SELLS, "true")
"""Words of the column ``side``: of an order what was done, of a round trip what was held."""
STAKE_USDT: Final = 1_000.0
"""What each trade is worth where the file does not say how much was traded."""
PICKLES: Final = (".pkl", ".pickle", ".p", ".joblib")
_UNIT: Final = re.compile(r"[_(\[]*(usdt?|usdc)[)\]]*$")


def read_trades(
    source: Path | pd.DataFrame, *, symbol: str | None = None, strategy: str | None = None
) -> Blotter:
    """Read trades.

    Parameters
    ----------
    source : Path or DataFrame
        A freqtrade backtest (``.zip`` or ``.json``), or a table (CSV, also gzipped, Parquet, or a
        DataFrame) of round trips or of orders, such as vectorbt's ``trades.records_readable`` and
        ``orders.records_readable``.
    symbol : str, optional
        Where the file does not say what was traded.
    strategy : str, optional
        Where a backtest holds several.

    Raises
    ------
    DataError
        If the file cannot be read or something cannot be guessed; it says what to give.
    """
    if isinstance(source, pd.DataFrame):
        return _read_table(source.reset_index(drop=True), "trades", symbol)
    path = Path(source)
    if path.suffix.lower() in PICKLES:
        raise DataError(
            f"{path.name} is a pickle, and opening one runs whatever code is in it.",
            "Write the records as a table: pf.trades.records_readable.to_csv('trades.csv').",
        )
    if not path.is_file():
        raise DataError(f"There is no file {path}.", "Give the path of a file of trades.")
    if path.suffix.lower() in (".zip", ".json"):
        return read_freqtrade(path, strategy=strategy)
    return _read_table(_open_table(path), path.name.split(".")[0], symbol)


def _open_table(path: Path) -> pd.DataFrame:
    try:
        if path.suffix == ".parquet":
            return pd.DataFrame(pl.read_parquet(path).to_dict(as_series=False))
        return pd.read_csv(path, sep=None, engine="python", encoding="utf-8-sig")
    except (pl.exceptions.PolarsError, ValueError, pd.errors.ParserError) as error:
        raise DataError(
            f"{path.name} cannot be read as a table: {str(error).splitlines()[0]}.",
            "Give a CSV file with a header row, or a Parquet file.",
        ) from error


def _read_table(raw: pd.DataFrame, name: str, symbol: str | None) -> Blotter:
    columns = _guess_columns(raw)
    table = raw[list(columns.values())].set_axis(list(columns), axis=1)
    guesses = [f"{target} from {own!r}" for target, own in columns.items() if target != own]
    is_trips = {"entered_at", "exited_at", "entry_price", "exit_price"} <= set(columns)
    if not is_trips and not {"moment", "price", "qty", "side"} <= set(columns):
        raise DataError(
            f"{name} holds neither round trips nor orders: its columns are "
            f"{', '.join(map(str, raw.columns))}.",
            "Give entry_time, exit_time, entry_price, exit_price, side and qty for each trade, or "
            "time, side, price and qty for each order.",
        )
    table = table.assign(symbol=_symbols(table, name, symbol, guesses))
    for column in {"entered_at", "exited_at", "moment"} & set(columns):
        table[column] = _moments(table[column], name, guesses)
    fills = _trip_fills(table, guesses) if is_trips else _order_fills(table, guesses)
    fills, left_out = clean_fills(fills)
    if not is_trips:
        fills = _number_trades(fills)
    guesses += name_symbols(fills, list(fills["symbol"]))
    lever = _numbers(table["leverage"]).max() if "leverage" in table else float("nan")
    return Blotter(
        name=name,
        form="round trips" if is_trips else "orders",
        fills=fills,
        capital_usdt=None,
        leverage=float(lever) if lever > 1 else None,
        is_isolated=False,
        timeframe=None,
        is_at_moment=False,
        guesses=tuple(dict.fromkeys(guesses)),
        left_out=left_out,
    )


def _guess_columns(raw: pd.DataFrame) -> dict[str, str]:
    names = {_UNIT.sub("", str(c).lower().strip().replace(" ", "_")): c for c in raw.columns[::-1]}
    plain = {str(c).lower().strip().replace(" ", "_"): c for c in raw.columns[::-1]}
    names = {key.strip("_"): value for key, value in names.items()} | plain
    found: dict[str, str] = {}
    for target, aliases in COLUMNS.items():
        own = next((names[a] for a in aliases if a in names), None)
        if own is not None and own not in found.values():
            found[target] = own
    return found


def _symbols(
    table: pd.DataFrame, name: str, symbol: str | None, guesses: list[str]
) -> pd.Series | str:
    if symbol is not None:
        return symbol
    named = table["symbol"].astype(str) if "symbol" in table else pd.Series(dtype=str)
    if len(named) and named.str.contains("[A-Za-z]").all():
        # vectorbt writes the parameters of a column before its name: (10, 20, 'BTCUSDT').
        return named.str.extract(r"([\w/:.|-]*[A-Za-z][\w/:.|-]*)\W*$")[0].fillna(named)
    found = re.search(r"[A-Z0-9]{2,12}[-_/]?USDT?", name.upper())
    if found is None:
        raise DataError(
            f"{name} does not say what was traded.", "Give it: symbol= (--symbol BTCUSDT)."
        )
    guesses.append(f"symbol {bybit_name(found[0])} from the file name")
    return found[0]


def _moments(column: pd.Series, name: str, guesses: list[str]) -> pd.Series:
    if pd.api.types.is_numeric_dtype(column):
        size = abs(float(column.median()))
        unit: Any = next((unit for unit, low, high in UNITS if low <= size < high), None)
        if unit is not None:
            guesses.append(f"times in {unit} since 1970")
            index = pd.DatetimeIndex(pd.to_datetime(column.to_numpy(), unit=unit, utc=True))
            return pd.Series(index, index=column.index).astype("datetime64[us, UTC]")
    try:
        index = pd.DatetimeIndex(pd.to_datetime(column, utc=True, format="mixed"))
    except (ValueError, TypeError) as error:
        raise DataError(
            f"The times of {name} cannot be read, {column.iloc[0]!r} for one.",
            "Write them as epoch numbers or as ISO times, 2024-01-31T00:00:00Z.",
        ) from error
    if not re.search(r"(Z|[+-]\d\d:?\d\d)$", str(column.iloc[0])):
        guesses.append("times without a zone are UTC")
    return pd.Series(index, index=column.index).astype("datetime64[us, UTC]")


def _numbers(column: pd.Series) -> pd.Series:
    if not pd.api.types.is_numeric_dtype(column):
        column = column.astype(str).str.replace(r"[,\s]|USDT?", "", regex=True)
    return pd.to_numeric(column, errors="coerce").astype(float)


def _trip_fills(table: pd.DataFrame, guesses: list[str]) -> pd.DataFrame:
    entry, leave = _numbers(table["entry_price"]), _numbers(table["exit_price"])
    if "qty" in table:
        qty = _numbers(table["qty"])
    else:
        qty = STAKE_USDT / entry
        guesses.append(f"no quantity: every trade is worth {STAKE_USDT:,.0f} USDT")
    if "side" in table:
        words = table["side"].astype(str).str.lower().str.strip().str.removesuffix(".0")
        side = pd.Series(np.where(words.isin(SHORTS), -1.0, 1.0), index=table.index)
    else:
        side = np.sign(qty).where(qty != 0, 1.0)
        guesses.append("no side: what has no negative quantity is long")
    whole = _numbers(table["fee"]).fillna(0.0) / 2 if "fee" in table else entry * 0.0
    fees = [
        _numbers(table[column]).fillna(0.0) if column in table else whole
        for column in ("entry_fee", "exit_fee")
    ]
    paid = _numbers(table["funding"]).fillna(0.0) if "funding" in table else entry * 0.0
    status = table["status"] if "status" in table else pd.Series("", index=table.index)
    is_open = status.astype(str).str.lower().isin(("open", "true"))
    signed = side * qty.abs()
    shared = {"symbol": table["symbol"], "trade": np.arange(len(table))}
    first = pd.DataFrame(
        {**shared, "moment": table["entered_at"], "qty": signed, "price": entry,
         "fee_usdt": fees[0], "funding_usdt": 0.0}
    )  # fmt: skip
    last = pd.DataFrame(
        {**shared, "moment": table["exited_at"], "qty": -signed, "price": leave,
         "fee_usdt": fees[1], "funding_usdt": paid}
    )  # fmt: skip
    return pd.concat([first, last[~is_open]], ignore_index=True)


def _order_fills(table: pd.DataFrame, guesses: list[str]) -> pd.DataFrame:
    words = table["side"].astype(str).str.lower().str.strip().str.removesuffix(".0")
    side = pd.Series(np.select([words.isin(BUYS), words.isin(SELLS)], [1.0, -1.0], np.nan))
    if side.isna().any():
        raise DataError(
            f"The side {words[side.isna()].iloc[0]!r} of an order is neither buy nor sell.",
            f"Write one of {', '.join((*BUYS[:4], *SELLS[:4]))}.",
        )
    guesses.append("orders are paired into trades from flat to flat")
    fee = _numbers(table["fee"]).fillna(0.0) if "fee" in table else 0.0
    return pd.DataFrame(
        {
            "symbol": table["symbol"],
            "trade": -1,
            "moment": table["moment"],
            "qty": side * _numbers(table["qty"]).abs(),
            "price": _numbers(table["price"]),
            "fee_usdt": fee,
            "funding_usdt": 0.0,
        }
    )


def _number_trades(fills: pd.DataFrame) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    held: dict[str, float] = {}
    number: dict[str, int] = {}
    for fill in fills.to_dict("records"):
        symbol, qty = str(fill["symbol"]), float(fill["qty"])
        before = held.get(symbol, 0.0)
        closing = float(np.sign(qty)) * min(abs(qty), abs(before)) if before * qty < 0 else 0.0
        for part in (closing, qty - closing):
            if abs(part) <= DUST * abs(qty):
                continue
            if abs(before) <= DUST * abs(part):
                before, number[symbol] = 0.0, max(number.values(), default=-1) + 1
            share = part / qty
            own = {"qty": part, "fee_usdt": fill["fee_usdt"] * share, "trade": number[symbol]}
            rows.append({str(key): value for key, value in fill.items()} | own)
            before += part
        held[symbol] = before
    return pd.DataFrame(rows)
