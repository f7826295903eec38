"""Protects restarts: an engine that died at any moment goes on as if it had not (TE-10)."""

import asyncio
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.live.bench import SYMBOLS, UID, Planned, benches, steady
from workbench.live.commands import Command
from workbench.live.engine import State
from workbench.risk.limits import load_limits
from workbench.strategies.base import Intent, SteppedStrategy

BTC, ETH = SYMBOLS


@pytest.fixture
def make(tmp_path):
    """Opens benches on one journal."""
    with benches(tmp_path / "paper.jsonl") as opener:
        yield opener


class Counting(SteppedStrategy):
    """Turns its position every few bars, by a count that it remembers."""

    every: int = 4
    rebalance_band: float = 0.5

    @property
    def lookback(self) -> int:
        """One row."""
        return 1

    def features(self, market: Any) -> dict[str, pd.DataFrame]:
        """The close."""
        return {"close": market.close}

    def init(self) -> dict[str, Any]:
        """Nothing is counted."""
        return {"n": 0}

    def step(self, state: dict[str, Any], row: Any, held: Any) -> Any:
        """Count, and turn."""
        n = state["n"] + 1
        side = 1 if (n // self.every) % 2 else -1
        wants = [Intent(BTC, 0.2 * side, stop_loss=0.03)] if n % self.every == 0 else []
        return {"n": n}, wants


def strategies():
    rng = np.random.default_rng(4)
    plan = rng.choice([np.nan, 0.0, 0.2, -0.2], (60, 2), p=[0.6, 0.1, 0.15, 0.15])
    return {"one": Planned(plan=tuple(map(tuple, plan))), "two": Counting()}


def trail(bench):
    """What an exchange saw of an engine: its orders, and what it held."""
    rows = [*bench.exchange.order_history(UID), *bench.exchange.open_orders(UID)]
    return sorted((o.order_link_id, str(o.side), o.qty, o.cum_exec_qty) for o in rows)


def assert_alike(one, other):
    """Documents are equal but for what the rounding of cents, booked at each start, may move."""
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for name in one:
            assert_alike(one[name], other[name])
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for own, its in zip(one, other, strict=True):
            assert_alike(own, its)
    elif isinstance(one, float):
        assert one == pytest.approx(other, rel=1e-9, abs=1e-9, nan_ok=True)
    else:
        assert one == other


@pytest.mark.parametrize("is_exact", [False, True])
def test_engine_that_is_killed_after_any_bar_trades_as_one_that_was_not(tmp_path, is_exact):
    """The same orders under the same names, the same books, and nothing counted twice."""
    limits = load_limits("aggressive")
    with benches(tmp_path / "whole.jsonl") as make:
        whole = make(strategies(), limits=limits, is_exact=is_exact).begin().step(24)
        expected = trail(whole)
        state = whole.engine.holdings.document()
        memory = whole.engine.rounds.system.document()
    with benches(tmp_path / "cut.jsonl") as make:
        bench = make(strategies(), limits=limits, is_exact=is_exact).begin()
        for bars in (1, 2, 1, 5, 3, 1, 7, 4):
            bench.step(bars)
            bench.close()
            bench = make(strategies(), limits=limits, exchange=bench.exchange).begin()
            assert (bench.gaps, bench.naked, bench.alerts) == ({}, [], [])
        assert len(expected) > 20
        assert trail(bench) == expected
        assert_alike(bench.engine.holdings.document(), state)
        assert_alike(bench.engine.rounds.system.document(), memory)


def killed_with_orders_out(make, limits):
    """A bench that died right after its orders were planned, before any answer."""
    bench = make({"one": steady(0.3, -0.2)}, limits=limits).begin().step(2)
    bench.engine.roster.runners["one"].strategy = steady(-0.3, 0.3)

    class Gone(Exception):
        """The process is no more."""

    async def die(request):
        bench.engine.journal.flush()
        if bench.sends:
            await create(request)
        raise Gone

    create, bench.venue.create = bench.venue.create, die
    return bench, Gone


@pytest.mark.parametrize("sends", [False, True])
def test_engine_that_is_killed_while_it_sends_finds_out_what_became_of_its_orders(make, sends):
    """BYBIT.md 4: an unknown outcome is asked for by its name, and never sent under another."""
    limits = load_limits("aggressive")
    bench, gone = killed_with_orders_out(make, limits)
    bench.sends = sends
    with pytest.raises(gone):
        bench.step(1)
    bench.close()
    again = make({"one": steady(-0.3, 0.3)}, limits=limits, exchange=bench.exchange).begin()
    again.step(3)
    assert (again.gaps, again.naked) == ({}, [])
    assert again.held(BTC) < 0 < again.held(ETH)
    links = [o.order_link_id for o in again.exchange.order_history(UID) if o.order_link_id]
    assert len(links) == len(set(links))


def test_engine_that_was_paused_stays_paused_and_a_command_is_not_done_twice(make):
    limits = load_limits("aggressive")
    bench = make({"one": steady(0.3, -0.2)}, limits=limits).begin().step(2)
    ask = Command("cmd-1", "paper", "flatten", "me", "a test", {}, 7)
    bench.do(bench.engine.obey(ask))
    bench.close()
    again = make({"one": steady(0.3, -0.2)}, limits=limits, exchange=bench.exchange).begin()
    assert again.engine.state is State.PAUSED
    assert (again.recalled.heard, again.recalled.unanswered) == (7, {})
    count = len(again.exchange.order_history(UID))
    again.do(again.engine.obey(ask))
    again.step(2)
    assert len(again.exchange.order_history(UID)) == count


def test_command_that_was_taken_and_not_finished_is_known_after_a_restart(make):
    bench = make({"one": steady(0.3, -0.2)}).begin().step(2)
    bench.engine.journal.append(
        "command",
        {"id": "cmd-9", "name": "pause", "by": "me", "reason": "r", "arguments": {}, "number": 3},
    )
    bench.close()
    again = make({"one": steady(0.3, -0.2)}, exchange=bench.exchange).begin()
    assert list(again.recalled.unanswered) == ["cmd-9"]


def test_account_that_was_traded_before_is_adopted_as_nobodys_profit(make):
    """An orphan position at the first start belongs to nobody here, and gets its stop."""
    bench = make({"one": steady(0.0, 0.2)})
    bench.exchange.create_order(
        UID, {"category": "linear", "symbol": BTC, "side": "Buy", "orderType": "Market",
              "qty": "0.05"},
    )  # fmt: skip
    bench.exchange.advance(bench.exchange.now_ms + 60_000)
    bench.clock.sleep(60)
    bench.begin().step(3)
    assert bench.engine.manager.books.held(BTC) == {"external": Decimal("0.05")}
    assert (bench.gaps, bench.naked) == ({}, [])
    assert abs(bench.engine.holdings.pnl_usdt[0]) < 10


async def nothing(moment_ms):
    """No executions."""
    return []


@pytest.mark.parametrize(("policy", "state"), [("adopt", State.RUNNING), ("halt", State.HALTED)])
def test_position_that_nothing_explains_is_adopted_or_halts_trading(make, policy, state):
    bench = make({"one": steady(0.3, 0.2)}).begin().step(2)
    # A fill that the exchange does not show.
    bench.venue.executions_since = nothing
    bench.exchange.create_order(
        UID, {"category": "linear", "symbol": ETH, "side": "Sell", "orderType": "Market",
              "qty": "1"},
    )  # fmt: skip
    bench.exchange.advance(bench.exchange.now_ms + 60_000)
    bench.venue.events()
    bench.reconciler.policy = policy
    found = asyncio.run(bench.reconciler.compare())
    assert {own.kind for own in found} >= {"position"}, bench.alerts
    assert bench.events[0][0] == "incident"
    assert bench.engine.state is (State.HALTED if policy == "halt" else bench.engine.state)
    if policy == "adopt":
        assert bench.engine.manager.books.net(ETH) == bench.held(ETH)


def test_money_that_comes_and_goes_is_a_flow_and_no_profit(make):
    bench = make({"one": steady(0.1, 0.1)}).begin().step(2)
    before = bench.engine.rounds.system.reading.drawdown
    bench.exchange.deposit(UID, "5000")
    assert asyncio.run(bench.reconciler.compare()) == []
    bench.step(1)
    assert bench.gaps == {}
    assert bench.engine.manager.books.account.flows_usdt == Decimal(15_000)
    assert bench.engine.rounds.system.reading.drawdown == pytest.approx(before, abs=0.01)


@pytest.mark.parametrize("qty", ["0.02", "0.2"])
def test_manual_trade_is_booked_as_nobodys_and_the_books_agree(make, qty):
    bench = make({"one": steady(0.3, 0.2)}).begin().step(2)
    held = bench.engine.manager.books.held(BTC)["one"]
    bench.exchange.create_order(
        UID, {"category": "linear", "symbol": BTC, "side": "Sell", "orderType": "Market",
              "qty": qty},
    )  # fmt: skip
    bench.step(1)
    books = bench.engine.manager.books.held(BTC)
    assert (books["one"], books["external"]) == (held, -Decimal(qty))
    assert (bench.gaps, bench.naked) == ({}, [])


def test_rounding_of_the_exchange_leaves_no_residual(make):
    bench = make({"one": steady(0.3, -0.2)}, is_exact=True).begin().step(12)
    asyncio.run(bench.reconciler.compare())
    books = bench.engine.manager.books
    assert books.account.wallet_usdt == bench.exchange.wallet(UID).coin[0].wallet_balance
    assert bench.engine.state is State.RUNNING
