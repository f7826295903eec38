"""The kill drills: a supervised account in real processes, the harm, and the time until it is flat.

The exchange is ours on loopback, with its own limits of order rates; the supervisor is the real
command. A stand-in beats for the engine. Silence and grace are short, so that a drill is: the time
that is measured begins with the decision to flatten (or the return of the network, if it was away)
and ends when the exchange has neither a position nor an order left.
"""

import contextlib
import json
import os
import resource
import signal
import sqlite3
import statistics
import subprocess
import sys
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import psutil

from workbench.core.clock import SteadyClock
from workbench.core.errors import ExchangeBusy
from workbench.core.vault import Secret, Vault
from workbench.core.vault.cipher import Cost
from workbench.data import synthesise
from workbench.exchange import BybitClient
from workbench.exchange.requests import OrderRequest
from workbench.exchange.server import (
    ApiKey,
    Exchange,
    LimitRules,
    ServerSettings,
    machine_ms,
    serving,
)
from workbench.exchange.server.roster import Account, add_accounts
from workbench.exchange.simulator import CandleSource, Settings, Simulator
from workbench.exchange.words import OrderType, Side, TimeInForce
from workbench.live.door import knock
from workbench.live.latch import STOP

SYMBOLS = tuple(f"{letter * 3}USDT" for letter in "ABCDEFGHIJ")
UID, TOKEN = "1001", "steer"
ENGINE_KEY = ApiKey("engine-key", "engine-secret", UID)
SUPERVISOR_KEY = ApiKey("supervisor-key", "supervisor-secret", UID)
PASSPHRASE = "a passphrase for drills only"
SILENT_S, GRACE_S, POLL_S, WATCHDOG_S = 0.4, 0.3, 0.05, 3.0
FEW = 4
CUT_S, SKEW_MS = 1.2, 3_600_000
PATIENCE_S = 30.0
STAND_IN = Path(__file__).with_name("standin.py")


