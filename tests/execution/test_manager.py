"""Protects trading from the exchange: no order twice, none without a decision, no bare position."""

import asyncio
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.execution.hostile import SYMBOLS, TradingDesk
from workbench.core.errors import DataError, EvidenceError, ReconcileError, RiskRefused
from workbench.exchange.words import (
    CreateType,
    ExecType,
    OrderStatus,
    RejectReason,
    TimeInForce,
)
from workbench.execution.books import EXTERNAL
from workbench.execution.memory import Style, read_record
from workbench.execution.orders import State
from workbench.execution.parents import Child, Step
from workbench.execution.venue import OrderLimits, Patience, make_link

D = Decimal
symbols = st.sampled_from(SYMBOLS)
weights = st.lists(st.sampled_from([-0.6, -0.2, 0.0, 0.2, 0.6, np.nan]), min_size=4, max_size=4)
distances = st.sampled_from([0.02, 0.05, 0.1, np.nan])


class HostileTrading(RuleBasedStateMachine):
    """EX-01, TE-10: everything of the protocol's fault table, in any sequence."""

    @initialize(seed=st.integers(0, 2**32))
    def open_desk(self, seed):
        self.desk = TradingDesk(seed=seed, calm=False)

    @rule(wanted=weights, stops=st.lists(distances, min_size=4, max_size=4), twice=st.booleans(),
          ttl=st.sampled_from([None, None, 3.0]))  # fmt: skip
    def decide(self, wanted, stops, twice, ttl):
        brackets = np.full((2, 2, 3), np.nan)
        brackets[:, :, 0] = np.reshape(stops, (2, 2))
        brackets[0, :, 1] = 0.3
        styles = {}
        if ttl is not None:
            price = self.desk.venue.price["BUSDT"] - 1
            styles["BUSDT"] = Style("limit", price=price, ttl_s=ttl)
        decision = self.desk.trade(wanted, brackets=brackets, styles=styles)
        if twice:
            self.desk.run(self.desk.manager.submit(decision))

    @rule(seconds=st.sampled_from([0.0, 1.0, 4.0, 20.0]))
    def wait(self, seconds):
        self.desk.wait(seconds)

    @rule(loses_end=st.booleans())
    def restart(self, loses_end):
        self.desk.restart(loses_end=loses_end)

    @rule(symbol=symbols, change=st.sampled_from(["0.97", "1.03", "0.9", "1.1"]))
    def move(self, symbol, change):
        price = (self.desk.venue.price[symbol] * D(change)).quantize(D("0.1"))
        self.desk.venue.move(symbol, min(max(price, D(50)), D(200)))

    @rule(symbol=symbols, qty=st.sampled_from(["1.5", "-2"]))
    def trade_by_hand(self, symbol, qty):
        self.desk.venue.external(symbol, D(qty), create_type=CreateType.USER)

    @rule(symbol=symbols)
    def deleverage(self, symbol):
        size = self.desk.venue.net[symbol]
        if abs(size) > 1:
            self.desk.venue.external(symbol, D(-1).copy_sign(-size), exec_type=ExecType.ADL_TRADE)

    @rule(symbol=symbols)
    def pay_funding(self, symbol):
        self.desk.venue.pay_funding(symbol)

    @rule(symbol=symbols)
    def drop_stop(self, symbol):
        self.desk.venue.drop_stop(symbol)

    @rule()
    def toggle_stream(self):
        self.desk.is_open = not self.desk.is_open

    @rule()
    def cancel_all(self):
        self.desk.run(self.desk.manager.cancel_all("a person asks"))

    @rule(number=st.integers(0, 1))
    def flatten(self, number):
        self.desk.run(self.desk.manager.flatten(f"command-{number}", "a person asks"))

    @invariant()
    def nothing_overshoots(self):
        if hasattr(self, "desk"):
            self.desk.check_always()

    def teardown(self):
        if hasattr(self, "desk"):
            self.desk.rest()
            self.desk.check_quiet()
            self.desk.close()


HostileTrading.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestHostileTrading = HostileTrading.TestCase


@pytest.fixture
def desk():
    own = TradingDesk()
    yield own
    own.close()


