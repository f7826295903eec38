"""A position and the margin that it and its orders need.

Margin is that of ``core/margin``: isolated on the entry, cross on the mark. Profit is exact: what a
position cost is kept as money, and a part that closes takes its part of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Final, NamedTuple

from workbench.core import margin
from workbench.exchange.simulator.orders import ZERO, LiveOrder
from workbench.exchange.simulator.rules import Contract, cash

if TYPE_CHECKING:
    from workbench.exchange.simulator.accounts import Account, State
    from workbench.exchange.simulator.markets import SymbolMarket

INFINITE: Final = Decimal("Infinity")


class Closing(NamedTuple):
    """What a fill closed: lots, what they had cost, what they brought, profit and opening fee."""

    lots: int
    cost: Decimal
    value: Decimal
    profit: Decimal
    open_fee: Decimal


NOTHING: Final = Closing(0, ZERO, ZERO, ZERO, ZERO)


@dataclass(slots=True, eq=False)
class Position:
    """One position: signed lots, what they cost, its leverage, and the orders that stand on it.

    ``live`` are its orders in the matching; ``buys`` and ``sells`` lots of those that may enlarge
    it, ``buys_at`` and ``sells_at`` their ticks times lots. ``stops`` are the orders that protect
    it and wait.
    """

    account: Account
    market: SymbolMarket
    idx: int
    leverage: Decimal
    lots: int = 0
    cost: Decimal = ZERO
    open_fee: Decimal = ZERO
    extra: Decimal = ZERO
    auto_add: bool = False
    realised: Decimal = ZERO
    realised_ever: Decimal = ZERO
    buys: int = 0
    sells: int = 0
    buys_at: int = 0
    sells_at: int = 0
    live: dict[str, LiveOrder] = field(default_factory=dict)
    stops: list[LiveOrder] = field(default_factory=list)
    opened_ms: int = 0
    updated_ms: int = 0
    seq: int = 0
    need: Margins | None = None
    need_at: Decimal = ZERO
    contract: Contract = field(init=False)

    def __post_init__(self) -> None:
        self.contract = self.market.contract

    @property
    def side(self) -> int:
        """+1 long, -1 short, 0 flat."""
        return (self.lots > 0) - (self.lots < 0)

    @property
    def size(self) -> Decimal:
        """Coins held, without a sign."""
        return self.contract.step * abs(self.lots)

    @property
    def entry(self) -> Decimal:
        """The average price at which it was entered."""
        return self.cost / self.size

    @property
    def profit(self) -> Decimal:
        """What closing on the mark would bring."""
        if not self.lots:
            return ZERO
        value = self.market.mark * self.size
        return value - self.cost if self.lots > 0 else self.cost - value

    def take(self, lots: int, value: Decimal, fee: Decimal) -> Closing:
        """Add signed lots of a value and return what they closed."""
        self.need = None
        if self.lots * lots >= 0:
            self.lots += lots
            self.cost += value
            self.open_fee += fee
            return NOTHING
        held, coming = abs(self.lots), abs(lots)
        closing = min(held, coming)
        cost, opened = self.cost, self.open_fee
        if closing < held:
            cost, opened = cash(cost * closing / held), cash(opened * closing / held)
        got, paid = value, fee
        if closing < coming:
            got, paid = cash(value * closing / coming), cash(fee * closing / coming)
        profit = got - cost if self.lots > 0 else cost - got
        self.lots += lots
        turned = closing < coming
        self.cost = value - got if turned else self.cost - cost
        self.open_fee = fee - paid if turned else self.open_fee - opened
        return Closing(closing, cost, got, profit, opened)

    def hold(self, order: LiveOrder, way: int) -> None:
        """Count an order's open lots in (+1) or out (-1)."""
        self.need = None
        lots = way * order.leaves if order.opens else 0
        if way > 0:
            last = int(self.market.last / self.contract.tick) if order.is_market else 0
            order.margin_ticks = last or order.ticks
        if order.sign > 0:
            self.buys += lots
            self.buys_at += lots * order.margin_ticks
        else:
            self.sells += lots
            self.sells_at += lots * order.margin_ticks
        if way > 0:
            self.live[order.order_id] = order
        else:
            self.live.pop(order.order_id, None)
        order.is_held = way > 0

    def exposed(self, sign: int) -> int:
        """Return the lots by which its open orders of a side may enlarge or turn it."""
        if self.idx:
            return (self.buys if sign > 0 else self.sells) if sign == self.way else 0
        return max(
            self.buys - max(-self.lots, 0) if sign > 0 else self.sells - max(self.lots, 0), 0
        )

    @property
    def way(self) -> int:
        """The only side that a position of hedge mode may have; 0 in one-way mode."""
        return (0, 1, -1)[self.idx]

    def margins(self) -> Margins:
        """Return what it and its orders need; kept until it, they or the mark change."""
        if self.need is None or self.need_at is not self.market.mark:
            self.need, self.need_at = self._margins(), self.market.mark
        return self.need

    def _margins(self) -> Margins:
        step, mark, account = self.contract.step, self.market.mark, self.account
        rate = account.fee_to_close
        buys, sells = self.exposed(1), self.exposed(-1)
        held = abs(self.lots)
        total = mark * step * (held + max(buys, sells))
        tier = self.contract.tier(total)
        leverage = min(self.leverage, tier.max_leverage)
        initial = maintenance = ordered = ZERO
        if held:
            size = step * held
            price = self.cost / size if account.is_isolated else mark
            fee = margin.closing_fee(price, size, leverage, self.side, rate)
            initial = margin.initial_margin(size * price, leverage) + fee
            maintenance = fee + margin.maintenance_margin(
                size * mark, tier.maintenance_rate, tier.deduction_usdt
            )
        for sign, lots in ((1, buys), (-1, sells)):
            if lots:
                price = self._order_price(sign) if account.is_isolated else mark
                size = step * lots
                need = (
                    margin.initial_margin(size * price, leverage)
                    + margin.closing_fee(price, size, leverage, sign, rate)
                    + size * price * account.taker
                )
                ordered = max(ordered, need)
        return Margins(initial, ordered, max(maintenance, ZERO), self._order_loss())

    def _order_price(self, sign: int) -> Decimal:
        at, lots = (self.buys_at, self.buys) if sign > 0 else (self.sells_at, self.sells)
        return self.contract.tick * at / lots

    def _order_loss(self) -> Decimal:
        mark = int(self.market.mark / self.contract.tick)
        lost = 0
        for order in self.live.values():
            gap = order.sign * (mark - order.ticks)
            if gap < 0 and not order.is_market:
                lost += gap * order.leaves
        return self.contract.unit * lost if lost else ZERO

    def liquidation_price(self, state: State) -> Decimal | None:
        """Return the mark at which it is liquidated; on cross margin while the others stand."""
        if not self.lots:
            return None
        extra, leverage, base = self.extra, self.leverage, self.market.mark
        if self.account.is_isolated:
            base = self.entry
        else:
            extra = state.balance - state.maintenance + self.margins().maintenance
            leverage = INFINITE
        size, side = self.size, self.side
        price, tier = base, self.contract.tier(size * base)
        for _ in self.contract.tiers:
            price = margin.liquidation_price(
                base, size, leverage, side, tier.maintenance_rate, tier.deduction_usdt, extra
            )
            there = self.contract.tier(size * price)
            if there is tier:
                break
            tier = there
        return price if price > 0 else None

    def bankruptcy_price(self, state: State) -> Decimal:
        """Return the price at which nothing is left of its margin, or of the account's balance."""
        if not self.account.is_isolated:
            return self.market.mark - self.side * state.balance / self.size
        leverage = min(self.leverage, self.contract.tier(self.cost).max_leverage)
        bare = margin.bankruptcy_price(self.entry, leverage, self.side)
        return bare - self.side * self.extra / self.size


class Margins(NamedTuple):
    """What a position and its orders need, and what the orders would lose at once."""

    initial: Decimal
    ordered: Decimal
    maintenance: Decimal
    order_loss: Decimal
