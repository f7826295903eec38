"""Protects the life of an order: whatever order its news comes in, it ends in the same state."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.errors import ReconcileError
from workbench.exchange.records import Execution, Order
from workbench.exchange.requests import OrderRequest
from workbench.exchange.words import CancelType, OrderStatus, OrderType, RejectReason, Side
from workbench.execution.orders import Fact, Life, State, What, advance

D = Decimal
REQUEST = OrderRequest(
    symbol="AUSDT", side=Side.BUY, order_type=OrderType.LIMIT, qty=D(10), order_link_id="wb-1",
    price=D(100),
)  # fmt: skip


def make_row(status, filled, at, **changes):
    return Order(
        "AUSDT", "ex-1", Side.BUY, OrderType.LIMIT, D(10), OrderStatus(status), "wb-1",
        cum_exec_qty=D(filled), updated_time_ms=at, **changes,
    )  # fmt: skip


def make_fill(number, qty, at):
    return Execution(
        "AUSDT", f"e{number}", "ex-1", Side.BUY, D(100), D(qty), at, order_link_id="wb-1",
        exec_fee=D("0.1"),
    )  # fmt: skip


def know(*events, life=None):
    life = life or Life(REQUEST)
    for event in events:
        life = advance(life, event)
    return life


def fact(what, number=0):
    return Fact("wb-1", what, "", number)


@st.composite
def histories(draw):
    """What the exchange really did with an order, what happened here, and the state at its end."""
    local = [fact(What.SENT, 1), fact(draw(st.sampled_from([What.ACKNOWLEDGED, What.UNKNOWN])))]
    rows, fills, filled, at = [make_row("New", 0, 1)], [], 0, 1
    for number in range(draw(st.integers(0, 4))):
        qty = draw(st.integers(1, 10 - filled)) if filled < 10 else 0
        if qty:
            filled, at = filled + qty, at + draw(st.integers(0, 2))
            fills.append(make_fill(number, qty, at))
            rows.append(make_row("PartiallyFilled" if filled < 10 else "Filled", filled, at))
    cancels = draw(st.integers(0, 2))
    for number in range(1, cancels + 1):
        local.append(fact(What.CANCEL_ASKED, number))
        if number < cancels or draw(st.booleans()):
            local.append(fact(What.CANCEL_REFUSED, number))
    if filled == 10:
        state = State.FILLED
        if draw(st.booleans()):  # a cancel that crossed the last fill
            odd = {"cancel_type": CancelType.USER, "reject_reason": RejectReason.UNKNOWN_ORDER}
            rows.append(make_row("Filled", 10, at + draw(st.integers(0, 1)), **odd))
    elif draw(st.booleans()):
        reason = draw(st.sampled_from([RejectReason.NONE, RejectReason.NO_IMMEDIATE_QTY]))
        rows.append(make_row("Cancelled", filled, at, reject_reason=reason))
        state = State.EXPIRED if reason else State.CANCELLED
    elif sum(own.what == What.CANCEL_REFUSED for own in local) < cancels:
        state = State.CANCELLING
    else:
        state = State.PARTLY_FILLED if filled else State.OPEN
    return [*local, *rows, *fills], state, D(filled)


@given(histories(), st.randoms())
def test_advance_by_any_order_of_any_duplicates_ends_in_the_same_life(history, chance):
    """TE-10: execution before order, fill before acknowledgement, terminal before partial."""
    events, state, filled = history
    shuffled = events + chance.choices(events, k=len(events))
    chance.shuffle(shuffled)
    life, again = know(*events), know(*shuffled)
    assert (life.state, life.filled, life.missing) == (state, filled, 0)
    assert again == life
    assert life.is_settled is state.is_final


@given(histories(), st.randoms())
def test_advance_never_leaves_a_final_state_nor_unfills(history, chance):
    events, _, _ = history
    chance.shuffle(events)
    life, final = Life(REQUEST), None
    for event in events:
        before, life = life, advance(life, event)
        assert life.filled >= before.filled
        assert life.filled + life.missing >= before.filled + before.missing
        final = final or (life.state if life.state.is_final else None)
        assert final in (None, life.state)


def test_a_status_never_lowers_what_was_filled_and_missing_fills_show():
    life = know(make_row("Cancelled", 6, 5), make_fill(1, 2, 3))
    assert (life.state, life.filled, life.missing, life.left) == (State.CANCELLED, 2, 4, 4)
    assert not life.is_settled
    late = know(make_row("PartiallyFilled", 2, 9), make_fill(2, 4, 4), life=life)
    assert (late.filled, late.missing, late.is_settled) == (6, 0, True)


@pytest.mark.parametrize(
    ("facts", "state"),
    [
        ([], State.PLANNED),
        ([(What.SENT, 1)], State.SENT),
        ([(What.SENT, 1), (What.BUSY, 1)], State.PLANNED),
        ([(What.SENT, 2), (What.BUSY, 1)], State.SENT),
        ([(What.SENT, 1), (What.UNKNOWN, 0)], State.UNKNOWN),
        ([(What.UNKNOWN, 0), (What.CANCEL_ASKED, 1)], State.UNKNOWN),
        ([(What.SENT, 1), (What.REFUSED, 0)], State.REJECTED),
        ([(What.UNKNOWN, 0), (What.ABSENT, 0)], State.REJECTED),
        ([(What.SENT, 1), (What.ACKNOWLEDGED, 0)], State.OPEN),
        ([(What.ACKNOWLEDGED, 0), (What.CANCEL_ASKED, 1)], State.CANCELLING),
        ([(What.ACKNOWLEDGED, 0), (What.ABSENT, 0)], State.REJECTED),
    ],
)
def test_state_of_an_order_that_nobody_has_seen_follows_from_what_happened_here(facts, state):
    assert know(*(fact(what, number) for what, number in facts)).state is state


@pytest.mark.parametrize("what", [What.ABSENT, What.REFUSED, What.UNKNOWN])
def test_what_the_exchange_shows_outweighs_what_was_thought_of_the_order(what):
    """An order that was given up and shows after all is taken for what it is."""
    life = know(fact(What.SENT, 1), fact(what), make_fill(1, 3, 2))
    assert (life.state, life.filled) == (State.PARTLY_FILLED, 3)


def test_an_order_that_is_cancelled_after_its_time_has_expired():
    life = Life(REQUEST, expires_ms=50)
    assert know(make_row("Cancelled", 0, 50), life=life).state is State.EXPIRED
    assert know(make_row("Cancelled", 0, 49), life=life).state is State.CANCELLED


@pytest.mark.parametrize(
    "changes", [{"order_id": "ex-2"}, {"symbol": "BUSDT"}, {"side": Side.SELL}]
)
def test_advance_refuses_another_order_under_the_same_name(changes):
    life = know(make_row("New", 0, 1))
    for event in (make_row("Filled", 10, 2), make_fill(1, 10, 2)):
        with pytest.raises(ReconcileError, match="wb-1"):
            advance(life, replace(event, **changes))
