"""What the simulator's state looks like as records."""

from __future__ import annotations

from decimal import Decimal
from types import MappingProxyType
from typing import Final

from workbench.exchange import records
from workbench.exchange.simulator.accounts import Account, State
from workbench.exchange.simulator.orders import ZERO, LiveOrder
from workbench.exchange.simulator.positions import Closing, Position
from workbench.exchange.simulator.rules import cash
from workbench.exchange.words import (
    ExecType,
    OrderType,
    PositionIdx,
    Side,
    StopOrderType,
    TpslMode,
    TransactionType,
    TriggerDirection,
)

NO_FEES: Final[MappingProxyType[str, Decimal]] = MappingProxyType({})
SIDES: Final = {1: Side.BUY, -1: Side.SELL}
KINDS: Final = {True: OrderType.MARKET, False: OrderType.LIMIT}
INDEXES, DIRECTIONS = tuple(PositionIdx), tuple(TriggerDirection)
WHOLE = (StopOrderType.TAKE_PROFIT, StopOrderType.STOP_LOSS, StopOrderType.TRAILING_STOP)


def order_record(order: LiveOrder) -> records.Order:
    """Return an order as it stands."""
    contract, position = order.position.contract, order.position
    limit = contract.tick * order.ticks if order.ticks else None
    filled = contract.step * order.filled
    leaves = ZERO if order.status.is_final else contract.step * order.leaves
    return records.Order(
        symbol=contract.symbol, order_id=order.order_id, side=SIDES[order.sign],
        order_type=KINDS[order.is_market], qty=contract.step * order.lots,
        order_status=order.status, order_link_id=order.link, price=limit, time_in_force=order.tif,
        leaves_qty=leaves, leaves_value=ZERO if limit is None else leaves * limit,
        cum_exec_qty=filled, cum_exec_value=order.value, cum_exec_fee=order.fee,
        cum_fee_detail={"USDT": order.fee} if order.fee else NO_FEES,
        avg_price=order.value / filled if order.filled else None,
        position_idx=INDEXES[position.idx], reduce_only=order.reduce_only,
        close_on_trigger=order.close_on_trigger, create_type=order.create_type,
        cancel_type=order.cancel_type, reject_reason=order.reject,
        stop_order_type=order.stop_type, trigger_price=order.trigger or None,
        trigger_direction=DIRECTIONS[order.direction], trigger_by=order.trigger_by,
        last_price_on_created=order.last_on_created, tpsl_mode=order.tpsl_mode,
        take_profit=order.take_profit, stop_loss=order.stop_loss, tp_trigger_by=order.tp_by,
        sl_trigger_by=order.sl_by, tp_limit_price=order.tp_limit, sl_limit_price=order.sl_limit,
        parent_order_link_id=order.parent_link, smp_type=order.smp,
        smp_group=position.account.smp_group, smp_order_id=order.smp_order_id,
        closed_pnl=order.closed_pnl, created_time_ms=order.created_ms,
        updated_time_ms=order.updated_ms,
    )  # fmt: skip


def execution_record(
    order: LiveOrder, exec_id: str, lots: int, price: Decimal, value: Decimal, fee: Decimal,
    rate: Decimal, closing: Closing, *, is_maker: bool, exec_type: ExecType, moment: int,
) -> records.Execution:  # fmt: skip
    """Return a fill of an order."""
    contract, market = order.position.contract, order.position.market
    return records.Execution(
        symbol=contract.symbol, exec_id=exec_id, order_id=order.order_id, side=SIDES[order.sign],
        exec_price=price, exec_qty=contract.step * lots, exec_time_ms=moment, exec_type=exec_type,
        order_link_id=order.link, order_type=KINDS[order.is_market],
        order_price=contract.tick * order.ticks, order_qty=contract.step * order.lots,
        leaves_qty=contract.step * order.leaves, exec_value=value, exec_fee=fee, fee_rate=rate,
        exec_pnl=closing.profit, closed_size=contract.step * closing.lots, is_maker=is_maker,
        stop_order_type=order.stop_type, create_type=order.create_type, mark_price=market.mark,
        index_price=market.index, seq=market.seq,
    )  # fmt: skip


def funding_record(
    position: Position, exec_id: str, paid: Decimal, rate: Decimal, moment: int
) -> records.Execution:
    """Return a payment of funding, which is listed among the fills; a fee above 0 was paid."""
    market = position.market
    return records.Execution(
        symbol=market.symbol, exec_id=exec_id, order_id=exec_id, side=SIDES[position.side],
        exec_price=market.mark, exec_qty=position.size, exec_time_ms=moment,
        exec_type=ExecType.FUNDING, order_price=ZERO, order_qty=ZERO, leaves_qty=ZERO,
        exec_value=cash(position.size * market.mark), exec_fee=paid, fee_rate=rate,
        closed_size=ZERO, mark_price=market.mark, index_price=market.index, seq=market.seq,
    )  # fmt: skip


