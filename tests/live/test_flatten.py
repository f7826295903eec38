"""Each level takes what it should and leaves what protects; what closes can never open."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.live.seen import INSTRUMENTS, D, order, position, stop_order
from workbench.exchange import rules
from workbench.exchange.records import Position
from workbench.exchange.words import (
    OrderStatus,
    OrderType,
    PositionIdx,
    Side,
    StopOrderType,
    TimeInForce,
    TriggerDirection,
)
from workbench.live.flatten import (
    AT_ONCE,
    COLLARED,
    Flaw,
    Held,
    choose_cancels,
    close_position,
    find_flaw,
    set_backstop,
)
from workbench.live.latch import Level

BTC = INSTRUMENTS["BTCUSDT"]
ORDERS = [
    order("entry"),
    order("trigger", status=OrderStatus.UNTRIGGERED),
    order("exit", side=Side.SELL, reduce_only=True),
    stop_order("stop"),
    stop_order("attached", reduce_only=False, stop_order_type=StopOrderType.STOP_LOSS),
    stop_order("left", symbol="ETHUSDT"),
]
GONE = {
    Level.CLEAR: set(),
    Level.NO_NEW_RISK: {"entry", "trigger"},
    Level.CANCEL_ALL: {"entry", "trigger", "exit", "left"},
    Level.FLATTEN: {"entry", "trigger", "exit", "left"},
}


@pytest.mark.parametrize("level", Level)
def test_cancels_take_entries_first_and_leave_what_protects_a_position(level):
    held = Held([position(1)], ORDERS)
    assert {own.order_id for own in choose_cancels(level, held)} == GONE[level]


def test_cancels_of_a_flat_account_take_everything_from_cancel_all_on():
    for level in (Level.CANCEL_ALL, Level.FLATTEN):
        chosen = choose_cancels(level, Held([], ORDERS))
        assert {own.order_id for own in chosen} == {own.order_id for own in ORDERS}


def test_cancels_are_as_many_as_a_second_allows_and_those_that_work_come_first():
    waiting = [order(f"w{n}", status=OrderStatus.UNTRIGGERED) for n in range(20)]
    chosen = choose_cancels(Level.FLATTEN, Held([], [*waiting, order("works")]))
    assert len(chosen) == AT_ONCE
    assert chosen[0].order_id == "works"


@given(
    size=st.decimals("0.001", "2000", places=3).filter(lambda d: d > 0),
    is_long=st.booleans(),
    mark=st.decimals("100", "90000", places=1),
    tries=st.integers(0, 9),
    idx=st.sampled_from(PositionIdx),
)
def test_closing_order_only_closes_is_taken_and_keeps_to_its_collar(
    size, is_long, mark, tries, idx
):
    held = position(size if is_long else -size, mark=mark, position_idx=idx)
    request = close_position(held, BTC, tries=tries, collar=D("0.01"), link="kill-1")
    assert request.reduce_only
    assert request.side.sign == -1 if is_long else 1
    assert request.qty <= held.size
    assert request.position_idx is idx
    rules.check_order(request, BTC, reference=mark)
    if tries < COLLARED:
        assert (request.order_type, request.time_in_force) == (
            OrderType.LIMIT, TimeInForce.IOC,
        )  # fmt: skip
        way = (request.price / mark - 1) * request.side.sign
        assert -BTC.tick_size <= way <= D("0.01") * 2**tries
    else:
        assert request.order_type is OrderType.MARKET
        assert (request.qty == 0) == request.close_on_trigger


def test_closing_order_without_known_rules_is_all_of_it_at_the_market():
    request = close_position(position(1), None, tries=0, collar=D("0.01"), link="kill-1")
    assert (request.order_type, request.qty, request.close_on_trigger) == (
        OrderType.MARKET, 0, True,
    )  # fmt: skip
    rules.check_order(request, BTC)


def test_collar_stays_within_what_the_exchange_takes():
    from dataclasses import replace

    tight = replace(BTC, price_limit_x=D("0.005"))
    request = close_position(position(-1, mark=1000), tight, tries=1, collar=D("0.01"), link="k")
    assert request.price == 1005


FINE = [
    (position(1, stop=90), []),
    (position(-1, stop=110), []),
    (position(1, stop=90, liq_price=D(80)), []),
    (position(1), [stop_order(trigger=90)]),
    (position(-1), [stop_order(side=Side.BUY, trigger=110,
                               trigger_direction=TriggerDirection.RISE)]),
    (position(2), [stop_order("a", trigger=90), stop_order("b", trigger=80)]),
    (position(1, trailing_stop=D(3)), []),
    (position(1, mark=100), [stop_order(stop_order_type=StopOrderType.PARTIAL_STOP_LOSS,
                                        trigger_direction=TriggerDirection.NONE)]),
]  # fmt: skip
BARE = [
    (position(1), []),
    (position(1, stop=70, liq_price=D(80)), []),
    (position(-1, stop=150, liq_price=D(120)), []),
    (position(2), [stop_order(trigger=90)]),
    (position(1), [stop_order(symbol="ETHUSDT")]),
    (position(1), [stop_order(trigger=110, trigger_direction=TriggerDirection.RISE)]),
    (position(1), [order(side=Side.SELL, reduce_only=True)]),
    (position(1), [stop_order(position_idx=PositionIdx.SHORT)]),
    (position(1, trailing_stop=D(3), active_price=D(120)), []),
]
PASSED = [
    (position(1, stop=101), []),
    (position(-1, stop=99), []),
    (position(1), [stop_order(trigger=101)]),
]


@pytest.mark.parametrize(
    ("held", "orders", "flaw"),
    [(*own, None) for own in FINE] + [(*own, Flaw.BARE) for own in BARE]
    + [(*own, Flaw.PASSED) for own in PASSED],
)  # fmt: skip
def test_flaw_of_a_stop_is_found(held, orders, flaw):
    assert find_flaw(held, orders) is flaw


@given(
    is_long=st.booleans(),
    mark=st.decimals("100", "90000", places=1),
    distance=st.decimals("0.01", "0.9", places=2),
    near=st.none() | st.decimals("0.02", "0.9", places=2),
)
def test_backstop_is_taken_and_leaves_nothing_to_find(is_long, mark, distance, near):
    sign = 1 if is_long else -1
    liquidation = None if near is None else mark * (1 - sign * near)
    held = position(sign, mark=mark, liq_price=liquidation)
    stop = set_backstop(held, BTC, distance=distance)
    rules.check_stop(stop, BTC)
    after = position(sign, mark=mark, liq_price=liquidation, stop=stop.stop_loss)
    assert find_flaw(after, []) is None


def test_position_without_a_price_is_judged_by_nobody_and_closed_at_the_market():
    held = Position("BTCUSDT", D(1), side=Side.BUY)
    assert find_flaw(held, []) is None
    assert set_backstop(held, BTC, distance=D("0.1")) is None
    request = close_position(held, BTC, tries=0, collar=D("0.01"), link="kill-1")
    assert (request.order_type, request.qty) == (OrderType.MARKET, 1)


def test_order_that_waits_for_no_price_protects_nothing():
    waiting = order(side=Side.SELL, status=OrderStatus.UNTRIGGERED, reduce_only=True)
    assert find_flaw(position(1), [waiting]) is Flaw.BARE
