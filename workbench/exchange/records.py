"""Records of Bybit's V5 protocol, shared by client, streams, simulator and engine.

A field has the exchange's own name in snake case (``NAMES`` holds the exceptions, the REST name
before that of the push). Times are milliseconds since 1970 and end in ``_ms``, which the exchange
leaves out. Money is Decimal. None is what the exchange leaves empty: it does not apply, or is not
known; a price of 0 is none as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import ClassVar, Final, NamedTuple

from workbench.exchange.wire import Level, Names, Price, Row, read
from workbench.exchange.words import (
    CancelType,
    CreateType,
    ExecType,
    MarginMode,
    OrderStatus,
    OrderType,
    PositionIdx,
    PositionStatus,
    RejectReason,
    Side,
    SmpType,
    StopOrderType,
    TimeInForce,
    TpslMode,
    TransactionType,
    TriggerBy,
    TriggerDirection,
)

ZERO: Final = Decimal(0)


class Stamp(NamedTuple):
    """A value at a moment: a settled rate, an open interest."""

    time_ms: int
    value: Decimal


@dataclass(frozen=True, slots=True)
class Order:
    """An order as REST rows and the order stream show it."""

    symbol: str
    order_id: str
    side: Side
    order_type: OrderType
    qty: Decimal
    order_status: OrderStatus
    order_link_id: str = ""
    price: Price = None
    time_in_force: TimeInForce = TimeInForce.GTC
    leaves_qty: Decimal = ZERO
    leaves_value: Decimal = ZERO
    cum_exec_qty: Decimal = ZERO
    cum_exec_value: Decimal = ZERO
    cum_exec_fee: Decimal = ZERO
    cum_fee_detail: Mapping[str, Decimal] = field(default_factory=dict)
    avg_price: Price = None
    position_idx: PositionIdx = PositionIdx.ONE_WAY
    reduce_only: bool = False
    close_on_trigger: bool = False
    create_type: CreateType = CreateType.NONE
    cancel_type: CancelType = CancelType.NONE
    reject_reason: RejectReason = RejectReason.NONE
    stop_order_type: StopOrderType = StopOrderType.NONE
    trigger_price: Price = None
    trigger_direction: TriggerDirection = TriggerDirection.NONE
    trigger_by: TriggerBy = TriggerBy.NONE
    last_price_on_created: Price = None
    tpsl_mode: TpslMode = TpslMode.NONE
    take_profit: Price = None
    stop_loss: Price = None
    tp_trigger_by: TriggerBy = TriggerBy.NONE
    sl_trigger_by: TriggerBy = TriggerBy.NONE
    tp_limit_price: Price = None
    sl_limit_price: Price = None
    parent_order_link_id: str = ""
    smp_type: SmpType = SmpType.NONE
    smp_group: int = 0
    smp_order_id: str = ""
    closed_pnl: Decimal | None = None
    created_time_ms: int = 0
    updated_time_ms: int = 0


@dataclass(frozen=True, slots=True)
class ExtraFee:
    """A tax or levy on top of the fee of an execution."""

    fee_coin: str
    fee_type: str
    fee: Decimal
    fee_rate: Decimal = ZERO


@dataclass(frozen=True, slots=True)
class Execution:
    """A fill, a funding payment, a liquidation; the fast stream leaves fee and value unknown."""

    symbol: str
    exec_id: str
    order_id: str
    side: Side
    exec_price: Decimal
    exec_qty: Decimal
    exec_time_ms: int
    exec_type: ExecType = ExecType.TRADE
    order_link_id: str = ""
    order_type: OrderType = OrderType.UNKNOWN
    order_price: Price = None
    order_qty: Decimal | None = None
    leaves_qty: Decimal | None = None
    exec_value: Decimal | None = None
    exec_fee: Decimal | None = None
    fee_rate: Decimal | None = None
    fee_currency: str = ""
    extra_fees: tuple[ExtraFee, ...] = ()
    exec_pnl: Decimal | None = None
    closed_size: Decimal | None = None
    is_maker: bool = False
    stop_order_type: StopOrderType = StopOrderType.NONE
    create_type: CreateType = CreateType.NONE
    mark_price: Price = None
    index_price: Price = None
    seq: int = 0


@dataclass(frozen=True, slots=True)
class Position:
    """A position; ``size`` has no sign, and a flat one has no side."""

    NAMES: ClassVar[Names] = {
        "avg_price": ("avgPrice", "entryPrice"),
        "tpsl_mode": ("tpslMode", "tpSlMode"),
    }

    symbol: str
    size: Decimal
    position_idx: PositionIdx = PositionIdx.ONE_WAY
    side: Side | None = None
    avg_price: Price = None
    position_value: Decimal = ZERO
    leverage: Decimal | None = None
    mark_price: Price = None
    liq_price: Price = None
    bust_price: Price = None
    break_even_price: Price = None
    session_avg_price: Price = None
    position_im: Decimal | None = None
    position_im_by_mp: Decimal | None = None
    position_mm: Decimal | None = None
    position_mm_by_mp: Decimal | None = None
    position_balance: Decimal | None = None
    unrealised_pnl: Decimal = ZERO
    cur_realised_pnl: Decimal = ZERO
    cum_realised_pnl: Decimal = ZERO
    tpsl_mode: TpslMode = TpslMode.NONE
    take_profit: Price = None
    stop_loss: Price = None
    trailing_stop: Price = None
    active_price: Price = None
    position_status: PositionStatus = PositionStatus.NORMAL
    trade_mode: int = 0
    auto_add_margin: bool = False
    adl_rank_indicator: int = 0
    is_reduce_only: bool = False
    risk_id: int = 0
    risk_limit_value: Decimal | None = None
    created_time_ms: int = 0
    updated_time_ms: int = 0
    seq: int = 0

    @property
    def signed_size(self) -> Decimal:
        """The size with the sign of its side."""
        return self.size if self.side is None else self.side.sign * self.size


@dataclass(frozen=True, slots=True)
class Coin:
    """One coin of a wallet."""

    coin: str
    equity: Decimal
    wallet_balance: Decimal
    usd_value: Decimal | None = None
    locked: Decimal | None = None
    unrealised_pnl: Decimal = ZERO
    cum_realised_pnl: Decimal = ZERO
    total_order_im: Decimal | None = None
    total_position_im: Decimal | None = None
    total_position_mm: Decimal | None = None
    borrow_amount: Decimal = ZERO
    accrued_interest: Decimal = ZERO
    spot_borrow: Decimal = ZERO
    bonus: Decimal = ZERO
    margin_collateral: bool = True
    collateral_switch: bool = True


@dataclass(frozen=True, slots=True)
class Wallet:
    """A unified account in USD; margin that is counted by the position is None here."""

    total_equity: Decimal
    coin: tuple[Coin, ...]
    account_type: str = "UNIFIED"
    total_wallet_balance: Decimal | None = None
    total_margin_balance: Decimal | None = None
    total_available_balance: Decimal | None = None
    total_perp_upl: Decimal | None = None
    total_initial_margin: Decimal | None = None
    total_initial_margin_by_mp: Decimal | None = None
    total_maintenance_margin: Decimal | None = None
    total_maintenance_margin_by_mp: Decimal | None = None
    account_im_rate: Decimal | None = None
    account_im_rate_by_mp: Decimal | None = None
    account_mm_rate: Decimal | None = None
    account_mm_rate_by_mp: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Ticker:
    """The last state of a symbol; a push must be merged into the one before it is read."""

    symbol: str
    last_price: Price = None
    mark_price: Price = None
    index_price: Price = None
    bid1_price: Price = None
    bid1_size: Decimal | None = None
    ask1_price: Price = None
    ask1_size: Decimal | None = None
    funding_rate: Decimal | None = None
    funding_cap: Decimal | None = None
    funding_interval_hour: int | None = None
    next_funding_time_ms: int | None = None
    open_interest: Decimal | None = None
    open_interest_value: Decimal | None = None
    prev_price24h: Price = None
    price24h_pcnt: Decimal | None = None
    high_price24h: Price = None
    low_price24h: Price = None
    prev_price1h: Price = None
    volume24h: Decimal | None = None
    turnover24h: Decimal | None = None
    tick_direction: str = ""


@dataclass(frozen=True, slots=True)
class Book:
    """The levels of a book, the best first; in a delta of size 0 a level is gone."""

    NAMES: ClassVar[Names] = {
        "symbol": ("s",), "bids": ("b",), "asks": ("a",), "update_id": ("u",),
        "time_ms": ("ts",), "engine_ms": ("cts",),
    }  # fmt: skip

    symbol: str
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    update_id: int
    seq: int = 0
    time_ms: int = 0
    engine_ms: int = 0


@dataclass(frozen=True, slots=True)
class PublicTrade:
    """A trade of anybody; the side is the taker's."""

    NAMES: ClassVar[Names] = {
        "symbol": ("symbol", "s"), "exec_id": ("execId", "i"), "side": ("side", "S"),
        "price": ("price", "p"), "size": ("size", "v"), "time_ms": ("time", "T"),
        "tick_direction": ("L",), "is_block_trade": ("isBlockTrade", "BT"),
        "is_rpi_trade": ("isRPITrade", "RPI"),
    }  # fmt: skip

    symbol: str
    exec_id: str
    side: Side
    price: Decimal
    size: Decimal
    time_ms: int
    seq: int = 0
    tick_direction: str = ""
    is_block_trade: bool = False
    is_rpi_trade: bool = False


