"""The words of Bybit's V5 protocol: sides, states, reasons, modes."""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Self


class Side(StrEnum):
    """Which way an order or a trade goes; a flat position has none."""

    BUY = "Buy"
    SELL = "Sell"

    @property
    def sign(self) -> int:
        """1 for a purchase, -1 for a sale."""
        return 1 if self is Side.BUY else -1

    @property
    def opposite(self) -> Side:
        """The side that undoes this one."""
        return Side.SELL if self is Side.BUY else Side.BUY


class Word(StrEnum):
    """A set of words that the exchange may extend: a new one is kept as it stands.

    UNKNOWN is another way in which it says none.
    """

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str):
            return None
        if value == "UNKNOWN" and "NONE" in cls.__members__:
            return cls["NONE"]
        member = str.__new__(cls, value)
        member._name_ = member._value_ = value
        return member


class OrderType(Word):
    """How an order is priced; funding and liquidation carry UNKNOWN."""

    MARKET = "Market"
    LIMIT = "Limit"
    UNKNOWN = "UNKNOWN"


class TimeInForce(Word):
    """How long an order waits."""

    GTC = "GTC"
    IOC = "IOC"
    FOK = "FOK"
    POST_ONLY = "PostOnly"


class OrderStatus(Word):
    """Where an order stands; a status that is not known here counts as open."""

    NEW = "New"
    PARTIALLY_FILLED = "PartiallyFilled"
    UNTRIGGERED = "Untriggered"
    TRIGGERED = "Triggered"
    REJECTED = "Rejected"
    FILLED = "Filled"
    CANCELLED = "Cancelled"
    DEACTIVATED = "Deactivated"
    PARTIALLY_FILLED_CANCELED = "PartiallyFilledCanceled"

    @property
    def is_final(self) -> bool:
        """Whether nothing follows; a cancelled order may carry fills."""
        return self in _FINAL


_FINAL = frozenset({"Rejected", "Filled", "Cancelled", "Deactivated", "PartiallyFilledCanceled"})


class StopOrderType(Word):
    """What a conditional order is for."""

    NONE = ""
    STOP = "Stop"
    TAKE_PROFIT = "TakeProfit"
    STOP_LOSS = "StopLoss"
    TRAILING_STOP = "TrailingStop"
    PARTIAL_TAKE_PROFIT = "PartialTakeProfit"
    PARTIAL_STOP_LOSS = "PartialStopLoss"
    TPSL_ORDER = "tpslOrder"
    MM_RATE_CLOSE = "MmRateClose"


class ExecType(Word):
    """What an execution is: only some are trades of one's own."""

    TRADE = "Trade"
    FUNDING = "Funding"
    ADL_TRADE = "AdlTrade"
    BUST_TRADE = "BustTrade"
    SETTLE = "Settle"
    DELIVERY = "Delivery"
    BLOCK_TRADE = "BlockTrade"
    MOVE_POSITION = "MovePosition"


class CreateType(Word):
    """Who or what made an order."""

    NONE = ""
    USER = "CreateByUser"
    STOP_ORDER = "CreateByStopOrder"
    TAKE_PROFIT = "CreateByTakeProfit"
    PARTIAL_TAKE_PROFIT = "CreateByPartialTakeProfit"
    STOP_LOSS = "CreateByStopLoss"
    PARTIAL_STOP_LOSS = "CreateByPartialStopLoss"
    TRAILING_STOP = "CreateByTrailingStop"
    TRAILING_PROFIT = "CreateByTrailingProfit"
    CLOSING = "CreateByClosing"
    ADMIN_CLOSING = "CreateByAdminClosing"
    SETTLE = "CreateBySettle"
    LIQUIDATION = "CreateByLiq"
    TAKE_OVER = "CreateByTakeOver_PassThrough"
    ADL = "CreateByAdl_PassThrough"


class CancelType(Word):
    """Who or what cancelled an order."""

    NONE = ""
    USER = "CancelByUser"
    REDUCE_ONLY = "CancelByReduceOnly"
    PREPARE_LIQUIDATION = "CancelByPrepareLiq"
    ALL_BEFORE_LIQUIDATION = "CancelAllBeforeLiq"
    PREPARE_ADL = "CancelByPrepareAdl"
    ALL_BEFORE_ADL = "CancelAllBeforeAdl"
    ADMIN = "CancelByAdmin"
    SETTLE = "CancelBySettle"
    TPSL_CLEAR = "CancelByTpSlTsClear"
    SELF_MATCH = "CancelBySmp"
    DISCONNECT = "CancelByDCP"


class RejectReason(Word):
    """Why an order was refused or ended by the matching."""

    NONE = ""
    NO_ERROR = "EC_NoError"
    OTHERS = "EC_Others"
    PER_CANCEL_REQUEST = "EC_PerCancelRequest"
    POST_ONLY_WOULD_TAKE = "EC_PostOnlyWillTakeLiquidity"
    NO_ENOUGH_QTY = "EC_NoEnoughQtyToFill"
    NO_IMMEDIATE_QTY = "EC_NoImmediateQtyToFill"
    NO_FULL_FILL = "EC_CancelForNoFullFill"
    SELF_MATCH = "EC_BySelfMatch"
    UNKNOWN_ORDER = "EC_OrigClOrdIDDoesNotExist"
    TOO_LATE_TO_CANCEL = "EC_TooLateToCancel"
    INVALID_SYMBOL_STATUS = "EC_InvalidSymbolStatus"
    REACHED_MAX_TRADES = "EC_ReachMaxTradeNum"
    ZERO_QTY = "EC_QtyCannotBeZero"


class TriggerBy(Word):
    """Which price sets off a conditional order."""

    NONE = ""
    LAST = "LastPrice"
    MARK = "MarkPrice"
    INDEX = "IndexPrice"


class TpslMode(Word):
    """Whether take-profit and stop-loss close the whole position or a part."""

    NONE = ""
    FULL = "Full"
    PARTIAL = "Partial"


class SmpType(Word):
    """Which order yields where two of one's own would meet."""

    NONE = "None"
    CANCEL_MAKER = "CancelMaker"
    CANCEL_TAKER = "CancelTaker"
    CANCEL_BOTH = "CancelBoth"


class PositionStatus(Word):
    """Whether a position is being liquidated or reduced by the exchange."""

    NORMAL = "Normal"
    LIQUIDATION = "Liq"
    ADL = "Adl"


class MarginMode(Word):
    """What stands in for the positions of an account."""

    CROSS = "REGULAR_MARGIN"
    ISOLATED = "ISOLATED_MARGIN"
    PORTFOLIO = "PORTFOLIO_MARGIN"


class TransactionType(Word):
    """What moved the wallet."""

    TRADE = "TRADE"
    SETTLEMENT = "SETTLEMENT"
    TRANSFER_IN = "TRANSFER_IN"
    TRANSFER_OUT = "TRANSFER_OUT"
    LIQUIDATION = "LIQUIDATION"
    ADL = "ADL"
    BONUS = "BONUS"
    INTEREST = "INTEREST"


class PositionIdx(IntEnum):
    """Which position of a symbol: the one, or in hedge mode the long or the short one."""

    ONE_WAY = 0
    LONG = 1
    SHORT = 2


class PositionMode(IntEnum):
    """One position a symbol, or a long and a short one beside each other."""

    ONE_WAY = 0
    HEDGE = 3


class TriggerDirection(IntEnum):
    """Which way the price must cross the trigger; 0 where nothing waits for one."""

    NONE = 0
    RISE = 1
    FALL = 2
