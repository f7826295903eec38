"""Accounts, and the books of all money.

Money is exact: every flow is cut to the exchange's last decimal once and booked on both sides, so
that wallets less the cost of what is held, the market's cash, fees and insurance always add up to
what was paid in.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, NamedTuple

from workbench.exchange import records
from workbench.exchange.simulator.orders import ZERO, LiveOrder
from workbench.exchange.simulator.positions import Position
from workbench.exchange.words import MarginMode

KEPT: Final = 20_000
"""Rows of each history that an account keeps."""


class State(NamedTuple):
    """An account on the marks of now; ``balance`` is what margin is measured against."""

    balance: Decimal
    profit: Decimal
    initial: Decimal
    ordered: Decimal
    maintenance: Decimal
    order_loss: Decimal

    @property
    def available(self) -> Decimal:
        """What is free for further orders."""
        return self.balance - self.initial - self.ordered

    @property
    def is_covered(self) -> bool:
        """Whether initial margin is covered, with what orders would lose at once."""
        return self.initial + self.ordered <= self.balance + self.order_loss


@dataclass(slots=True, eq=False)
class Account:
    """A unified account in USDT."""

    uid: str
    maker: Decimal
    taker: Decimal
    mode: MarginMode = MarginMode.CROSS
    smp_group: int = 0
    fee_to_close: Decimal = ZERO
    wallet: Decimal = ZERO
    realised: Decimal = ZERO
    updated_ms: int = 0
    positions: dict[tuple[str, int], Position] = field(default_factory=dict)
    hedged: set[str] = field(default_factory=set)
    orders: dict[str, LiveOrder] = field(default_factory=dict)
    done: dict[str, LiveOrder] = field(default_factory=dict)
    links: dict[str, LiveOrder] = field(default_factory=dict)
    executions: deque[records.Execution] = field(default_factory=lambda: deque(maxlen=KEPT))
    transactions: deque[records.Transaction] = field(default_factory=lambda: deque(maxlen=KEPT))
    closings: dict[str, LiveOrder] = field(default_factory=dict)

    @property
    def is_isolated(self) -> bool:
        """Whether each position stands for itself."""
        return self.mode is MarginMode.ISOLATED

    def switch(self, mode: MarginMode) -> None:
        """Change to cross or isolated margin."""
        self.mode = mode
        for position in self.positions.values():
            position.need = None

    def finish(self, order: LiveOrder) -> None:
        """Move an order to those that have ended; the oldest are forgotten."""
        del self.orders[order.order_id]
        self.done[order.order_id] = order
        if len(self.done) > KEPT:
            oldest = self.done.pop(next(iter(self.done)))
            self.links.pop(oldest.link, None)
            self.closings.pop(oldest.order_id, None)

    def held(self) -> list[Position]:
        """Return the positions that are not flat."""
        return [position for position in self.positions.values() if position.lots]

    def state(self) -> State:
        """Return balance and margin on the marks of now."""
        profit = initial = ordered = maintenance = loss = ZERO
        for position in self.positions.values():
            if position.lots or position.live:
                need = position.margins()
                profit += position.profit
                initial += need.initial + position.extra
                ordered += need.ordered
                maintenance += need.maintenance
                loss += need.order_loss
        balance = self.wallet if self.is_isolated else self.wallet + profit
        return State(balance, profit, initial, ordered, maintenance, loss)


@dataclass(slots=True)
class Bank:
    """What is not an account's: the market's cash and lots, fees, insurance, what was paid in."""

    insurance: Decimal
    paid_in: Decimal = ZERO
    fees: Decimal = ZERO
    market: Decimal = ZERO
    lots: dict[str, int] = field(default_factory=dict)
    insured_at_start: Decimal = ZERO

    def __post_init__(self) -> None:
        self.insured_at_start = self.insurance

    def trade(self, symbol: str, lots: int, value: Decimal) -> None:
        """Book what an account bought of the market (signed lots, unsigned value)."""
        self.lots[symbol] = self.lots.get(symbol, 0) - lots
        self.market += value if lots > 0 else -value

    def difference(self, accounts: Iterable[Account]) -> Decimal:
        """Return by how much the books of all fail to add up: exactly 0, always."""
        total = self.market + self.fees + self.insurance - self.insured_at_start - self.paid_in
        for account in accounts:
            total += account.wallet
            for position in account.positions.values():
                total -= position.cost if position.lots > 0 else -position.cost
        return total
