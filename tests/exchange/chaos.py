"""Chaos: our own client trades through a scenario of faults, and then the books are compared.

Exchange and client are whole and ours: the REST client, the sockets, the adapter that the engine
trades by, and the order manager. Between them is no network but calls, on a loop whose time is
virtual, so that a ban of ten minutes takes seconds. One seed gives one run, the same each time.
"""

import asyncio
import hashlib
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from unittest import mock
from urllib.parse import urlsplit

import numpy as np
import requests
from greenlet import getcurrent, greenlet
from requests.adapters import BaseAdapter

from tests.loopback.virtual import JumpingSelector, VirtualLoop
from tests.risk.desk import make_book, make_outlook, make_targets
from workbench.core.errors import WorkbenchError
from workbench.core.vault.secret import Secret
from workbench.data import synthesise
from workbench.exchange import BybitClient
from workbench.exchange.records import Execution, Order, Position, Ticker
from workbench.exchange.server import ApiKey, Exchange, Request, ServerSettings
from workbench.exchange.server.acts import LASTING, play
from workbench.exchange.server.faults import ACTS, Faults, load_scenario
from workbench.exchange.server.roster import Account, add_accounts
from workbench.exchange.simulator import CandleSource, Simulator
from workbench.exchange.streams import connection
from workbench.exchange.streams.private import PrivateStream, Refill
from workbench.exchange.streams.public import PublicStream
from workbench.exchange.streams.timing import ConnectionBudget
from workbench.exchange.streams.trade import TradeSocket
from workbench.execution.manager import OrderManager
from workbench.execution.memory import Style
from workbench.execution.orders import State
from workbench.execution.venue import Quote
from workbench.live.outbox import fit
from workbench.live.venue import WireVenue
from workbench.risk.limits import load_limits
from workbench.risk.system import RiskSystem

SYMBOLS, STRATEGIES = ("BTCUSDT", "ETHUSDT"), ("s0", "s1")
DAY = datetime(2024, 1, 2, tzinfo=UTC)
MARKET = synthesise(SYMBOLS, interval="1", start=DAY - timedelta(days=1), n_bars=4_320, seed=3)
KEY, ADDRESS = ApiKey("chaos-key", "chaos-secret", "1001"), "127.0.0.1"
URL = f"http://{ADDRESS}:9"
ACTING = {"restart", "ban", "maintenance"}
AFTERWARDS = {"rules": 20.0}
"""What does harm only to orders that come later: how long trading goes on, in seconds."""
LAST_S, PATIENCE_S, TURN_S = 30.0, 900.0, 0.25
ZERO = Decimal(0)
WORKS = {State.OPEN, State.PARTLY_FILLED}


class InstantSelector(JumpingSelector):
    """Time that passes at once: nothing comes over a network here."""

    def select(self, timeout=None):
        if timeout is None:
            raise AssertionError("everything waits for something that will never come")
        self.now += max(timeout, 0.0)
        return []


class InstantLoop(VirtualLoop):
    """A loop on virtual time whose threads are greenlets: they take turns where they wait."""

    def __init__(self):
        self.selector = InstantSelector()
        asyncio.SelectorEventLoop.__init__(self, self.selector)

    def run_in_executor(self, executor, call, *args):
        done = self.create_future()

        def work():
            try:
                result = call(*args)
            except Exception as error:
                if not done.done():
                    done.set_exception(error)
            else:
                if not done.done():
                    done.set_result(result)

        greenlet(work).switch()
        return done


class TurnClock:
    """The loop's time; who waits in a thread of the loop lets the others go on."""

    def __init__(self, loop, start):
        self.loop, self.start = loop, start

    def now(self):
        return self.start + timedelta(seconds=self.loop.time())

    @property
    def now_ms(self):
        return round(self.now().timestamp() * 1_000)

    def sleep(self, seconds):
        own = getcurrent()
        if own.parent is None:
            raise AssertionError("nothing in a loop may block it")
        self.loop.call_later(seconds, own.switch)
        own.parent.switch()


