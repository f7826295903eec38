"""Protects the engine as a process: real sockets, a real store, SIGKILL at any point (TE-10)."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest

from tests.exchange.desk import KEY, make_exchange
from tests.live.process import LOGIN, make_parts
from workbench.exchange.server import LimitRules, ServerSettings, machine_ms, serving
from workbench.live.commands import ask, find_outcome
from workbench.live.explain import explain
from workbench.live.journal import read_journal
from workbench.live.run import Run
from workbench.monitor.alerts import Alerts
from workbench.store import Store
from workbench.strategies.registry import load_strategy

BTC, ETH = "BTCUSDT", "ETHUSDT"
TOKEN = "steer"
MINUTE = timedelta(minutes=1)
PATIENCE_S = 20
ROOT = Path(__file__).resolve().parents[2]


class Place:
    """A served exchange whose market runs a minute a second."""

    def __init__(self, exchange, place):
        self.exchange, self.place = exchange, place

    def held(self, symbol):
        """What is held, as the exchange has it."""
        return sum(p.signed_size for p in self.exchange.simulator.positions(KEY.uid, symbol))

    @property
    def naked(self):
        """Positions without a stop."""
        rows = self.exchange.simulator.positions(KEY.uid)
        return [p.symbol for p in rows if p.size and p.stop_loss is None]


@pytest.fixture
def place():
    """A served exchange."""
    settings = ServerSettings(ack_ms=1, speed=60, seed=5, limits=LimitRules(1_000, 10**6, 10**6))
    exchange = make_exchange(settings=settings, wall_ms=machine_ms())
    with serving(exchange, token=TOKEN) as address:
        yield Place(exchange, address)


@asynccontextmanager
async def running(place, folder, strategies):
    """A run in this process, ready to trade."""
    with Store.open(f"sqlite:///{folder}/workbench.db") as store:
        alerts = Alerts()
        run = Run(make_parts(place.place, folder, store, strategies), LOGIN, alerts)
        task = asyncio.create_task(run.run())
        ready = asyncio.create_task(run.ready.wait())
        await asyncio.wait({task, ready}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        await run.feed.stream.until_ready(PATIENCE_S)
        await run.private.until_ready(PATIENCE_S)
        await until(lambda: len(run.feed.quotes) == 2, "quotes")
        try:
            yield run, store
        finally:
            run.stop()
            await task
            alerts.close()


async def until(condition, what):
    """Wait for something that other tasks bring about."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, f"in vain for {what}"
        await asyncio.sleep(0.02)


async def bars(run, n):
    """Let so many bars close, and the engine decide on them."""
    before = run.engine.holdings.bar
    await until(lambda: run.engine.holdings.bar >= before + n, "bars")


def gaps(place, run):
    """Where books and exchange differ."""
    books = run.engine.manager.books
    return {s: place.held(s) - books.net(s) for s in (BTC, ETH) if place.held(s) != books.net(s)}


