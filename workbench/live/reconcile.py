"""Reconciliation: the books against the exchange, at the start and on a timer.

First everything that may have been missed is asked for and booked by what it is: fills, funding,
liquidations, reductions by the exchange, what people did. What is then still different is repaired
where its kind allows it, and otherwise trading halts. Every difference is an incident on record.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final, Literal, Protocol

from workbench.core.errors import WorkbenchError
from workbench.exchange.records import ZERO, Order, Transaction, Wallet
from workbench.exchange.requests import CancelRequest
from workbench.exchange.wire import from_millis, to_millis
from workbench.exchange.words import StopOrderType
from workbench.execution.venue import PREFIX
from workbench.live.engine import Engine
from workbench.live.flows import COIN, EARNED
from workbench.monitor.alerts import Alert, Severity
from workbench.portfolio.accounting import Payment

Policy = Literal["adopt", "halt"]
Kind = Literal["order", "position", "wallet"]

OF_POSITION: Final = frozenset(StopOrderType) - {
    StopOrderType.NONE, StopOrderType.STOP, StopOrderType.TPSL_ORDER
}  # fmt: skip
"""Stops that belong to a position and go with it."""
ROUNDING: Final = Decimal("0.00001")
"""What the exchange's roundings may leave, a fill."""
OPENING: Final = "opening/"
TRIES: Final = 3
PAUSE_S: Final = 0.2
OVERLAP: Final = timedelta(minutes=1)


class Account(Protocol):
    """What is read of the account beside what execution reads."""

    async def wallet(self) -> Wallet:
        """Return the unified account."""

    async def transactions(self, since: datetime) -> Sequence[Transaction]:
        """Return what moved the wallet since a moment, oldest first."""


@dataclass(frozen=True, slots=True)
class Difference:
    """What did not agree: of what kind and symbol, and whether it could be put right."""

    kind: Kind
    symbol: str
    words: str
    is_repaired: bool


