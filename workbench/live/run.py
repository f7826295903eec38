"""The run: the engine in its event loop, with its sockets, its timers and its readers.

Each duty is a task. What one of them raises that was not foreseen ends them all, and the process:
stops stand at the exchange, and the supervisor sees the silence.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from workbench.core.clock import Clock
from workbench.core.errors import RiskRefused, WorkbenchError
from workbench.exchange.records import Execution, Order, Position, Transaction, Wallet
from workbench.exchange.streams.private import PrivateStream, Refill
from workbench.exchange.streams.public import PublicStream
from workbench.exchange.streams.trade import TradeSocket
from workbench.execution.venue import Quote
from workbench.live.clerk import Clerk, Seen
from workbench.live.commands import DONE, Command
from workbench.live.engine import State, World
from workbench.live.feed import Feed
from workbench.live.heartbeat import CLEARANCE, ENGINE, Heart, Pulse, may_enter
from workbench.live.journal import Journal
from workbench.live.mirror import Mirror
from workbench.live.recall import Recalled, recall
from workbench.live.reconcile import Reconciler
from workbench.live.setup import Parts, build, check_account, fetch, journal_path, warm
from workbench.live.venue import WireVenue
from workbench.live.window import Row
from workbench.monitor.alerts import Alert, Alerts, Severity

if TYPE_CHECKING:
    from decimal import Decimal

    from workbench.exchange.client.session import Login

log = logging.getLogger(__name__)

POLL_S: Final = 0.25
BEAT_S: Final = 1.0
LOOK_S: Final = 0.5
RIGHTS_S: Final = 5.0
WORD_S: Final = 2.0
RULES_S: Final = 3_600.0
END_S: Final = 10.0
MOST_POLLS: Final = 8
SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class VenueClock:
    """The exchange's time."""

    def __init__(self, now: Callable[[], datetime], clock: Clock) -> None:
        self.now, self._clock = now, clock

    def sleep(self, seconds: float) -> None:
        """Block the calling thread."""
        self._clock.sleep(seconds)


class WireAccount:
    """What reconciliation reads of the account."""

    def __init__(self, parts: Parts) -> None:
        self.client = parts.client

    async def wallet(self) -> Wallet:
        """Return the unified account."""
        return await asyncio.to_thread(self.client.wallet)

    async def transactions(self, since: datetime) -> Sequence[Transaction]:
        """Return what moved the wallet since a moment, oldest first."""
        return await asyncio.to_thread(self.client.transactions, since, self.client.time.now())


