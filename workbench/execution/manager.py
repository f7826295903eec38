"""The order manager: from decisions to orders, and from whatever the exchange says back to books.

``poll`` looks at what is remembered and does what is due. It waits for nothing but answers, so
that a test's clock can stand still; call it after events and on a timer. An order is in the
journal before it is sent, and is never sent again under another name.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

import numpy as np

from workbench.core.clock import Clock
from workbench.core.errors import RiskRefused, WorkbenchError
from workbench.core.records import Instrument, to_decimal
from workbench.exchange.records import Execution, Order, Position
from workbench.exchange.words import OrderType
from workbench.execution.books import VirtualBooks, fee_of
from workbench.execution.checks import Checks
from workbench.execution.courier import MARGIN_MS, WORKS, Courier
from workbench.execution.desk import Desk
from workbench.execution.guard import Act, Guard
from workbench.execution.memory import Decided, Started, Style, Task, Working
from workbench.execution.orders import State, What, advance
from workbench.execution.planner import Advise, Planner
from workbench.execution.stops import Bracket
from workbench.execution.venue import Event, Journal, OrderLimits, Patience, Quote, Venue
from workbench.portfolio.accounting import Fill
from workbench.risk.decision import Decision

FRACTION: Final = Decimal("1e-8")


class OrderManager:
    """Trades decisions on one account.

    Parameters
    ----------
    venue, journal, clock : Venue, Journal, Clock
    instruments : mapping of symbol to Instrument
        Read at each use, so that steps and limits may change.
    quote : callable
        From a symbol to its ``Quote``, or None.
    permits : callable
        From a strategy to the error that keeps it from entering, or None; asked for every order.
    is_open : callable
        Whether the private stream is open and its gap filled: while it is not there is no new
        risk, and no order counts as absent.
    listen : callable
        Told every ``Event``.
    advise : callable, optional
        Works tasks whose style names an algorithm; market and limit need none.
    limits, patience : OrderLimits, Patience, optional
    bare_stop : Decimal, default=0.1
        How far from the mark a position gets its stop whose holders have none, as a fraction.
    """

    def __init__(
        self,
        venue: Venue,
        journal: Journal,
        *,
        clock: Clock,
        instruments: Mapping[str, Instrument],
        quote: Callable[[str], Quote | None],
        permits: Callable[[str], WorkbenchError | None],
        is_open: Callable[[], bool],
        listen: Callable[[Event], None],
        advise: Advise | None = None,
        limits: OrderLimits | None = None,
        patience: Patience | None = None,
        bare_stop: Decimal = Decimal("0.1"),
    ) -> None:
        self.desk = desk = Desk(
            venue, journal, clock, instruments, quote, is_open, listen, patience or Patience(),
            bare_stop,
        )  # fmt: skip
        self.memory = desk.memory
        self.courier = Courier(desk, self._take)
        self.guard = Guard(desk, self.courier)
        checks = Checks(
            limits or OrderLimits(), permits, instruments, quote, clock.now, desk.memory
        )
        self.planner = Planner(desk, checks, self.courier, advise)

    @property
    def books(self) -> VirtualBooks:
        """Who holds what."""
        return self.desk.books

    # What is asked of it

    async def submit(
        self, decision: Decision, *, styles: Mapping[str, Style] | None = None
    ) -> None:
        """Trade towards what a decision lets be held; one that was submitted before does nothing.

        Raises
        ------
        RiskRefused
            If it is no decision of the risk system.
        """
        if type(decision) is not Decision:
            raise RiskRefused(
                f"A {type(decision).__name__} is no decision.",
                "Submit what RiskSystem.review returns.",
            )
        if decision.id in self.memory.decisions:
            self.desk.tell("drop", "", decision.id, "This decision was submitted before.")
            return
        tasks = [
            self._read_task(decision, s, (styles or {}).get(decision.symbols[s], Style()))
            for s in np.nonzero(_touched(decision).any(axis=0))[0].tolist()
        ]
        self.desk.commit(Decided(decision.id, tuple(tasks), decision.explain()))
        await self.poll()

    async def flatten(
        self, command: str, words: str, *, symbols: Iterable[str] | None = None
    ) -> None:
        """Close everything that anybody holds, reduce-only; a command works once."""
        if command in self.memory.decisions:
            self.desk.tell("drop", "", command, "This command was given before.")
            return
        lines = {symbol for _, symbol in self.books.shares.lines if symbol}
        held = lines | set(self.desk.positions)
        tasks = [
            Task(command, command, symbol, {}, self._end_ms, is_exit=True, words=words)
            for symbol in sorted(held if symbols is None else symbols)
        ]
        self.desk.commit(Decided(command, tuple(tasks), words))
        await self.poll()

    async def cancel_all(self, words: str) -> None:
        """Give up every task and cancel every order but those that protect."""
        for task in list(self.memory.tasks.values()):
            self.desk.close(task, words)
        for symbol in sorted({own.symbol for own in self.memory.live.values()}):
            trades = self.memory.trades(symbol)
            for own in trades:
                own.unwanted = words
                if own.life.state in WORKS:
                    self.courier.ask_cancel(own, words)
            if trades:
                try:
                    await self.desk.venue.cancel_all(symbol)
                except WorkbenchError as error:
                    self.desk.tell("doubt", symbol, "", f"Cancelling all is in doubt: {error}")
        await self.poll()

    # What it is told

    def on_order(self, row: Order) -> None:
        """Take an order as the stream or REST shows it; one of others is none of its business."""
        own = self.memory.find(row.order_link_id, row.order_id)
        if own is not None and advance(own.life, row) is not own.life:
            self.desk.commit(row)
            own.due = min(own.due, self.desk.clock.now() + self._flight)

    def on_execution(self, execution: Execution) -> None:
        """Take an execution, whoever brought it about.

        Raises
        ------
        DataError, ReconcileError
            If it cannot be booked, or is of an order that is another; nothing is on record then.
        """
        is_before = execution.exec_time_ms < self.memory.began_ms
        if is_before or self.books.knows(execution.exec_id):
            return
        fee_of(execution)
        own = self.memory.find(execution.order_link_id, execution.order_id)
        if own is not None:
            advance(own.life, execution)
        self.desk.commit(execution)

    def on_position(self, position: Position) -> None:
        """Take a position as the stream or REST shows it."""
        self.desk.take_positions([position])

    def adopt(self, symbol: str, words: str) -> None:
        """Book by how much a position differs from the books as nobody's, at its entry price."""
        desk, position = self.desk, self.desk.positions[symbol]
        qty = position.signed_size - self.books.net(symbol)
        price = position.avg_price or position.mark_price
        if qty and price is not None:
            name = f"adopted/{symbol}/{len(self.books.account.postings)}"
            # An average may have more decimals than books keep.
            desk.commit(Fill(name, desk.clock.now(), symbol, qty, price.quantize(FRACTION)))
            desk.tell("external", symbol, name, f"{qty:+f} at {price:f} adopted: {words}")

    def replay(self, entries: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        """Remember what a journal holds; what was under way is in doubt until it is found."""
        self.desk.is_replaying = True
        self.memory.replay(entries)
        self.desk.is_replaying = False
        for own in list(self.memory.live.values()):
            own.sent_ms = self.desk.now_ms  # at the latest
            if own.life.state in (State.PLANNED, State.SENT):
                self.desk.note(own, What.UNKNOWN, "the process ended before an answer came")

    async def recover(self) -> None:
        """Ask for everything that may have been missed; at the very first start nothing was."""
        venue = self.desk.venue
        if not self.memory.since_ms:
            self.desk.commit(Started(self.desk.now_ms))
        since = max(self.memory.since_ms - MARGIN_MS, self.memory.began_ms)
        for execution in await venue.executions_since(since):
            self.on_execution(execution)
        rows = await venue.open_orders()
        for row in rows:
            self.on_order(row)
        await self.desk.read_positions()
        shown = {row.order_link_id for row in rows}
        for link, own in self.memory.live.items():
            own.due, own.is_missed = self.desk.clock.now(), link not in shown

    # What it does

    async def poll(self) -> None:
        """Do what is due: plan, send, cancel, look after, protect.

        Raises
        ------
        ReconcileError
            If exchange and books cannot both be right: trading must halt.
        """
        symbols = {own.symbol for own in self.memory.live.values()} | set(self.memory.tasks)
        acts: list[Act] = [a for symbol in sorted(symbols) for a in self.planner.drive(symbol)]
        acts += [a for symbol in sorted(self.desk.positions) for a in self.guard.watch(symbol)]
        for own in sorted(self.memory.live.values(), key=_urgency):
            act = self.courier.next_act(own)
            if act is not None:
                acts.append(act)
        # They start in this order: stops, cancels, what closes, market orders, the others.
        await asyncio.gather(*acts)

    @property
    def _end_ms(self) -> int:
        return self.desk.now_ms + int(self.desk.patience.decision_s * 1_000)

    @property
    def _flight(self) -> timedelta:
        return timedelta(seconds=self.desk.patience.flight_s)

    def _take(self, found: Order | Execution) -> None:
        if isinstance(found, Order):
            self.on_order(found)
        else:
            self.on_execution(found)

    def _read_task(self, decision: Decision, s: int, style: Style) -> Task:
        symbol, step = decision.symbols[s], self.desk.instruments[decision.symbols[s]].qty_step
        earlier = self.memory.tasks.get(symbol)
        targets, brackets = {}, {}
        if earlier is not None and not earlier.is_exit:
            targets, brackets = dict(earlier.targets), dict(earlier.brackets)
        for k in np.nonzero(_touched(decision)[:, s])[0].tolist():
            name = decision.strategies[k]
            targets[name] = to_decimal(float(decision.qty[k, s]), step=step)
            if targets[name]:
                price = to_decimal(float(decision.price[s]), step=FRACTION)
                distances = (
                    None if np.isnan(own) else to_decimal(own, step=FRACTION)
                    for own in decision.brackets[k, s].tolist()
                )  # fmt: skip
                brackets[name] = Bracket(decision.id, price, *distances)
        return Task(decision.id, decision.id, symbol, targets, self._end_ms, brackets, style)


def _touched(decision: Decision) -> np.ndarray[Any, np.dtype[np.bool_]]:
    # Where a decision says something; elsewhere what was decided before goes on.
    touched: np.ndarray[Any, np.dtype[np.bool_]] = decision.qty != decision.held
    for cut in decision.cuts:
        touched = touched | (cut.after != cut.before)
    value = decision.held * decision.price
    return touched | (np.abs(decision.asked_usdt - value) > 1e-9 * np.abs(value) + 1e-9)


def _urgency(own: Working) -> int:
    request = own.plan.request
    if own.unwanted:
        return 0
    if request.is_closing:
        return 1
    return 2 if request.order_type == OrderType.MARKET else 3