@dataclass(frozen=True, slots=True)
class Candle:
    """A bar by its start; mark, index and premium have no volume."""

    start_ms: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal | None = None
    turnover: Decimal | None = None
    interval: str = ""
    confirm: bool = True


@dataclass(frozen=True, slots=True)
class Liquidation:
    """A position that the exchange took over: ``Buy`` was a long, at its bankruptcy price."""

    NAMES: ClassVar[Names] = {
        "symbol": ("s",), "side": ("S",), "size": ("v",), "price": ("p",), "time_ms": ("T",)
    }  # fmt: skip

    symbol: str
    side: Side
    size: Decimal
    price: Decimal
    time_ms: int


@dataclass(frozen=True, slots=True)
class PriceLimit:
    """The highest price of a purchase and the lowest of a sale that are taken now."""

    NAMES: ClassVar[Names] = {"time_ms": ("ts",)}

    symbol: str
    buy_lmt: Decimal
    sell_lmt: Decimal
    time_ms: int = 0


@dataclass(frozen=True, slots=True)
class AdlAlert:
    """How near the insurance of a symbol is to the exchange reducing positions."""

    NAMES: ClassVar[Names] = {
        "coin": ("coin", "c"), "symbol": ("symbol", "s"), "balance": ("balance", "b"),
        "max_balance": ("maxBalance", "mb"), "insurance_pnl_ratio": ("insurancePnlRatio", "i_pr"),
        "pnl_ratio": ("pnlRatio", "pr"), "adl_trigger_threshold": ("adlTriggerThreshold", "adl_tt"),
        "adl_stop_ratio": ("adlStopRatio", "adl_sr"),
    }  # fmt: skip

    coin: str
    symbol: str
    balance: Decimal
    max_balance: Decimal
    insurance_pnl_ratio: Decimal
    pnl_ratio: Decimal
    adl_trigger_threshold: Decimal
    adl_stop_ratio: Decimal


