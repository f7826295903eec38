"""An engine on the simulated exchange in this process: bars go in, orders fill, nothing waits."""

import asyncio
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pandas as pd

from workbench.core.clock import SimulatedClock
from workbench.core.costs import Costs
from workbench.data import synthesise
from workbench.exchange.simulator import CandleSource, Settings, Simulator
from workbench.execution.venue import Quote
from workbench.live.engine import Engine, World
from workbench.live.journal import Journal
from workbench.live.local import LocalVenue
from workbench.live.recall import recall
from workbench.live.reconcile import Reconciler
from workbench.live.roster import Roster, Runner
from workbench.live.window import CLOSE, MARK, Window, read_rows
from workbench.portfolio.rounds import Rounds
from workbench.risk.limits import load_limits
from workbench.risk.outlook import Forecaster
from workbench.risk.sizer import Sizing
from workbench.risk.system import RiskSystem
from workbench.strategies.base import Strategy

SYMBOLS = ("BTCUSDT", "ETHUSDT")
FIRST = datetime(2024, 1, 1, tzinfo=UTC)
WARM = 60
UID = "1"
CASH = Decimal(10_000)
MARKET = synthesise(SYMBOLS, interval="60", start=FIRST, n_bars=WARM + 200, seed=5)


class Planned(Strategy):
    """Wants what a plan says of each known_at: rows of weights by bar, NaN where it ends."""

    plan: tuple[tuple[float, ...], ...]
    rebalance_band: float = 0.5

    @property
    def lookback(self) -> int:
        """One row."""
        return 1

    def weights(self, market):
        """Return the plan's rows of these moments."""
        start = pd.Timestamp(FIRST) + (WARM + 1) * pd.Timedelta(hours=1)
        table = np.array(self.plan)
        places = (market.index - start) // pd.Timedelta(hours=1)
        rows = [
            table[p] if 0 <= p < len(table) else np.full(table.shape[1], np.nan) for p in places
        ]
        return pd.DataFrame(rows, index=market.index, columns=market.symbols)


class Broken(Planned):
    """Raises at its third bar."""

    def weights(self, market):
        """Raise when the time has come."""
        if market.index[-1] >= pd.Timestamp(FIRST) + (WARM + 3) * pd.Timedelta(hours=1):
            raise ZeroDivisionError("of its own making")
        return super().weights(market)


def steady(*weights, n=200):
    """A plan that wants the same all the time."""
    return Planned(plan=(weights,) * n)