class Reconciler:
    """Compares, repairs and remembers; ``policy`` is what is done about what others did."""

    def __init__(self, engine: Engine, account: Account, *, policy: Policy = "adopt") -> None:
        self.engine, self.account, self.policy = engine, account, policy
        self.last_at: datetime | None = None
        self.count = 0
        self._foreign: set[str] = set()

    async def begin(self) -> list[Difference]:
        """Take the account as it is at the very first start, or compare it after a restart."""
        engine = self.engine
        is_first = not engine.manager.memory.since_ms
        await engine.manager.recover()
        if is_first:
            await self._open()
        return await self.compare()

    async def _open(self) -> None:
        # What is there before the first order is nobody's profit.
        engine, now = self.engine, self.engine.world.clock.now()
        balance = _balance(await self.account.wallet())
        engine.recorder.pay(Payment(f"{OPENING}{to_millis(now)}", now, "transfer", balance))
        for symbol, _ in list(self._position_gaps()):
            engine.manager.adopt(symbol, "it was there before the first order")
        engine.settle()

    @property
    def opened_ms(self) -> int:
        """When the books were opened: money that came before is in them already."""
        names = [own.id for own in self.engine.manager.books.account.postings[:1]]
        is_there = bool(names) and names[0].startswith(OPENING)
        return int(names[0].removeprefix(OPENING)) if is_there else 0

    async def compare(self) -> list[Difference]:
        """Compare everything; return what did not agree, after repairs."""
        self.count += 1
        found: list[Difference] = []
        try:
            for attempt in range(TRIES):
                await self.engine.manager.recover()
                self.engine.settle()
                if not list(self._position_gaps()):
                    break
                # A fill may be on its way while the position is read.
                if attempt + 1 < TRIES:
                    await asyncio.sleep(PAUSE_S)
            found += await self._orders(await self.engine.outbox.open_orders())
            found += self._positions()
            found += await self._wallet()
        except WorkbenchError as error:
            self.engine.world.alert(
                Alert("reconcile", Severity.WARNING, f"The account cannot be read: {error}")
            )
            return found
        self.last_at = self.engine.world.clock.now()
        self._tell(found)
        return found

    async def _orders(self, rows: Sequence[Order]) -> list[Difference]:
        memory, found = self.engine.manager.memory, []
        for row in rows:
            is_known = memory.find(row.order_link_id, row.order_id) or row.parent_order_link_id
            if is_known or row.stop_order_type in OF_POSITION or row.order_id in self._foreign:
                continue
            is_ours = row.order_link_id.startswith(PREFIX)
            if is_ours and not row.reduce_only:
                # An entry that nobody here looks after.
                await self.engine.outbox.cancel(
                    CancelRequest(symbol=row.symbol, order_id=row.order_id)
                )
            self._foreign.add(row.order_id)
            whose = "of this engine, and not in its journal" if is_ours else "somebody else's"
            words = f"{row.side} {row.qty:f} at {row.price or row.trigger_price} is {whose}"
            is_repaired = is_ours or self.policy == "adopt"
            found.append(Difference("order", row.symbol, words, is_repaired))
        return found

    def _position_gaps(self) -> Iterator[tuple[str, Decimal]]:
        desk, books = self.engine.manager.desk, self.engine.manager.books
        for symbol in sorted({*desk.positions, *books.account.positions}):
            position = desk.positions.get(symbol)
            there = position.signed_size if position is not None else ZERO
            if gap := there - books.net(symbol):
                yield symbol, gap

    def _positions(self) -> list[Difference]:
        manager, found = self.engine.manager, []
        for symbol, gap in list(self._position_gaps()):
            words = f"the exchange holds {gap:+f} more than the books"
            if self.policy == "adopt" and symbol in manager.desk.positions:
                manager.adopt(symbol, words)
            is_repaired = manager.desk.positions[symbol].signed_size == manager.books.net(symbol)
            found.append(Difference("position", symbol, words, is_repaired))
        self.engine.settle()
        return found

    async def _wallet(self) -> list[Difference]:
        engine, now = self.engine, self.engine.world.clock.now()
        books = engine.manager.books.account
        balance = _balance(await self.account.wallet())
        gap = balance - books.wallet_usdt
        if not gap:
            return []
        opened_ms = self.opened_ms
        since = (self.last_at or from_millis(opened_ms)) - OVERLAP
        for row in await self.account.transactions(since):
            is_new = row.transaction_time_ms > opened_ms
            if row.currency == COIN and row.type not in EARNED and is_new:
                name = f"flow/{row.id}/{row.type}/{row.transaction_time_ms}"
                at = from_millis(row.transaction_time_ms)
                engine.recorder.pay(Payment(name, at, "transfer", row.change))
        gap = balance - books.wallet_usdt
        if not gap:
            return []
        most = ROUNDING * (1 + len(books.postings))
        if abs(gap) <= most:
            # The exchange keeps eight decimals, the books all of them.
            name = f"rounding/{to_millis(now)}/{self.count}"
            engine.recorder.pay(Payment(name, now, "fee", gap.quantize(Decimal("1e-18"))))
            return []
        words = f"the wallet has {gap:+f} USDT that nothing explains"
        return [Difference("wallet", COIN, words, False)]

    def _tell(self, found: Sequence[Difference]) -> None:
        engine = self.engine
        for own in found:
            severity = Severity.WARNING if own.is_repaired else Severity.CRITICAL
            engine.world.alert(Alert(f"reconcile {own.kind} {own.symbol}", severity, own.words))
            engine.journal.append("incident", asdict(own))
            engine.world.event("incident", {"venue": engine.world.venue_name, **asdict(own)})
        open_ = [own for own in found if not own.is_repaired]
        if open_:
            words = "; ".join(f"{own.symbol}: {own.words}" for own in open_)
            engine.halt(f"The books differ from the exchange: {words}")


def _balance(wallet: Wallet) -> Decimal:
    return next((own.wallet_balance for own in wallet.coin if own.coin == COIN), ZERO)