class TurnLock:
    """A lock between threads of the loop."""

    def __init__(self, clock):
        self.clock, self.is_held = clock, False

    def acquire(self, blocking=True):
        while self.is_held:
            if not blocking:
                return False
            self.clock.sleep(0.01)
        self.is_held = True
        return True

    def release(self):
        self.is_held = False

    def __enter__(self):
        self.acquire()

    def __exit__(self, *_):
        self.release()


class CountingFaults(Faults):
    """Faults that tell when one of them happened last."""

    last_s, count = None, 0

    def __init__(self, seed, time):
        super().__init__(seed)
        self._time = time

    def hit(self, kinds, name, uid):
        fault = super().hit(kinds, name, uid)
        if fault is not None:
            self.last_s, self.count = self._time(), self.count + 1
        return fault


class Site:
    """An exchange, and the ways to it: REST requests and sockets, each a trip long."""

    def __init__(self, clock, seed):
        self.clock, self.trips = clock, Random(f"trips {seed}")
        simulator = Simulator(
            [MARKET.instruments[symbol] for symbol in SYMBOLS],
            source=CandleSource(MARKET, start=clock.start), seed=seed, start_ms=clock.now_ms,
        )  # fmt: skip
        keys = add_accounts(simulator, [Account(KEY.uid, (KEY,), Decimal(100_000))])
        settings = ServerSettings(seed=seed)
        self.exchange = Exchange(simulator, keys, wall_ms=clock.now_ms, settings=settings)
        self.exchange.faults = CountingFaults(seed, clock.loop.time)
        self.simulator, self.acted_s = simulator, None
        for name in ("cancel_by_exchange", "deleverage"):
            setattr(simulator, name, self._noting(getattr(simulator, name)))

    def _noting(self, act):
        def noted(*args, **more):
            self.acted_s = self.clock.loop.time()
            return act(*args, **more)

        return noted

    def trip_s(self):
        return self.trips.choice((0.002, 0.005, 0.01, 0.04))

    def tick(self):
        self.exchange.tick(self.clock.now_ms)

    def nudge(self):
        """See to it that what waits is sent in its time."""
        if self.exchange.due_ms is not None:
            wait_s = max(self.exchange.due_ms - self.clock.now_ms, 0) / 1_000
            self.clock.loop.call_later(wait_s, self.tick)

    async def run(self):
        while True:
            self.tick()
            self.nudge()
            await asyncio.sleep(TURN_S)

    # What is true

    def executions(self):
        return self.simulator.executions(KEY.uid)

    def positions(self):
        return {own.symbol: own for own in self.simulator.positions(KEY.uid) if own.size}

    def open_orders(self):
        return self.simulator.open_orders(KEY.uid)

    def orders(self):
        return self.open_orders() + self.simulator.order_history(KEY.uid)

    def balance(self):
        return next(
            c.wallet_balance for c in self.simulator.wallet(KEY.uid).coin if c.coin == "USDT"
        )


class Rest(BaseAdapter):
    """Carries the requests of a session to the exchange."""

    def __init__(self, site):
        super().__init__()
        self.site = site

    def send(self, request, timeout=None, **_):
        site, clock = self.site, self.site.clock
        clock.sleep(site.trip_s())
        parts, body = urlsplit(request.url), request.body or b""
        sent = Request(
            request.method, parts.path, parts.query.encode(),
            {name.lower(): str(value) for name, value in request.headers.items()},
            body.encode() if isinstance(body, str) else body, ADDRESS,
        )  # fmt: skip
        reply = site.exchange.handle(sent, clock.now_ms)
        site.nudge()
        wait_s = reply.delay_ms / 1_000 + site.trip_s()
        if wait_s > timeout:
            clock.sleep(timeout)
            raise requests.ReadTimeout("no answer in time")
        clock.sleep(wait_s)
        if reply.is_cut:
            raise requests.ConnectionError("the connection was cut")
        response = requests.Response()
        response.status_code, response._content = reply.status, reply.body
        response.headers.update(reply.headers)
        response.request, response.url = request, request.url
        return response

    def close(self):
        pass


