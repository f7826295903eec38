"""The engine: from a closed bar to orders, for several strategies on one account.

A bar goes through one round (``portfolio.rounds``), as in a backtest: prices, what strategies want,
the account as it is, what is due, risk's decision, the order manager. Nothing here waits for a
store, a clock or a socket: the run around it (``live.run``) brings bars, events and commands, and
a replay drives it by itself.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from workbench.core.clock import Clock
from workbench.core.errors import ConfigError, RiskRefused, WorkbenchError
from workbench.core.lots import whole_lots
from workbench.core.records import FIELDS, Instrument, to_decimal, to_float
from workbench.exchange.records import Execution, Order, Position, Wallet
from workbench.execution.manager import OrderManager
from workbench.execution.venue import Event, OrderLimits, Patience, Quote, Venue
from workbench.live.commands import Command, Outcome
from workbench.live.holdings import Holdings
from workbench.live.journal import Journal
from workbench.live.outbox import Outbox, fit
from workbench.live.recorder import Mirrored, Recorder, Tap
from workbench.live.roster import MOVES, CanSend, Phase, Roster, Wants
from workbench.live.window import CLOSE, MARK, PLACE, Row, Window, traded_a_day
from workbench.monitor.alerts import Alert, Severity
from workbench.portfolio.rounds import Rounds
from workbench.risk.caps import overlap
from workbench.risk.limits import Limits
from workbench.risk.outlook import Backdrop
from workbench.risk.state import Book, Outlook
from workbench.strategies.base import WEIGHT_QUANTUM

log = logging.getLogger(__name__)

Floats = NDArray[np.float64]
Refuse = Callable[[str, Decimal], WorkbenchError | None]
"""From a strategy and the capital that it would use to why it may not enter, or None."""

CENT: Final = Decimal("0.01")
BARE: Final = timedelta(seconds=5)
"""How long a position may be shown without a stop before a person hears of it."""
HIGH, LOW = PLACE["high"], PLACE["low"]


class State(StrEnum):
    """What the engine does: trade, only exit, neither because something is wrong, or end."""

    RUNNING = "running"
    PAUSED = "paused"
    HALTED = "halted"
    DRAINING = "draining"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class World:
    """What an engine is handed: where it trades, by which clock, and what it tells.

    ``refuse`` is asked about every entry; ``is_open`` says whether the private stream is whole;
    ``keep`` takes rows for the store, ``event`` events for it (their kind and detail), and
    ``alert`` what a person should hear now.
    """

    venue: Venue
    venue_name: str
    journal: Journal
    clock: Clock
    instruments: Mapping[str, Instrument]
    quote: Callable[[str], Quote | None]
    refuse: Refuse
    is_open: Callable[[], bool]
    keep: Callable[[int, Mirrored], None]
    alert: Callable[[Alert], None]
    event: Callable[[str, Mapping[str, Any]], None]
    patience: Patience = field(default_factory=Patience)


class Engine:
    """Several strategies on one account.

    Parameters
    ----------
    world : World
    window : Window
        With the bars of before; rows are in it when ``close_bar`` is called.
    roster : Roster
    rounds : Rounds
        Over the strategies of the roster and the symbols of the window, in their order.
    capital : mapping of str to Decimal
        What each strategy may use, in USDT.
    """

    def __init__(
        self,
        world: World,
        window: Window,
        roster: Roster,
        rounds: Rounds,
        *,
        capital: Mapping[str, Decimal],
    ) -> None:
        self.world, self.window, self.roster, self.rounds = world, window, roster, rounds
        self.capital, self.journal = dict(capital), world.journal
        self.state, self.words = State.RUNNING, ""
        self.backdrop = Backdrop()
        self.limits: Limits = rounds.system.limits
        self.tap = Tap(world.journal)
        self.outbox = Outbox(world.venue, world.journal, world.clock, self._sent)
        self.manager = OrderManager(
            self.outbox, self.tap, clock=world.clock, instruments=world.instruments,
            quote=world.quote, permits=self.refusal, is_open=world.is_open, listen=self.hear,
            limits=_order_limits(self.limits), patience=world.patience,
            bare_stop=to_decimal(self.limits.max_stop, step=Decimal("0.0001")),
        )  # fmt: skip
        self.holdings = Holdings(self.manager, rounds, world.instruments)
        self.recorder = Recorder(
            self.tap, self.manager, self.holdings, venue=world.venue_name,
            hashes={name: own.strategy_hash for name, own in roster.runners.items()},
            quote=world.quote, clock=world.clock, keep=world.keep,
        )  # fmt: skip
        self.changes: list[Any] = []
        self.last_decision = ""
        self._told: dict[str, str] = {}
        self._naked: dict[str, datetime] = {}
        self._open: set[str] = set()
        self._day: date | None = None

    # Entries

    def refusal(self, strategy: str) -> WorkbenchError | None:
        """Return why a strategy may not enter now, None where it may."""
        if self.state is not State.RUNNING:
            return RiskRefused(f"The engine is {self.state}. {self.words}".strip(), "No entries.")
        runner = self.roster.runners.get(strategy)
        if runner is None or runner.phase is not Phase.RUNNING:
            seen = "not here" if runner is None else runner.phase
            return RiskRefused(f"{strategy} is {seen}.", "It may only close what it holds.")
        k = self.rounds.system.strategies.index(strategy)
        used = max(self.holdings.equity_usdt * float(self.shares()[k]), 0.0)
        return self.world.refuse(strategy, min(to_decimal(used, step=CENT), self.capital[strategy]))

    def shares(self) -> Floats:
        """Return the fraction of the equity that each strategy is allotted.

        Their capitals, in proportion where the equity is less than all of them together.
        """
        capital = np.array([to_float(self.capital[n]) for n in self.rounds.system.strategies])
        most = 1.0 if len(capital) == 1 else self.limits.max_strategy_share
        total, equity = capital.sum(), self.holdings.equity_usdt
        shares = capital / max(total, equity) if max(total, equity) > 0.0 else capital * 0.0
        return np.minimum(shares, most)

    # A bar

    async def close_bar(self, rows: Sequence[Row]) -> None:
        """Take bars that have closed, each in the window already; the newest is decided on."""
        for row in rows[:-1]:
            self.catch_up(row)
        if self.state is State.STOPPED:
            return
        try:
            await self._decide(rows[-1])
        except WorkbenchError as error:
            self.halt(f"The bar of {rows[-1].known_at:%Y-%m-%d %H:%M} could not be traded: {error}")

    def catch_up(self, row: Row) -> None:
        """Let a bar that is too old to act on count for forecasts and stops."""
        values = row.values
        self.journal.append("bar", _bar(row))
        self.rounds.advance(row.known_at, values[CLOSE], values[MARK])
        self.holdings.advance(values[HIGH], values[LOW])

    async def _decide(self, row: Row) -> None:
        self.settle()
        self.catch_up(row)
        shares = self.shares()
        symbols = {name: own.symbols for name, own in self.roster.runners.items()}
        wants = await self.roster.ask(
            self.window,
            lambda own: self.holdings.seen_by(own.name, shares, symbols[own.name]),
            lambda own: self._can_send(own.name, shares),
        )
        self._tell_failures(wants.failures)
        # From here on nothing waits: what is decided is about the account as it is now.
        self.settle()
        sent, refused = self.outbox.rates()
        book = self.holdings.book(shares, orders_per_min=sent, reject_rate=refused)
        outlook = self.rounds.outlook(self.backdrop, turnover_usdt=traded_a_day(self.window))
        _, changes = self.rounds.observe(row.known_at, book, outlook)
        for change in changes:
            self._alert(f"breaker {change.kind.words}", Severity.WARNING, change.words)
        self.changes += changes
        wanted = self._within_rights(wants.weights, book, outlook)
        self.rounds.sizing.take(wants.weights)
        self._journal_wants(row.known_at, wants)
        due = self.rounds.due(wanted, book)
        if self.state is State.HALTED:
            due[:] = False
        elif due.any() or self.rounds.system.needs_trim(book, outlook):
            await self._ask(row.known_at, wanted, due, wants, book, outlook)
        self._worth(row.known_at, book)
        is_new_day, self._day = row.known_at.date() != self._day, row.known_at.date()
        self._remember()
        if is_new_day or changes:
            self.checkpoint()

    async def _ask(
        self,
        known_at: datetime,
        wanted: Floats,
        due: NDArray[np.bool_],
        wants: Wants,
        book: Book,
        outlook: Outlook,
    ) -> None:
        decision = self.rounds.ask(known_at, wanted, due, wants.brackets, book, outlook)
        self.holdings.decided(decision, np.where(due, wanted, np.nan))
        mids = {
            symbol: quote.mid
            for symbol in decision.symbols
            if (quote := self.world.quote(symbol)) is not None
        }
        now = self.world.clock.now()
        self.recorder.decided(decision.id, now, mids)
        self.journal.append(
            "asked", {"decision": decision.id, "known_at": known_at, "mids": mids, "at": now}
        )
        self.last_decision = decision.id
        # Whoever starts again after this knows what the orders that follow are about.
        self._remember()
        await self.manager.submit(decision, styles=wants.styles)
        self.settle()

    def _within_rights(self, weights: Floats, book: Book, outlook: Outlook) -> Floats:
        # Who may not enter keeps what it holds, or less where it wants less.
        wanted = weights.copy()
        scale = self.rounds.system.leverage * book.equity_usdt * book.shares
        for k, name in enumerate(self.rounds.system.strategies):
            if np.isnan(weights[k]).all() or self.refusal(name) is None:
                continue
            held = np.nan_to_num(book.qty[k] * outlook.price) / scale[k] if scale[k] else 0.0
            less = overlap(np.nan_to_num(weights[k]), held + np.zeros_like(weights[k]))
            is_less = ~np.isnan(weights[k]) & (np.abs(less) < np.abs(held))
            quantised = np.rint(less / WEIGHT_QUANTUM) * WEIGHT_QUANTUM
            wanted[k] = np.where(is_less, quantised, np.nan)
        return wanted

    def _can_send(self, name: str, shares: Floats) -> CanSend:
        # Whether a weight would lead to an order: what a group of intents is held to.
        k = self.rounds.system.strategies.index(name)
        scale = self.rounds.system.leverage * self.holdings.equity_usdt * shares[k]

        def can_send(symbol: str, weight: float) -> bool:
            s = self.rounds.system.symbols.index(symbol)
            own, price = self.world.instruments[symbol], float(self.window.last[CLOSE, s])
            if np.isnan(price):
                return False
            held, acted = self.holdings.qty[k, s], self.rounds.weight[k, s] * WEIGHT_QUANTUM
            target = float(whole_lots(weight * scale / price, to_float(own.qty_step)))
            delta = abs(target - held)
            is_small = delta < to_float(own.min_qty) or delta * price < to_float(
                own.min_notional_usdt
            )
            moves = target != held and not (target and is_small)
            return moves or abs(weight - acted) < WEIGHT_QUANTUM / 2

        return can_send

    # What comes in

    def take(self, record: Order | Execution | Position | Wallet) -> None:
        """Take what the private stream says."""
        try:
            if isinstance(record, Order):
                self.manager.on_order(record)
            elif isinstance(record, Execution):
                self.manager.on_execution(fit(record))
            elif isinstance(record, Position):
                self.manager.on_position(record)
        except WorkbenchError as error:
            self.halt(str(error))
        self.settle()

    def hear(self, event: Event) -> None:
        """Take what execution tells."""
        self.journal.append("told", event._asdict())
        if event.kind == "order":
            self._open.add(event.name)
        elif event.kind == "doubt":
            self._alert(f"order {event.name}", Severity.WARNING, f"{event.symbol}: {event.words}")

    def settle(self) -> None:
        """Let what was booked, or has ended, count and be on record."""
        self.recorder.drain()
        self._open = {link for link in self._open if not self.recorder.ended(link)}

    async def poll(self) -> None:
        """Let the manager do what is due."""
        try:
            await self.manager.poll()
        except WorkbenchError as error:
            self.halt(str(error))
        self.settle()
        self._watch_stops()

    def _watch_stops(self) -> None:
        # Between a fill and the stop that comes with it a position may be shown without one.
        naked, now = self.manager.guard.naked(), self.world.clock.now()
        for symbol in self._naked.keys() - set(naked):
            self.world.alert(Alert(f"bare {symbol}", Severity.CRITICAL, "It has a stop.", True))
        self._naked = {symbol: self._naked.get(symbol, now) for symbol in naked}
        for symbol, since in self._naked.items():
            if now - since > BARE:
                self._alert(f"bare {symbol}", Severity.CRITICAL, "No stop stands at the exchange.")

    def _alert(self, key: str, severity: Severity, words: str) -> None:
        self.world.alert(Alert(key, severity, words))

    def _sent(self, link: str, symbol: str) -> None:
        self.recorder.sent(link, symbol)

    # What people ask

    def halt(self, words: str) -> None:
        """Let nothing enter any more until a person resumes; stops stay, exits are managed."""
        if self.state is not State.HALTED:
            self.state, self.words = State.HALTED, words
            self.journal.append("halt", {"words": words})
            self._alert("engine halted", Severity.CRITICAL, words)

    async def obey(self, command: Command) -> Outcome:
        """Carry out a command; one that was carried out before does nothing."""
        self.journal.append(
            "command",
            {
                "id": command.id, "name": command.name, "by": command.by,
                "reason": command.reason, "arguments": command.arguments,
                "number": command.number,
            },
        )  # fmt: skip
        try:
            words = await self._obey(command)
            outcome = Outcome(command.id, True, words)
        except WorkbenchError as error:
            outcome = Outcome(command.id, False, str(error))
        self.journal.append("outcome", {**_fields(outcome), "number": command.number})
        self.settle()
        self._remember()
        return outcome

    async def _obey(self, command: Command) -> str:
        name, given = command.name, command.arguments
        strategy = given.get("strategy")
        if name in MOVES and strategy:
            return self._move(str(strategy), name, f"{command.by}: {command.reason}")
        if name == "close":
            symbol = str(given["symbol"])
            self._know(symbol)
            self.holdings.give_up(symbol)
            await self.manager.flatten(command.id, command.reason, symbols=[symbol])
            return f"{symbol} is being closed."
        if name == "flatten":
            self._go(State.PAUSED, f"Flattened by {command.by}: {command.reason}")
            for symbol in self.rounds.system.symbols:
                self.holdings.give_up(symbol)
            await self.manager.cancel_all(command.reason)
            await self.manager.flatten(command.id, command.reason)
            return "Everything is being closed, and nothing enters until resume."
        if name == "pause":
            self._go(State.PAUSED, f"Paused by {command.by}: {command.reason}")
            return "Nothing enters; exits go on."
        if name in ("resume", "start"):
            self._go(State.RUNNING, "")
            return "Strategies may enter again."
        if name == "stop":
            after = State.DRAINING if given.get("drain") else State.STOPPED
            self._go(after, f"Stopped by {command.by}: {command.reason}")
            if after is State.STOPPED:
                await self.manager.cancel_all(command.reason)
            return "It stops when everything is flat." if given.get("drain") else "It stops."
        if name == "reload":
            return "Limits are read again with every look at the store."
        raise ConfigError(f"The engine has no command {name}.", "Update it, or ask for another.")

    def _move(self, strategy: str, what: str, words: str) -> str:
        runner = self.roster.runners.get(strategy)
        if runner is None:
            raise ConfigError(
                f"No strategy {strategy} trades here.",
                f"Here are {', '.join(self.roster.runners)}.",
            )
        runner.move(what, words)
        return f"{strategy} is {runner.phase}."

    def _know(self, symbol: str) -> None:
        if symbol not in self.rounds.system.symbols:
            raise ConfigError(
                f"{symbol} is not traded here.",
                f"Here are {', '.join(self.rounds.system.symbols)}.",
            )

    def _go(self, state: State, words: str) -> None:
        self.state, self.words = state, words

    @property
    def is_flat(self) -> bool:
        """Whether nothing is held and nothing is under way."""
        return not self.manager.memory.live and not any(
            position.qty for position in self.manager.books.account.positions.values()
        )

    def set_limits(self, limits: Limits) -> None:
        """Take other limits at once."""
        if limits == self.limits:
            return
        self.limits = limits
        self.rounds.system.set_limits(limits)
        self.manager.planner.checks.limits = _order_limits(limits)
        self.journal.append("limits", {"mode": limits.mode, "version": limits.version})
        self._alert("limits", Severity.INFO, f"They are {limits.title} now.")

    # What is remembered

    def _tell_failures(self, failures: Mapping[str, str]) -> None:
        for name, words in failures.items():
            if self._told.get(name) != words:
                self._alert(f"strategy {name}", Severity.WARNING, f"It holds flat: {words}")
                self.journal.append("failure", {"strategy": name, "words": words})
        self._told = dict(failures)

    def _journal_wants(self, known_at: datetime, wants: Wants) -> None:
        states = {
            name: own.state for name, own in self.roster.runners.items() if own.state is not None
        }
        whole = np.rint(wants.weights / WEIGHT_QUANTUM)
        self.journal.append(
            "weights",
            {
                "known_at": known_at, "strategies": self.rounds.system.strategies,
                "symbols": self.rounds.system.symbols, "weights": whole, "states": states,
            },
        )  # fmt: skip

    def _worth(self, known_at: datetime, book: Book) -> None:
        own = {
            runner.strategy_hash: to_float(self.capital[name]) + float(pnl)
            for (name, runner), pnl in zip(self.roster.runners.items(), book.pnl_usdt, strict=True)
        }
        self.recorder.worth(known_at, {"": book.equity_usdt, **own})

    def _remember(self) -> None:
        track = self.rounds.system.track.document()
        del track["days"]
        self.journal.append(
            "state",
            {
                "holdings": self.holdings.document(), "track": track,
                "breakers": self.rounds.system.breakers.document(), "engine": self.state,
                "words": self.words,
                "phases": {name: own.phase for name, own in self.roster.runners.items()},
            },
        )  # fmt: skip

    def checkpoint(self) -> None:
        """Put on record what a restart needs besides the newest state."""
        self.journal.append(
            "memory",
            {
                "known_at": self.window.last_at,
                "symbols": self.rounds.system.symbols,
                "strategies": self.rounds.system.strategies,
                "risk": self.rounds.system.document(),
                "forecast": self.rounds.forecaster.document(),
                "sizing": self.rounds.sizing.document(),
            },
        )
        self.journal.flush()

    def restore(self, state: Mapping[str, Any]) -> None:
        """Stand where an earlier process stood: what was paused or halted still is."""
        if state["engine"] in (State.PAUSED, State.HALTED):
            self.state, self.words = State(state["engine"]), state["words"]
        for name, phase in state["phases"].items():
            if name in self.roster.runners and phase != Phase.RUNNING:
                self.roster.runners[name].phase = Phase(phase)

    def document(self) -> dict[str, Any]:
        """Return what the engine says of itself, for people."""
        reading = self.rounds.system.reading
        books = self.manager.books
        return {
            "state": self.state,
            "words": self.words,
            "known_at": self.window.last_at,
            "equity_usdt": self.holdings.equity_usdt,
            "limits": self.limits.title,
            "reading": None
            if reading is None
            else {
                name: getattr(reading, name)
                for name in ("drawdown", "daily_loss", "value_at_risk", "gross", "net", "level")
            },
            "strategies": {
                name: {
                    "phase": own.phase, "words": own.words, "hash": own.strategy_hash,
                    "capital_usdt": self.capital[name],
                    "pnl_usdt": float(self.holdings.pnl_usdt[k]),
                }
                for k, (name, own) in enumerate(self.roster.runners.items())
            },
            "positions": {
                symbol: {
                    "qty": position.qty, "entry": position.entry,
                    "held": books.held(symbol),
                    "stop": getattr(self.manager.desk.positions.get(symbol), "stop_loss", None),
                }
                for symbol, position in books.account.positions.items()
                if position.qty
            },
            "orders": [
                {
                    "id": own.life.link, "symbol": own.symbol, "side": own.plan.request.side,
                    "qty": own.plan.request.qty, "filled": own.life.filled,
                    "state": own.life.state, "leg": own.plan.leg,
                }
                for own in self.manager.memory.live.values()
            ],
        }  # fmt: skip


def _order_limits(limits: Limits) -> OrderLimits:
    return OrderLimits(collar=to_decimal(limits.price_collar, step=Decimal("0.000001")))


def _bar(row: Row) -> dict[str, Any]:
    return {
        "known_at": row.known_at,
        "values": dict(zip(FIELDS, row.values, strict=True)),
    }


def _fields(outcome: Outcome) -> dict[str, Any]:
    return {"id": outcome.id, "is_done": outcome.is_done, "words": outcome.words}
