"""A venue in memory that loses, delays, doubles and reorders, and a desk that trades on it."""

import asyncio
import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random

import numpy as np

from tests.risk.desk import make_book, make_outlook, make_system, make_targets
from workbench.core.clock import SimulatedClock
from workbench.core.errors import ExchangeBusy, OrderRejected, OrderUnknown
from workbench.exchange.records import Execution, Order, OrderAck, Position
from workbench.exchange.wire import to_millis
from workbench.exchange.words import (
    CancelType,
    CreateType,
    ExecType,
    OrderStatus,
    OrderType,
    RejectReason,
    Side,
    StopOrderType,
    TriggerDirection,
)
from workbench.execution.manager import OrderManager
from workbench.execution.venue import Quote

D = Decimal
START = datetime(2026, 1, 1, tzinfo=UTC)
SYMBOLS = ["AUSDT", "BUSDT"]
STRATEGIES = ["s0", "s1"]


def signed(side, qty):
    return side.sign * qty


class HostileVenue:
    """An exchange of net positions; ``chance`` decides what goes wrong, ``calm`` that nothing."""

    def __init__(self, clock, chance):
        self.clock, self.chance, self.calm = clock, chance, False
        self.price = dict.fromkeys(SYMBOLS, D(100))
        self.orders, self.net, self.stops, self.trails = {}, Counter(), {}, {}
        self.executions, self.frames, self.late, self.received = [], [], [], Counter()
        self.script = []
        self.count = 0
        self.listeners = None

    # What goes wrong

    def fate(self, *fates):
        if self.script:
            return self.script.pop(0)
        return "ok" if self.calm else self.chance.choice([*["ok"] * 4, *fates])

    @property
    def now_ms(self):
        return to_millis(self.clock.now())

    def tell(self, kind, record):
        """Send a frame, perhaps later, perhaps twice."""
        for _ in range(1 if self.calm else self.chance.choice([1, 1, 2])):
            wait = 0 if self.calm else self.chance.choice([0, 0, 1, 4])
            self.frames.append((self.clock.now() + timedelta(seconds=wait), kind, record))
        if not self.calm:
            self.chance.shuffle(self.frames)

    def due_frames(self):
        now = self.clock.now()
        for when, request in list(self.late):
            if when <= now:
                self.late.remove((when, request))
                self.accept(request)
        due = [frame for frame in self.frames if frame[0] <= now]
        self.frames = [frame for frame in self.frames if frame[0] > now]
        return [(kind, record) for _, kind, record in due]

    # The face

    async def create(self, request):
        fate = self.fate("refused", "busy", "kept", "lost", "late")
        self.received[request.order_link_id] += fate != "busy"
        assert self.received[request.order_link_id] <= 1, "an order was sent twice"
        await asyncio.sleep(0)
        if fate == "busy":
            raise ExchangeBusy("too many", "later")
        if fate == "refused":
            raise OrderRejected("refused", "never")
        if fate == "late":
            self.late.append((self.clock.now() + timedelta(seconds=4), request))
        elif fate != "lost":
            self.accept(request)
        if fate in ("kept", "lost", "late"):
            raise OrderUnknown("no answer", "ask")
        return OrderAck(self.orders[request.order_link_id].order_id, request.order_link_id)

    async def cancel(self, request):
        fate = self.fate("busy", "kept", "lost")
        await asyncio.sleep(0)
        if fate == "busy":
            raise ExchangeBusy("too many", "later")
        row = self.orders.get(request.order_link_id)
        is_open = row is not None and not row.order_status.is_final
        if is_open and fate != "lost":
            self.end(row, OrderStatus.CANCELLED, cancel_type=CancelType.USER)
        if fate in ("kept", "lost"):
            raise OrderUnknown("no answer", "ask")
        return OrderAck(row.order_id if row else "", code=0 if is_open else 110001)

    async def amend(self, request):
        fate = self.fate("busy", "kept", "lost")
        await asyncio.sleep(0)
        row = self.orders.get(request.order_link_id)
        if fate == "busy" or row is None or row.order_status.is_final:
            raise OrderRejected("cannot be amended", "no")
        if fate != "lost":
            changes = {"qty": request.qty, "price": request.price}
            changes["trigger_price"] = request.trigger_price
            self.show(row, **{name: own for name, own in changes.items() if own is not None})
        if fate in ("kept", "lost"):
            raise OrderUnknown("no answer", "ask")
        return OrderAck(row.order_id)

    async def cancel_all(self, symbol):
        if self.fate("lost") == "lost":
            raise OrderUnknown("no answer", "ask")
        for row in list(self.orders.values()):
            works = row.symbol == symbol and row.trigger_price is None
            if works and not row.order_status.is_final:
                self.end(row, OrderStatus.CANCELLED, cancel_type=CancelType.USER)

    async def set_stop(self, request):
        fate = self.fate("busy", "lost", "kept")
        await asyncio.sleep(0)
        if fate == "busy":
            raise ExchangeBusy("too many", "later")
        size = self.net[request.symbol]
        if not size or (self.price[request.symbol] - request.stop_loss) * size <= 0:
            raise OrderRejected("no such stop", "never")
        if fate != "lost":
            self.stops[request.symbol] = request.stop_loss
            if request.trailing_stop is not None:
                self.trails[request.symbol] = request.trailing_stop
            self.show_position(request.symbol)
        if fate in ("kept", "lost"):
            raise OrderUnknown("no answer", "ask")

    async def find_order(self, symbol, link):
        await asyncio.sleep(0)
        if self.fate("busy") == "busy":
            raise ExchangeBusy("too many", "later")
        return self.orders.get(link)

    async def executions_since(self, moment_ms):
        if self.fate("busy") == "busy":
            raise ExchangeBusy("too many", "later")
        return [own for own in self.executions if own.exec_time_ms >= moment_ms]

    async def positions(self):
        return [self.position(symbol) for symbol in SYMBOLS if self.net[symbol]]

    async def open_orders(self):
        return [row for row in self.orders.values() if not row.order_status.is_final]

    # The exchange itself

    def accept(self, request):
        self.count += 1
        link, is_waiting = request.order_link_id, request.trigger_price is not None
        row = Order(
            request.symbol, f"x{self.count}", request.side, request.order_type, request.qty,
            OrderStatus.UNTRIGGERED if is_waiting else OrderStatus.NEW, link, price=request.price,
            reduce_only=request.reduce_only, create_type=CreateType.USER,
            trigger_price=request.trigger_price, trigger_direction=request.trigger_direction,
            stop_loss=request.stop_loss, leaves_qty=request.qty, updated_time_ms=self.now_ms,
        )  # fmt: skip
        self.orders[link] = row
        self.tell("order", row)
        if is_waiting or request.order_type == OrderType.LIMIT:
            return
        self.match(row)

    def match(self, row):
        """Fill what can be filled of a market order, in parts, and cancel the rest."""
        wanted = row.qty
        if row.reduce_only:
            against = max(-signed(row.side, self.net[row.symbol]), D(0))
            wanted = min(wanted, against)
        if not self.calm and self.chance.random() < 0.2:
            wanted = (wanted / 2).quantize(D("0.001"))
        first = (wanted / 3).quantize(D("0.001"))
        for part in (first, wanted - first):
            if part:
                self.fill(self.orders[row.order_link_id], part)
        row = self.orders[row.order_link_id]
        if not row.order_status.is_final:
            self.end(row, OrderStatus.CANCELLED, reject_reason=RejectReason.NO_IMMEDIATE_QTY)

    def fill(self, row, qty):
        filled = row.cum_exec_qty + qty
        status = OrderStatus.FILLED if filled == row.qty else OrderStatus.PARTIALLY_FILLED
        self.trade(row.symbol, signed(row.side, qty), row.order_id, row.order_link_id,
                   create_type=row.create_type)  # fmt: skip
        self.show(row, cum_exec_qty=filled, leaves_qty=row.qty - filled, order_status=status)
        if row.stop_loss is not None and signed(row.side, self.net[row.symbol]) > 0:
            self.stops[row.symbol] = row.stop_loss
        self.show_position(row.symbol)

    def trade(self, symbol, qty, order_id, link="", **changes):
        self.count += 1
        side = Side.BUY if qty > 0 else Side.SELL
        fields = {"exec_fee": abs(qty) * D("0.05"), "order_link_id": link} | changes
        own = Execution(symbol, f"e{self.count}", order_id, side, self.price[symbol], abs(qty),
                        self.now_ms, **fields)  # fmt: skip
        self.executions.append(own)
        was, self.net[symbol] = self.net[symbol], self.net[symbol] + qty
        if was * self.net[symbol] <= 0:
            self.stops.pop(symbol, None)
            self.trails.pop(symbol, None)
        self.tell("execution", own)

    def show(self, row, **changes):
        own = replace(row, **changes, updated_time_ms=max(self.now_ms, row.updated_time_ms + 1))
        self.orders[row.order_link_id] = own
        self.tell("order", own)

    def end(self, row, status, **changes):
        self.show(row, order_status=status, leaves_qty=D(0), **changes)

    def position(self, symbol):
        size = self.net[symbol]
        self.count += 1
        return Position(
            symbol, abs(size), side=None if not size else Side.BUY if size > 0 else Side.SELL,
            mark_price=self.price[symbol], stop_loss=self.stops.get(symbol),
            trailing_stop=self.trails.get(symbol) or None, updated_time_ms=self.now_ms,
            seq=self.count,
        )  # fmt: skip

    def show_position(self, symbol):
        self.tell("position", self.position(symbol))

    # What happens without being asked for

    def external(self, symbol, qty, **changes):
        """A trade that nobody here sent."""
        self.trade(symbol, qty, f"other{self.count}", **changes)
        self.show_position(symbol)

    def pay_funding(self, symbol):
        if self.net[symbol]:
            self.count += 1
            self.executions.append(
                Execution(symbol, f"f{self.count}", "", Side.BUY, self.price[symbol],
                          abs(self.net[symbol]), self.now_ms, exec_type=ExecType.FUNDING,
                          exec_fee=self.net[symbol] * D("0.01"))
            )  # fmt: skip
            self.tell("execution", self.executions[-1])

    def drop_stop(self, symbol):
        """Somebody removes the stop by hand."""
        if self.stops.pop(symbol, None) is not None:
            self.show_position(symbol)

    def move(self, symbol, price):
        self.price[symbol] = price
        for row in [own for own in self.orders.values() if own.symbol == symbol]:
            rises = row.trigger_direction == TriggerDirection.RISE
            if row.order_status == OrderStatus.UNTRIGGERED:
                if price >= row.trigger_price if rises else price <= row.trigger_price:
                    self.show(row, order_status=OrderStatus.TRIGGERED)
                    self.match(self.orders[row.order_link_id])
            elif not row.order_status.is_final and signed(row.side, price - row.price) <= 0:
                self.fill(row, row.leaves_qty)
        size, stop = self.net[symbol], self.stops.get(symbol)
        if size and stop is not None and (price - stop) * size <= 0:
            self.external(
                symbol, -size, create_type=CreateType.STOP_LOSS,
                stop_order_type=StopOrderType.STOP_LOSS,
            )  # fmt: skip


