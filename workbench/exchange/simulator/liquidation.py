"""Liquidation: what happens to an account whose margin no longer covers its maintenance.

In steps, as the exchange does it: open orders are cancelled; positions in a high tier are brought
down to the tier below; what is left is taken over at its bankruptcy price, the dearest first, until
margin holds. The fund takes the difference to the mark; what it cannot bear, the other side of the
market bears by deleveraging at that same price.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from workbench.core import margin
from workbench.exchange import records
from workbench.exchange.simulator.accounts import Account
from workbench.exchange.simulator.orders import ZERO, LiveOrder
from workbench.exchange.simulator.positions import Position
from workbench.exchange.simulator.rules import cash
from workbench.exchange.words import CancelType, CreateType, ExecType, Side, TimeInForce

if TYPE_CHECKING:
    from workbench.exchange.simulator.matching import Matching


def check(sim: Matching, account: Account) -> None:
    """Liquidate what an account's margin does not cover on the marks of now."""
    if account.is_isolated:
        for position in account.held():
            if _is_due(position) and not _refill(sim, position):
                _cancel_orders(sim, account, position)
                _reduce(sim, position)
                if position.lots and _is_due(position):
                    _take_over(sim, position, position.bankruptcy_price(account.state()))
        return
    state = account.state()
    if not state.maintenance or state.balance > state.maintenance:
        return
    _cancel_orders(sim, account)
    for position in account.held():
        if not _is_safe(account):
            _reduce(sim, position)
    while account.held() and not _is_safe(account):
        position = max(account.held(), key=lambda held: held.margins().maintenance)
        _take_over(sim, position, _shared_price(account, position))


def _is_safe(account: Account) -> bool:
    state = account.state()
    return state.balance > state.maintenance


def _is_due(position: Position) -> bool:
    need = position.margins()
    return need.initial + position.extra + position.profit <= need.maintenance


def _refill(sim: Matching, position: Position) -> bool:
    # Margin is added of itself, as much as the position began with, where that is asked for.
    free = position.account.state().available
    if not position.auto_add or free <= 0:
        return False
    position.extra += cash(min(free, position.margins().initial))
    sim.note(position)
    return not _is_due(position)


def _cancel_orders(sim: Matching, account: Account, position: Position | None = None) -> None:
    for order in list(account.orders.values()):
        is_meant = position is None or order.position is position
        if is_meant and order.order_id in account.orders:
            sim.cancel(order, CancelType.ALL_BEFORE_LIQUIDATION)


def _shared_price(account: Account, position: Position) -> Decimal:
    # Every position gives up the same share of its value, the whole balance of the account.
    value = sum((held.size * held.market.mark for held in account.held()), ZERO)
    share = account.state().balance / value
    return position.market.mark * (1 - position.side * share)


def _reduce(sim: Matching, position: Position) -> None:
    # Down to the tier below, where there is one.
    contract, mark = position.contract, position.market.mark
    row = contract.tiers.index(contract.tier(position.size * mark))
    if not row:
        return
    kept = int(contract.tiers[row - 1].limit_usdt / (contract.step * mark))
    account = position.account
    price = (
        position.bankruptcy_price(account.state())
        if account.is_isolated
        else _shared_price(account, position)
    )
    close(sim, position, abs(position.lots) - kept, price, CreateType.LIQUIDATION)


def _take_over(sim: Matching, position: Position, price: Decimal) -> None:
    close(sim, position, abs(position.lots), price, CreateType.TAKE_OVER)


def close(
    sim: Matching,
    position: Position,
    lots: int,
    price: Decimal,
    how: CreateType,
    *,
    fee_rate: Decimal | None = None,
) -> None:
    """Close lots of a position at its bankruptcy price, against the insurance fund."""
    side, market = position.side, position.market
    if lots <= 0:
        return
    price = max(price, ZERO).quantize(Decimal("1e-12"))
    order = _force(sim, position, lots, how)
    rate = position.account.fee_to_close if fee_rate is None else fee_rate
    sim.fill(order, lots, price, rate=rate, exec_type=ExecType.BUST_TRADE)
    sim.tell(order)
    if "liquidation" in sim.wanted:
        record = records.Liquidation(
            market.symbol,
            Side.BUY if side > 0 else Side.SELL,
            market.contract.qty(lots),
            price,
            sim.now_ms,
        )
        sim.say("liquidation", market.symbol, record)
    gained = cash(margin.unrealised_pnl(price, market.mark, side * market.contract.qty(lots)))
    if sim.bank.insurance + gained < 0:
        deleverage(sim, market.symbol, side, lots, price)
        return
    sim.bank.insurance += gained
    sim.bank.market -= gained


def deleverage(sim: Matching, symbol: str, side: int, lots: int, price: Decimal) -> None:
    """Close positions against ``side`` at a price, the most profitable and leveraged first."""
    against = [
        position
        for account in sim.accounts.values()
        for position in account.held()
        if position.market.symbol == symbol and position.side == -side
    ]
    for position in sorted(against, key=_rank, reverse=True):
        share = min(lots, abs(position.lots))
        if not share:
            return
        reduce_by_exchange(sim, position, share, price)
        lots -= share


def reduce_by_exchange(sim: Matching, position: Position, lots: int, price: Decimal) -> None:
    """Deleverage a position: close lots of it at a price, free of fees."""
    for order in list(position.live.values()):
        sim.cancel(order, CancelType.ALL_BEFORE_ADL)
    order = _force(sim, position, lots, CreateType.ADL)
    sim.fill(order, lots, price, rate=ZERO, exec_type=ExecType.ADL_TRADE)
    sim.tell(order)


def _rank(position: Position) -> Decimal:
    value = position.size * position.market.mark
    balance = max(position.account.state().balance, cash(Decimal("0.01")))
    return position.profit / position.cost * (value / balance)


def _force(sim: Matching, position: Position, lots: int, how: CreateType) -> LiveOrder:
    order = LiveOrder(
        order_id="",
        position=position,
        sign=-position.side,
        lots=lots,
        is_market=True,
        tif=TimeInForce.IOC,
        reduce_only=True,
        create_type=how,
    )
    sim.register(order)
    return order