@dataclass(frozen=True, slots=True)
class InsurancePool:
    """What insures a group of symbols, in its coin and in USD."""

    coin: str
    symbols: str
    balance: Decimal
    value: Decimal


@dataclass(frozen=True, slots=True)
class Maintenance:
    """An interruption of the exchange that was announced."""

    id: str
    title: str
    state: str
    begin_ms: int
    end_ms: int
    service_types: tuple[int, ...] = ()
    product: tuple[int, ...] = ()
    maintain_type: int = 0
    env: int = 0


@dataclass(frozen=True, slots=True)
class FeeRate:
    """What a symbol costs: fractions of the value of a fill."""

    symbol: str
    maker_fee_rate: Decimal
    taker_fee_rate: Decimal


@dataclass(frozen=True, slots=True)
class Transaction:
    """A row of the account's log: change = cash flow + funding - fee; funding is + if received."""

    type: TransactionType
    currency: str
    transaction_time_ms: int
    change: Decimal
    cash_balance: Decimal
    id: str = ""
    cash_flow: Decimal = ZERO
    funding: Decimal = ZERO
    fee: Decimal = ZERO
    fee_rate: Decimal = ZERO
    bonus_change: Decimal = ZERO
    symbol: str = ""
    side: Side | None = None
    qty: Decimal = ZERO
    size: Decimal = ZERO
    trade_price: Price = None
    trade_id: str = ""
    order_id: str = ""
    order_link_id: str = ""
    trans_sub_type: str = ""