class Stage:
    """An exchange, an account with positions, a supervisor, an engine; one drill at a time."""

    def __init__(self, home, *, n_positions=10):
        self.home, self.folder = home, home / "data" / "supervisor"
        self.n_positions = n_positions
        self.database = home / "data" / "workbench.db"
        self._exits = contextlib.ExitStack()

    def __enter__(self):
        start = datetime.now(UTC).replace(second=0, microsecond=0)
        market = synthesise(
            SYMBOLS, interval="1", start=start - timedelta(days=1), n_bars=2880, seed=3
        )
        self.simulator = Simulator(
            list(market.instruments.values()), source=CandleSource(market, start=start),
            settings=Settings(), seed=1, start_ms=machine_ms(),
        )  # fmt: skip
        keys = add_accounts(
            self.simulator, [Account(UID, (ENGINE_KEY, SUPERVISOR_KEY), Decimal(100_000))]
        )
        # One address asks for the three of them here, which are three in life.
        settings = ServerSettings(limits=LimitRules(requests_per_5s=10_000))
        self.exchange = Exchange(self.simulator, keys, wall_ms=machine_ms(), settings=settings)
        self.place = self._exits.enter_context(serving(self.exchange, token=TOKEN))
        self.client = BybitClient(
            f"http://{self.place}", clock=SteadyClock(), requests_per_s=100,
            login=Secret({"api_key": ENGINE_KEY.key, "api_secret": ENGINE_KEY.secret}),
        )  # fmt: skip
        self._prepare()
        self._exits.callback(self._stop)
        self.engine = self._spawn(str(STAND_IN), str(self.folder), str(self.database))
        self.supervisor = self._spawn("-m", "workbench.cli", "supervise")
        self.wait(lambda: self._state() is not None)
        return self

    def __exit__(self, *error):
        self._exits.close()

    def _prepare(self):
        self.home.mkdir(parents=True, exist_ok=True)
        self.folder.mkdir(parents=True)
        with contextlib.closing(sqlite3.connect(self.database)) as table:
            table.execute("create table t (x)")
        vault = Vault.open(
            self.home / "data" / "vault.json", passphrase=Secret(PASSPHRASE), create=True,
            cost=Cost(passes=2, memory_kib=19_456, lanes=1),
        )  # fmt: skip
        login = {"api_key": SUPERVISOR_KEY.key, "api_secret": SUPERVISOR_KEY.secret}
        vault.add("bybit.simulator.supervisor", "exchange", login)
        own = {
            "DATA_DIR": self.home / "data", "EXCHANGE__REST_URL": f"http://{self.place}",
            "VAULT_PASSPHRASE": PASSPHRASE, "SUPERVISOR__SILENT_S": SILENT_S,
            "SUPERVISOR__GRACE_S": GRACE_S, "SUPERVISOR__POLL_S": POLL_S, "SUPERVISOR__PORT": 0,
            "SUPERVISOR__WATCHDOG_S": WATCHDOG_S,
        }  # fmt: skip
        kept = {name: value for name, value in os.environ.items() if "WORKBENCH_" not in name}
        self.environment = kept | {f"WORKBENCH_{name}": str(value) for name, value in own.items()}

    def _spawn(self, *words):
        return subprocess.Popen(
            [sys.executable, *words], cwd=self.home, env=self.environment,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def _stop(self):
        for process in (self.engine, self.supervisor):
            process.send_signal(signal.SIGCONT)
            process.terminate()
            process.wait(PATIENCE_S)

    # What is looked at.

    def wait(self, is_so, pace_s=0.005):
        """Wait until something is so, and return when that was."""
        deadline = time.monotonic() + PATIENCE_S
        while not is_so():
            assert time.monotonic() < deadline, self._state()
            time.sleep(pace_s)
        return time.time()

    def left(self):
        """How many positions and orders the exchange has, read beside the network."""
        account = self.simulator.account(UID)
        return len(account.held()), len(account.orders)

    def wait_for_state(self, is_so):
        """Wait until the supervisor stands in a way, and return how it stands."""
        self.wait(lambda: (state := self._state()) is not None and is_so(state), pace_s=0.05)
        return self._state()

    def _state(self):
        try:
            return knock(self.folder, "/state")
        except ExchangeBusy:
            return None

    # What is done.

    def open(self):
        """Open positions by real orders with stops, and leave entries to work."""
        self.wait(lambda: self.left() == (0, 0))
        self.command("/release", by="drill", reason="the next drill")
        symbols = SYMBOLS[: self.n_positions]
        last = {own.symbol: own.last_price for own in self.client.tickers()}
        rules = {own.symbol: own for own in self.client.instruments(symbols)}
        for number, symbol in enumerate(symbols):
            order = self._entry("now", number, rules[symbol], last[symbol])
            self.wait(lambda order=order: self._is_taken(order))
        waiting = [self._entry("rest", n, rules[own], last[own]) for n, own in enumerate(symbols)]
        while waiting:  # until the limit of the last drill's second is over
            acks = self.client.create_orders(waiting)
            waiting = [own for own, ack in zip(waiting, acks, strict=True) if ack.code]
        sent = time.monotonic()
        self.wait(lambda: self.left()[0] == self.n_positions)
        self.wait(lambda: (self._state() or {}).get("positions") == self.n_positions)
        assert all(own.stop_loss for own in self.client.positions())
        if self.n_positions > FEW:
            # Silence and grace are so short here that this second's orders would still count.
            self.wait(lambda: time.monotonic() > sent + 1)

    def _is_taken(self, order):
        # The drill before may have used up this second.
        try:
            return self.client.create_order(order)
        except ExchangeBusy:
            return None

    def _entry(self, kind, number, rules, last):
        side = Side.BUY if number % 2 else Side.SELL
        is_now = kind == "now"
        price = last if is_now else last * (1 - side.sign * Decimal("0.03"))
        tick = lambda value: value // rules.tick_size * rules.tick_size  # noqa: E731
        stop = tick(price * (1 - side.sign * Decimal("0.05"))) if is_now else None
        return OrderRequest(
            symbol=rules.symbol, side=side, qty=Decimal(500) / last // rules.qty_step
            * rules.qty_step, order_type=OrderType.MARKET if is_now else OrderType.LIMIT,
            price=None if is_now else tick(price), stop_loss=stop,
            time_in_force=None if is_now else TimeInForce.GTC,
            order_link_id=f"{kind}-{number}-{time.time_ns()}",
        )  # fmt: skip

    def command(self, path, **body):
        """Knock at the supervisor's door."""
        return knock(self.folder, path, body or None)

    def fault(self, **fault):
        """Let something go wrong at the exchange."""
        request = urllib.request.Request(
            f"http://{self.place}/control/faults", json.dumps(fault).encode(),
            {"X-Control-Token": TOKEN, "Content-Type": "application/json"},
        )  # fmt: skip
        urllib.request.urlopen(request).close()

    def restart_engine(self):
        """Let the engine beat again, whatever was done to it."""
        self.engine.send_signal(signal.SIGCONT)
        self.engine.kill()
        self.engine.wait()
        self.engine = self._spawn(str(STAND_IN), str(self.folder), str(self.database))
        # Until it is heard, its silence would be held against it again.
        self.wait(lambda: (self._state() or {}).get("silent_s", 1) < SILENT_S / 4)

    def limit_files(self, limit):
        """Let no process of the supervisor write to a file, as on a full disk; or let it again."""
        guard = psutil.Process(self.supervisor.pid)
        for process in (guard, *guard.children()):
            _, hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (limit, hard))

    def run(self, name):
        """Run one drill, and return the time until the account was flat and what was left."""
        self.open()
        with DRILLS[name](self) as back:
            flat = self.wait(lambda: self.left() == (0, 0))
            time.sleep(2 * POLL_S)  # whatever would still come
            left = self.left()
            latch = self.wait(lambda: self._state() is not None) and self._state()["latch"]
        begun = max(datetime.fromisoformat(latch["at"]).timestamp(), back or 0)
        assert latch["level"] == "flatten", latch
        self.restart_engine()
        return flat - begun, sum(left), latch


