"""What the exchange holds: markets, accounts, the bank, open orders, and what it has to tell."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush
from typing import Any, NamedTuple

from workbench.core.records import Instrument
from workbench.exchange.simulator import views
from workbench.exchange.simulator.accounts import Account, Bank
from workbench.exchange.simulator.markets import SymbolMarket
from workbench.exchange.simulator.orders import LiveOrder
from workbench.exchange.simulator.positions import Position
from workbench.exchange.simulator.rules import Contract, Settings
from workbench.exchange.words import CancelType, OrderStatus, RejectReason


class Event(NamedTuple):
    """What happened, to whom, and how it stands now.

    ``order``, ``execution``, ``position`` and ``wallet`` are of a uid; ``trade`` and
    ``liquidation`` of a symbol.
    """

    kind: str
    whose: str
    record: Any


class Registry:
    """Accounts, markets and orders by name, the bank, and events that wait to be taken."""

    def __init__(
        self, instruments: Sequence[Instrument], *, settings: Settings, seed: int, start_ms: int
    ) -> None:
        self.settings, self.seed, self.now_ms = settings, seed, start_ms
        self.markets = {
            i.symbol: SymbolMarket(
                Contract(i), settings, f"{seed & 0xFFFFFFFF:08x}-{n:04x}-4001-8000-"
            )
            for n, i in enumerate(instruments)
        }
        for market in self.markets.values():
            market.now_ms = start_ms
            period = market.contract.instrument.funding_interval_min * 60_000
            market.next_funding_ms = start_ms + period - start_ms % period
        self.accounts: dict[str, Account] = {}
        self.bank = Bank(settings.insurance_usdt)
        self.wanted: set[str] = {"trade", "liquidation"}
        self.latency_ms = 0 if settings.is_exact else round(settings.costs.latency_s * 1000)
        self._events: list[Event] = []
        self._moved: dict[Position, None] = {}
        self._paid: dict[Account, None] = {}
        self._queue: list[tuple[int, int, LiveOrder, Any]] = []
        self._salt = f"{seed & 0xFFFFFFFF:08x}-0000-4000-8000-"
        self._n = 0

    # What is told.

    def name(self) -> str:
        """Return the next identity, the same ones for the same seed."""
        self._n += 1
        return f"{self._salt}{self._n:012x}"

    def say(self, kind: str, whose: str, record: Any) -> None:
        """Note an event."""
        self._events.append(Event(kind, whose, record))

    def tell(self, order: LiveOrder) -> None:
        """Note how an order stands, and that its position and wallet are to be told."""
        order.updated_ms = self.now_ms
        self.say("order", order.position.account.uid, views.order_record(order))
        self.note(order.position)

    def note(self, position: Position) -> None:
        """Note that a position and its wallet are to be told."""
        self._moved[position] = None
        self._paid[position.account] = None

    def flush(self) -> None:
        """Tell of each position and wallet that changed, once."""
        states = {account: account.state() for account in self._paid}
        for position in self._moved:
            account = position.account
            self.say("position", account.uid, views.position_record(position, states[account]))
        for account, state in states.items():
            self.say("wallet", account.uid, views.wallet_record(account, state))
        self._moved.clear()
        self._paid.clear()

    # The life of an order.

    def register(self, order: LiveOrder) -> None:
        """Take an order up among the open ones of its account."""
        account = order.position.account
        order.order_id = order.order_id or self.name()
        order.rank = self._n
        order.created_ms = order.updated_ms = self.now_ms
        order.last_on_created = order.position.market.last
        account.orders[order.order_id] = order
        if order.link:
            account.links[order.link] = order
        if order.is_waiting:
            order.position.market.triggers.append(order)

    def is_open(self, order: LiveOrder) -> bool:
        """Return whether an order has not ended yet."""
        return order.order_id in order.position.account.orders

    def later(self, order: LiveOrder, act: Any) -> None:
        """Do something to an order when it reaches the matching."""
        if self.latency_ms:
            self._n += 1
            heappush(self._queue, (self.now_ms + self.latency_ms, self._n, order, act))
        else:
            act(order)

    def run_queue(self, to_ms: int) -> None:
        """Let what has reached the matching by a moment act."""
        while self._queue and self._queue[0][0] <= to_ms:
            moment, _, order, act = heappop(self._queue)
            self.now_ms = max(self.now_ms, moment)
            act(order)

    def cancel(
        self,
        order: LiveOrder,
        cancel_type: CancelType = CancelType.NONE,
        reject: RejectReason = RejectReason.PER_CANCEL_REQUEST,
        status: OrderStatus = OrderStatus.CANCELLED,
    ) -> None:
        """End an order without a further fill."""
        position = order.position
        if order.is_waiting:
            status = OrderStatus.DEACTIVATED
            position.market.triggers.remove(order)
            if order in position.stops:
                position.stops.remove(order)
        else:
            position.market.book.leave(order)
        if order.is_held:
            position.hold(order, -1)
        order.move(status)
        order.cancel_type, order.reject = cancel_type, reject
        position.account.finish(order)
        self.tell(order)
