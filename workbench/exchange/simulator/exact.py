"""The candle-exact mode: the backtest's fills and path inside the bar, for orders of any account.

Orders that were taken before a bar opens fill at its open with half the spread and the slippage.
When it ends, in this order: limits that were traded through fill as makers; liquidation at the
worst mark that a position can meet before its stop; brackets, the worse first; other conditional
orders. See ``docs/backtest.md``: the kernel's rules are the specification, the only difference is
that money is Decimal.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Final, NamedTuple

from workbench.core import margin
from workbench.core.costs import BASIS_POINT, taker_price
from workbench.exchange.simulator import liquidation
from workbench.exchange.simulator.accounts import Account
from workbench.exchange.simulator.markets import SymbolMarket
from workbench.exchange.simulator.orders import ZERO, LiveOrder
from workbench.exchange.simulator.positions import Position
from workbench.exchange.words import (
    CancelType,
    CreateType,
    OrderStatus,
    RejectReason,
    StopOrderType,
    TimeInForce,
)

if TYPE_CHECKING:
    from workbench.exchange.simulator.matching import Matching

FIELDS: Final = ("open", "high", "low", "close", "mark_high", "mark_low", "mark_close")
HALTS: Final = (StopOrderType.STOP_LOSS, StopOrderType.TRAILING_STOP)


class Bar(NamedTuple):
    """A bar as the source has it, unrounded."""

    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    mark_high: Decimal
    mark_low: Decimal
    mark_close: Decimal


def open_bars(sim: Matching, bars: Mapping[str, Bar]) -> None:
    """Fill what was decided before the bar: market orders, and limits that the open meets."""
    for symbol, bar in bars.items():
        market = sim.markets[symbol]
        market.last = bar.open
        for side in (1, -1):
            for order in market.book.resting(side):
                limit = market.contract.price(order.ticks)
                if order.is_market or side * (bar.open - limit) <= 0:
                    _take(sim, order, bar.open)
                elif order.tif in (TimeInForce.IOC, TimeInForce.FOK):
                    sim.cancel(order, reject=RejectReason.NO_IMMEDIATE_QTY)


def close_bars(sim: Matching, bars: Mapping[str, Bar]) -> None:
    """Let everything inside the bar happen, and set the prices of its end."""
    for symbol, bar in bars.items():
        _fill_limits(sim, sim.markets[symbol], bar)
    for account in sim.accounts.values():
        if any(position.market.symbol in bars for position in account.held()):
            _liquidate(sim, account, bars)
    for symbol, bar in bars.items():
        market = sim.markets[symbol]
        for account in sim.accounts.values():
            for position in account.held():
                if position.market is market:
                    _exit_brackets(sim, position, bar)
        _fire_others(sim, market, bar)
        market.last = bar.close
        market.mark = market.index = bar.mark_close


def _take(sim: Matching, order: LiveOrder, mid: Decimal) -> None:
    if order.tif is TimeInForce.POST_ONLY:
        sim.cancel(order, reject=RejectReason.POST_ONLY_WOULD_TAKE)
        return
    sim.fill(order, order.leaves, _taker_price(sim, mid, order.sign))
    sim.tell(order)


def _taker_price(sim: Matching, mid: Decimal, sign: int) -> Decimal:
    costs = sim.settings.costs
    slip = Decimal(repr((costs.spread_bps / 2 + costs.slippage_bps) * BASIS_POINT))
    return taker_price(mid, Decimal(sign), slip, ZERO)


def _fill_limits(sim: Matching, market: SymbolMarket, bar: Bar) -> None:
    for side in (1, -1):
        for order in market.book.resting(side):
            limit = market.contract.price(order.ticks)
            is_through = limit > bar.low if side > 0 else limit < bar.high
            if is_through and order.order_id in order.position.account.orders:
                sim.fill(order, order.leaves, limit, is_maker=True)
                sim.tell(order)


def _halt(position: Position) -> LiveOrder | None:
    # The nearer of stop-loss and trailing stop.
    stops = [s for s in position.stops if s.stop_type in HALTS and s.trigger]
    nearest = None
    for stop in sorted(stops, key=lambda s: s.stop_type is StopOrderType.TRAILING_STOP):
        if nearest is None or position.side * (stop.trigger - nearest.trigger) > 0:
            nearest = stop
    return nearest


def _met(position: Position, bar: Bar, stop: LiveOrder | None) -> Decimal | None:
    # Where a stop closes: at its level, or at the open beyond it; None where it is not touched.
    if stop is None:
        return None
    side, level = position.side, stop.trigger
    adverse = bar.low if side > 0 else bar.high
    if side * (adverse - level) > 0:
        return None
    return bar.open if side * (bar.open - level) < 0 else level


def _worst(position: Position, bars: Mapping[str, Bar]) -> Decimal:
    bar = bars.get(position.market.symbol)
    if bar is None:
        return position.market.mark
    met = _met(position, bar, _halt(position))
    if met is not None:
        return met
    return bar.mark_low if position.side > 0 else bar.mark_high


def _liquidate(sim: Matching, account: Account, bars: Mapping[str, Bar]) -> None:
    held = account.held()
    worst = {id(position): _worst(position, bars) for position in held}
    if account.is_isolated:
        for position in held:
            level = position.liquidation_price(account.state())
            if level is not None and position.side * (worst[id(position)] - level) <= 0:
                _take_over(
                    sim, position, position.bankruptcy_price(account.state()), worst[id(position)]
                )
        return
    equity, needed, value = account.wallet, ZERO, ZERO
    for position in held:
        price = worst[id(position)]
        tier = position.contract.tier(position.size * price)
        value += position.size * price
        equity += margin.unrealised_pnl(position.entry, price, position.side * position.size)
        needed += margin.maintenance_margin(
            position.size * price, tier.maintenance_rate, tier.deduction_usdt
        )
    if value == 0 or equity > needed:
        return
    for order in list(account.orders.values()):
        if order.order_id in account.orders:
            sim.cancel(order, CancelType.ALL_BEFORE_LIQUIDATION)
    for position in held:
        price = worst[id(position)]
        _take_over(sim, position, price * (1 - position.side * equity / value), price)


def _take_over(sim: Matching, position: Position, price: Decimal, mark: Decimal) -> None:
    position.market.mark = mark
    liquidation.close(sim, position, abs(position.lots), price, CreateType.TAKE_OVER, fee_rate=ZERO)


def _exit_brackets(sim: Matching, position: Position, bar: Bar) -> None:
    side = position.side
    favour = bar.high if side > 0 else bar.low
    stop = _halt(position)
    met = _met(position, bar, stop)
    if stop is not None and met is not None:
        _leave(sim, stop, met)
        return
    for take in [s for s in position.stops if s.stop_type is StopOrderType.TAKE_PROFIT]:
        if side * (favour - take.trigger) >= 0:
            gapped = side * (bar.open - take.trigger) > 0
            _leave(sim, take, bar.open if gapped else take.trigger)
            return
    for trail in [s for s in position.stops if s.distance]:
        if not trail.best:
            if side * (favour - trail.active) < 0:
                continue
            trail.best = trail.active
        if side * (favour - trail.best) > 0:
            trail.best = favour
        trail.trigger = trail.best - side * trail.distance
        nearest = _halt(position)
        # The close came after the best price: beyond the new level, it has crossed it.
        if nearest is not None and side * (bar.close - nearest.trigger) <= 0:
            _leave(sim, nearest, nearest.trigger)
            return


def _leave(sim: Matching, stop: LiveOrder, mid: Decimal) -> None:
    _set_off(sim, stop)
    if not stop.status.is_final:
        sim.fill(stop, stop.leaves, _taker_price(sim, mid, stop.sign))
        sim.tell(stop)


def _set_off(sim: Matching, order: LiveOrder) -> None:
    # As in the matching, but the order waits for its price here and not in the book.
    sim.set_off(order)
    if not order.status.is_final and order.is_market:
        order.position.market.book.leave(order)


def _fire_others(sim: Matching, market: SymbolMarket, bar: Bar) -> None:
    for order in list(market.triggers):
        if order.distance or order.stop_type in HALTS or not order.trigger:
            continue
        if order.stop_type is StopOrderType.TAKE_PROFIT or order.status is not (
            OrderStatus.UNTRIGGERED
        ):
            continue
        rises = order.direction == 1
        if (bar.high < order.trigger) if rises else (bar.low > order.trigger):
            continue
        gapped = bar.open > order.trigger if rises else bar.open < order.trigger
        if order.is_market:
            _leave(sim, order, bar.open if gapped else order.trigger)
        else:
            _set_off(sim, order)
