"""Protects what every execution algorithm promises, whatever the market does to its orders."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from math import sinh

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.execution.made import CURVE, START, Market, make_book, make_parent, plain_book
from tests.markets import make_instrument
from workbench.core.errors import DataError, ReconcileError
from workbench.exchange.words import Side, TimeInForce
from workbench.execution.algorithms import RULES, next_step
from workbench.execution.condition import curve_share
from workbench.execution.parents import Algorithm, Progress, Urgency, View, Working
from workbench.execution.schedules import decay_time

TIMED = ("twap", "vwap", "arrival")


def at(parent, minutes, *, filled=0, working=(), traded=0, book=None):
    view = View(START + timedelta(minutes=minutes), book or plain_book(), traded, 0.03)
    return next_step(parent, Progress(filled, working), view)


def lots_of(step):
    return sum(child.lots for child in step.children)


def done_by(parent, minutes):
    """What is due in all after some minutes, of a parent that takes what is due."""
    return lots_of(at(replace(parent, urgency=Urgency.HIGH), minutes))


@settings(max_examples=150, deadline=None)
@given(
    algorithm=st.sampled_from(list(Algorithm)),
    urgency=st.sampled_from(list(Urgency)),
    side=st.sampled_from(list(Side)),
    lots=st.integers(1, 3000),
    cap=st.sampled_from(["0.05", "0.3", "1"]),
    ticks=st.one_of(st.none(), st.integers(-8, 8)),
    slip=st.sampled_from([None, "0.001", "0.004"]),
    reduce_only=st.booleans(),
    seed=st.integers(0, 10**6),
    luck=st.sampled_from([0.0, 0.3, 0.9]),
    is_jittered=st.booleans(),
)
def test_any_algorithm_keeps_its_promises_in_any_market(
    algorithm, urgency, side, lots, cap, ticks, slip, reduce_only, seed, luck, is_jittered
):
    """EX-04, EX-05: sums, caps, limits, no dust (all in ``Market``); and an end, or the reason."""
    if algorithm in ("pov", "adaptive"):
        cap = min(cap, "0.3")
    if algorithm == "limit":
        ticks = ticks or 0
    parent = make_parent(
        algorithm, urgency=urgency, side=side, lots=lots, participation_cap=Decimal(cap),
        price_limit=None if ticks is None else Decimal(1000 + ticks) / 10,
        max_slippage=slip and Decimal(slip), reduce_only=reduce_only,
        seed=seed if is_jittered else None, slice_s=float(20 + seed % 60),
    )  # fmt: skip
    market = Market(parent, seed, luck=luck).play()
    filled = [so_far for _, so_far, _, _ in market.steps]
    assert filled == sorted(filled)
    assert market.filled == sum(lots for _, lots in market.fills) <= parent.lots
    assert not market.working
    words = market.steps[-1][3].words
    if market.filled == parent.lots:
        assert words == "everything is filled"
    else:
        rest = f"{parent.lots - market.filled} of {parent.lots} lots are not filled, "
        assert words.startswith(f"the deadline has passed: {rest}")


@pytest.mark.parametrize("algorithm", [one for one in Algorithm if one not in ("limit", "pov")])
@pytest.mark.parametrize("urgency", list(Urgency))
def test_every_algorithm_ends_by_the_deadline_in_a_market_that_trades(algorithm, urgency):
    """The volume is there and so is the price: nothing may be left."""
    parent = make_parent(algorithm, urgency=urgency)
    cap = Decimal("0.9") if algorithm == "adaptive" else Decimal(1)
    market = Market(replace(parent, participation_cap=cap), 3, luck=0.3, step_s=2.0).play()
    assert market.filled == parent.lots
    assert max(now for now, _ in market.fills) < parent.deadline


def test_an_order_that_was_sent_is_no_progress():
    """CHECKLIST, known traps: what is refused or cancelled is due again, and is never done."""
    parent = make_parent("twap", urgency=Urgency.HIGH)
    for minute in range(10):
        assert lots_of(at(parent, minute)) == 100 * (minute + 1)
    out = (Working("a", 60, None, START, is_resting=False),)
    assert lots_of(at(parent, 0, working=out)) == 0  # 40 more would be less than a least order
    assert lots_of(at(parent, 1, working=out)) == 140
    assert lots_of(at(parent, 1, filled=60)) == 140
    assert "1000 of 1000 lots are not filled" in at(parent, 10).words


@pytest.mark.parametrize("algorithm", TIMED)
@settings(max_examples=8, deadline=None)
@given(lots=st.integers(200, 10**6), seed=st.one_of(st.none(), st.integers(0, 99)))
def test_children_of_a_schedule_add_up_to_the_parent(algorithm, lots, seed):
    """EX-04: each slice filled at once, at its start."""
    own = make_instrument(min_notional_usdt=Decimal("0.1"))
    parent = make_parent(
        algorithm, lots=lots, seed=seed, urgency=Urgency.HIGH, instrument=own, slice_s=30.0
    )
    filled, course = 0, []
    for second in range(600):
        filled += lots_of(at(parent, second / 60, filled=filled))
        course.append(filled)
    assert filled == lots
    assert course == sorted(course)
    assert len(set(course)) > 15 or algorithm == "arrival"


def test_twap_is_even_and_its_slices_move_with_the_seed_only():
    parent = make_parent("twap")
    assert [done_by(parent, m) for m in (0, 0.99, 1, 5, 9)] == [100, 100, 200, 600, 1000]
    moved = [done_by(replace(parent, seed=7), m / 10) for m in range(100)]
    assert moved == [done_by(replace(parent, seed=7), m / 10) for m in range(100)]
    others = {tuple(done_by(replace(parent, seed=s), m / 10) for m in range(100)) for s in range(9)}
    assert len(others) == 9
    assert all(abs(a - min(100 * (m // 10 + 1), 1000)) < 145 for m, a in enumerate(moved))


def test_vwap_follows_the_curve_of_the_day_over_midnight():
    """EX-04: from 22:00 the hours weigh 23, 24, 1, 2; each is a slice."""
    start = START.replace(hour=22)
    parent = make_parent(
        "vwap", start=start, deadline=start + timedelta(hours=4), slice_s=3600.0, lots=5000,
        urgency=Urgency.HIGH,
    )  # fmt: skip
    due = [
        lots_of(next_step(parent, Progress(), View(start + timedelta(hours=h), plain_book())))
        for h in range(4)
    ]
    assert np.diff([0, *due]).tolist() == [2300, 2400, 100, 200]
    assert curve_share(CURVE, start, start + timedelta(hours=24)) == pytest.approx(1.0)


def test_pov_keeps_to_its_share_and_waits_for_volume():
    parent = make_parent("pov", urgency=Urgency.HIGH)
    assert at(parent, 1).children == ()
    assert [lots_of(at(parent, 1, traded=t)) for t in (199, 200, 2000)] == [0, 50, 500]
    slow = replace(parent, urgency=Urgency.NORMAL)
    (child,) = at(slow, 1, traded=2000).children
    assert (child.lots, child.time_in_force) == (250, TimeInForce.IOC)  # half of it is overdue
    (child,) = at(slow, 1, traded=2000, filled=250).children
    assert (child.lots, child.time_in_force) == (250, TimeInForce.POST_ONLY)


def test_a_cap_counts_what_is_out_as_if_it_were_filled():
    """EX-05: 25 per cent of 1,500 and of what it fills itself."""
    parent = make_parent("market", participation_cap=Decimal("0.25"))
    assert lots_of(at(parent, 1, traded=1500)) == 500
    out = (Working("a", 300, Decimal(100), START, is_resting=False),)
    assert lots_of(at(parent, 1, traded=1500, working=out)) == 200


def test_arrival_price_is_the_trajectory_of_almgren_and_chriss():
    """Section 2.2: x(t) / X = sinh(kappa (T - t)) / sinh(kappa T), here with kappa T = 3."""
    parent = make_parent("arrival", lots=10**6, decay_s=200.0, slice_s=60.0)
    for minute in range(9):
        expected = 1 - sinh(3 * (1 - (minute + 1) / 10)) / sinh(3)
        assert done_by(parent, minute) == pytest.approx(expected * 10**6, abs=1)
    even = replace(parent, decay_s=float("inf"))
    assert [done_by(even, m) for m in range(9)] == [100_000 * (m + 1) for m in range(9)]
    assert done_by(replace(parent, decay_s=0.01), 0) == 10**6


def test_decay_time_is_that_of_the_paper_s_example():
    """Table 1 and section 3.4: 30 % a year, a spread of 1/8 at 50, 5 million a day, 1e-6."""
    seconds = decay_time(
        Urgency.NORMAL, volatility=0.95 / 50, spread=0.125 / 50, price=50.0, day_qty=5e6
    )
    assert 86_400 / seconds == pytest.approx(0.6, abs=0.01)  # kappa a day
    faster = decay_time(Urgency.HIGH, volatility=0.019, spread=0.0025, price=50.0, day_qty=5e6)
    assert seconds / faster == pytest.approx(10**0.5)


def test_adaptive_trades_more_where_the_book_is_deep_tight_and_tilted_its_way():
    parent = make_parent("adaptive", lots=10_000)
    deep = [(99.9 - k / 10, 9000) for k in range(5)], [(100 + k / 10, 9000) for k in range(5)]
    thin = [(99, 1), (98, 1)], [(101, 1), (102, 1)]
    tilted = [(b, 2 * q) for b, q in deep[0]], deep[1]

    def due(book, **changes):
        return lots_of(at(replace(parent, **changes), 1, traded=8000, book=make_book(*book)))

    assert due(thin) < due(deep) < due(tilted)
    assert due(thin) == 500
    assert due(tilted, side=Side.SELL) < due(deep, side=Side.SELL)


def test_maker_queues_follows_and_takes_what_is_left_before_the_deadline():
    parent = make_parent("maker")
    (child,) = at(parent, 0).children
    assert child == (1000, Decimal("100.0"), TimeInForce.POST_ONLY, "")
    rests = (Working("a", 700, Decimal("99.7"), START, is_resting=True),)
    (moved,) = at(parent, 1, filled=300, working=rests).children
    assert moved == (700, Decimal("100.0"), TimeInForce.POST_ONLY, "a")
    fresh = (rests[0]._replace(since=START + timedelta(seconds=59.5)),)
    assert at(parent, 1, filled=300, working=fresh).children == ()
    (cancel,) = at(parent, 9.6, filled=300, working=rests).children
    assert (cancel.lots, cancel.order) == (0, "a")
    ending = (rests[0]._replace(is_ending=True),)
    assert at(parent, 9.6, filled=300, working=ending).children == ()
    assert at(parent, 9.7, filled=450).children == ((550, None, TimeInForce.IOC, ""),)


def test_maker_that_could_not_take_within_its_limit_stays_in_the_queue():
    parent = make_parent("maker", price_limit=Decimal("100.0"))
    rests = (Working("a", 1000, Decimal("100.0"), START, is_resting=True),)
    assert at(parent, 9.8, working=rests).children == ()
    step = at(parent, 10, working=rests)
    assert [child.order for child in step.children] == ["a"]
    assert step.words.endswith("1000 of 1000 lots are not filled, the price is beyond the limit")


def test_iceberg_shows_a_part_at_a_time_and_never_less_than_an_order_may_be():
    parent = make_parent("iceberg")
    assert lots_of(at(parent, 0)) == 120
    assert lots_of(at(replace(parent, display_lots=3), 0)) == 50
    rests = (Working("a", 120, Decimal("100.0"), START, is_resting=True),)
    assert at(parent, 0, working=rests).children == ()
    shown = {lots_of(at(replace(parent, seed=4), 0, filled=f)) for f in range(0, 600, 60)}
    assert len(shown) > 5
    assert all(84 <= lots <= 156 for lots in shown)


def test_no_rest_is_left_that_no_order_could_fill():
    """The least order is 50 lots: with 90 of 130 due, 40 would remain, so all go, or 80."""
    parent = make_parent(
        "twap",
        lots=130,
        urgency=Urgency.HIGH,
        deadline=START + timedelta(seconds=130),
        slice_s=10.0,
    )
    assert lots_of(at(parent, 65 / 60)) == 70
    assert lots_of(at(parent, 85 / 60)) == 130
    capped = replace(parent, participation_cap=Decimal("0.5"))
    assert lots_of(at(capped, 85 / 60, traded=99)) == 80
    assert "less than an order may be" in at(parent, 3, filled=100).words
    assert lots_of(at(replace(parent, reduce_only=True), 2.1, filled=100)) == 30


def test_a_limit_order_rests_at_its_limit_and_waits():
    parent = make_parent("limit", side=Side.SELL, price_limit=Decimal("101.3"))
    assert at(parent, 0).children == ((1000, Decimal("101.3"), TimeInForce.GTC, ""),)
    rests = (Working("a", 1000, Decimal("101.3"), START, is_resting=True),)
    assert at(parent, 9.9, working=rests).children == ()


def test_orders_are_no_larger_than_the_exchange_takes():
    own = make_instrument(max_market_qty=Decimal("0.3"), max_qty=Decimal("0.4"))
    assert lots_of(at(make_parent("market", instrument=own), 0)) == 300
    assert lots_of(at(make_parent("maker", instrument=own), 0)) == 400


def test_what_cannot_be_done_says_so():
    with pytest.raises(ReconcileError, match="1001 of 1000 lots"):
        at(make_parent(), 1, filled=1001)
    assert at(make_parent(), -1).children == ()
    empty = make_book([], [(100, 1)])
    assert at(make_parent(), 1, book=empty).words == "a side of the book is empty"
    late = at(make_parent(), 11, book=empty)
    assert "a side of the book is empty" in late.words
    with pytest.raises(DataError, match="Give what was measured"):
        decay_time(Urgency.LOW, volatility=0.03, spread=0.0, price=50.0, day_qty=5e6)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"algorithm": "sniper"}, "none of market, limit"),
        ({"lots": 0}, "1 or more"),
        ({"deadline": START}, "after the start"),
        ({"participation_cap": Decimal(0)}, "above 0 and at most 1"),
        ({"slice_s": 0.0}, "take time"),
        ({"price_limit": Decimal("100.05")}, "multiple of the tick"),
        ({"max_slippage": Decimal(1)}, "below 1"),
        ({"algorithm": Algorithm.LIMIT}, "needs a price limit"),
        ({"algorithm": Algorithm.ICEBERG, "display_lots": 0}, "needs display_lots"),
        ({"algorithm": Algorithm.POV}, "cap below 1"),
        ({"algorithm": Algorithm.VWAP, "curve": ()}, "no volume in its time"),
        ({"algorithm": Algorithm.VWAP, "curve": (1.0,) + (0.0,) * 23}, "no volume in its time"),
    ],
)
def test_a_parent_that_cannot_run_is_refused(changes, words):
    with pytest.raises(DataError, match=words):
        replace(make_parent(), **changes)


def test_every_algorithm_has_a_rule():
    assert list(RULES) == list(Algorithm)
