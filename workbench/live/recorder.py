"""The recorder: everything that is booked or ends becomes rows for gates, API and panels.

Rows go into the journal first, and from there to the store (``mirror``). What is booked moves the
holdings as well, in the order in which it was booked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple

from workbench.core.clock import Clock
from workbench.exchange.records import ZERO, Execution
from workbench.exchange.wire import from_millis
from workbench.execution.books import EXTERNAL, Crossing
from workbench.execution.manager import OrderManager
from workbench.execution.memory import Working, read_record
from workbench.execution.orders import State, What
from workbench.execution.venue import Quote
from workbench.live.holdings import Holdings
from workbench.live.journal import Journal
from workbench.portfolio.accounting import Fill, Payment, Posting

STATUSES: Final = {
    State.FILLED: "filled",
    State.CANCELLED: "cancelled",
    State.EXPIRED: "cancelled",
    State.REJECTED: "rejected",
}
DECISION: Final = re.compile(r"[0-9a-f]{32}")
"""What names a decision of risk; exits and commands have other names."""
BOOKED: Final = frozenset({"execution", "crossing", "adoption"})
"""The kinds of execution's records that are bookings."""
KEPT: Final = 2_000
"""Decisions whose mids are remembered."""

Mids = Mapping[str, Decimal]


class Mirrored(NamedTuple):
    """A row for the store: its table, and its values."""

    table: str
    row: Mapping[str, Any]