# Each does its harm, gives when the way to the exchange was open again, and undoes it.


@contextlib.contextmanager
def _killed(stage):
    stage.engine.kill()
    yield None


@contextlib.contextmanager
def _stopped(stage):
    stage.engine.send_signal(signal.SIGSTOP)
    yield None


@contextlib.contextmanager
def _frozen(stage):
    stage.engine.send_signal(signal.SIGUSR1)
    yield None


@contextlib.contextmanager
def _full_disk(stage):
    stage.limit_files(0)
    stage.engine.kill()
    yield None
    stage.limit_files(resource.RLIM_INFINITY)


@contextlib.contextmanager
def _closed_database(stage):
    with contextlib.closing(sqlite3.connect(stage.database, isolation_level=None)) as table:
        table.execute("begin exclusive")
        yield None


@contextlib.contextmanager
def _cut_network(stage):
    stage.fault(kind="lose", seconds=CUT_S)
    back = time.time() + CUT_S
    stage.engine.kill()
    yield back


@contextlib.contextmanager
def _wrong_clock(stage):
    stage.fault(kind="skew", amount=str(SKEW_MS))
    (stage.folder / STOP).touch()
    yield None
    stage.fault(kind="skew", amount=str(-SKEW_MS))


DRILLS = {
    "SIGKILL": _killed,
    "SIGSTOP": _stopped,
    "frozen loop": _frozen,
    "full disk": _full_disk,
    "closed database": _closed_database,
    "cut network": _cut_network,
    "wrong clock": _wrong_clock,
}


def summarise(name, runs):
    """The row of a drill from its times and leftovers."""
    times = [seconds for seconds, _ in runs]
    return {
        "drill": name, "runs": len(runs), "flat_median_s": round(statistics.median(times), 3),
        "flat_max_s": round(max(times), 3), "leftovers": sum(left for _, left in runs),
    }  # fmt: skip