class Line:
    """The client's end of a socket."""

    def __init__(self, site, socket):
        self.site, self.socket, self.news = site, socket, asyncio.Event()
        socket.wake = self.news.set

    async def send(self, frame, text=True):
        if self.socket.close_code is not None:
            raise ConnectionError("the socket is closed")
        await asyncio.sleep(self.site.trip_s())
        self.site.exchange.hear(self.socket, frame.decode(), self.site.clock.now_ms)
        self.site.nudge()

    @property
    def transport(self):
        return self

    def abort(self):
        self.socket.end()

    async def recv(self, decode=False):
        while not self.socket.outbox:
            if self.socket.close_code is not None:
                raise ConnectionError("the socket was closed")
            self.news.clear()
            await self.news.wait()
        return self.socket.outbox.popleft().encode()


def connector(site):
    """What takes the place of the function that opens sockets."""

    @asynccontextmanager
    async def connect(url, **_):
        await asyncio.sleep(site.trip_s())
        parts = urlsplit(url)
        socket = site.exchange.open_socket(parts.path, parts.query, ADDRESS, site.clock.now_ms)
        if isinstance(socket, int):
            raise ConnectionRefusedError(f"refused with {socket}")
        try:
            yield Line(site, socket)
        finally:
            site.exchange.close_socket(socket, site.clock.now_ms)

    return connect


class MemoryJournal:
    """A journal that outlives nothing: these runs do not crash."""

    def append(self, kind, document):
        """Keep nothing."""


