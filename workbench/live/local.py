"""The simulated exchange in this process as a venue: the engine without a wire, for replays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from workbench.core.errors import ExchangeBusy, OrderRejected, OrderUnknown
from workbench.exchange.codes import Outcome, describe, find_outcome
from workbench.exchange.records import Execution, Order, OrderAck, Position, Wallet
from workbench.exchange.requests import (
    CATEGORY,
    AmendRequest,
    CancelRequest,
    OrderRequest,
    Request,
    StopRequest,
    body,
)
from workbench.exchange.simulator.rules import Refused
from workbench.exchange.simulator.simulator import Simulator

Record = Order | Execution | Position | Wallet
Kind = TypeVar("Kind", bound=Record)
WANTED = frozenset({"order", "execution", "position"})


class LocalVenue:
    """An account at a simulator; nothing it does takes time."""

    def __init__(self, simulator: Simulator, uid: str) -> None:
        self.simulator, self.uid = simulator, uid
        simulator.wanted = set(simulator.wanted) | WANTED

    def events(self) -> list[Record]:
        """Return what happened to the account since the last call, in order."""
        return [
            _copy(event.record)
            for event in self.simulator.take_events()
            if event.kind in WANTED and event.whose == self.uid
        ]

    async def create(self, request: OrderRequest) -> OrderAck:
        """Send an order, once."""
        return self._do("create", self.simulator.create_order, request)

    async def amend(self, request: AmendRequest) -> OrderAck:
        """Change an open order."""
        return self._do("amend", self.simulator.amend_order, request)

    async def cancel(self, request: CancelRequest) -> OrderAck:
        """Cancel an order; the code is not 0 where there was nothing to cancel."""
        return self._do("cancel", self.simulator.cancel_order, request)

    async def cancel_all(self, symbol: str) -> None:
        """Cancel the orders of a symbol that work in the book."""
        self.simulator.cancel_all(
            self.uid, {"category": CATEGORY, "symbol": symbol, "orderFilter": "Order"}
        )

    async def set_stop(self, request: StopRequest) -> None:
        """Set what protects a whole position."""
        self._do("trading-stop", self.simulator.trading_stop, request)

    async def find_order(self, symbol: str, link: str) -> Order | None:
        """Return an order by its link."""
        every = [
            *self.simulator.open_orders(self.uid), *self.simulator.order_history(self.uid)
        ]  # fmt: skip
        return next((_copy(own) for own in every if own.order_link_id == link), None)

    async def executions_since(self, moment_ms: int) -> Sequence[Execution]:
        """Return every execution of the account since a moment."""
        found = self.simulator.executions(self.uid)
        return [own for own in reversed(found) if own.exec_time_ms >= moment_ms]

    async def positions(self) -> Sequence[Position]:
        """Return the positions that are not flat."""
        return self.simulator.positions(self.uid)

    async def open_orders(self) -> Sequence[Order]:
        """Return every order that has not ended."""
        return [_copy(own) for own in self.simulator.open_orders(self.uid)]

    def _do(
        self, action: str, act: Callable[[str, Mapping[str, Any]], Any], request: Request
    ) -> OrderAck:
        try:
            placed = act(self.uid, {"category": CATEGORY, **body(request)})
        except Refused as refusal:
            outcome = find_outcome(refusal.code, action)
            what = f"The exchange refuses with {describe(refusal.code, refusal.message)}"
            if outcome is Outcome.DONE:
                return OrderAck(code=refusal.code)
            if outcome is Outcome.UNKNOWN:
                raise OrderUnknown(what, "Ask for the order by its order_link_id.") from refusal
            if outcome is not Outcome.REJECTED:
                raise ExchangeBusy(what, "Nothing was done; send it again.") from refusal
            raise OrderRejected(what, "The code is Bybit's own.") from refusal
        name = getattr(placed, "order_id", "")
        return OrderAck(order_id=name, order_link_id=getattr(request, "order_link_id", ""))


def _copy(record: Kind) -> Kind:
    # The simulator shows its own mapping, which cannot be written to a journal.
    if isinstance(record, Order):
        return replace(record, cum_fee_detail=dict(record.cum_fee_detail))
    return record
