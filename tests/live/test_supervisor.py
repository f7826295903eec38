"""The judgement of the supervisor, step by step: what it sees, and what follows from it.

Promise 6. TE-09: an emergency stop cancels and flattens reduce-only. Known traps: a withdrawal
that is taken for a loss; a breaker that cannot re-arm; state that is not persisted.
"""

import pytest

from tests.live.seen import (
    FREE,
    INSTRUMENTS,
    RULES,
    STOP_WORD,
    D,
    at,
    money,
    order,
    position,
    row,
    stop_order,
)
from workbench.exchange.requests import CancelRequest, OrderRequest, StopRequest
from workbench.exchange.words import TransactionType
from workbench.live.flatten import Held
from workbench.live.latch import Level, Press
from workbench.live.supervisor import LINK, SELF, Seen, Supervisor

HELD = Held([position(1, stop=90)], [order("entry"), stop_order("stop")])
FLAT = Held([], [])


@pytest.fixture
def core():
    return Supervisor(RULES)


def see(core, seconds, **seen):
    """One step with the rules of all symbols known."""
    return core.step(at(seconds), Seen(instruments=INSTRUMENTS, **seen))


def kinds(plan):
    return [type(own) for own in plan.requests]


def keys(plan):
    return [(own.key.partition(" ")[0], own.is_over) for own in plan.alerts]


def test_quiet_account_is_left_alone(core):
    plan = see(core, 0, silent_s=1.0, held=HELD, money=money(0, 1000))
    assert (plan.level, list(plan.requests), list(plan.alerts)) == (Level.CLEAR, [], [])


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        (Level.NO_NEW_RISK, [CancelRequest]),
        (Level.CANCEL_ALL, [CancelRequest]),
        (Level.FLATTEN, [CancelRequest, OrderRequest]),
    ],
)
def test_word_takes_effect_in_the_step_that_brings_it(core, level, expected):
    plan = see(core, 0, presses=[Press(level, "me", "why")], held=HELD)
    assert (plan.level, kinds(plan), keys(plan)) == (level, expected, [("latch", False)])


def test_lost_heartbeat_cancels_entries_first_and_flattens_after_the_grace(core):
    assert see(core, 0, silent_s=9.9, held=HELD).level is Level.CLEAR
    lost = see(core, 1, silent_s=10.0, held=HELD)
    assert (lost.level, kinds(lost), keys(lost)) == (
        Level.NO_NEW_RISK, [CancelRequest], [("engine", False)],
    )  # fmt: skip
    assert lost.requests[0].order_id == "entry"
    assert see(core, 2, silent_s=69.9, held=HELD).level is Level.NO_NEW_RISK
    late = see(core, 3, silent_s=70.0, held=HELD)
    assert (late.level, keys(late)) == (Level.FLATTEN, [("latch", False)])
    assert core.latch.by == SELF


def test_heartbeat_that_comes_back_in_time_gives_the_entries_back(core):
    see(core, 0, silent_s=30.0, held=HELD)
    back = see(core, 1, silent_s=0.0, held=HELD)
    assert (back.level, keys(back)) == (Level.CLEAR, [("engine", True)])


def test_heartbeat_that_comes_back_too_late_leaves_the_latch(core):
    see(core, 0, silent_s=100.0, held=HELD)
    assert see(core, 1, silent_s=0.0, held=HELD).level is Level.FLATTEN


def test_silence_over_a_flat_account_latches_nothing(core):
    see(core, 0, silent_s=0.0, held=FLAT)
    assert see(core, 1, silent_s=500.0, held=FLAT).level is Level.NO_NEW_RISK
    assert see(core, 2, silent_s=501.0, held=HELD).level is Level.FLATTEN


def test_silence_over_an_account_that_nobody_has_seen_latches(core):
    assert see(core, 0, silent_s=500.0).level is Level.FLATTEN


def test_position_that_could_not_be_read_is_never_taken_for_flat(core):
    plan = see(core, 0, presses=[STOP_WORD])
    assert (plan.level, list(plan.requests)) == (Level.FLATTEN, [])
    assert ("flat", False) not in keys(plan)
    assert kinds(see(core, 1, held=HELD)) == [CancelRequest, OrderRequest]


def test_flattening_goes_on_until_it_is_seen_flat_and_says_so_once(core):
    sent = [see(core, 0, presses=[STOP_WORD], held=HELD).requests[-1]]
    sent += [see(core, n, held=HELD).requests[-1] for n in range(1, 5)]
    assert [own.order_type for own in sent] == ["Limit"] * 2 + ["Market"] * 3
    assert len({own.order_link_id for own in sent}) == 5
    assert all(own.order_link_id.startswith(LINK) for own in sent)
    assert keys(see(core, 6, held=FLAT)) == [("flat", False)]
    assert keys(see(core, 7, held=FLAT)) == []
    assert see(core, 8, held=HELD).requests  # whatever comes back is closed again


def test_empty_market_is_tried_less_often_and_what_was_closed_at_once(core):
    held = Held([position(10)], [])
    see(core, 0, presses=[STOP_WORD], held=held)
    sent = sum(bool(see(core, n / 10, held=held).requests) for n in range(1, 100))
    assert 9 <= sent <= 14
    assert see(core, 9.95, held=Held([position(9)], [])).requests


def test_part_that_was_closed_brings_the_collar_back(core):
    for n in range(3):
        see(core, n, presses=[STOP_WORD], held=Held([position(10)], []))
    plan = see(core, 4, held=Held([position(4)], []))
    assert plan.requests[-1].order_type == "Limit"


