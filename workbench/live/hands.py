"""The supervisor's hands: its own connection to the exchange, short of patience.

It can close and cancel and set stops, and nothing else. Everything is asked once: what fails is
asked again in the next turn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Final, Protocol

from workbench.core.clock import SteadyClock
from workbench.core.errors import ExchangeBusy, OrderRejected, WorkbenchError
from workbench.core.records import Instrument
from workbench.exchange.client import BybitClient
from workbench.exchange.codes import RETRY_LATER, Outcome, find_outcome
from workbench.exchange.requests import CancelRequest, OrderRequest, Request, StopRequest
from workbench.live.flatten import Held
from workbench.live.flows import COIN
from workbench.live.supervisor import Money

RULES_FRESH: Final = timedelta(minutes=30)
"""Before the client's own hour is over: in an emergency nothing is asked that can be known."""
PATIENCE_S: Final = 3.0


class ImpatientClock(SteadyClock):
    """A clock that lets nobody wait for long: whoever must, is told to come again."""

    def sleep(self, seconds: float) -> None:
        """Wait for a moment, or refuse to."""
        if seconds > PATIENCE_S:
            raise ExchangeBusy(f"It would take {seconds:.0f} s.", "It is tried again later.")
        super().sleep(seconds)


class ClosingClient(BybitClient):
    """A client that can open nothing, and holds what closes against no rules: the exchange does.

    So an emergency needs no more answers than those to its orders.
    """

    def _check(self, request: OrderRequest) -> None:
        if not request.is_closing:
            raise OrderRejected(
                f"{request.order_link_id} could open a position.", "The supervisor only closes."
            )


class Hands(Protocol):
    """What the watch can do at the exchange."""

    def look(self) -> Held:
        """Return the positions and the open orders."""

    def learn(self, symbols: Sequence[str]) -> dict[str, Instrument]:
        """Return the rules of symbols."""

    def count(self, since: Callable[[datetime], datetime]) -> Money:
        """Return the money, with the log since a moment that depends on the exchange's time."""

    def send(self, requests: Sequence[Request]) -> list[str]:
        """Send requests, and return what was refused or failed in words."""


class ExchangeHands:
    """The watch's own connection to the exchange."""

    def __init__(self, client: BybitClient) -> None:
        self.client = client
        self._rules: dict[str, Instrument] = {}
        self._learned = client.clock.now()

    def look(self) -> Held:
        """Return the positions and the open orders."""
        return Held(self.client.positions(), self.client.open_orders())

    def learn(self, symbols: Sequence[str]) -> dict[str, Instrument]:
        """Return the rules of symbols, asked for before they are needed."""
        now, wanted = self.client.clock.now(), {*symbols, *self._rules}
        if wanted - self._rules.keys() or (wanted and now - self._learned > RULES_FRESH):
            self._rules |= {own.symbol: own for own in self.client.instruments(sorted(wanted))}
            self._learned = now
        return self._rules

    def count(self, since: Callable[[datetime], datetime]) -> Money:
        """Return the money in the coin of settlement; the log is read after the wallet."""
        coins = {own.coin: own for own in self.client.wallet().coin}
        at = self.client.time.now()
        rows = self.client.transactions(since(at), at + timedelta(seconds=1))
        own = coins.get(COIN)
        if own is None:
            return Money(at, Decimal(0), Decimal(0), rows)
        return Money(at, own.equity, own.wallet_balance, rows)

    def send(self, requests: Sequence[Request]) -> list[str]:
        """Send requests by kind: cancels, then what closes, then stops."""
        cancels = [own for own in requests if isinstance(own, CancelRequest)]
        closing = [own for own in requests if isinstance(own, OrderRequest)]
        stops = [own for own in requests if isinstance(own, StopRequest)]
        acts: list[Callable[[], list[str]]] = [partial(self._stop, own) for own in stops]
        if closing:
            acts.insert(0, partial(self._close, closing))
        if cancels:
            acts.insert(0, partial(self._cancel, cancels))
        failed: set[str] = set()
        for act in acts:
            try:
                failed |= set(act())
            except WorkbenchError as error:
                failed.add(str(error))
        return sorted(failed)

    def _cancel(self, requests: list[CancelRequest]) -> list[str]:
        acks = self.client.cancel_orders(requests)
        return [ack.message for ack in acks if find_outcome(ack.code, "cancel") is Outcome.REJECTED]

    def _stop(self, request: StopRequest) -> list[str]:
        self.client.set_stops(request)
        return []

    def _close(self, requests: list[OrderRequest]) -> list[str]:
        # Batches and single orders have limits of their own: whoever has used up the one leaves
        # the other. One that is refused must not keep the others back.
        try:
            acks = self.client.create_orders(requests)
        except (OrderRejected, ExchangeBusy):
            left, failed = requests, []
        else:
            pairs = list(zip(requests, acks, strict=True))
            left = [own for own, ack in pairs if ack.code in RETRY_LATER]
            failed = [ack.message for _, ack in pairs if ack.code and ack.code not in RETRY_LATER]
        for request in left:
            try:
                self.client.create_order(request)
            except OrderRejected as error:
                failed.append(str(error))
        return failed
