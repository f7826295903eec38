"""The life of one order: what is known of it, and the state that follows from that.

A life only ever learns. What the exchange shows (rows and executions) and what happened here
(facts) are joined, so that neither their order nor a duplicate matters, and the state is read off
what is known: a final row ends an order for good, fills alone say what was traded, and what the
exchange shows outweighs what a reply said or a search did not find.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import StrEnum
from typing import Final

from workbench.core.errors import ReconcileError
from workbench.exchange.records import ZERO, Execution, Order
from workbench.exchange.requests import OrderRequest
from workbench.exchange.words import OrderStatus, RejectReason


class State(StrEnum):
    """Where an order stands; ``UNKNOWN`` may or may not have reached the exchange."""

    PLANNED = "planned"
    SENT = "sent"
    UNKNOWN = "unknown"
    OPEN = "open"
    PARTLY_FILLED = "partly filled"
    CANCELLING = "cancelling"
    FILLED = "filled"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    EXPIRED = "expired"

    @property
    def is_final(self) -> bool:
        """Whether nothing but fills that are late may follow."""
        return self in _FINAL


_FINAL: Final = frozenset({State.FILLED, State.CANCELLED, State.REJECTED, State.EXPIRED})


class What(StrEnum):
    """What happened to an order on this side of the wire."""

    SENT = "sent"
    BUSY = "not taken for now"
    ACKNOWLEDGED = "acknowledged"
    REFUSED = "refused"
    UNKNOWN = "outcome unknown"
    ABSENT = "looked for and not found"
    CANCEL_ASKED = "cancel asked"
    CANCEL_REFUSED = "cancel refused"


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that happened here, in words; ``number`` counts sendings, and cancels."""

    link: str
    what: What
    words: str = ""
    number: int = 0
    order_id: str = ""


@dataclass(frozen=True, slots=True)
class Life:
    """All that is known of an order: what was asked, facts, the newest row, fills by their id.

    ``expires_ms`` is when it is to be cancelled if it still works, 0 for never.
    """

    request: OrderRequest
    expires_ms: int = 0
    facts: Mapping[What, Fact] = field(default_factory=dict)
    row: Order | None = None
    fills: Mapping[str, Execution] = field(default_factory=dict)

    @property
    def link(self) -> str:
        """The name under which it was sent."""
        return self.request.order_link_id

    @property
    def order_id(self) -> str:
        """The exchange's name for it, empty while none is known."""
        if self.row is not None:
            return self.row.order_id
        named = [fill.order_id for fill in self.fills.values()]
        ack = self.facts.get(What.ACKNOWLEDGED)
        return named[0] if named else ack.order_id if ack else ""

    @property
    def filled(self) -> Decimal:
        """What the executions that arrived add up to."""
        return sum((fill.exec_qty for fill in self.fills.values()), ZERO)

    @property
    def missing(self) -> Decimal:
        """What the exchange says was filled and no execution has shown yet."""
        reported = ZERO if self.row is None else self.row.cum_exec_qty
        return max(reported - self.filled, ZERO)

    @property
    def left(self) -> Decimal:
        """What may still be filled."""
        if self.state.is_final:
            return self.missing
        qty = self.request.qty if self.row is None else self.row.qty
        return max(qty - self.filled, ZERO)

    @property
    def is_seen(self) -> bool:
        """Whether the exchange has shown it."""
        return self.row is not None or bool(self.fills)

    @property
    def is_settled(self) -> bool:
        """Whether it has ended and all of its fills are here."""
        return self.state.is_final and not self.missing

    @property
    def is_cancelling(self) -> bool:
        """Whether a cancel was asked for and not refused."""
        return self.number(What.CANCEL_ASKED) > self.number(What.CANCEL_REFUSED)

    def number(self, what: What) -> int:
        """Return the largest number of a kind of fact, 0 where there is none."""
        return self.facts[what].number if what in self.facts else 0

    @property
    def state(self) -> State:
        """The state that follows from what is known."""
        if self.row is not None and self.row.order_status.is_final:
            return self._end(self.row)
        if not self.is_seen:
            if What.ABSENT in self.facts:
                return State.REJECTED
            if What.ACKNOWLEDGED not in self.facts:
                return self._unseen()
        if self.is_cancelling:
            return State.CANCELLING
        has_fills = self.fills or (self.row is not None and self.row.cum_exec_qty)
        return State.PARTLY_FILLED if has_fills else State.OPEN

    def _unseen(self) -> State:
        if What.REFUSED in self.facts:
            return State.REJECTED
        if What.UNKNOWN in self.facts:
            return State.UNKNOWN
        is_out = self.number(What.SENT) > self.number(What.BUSY)
        return State.SENT if is_out else State.PLANNED

    def _end(self, row: Order) -> State:
        if row.order_status == OrderStatus.FILLED:
            return State.FILLED
        if row.order_status == OrderStatus.REJECTED:
            return State.REJECTED
        is_late = 0 < self.expires_ms <= row.updated_time_ms
        return State.EXPIRED if is_late or row.reject_reason in _NOT_TAKEN else State.CANCELLED


_NOT_TAKEN: Final = frozenset(
    {RejectReason.NO_IMMEDIATE_QTY, RejectReason.NO_ENOUGH_QTY, RejectReason.NO_FULL_FILL}
)
"""What was to be filled at once and was not, or not wholly."""


def advance(life: Life, event: Fact | Order | Execution) -> Life:
    """Return what is known of an order after one more event; what was known changes nothing.

    Raises
    ------
    ReconcileError
        If the event is of another order, or the exchange shows two orders of one name.
    """
    if isinstance(event, Fact):
        known = life.facts.get(event.what)
        if known is not None and _rank_fact(known) >= _rank_fact(event):
            return life
        return replace(life, facts={**life.facts, event.what: event})
    _check(life, event)
    if isinstance(event, Execution):
        if event.exec_id in life.fills:
            return life
        return replace(life, fills={**life.fills, event.exec_id: event})
    if life.row is not None and _rank(life.row) >= _rank(event):
        return life
    return replace(life, row=event)


def _rank_fact(fact: Fact) -> tuple[int, str, str]:
    return fact.number, fact.order_id, fact.words


def _rank(row: Order) -> tuple[bool, Decimal, int, bool, str, str, str]:
    # A total order: a final row before every other, then what is filled, then the newer one.
    return (
        row.order_status.is_final,
        row.cum_exec_qty,
        row.updated_time_ms,
        row.order_status == OrderStatus.FILLED,
        row.order_status,
        row.cancel_type,
        row.reject_reason,
    )


def _check(life: Life, event: Order | Execution) -> None:
    asked = life.request
    is_own = event.symbol == asked.symbol and event.side == asked.side
    if not is_own or life.order_id not in ("", event.order_id):
        raise ReconcileError(
            f"{event.order_id} ({event.side} {event.symbol}) came under the name of {life.link}, "
            f"which is {life.order_id or 'not known'} ({asked.side} {asked.symbol}).",
            "Two programs may trade this account under the same names: stop one of them.",
        )