class Run:
    """One life of the engine of a profile."""

    def __init__(
        self, parts: Parts, login: Login, alerts: Alerts, *, timeout_s: float = 60.0
    ) -> None:
        self.parts, self.login, self.alerts, self.timeout_s = parts, login, alerts, timeout_s
        config, client = parts.config, parts.client
        self.profile = config.profile
        self.clock = VenueClock(client.time.now, client.clock)
        self.journal = Journal(journal_path(config), clock=self.clock)
        self.mirror = Mirror(parts.store, self.profile)
        self.clerk = Clerk(
            parts.store, self.profile, parts.rights, symbols=parts.symbols,
            interval=config.trade.interval, clock=client.clock,
            cooldown_hours=config.risk.cooldown_hours,
        )  # fmt: skip
        self.heart = Heart(config.supervisor_dir / ENGINE)
        self.clearance = Pulse(Heart(config.supervisor_dir / CLEARANCE))
        self.ready = asyncio.Event()
        self._ends, self._wake = asyncio.Event(), asyncio.Event()
        self._polls: set[asyncio.Task[None]] = set()
        self._refining: asyncio.Task[None] | None = None
        self._failure: BaseException | None = None
        self._quotes: dict[str, Quote] = {}
        self._rearmed = self._heard = 0
        self._hashes = {runner.name: runner.strategy_hash for runner in parts.runners}

    # Beginning and end

    async def run(self) -> None:
        """Trade until it is stopped.

        Raises
        ------
        WorkbenchError
            If the account, the journal or the exchange cannot be traded with.
        """
        self._catch_signals()
        try:
            async with self._open():
                self.ready.set()
                await self._work()
        finally:
            self.journal.close()

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[None]:
        parts, client = self.parts, self.parts.client
        venue = client.venue
        await asyncio.to_thread(check_account, parts)
        need = max(runner.strategy.lookback for runner in parts.runners)
        rows = await asyncio.to_thread(warm, parts, need)
        async with AsyncExitStack() as stack:
            clock = client.clock
            self.trade = None
            if venue.trade_url is not None:
                self.trade = await stack.enter_async_context(
                    TradeSocket(venue.trade_url, login=self.login, gate=client, clock=clock)
                )
            wire = WireVenue(client, self.trade)
            self.engine = build(parts, rows, self._world(wire))
            recalled = await asyncio.to_thread(self._recall)
            self.reconciler = Reconciler(
                self.engine, WireAccount(parts), policy=parts.config.trade.foreign
            )
            self.private = await stack.enter_async_context(
                PrivateStream(
                    venue.private_url, login=self.login, refill=wire.refill,
                    since_ms=self.engine.manager.memory.since_ms or None, clock=clock,
                )
            )  # fmt: skip
            stream = await stack.enter_async_context(PublicStream(venue.public_url, clock=clock))
            self.feed = Feed(
                stream, self.engine.window, fetch(parts), clock=self.clock,
                note=self._note, mended=self._mended, quotes=self._quotes,
            )  # fmt: skip
            await self.reconciler.begin()
            self._go_on(recalled, rows)
            yield

    def _recall(self) -> Recalled:
        with suppress(WorkbenchError):  # without a store every row waits once more
            self.mirror.find_number()
        return recall(self.engine, self.journal.path, mirrored=self.mirror.number)

    def _go_on(self, recalled: Recalled, rows: Sequence[Row]) -> None:
        engine = self.engine
        self._heard = recalled.heard
        if recalled.last_at is not None:
            # Bars that closed while nobody was here.
            for row in rows:
                if row.known_at > recalled.last_at:
                    engine.catch_up(row)
        self.journal.append(
            "life",
            {
                "profile": self.profile, "venue": self.parts.venue,
                "strategies": self._hashes, "symbols": self.parts.symbols,
                "interval": self.parts.config.trade.interval, "capital": engine.capital,
                "refused": [str(error) for error in self.parts.refused],
            },
        )  # fmt: skip
        engine.checkpoint()
        for error in self.parts.refused:
            self._alert(Alert("strategy refused", Severity.WARNING, str(error)))
        self._unanswered = [
            Command(
                own["id"], self.profile, own["name"], own["by"], own["reason"],
                own["arguments"], own["number"],
            )
            for own in recalled.unanswered.values()
        ]  # fmt: skip

    def _world(self, wire: WireVenue) -> World:
        return World(
            venue=wire,
            venue_name=str(self.parts.venue),
            journal=self.journal,
            clock=self.clock,
            instruments=self.parts.instruments,
            quote=self._quotes.get,
            refuse=self._refuse,
            is_open=lambda: self.private.is_ready,
            keep=self.mirror.keep,
            alert=self._alert,
            event=lambda kind, detail: self.mirror.tell(kind, "engine", detail),
        )

    def _refuse(self, strategy: str, capital: Decimal) -> WorkbenchError | None:
        if not self.private.is_ready:
            return RiskRefused(f"The account's stream: {self.private.trouble}", "Entries wait.")
        needs_supervisor = self.profile != "paper" or self.clearance.is_known
        if not may_enter(self.clearance, self.parts.client.clock.now()) and needs_supervisor:
            return RiskRefused(
                "The supervisor does not let entries pass.",
                "Start it (`workbench supervise`), or release what is latched.",
            )
        return self.parts.rights.refusal(self._hashes[strategy], capital)

    def _catch_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self.stop)

    def stop(self) -> None:
        """End in order: nothing new, entries cancelled, stops left standing."""
        self._ends.set()

    async def _work(self) -> None:
        duties = (
            self._read_private(), self.feed.read(), self._take_bars(), self._poll(), self._beat(),
            self._attend(), self._mirror_rows(), self._reconcile(), self._renew(),
        )  # fmt: skip
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(duty) for duty in duties]
            for command in self._unanswered:
                await self._obey(command)
            await self._ends.wait()
            for task in tasks:
                task.cancel()
        await self._end()

    async def _end(self) -> None:
        engine = self.engine
        if engine.state is not State.STOPPED:
            engine.state, engine.words = State.STOPPED, "The process was asked to end."
        try:
            async with asyncio.timeout(END_S):
                await self._wind_up()
        except (TimeoutError, WorkbenchError) as error:
            self._note(f"Not everything could be looked at before the end: {error!r}")
        engine.settle()
        engine.checkpoint()
        engine.roster.close()
        self.mirror.say(self._word())
        await asyncio.to_thread(self.mirror.flush)
        self.heart.rest()

    async def _wind_up(self) -> None:
        # What is in flight is filled or cancelled, and booked, before the books are closed.
        manager = self.engine.manager
        await manager.cancel_all("The engine stops.")
        while any(not own.plan.leg for own in manager.memory.live.values()):
            await manager.recover()
            await self.engine.poll()
            await asyncio.sleep(POLL_S)
        await manager.recover()

    # Duties

    async def _read_private(self) -> None:
        async for event in self.private.events:
            record = event.record
            if isinstance(record, Order | Execution | Position | Wallet):
                self.engine.take(record)
            elif isinstance(record, Refill):
                await self.engine.manager.recover()
                self.engine.settle()
            self._wake.set()

    async def _take_bars(self) -> None:
        async for rows in self.feed.rows():
            await self.engine.close_bar(rows)
            self._wake.set()
            if self._refining is None or self._refining.done():
                self._refining = asyncio.create_task(self.feed.refine())

    async def _poll(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):
                    await self._wake.wait()
            self._wake.clear()
            # One that waits for an answer must not hold up the others.
            if len(self._polls) < MOST_POLLS:
                task = asyncio.create_task(self.engine.poll())
                self._polls.add(task)
                task.add_done_callback(self._polled)
            if self.engine.state is State.STOPPED or (
                self.engine.state is State.DRAINING and self.engine.is_flat
            ):
                self._ends.set()

    def _polled(self, task: asyncio.Task[None]) -> None:
        self._polls.discard(task)
        if not task.cancelled() and task.exception() is not None:
            # It must end the run, not a task that nobody awaits.
            self._failure = task.exception()

    async def _beat(self) -> None:
        while True:
            if self._failure is not None:
                raise self._failure
            self.heart.beat()
            self.clearance.look(self.parts.client.clock.now())
            self.journal.flush()
            await asyncio.sleep(BEAT_S)

    async def _attend(self) -> None:
        while True:
            seen = await asyncio.to_thread(
                self.clerk.look, self.clock.now(), heard=self._heard, rearmed=self._rearmed
            )
            await self._follow(seen)
            await asyncio.sleep(LOOK_S)

    async def _follow(self, seen: Seen) -> None:
        engine = self.engine
        if seen.limits is not None:
            engine.set_limits(seen.limits)
        if seen.backdrop is not None:
            engine.backdrop = seen.backdrop
        for rearm in seen.rearms:
            self._rearmed = max(self._rearmed, rearm.number)
            with suppress(RiskRefused):  # it has closed by itself since
                engine.changes.append(
                    engine.rounds.system.rearm(
                        rearm.kind, by=rearm.by, reason=rearm.reason, now=self.clock.now()
                    )
                )
        if engine.changes:
            changes, engine.changes = engine.changes, []
            document = engine.rounds.system.document()
            await asyncio.to_thread(self.clerk.save, document, changes, heard=self._rearmed)
        for command in seen.commands:
            self._heard = max(self._heard, command.number)
            await self._obey(command)

    async def _obey(self, command: Command) -> None:
        outcome = await self.engine.obey(command)
        detail = {"id": outcome.id, "is_done": outcome.is_done, "words": outcome.words}
        self.mirror.tell(DONE, "engine", {**detail, "number": command.number})
        self._wake.set()

    async def _mirror_rows(self) -> None:
        said = 0.0
        loop = asyncio.get_running_loop()
        while True:
            if loop.time() - said >= WORD_S:
                self.mirror.say(self._word())
                said = loop.time()
            await asyncio.to_thread(self.mirror.flush)
            await asyncio.sleep(LOOK_S)

    async def _reconcile(self) -> None:
        while True:
            await asyncio.sleep(self.parts.config.trade.reconcile_s)
            if self.private.is_ready:
                await self.reconciler.compare()

    async def _renew(self) -> None:
        loop = asyncio.get_running_loop()
        read = loop.time()
        while True:
            await asyncio.sleep(RIGHTS_S)
            await asyncio.to_thread(self.parts.rights.refresh)
            if loop.time() - read >= RULES_S:
                read = loop.time()
                await self._reload_rules()

    async def _reload_rules(self) -> None:
        client, engine = self.parts.client, self.engine
        try:
            found = await asyncio.to_thread(client.instruments, self.parts.symbols)
        except WorkbenchError as error:
            self._note(f"The rules of the symbols cannot be read again: {error}")
            return
        self.parts.instruments |= {own.symbol: own for own in found}
        engine.rounds.system.set_instruments(self.parts.instruments)
        engine.manager.books.steps |= {own.symbol: own.qty_step for own in found}

    # Words

    def _alert(self, alert: Alert) -> None:
        log.log(
            logging.INFO if alert.is_over else 20 + 10 * int(alert.severity),
            "%s: %s", alert.key, alert.words,
        )  # fmt: skip
        self.alerts.tell(alert)
        if not alert.is_over:
            detail = {"key": alert.key, "severity": alert.severity.words, "words": alert.words}
            self.mirror.tell("alert", "engine", {"profile": self.profile, **detail})

    def _note(self, words: str) -> None:
        log.warning("%s", words)
        self.journal.append("note", {"words": words})

    def _mended(self, row: Row) -> None:
        self.journal.append("mend", {"known_at": row.known_at, "values": row.values})

    def _word(self) -> Mapping[str, Any]:
        troubles = {
            "private": self.private.trouble,
            "public": self.feed.stream.trouble,
            "trade": "" if self.trade is None else self.trade.trouble,
            "store": self.mirror.trouble or self.clerk.trouble,
            "rights": self.parts.rights.trouble,
        }
        return {
            **self.engine.document(),
            "venue": self.parts.venue,
            "stale": dict(self.feed.stale),
            "troubles": {name: words for name, words in troubles.items() if words},
            "backlog": self.mirror.backlog,
            "reconciled_at": self.reconciler.last_at,
        }