class Trader:
    """Our client: streams and REST, and an order manager that trades by chance."""

    def __init__(self, site, seed, *, by_socket):
        self.site, self.clock, self.chance = site, site.clock, Random(f"trades {seed}")
        self.by_socket, self.troubles, self.overshoots = by_socket, [], set()
        login = Secret({"api_key": KEY.key, "api_secret": KEY.secret})
        self.client = BybitClient(URL, login=login, clock=self.clock)
        self.client.time._lock = TurnLock(self.clock)
        self.client._session().client.mount("http://", Rest(site))
        more = {"clock": self.clock, "budget": ConnectionBudget(), "seed": seed}
        venue = self.client.venue
        self.trade_socket = TradeSocket(venue.trade_url, login=login, gate=self.client, **more)
        self.wire = WireVenue(self.client, self.trade_socket if by_socket else None)
        self.private = PrivateStream(
            venue.private_url, login=login, refill=self.wire.refill, since_ms=self.clock.now_ms,
            **more,
        )  # fmt: skip
        self.public = PublicStream(venue.public_url, **more)
        self.public.subscribe(*(f"{kind}.{s}" for kind in ("tickers", "orderbook.50")
                                for s in SYMBOLS))  # fmt: skip
        self.quotes: dict[str, Quote] = {}
        self.instruments = {symbol: MARKET.instruments[symbol] for symbol in SYMBOLS}
        self.manager = OrderManager(
            self.wire, MemoryJournal(), clock=self.clock, instruments=self.instruments,
            quote=self.quotes.get, permits=lambda _: None, is_open=lambda: self.private.is_ready,
            listen=lambda _: None,
        )  # fmt: skip
        self.system = RiskSystem(
            load_limits("aggressive"), symbols=list(SYMBOLS), strategies=list(STRATEGIES),
            instruments={symbol: MARKET.instruments[symbol] for symbol in SYMBOLS},
        )  # fmt: skip
        self.polls, self.pause_s, self.is_over = set(), 3.0, False

    async def guarded(self, act):
        """Do something; an error that tells of a difference is kept, the others are weather."""
        try:
            return await act
        except WorkbenchError as error:
            if type(error).__name__ in ("ReconcileError", "DataError"):
                self.troubles.append(repr(error))
            return None

    async def read_rules(self):
        found = await self.guarded(asyncio.to_thread(self.client.instruments, SYMBOLS))
        self.instruments.update({own.symbol: own for own in found or ()})

    async def begin(self, stack):
        for socket in (self.public, self.private, *[self.trade_socket][: self.by_socket]):
            await stack.enter_async_context(socket)
        await self.read_rules()
        await self.manager.recover()
        tasks = [self.hear_private(), self.hear_public(), self.turn(), self.look_again()]
        self.tasks = [asyncio.create_task(task) for task in tasks]
        await self.private.until_ready()
        await self.public.until_ready()

    async def hear_private(self):
        async for event in self.private.events:
            record = event.record
            try:
                if isinstance(record, Order):
                    self.manager.on_order(record)
                elif isinstance(record, Execution):
                    self.manager.on_execution(fit(record))
                elif isinstance(record, Position):
                    self.manager.on_position(record)
                elif isinstance(record, Refill):
                    await self.guarded(self.manager.recover())
            except WorkbenchError as error:
                self.troubles.append(repr(error))

    async def hear_public(self):
        async for event in self.public.events:
            own = event.record
            if isinstance(own, Ticker) and None not in (own.last_price, own.mark_price):
                self.quotes[own.symbol] = Quote(
                    self.clock.now(), own.last_price, own.mark_price, own.bid1_price, own.ask1_price
                )

    async def turn(self):
        while True:
            if len(self.polls) < 8:
                task = asyncio.create_task(self.guarded(self.manager.poll()))
                self.polls.add(task)
                task.add_done_callback(self.polled)
            self.watch()
            await asyncio.sleep(TURN_S)

    def polled(self, task):
        self.polls.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.troubles.append(repr(task.exception()))

    async def look_again(self):
        while True:
            await asyncio.sleep(30.0)
            await self.read_rules()
            await self.guarded(self.manager.recover())

    def watch(self):
        """Note what is out, or held, beyond what was decided: an intent that was placed twice."""
        memory, books = self.manager.memory, self.manager.books
        for symbol in SYMBOLS:
            task = memory.tasks.get(symbol)
            if task is None or task.is_exit:
                continue
            mine = [own for own in memory.trades(symbol) if own.plan.cause == task.cause]
            held = books.held(symbol)
            for name, target in task.targets.items():
                out = sum((books.claims(own.life.link).get(name, ZERO) for own in mine), ZERO)
                now = target - held.get(name, ZERO)
                if (now - out) * now < 0:
                    self.overshoots.add((task.cause, symbol, name))

    async def trade(self):
        """Trade by chance until it is to end; what has begun is not interrupted."""
        while not self.is_over:
            roll = self.chance.random()
            if roll < 0.1:
                await self.guarded(self.manager.cancel_all("by chance"))
            elif roll < 0.15:
                await self.guarded(self.manager.flatten(f"flat {self.clock.now()}", "by chance"))
            elif all(symbol in self.quotes for symbol in SYMBOLS):
                decision, styles = self.decide()
                await self.guarded(self.manager.submit(decision, styles=styles))
            await asyncio.sleep(self.chance.uniform(0.1, self.pause_s))

    def decide(self):
        """Return a decision of the risk system about targets by chance, and how to trade them."""
        books, chance = self.manager.books, self.chance
        qty = [[float(books.held(s).get(k, 0)) for s in SYMBOLS] for k in STRATEGIES]
        last = np.array([float(self.quotes[s].last) for s in SYMBOLS])
        book = make_book(self.system, qty=np.array(qty))
        outlook = make_outlook(self.system, price=last, mark=last)
        now = self.clock.now()
        self.system.observe(now, book, outlook)
        weights = [[chance.choice((-0.3, -0.1, 0.0, 0.1, 0.3, np.nan)) for _ in SYMBOLS]
                   for _ in STRATEGIES]  # fmt: skip
        targets = make_targets(self.system, weights, known_at=now)
        decision = self.system.review(targets, book, outlook)
        styles = {s: self._limit(s) for s in SYMBOLS if chance.random() < 0.5}
        return decision, styles

    def _limit(self, symbol):
        tick = self.instruments[symbol].tick_size
        share = Decimal(self.chance.choice(("0.997", "0.9995", "1", "1.0005", "1.003")))
        price = self.quotes[symbol].last * share // tick * tick
        return Style("limit", price=price, ttl_s=self.chance.choice((2.0, 8.0, 30.0)))

    # What is compared

    def lost(self):
        """The executions of the exchange that are not in the books."""
        return [own for own in self.site.executions() if not self.manager.books.knows(own.exec_id)]

    def bare(self):
        """The positions at the exchange without a stop."""
        return [s for s, own in self.site.positions().items() if own.stop_loss is None]

    def difference(self):
        """Why books and exchange are not the same now; empty where they are."""
        memory, there = self.manager.memory, self.site.positions()
        if not self.private.is_ready:
            return f"the private stream: {self.private.trouble}"
        if self.lost():
            return f"{len(self.lost())} fills are not in the books"
        for symbol in SYMBOLS:
            size = there[symbol].signed_size if symbol in there else ZERO
            if self.manager.books.net(symbol) != size:
                return f"{symbol}: {size} there, {self.manager.books.net(symbol)} in the books"
        open_ = {o.order_link_id for o in self.site.open_orders() if o.order_link_id}
        live = {own.life.link: own.life.state for own in memory.live.values()}
        if open_ != live.keys():
            return f"orders open there {open_ - live.keys()}, or only here {live.keys() - open_}"
        if doubt := [str(state) for state in live.values() if state not in WORKS]:
            return f"orders are {doubt}"
        return f"{self.bare()} have no stop" if self.bare() else ""


