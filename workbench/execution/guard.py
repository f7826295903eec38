"""The guard: a stop of the whole size stands at the exchange for every position, always."""

from __future__ import annotations

from collections.abc import Awaitable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

from workbench.core.errors import OrderRejected, WorkbenchError
from workbench.exchange.records import ZERO, Position
from workbench.exchange.requests import AmendRequest, StopRequest
from workbench.exchange.words import OrderStatus
from workbench.execution.courier import Courier
from workbench.execution.desk import Desk
from workbench.execution.memory import Decided, Plan, Task, Working
from workbench.execution.stops import STOP, Leg, Protection, has_passed, leg_request, protect
from workbench.execution.venue import make_link

Act = Awaitable[None]


class Guard:
    """Compares what stands with what must stand, and mends the difference."""

    def __init__(self, desk: Desk, courier: Courier) -> None:
        self.desk, self.courier = desk, courier
        self._pauses: dict[tuple[str, ...], datetime] = {}

    def naked(self) -> list[str]:
        """Return the symbols whose position has no stop at the exchange."""
        return [s for s, own in self.desk.positions.items() if own.size and own.stop_loss is None]

    def watch(self, symbol: str) -> Iterator[Act]:
        """Yield what must be asked of the exchange now, after planning exits of strategies."""
        desk, position = self.desk, self.desk.positions[symbol]
        size, legs = position.signed_size, self.desk.memory.legs(symbol)
        is_agreed = size == desk.books.net(symbol)
        if is_agreed and not size:
            for own in legs.values():
                own.unwanted = "the position is closed"
            return
        wanted = self._wanted(symbol, position) if size else None
        if wanted is None:
            return
        # Between a fill and the position that follows from it there is nothing to compare.
        is_off = position.stop_loss is None or (is_agreed and _differs(position, wanted))
        if is_off and self._may(symbol):
            yield self._set_stop(position, wanted)
        if is_agreed:
            yield from self._match(symbol, 1 if size > 0 else -1, legs, wanted.legs)

    def _wanted(self, symbol: str, position: Position) -> Protection | None:
        desk, own = self.desk, self.desk.instruments[symbol]
        quote, size = desk.quote(symbol), position.signed_size
        mark = position.mark_price or (quote.mark if quote else position.avg_price)
        if mark is None:
            return None
        bare = position.stop_loss or desk.bare_level(mark, size, own)
        held, brackets = desk.books.held(symbol), desk.memory.brackets_of(symbol)
        return protect(size, held, brackets, tick=own.tick_size, step=own.qty_step, bare=bare)

    def _may(self, *key: str) -> bool:
        now = self.desk.clock.now()
        if self._pauses.get(key, now) > now:
            return False
        pause = self.desk.patience.flight_s if len(key) == 1 else self.desk.patience.last_s
        kept = {own: until for own, until in self._pauses.items() if until > now}
        self._pauses = kept | {key: now + timedelta(seconds=pause)}
        return True

    async def _set_stop(self, position: Position, wanted: Protection) -> None:
        desk, symbol = self.desk, position.symbol
        trail = wanted.trail or (ZERO if position.trailing_stop else None)
        request = StopRequest(symbol=symbol, stop_loss=wanted.stop, trailing_stop=trail)
        was = position.stop_loss
        desk.commit(request)
        desk.tell("stop", symbol, "", f"The stop is {was}, {wanted.stop:f} is set.")
        try:
            await desk.venue.set_stop(request)
        except OrderRejected as error:
            desk.tell("stop", symbol, "", f"The stop was refused: {error}")
            await desk.read_positions()
            side, quote = 1 if position.signed_size > 0 else -1, desk.quote(symbol)
            is_passed = quote is not None and has_passed(STOP, wanted.stop, side, quote.last)
            is_same = desk.positions[symbol].signed_size == position.signed_size
            if symbol in self.naked() or (is_passed and is_same):
                self._exit(symbol, str(error))
        except WorkbenchError as error:
            desk.tell("stop", symbol, "", f"Whether the stop stands is in doubt: {error}")

    def _exit(self, symbol: str, words: str) -> None:
        desk, task = self.desk, self.desk.memory.tasks.get(symbol)
        if task is None or not task.is_exit:
            expires = desk.now_ms + int(desk.patience.decision_s * 1_000)
            name = f"bare/{symbol}/{len(desk.memory.decisions)}"
            words = f"No stop can stand, so the position is closed: {words}"
            exit_ = Task(name, name, symbol, {}, expires, is_exit=True, words=words)
            desk.commit(Decided(name, (exit_,), words))
            desk.tell("stop", symbol, name, words)

    def _match(
        self,
        symbol: str,
        side: int,
        legs: dict[tuple[str, str], Working],
        wanted: dict[tuple[str, str], Leg],
    ) -> Iterator[Act]:
        for key, own in legs.items():
            row, leg = own.life.row, wanted.get(key)
            # One that was for the other side would enter now.
            if leg is None or own.plan.request.side.sign == side:
                own.unwanted = own.unwanted or "this exit is not needed any more"
            elif row is not None and row.order_status == OrderStatus.UNTRIGGERED:
                is_due = not (own.is_busy or own.is_missed) and own.due <= self.desk.clock.now()
                if (row.trigger_price, row.qty) != leg and is_due and not own.unwanted:
                    request = AmendRequest(
                        symbol=symbol, order_link_id=own.life.link, qty=leg.qty,
                        trigger_price=leg.trigger,
                    )  # fmt: skip
                    yield self.courier.amend(own, request)
        for (name, kind), leg in wanted.items():
            if (name, kind) not in legs:
                self._plan(symbol, side, name, kind, leg)

    def _plan(self, symbol: str, side: int, name: str, kind: str, leg: Leg) -> None:
        desk = self.desk
        quote, bracket = desk.quote(symbol), desk.memory.brackets[name, symbol]
        if quote is None or not self._may(symbol, name, kind, bracket.cause, str(leg)):
            return
        if has_passed(kind, leg.trigger, side, quote.last):
            words = f"{quote.last:f} has passed the {kind} at {leg.trigger:f}"
            self._leave(symbol, name, bracket.cause, words)
            return
        cause = f"{bracket.cause}/{name}"
        link = make_link(cause, symbol, desk.memory.counters.get((cause, symbol), 0))
        request = leg_request(symbol, link, kind, side, leg)
        claims = {name: Decimal(-side) * leg.qty}
        desk.commit(Plan(request, cause, bracket.cause, claims, desk.now_ms, leg=kind))

    def _leave(self, symbol: str, name: str, decision: str, words: str) -> None:
        desk, task = self.desk, self.desk.memory.tasks.get(symbol)
        if task is not None and (task.is_exit or task.targets.get(name) == 0):
            return
        cause = f"exit/{symbol}/{name}/{len(desk.memory.decisions)}"
        expires = desk.now_ms + int(desk.patience.decision_s * 1_000)
        base = task or Task(cause, decision, symbol, {}, expires)
        task = replace(base, cause=cause, targets={**base.targets, name: ZERO}, words=words)
        desk.commit(Decided(cause, (task,), words))
        desk.tell("stop", symbol, name, words)


def _differs(position: Position, wanted: Protection) -> bool:
    return (position.stop_loss, position.trailing_stop) != (wanted.stop, wanted.trail)