class ListJournal:
    """A journal that keeps what a crash would leave: text, and its end perhaps not."""

    def __init__(self):
        self.lines = []

    def append(self, kind, document):
        self.lines.append((kind, json.dumps(document)))

    def entries(self):
        return [(kind, json.loads(text)) for kind, text in self.lines]

    def lose_end(self):
        """Forget everything after the last thing that was sent: all before it is on disk."""
        while self.lines and self.lines[-1][0] not in ("start", "intent", "amend", "stop"):
            self.lines.pop()


class TradingDesk:
    """A manager, its venue and its journal, on a clock that moves when it is told to."""

    def __init__(self, *, seed=0, calm=True, **options):
        self.clock = SimulatedClock(START)
        self.venue = HostileVenue(self.clock, Random(seed))
        self.journal, self.events, self.decisions = ListJournal(), [], {}
        self.system = make_system(2, 2, mode="aggressive")
        self.instruments = {
            symbol: replace(own, max_market_qty=D(5_000))
            for symbol, own in zip(SYMBOLS, map(self._instrument, SYMBOLS), strict=True)
        }
        self.forbidden, self.is_open, self.options = {}, True, options
        self.runner = asyncio.Runner()
        self.manager = self._make()
        self.venue.calm = True
        self.run(self.manager.recover())
        self.venue.calm = calm

    @staticmethod
    def _instrument(symbol):
        from tests.markets import make_instrument

        return make_instrument(symbol)

    def _make(self):
        return OrderManager(
            self.venue, self.journal, clock=self.clock, instruments=self.instruments,
            quote=lambda s: Quote(self.clock.now(), self.venue.price[s], self.venue.price[s]),
            permits=self.forbidden.get, is_open=lambda: self.is_open, listen=self.events.append,
            **self.options,
        )  # fmt: skip

    def close(self):
        self.runner.close()

    def run(self, coroutine):
        return self.runner.run(coroutine)

    # Deciding

    def decide(self, weights, *, brackets=None):
        """Review weights for the book as it is now."""
        books = self.manager.books
        qty = np.array([[float(books.held(s).get(k, 0)) for s in SYMBOLS] for k in STRATEGIES])
        book = make_book(self.system, qty=qty)
        prices = np.array([float(self.venue.price[s]) for s in SYMBOLS])
        outlook = make_outlook(self.system, price=prices, mark=prices)
        now = self.clock.now()
        self.system.observe(now, book, outlook)
        targets = make_targets(self.system, weights, brackets=brackets, known_at=now)
        decision = self.system.review(targets, book, outlook)
        self.decisions[decision.id] = decision
        return decision

    def trade(self, weights, *, styles=None, brackets=None):
        decision = self.decide(weights, brackets=brackets)
        self.run(self.manager.submit(decision, styles=styles))
        self.settle_frames()
        return decision

    # Time

    def settle_frames(self):
        for kind, record in self.venue.due_frames():
            getattr(self.manager, f"on_{kind}")(record)

    def wait(self, seconds=1.0):
        """Let time pass: frames arrive, and the manager looks twice at once."""
        self.clock.sleep(seconds)
        self.settle_frames()
        self.run(self._poll_twice())
        self.settle_frames()

    async def _poll_twice(self):
        await asyncio.gather(self.manager.poll(), self.manager.poll())

    def rest(self, n=12, seconds=20.0):
        """Nothing goes wrong any more, until everything is quiet."""
        self.venue.calm, self.is_open = True, True
        for _ in range(n):
            self.wait(seconds)

    def restart(self, *, loses_end=False):
        """Die, lose what was on the wire and perhaps the journal's end, and begin again."""
        if loses_end:
            self.journal.lose_end()
        self.venue.frames.clear()
        self.manager = self._make()
        self.manager.replay(self.journal.entries())
        for _ in range(20):
            try:
                self.run(self.manager.recover())
                break
            except ExchangeBusy:
                continue
        self.wait(0)

    # What must be true

    def check_always(self):
        """No order beyond its decision; strategies add up; what is out cannot overshoot."""
        memory, books = self.manager.memory, self.manager.books
        for symbol in SYMBOLS:
            books.check(symbol)
            task = memory.tasks.get(symbol)
            if task is None or task.is_exit:
                continue
            mine = [own for own in memory.trades(symbol) if own.plan.cause == task.cause]
            held = books.held(symbol)
            for name, target in task.targets.items():
                out = sum((books.claims(own.life.link).get(name, D(0)) for own in mine), D(0))
                left, now = target - held.get(name, D(0)) - out, target - held.get(name, D(0))
                assert left * now >= 0, (name, target, held, out, self.events[-25:])

    def check_quiet(self):
        """The books are the venue's, nothing works, and every position has its stop."""
        books = self.manager.books
        for symbol in SYMBOLS:
            assert books.net(symbol) == self.venue.net[symbol], symbol
            assert not self.venue.net[symbol] or self.venue.stops.get(symbol) is not None
            assert not [own for own in self.manager.memory.trades(symbol) if not own.life.row]
        assert all(books.knows(own.exec_id) for own in self.venue.executions)
        assert self.manager.guard.naked() == []
        plans = [entry for kind, entry in self.journal.entries() if kind == "intent"]
        by_link = {entry["request"]["order_link_id"]: entry for entry in plans}
        for link, row in self.venue.orders.items():
            assert row.reduce_only or by_link[link]["decision"] in self.decisions
        n_events = len(self.events)
        self.wait(20.0)
        assert not self.events[n_events:], self.events[-40:]
        known = {own.life.link for own in self.manager.memory.live.values()}
        for link, row in self.venue.orders.items():
            assert row.order_status.is_final or link in known

    def sent(self):
        """Rows of the orders that the venue has, but for exits that wait for a trigger."""
        return [row for row in self.venue.orders.values() if row.trigger_price is None]

    def held(self, symbol):
        return self.manager.books.held(symbol)

    def words(self, kind):
        return [event.words for event in self.events if event.kind == kind]
