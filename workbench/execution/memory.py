"""What execution remembers: a record for everything that changes it, and the state they add up to.

Every record is in the journal before anything follows from it, so that the same records, applied
again after a restart, give the same memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from pydantic import TypeAdapter

from workbench.core.errors import DataError
from workbench.exchange.records import ZERO, Execution, Order
from workbench.exchange.requests import AmendRequest, OrderRequest, StopRequest
from workbench.exchange.words import ExecType, TimeInForce
from workbench.execution.books import Crossing, Shares, VirtualBooks
from workbench.execution.orders import Fact, Life, advance
from workbench.execution.stops import Bracket
from workbench.portfolio.accounting import Fill


@dataclass(frozen=True, slots=True)
class Style:
    """How a change of position is traded; a limit price makes orders wait, for ``ttl_s`` each.

    Of the tasks of one ``group`` the first that is filled, even in part, ends the others.
    """

    algorithm: str = "market"
    price: Decimal | None = None
    time_in_force: TimeInForce = TimeInForce.GTC
    ttl_s: float | None = None
    group: str = ""


@dataclass(frozen=True, slots=True)
class Task:
    """What strategies are to hold of a symbol, until when, and what protects who enters.

    ``cause`` names it and its orders; ``decision`` is the one behind it, or the command. An exit
    only ever closes, everything, whoever holds it.
    """

    cause: str
    decision: str
    symbol: str
    targets: Mapping[str, Decimal]
    expires_ms: int
    brackets: Mapping[str, Bracket] = field(default_factory=dict)
    style: Style = field(default_factory=Style)
    is_exit: bool = False
    words: str = ""


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision, or a command to close, and what follows for each symbol that it changes."""

    id: str
    tasks: tuple[Task, ...]
    words: str = ""


@dataclass(frozen=True, slots=True)
class Started:
    """The first moment whose executions are booked here."""

    at_ms: int


@dataclass(frozen=True, slots=True)
class Closed:
    """The end of a task."""

    cause: str
    symbol: str
    words: str


@dataclass(frozen=True, slots=True)
class Plan:
    """An order before it is sent: for whom, by which task; of an exit also whose, and which leg."""

    request: OrderRequest
    cause: str
    decision: str
    claims: Mapping[str, Decimal]
    at_ms: int
    expires_ms: int = 0
    brackets: Mapping[str, Bracket] = field(default_factory=dict)
    leg: str = ""
    group: str = ""


@dataclass(slots=True, eq=False)
class Working:
    """An order: its plan, its life, and when to look after it next.

    ``unwanted`` says why it is to be cancelled; ``looks`` counts how often it was asked for,
    ``absences`` how often it was not there though the stream was open, and ``is_missed`` says that
    it must be asked for before anything else.
    """

    plan: Plan
    life: Life
    due: datetime
    sent_ms: int
    unwanted: str = ""
    looks: int = 0
    absences: int = 0
    is_busy: bool = False
    is_missed: bool = False

    def release(self) -> None:
        """Let it be acted on again."""
        self.is_busy = False

    @property
    def symbol(self) -> str:
        """What it trades."""
        return self.plan.request.symbol


KINDS: Final[Mapping[str, type]] = {
    "start": Started, "adoption": Fill, "decision": Decided, "close": Closed, "intent": Plan,
    "crossing": Crossing, "fact": Fact, "row": Order, "execution": Execution,
    "amend": AmendRequest, "stop": StopRequest,
}  # fmt: skip
Record = Started | Fill | Decided | Closed | Plan | Crossing | Fact | Order | Execution
Asked = AmendRequest | StopRequest
"""What is on record for people: it shows in what the exchange answers."""
_NAMES: Final = {own: kind for kind, own in KINDS.items()}
_ADAPTERS: Final[Mapping[str, TypeAdapter[Any]]] = {
    kind: TypeAdapter(own) for kind, own in KINDS.items()
}
KEPT: Final = 10_000
"""Settled orders that are remembered in full."""


