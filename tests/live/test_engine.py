"""Protects the engine: bars become orders as in a backtest, books equal the exchange, the trouble
of one strategy is its own, and what people command is done once (SM-01, SM-02, TE-09, TE-13).
"""

import threading
from datetime import timedelta
from decimal import Decimal

import numpy as np
import pytest

from tests.live.bench import (
    CASH,
    FIRST,
    MARKET,
    SYMBOLS,
    UID,
    WARM,
    Broken,
    Planned,
    benches,
    steady,
)
from workbench.backtest.run import run
from workbench.core.costs import Costs
from workbench.core.errors import EvidenceError
from workbench.core.records import Account
from workbench.live.commands import Command
from workbench.live.engine import State
from workbench.live.roster import Phase
from workbench.risk.limits import change_limits, load_limits

BTC, ETH = SYMBOLS


def command(name, command_id="cmd-1", **arguments):
    return Command(command_id, "paper", name, "me", "a test", arguments, number=1)


@pytest.fixture
def make(tmp_path):
    """Opens a bench."""
    with benches(tmp_path / "paper.jsonl") as opener:
        yield opener


def test_bars_become_orders_and_books_equal_the_exchange(make):
    bench = make({"one": steady(0.3, -0.2)}).begin().step(20)
    assert bench.held(BTC) > 0 > bench.held(ETH)
    assert (bench.gaps, bench.naked, bench.alerts) == ({}, [], [])
    tables = {row.table for row in bench.kept}
    assert tables == {"postings", "orders", "equity"}


@pytest.mark.parametrize("band", [0.02, 0.5])
def test_engine_holds_at_every_bar_what_the_backtest_holds(make, band):
    """Parity: the same strategy, limits and bars, in the kernel and through the order manager."""
    rng = np.random.default_rng(2)
    choices = [np.nan, 0.0, 0.2, -0.3, 0.4]
    plan = tuple(tuple(row) for row in rng.choice(choices, (80, 2), p=[0.7, 0.1, 0.07, 0.06, 0.07]))
    strategy = Planned(plan=plan, rebalance_band=band)
    limits = load_limits("aggressive")
    whole = run(strategy, MARKET, account=Account(), costs=Costs(), limits=limits)
    bench = make({"one": strategy}, limits=limits, is_exact=True, capital=Decimal(10**9)).begin()
    held = []
    for _ in range(80):
        bench.step()
        held.append(bench.engine.holdings.qty[0].copy())
    expected = whole.positions.iloc[WARM : WARM + 80].to_numpy()
    assert (np.diff(expected, axis=0) != 0).sum() > 15
    # An order of a bar's close fills in the next one, in both.
    assert np.allclose(np.array(held), expected, atol=1e-9)
    assert bench.engine.holdings.equity_usdt == pytest.approx(
        whole.equity.iloc[WARM + 79], rel=1e-9
    )
    assert bench.gaps == {}


def test_strategy_that_raises_is_held_flat_and_the_others_go_on(make):
    """SM-01: an exception in one leaves the others running."""
    plan = steady(0.2, 0.2).plan
    bench = make({"bad": Broken(plan=plan), "good": steady(0.1, -0.1)}).begin().step(2)
    before = bench.engine.manager.books.held(BTC)
    assert set(before) == {"bad", "good"}
    bench.step(5)
    runners = bench.engine.roster.runners
    assert (runners["bad"].phase, runners["good"].phase) == (Phase.FAILED, Phase.RUNNING)
    assert [a.key for a in bench.alerts].count("strategy bad") == 1
    assert "ZeroDivisionError" in bench.alerts[0].words
    # What it holds is kept by its stops.
    assert bench.engine.manager.books.held(BTC)["bad"] == before["bad"]
    assert (bench.gaps, bench.naked) == ({}, [])


class Slow(Planned):
    """Waits for a word that never comes, from its second bar on."""

    def weights(self, market):
        """Hang."""
        if (market.index[-1] - FIRST) / timedelta(hours=1) > WARM + 1:
            threading.Event().wait(0.4)
        return super().weights(market)


def test_strategy_that_does_not_answer_in_time_is_held_flat(make):
    strategies = {"slow": Slow(plan=steady(0.2, 0.2).plan), "good": steady(0.1, -0.1)}
    bench = make(strategies, timeout_s=0.05).begin().step(4)
    assert bench.engine.roster.runners["slow"].phase is Phase.RUNNING
    assert {a.key for a in bench.alerts} == {"strategy slow"}
    assert bench.engine.manager.books.held(ETH)["good"] < 0
    assert bench.gaps == {}
    bench.engine.roster.close()


def test_pause_lets_nothing_enter_and_exits_go_on(make):
    """SM-02: pause blocks new entries but still manages exits."""
    plan = ((0.2, 0.0),) * 3 + ((0.4, 0.3),) * 3 + ((0.0, 0.3),) * 10
    bench = make({"one": Planned(plan=plan)}).begin().step(2)
    assert bench.do(bench.engine.obey(command("pause"))).is_done
    before = bench.held(BTC)
    bench.step(3)
    assert (bench.held(BTC), bench.held(ETH)) == (before, 0)
    bench.step(2)
    assert bench.held(BTC) == 0
    bench.do(bench.engine.obey(command("resume", "cmd-2")))
    bench.step(2)
    assert bench.held(ETH) > 0
    assert bench.gaps == {}