def bracket(*rows):
    """Stop, take-profit and trailing distance of s0 and s1, in every symbol."""
    return np.repeat(np.array(rows, dtype=float)[:, None, :], 2, axis=1)


NEAR_AND_FAR = bracket([0.02, 0.1, np.nan], [0.05, np.nan, np.nan])


def test_submit_takes_nothing_but_a_decision(desk):
    with pytest.raises(RiskRefused, match="is no decision"):
        desk.run(desk.manager.submit({"AUSDT": 1.0}))
    assert desk.venue.orders == {}


def test_submit_of_the_same_decision_sends_nothing_twice_also_after_a_restart(desk):
    decision = desk.trade([0.2, 0, 0, 0])
    desk.rest()
    for _ in range(2):
        desk.run(desk.manager.submit(decision))
        desk.rest()
        desk.restart()
    assert [row.order_link_id for row in desk.sent()] == [make_link(decision.id, "AUSDT", 0)]
    assert desk.held("AUSDT") == {"s0": D(10)}


def test_make_link_fits_the_exchange_and_tells_symbols_and_counters_apart():
    names = ("1000000BABYDOGEUSDT", "BUSDT")
    links = {make_link("d" * 32, symbol, n) for symbol in names for n in (0, 9_999)}
    assert len(links) == 4
    assert all(len(link) <= 36 and link.replace("-", "").isalnum() for link in links)


def test_an_entry_carries_the_stop_of_the_whole_position_and_an_exit_is_reduce_only(desk):
    desk.trade([0.2, 0, 0, 0], brackets=NEAR_AND_FAR)
    (entry,) = desk.venue.orders.values()
    assert (entry.stop_loss, entry.reduce_only) == (D("98.0"), False)
    desk.rest()
    desk.trade([0.1, 0, 0, 0])
    rows = desk.sent()
    assert (rows[-1].stop_loss, rows[-1].reduce_only, rows[-1].qty) == (None, True, D(5))


@pytest.mark.parametrize("after_restart", [False, True])
def test_an_order_that_was_never_placed_is_found_out_and_not_sent_again(desk, after_restart):
    desk.venue.script = ["lost"]
    desk.trade([0.2, 0, 0, 0])
    (own,) = desk.manager.memory.live.values()
    assert own.life.state is State.UNKNOWN
    desk.is_open = False
    for _ in range(5):
        desk.wait(20)
    assert own.absences == 0, "absence is no proof while the stream is closed"
    if after_restart:
        desk.restart()
    desk.rest()
    own = desk.manager.memory.orders[own.life.link]
    assert own.life.state is State.REJECTED
    assert (desk.venue.orders, dict(desk.venue.received)) == ({}, {own.life.link: 1})
    assert any("the rest waits for a decision" in words for words in desk.words("task"))


def test_an_order_that_shows_after_it_was_given_up_is_booked_and_its_position_protected(desk):
    desk.venue.script = ["lost"]
    decision = desk.trade([0.2, 0, 0, 0])
    desk.rest()
    (plan,) = [entry for kind, entry in desk.journal.entries() if kind == "intent"]
    desk.venue.accept(desk.manager.memory.orders[plan["request"]["order_link_id"]].plan.request)
    desk.rest()
    assert desk.held("AUSDT") == {"s0": D(10)}
    assert decision.id == plan["cause"]
    desk.check_quiet()


def test_what_cannot_be_asked_for_stays_in_doubt_and_its_symbol_waits(desk):
    desk.venue.script = ["lost", *["busy"] * 60]
    desk.trade([0.2, 0, 0, 0])
    for _ in range(10):
        desk.clock.sleep(20)
        desk.run(desk.manager.poll())
    assert "not resolved" in desk.words("doubt")[-1]
    desk.venue.script.clear()
    desk.trade([0.1, 0.2, 0, 0])
    assert [row.symbol for row in desk.sent()] == ["BUSDT"]


def test_a_create_that_is_interrupted_counts_as_unknown(desk):
    async def interrupted(request):
        desk.venue.accept(request)
        raise asyncio.CancelledError

    real, desk.venue.create = desk.venue.create, interrupted
    with pytest.raises(asyncio.CancelledError):
        desk.trade([0.2, 0, 0, 0])
    desk.venue.create = real
    assert [own.life.state for own in desk.manager.memory.live.values()] == [State.UNKNOWN]
    desk.rest()
    assert desk.held("AUSDT") == {"s0": D(10)}