@dataclass(frozen=True, slots=True)
class ClosedPnl:
    """What closing brought; its prices are by cost and not those of the executions."""

    symbol: str
    order_id: str
    side: Side
    closed_size: Decimal
    closed_pnl: Decimal
    avg_entry_price: Decimal
    avg_exit_price: Decimal
    cum_entry_value: Decimal
    cum_exit_value: Decimal
    qty: Decimal
    order_type: OrderType = OrderType.UNKNOWN
    order_price: Price = None
    exec_type: ExecType = ExecType.TRADE
    fill_count: int = 0
    leverage: Decimal | None = None
    open_fee: Decimal | None = None
    close_fee: Decimal | None = None
    created_time_ms: int = 0
    updated_time_ms: int = 0


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """What an API key may do."""

    NAMES: ClassVar[Names] = {"user_id": ("userID",)}

    id: str
    api_key: str
    user_id: int
    read_only: bool
    permissions: Mapping[str, tuple[str, ...]]
    ips: tuple[str, ...] = ()
    note: str = ""
    deadline_day: int = 0
    expired_at: str = ""
    uta: bool = False
    is_master: bool = True
    parent_uid: str = "0"
    vip_level: str = ""

    @property
    def can_withdraw(self) -> bool:
        """Whether the key could take money out of the exchange."""
        return any("Withdraw" in name for names in self.permissions.values() for name in names)

    @property
    def can_trade(self) -> bool:
        """Whether the key may write, and may send orders and set positions of derivatives."""
        granted = self.permissions.get("ContractTrade", ())
        return not self.read_only and {"Order", "Position"} <= set(granted)


@dataclass(frozen=True, slots=True)
class AccountInfo:
    """How an account is set up; a unified status of 3 or more is a unified account."""

    margin_mode: MarginMode
    unified_margin_status: int
    updated_time_ms: int = 0
    dcp_status: str = "OFF"
    smp_group: int = 0
    is_master_trader: bool = False
    spot_hedging_status: str = "OFF"

    @property
    def is_unified(self) -> bool:
        """Whether spot and derivatives share one margin."""
        return self.unified_margin_status >= 3


@dataclass(frozen=True, slots=True)
class OrderAck:
    """That a request was accepted, no more; of a batch, ``code`` is each order's own."""

    NAMES: ClassVar[Names] = {"message": ("msg",)}

    order_id: str = ""
    order_link_id: str = ""
    code: int = 0
    message: str = ""


@dataclass(frozen=True, slots=True)
class PreCheck:
    """Margin rates before and after an order, in hundredths of a per cent."""

    pre_imr_e4: int
    pre_mmr_e4: int
    post_imr_e4: int
    post_mmr_e4: int


parse_order = partial(read, Order)
parse_execution = partial(read, Execution)
parse_position = partial(read, Position)
parse_wallet = partial(read, Wallet)
parse_ticker = partial(read, Ticker)
parse_book = partial(read, Book)
parse_trade = partial(read, PublicTrade)
parse_liquidation = partial(read, Liquidation)
parse_price_limit = partial(read, PriceLimit)
parse_adl_alert = partial(read, AdlAlert)
parse_insurance = partial(read, InsurancePool)
parse_maintenance = partial(read, Maintenance)
parse_fee_rate = partial(read, FeeRate)
parse_transaction = partial(read, Transaction)
parse_closed_pnl = partial(read, ClosedPnl)
parse_key = partial(read, KeyInfo)
parse_account = partial(read, AccountInfo)
parse_ack = partial(read, OrderAck)

_CANDLE: Final = ("start", "open", "high", "low", "close", "volume", "turnover")


def parse_candle(row: Row | Sequence[str]) -> Candle:
    """Make a candle from a row of REST (a list of text) or a push."""
    return read(Candle, row if isinstance(row, Mapping) else dict(zip(_CANDLE, row, strict=False)))