def is_clean(row):
    """Return whether nothing was lost, doubled or left in a run, and the books were equal."""
    bad = row["duplicates"], row["lost_fills"], row["without_stop"], row["troubles"]
    is_equal = row["recovery_s"] is not None and not row["difference"] and row["is_flat"]
    return is_equal and not any(bad) and not Decimal(row["residual"])


def summarise(name, rows):
    """One line of the table of a scenario: sums, the largest residual, and times to recover."""
    times = [PATIENCE_S if row["recovery_s"] is None else row["recovery_s"] for row in rows]
    p50, p99 = np.percentile(times, (50, 99), method="inverted_cdf").tolist()
    sums = {key: sum(row[key] for row in rows)
            for key in ("duplicates", "lost_fills", "without_stop")}  # fmt: skip
    residual = max((abs(Decimal(row["residual"])) for row in rows), default=ZERO)
    return {
        "scenario": name, "runs": len(rows), "duplicates": sums["duplicates"],
        "lost_fills": sums["lost_fills"], "residual": float(residual),
        "without_stop": sums["without_stop"], "recovery_p50_s": p50, "recovery_p99_s": p99,
    }  # fmt: skip


def span_s(name):
    """How long the faults of a scenario last by themselves."""
    faults = load_scenario(name).faults
    return max(f.at_s + f.seconds * (f.kind in LASTING | ACTING) for f in faults)


async def _run(name, seed, loop, start):
    clock, chance = TurnClock(loop, start), Random(f"{name} {seed}")
    site = Site(clock, seed)
    row = {"scenario": name, "seed": seed, "way": "socket" if seed % 2 else "rest"}
    with mock.patch.object(connection, "connect", connector(site)):
        async with AsyncExitStack() as stack:
            pump = asyncio.create_task(site.run())
            trader = Trader(site, seed, by_socket=bool(seed % 2))
            await trader.begin(stack)
            trading = asyncio.create_task(trader.trade())
            await asyncio.sleep(chance.uniform(5.0, 15.0))
            trader.pause_s = 3.0 if span_s(name) < 100.0 else 45.0
            harm_s = await _harm(name, site, loop)
            row["is_struck"] = _is_struck(name, site)
            trader.is_over = True
            row |= await _recover(trader, loop, harm_s)
            row |= await _settle(trader, loop)
            await asyncio.wait({trading})
            failed = [task for task in (pump, *trader.tasks) if task.done()]  # none ends by itself
            tasks = {pump, *trader.tasks, *trader.polls}
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            failed += [trading] * (trading.exception() is not None)
            row["troubles"] = trader.troubles + [repr(task) for task in failed]
    return row