def write_record(record: Record | Asked) -> tuple[str, dict[str, Any]]:
    """Return the kind of a record, and the record as plain values."""
    kind = _NAMES[type(record)]
    return kind, _ADAPTERS[kind].dump_python(record, mode="json")


def read_record(kind: str, document: Mapping[str, Any]) -> Record | Asked:
    """Return the record that was written."""
    if kind not in _ADAPTERS:
        raise DataError(f"{kind!r} is no record of execution.", f"Known are {', '.join(KINDS)}.")
    record: Record | Asked = _ADAPTERS[kind].validate_python(document)
    return record


class Memory:
    """Decisions, tasks, orders and books, as the records say."""

    def __init__(
        self,
        books: VirtualBooks,
        *,
        now: Callable[[], datetime],
        tell: Callable[[str, str, str, str], None],
    ) -> None:
        self.books, self._now, self._tell = books, now, tell
        self.decisions: set[str] = set()
        self.tasks: dict[str, Task] = {}
        self.orders: dict[str, Working] = {}
        self.live: dict[str, Working] = {}
        self.brackets: dict[tuple[str, str], Bracket] = {}
        self.counters: dict[tuple[str, str], int] = {}
        self.traded: dict[tuple[str, str], Decimal] = {}
        self.crossings: dict[str, int] = {}
        self.last: dict[tuple[str, str], Working] = {}
        self.began_ms = self.since_ms = 0
        self._links: dict[str, str] = {}
        self._settled: dict[str, None] = {}

    def find(self, link: str, order_id: str) -> Working | None:
        """Return an order by either name."""
        return self.orders.get(link) or self.orders.get(self._links.get(order_id, ""))

    def _own(self, news: Fact | Order) -> Working:
        link = news.link if isinstance(news, Fact) else news.order_link_id
        own = self.find(link, news.order_id)
        if own is None:
            raise DataError(f"{news} is of no order here.", "The journal lacks its beginning.")
        return own

    def trades(self, symbol: str) -> list[Working]:
        """Return the orders of a symbol that have not settled, but for exits that wait."""
        return [own for own in self.live.values() if own.symbol == symbol and not own.plan.leg]

    def legs(self, symbol: str) -> dict[tuple[str, str], Working]:
        """Return the exits of a symbol that have not settled, by strategy and leg."""
        return {
            (next(iter(own.plan.claims)), own.plan.leg): own
            for own in self.live.values()
            if own.symbol == symbol and own.plan.leg
        }

    def brackets_of(self, symbol: str) -> dict[str, Bracket]:
        """Return the brackets of who holds a symbol."""
        return {name: own for (name, held), own in self.brackets.items() if held == symbol}

    def apply(self, record: Record | Asked) -> None:
        """Take a record, whether it has just been written or is read again."""
        match record:
            case Started():
                self.began_ms = self.since_ms = record.at_ms
            case Fill():
                self.books.adopt(record)
            case Decided():
                self.decisions.add(record.id)
                self.tasks |= {task.symbol: task for task in record.tasks}
            case Closed():
                if record.symbol in self.tasks:
                    del self.tasks[record.symbol]
                self.last.pop((record.cause, record.symbol), None)
                self.traded.pop((record.cause, record.symbol), None)
            case Plan():
                self._take_plan(record)
            case Crossing():
                self._take_crossing(record)
            case Execution():
                self._take_execution(record)
            case Fact() | Order():
                self.learn(self._own(record), record)

    def learn(self, own: Working, event: Fact | Order | Execution) -> None:
        """Let an order know one more thing, and tell when its state changes by it."""
        before, life = own.life.state, advance(own.life, event)
        own.life, link = life, life.link
        if life.order_id:
            self._links[life.order_id] = link
        if life.state is not before:
            words = getattr(event, "words", "") or _words(event)
            self._tell("order", life.request.symbol, link, f"{before} → {life.state}: {words}")
        if not life.is_settled:
            self.live[link] = own
            self._settled.pop(link, None)
        elif self.live.pop(link, None) is not None:
            self._settled[link] = None
            self.last[own.plan.cause, own.symbol] = own
            if len(self._settled) > KEPT:
                self._forget(next(iter(self._settled)))

    def _forget(self, link: str) -> None:
        del self._settled[link]
        self._links.pop(self.orders.pop(link).life.order_id, None)

    def _take_plan(self, plan: Plan) -> None:
        request = plan.request
        link, key = request.order_link_id, (plan.cause, request.symbol)
        self.counters[key] = self.counters.get(key, 0) + 1
        self.books.claim(link, dict(plan.claims))
        own = Working(plan, Life(request, plan.expires_ms), self._now(), plan.at_ms)
        self.orders[link] = self.live[link] = own

    def _take_crossing(self, crossing: Crossing) -> None:
        before, task = self.books.held(crossing.symbol), self.tasks.get(crossing.symbol)
        self.books.cross(crossing)
        self.crossings[crossing.symbol] = self.crossings.get(crossing.symbol, 0) + 1
        self._lock(crossing.symbol, before, crossing.shares, task.brackets if task else {})

    def _take_execution(self, execution: Execution) -> None:
        symbol = execution.symbol
        own = self.find(execution.order_link_id, execution.order_id)
        before = self.books.held(symbol)
        if own is not None and own.plan.leg:
            # An exit is amended as its position changes: it closes what its strategy holds now.
            (name,) = own.plan.claims
            self.books.claim(own.life.link, {name: -before.get(name, ZERO)})
        shares = self.books.book(execution, own.life.link if own else "")
        self.since_ms = max(self.since_ms, execution.exec_time_ms)
        if own is not None:
            key, signed = (own.plan.cause, symbol), execution.side.sign * execution.exec_qty
            self.traded[key] = self.traded.get(key, ZERO) + signed
            self.learn(own, execution)
        if execution.exec_type == ExecType.FUNDING:
            self._tell("external", symbol, execution.exec_id, f"Funding: {execution.exec_fee} USDT")
            return
        is_trade = own is not None and not own.plan.leg
        self._lock(symbol, before, shares, own.plan.brackets if own else {})
        whose = ", ".join(f"{name} {qty:+f}" for name, qty in sorted(shares.items()))
        link, how = own.life.link if own else execution.order_id, execution.create_type or "-"
        words = f"{execution.exec_type} at {execution.exec_price:f} by {how}: {whose}"
        self._tell("fill" if own else "external", symbol, link, words)
        task = self.tasks.get(symbol)
        if not is_trade and task is not None and not task.is_exit:
            # Who was taken out does not enter again by a decision from before.
            left = {name: qty for name, qty in task.targets.items() if name not in shares}
            self.tasks[symbol] = replace(task, targets=left)

    def _lock(
        self, symbol: str, before: Shares, shares: Shares, brackets: Mapping[str, Bracket]
    ) -> None:
        # A bracket begins when a position opens or turns; the price is that of its own entry.
        for name in shares:
            key, was = (name, symbol), before.get(name, ZERO)
            line = self.books.shares.lines[key].position
            given, known = brackets.get(name), self.brackets.get(key)
            if not line.qty:
                self.brackets.pop(key, None)
            elif was * line.qty <= 0 or known is None:
                self.brackets.pop(key, None)
                if given is not None:
                    self.brackets[key] = replace(given, price=line.entry)
            elif given is not None and given.cause == known.cause:
                self.brackets[key] = replace(known, price=line.entry)

    def replay(self, entries: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        """Apply what a journal holds; records of others in it are passed over."""
        for kind, document in entries:
            if kind in KINDS:
                self.apply(read_record(kind, document))


def _words(event: Fact | Order | Execution) -> str:
    if isinstance(event, Execution):
        return f"{event.exec_qty:f} at {event.exec_price:f}"
    if isinstance(event, Order):
        return " ".join(filter(None, (event.order_status, event.cancel_type, event.reject_reason)))
    return str(event.what)