def test_strategies_that_want_the_opposite_cross_without_an_order(desk):
    desk.trade([0.2, 0, -0.2, 0])
    assert desk.venue.orders == {}
    assert desk.held("AUSDT") == {"s0": D(10), "s1": D(-10)}
    desk.trade([0.2, 0, -0.1, 0])
    (row,) = desk.venue.orders.values()
    assert (row.side, row.qty) == ("Buy", D(5))
    desk.rest()
    desk.check_quiet()


def test_a_strategy_without_a_permit_may_close_and_not_enter(desk):
    desk.trade([0.2, 0, 0, 0])
    desk.rest()
    desk.forbidden["s0"] = EvidenceError("expired", "renew it")
    desk.trade([-0.2, 0.2, 0, 0.2])
    desk.rest()
    assert (desk.held("AUSDT"), desk.held("BUSDT")) == ({}, {"s1": D(10)})
    assert any("s0 may not enter: expired" in own for own in desk.words("task"))


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"max_orders": 0}, "open orders"),
        ({"max_symbol_orders": 0}, "open orders of it"),
        ({"max_order_usdt": D(999)}, "USDT in one order"),
        ({"max_symbol_usdt": D(999)}, "USDT in open orders of the symbol"),
        ({"max_total_usdt": D(999)}, "USDT in open orders"),
        ({"quote_age_s": -1.0}, "is not known, or old"),
    ],
)
def test_an_entry_beyond_a_limit_is_dropped_loudly_and_a_close_is_not(limits, words):
    """EX-01, EX-02: limits per symbol and in all; nothing holds up an exit."""
    own = TradingDesk(limits=OrderLimits(**limits))
    own.trade([0.2, 0, 0, 0])
    assert own.venue.orders == {}
    assert words in own.words("drop")[0]
    own.venue.external("AUSDT", D(10), create_type=CreateType.USER)
    own.rest()
    own.run(own.manager.flatten("f", "a person asks"))
    own.rest()
    assert own.venue.net["AUSDT"] == 0
    own.close()


def test_a_price_beyond_the_collar_and_a_rule_of_the_exchange_drop_an_entry(desk):
    desk.trade([0.2, 0, 0, 0], styles={"AUSDT": Style("limit", price=D(90))})
    desk.trade([0.1, 0, 0, 0], styles={"AUSDT": Style("limit", price=D("99.55"))})
    assert desk.venue.orders == {}
    collar, tick = desk.words("drop")
    assert "beyond 5.0%" in collar
    assert "tick" in tick


def test_a_newer_decision_replaces_what_still_works_by_what_is_left(desk):
    rests = {"AUSDT": Style("limit", price=D(99))}
    desk.trade([0.6, 0, 0, 0], styles=rests)
    desk.rest(2, 1)
    (first,) = desk.venue.orders.values()
    desk.venue.fill(first, D(4))
    desk.trade([0.2, 0, 0, 0])
    desk.rest()
    first, second = desk.sent()
    assert (first.order_status, first.cum_exec_qty) == ("Cancelled", D(4))
    assert second.qty == D(6)
    assert desk.held("AUSDT") == {"s0": D(10)}


def test_what_a_decision_does_not_touch_goes_on(desk):
    rests = {"AUSDT": Style("limit", price=D(99))}
    desk.trade([0.2, np.nan, 0, 0], styles=rests)
    desk.rest(2, 1)
    desk.trade([np.nan, 0.2, np.nan, np.nan])
    desk.rest(2, 1)
    assert [row.order_status for row in desk.sent()] == ["New", "Filled"]


def test_an_order_ends_with_its_time_and_so_does_a_decision(desk):
    rests = {"AUSDT": Style("limit", price=D(99), ttl_s=30, time_in_force=TimeInForce.POST_ONLY)}
    desk.trade([0.2, 0, 0, 0], styles=rests)
    desk.wait(10)
    desk.wait(30)
    desk.rest(2, 5)
    (own,) = desk.manager.memory.orders.values()
    assert own.life.state is State.EXPIRED
    assert desk.manager.memory.tasks == {}
    desk.is_open = False
    desk.trade([0.2, 0, 0, 0])
    desk.clock.sleep(4_000)
    desk.rest()
    assert len(desk.sent()) == 1
    assert "its time ran out: what is not filled is given up" in desk.words("task")


