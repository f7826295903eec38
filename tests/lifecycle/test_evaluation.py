"""Protects the daily look: what it moves, what it leaves to people, and what it says (GR-11)."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pandas as pd
import pytest

from tests.lifecycle.scene import MINE, NOON, OTHER, make_records
from workbench.core.errors import DataError, EvidenceError
from workbench.evidence.seals import Difference
from workbench.evidence.stages import Stage
from workbench.lifecycle import (
    demote,
    evaluate,
    judge_records,
    measure_records,
    override,
    retire,
    revoke,
    scale,
)


def recorded(scene, **changes):
    """Trading since the stage began, and before."""
    return make_records(scene.clock.now(), **{"n_days": 100, "losing": 0.3} | changes)


def look(scene, records=None, **changes):
    """One look at MINE after whatever time has passed."""
    given = records if records is not None else {MINE: recorded(scene)}
    outcomes = evaluate(scene.book, scene.desk(given, **changes))
    return next(o for o in outcomes if o.strategy_hash == MINE)


def test_evaluate_takes_a_strategy_up_to_the_candidate_and_waits_for_a_person(scene):
    """GR-11: up to LIVE_CANDIDATE is automatic."""
    scene.bring_to("RESEARCH")
    first = look(scene)
    scene.wait(days=31)
    second = look(scene)
    scene.wait(days=61)
    third = look(scene)

    assert (first.before, first.after) == (Stage.RESEARCH, Stage.PAPER_VALIDATION)
    assert (second.before, second.after) == (Stage.PAPER_VALIDATION, Stage.LIVE_CANDIDATE)
    assert (third.before, third.after) == (Stage.LIVE_CANDIDATE, Stage.LIVE_CANDIDATE)
    assert [o.is_moved for o in (first, second, third)] == [True, True, False]
    assert "waits for a person" in third.words


def test_evaluate_says_what_is_missing_and_the_stage_stays(scene):
    scene.bring_to("PAPER_VALIDATION")
    scene.wait(days=10)
    outcome = look(scene)

    assert not outcome.is_moved
    assert "watched for 10 full days" in outcome.words or "closed 40 trades" in outcome.words
    assert not outcome.is_fault


def test_evaluate_counts_the_stage_only(scene):
    """GR-02: what was traded before the stage began does not count for it."""
    scene.wait(days=60)
    scene.bring_to("PAPER_VALIDATION")
    scene.wait(days=5)
    verdict = judge_records(scene.book, scene.desk({MINE: recorded(scene)}), MINE, "paper")

    assert verdict.measures["days"] == 5
    assert verdict.measures["trades"] == 20


def test_evaluate_without_fills_stays_and_renews_paper(scene):
    scene.bring_to("PAPER_VALIDATION")
    scene.wait(days=24)
    outcome = look(scene, {})

    assert "No fills of Trend" in outcome.words
    assert "The permit is renewed." in outcome.words
    assert scene.book.standing(MINE).permit.expires == NOON + timedelta(days=54)


def test_evaluate_renews_nothing_on_a_run_that_was_edited(scene):
    scene.bring_to("PAPER_VALIDATION")
    scene.wait(days=24)
    outcome = look(scene, check_run=lambda _: (Difference("cell 3", "it was edited"),))

    assert "The permit is not renewed" in outcome.words
    assert "cell 3: it was edited" in outcome.words
    assert scene.book.standing(MINE).serial == 2


def test_evaluate_renews_nothing_that_a_person_took_back(scene):
    scene.bring_to("PAPER_VALIDATION")
    revoke(scene.book, MINE, actor="ada", reason="x")
    scene.wait(days=24)
    look(scene, {})

    assert scene.book.standing(MINE).serial == 2


def test_evaluate_leaves_a_running_override_alone_and_renews_after_it(scene):
    scene.bring_to("PAPER_VALIDATION")
    override(scene.book, MINE, by="ada", reason="x", days=3)
    look(scene, {})
    assert scene.book.standing(MINE).serial == 3
    scene.wait(days=3)
    look(scene, {})

    assert scene.book.standing(MINE).permit.stage is Stage.PAPER_VALIDATION
    assert scene.book.standing(MINE).serial == 4


def test_evaluate_refuses_research_with_the_reason(scene):
    scene.bring_to("RESEARCH", max_statistic_p=0.4)

    assert "The best of 120 tries" in look(scene).words


def live(scene, *, days, **verdict):
    scene.bring_to("LIVE_TRADING", **verdict)
    scene.wait(days=days)


def test_evaluate_live_within_its_limits_stays(scene):
    live(scene, days=20)
    outcome = look(scene)

    assert not outcome.is_moved
    assert outcome.words.startswith("No trigger fired.")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"mismatches": pd.DatetimeIndex([NOON + timedelta(days=19)])}, "1 decisions differ"),
        ({"mean": -0.02, "deviation": 0.001}, "It fell 3"),
        ({"mean": -0.0125, "deviation": 0.001}, "It fell 2"),
    ],
)
def test_evaluate_live_trigger_sends_to_review_at_once_with_half(scene, changes, words):
    """GR-04, GR-08."""
    live(scene, days=24)
    outcome = look(scene, {MINE: recorded(scene, **changes)})

    assert outcome.after is Stage.UNDER_REVIEW
    assert words in outcome.words
    assert scene.book.standing(MINE).capital_usdt == Decimal("1350.00")
    assert scene.book.entries[-1].detail["gate"]["name"] == "triggers"


def test_evaluate_live_returns_below_the_promise_are_found(scene):
    """The test that holds at any time, on the promise of the verdict it trades on."""
    live(scene, days=200, predicted_ceiling=0.02)
    slow = recorded(scene, n_days=200, mean=-0.0009, deviation=0.004, seed=2)
    outcome = look(scene, {MINE: slow})

    assert outcome.after is Stage.UNDER_REVIEW
    assert "earns less than was predicted" in outcome.words


def test_evaluate_live_that_is_another_one_again_goes_to_review(scene):
    scene.bring_to("LIVE_TRADING", OTHER)
    live(scene, days=30)
    mine = recorded(scene)
    outcome = look(scene, {MINE: mine, OTHER: mine})

    assert outcome.after is Stage.UNDER_REVIEW
    assert "correlation 1.00" in outcome.words
    assert scene.book.standing(OTHER).stage is Stage.LIVE_TRADING  # the one that was there first


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"losing": 1.0, "deviation": 0.001}, "It lost"),
        ({"mean": -0.01, "deviation": 0.001}, "Sharpe ratio of 7 days"),
    ],
)
def test_evaluate_live_classic_triggers_fire_as_listed(scene, changes, words):
    """GR-04: ten losses in a row; a Sharpe ratio of seven days below -1."""
    live(scene, days=20)
    book = scene.reopen(gates="classic")
    (outcome,) = evaluate(book, scene.desk({MINE: recorded(scene, **changes)}))

    assert outcome.after is Stage.UNDER_REVIEW
    assert words in outcome.words


def unhealthy(scene, n):
    """Records with so many of the maintenance checks failing in the last 30 days."""
    records = recorded(scene)
    orders, fills = records.orders.copy(), records.fills.copy()
    if n > 0:
        orders.loc[orders.index[::10], "status"] = "rejected"
    if n > 1:
        fills["fee_usdt"] *= 3
    return {MINE: replace(records, orders=orders, fills=fills)}


def test_evaluate_live_maintenance_scales_up_down_or_sends_to_review(scene):
    """GR-04, GR-08: the 30-day window, the 75 % rule, capital up and down while live."""
    live(scene, days=30)
    assert scene.book.standing(MINE).capital_usdt == Decimal("2700.00")
    up = look(scene)
    assert scene.book.standing(MINE).capital_usdt == Decimal("3375.00")
    assert "2700.00 to 3375.00" in up.words
    again = look(scene)
    assert scene.book.standing(MINE).capital_usdt == Decimal("3375.00")
    assert again.words.startswith("It stays")

    scene.wait(days=30)
    down = look(scene, unhealthy(scene, 1))
    assert scene.book.standing(MINE).capital_usdt == Decimal("2531.25")
    assert "orders were executed" in down.words

    scene.wait(days=1)
    out = look(scene, unhealthy(scene, 2))
    assert out.after is Stage.UNDER_REVIEW
    assert scene.book.standing(MINE).capital_usdt == Decimal("1265.62")
    assert "67% of the criteria hold; 75% are asked for." in out.words


def test_evaluate_live_grows_within_the_budget_only(scene):
    live(scene, days=30)
    look(scene, budget_usdt=Decimal(2800))
    assert scene.book.standing(MINE).capital_usdt == Decimal("2800.00")
    scene.wait(days=30)
    outcome = look(scene, budget_usdt=Decimal(2800))

    assert "stays at the most there is" in outcome.words


def test_evaluate_candidate_that_is_not_ready_says_why(scene):
    """GR-03."""
    scene.bring_to("LIVE_CANDIDATE")
    scene.wait(days=59)

    assert "watched for 59 full days" in look(scene).words


def test_evaluate_scales_all_down_alike_when_the_budget_is_lowered(scene):
    """GR-08: the sum is within the budget after any look."""
    scene.bring_to("LIVE_TRADING", OTHER)
    scene.bring_to("LIVE_TRADING")
    scale(scene.book, OTHER, Decimal(1000), actor="t", reason="x")
    evaluate(scene.book, scene.desk({}, budget_usdt=Decimal(1850)))

    amounts = [s.capital_usdt for s in scene.book.standings]
    assert amounts == [Decimal("500.00"), Decimal("1350.00")]


def test_evaluate_live_without_records_renews_nothing(scene):
    """Real money goes on only where it could be looked at."""
    live(scene, days=25)
    outcome = look(scene, {})

    assert "No fills of Trend" in outcome.words
    assert scene.book.standing(MINE).serial == 4
    scene.wait(days=5)
    assert not scene.book.standing(MINE).has_permit(scene.clock.now())


def test_evaluate_live_works_without_the_key_for_what_takes_rights_away(scene):
    live(scene, days=20)
    scene.book = scene.reopen(key=None)
    bad = recorded(scene, mismatches=pd.DatetimeIndex([NOON + timedelta(days=1)]))

    assert look(scene, {MINE: bad}).after is Stage.UNDER_REVIEW


def reviewed(scene):
    live(scene, days=20)
    demote(scene.book, MINE, actor="t", reason="cost drift")


def test_evaluate_review_brings_back_after_seven_clean_days(scene):
    """GR-05: recovery."""
    reviewed(scene)
    scene.wait(days=6)
    assert look(scene).after is Stage.UNDER_REVIEW
    scene.wait(days=1)
    back = look(scene)

    assert back.after is Stage.LIVE_TRADING
    assert back.words.startswith("Back")
    assert scene.book.standing(MINE).capital_usdt == Decimal("1350.00")


def test_evaluate_review_waits_for_seven_days_without_a_fault(scene):
    reviewed(scene)
    fault = pd.DatetimeIndex([scene.wait(days=5)])
    scene.wait(days=6)
    assert look(scene, {MINE: recorded(scene, incidents=fault)}).after is Stage.UNDER_REVIEW
    scene.wait(days=2)

    assert look(scene, {MINE: recorded(scene, incidents=fault)}).after is Stage.LIVE_TRADING


@pytest.mark.parametrize(
    ("changes", "after"),
    [
        ({"incidents": 13}, Stage.LIVE_TRADING),  # redeemed: the books differed, nothing more
        ({"mismatches": 13}, Stage.RETIRED),
    ],
)
def test_evaluate_review_ends_on_day_fourteen(scene, changes, after):
    """GR-05: redemption and retirement, on the day and not before."""
    reviewed(scene)
    began = scene.clock.now()
    faults = {k: pd.DatetimeIndex([began + timedelta(days=d)]) for k, d in changes.items()}
    scene.wait(days=13, hours=23)
    assert look(scene, {MINE: recorded(scene, **faults)}).after is Stage.UNDER_REVIEW
    scene.wait(hours=1)

    assert look(scene, {MINE: recorded(scene, **faults)}).after is after


def test_evaluate_review_what_the_test_rejected_stays_rejected(scene):
    """Good days in review do not mend a promise that was broken before it."""
    live(scene, days=200, predicted_ceiling=0.02)
    slow = recorded(scene, n_days=200, mean=-0.0009, deviation=0.004, seed=2)
    look(scene, {MINE: slow})
    scene.wait(days=14)
    good = recorded(scene, n_days=14, mean=0.004).returns
    equity = pd.concat([slow.equity, slow.equity.iloc[-1] * (1 + good).cumprod()])
    outcome = look(scene, {MINE: replace(slow, equity=equity)})

    assert outcome.after is Stage.RETIRED


@pytest.mark.parametrize(
    ("days", "mean", "losing", "after"),
    [
        (7, 0.002, 0.3, Stage.LIVE_TRADING),
        (6, 0.002, 0.3, Stage.UNDER_REVIEW),
        (13, -0.001, 1.0, Stage.UNDER_REVIEW),
        (14, -0.001, 1.0, Stage.RETIRED),
    ],
)
def test_evaluate_review_classic_recovers_or_retires_as_listed(scene, days, mean, losing, after):
    """GR-05: back above a 7-day Sharpe ratio of 0.5; on day 14 a score of 0.6 returns."""
    reviewed(scene)
    scene.wait(days=days)
    records = recorded(scene, mean=mean, deviation=0.001, losing=losing)
    (outcome,) = evaluate(scene.reopen(gates="classic"), scene.desk({MINE: records}))

    assert outcome.after is after


def test_evaluate_review_classic_is_redeemed_by_its_score(scene):
    """The last seven days are bad, the fourteen together are good."""
    reviewed(scene)
    scene.wait(days=14)
    calm = recorded(scene, n_days=14, mean=0.002, deviation=0.0005, losing=0.0).returns
    calm.iloc[-7:] -= 0.0022
    base = recorded(scene, n_days=100, losing=0.0)
    start = base.equity.iloc[:-14]
    equity = pd.concat([start, start.iloc[-1] * (1 + calm).cumprod()])
    (outcome,) = evaluate(
        scene.reopen(gates="classic"), scene.desk({MINE: replace(base, equity=equity)})
    )

    assert outcome.after is Stage.LIVE_TRADING


def test_evaluate_fault_of_one_does_not_hide_the_others(scene, monkeypatch):
    scene.bring_to("LIVE_TRADING", OTHER)
    live(scene, days=20)
    bad = recorded(scene, mismatches=pd.DatetimeIndex([NOON + timedelta(days=1)]))
    broken = recorded(scene)
    object.__setattr__(broken, "fills", broken.fills.drop(columns="side"))
    monkeypatch.setattr("workbench.lifecycle.evaluation.measure_records", _failing_on(broken.fills))
    second, first = evaluate(scene.book, scene.desk({OTHER: broken, MINE: bad}))

    assert (first.is_fault, first.after) == (True, Stage.LIVE_TRADING)
    assert second.after is Stage.UNDER_REVIEW


def _failing_on(fills):
    def measure(records, **options):
        if records.fills is fills:
            raise DataError("The fills lack side.", "Give it.")
        return measure_records(records, **options)

    return measure


def test_evaluate_does_not_look_at_what_is_retired(scene):
    scene.bring_to("PAPER_VALIDATION")
    retire(scene.book, MINE, actor="t", reason="x")

    assert evaluate(scene.book, scene.desk()) == []


def test_judge_records_uses_the_promise_and_the_score_of_its_verdict(scene):
    scene.bring_to("PAPER_VALIDATION", pbo=0.9)
    scene.wait(days=31)
    found = judge_records(scene.book, scene.desk({MINE: recorded(scene)}), MINE, "paper").measures

    assert found["validation_score"] == pytest.approx(10 / 11)
    assert found["shortfall_p"] is not None
    scene.bring_to("PAPER_VALIDATION", OTHER, predicted_mean=None)
    with pytest.raises(EvidenceError, match="No fills"):
        judge_records(scene.book, scene.desk(), OTHER, "paper")
    silent = judge_records(scene.book, scene.desk({OTHER: recorded(scene)}), OTHER, "paper")
    assert silent.measures["shortfall_p"] is None
    assert not silent.is_passed


def test_evaluate_never_leads_to_real_money(scene):
    """GR-09: that is a person's word."""
    scene.bring_to("LIVE_CANDIDATE")
    scene.wait(days=90)
    for _ in range(3):
        look(scene)

    assert scene.book.standing(MINE).stage is Stage.LIVE_CANDIDATE