def test_engine_trades_over_sockets_obeys_commands_and_fills_the_store(place, home):
    """TE-13: paper trading is a change of endpoint; commands go through the store alone."""

    async def main():
        strategies = {"one": load_strategy("crossover", {"fast": 2, "slow": 4})}
        async with running(place, home, strategies) as (run, store):
            await until(lambda: place.held(BTC) * place.held(ETH), "positions")
            await until(lambda: not gaps(place, run), "the fills")
            assert place.naked == []
            link = next(
                own.life.link for own in run.engine.manager.memory.orders.values() if own.life.fills
            )
            asked = ask(store, "flatten", profile="paper", by="me", reason="a test")
            await until(lambda: find_outcome(store, asked.id), "the answer")
            await until(lambda: not place.held(BTC) and not place.held(ETH), "flat")
            ask(store, "resume", profile="paper", by="me", reason="on", command_id="cmd-x")
            ask(store, "resume", profile="paper", by="me", reason="on", command_id="cmd-x")
            await until(lambda: find_outcome(store, "cmd-x"), "the answer")
            await until(lambda: place.held(BTC) or place.held(ETH), "a position")
            await until(lambda: not gaps(place, run), "the fills")
            await until(lambda: len(store.rows("postings")) > 2, "the mirror")
            await until(lambda: len(store.engines()), "its word")
            word = store.engines().iloc[0]["document"]
            assert word["strategies"]["one"]["phase"] == "running"
            return run.journal.path, link

    path, link = asyncio.run(main())
    story = explain(path, link)
    told = "\n".join(story.lines())
    assert story.bar["close"] > 0
    for words in ("one wanted", ": asked ", "filled", "basis points worse"):
        assert words in told
    with Store.open(f"sqlite:///{home}/workbench.db") as store:
        rows, orders = store.rows("postings"), store.rows("orders")
        fills = rows[rows["kind"] == "trade"]
        assert set(fills["order_id"]) <= set(orders["order_id"]) | {""}
        assert fills["expected_price"].notna().all()
        wallet = place.exchange.simulator.wallet(KEY.uid).coin[0].wallet_balance
        fees = sum(fills["amount_usdt"], Decimal(0))
        assert fees > 0
        assert abs(wallet - Decimal(100_000)) < 1_000


def test_engine_that_is_away_takes_up_the_bars_that_it_missed(place, home):
    async def life(n):
        strategies = {"one": load_strategy("crossover", {"fast": 2, "slow": 4})}
        async with running(place, home, strategies) as (run, _):
            await bars(run, n)
            return run.journal.path

    asyncio.run(life(2))
    time.sleep(2)
    path = asyncio.run(life(1))
    closed = [
        datetime.fromisoformat(line.document["known_at"])
        for line in read_journal(path)
        if line.kind == "bar"
    ]
    # Those of before, those that were missed and those of now: each minute once.
    assert {b - a for a, b in pairwise(closed)} == {MINUTE}
    assert len(closed) >= 5
    assert place.naked == []


@pytest.mark.slow
def test_engine_that_is_killed_with_orders_out_comes_back_to_books_that_equal_the_exchange(
    place, home
):
    """BYBIT.md 4: our process dies; nothing is doubled or lost, and no stop is missing."""

    def start():
        environment = {**os.environ, "WORKBENCH_DATA_DIR": str(home)}
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.live.process", place.place, str(home)],
            stdout=subprocess.PIPE, text=True, env=environment,
            cwd=ROOT,
        )  # fmt: skip
        assert child.stdout.readline() == "ready\n"
        return child

    for wait_s in (0.0, 0.01, 0.05):
        child = start()
        for _ in range(2):
            assert child.stdout.readline().startswith("decision")
        time.sleep(wait_s)
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
    started = time.monotonic()
    child = start()
    recovered = time.monotonic() - started
    assert child.stdout.readline().startswith("decision")
    child.send_signal(signal.SIGTERM)
    assert child.wait(PATIENCE_S) == 0
    child.stdout.close()
    assert place.naked == []
    links = [o.order_link_id for o in place.exchange.simulator.order_history(KEY.uid)]
    ours = [link for link in links if link.startswith("wb-")]
    assert len(ours) == len(set(ours)) > 0
    with Store.open(f"sqlite:///{home}/workbench.db") as store:
        rows = store.rows("postings")
        incidents = store.events(kind="incident")
    fills = rows[rows["kind"] == "trade"]
    there = {
        row.exec_id: row.exec_time_ms
        for row in place.exchange.simulator.executions(KEY.uid)
        if row.exec_type == "Trade"
    }
    names = fills["posting_id"]
    booked = names[~names.str.startswith("cross/")].str.split("/").str[0]
    assert set(booked) <= set(there)
    # The market goes on: what is not booked came after the end.
    last = max(there[name] for name in booked)
    assert all(at >= last for name, at in there.items() if name not in set(booked))
    assert fills["strategy"].isin(["fast", "slow"]).all()
    assert len(incidents) == 0
    assert recovered < 10