def test_the_first_of_a_group_that_is_filled_ends_the_others(desk):
    """EX-01: one cancels the other, from fills only."""
    pair = {
        "AUSDT": Style("limit", price=D(99), group="pair"),
        "BUSDT": Style("limit", price=D(98), group="pair"),
    }
    desk.trade([0.2, 0.2, 0, 0], styles=pair)
    desk.rest(2, 1)
    desk.venue.move("AUSDT", D(99))
    desk.rest()
    states = {row.symbol: row.order_status for row in desk.sent()}
    assert states == {"AUSDT": "Filled", "BUSDT": "Cancelled"}
    assert "another of its group was filled" in desk.words("task")


def test_cancel_all_keeps_stops_and_flatten_closes_everybody_once(desk):
    desk.trade([0.2, 0.2, 0.2, -0.4], brackets=NEAR_AND_FAR)
    desk.rest()
    desk.trade([0.3, 0, 0, 0], styles={"AUSDT": Style("limit", price=D(99))})
    desk.run(desk.manager.cancel_all("a person asks"))
    desk.rest()
    desk.check_quiet()
    desk.venue.external("AUSDT", D(3), create_type=CreateType.USER)
    desk.rest()
    for _ in range(2):
        desk.run(desk.manager.flatten("f1", "a person asks"))
        desk.rest()
    assert desk.venue.net["AUSDT"] == desk.venue.net["BUSDT"] == 0
    assert desk.held("AUSDT") == desk.held("BUSDT") == {}
    assert all(row.order_status.is_final for row in desk.venue.orders.values())
    assert "This command was given before." in desk.words("drop")


def test_a_stop_that_is_taken_away_is_set_again_and_a_bare_position_gets_one(desk):
    desk.venue.external("BUSDT", D(-3), create_type=CreateType.USER)
    desk.trade([0.2, 0, 0, 0], brackets=NEAR_AND_FAR)
    desk.rest()
    assert desk.venue.stops == {"AUSDT": D("98.0"), "BUSDT": D("110.0")}
    assert desk.held("BUSDT") == {EXTERNAL: D(-3)}
    desk.venue.drop_stop("AUSDT")
    desk.settle_frames()
    assert desk.manager.guard.naked() == ["AUSDT"]
    desk.rest()
    assert desk.venue.stops["AUSDT"] == D("98.0")


def test_a_position_whose_stop_the_price_has_passed_is_closed(desk):
    desk.trade([0.2, 0, 0, 0], brackets=NEAR_AND_FAR)
    desk.rest()
    desk.venue.drop_stop("AUSDT")
    desk.venue.price["AUSDT"] = D(97)
    desk.rest()
    assert desk.venue.net["AUSDT"] == 0
    assert any("No stop can stand" in words for words in desk.words("stop"))


def test_a_wider_stop_does_not_keep_a_position_whose_own_stop_is_passed(desk):
    """Somebody moved the stop away, and the price went through where it had been."""
    desk.trade([0.2, 0, 0, 0], brackets=NEAR_AND_FAR)
    desk.rest()
    desk.venue.stops["AUSDT"], desk.venue.price["AUSDT"] = D(80), D(97)
    desk.venue.show_position("AUSDT")
    desk.rest()
    assert desk.venue.net["AUSDT"] == 0


def test_the_nearer_stop_of_one_strategy_closes_its_part_alone(desk):
    desk.trade([0.2, 0, 0.2, 0], brackets=NEAR_AND_FAR)
    desk.rest()
    legs = {
        row.trigger_price: row.qty
        for row in desk.venue.orders.values()
        if row.trigger_price is not None
    }
    assert legs == {D("98.0"): D(10), D("110.0"): D(10)}
    assert desk.venue.stops["AUSDT"] == D("95.0")
    desk.venue.move("AUSDT", D("97.5"))
    desk.rest()
    assert desk.held("AUSDT") == {"s1": D(10)}
    desk.check_quiet()
    assert all(row.order_status.is_final for row in desk.venue.orders.values())


