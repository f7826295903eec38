"""The courier: sends, cancels and amends, and finds out what became of what got no answer.

Nothing is sent twice. An order in doubt is asked for by its name, among open orders, in the history
and among executions, less and less often; one that was absent every time, while the stream was open
and for longer than the exchange takes late requests, is cancelled by its name and counts as not
placed. Should it ever show, it is taken for what it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from workbench.core.errors import ExchangeBusy, ExchangeError, OrderRejected, WorkbenchError
from workbench.exchange.records import Execution, Order
from workbench.exchange.requests import AmendRequest, CancelRequest
from workbench.execution.desk import Desk
from workbench.execution.memory import Working
from workbench.execution.orders import Fact, State, What

Act = asyncio.Future[None]
MARGIN_MS = 60_000
"""How much further back executions are asked for than needed."""
WORKS = frozenset({State.OPEN, State.PARTLY_FILLED})
_IN_DOUBT = frozenset({State.SENT, State.UNKNOWN, State.CANCELLING})


class Courier:
    """One order at a time, as far as the wire is concerned."""

    def __init__(self, desk: Desk, take: Callable[[Order | Execution], None]) -> None:
        self.desk, self._take = desk, take

    def next_act(self, own: Working) -> Act | None:
        """Return what is to be done about an order now, or None."""
        if own.is_busy or own.due > self.desk.clock.now():
            return None
        life, state = own.life, own.life.state
        if own.unwanted and state is State.PLANNED:
            self.desk.note(own, What.REFUSED, f"never sent: {own.unwanted}")
            return None
        if own.unwanted and state in WORKS:
            return self._hold(own, self._cancel(own))
        if state is State.PLANNED:
            return self._hold(own, self._send(own))
        is_whole = life.filled >= own.plan.request.qty > 0
        if state in _IN_DOUBT or life.missing or not life.is_seen or is_whole or own.is_missed:
            return self._hold(own, self._look(own))
        return None

    def amend(self, own: Working, request: AmendRequest) -> Act:
        """Change an order; whether that came about shows in its next row."""
        self.desk.commit(request)
        return self._hold(own, self._amend(own, request))

    def ask_cancel(self, own: Working, words: str) -> None:
        """Put on record that an order is to be cancelled now."""
        self.desk.note(own, What.CANCEL_ASKED, words, own.life.number(What.CANCEL_ASKED) + 1)
        self.desk.wait(own, self.desk.patience.flight_s)

    def _hold(self, own: Working, act: Coroutine[Any, Any, None]) -> Act:
        # Busy from now on, so that nobody does it too before it has begun.
        own.is_busy = True
        task = asyncio.ensure_future(act)
        task.add_done_callback(lambda _: own.release())
        return task

    async def _send(self, own: Working) -> None:
        number, link = own.life.number(What.SENT) + 1, own.life.link
        # Not in the journal: after a restart whatever was planned may have been sent.
        self.desk.memory.learn(own, Fact(link, What.SENT, "", number))
        own.sent_ms = self.desk.now_ms
        try:
            ack = await self.desk.venue.create(own.plan.request)
        except ExchangeBusy as error:
            self.desk.note(own, What.BUSY, str(error), number)
            self.desk.wait(own, self.desk.patience.first_s * 2**number)
            if number >= self.desk.patience.tries:
                self.desk.note(own, What.REFUSED, f"not taken {number} times: {error}")
        except OrderRejected as error:
            self.desk.note(own, What.REFUSED, str(error))
        except WorkbenchError as error:
            self.desk.note(own, What.UNKNOWN, str(error))
            self.desk.wait(own, self.desk.patience.first_s)
        else:
            self.desk.note(own, What.ACKNOWLEDGED, "accepted", 0, ack.order_id)
            self.desk.wait(own, self.desk.patience.flight_s)
        finally:
            if own.life.state is State.SENT:
                self.desk.note(own, What.UNKNOWN, "it was interrupted before an answer came")

    async def _cancel(self, own: Working) -> None:
        self.ask_cancel(own, own.unwanted)
        number = own.life.number(What.CANCEL_ASKED)
        try:
            await self.desk.venue.cancel(self._name(own))
        except (ExchangeBusy, OrderRejected) as error:
            self.desk.note(own, What.CANCEL_REFUSED, str(error), number)
        except WorkbenchError as error:
            # It stays asked: the stream or a look will tell, and a fill may win.
            self.desk.tell("order", own.symbol, own.life.link, f"The cancel is in doubt: {error}")

    async def _amend(self, own: Working, request: AmendRequest) -> None:
        self.desk.wait(own, self.desk.patience.flight_s)
        try:
            await self.desk.venue.amend(request)
        except WorkbenchError as error:
            own.is_missed = True  # it may have ended: it is looked after before it is amended again
            self.desk.tell("order", own.symbol, own.life.link, f"Not amended, or in doubt: {error}")

    async def _look(self, own: Working) -> None:
        own.looks += 1
        patience, link = self.desk.patience, own.life.link
        self.desk.wait(own, min(patience.first_s * 2**own.looks, patience.last_s))
        try:
            row = await self.desk.venue.find_order(own.symbol, link)
            if row is not None:
                own.is_missed = False
                self._take(row)
            if row is None or own.life.missing:
                since = own.plan.at_ms - MARGIN_MS
                for execution in await self.desk.venue.executions_since(since):
                    self._take(execution)
            if row is None and not own.life.is_seen:
                await self._miss(own)
            elif own.life.state is State.CANCELLING:
                number = own.life.number(What.CANCEL_ASKED)
                self.desk.note(own, What.CANCEL_REFUSED, "it is still open", number)
        except ExchangeError as error:
            self.desk.tell("order", own.symbol, link, f"It could not be asked for: {error}")
        age_s = (self.desk.now_ms - own.sent_ms) / 1_000
        if not own.life.is_settled and age_s > patience.deadline_s:
            words = f"{own.life.state} and not resolved after {age_s:.0f} s; its symbol waits"
            self.desk.tell("doubt", own.symbol, link, words)

    async def _miss(self, own: Working) -> None:
        if not self.desk.is_open():
            return
        own.absences += 1
        age_s = (self.desk.now_ms - own.sent_ms) / 1_000
        if own.absences < self.desk.patience.checks or age_s < self.desk.patience.absent_s:
            return
        self.ask_cancel(own, "absent: cancelled by its name, in case it comes late")
        ack = await self.desk.venue.cancel(self._name(own))
        if ack.code:
            words = f"not found {own.absences} times, nor to be cancelled: it was never placed"
            self.desk.note(own, What.ABSENT, words)
        else:
            self.desk.note(own, What.ACKNOWLEDGED, "found when it was cancelled", 0, ack.order_id)

    def _name(self, own: Working) -> CancelRequest:
        return CancelRequest(symbol=own.symbol, order_link_id=own.life.link)