class Bench:
    """One engine, its exchange and its journal; ``step`` closes a bar."""

    def __init__(
        self, path, strategies, *, market=MARKET, limits=None, capital=CASH, exchange=None,
        timeout_s=None, refuse=None, is_exact=False,
    ):  # fmt: skip
        self.rows = read_rows(market, SYMBOLS)
        self.market, self.strategies = market, strategies
        begin = self.rows[WARM - 1].known_at
        self.exchange = exchange or self.open_exchange(market, begin, is_exact=is_exact)
        self.venue = LocalVenue(self.exchange, UID)
        self.clock = SimulatedClock(datetime.fromtimestamp(self.exchange.now_ms / 1000, tz=UTC))
        self.next = next(i for i, row in enumerate(self.rows) if row.known_at > self.clock.now())
        self.alerts, self.kept, self.events = [], [], []
        self.refuse = refuse or (lambda strategy, capital: None)
        self.is_open = True
        self.journal = Journal(path, clock=self.clock)
        self.engine = self._build(limits or load_limits("aggressive"), capital, timeout_s)
        self.reconciler = Reconciler(self.engine, self)

    @staticmethod
    def open_exchange(market, begin, *, is_exact):
        exchange = Simulator(
            [market.instruments[s] for s in SYMBOLS],
            source=CandleSource(market, start=begin),
            settings=Settings(is_exact=is_exact, costs=Costs()), seed=1,
            start_ms=int(begin.timestamp() * 1000),
        )  # fmt: skip
        exchange.add_account(UID, wallet_usdt=CASH)
        return exchange

    def _build(self, limits, capital, timeout_s):
        names = list(self.strategies)
        runners = [Runner(n, s, f"hash-{n}", SYMBOLS) for n, s in self.strategies.items()]
        roster = Roster(runners, timeout_s=timeout_s or 1.0, is_inline=timeout_s is None)
        window = Window(SYMBOLS, "60", self.market.instruments, bars=30)
        window.extend(self.rows[: self.next])
        forecaster = Forecaster(
            len(SYMBOLS), bar_length=timedelta(hours=1), level=limits.value_at_risk_level
        )
        for row in self.rows[: self.next]:
            forecaster.update(row.values[CLOSE], row.values[MARK])
        system = RiskSystem(
            limits, symbols=SYMBOLS, strategies=names, instruments=self.market.instruments,
            leverage=1.0,
        )  # fmt: skip
        sizing = Sizing([None] * len(names), n_symbols=len(SYMBOLS), leverage=1.0)
        bands = np.array([s.rebalance_band for s in self.strategies.values()])
        world = World(
            venue=self.venue, venue_name="simulator", journal=self.journal, clock=self.clock,
            instruments=dict(self.market.instruments), quote=self.quote,
            refuse=lambda strategy, used: self.refuse(strategy, used),
            is_open=lambda: self.is_open,
            keep=lambda number, row: self.kept.append(row), alert=self.alerts.append,
            event=lambda kind, detail: self.events.append((kind, detail)),
        )  # fmt: skip
        return Engine(
            world, window, roster, Rounds(system, forecaster, sizing, bands=bands),
            capital=dict.fromkeys(names, capital),
        )  # fmt: skip

    def quote(self, symbol):
        """The market as the ticker shows it."""
        ticker = self.exchange.ticker(symbol)
        return Quote(
            self.clock.now(), ticker.last_price, ticker.mark_price, ticker.bid1_price,
            ticker.ask1_price,
        )  # fmt: skip

    async def wallet(self):
        """The account as REST shows it."""
        return self.exchange.wallet(UID)

    async def transactions(self, since):
        """The account's log, oldest first."""
        rows = reversed(self.exchange.transactions(UID))
        return [row for row in rows if row.transaction_time_ms >= since.timestamp() * 1000]

    def begin(self):
        """Start, or start again from the journal."""
        self.recalled = recall(self.engine, self.journal.path)
        asyncio.run(self.reconciler.begin())
        return self

    def step(self, bars=1):
        """Let so many bars close."""
        asyncio.run(self._step(bars))
        return self

    def do(self, coroutine):
        """Run something of the engine, and let what follows happen."""

        async def act():
            answer = await coroutine
            await self._settle()
            return answer

        return asyncio.run(act())

    async def _step(self, bars):
        for _ in range(bars):
            row = self.rows[self.next]
            self.next += 1
            # The market goes on in pieces, as the engine looks after its orders in between.
            start = self.clock.now()
            for part in (row.known_at - start) / 4 * np.arange(1, 5):
                self.exchange.advance(int((start + part).timestamp() * 1000))
                self.clock.move_to(max(start + part, self.clock.now()))
                await self._settle()
            self.engine.window.append(row)
            await self.engine.close_bar([row])
            await self._settle()

    async def _settle(self):
        for _ in range(20):
            records = self.venue.events()
            for record in records:
                self.engine.take(record)
            await self.engine.poll()
            if not records:
                return

    def close(self):
        """End without a word, as SIGKILL does; what was appended is on disk here."""
        self.journal.close()

    @property
    def gaps(self):
        """Where books and exchange differ: quantities by symbol, and the wallet."""
        books = self.engine.manager.books
        found = {
            symbol: gap for symbol in SYMBOLS if (gap := self.held(symbol) - books.net(symbol))
        }
        cash = self.exchange.wallet(UID).coin[0].wallet_balance - books.account.wallet_usdt
        return found if abs(cash) < Decimal("1e-6") else {**found, "cash": cash}

    def held(self, symbol):
        """What the exchange says is held."""
        return sum(p.signed_size for p in self.exchange.positions(UID, symbol))

    @property
    def naked(self):
        """The positions without a stop at the exchange."""
        return [p.symbol for p in self.exchange.positions(UID) if p.size and p.stop_loss is None]

    def lines(self, kind):
        """The documents of a kind in the journal."""
        from workbench.live.journal import read_journal

        self.journal.flush()
        return [own.document for own in read_journal(self.journal.path) if own.kind == kind]


@contextmanager
def benches(path):
    """Gives what opens benches on one journal, and closes them."""
    opened = []

    def make(strategies, **options):
        opened.append(Bench(path, strategies, **options))
        return opened[-1]

    yield make
    for own in opened:
        own.close()