def test_pause_of_one_strategy_leaves_the_other_alone(make):
    bench = make({"one": steady(0.2, 0.0), "two": steady(0.0, 0.2)}).begin()
    bench.do(bench.engine.obey(command("pause", strategy="one")))
    bench.step(3)
    assert (bench.held(BTC), bench.held(ETH) > 0) == (0, True)
    again = bench.do(bench.engine.obey(command("pause", "cmd-2", strategy="one")))
    assert not again.is_done
    assert "one is paused" in again.words


def test_limit_that_is_tightened_counts_at_the_next_bar(make):
    limits = load_limits("aggressive")
    bench = make({"one": steady(0.4, 0.4)}, limits=limits).begin().step(2)
    gross = bench.engine.rounds.system.reading.gross
    assert gross > 0.3
    bench.engine.set_limits(change_limits(limits, max_gross=0.2, max_net=0.2))
    bench.step(2)
    assert bench.engine.rounds.system.reading.gross < 0.22
    assert bench.gaps == {}


def test_flatten_closes_everything_once_and_nothing_enters_before_resume(make):
    """TE-09: emergency stop cancels and flattens reduce-only."""
    bench = make({"one": steady(0.3, -0.2)}).begin().step(3)
    orders = len(bench.exchange.order_history(UID))
    assert bench.do(bench.engine.obey(command("flatten"))).is_done
    assert [bench.held(s) for s in SYMBOLS] == [0, 0]
    sent = bench.exchange.order_history(UID)[: -orders or None]
    assert all(own.reduce_only for own in sent if own.order_link_id.startswith("wb-"))
    count = len(bench.exchange.order_history(UID))
    bench.do(bench.engine.obey(command("flatten")))
    assert len(bench.exchange.order_history(UID)) == count
    bench.step(3)
    assert [bench.held(s) for s in SYMBOLS] == [0, 0]
    assert bench.engine.state is State.PAUSED
    assert bench.gaps == {}


def test_close_of_a_symbol_locks_its_side_until_the_weight_has_left_it(make):
    plan = ((0.3, 0.2),) * 5 + ((0.0, 0.2),) + ((0.3, 0.2),) * 10
    bench = make({"one": Planned(plan=plan)}).begin().step(2)
    bench.do(bench.engine.obey(command("close", symbol=BTC)))
    bench.step(2)
    assert (bench.held(BTC), bench.held(ETH) > 0) == (0, True)
    bench.step(4)
    assert bench.held(BTC) > 0
    assert bench.gaps == {}


def test_strategy_without_a_right_enters_nothing_and_may_close(make):
    """GR-09: the permit is asked for every order."""
    plan = ((0.2, 0.2),) * 3 + ((0.4, 0.0),) * 10
    error = EvidenceError("It was revoked.", "Ask again.")
    bench = make({"one": Planned(plan=plan)}).begin().step(2)
    held = bench.held(BTC)
    bench.refuse = lambda strategy, capital: error
    bench.step(4)
    assert (bench.held(BTC), bench.held(ETH)) == (held, 0)
    assert bench.gaps == {}


def test_right_is_asked_for_no_more_capital_than_the_strategy_has(make):
    asked = []
    bench = make(
        {"one": steady(0.3, 0.1)}, capital=Decimal(500),
        refuse=lambda strategy, capital: asked.append(capital),
    ).begin().step(3)  # fmt: skip
    assert 0 < max(asked) <= 500
    value = sum(abs(bench.engine.holdings.qty[0]) * bench.engine.rounds.forecaster.price)
    assert 100 < value <= 500


def test_private_stream_that_is_away_blocks_entries(make):
    """TE-09: a lost private stream blocks entries."""
    bench = make({"one": steady(0.3, 0.2)})
    bench.is_open = False
    bench.begin().step(3)
    assert [bench.held(s) for s in SYMBOLS] == [0, 0]
    bench.is_open = True
    bench.step(2)
    assert bench.held(BTC) > 0


def test_engine_halts_on_books_that_cannot_be_right_and_stops_stand(make):
    bench = make({"one": steady(0.3, 0.2)}).begin().step(3)
    bench.engine.halt("the books differ")
    held = bench.held(BTC)
    bench.step(3)
    assert (bench.engine.state, bench.held(BTC), bench.naked) == (State.HALTED, held, [])
    assert [a.key for a in bench.alerts] == ["engine halted"]
    assert bench.lines("halt") == [{"words": "the books differ"}]


def test_equity_and_capital_are_those_of_the_account(make):
    bench = make({"one": steady(0.3, 0.2)}).begin().step(10)
    wallet = bench.exchange.wallet(UID)
    assert bench.engine.holdings.equity_usdt == pytest.approx(float(wallet.total_equity), abs=0.01)
    assert bench.engine.manager.books.account.flows_usdt == CASH