def test_exits_of_strategies_are_cut_to_the_net_position(desk):
    desk.trade([0.2, 0, 0, 0], brackets=NEAR_AND_FAR)
    desk.rest()
    desk.trade([np.nan, 0, -0.1, 0], brackets=NEAR_AND_FAR)
    desk.rest()
    (take,) = (row for row in desk.venue.orders.values() if row.trigger_price is not None)
    assert (desk.venue.net["AUSDT"], take.qty) == (D(5), D(5))


def test_who_was_stopped_out_does_not_enter_again_by_an_older_decision(desk):
    desk.trade([0.4, 0, 0, 0], brackets=NEAR_AND_FAR, styles={"AUSDT": Style("limit", price=D(99))})
    desk.rest(2, 1)
    (row,) = desk.venue.orders.values()
    desk.venue.fill(row, D(5))
    desk.rest(3, 4)
    desk.venue.external("AUSDT", D(-5), exec_type=ExecType.BUST_TRADE)
    desk.rest()
    assert desk.held("AUSDT") == {}
    assert desk.venue.orders[row.order_link_id].order_status == "Cancelled"


def test_a_passed_exit_that_does_not_stand_is_taken_by_an_order(desk):
    """A take-profit that could not be placed in time, for example while the process was away."""
    desk.venue.script = ["ok"]
    desk.trade([0.2, 0, 0, 0], brackets=NEAR_AND_FAR)
    desk.venue.price["AUSDT"] = D(111)
    desk.rest()
    assert desk.held("AUSDT") == {}
    assert any("has passed the take" in words for words in desk.words("stop"))


def test_a_trailing_stop_of_the_only_holder_stands_at_the_exchange(desk):
    desk.trade([0.2, 0, 0, 0], brackets=bracket([np.nan, np.nan, 0.03], [0.05, np.nan, np.nan]))
    desk.rest()
    assert (desk.venue.stops["AUSDT"], desk.venue.trails["AUSDT"]) == (D("97.0"), D("3.0"))
    desk.trade([np.nan, 0, 0.2, 0], brackets=NEAR_AND_FAR)
    desk.rest()
    assert (desk.venue.stops["AUSDT"], desk.venue.trails["AUSDT"]) == (D("95.0"), D(0))


def test_an_algorithm_is_asked_with_progress_from_fills_and_its_children_add_up():
    """EX-04: what was sent is no progress; a child that makes way is sent anew for what is left."""
    seen = []

    def advise(task, side, lots, progress):
        seen.append((side, lots, progress.filled))
        if not progress.working:
            return Step((Child(min(4_000, lots - progress.filled), D(99)),), "a slice")
        way = progress.working[0].lots == 3_000
        return Step((Child(0, order=progress.working[0].order),) if way else (), "waits")

    own = TradingDesk(advise=advise)
    own.trade([0.2, 0, 0, 0], styles={"AUSDT": Style("slices")})
    own.venue.fill(own.sent()[0], D(1))
    for _ in range(4):
        own.rest(3, 4)
        own.venue.move("AUSDT", D(99))
    own.rest()
    assert set(seen) == {("Buy", 10_000, filled) for filled in (0, 1_000, 5_000, 9_000)}
    assert [row.cum_exec_qty for row in own.sent()] == [D(1), D(4), D(4), D(1)]
    assert own.held("AUSDT") == {"s0": D(10)}
    own.close()


def test_a_large_order_goes_out_in_parts_that_the_exchange_takes(desk):
    own = desk.instruments["AUSDT"]
    desk.instruments["AUSDT"] = replace(own, max_market_qty=D(4))
    desk.trade([0.2, 0, 0, 0])
    desk.rest()
    assert [row.qty for row in desk.sent()] == [D(4), D(4), D(2)]
    assert desk.held("AUSDT") == {"s0": D(10)}