def position_record(position: Position, state: State) -> records.Position:
    """Return a position as it stands on the mark of now."""
    contract, account, market = position.contract, position.account, position.market
    need, size = position.margins(), position.size
    stops = {stop.stop_type: stop for stop in position.stops}
    take, loss, trail = (stops.get(kind) for kind in WHOLE)
    tier = contract.tier(size * market.mark)
    entry = even = bust = None
    if position.lots:
        entry = position.cost / size
        costs = account.taker * position.cost + position.open_fee
        even = (position.cost + position.side * costs) / size
        bust = max(position.bankruptcy_price(state), ZERO) or None
    return records.Position(
        symbol=contract.symbol, size=size, position_idx=INDEXES[position.idx],
        side=SIDES.get(position.side), avg_price=entry, position_value=position.cost,
        leverage=position.leverage, mark_price=market.mark,
        liq_price=position.liquidation_price(state), bust_price=bust, break_even_price=even,
        position_im=need.initial, position_im_by_mp=need.initial, position_mm=need.maintenance,
        position_mm_by_mp=need.maintenance, position_balance=need.initial + position.extra,
        unrealised_pnl=position.profit, cur_realised_pnl=position.realised,
        cum_realised_pnl=position.realised_ever, tpsl_mode=TpslMode.FULL,
        take_profit=take.trigger if take else None, stop_loss=loss.trigger if loss else None,
        trailing_stop=trail.distance if trail else None,
        active_price=trail.active or None if trail else None, trade_mode=int(account.is_isolated),
        auto_add_margin=position.auto_add, risk_id=contract.tiers.index(tier) + 1,
        risk_limit_value=tier.limit_usdt, created_time_ms=position.opened_ms,
        updated_time_ms=position.updated_ms, seq=position.seq,
    )  # fmt: skip


def wallet_record(account: Account, state: State) -> records.Wallet:
    """Return the wallet on the marks of now; account-wide margin only where it is shared."""
    equity = account.wallet + state.profit
    coin = records.Coin(
        coin="USDT", equity=equity, usd_value=equity, wallet_balance=account.wallet, locked=ZERO,
        unrealised_pnl=state.profit, cum_realised_pnl=account.realised,
        total_order_im=state.ordered, total_position_im=state.initial,
        total_position_mm=state.maintenance,
    )  # fmt: skip
    if account.is_isolated:
        return records.Wallet(
            total_equity=equity, coin=(coin,), total_wallet_balance=account.wallet,
            total_perp_upl=state.profit,
        )  # fmt: skip
    initial = state.initial + state.ordered
    base = state.balance + state.order_loss
    im_rate, mm_rate = (initial / base, state.maintenance / base) if base > 0 else (ZERO, ZERO)
    return records.Wallet(
        total_equity=equity, coin=(coin,), total_wallet_balance=account.wallet,
        total_margin_balance=state.balance, total_perp_upl=state.profit,
        total_available_balance=max(ZERO, state.available),
        total_initial_margin=initial, total_initial_margin_by_mp=initial,
        total_maintenance_margin=state.maintenance,
        total_maintenance_margin_by_mp=state.maintenance, account_im_rate=im_rate,
        account_im_rate_by_mp=im_rate, account_mm_rate=mm_rate, account_mm_rate_by_mp=mm_rate,
    )  # fmt: skip


def closed_record(order: LiveOrder) -> records.ClosedPnl:
    """Return what an order closed: by cost, with both fees taken off the profit."""
    contract = order.position.contract
    size = contract.step * order.closed_lots
    return records.ClosedPnl(
        symbol=contract.symbol, order_id=order.order_id, side=SIDES[order.sign], closed_size=size,
        closed_pnl=order.closed_pnl - order.open_fee - order.close_fee,
        avg_entry_price=order.closed_cost / size, avg_exit_price=order.closed_value / size,
        cum_entry_value=order.closed_cost, cum_exit_value=order.closed_value,
        qty=contract.step * order.lots, order_type=KINDS[order.is_market],
        order_price=contract.tick * order.ticks if order.ticks else None,
        exec_type=order.exec_type, fill_count=order.n_fills, leverage=order.position.leverage,
        open_fee=order.open_fee, close_fee=order.close_fee, created_time_ms=order.created_ms,
        updated_time_ms=order.updated_ms,
    )  # fmt: skip


def transaction_record(
    position: Position, kind: TransactionType, identity: str, *, moment: int, sign: int, lots: int,
    price: Decimal, flow: Decimal = ZERO, funding: Decimal = ZERO, fee: Decimal = ZERO,
    rate: Decimal = ZERO, order: LiveOrder | None = None,
) -> records.Transaction:  # fmt: skip
    """Return a row of the log: the change, and what the wallet held after it."""
    step = position.contract.step
    return records.Transaction(
        id=identity, type=kind, currency="USDT", transaction_time_ms=moment,
        change=flow + funding - fee, cash_balance=position.account.wallet, cash_flow=flow,
        funding=funding, fee=fee, fee_rate=rate, symbol=position.contract.symbol, side=SIDES[sign],
        qty=step * lots, size=step * position.lots, trade_price=price, trade_id=identity,
        order_id=order.order_id if order else identity, order_link_id=order.link if order else "",
    )  # fmt: skip