class Tap:
    """The journal as execution writes it; what must be looked at afterwards is noted."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.booked: list[tuple[str, Any]] = []

    def append(self, kind: str, document: Any) -> None:
        """Write a record; it is on disk before anything is sent."""
        self.journal.append(kind, document)
        if kind in BOOKED:
            self.booked.append((kind, document))


class Recorder:
    """Turns what execution has booked into rows, once each.

    ``keep`` takes the rows on their way to the store; ``hashes`` are those of the strategies.
    """

    def __init__(
        self,
        tap: Tap,
        manager: OrderManager,
        holdings: Holdings,
        *,
        venue: str,
        hashes: Mapping[str, str],
        quote: Callable[[str], Quote | None],
        clock: Clock,
        keep: Callable[[int, Mirrored], None],
    ) -> None:
        self.tap, self.manager, self.holdings = tap, manager, holdings
        self.venue, self.hashes, self.quote, self.clock = venue, hashes, quote, clock
        self.keep = keep
        self._mids: dict[str, tuple[datetime, Mids]] = {}
        self._arrivals: dict[str, Decimal | None] = {}

    def decided(self, decision_id: str, at: datetime, mids: Mids) -> None:
        """Note the market at which a decision was made."""
        self._mids[decision_id] = at, mids
        if len(self._mids) > KEPT:
            del self._mids[next(iter(self._mids))]

    def sent(self, link: str, symbol: str) -> None:
        """Note the market at which an order left."""
        quote = self.quote(symbol)
        self._arrivals[link] = quote.mid if quote else None

    def drain(self) -> int:
        """Take what was booked since the last call, and return how much that was."""
        booked, self.tap.booked = self.tap.booked, []
        for kind, document in booked:
            record = read_record(kind, document)
            if isinstance(record, Execution):
                self._take_execution(record)
            elif isinstance(record, Crossing | Fill):
                self._take(record.id, None, None, is_exit=False)
        return len(booked)

    def pay(self, payment: Payment) -> None:
        """Book money that came or went, on record."""
        if self.manager.books.account.find(payment.id) is None:
            self.tap.journal.append("flow", _plain(payment))
            self.manager.books.flow(payment)
            self._keep("postings", self._row(payment, None, None))

    def ended(self, link: str) -> bool:
        """Put an order on record if it has ended with all of its fills; return whether it has."""
        own = self.manager.memory.find(link, "")
        if own is None or not own.life.is_settled:
            return own is None
        planned = from_millis(own.plan.at_ms)
        decided_at, mids = self._mids.get(own.plan.decision, (planned, {}))
        quote, arrival = self.quote(own.symbol), self._arrivals.pop(link, None)
        for strategy, claim in own.plan.claims.items():
            self._keep(
                "orders",
                {
                    "order_id": link,
                    "strategy_hash": self.hashes.get(strategy, ""),
                    "venue": self.venue,
                    "strategy": strategy,
                    "symbol": own.symbol,
                    "side": own.plan.request.side.sign,
                    "qty": abs(claim),
                    "filled": abs(claim) * own.life.filled / own.plan.request.qty,
                    "status": _status(own),
                    "algorithm": own.plan.leg or ("limit" if own.plan.request.price else "market"),
                    "decision_id": own.plan.decision,
                    "decided_at": decided_at,
                    "sent_at": from_millis(own.sent_ms),
                    "ended_at": self.clock.now(),
                    "decision_mid": mids.get(own.symbol),
                    "arrival_mid": arrival,
                    "final_mid": quote.mid if quote else None,
                },
            )
        return True

    def worth(self, at: datetime, equity: Mapping[str, float]) -> None:
        """Put on record what the account ("") and each strategy's book are worth."""
        for strategy_hash, value in equity.items():
            row = {"strategy_hash": strategy_hash, "venue": self.venue, "at": at}
            self._keep("equity", {**row, "equity_usdt": value})

    def _take_execution(self, execution: Execution) -> None:
        own = self.manager.memory.find(execution.order_link_id, execution.order_id)
        is_decided = own is not None and not own.plan.leg and DECISION.fullmatch(own.plan.cause)
        self._take(execution.exec_id, execution, own, is_exit=not is_decided)

    def _take(
        self, name: str, execution: Execution | None, own: Working | None, *, is_exit: bool
    ) -> None:
        found = [
            posting
            for strategy in (*self.holdings.strategies, EXTERNAL)
            if (posting := self.manager.books.shares.find(f"{name}/{strategy}")) is not None
        ]
        self.holdings.apply(found, is_exit=is_exit)
        for posting in found:
            self._keep("postings", self._row(posting, execution, own))

    def _row(
        self, posting: Posting, execution: Execution | None, own: Working | None
    ) -> dict[str, Any]:
        row = {
            "posting_id": posting.id,
            "venue": self.venue,
            "at": posting.moment,
            "strategy": posting.strategy,
            "strategy_hash": self.hashes.get(posting.strategy, ""),
            "symbol": posting.symbol,
            "kind": posting.kind,
            "order_id": own.life.link if own else execution.order_id if execution else "",
            "is_maker": bool(execution and execution.is_maker),
        }
        if isinstance(posting, Payment):
            nothing = {"qty": ZERO, "price": ZERO, "amount_usdt": posting.amount_usdt}
            return {**row, **nothing, "expected_price": None, "mid": None, "spread": None}
        quote, expected = self.quote(posting.symbol), None
        if own is not None:
            _, mids = self._mids.get(own.plan.decision, (None, {}))
            # An exit was to fill at its trigger, not where the market was when it was decided.
            expected = own.plan.request.trigger_price or mids.get(posting.symbol)
        return {
            **row,
            "qty": posting.qty,
            "price": posting.price,
            "amount_usdt": posting.fee_usdt,
            "expected_price": expected or posting.price,
            "mid": quote.mid if quote else None,
            "spread": quote.ask - quote.bid if quote and quote.ask and quote.bid else None,
        }

    def _keep(self, table: str, row: Mapping[str, Any]) -> None:
        number = self.tap.journal.append(table, row)
        self.keep(number, Mirrored(table, row))


def _status(own: Working) -> str:
    if own.life.state is State.REJECTED and What.ABSENT in own.life.facts:
        return "lost"
    return STATUSES[own.life.state]


def _plain(payment: Payment) -> dict[str, Any]:
    return {
        "id": payment.id,
        "moment": payment.moment,
        "kind": payment.kind,
        "amount_usdt": payment.amount_usdt,
        "symbol": payment.symbol,
        "strategy": payment.strategy,
    }
