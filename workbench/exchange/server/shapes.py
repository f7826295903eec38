"""Records as V5 JSON: one writer, driven by the types of the fields, and what each form adds.

It is the inverse of ``exchange.wire.read``. A form lists what the exchange sends besides the
record (``always``) and which fields of the record it leaves out (``without``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from decimal import Decimal
from enum import IntEnum, StrEnum
from functools import cache, partial
from typing import Any, Final, get_args, get_type_hints

from workbench.exchange.records import (
    AccountInfo,
    Book,
    Candle,
    ClosedPnl,
    Coin,
    Execution,
    FeeRate,
    Liquidation,
    Order,
    Position,
    PublicTrade,
    Ticker,
    Transaction,
    Wallet,
)
from workbench.exchange.wire import Level, plain_text, wire_names

Json = dict[str, Any]
Convert = Callable[[Any], Any]


@dataclass(frozen=True, eq=False)
class Form:
    """How a record is written: in a REST row or in a push."""

    record: type
    is_push: bool = False
    without: frozenset[str] = frozenset()
    always: Mapping[str, Any] | None = None
    empty: Mapping[str, str] | None = None
    numbers: frozenset[str] = frozenset()
    """Fields sent as JSON numbers, whatever they are here."""
    names: Mapping[str, str] | None = None
    """Names that this form alone has."""

    def __call__(self, record: Any) -> Json:
        """Return the record as the exchange sends it."""
        row = dict(self.always or {})
        for field, name, convert in _plan(self):
            row[name] = convert(getattr(record, field))
        return row


@cache
def _plan(form: Form) -> list[tuple[str, str, Convert]]:
    hints, names = get_type_hints(form.record), wire_names(form.record)
    plan = []
    for field in fields(form.record):
        if field.name not in form.without:
            name = names[field.name][-1 if form.is_push else 0]
            name = (form.names or {}).get(field.name, name)
            empty = (form.empty or {}).get(field.name, "")
            is_number = field.name in form.numbers
            plan.append((field.name, name, _converter(field.name, hints, empty, is_number)))
    return plan


def _converter(name: str, hints: Mapping[str, Any], empty: str, is_number: bool) -> Convert:
    hint = hints[name]
    kinds = {hint, *get_args(hint)}
    if Decimal in kinds and hint != Mapping[str, Decimal]:
        return partial(_amount, empty)
    if is_number:
        return int
    if name.endswith("_ms") or kinds >= {int, type(None)}:
        return partial(_text, empty)
    return _CONVERTERS.get(hint) or _by_kind(hint, empty)


def _by_kind(hint: Any, empty: str) -> Convert:
    kinds = [kind for kind in (hint, *get_args(hint)) if isinstance(kind, type)]
    if any(issubclass(kind, StrEnum) for kind in kinds):
        return partial(_word, empty)
    if any(issubclass(kind, IntEnum) for kind in kinds):
        return int
    return _same


def _amount(empty: str, value: Decimal | None) -> str:
    return empty if value is None else plain_text(value)


def _text(empty: str, value: int | None) -> str:
    return empty if value is None else str(value)


def _word(empty: str, value: StrEnum | None) -> str:
    return str(value or "") or empty


def _same(value: Any) -> Any:
    return value


def _coin(coin: Coin) -> Json:
    return COIN(coin)


_CONVERTERS: Final[Mapping[Any, Convert]] = {
    Mapping[str, Decimal]: lambda row: {name: plain_text(value) for name, value in row.items()},
    tuple[Coin, ...]: lambda coins: list(map(_coin, coins)),
}

_ORDER_ALWAYS: Final = {
    "blockTradeId": "", "orderIv": "", "placeType": "", "rpiTakerAccess": False,
    "rpiMatchedQty": "0",
}  # fmt: skip
_ORDER_EMPTY: Final = {"cancel_type": "UNKNOWN", "reject_reason": "EC_NoError"}
ORDER: Final = Form(
    Order,
    without=frozenset({"closed_pnl"}),
    always={
        **_ORDER_ALWAYS, "isLeverage": "", "slippageToleranceType": "UNKNOWN",
        "slippageTolerance": "", "extraFees": "",
    },
    empty=_ORDER_EMPTY,
)  # fmt: skip
ORDER_PUSH: Final = Form(
    Order,
    is_push=True,
    always={**_ORDER_ALWAYS, "category": "linear", "feeCurrency": "USDT"},
    empty={**_ORDER_EMPTY, "closed_pnl": "0"},
)
_EXECUTION_ALWAYS: Final = {
    "underlyingPrice": "", "tradeIv": "", "markIv": "", "blockTradeId": "", "extraFees": "",
}  # fmt: skip
EXECUTION: Final = Form(
    Execution, without=frozenset({"extra_fees", "exec_pnl"}), always=_EXECUTION_ALWAYS
)
EXECUTION_PUSH: Final = Form(
    Execution,
    is_push=True,
    without=frozenset({"extra_fees"}),
    always={**_EXECUTION_ALWAYS, "category": "linear", "isLeverage": "0", "marketUnit": ""},
)
_FAST: Final = (
    "symbol", "exec_id", "exec_price", "exec_qty", "order_id", "is_maker", "order_link_id", "side",
    "exec_time_ms", "seq",
)  # fmt: skip
EXECUTION_FAST: Final = Form(
    Execution,
    is_push=True,
    without=frozenset({field.name for field in fields(Execution)} - set(_FAST)),
    always={"category": "linear"},
)
_POSITION_EMPTY: Final = {
    "avg_price": "0", "trailing_stop": "0", "session_avg_price": "", "tpsl_mode": "Full",
}  # fmt: skip
POSITION: Final = Form(
    Position,
    without=frozenset({"active_price"}),
    numbers=frozenset({"auto_add_margin"}),
    always={"mmrSysUpdateTime": "", "leverageSysUpdatedTime": ""},
    empty=_POSITION_EMPTY,
)
POSITION_PUSH: Final = Form(
    Position,
    is_push=True,
    without=frozenset({"active_price"}),
    numbers=frozenset({"auto_add_margin"}),
    always={"category": "linear", "mmrSysUpdatedTime": "", "leverageSysUpdatedTime": ""},
    names={"tpsl_mode": "tpslMode"},
    empty={**_POSITION_EMPTY, "take_profit": "0", "stop_loss": "0"},
)
COIN: Final = Form(
    Coin, always={"availableToWithdraw": "", "availableToBorrow": "", "spotHedgingQty": "0"}
)
WALLET: Final = Form(Wallet, always={"accountLTV": "0"})
ACCOUNT: Final = Form(AccountInfo, always={"timeWindow": 10})
FEE_RATE: Final = Form(FeeRate)
TRANSACTION: Final = Form(Transaction, always={"category": "linear", "extraFees": ""})
CLOSED_PNL: Final = Form(ClosedPnl)
TICKER: Final = Form(
    Ticker,
    without=frozenset({"tick_direction"}),
    always={
        "predictedDeliveryPrice": "", "basisRate": "", "deliveryFeeRate": "", "deliveryTime": "0",
        "basis": "", "preOpenPrice": "", "preQty": "", "curPreListingPhase": "",
        "basisRateYear": "",
    },
)  # fmt: skip
TICKER_PUSH: Final = Form(
    Ticker, is_push=True, always={"preOpenPrice": "", "preQty": "", "curPreListingPhase": ""}
)


def write_candle(candle: Candle) -> list[str]:
    """Return a REST row of a candle: five columns, seven where volume is known."""
    prices = (candle.open, candle.high, candle.low, candle.close)
    row = [str(candle.start_ms), *map(plain_text, prices)]
    if candle.volume is not None and candle.turnover is not None:
        row += [plain_text(candle.volume), plain_text(candle.turnover)]
    return row


def push_candle(candle: Candle, *, end_ms: int, now_ms: int) -> Json:
    """Return the push of a candle; ``end_ms`` is its last millisecond."""
    start, first, high, low, close, *rest = write_candle(candle)
    volume, turnover = rest or ("0", "0")
    return {
        "start": int(start), "end": end_ms, "interval": candle.interval, "open": first,
        "close": close, "high": high, "low": low, "volume": volume, "turnover": turnover,
        "confirm": candle.confirm, "timestamp": now_ms,
    }  # fmt: skip


def write_trade(trade: PublicTrade) -> Json:
    """Return a REST row of a public trade."""
    return {
        "execId": trade.exec_id, "symbol": trade.symbol, "price": plain_text(trade.price),
        "size": plain_text(trade.size), "side": str(trade.side), "time": str(trade.time_ms),
        "isBlockTrade": trade.is_block_trade, "isRPITrade": trade.is_rpi_trade,
        "seq": str(trade.seq),
    }  # fmt: skip


def push_trade(trade: PublicTrade) -> Json:
    """Return the push of a public trade."""
    return {
        "T": trade.time_ms, "s": trade.symbol, "S": str(trade.side), "v": plain_text(trade.size),
        "p": plain_text(trade.price), "L": trade.tick_direction or "ZeroPlusTick",
        "i": trade.exec_id, "BT": trade.is_block_trade, "seq": trade.seq,
    }  # fmt: skip


def push_liquidation(liquidation: Liquidation) -> Json:
    """Return the push of a liquidation."""
    return {
        "T": liquidation.time_ms, "s": liquidation.symbol, "S": str(liquidation.side),
        "v": plain_text(liquidation.size), "p": plain_text(liquidation.price),
    }  # fmt: skip


def write_levels(levels: Sequence[Level]) -> list[list[str]]:
    """Return one side of a book."""
    return [[plain_text(price), plain_text(size)] for price, size in levels]


def write_book(book: Book) -> Json:
    """Return a book as REST gives it."""
    return {
        "s": book.symbol, "b": write_levels(book.bids), "a": write_levels(book.asks),
        "ts": book.time_ms, "u": book.update_id, "seq": book.seq, "cts": book.engine_ms,
    }  # fmt: skip