def test_every_change_of_an_order_is_told_in_words(desk):
    desk.venue.script = ["busy", "refused"]
    desk.trade([0.2, 0, 0, 0])
    desk.rest(3, 2)
    assert [words.split(":")[0] for words in desk.words("order")] == [
        "planned → sent", "sent → planned", "planned → sent", "sent → rejected",
    ]  # fmt: skip
    assert desk.words("task") == [
        "its last order was rejected, filled 0: the rest waits for a decision"
    ]


def test_an_order_of_another_under_our_name_halts_and_is_not_put_on_record(desk):
    desk.trade([0.2, 0, 0, 0])
    (row,) = desk.venue.orders.values()
    n_lines = len(desk.journal.lines)
    with pytest.raises(ReconcileError, match="Two programs"):
        desk.manager.on_order(replace(row, order_id="other", updated_time_ms=10**15))
    assert len(desk.journal.lines) == n_lines


def test_replay_refuses_a_record_it_does_not_know_only_where_it_must():
    with pytest.raises(DataError, match="no record"):
        read_record("candle", {})


def test_a_decision_that_was_carried_out_and_undone_is_not_carried_out_again(desk):
    decision = desk.trade([0.2, 0, 0, 0])
    desk.rest()
    desk.venue.external("AUSDT", D(-10), exec_type=ExecType.BUST_TRADE)
    desk.rest()
    desk.run(desk.manager.submit(decision))
    desk.rest()
    assert (desk.held("AUSDT"), len(desk.sent())) == ({}, 1)


def test_fills_that_the_stream_never_brought_are_asked_for(desk):
    desk.trade([0.2, 0, 0, 0])
    desk.venue.calm = False
    desk.trade([0.2, 0.2, 0, 0])
    desk.venue.frames = [frame for frame in desk.venue.frames if frame[1] != "execution"]
    desk.rest()
    desk.check_quiet()
    assert desk.held("BUSDT") == {"s0": desk.venue.net["BUSDT"]}


def test_what_comes_again_is_not_put_on_record_again(desk):
    desk.trade([0.2, 0, 0, 0])
    desk.rest()
    n_lines = len(desk.journal.lines)
    for execution in desk.venue.executions:
        desk.manager.on_execution(execution)
    for row in desk.venue.orders.values():
        desk.manager.on_order(row)
    assert len(desk.journal.lines) == n_lines


def test_a_position_that_the_books_do_not_know_gets_a_stop_all_the_same(desk):
    """Before it is adopted, or trading halts because of it."""
    desk.venue.net["AUSDT"] = D(7)
    desk.venue.show_position("AUSDT")
    desk.rest(2, 1)
    assert desk.venue.stops["AUSDT"] == D("90.0")
    desk.manager.adopt("AUSDT", "it was there before")
    desk.restart()
    assert desk.held("AUSDT") == {EXTERNAL: D(7)}
    desk.rest()
    desk.check_quiet()


def test_absence_is_no_proof_before_the_exchange_would_refuse_what_comes_late():
    own = TradingDesk(patience=Patience(checks=1))
    own.venue.script = ["late"]
    own.trade([0.2, 0, 0, 0])
    own.wait(2)
    own.wait(1)
    assert [one.life.state for one in own.manager.memory.live.values()] == [State.UNKNOWN]
    own.rest()
    assert own.held("AUSDT") == {"s0": D(10)}
    own.close()


def test_flatten_with_nobody_to_trade_with_goes_on_ever_more_slowly_until_it_is_flat(desk):
    """An exit that gives up would leave a position that somebody has asked to be rid of."""
    desk.trade([0.2, 0, 0, 0], brackets=NEAR_AND_FAR)
    desk.rest()
    match, tried = desk.venue.match, []
    desk.venue.match = lambda row: (
        tried.append(desk.clock.now()),
        desk.venue.end(row, OrderStatus.CANCELLED, reject_reason=RejectReason.NO_IMMEDIATE_QTY),
    )
    desk.run(desk.manager.flatten("f1", "a person asks"))
    for _ in range(240):
        desk.wait(0.5)
    waits = [(b - a).total_seconds() for a, b in pairwise(tried)]
    assert len(tried) >= 6
    assert waits == sorted(waits)
    assert waits[-1] > 10
    desk.venue.match = match
    desk.rest()
    assert desk.venue.net["AUSDT"] == 0
    assert desk.held("AUSDT") == {}