async def _harm(name, site, loop):
    """Let a scenario happen, and return when it was over."""
    faults, kinds = site.exchange.faults, {fault.kind for fault in load_scenario(name).faults}
    play(site.exchange, name)
    began_s, end_s = loop.time(), loop.time() + span_s(name)
    site.nudge()
    while True:
        await asyncio.sleep(0.02)
        now_s = loop.time()
        waits = bool(faults.active) or (kinds & {"partial", "adl"} and site.acted_s is None)
        if now_s > end_s + AFTERWARDS.get(name, LAST_S if waits else 0.0):
            break
    hits = [t for t in (faults.last_s, site.acted_s) if t is not None and t >= began_s]
    is_lasting = bool(faults.active) or name in AFTERWARDS
    faults.active.clear()
    return now_s if is_lasting else max([end_s, *hits])


def _is_struck(name, site):
    """Whether the harm came about: some faults wait for an order or a position that never came."""
    kinds = {fault.kind for fault in load_scenario(name).faults}
    if kinds & {"partial", "adl"}:
        return site.acted_s is not None
    return bool(kinds & ACTS.keys()) or site.exchange.faults.count > 0


async def _recover(trader, loop, harm_s):
    """Wait until the books are those of the exchange and stay so for a while."""
    since_s = None
    while loop.time() < harm_s + PATIENCE_S:
        difference = trader.difference()
        if difference:
            since_s = None
        elif since_s is None:
            since_s = loop.time()
        elif loop.time() - since_s >= 2.0:
            break
        await asyncio.sleep(0.02)
    return {
        "recovery_s": None if since_s is None else round(max(since_s - harm_s, 0.0), 3),
        "difference": difference, "lost_fills": len(trader.lost()),
        "without_stop": len(trader.bare()),
    }  # fmt: skip


async def _settle(trader, loop):
    """Close everything, and hold the money of the books against that of the exchange."""
    site, until_s = trader.site, loop.time() + 120.0
    await trader.guarded(trader.manager.cancel_all("the end"))
    while loop.time() < until_s and (site.positions() or trader.difference()):
        # A book may be empty for a while, and a command to close does not insist for ever.
        await trader.guarded(trader.manager.flatten(f"the end {loop.time()}", "the end"))
        await asyncio.sleep(3.0)
    links = Counter(own.order_link_id for own in site.orders() if own.order_link_id)
    twice = sum(n - 1 for n in links.values()) + len(trader.overshoots)
    strangers = sum(link not in trader.manager.memory.orders for link in links)
    paid = trader.manager.books.account.wallet_usdt
    return {
        "duplicates": twice + strangers, "is_flat": not site.positions(),
        "residual": str(site.balance() - Decimal(100_000) - paid),
        "n_orders": len(links), "n_fills": len(site.executions()),
        "end_s": round(loop.time(), 3),
    }  # fmt: skip


def run(name, seed):
    """Trade through a scenario, and return what came of it."""
    digest = hashlib.sha256(f"{name} {seed}".encode()).digest()
    chance = Random(digest)
    minute = chance.choice((chance.randrange(1_400), 479, 959))
    loop = InstantLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        start = DAY + timedelta(minutes=minute, seconds=chance.randrange(60))
        return runner.run(asyncio.wait_for(_run(name, seed, loop, start), 36_000))
