"""One socket to the exchange, kept alive: login, subscriptions, heartbeats and reconnection."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Callable, Mapping
from random import Random
from typing import Any, ClassVar, Final, Self

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from workbench.core.clock import SystemClock
from workbench.core.errors import ConfigError, DataError, ExchangeBusy, ExchangeError
from workbench.exchange.streams.mailbox import Counters, Event, Lapse, Mailbox
from workbench.exchange.streams.protocol import Login, Questions, batches, refusal, sign_login
from workbench.exchange.streams.timing import SHARED_BUDGET, ConnectionBudget, TellsTime, Timing

log = logging.getLogger(__name__)

LOST: Final = (OSError, WebSocketException, ExchangeError)
"""What ends a connection and is answered by the next one; anything else is a defect of ours."""
MALFORMED: Final = (
    LookupError, TypeError, ValueError, ArithmeticError, AttributeError, DataError
)  # fmt: skip
"""What reading a frame of an unknown shape raises."""


class Socket:
    """A supervised socket: ``async with`` starts it, and it reconnects until it is left.

    ``events`` is read by whoever wants to; a reader that is slow or dies leaves the socket alone.
    Times are those of the running loop, moments those of ``clock``, which tests hand in.
    """

    path: ClassVar[str]

    def __init__(
        self,
        base_url: str,
        *,
        login: Login | None = None,
        clock: TellsTime | None = None,
        timing: Timing | None = None,
        budget: ConnectionBudget = SHARED_BUDGET,
        seed: int | None = None,
    ) -> None:
        if not base_url.startswith(("ws://", "wss://")):
            raise ConfigError(f"{base_url!r} is no socket.", "It begins with wss:// (or ws://).")
        self.url = base_url.rstrip("/") + self.path
        self.login, self.budget = login, budget
        self.clock: TellsTime = clock or SystemClock()
        self.timing = timing or Timing()
        self.counters = Counters()
        self.events = Mailbox(self.counters)
        self.lapsed: dict[str, str] = {}  # topics not to be relied on, and why
        self.last_error = "It has not connected yet."
        self._jitter = Random(seed)  # noqa: S311 - spreads reconnections, guards nothing
        self._time: Callable[[], float] = time.monotonic
        self._heard: dict[str, float] = {}  # every wanted topic, and when it last spoke
        self._live: set[str] = set()  # what the exchange has acknowledged
        self._broken: set[str] = set()  # what must be asked for again
        self._questions = Questions()
        self._numbers = itertools.count(1)
        self._work, self._settled = asyncio.Event(), asyncio.Event()
        self._socket: ClientConnection | None = None
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._time = asyncio.get_running_loop().time
        self._task = asyncio.create_task(self._supervise())
        self._task.add_done_callback(self._ended)
        return self

    async def __aexit__(self, *_: object) -> None:
        if (task := self._task) is not None:
            task.cancel()
            await asyncio.wait({task})
            if not task.cancelled():
                task.result()

    @property
    def trouble(self) -> str:
        """Why nothing should rely on this socket now; empty where all is well."""
        if not self._settled.is_set():
            return self.last_error or "It is subscribing."
        return next((f"{topic}: {why}" for topic, why in self.lapsed.items()), "")

    @property
    def is_ready(self) -> bool:
        """Whether every topic is live, fresh and whole."""
        return not self.trouble

    async def until_ready(self, timeout_s: float = 30.0) -> None:
        """Wait until there is no trouble.

        Raises
        ------
        ExchangeBusy
            If that takes too long; the message says what is missing.
        """
        until = self._time() + timeout_s
        while self.trouble:
            if self._time() >= until:
                raise ExchangeBusy(
                    f"{self.url} is not ready after {timeout_s:g} s: {self.trouble}",
                    "It goes on trying; look at address, key and the exchange's status page.",
                )
            await asyncio.sleep(0.02)

    def subscribe(self, *topics: str) -> None:
        """Want topics, from now on and over every reconnection."""
        new = [topic for topic in topics if topic not in self._heard]
        if new:
            self._heard |= dict.fromkeys(new, self._time())
            self._settled.clear()
            self._work.set()

    def unsubscribe(self, *topics: str) -> None:
        """Want topics no longer."""
        for topic in topics:
            self._heard.pop(topic, None)
            self.lapsed.pop(topic, None)
        self._work.set()

    def feed(self, raw: bytes) -> None:
        """Take in one frame; what cannot be read is counted and never raises."""
        self.counters.frames += 1
        topic = None
        try:
            frame = orjson.loads(raw)
            topic = frame.get("topic")
            if topic is None:
                if not self._questions.answer(frame):
                    self.counters.strays += 1
                    log.warning("%s: a reply to nothing we ask: %.300s", self.url, frame)
            elif topic not in self._heard:
                self.counters.strays += 1
            elif self._push(topic, frame, self._now_ms()):
                self._heard[topic] = self._time()
                self.lapsed.pop(topic, None)
        except MALFORMED as error:
            self.counters.garbage += 1
            log.warning("%s: cannot read %r: %r", self.url, raw[:200], error)
            self._on_garbage(topic if isinstance(topic, str) else None)

    def _push(self, topic: str, frame: Mapping[str, Any], received_ms: int) -> bool:
        """Take in a push; return whether the topic is whole with it."""
        return False

    def _on_garbage(self, topic: str | None) -> None:
        """Act on a frame that cannot be read, of a topic or of nobody knows which."""

    async def _on_subscribed(self) -> None:
        """Do what must be done before the socket is ready."""

    def _on_lapse(self, topic: str) -> None:
        """Forget what no longer holds when a topic breaks."""

    def _stale_after(self, topic: str) -> float | None:
        """After how many silent seconds a topic is stale, or never."""
        return None

    def _now_ms(self) -> int:
        return round(self.clock.now().timestamp() * 1000)

    def _post(self, event: Event, *, key: object = None, is_lossy: bool = False) -> None:
        self.counters.time(event.received_ms - event.exchange_ms)
        self.events.put(event, key=key, is_lossy=is_lossy)

    def _lapse(self, topic: str, why: str, *, is_blocking: bool = False) -> None:
        self._on_lapse(topic)
        if is_blocking or self._stale_after(topic) is not None:
            self.lapsed[topic] = why
        now_ms = self._now_ms()
        since_ms = now_ms - int((self._time() - self._heard.get(topic, self._time())) * 1000)
        self.events.put(Event(topic, now_ms, now_ms, 0, Lapse(why, since_ms)))

    def _mend(self, topic: str, why: str) -> None:
        log.info("%s: %s: %s; subscribing again", self.url, topic, why)
        self._lapse(topic, why)
        self._broken.add(topic)
        self._work.set()

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.last_error = repr(error)
            self.events.fail(error)

    async def _supervise(self) -> None:
        wait = self.timing.first_wait_s
        while True:
            await self.budget.take()
            started = self._time()
            try:
                await self._connect()
            except* LOST as lost:
                self.last_error = "; ".join(str(error) or repr(error) for error in _leaves(lost))
                log.warning("%s: lost: %s", self.url, self.last_error)
            if self._time() - started >= self.timing.settled_s:
                wait = self.timing.first_wait_s
            await asyncio.sleep(wait * self._jitter.uniform(0.5, 1.0))
            wait = min(2 * wait, self.timing.last_wait_s)

    async def _connect(self) -> None:
        async with connect(
            self.url, compression=None, ping_interval=None, max_size=2**24,
            open_timeout=self.timing.reply_s, close_timeout=1.0,
            proxy=True if self.url.startswith("wss://") else None,
        ) as socket:  # fmt: skip
            self._socket, self.last_error = socket, ""
            self.counters.connections += 1
            try:
                async with asyncio.TaskGroup() as group:
                    for duty in (self._read(socket), self._beat(), self._watch(), self._tend()):
                        group.create_task(duty)
            finally:
                self._forget()  # at once: to close politely takes time

    def _forget(self) -> None:
        self._socket, self.last_error = None, "The connection is lost."
        self._settled.clear()
        self._broken.clear()
        self.counters.losses += bool(self._live)
        for topic in self._live:
            self._lapse(topic, "The connection is lost.")
        self._live.clear()
        self._questions.fail(ConnectionError("The connection is lost."))

    async def _read(self, socket: ClientConnection) -> None:
        while True:
            self.feed(await socket.recv(decode=False))

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self.timing.ping_s)
            sent = self._time()
            await self._ask("ping")
            self.counters.round_trip_ms = (self._time() - sent) * 1000

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            now = self._time()
            for topic in list(self._live):
                limit = self._stale_after(topic)
                if limit is not None and now - self._heard.get(topic, now) > limit:
                    self.counters.stale += 1
                    self._mend(topic, f"Nothing was heard for {limit:g} s.")
                    self._heard[topic] = now

    async def _tend(self) -> None:
        if self.login is not None:
            expires_ms = self._now_ms() + int(self.timing.login_s * 1000)
            if why := refusal(await self._ask("auth", sign_login(self.login, expires_ms))):
                raise ExchangeError(
                    f"The login is refused: {why}.",
                    "Look at the key, its expiry and its addresses, and at this machine's clock.",
                )
        while True:
            self._work.clear()
            mending = bool(self._broken)
            leaving = self._live & (self._broken | (self._live - self._heard.keys()))
            self._broken.clear()
            self._live -= leaving
            for batch in batches(sorted(leaving)):
                await self._ask("unsubscribe", batch)
            await self._subscribe([t for t in self._heard if t not in self._live])
            if not self._settled.is_set() and not self._work.is_set():
                await self._on_subscribed()
                self._settled.set()
            if mending:
                await asyncio.sleep(self.timing.repair_s)
            await self._work.wait()

    async def _subscribe(self, topics: list[str]) -> None:
        for batch in batches(topics):
            for topic in batch:
                if self._stale_after(topic) is not None:
                    self.lapsed.setdefault(topic, "Nothing has come yet.")
            why = refusal(await self._ask("subscribe", batch))
            if not why or "already subscribed" in why:
                self._live.update(batch)
                for topic in self._heard.keys() & batch:  # some may be wanted no longer
                    self._heard[topic] = self._time()
                    if self._stale_after(topic) is None:
                        self.lapsed.pop(topic, None)
            elif len(batch) > 1:  # one bad topic fails them all: find it
                for topic in batch:
                    await self._subscribe([topic])
            else:
                self.counters.refused += 1
                log.error("%s: subscription to %s refused: %s", self.url, batch[0], why)
                # It stays wanted: with every change of topics, and every connection, it is tried.
                self._lapse(batch[0], f"The subscription is refused: {why}.", is_blocking=True)

    async def _ask(
        self, op: str, args: list[Any] | None = None, *, key: str = "", **more: Any
    ) -> dict[str, Any]:
        if self._socket is None:
            raise ConnectionError("There is no connection.")
        key = key or str(next(self._numbers))
        message = {"op": op, **more}
        if args is not None:
            message["args"] = args
        if op.endswith("subscribe"):
            message["req_id"] = key
        with self._questions.ask(op, key) as answer:
            try:
                async with asyncio.timeout(self.timing.reply_s):
                    await self._socket.send(orjson.dumps(message), text=True)
                    return await answer
            except TimeoutError:
                what = f"No answer to {op} in {self.timing.reply_s:g} s."
                raise TimeoutError(what) from None


def _leaves(group: BaseExceptionGroup[Exception]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