def test_loss_beyond_the_drawdown_flattens(core):
    see(core, 0, held=HELD, money=money(0, 1000))
    # Over midnight, so that no day loses as much.
    see(core, 1, held=HELD, money=money(13 * 3600, 920))
    see(core, 2, held=HELD, money=money(37 * 3600, 840))
    see(core, 3, held=HELD, money=money(61 * 3600, 780))
    assert core.latch.level is Level.CLEAR
    plan = see(core, 4, held=HELD, money=money(85 * 3600, 699))
    assert core.latch.level is plan.level is Level.FLATTEN
    assert "below its peak" in core.latch.reason


def test_loss_of_a_day_flattens_and_the_next_day_starts_anew(core):
    see(core, 0, money=money(0, 1000))
    see(core, 1, money=money(60, 950))
    see(core, 2, money=money(13 * 3600, 860))
    assert core.latch.level is Level.CLEAR
    see(core, 3, money=money(13 * 3600 + 1, 854))
    assert "10.1% lost today" in core.latch.reason


@pytest.mark.parametrize("is_listed", [True, False])
def test_withdrawal_flattens_nothing_whether_the_log_lists_it_or_not(core, is_listed):
    see(core, 0, money=money(0, 1000))
    rows = [row(-900, kind=TransactionType.TRANSFER_OUT, seconds=1)] if is_listed else []
    for n in range(1, 100, 3):
        assert see(core, n, money=money(n, 100, 100, rows)).level is Level.CLEAR
    assert core.track.drawdown == pytest.approx(0)
    see(core, 200, money=money(200, 69, 69, [*rows, row(-31, seconds=200)]))
    assert core.latch.level is Level.FLATTEN  # 31 % of what was left


def test_deposit_hides_no_loss_and_makes_no_peak(core):
    see(core, 0, money=money(0, 1000))
    see(core, 1, money=money(1, 11_000, 11_000))  # not in the log, yet or ever
    for n in range(5, 60, 5):
        see(core, n, money=money(n, 11_000, 11_000))
    assert core.track.drawdown == pytest.approx(0)
    see(core, 70, money=money(70, 9_800, 9_800, [row(-1_200, seconds=70)]))
    assert core.latch.level is Level.FLATTEN  # 10.9 % of a day that began with all of it


def test_profit_that_is_realised_before_the_log_shows_it_is_no_loss(core):
    see(core, 0, money=money(0, 1500))
    see(core, 1, money=money(1, 1500, 1500))
    assert core.track.drawdown == pytest.approx(0)
    see(core, 2, money=money(2, 1500, 1500, [row(500, seconds=1)]))
    assert (core.track.drawdown, core.flows.total) == (pytest.approx(0), 0)


def test_release_lets_entries_in_and_the_limits_start_anew(core):
    see(core, 0, money=money(0, 1000))
    see(core, 1, money=money(1, 600))
    assert core.latch.level is Level.FLATTEN
    plan = see(core, 2, presses=[FREE], held=FLAT, money=money(2, 600))
    assert (plan.level, keys(plan)) == (Level.CLEAR, [("latch", True)])
    assert see(core, 3, held=FLAT, money=money(3, 595)).level is Level.CLEAR
    assert see(core, 4, held=FLAT, money=money(4, 530)).level is Level.FLATTEN


def test_release_gives_a_silent_engine_its_grace_anew(core):
    see(core, 0, silent_s=100.0, held=HELD)
    assert see(core, 1, silent_s=101.0, presses=[FREE], held=HELD).level is Level.CLEAR
    assert see(core, 11, silent_s=111.0, held=HELD).level is Level.NO_NEW_RISK
    assert see(core, 71, silent_s=171.0, held=HELD).level is Level.FLATTEN
    see(core, 72, silent_s=0.0, presses=[FREE], held=HELD)
    assert see(core, 83, silent_s=10.0, held=HELD).level is Level.NO_NEW_RISK


def test_bare_position_gets_a_stop_after_a_while_and_is_told_of(core):
    bare = Held([position(1)], [])
    assert kinds(see(core, 0, held=bare)) == []
    assert kinds(see(core, 29, held=bare)) == []
    plan = see(core, 30, held=bare)
    assert (kinds(plan), keys(plan)) == ([StopRequest], [("stop", False)])
    assert plan.requests[0].stop_loss == D(90)
    mended = see(core, 31, held=Held([position(1, stop=90)], []))
    assert (kinds(mended), keys(mended)) == ([], [("stop", True)])


def test_position_that_gets_its_stop_in_time_is_left_alone(core):
    see(core, 0, held=Held([position(1)], []))
    see(core, 20, held=HELD)
    assert kinds(see(core, 40, held=Held([position(1)], []))) == []


def test_position_beyond_its_stop_is_closed_after_a_while(core):
    passed = Held([position(1, stop=105)], [])
    assert kinds(see(core, 0, held=passed)) == []
    plan = see(core, 30, held=passed)
    assert kinds(plan) == [OrderRequest]
    assert plan.requests[0].is_closing
    assert plan.level is Level.CLEAR


def test_restart_finds_everything_as_it_was(core):
    see(core, 0, silent_s=0.0, held=HELD, money=money(0, 1000))
    see(core, 1, money=money(1, 950), presses=[STOP_WORD])
    again = Supervisor(RULES)
    again.restore(core.document())
    assert again.document() == core.document()
    assert see(again, 2, held=HELD).level is Level.FLATTEN
    see(again, 3, presses=[FREE], held=FLAT)
    restarted = Supervisor(RULES)
    restarted.restore(again.document())
    assert restarted.latch.level is Level.CLEAR
    assert [word["level"] for word in restarted.latch.words] == ["flatten", "clear"]
