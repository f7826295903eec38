"""Protects the way of a strategy through its stages: legal moves only, each on its evidence."""

from dataclasses import replace
from decimal import Decimal
from itertools import product

import pytest

from tests.lifecycle.scene import BUDGET, ENABLE, MINE, NAME, NOON, OTHER, untouched
from workbench.core.errors import DataError, EvidenceError
from workbench.evidence.seals import Difference
from workbench.evidence.stages import Stage, Venue
from workbench.evidence.verdicts import read_verdicts, record_verdict
from workbench.lifecycle import (
    admit,
    admit_to_paper,
    demote,
    enter,
    grounds,
    override,
    promote,
    recover,
    retire,
)
from workbench.lifecycle.transitions import GATES, UP, legal_moves, next_stage, require_move

LEGAL = {
    "RESEARCH": "PAPER_VALIDATION RETIRED",
    "PAPER_VALIDATION": "LIVE_CANDIDATE UNDER_REVIEW RETIRED",
    "LIVE_CANDIDATE": "LIVE_TRADING UNDER_REVIEW RETIRED",
    "LIVE_TRADING": "UNDER_REVIEW RETIRED",
    "UNDER_REVIEW": "RETIRED",
    "RETIRED": "",
}


@pytest.mark.parametrize(("stage", "to"), list(product(Stage, Stage)))
def test_move_is_legal_exactly_where_the_table_says(stage, to):
    """GR-01: every pair of stages."""
    if to in LEGAL[stage].split():
        require_move(stage, to)
        return
    with pytest.raises(EvidenceError, match=f"{stage} cannot move to {to}") as caught:
        require_move(stage, to)
    for way in LEGAL[stage].split() or ["nothing"]:
        assert way in caught.value.fix


@pytest.mark.parametrize("before", ["PAPER_VALIDATION", "LIVE_CANDIDATE", "LIVE_TRADING"])
def test_move_back_from_review_is_to_where_it_was_only(before):
    legal = legal_moves(Stage.UNDER_REVIEW, Stage(before))

    assert legal == {Stage(before), Stage.RETIRED}


def test_every_way_up_is_legal_and_has_a_gate():
    for stage, to in UP.items():
        require_move(stage, to)
        assert next_stage(stage) is to
        assert to in GATES
    for stage in set(Stage) - set(UP):
        with pytest.raises(EvidenceError, match=f"no stage above {stage}"):
            next_stage(stage)


def test_strategy_goes_all_the_way_up_and_each_stage_trades_where_it_may(scene):
    """GR-01, GR-09: the stage selects the venue and the capital of the next order."""
    reached = {}
    scene.validate()
    enter(scene.book, NAME, MINE, actor="t", capital_usdt=Decimal(10_000))
    steps = [
        lambda: None,
        lambda: admit_to_paper(scene.book, MINE, actor="t", check_run=untouched),
        lambda: promote(scene.book, MINE, scene.judge("paper"), actor="t"),
        lambda: promote(
            scene.book, MINE, scene.judge("candidate"), actor="t", budget_usdt=BUDGET, enable=ENABLE
        ),
    ]  # fmt: skip
    for step in steps:
        step()
        reached[scene.book.standing(MINE).stage] = {
            venue for venue in Venue if is_admitted(scene, venue=venue)
        }

    assert reached == {
        Stage.RESEARCH: {Venue.SIMULATOR, Venue.SIMULATOR_LIVE},
        Stage.PAPER_VALIDATION: {Venue.SIMULATOR_LIVE, Venue.DEMO},
        Stage.LIVE_CANDIDATE: {Venue.DEMO, Venue.TESTNET},
        Stage.LIVE_TRADING: {Venue.MAINNET},
    }
    live = scene.book.standing(MINE)
    # 1,000 x 2 x 0.9 x 1.5: every criterion holds, so confidence is high.
    assert live.capital_usdt == Decimal("2700.00")
    assert live.enabled_by == "ada"
    assert is_admitted(scene, venue=Venue.MAINNET, capital_usdt=Decimal(2700))
    assert not is_admitted(scene, venue=Venue.MAINNET, capital_usdt=Decimal("2700.01"))


def is_admitted(scene, *, venue, capital_usdt=Decimal(100), is_synthetic_market=False):
    try:
        admit(
            scene.book, MINE, public_keys=scene.public_keys, venue=venue,
            is_synthetic_market=is_synthetic_market, capital_usdt=capital_usdt,
        )  # fmt: skip
    except EvidenceError:
        return False
    return True


def test_move_is_written_before_it_takes_effect(scene, monkeypatch):
    """A stage that could not be persisted was not reached."""
    before = scene.bring_to("RESEARCH")

    def fail(*_, **__):
        raise DataError("The disk is full.", "Make room.")

    monkeypatch.setattr(scene.store, "add_event", fail)
    with pytest.raises(DataError, match="disk"):
        admit_to_paper(scene.book, MINE, actor="t", check_run=untouched)
    assert scene.book.standing(MINE) == before
    assert scene.reopen().standing(MINE) == before


def test_stages_survive_a_restart_with_their_reasons_and_measures(scene):
    """GR-10."""
    scene.bring_to("LIVE_CANDIDATE")
    again = scene.reopen()

    assert again.standings == scene.book.standings
    assert [entry.what for entry in again.entries] == ["enter", "move", "move"]
    last = again.entries[-1].detail
    assert (last["from"], last["to"]) == ("PAPER_VALIDATION", "LIVE_CANDIDATE")
    assert last["measures"]["sharpe"] == 2.0
    assert last["gate"]["name"] == "paper"
    assert last["gate"]["version"] == 1


def test_enter_needs_a_probe_that_found_nothing(scene):
    with pytest.raises(EvidenceError, match="No leak probe of Trend"):
        enter(scene.book, NAME, MINE, actor="t", capital_usdt=Decimal(1))
    scene.store.add_event(
        "leak_probe", actor="t", detail={"strategy_hash": MINE, "leaks": 2, "leak": "close at once"}
    )
    with pytest.raises(EvidenceError, match="reads the future: close at once"):
        enter(scene.book, NAME, MINE, actor="t", capital_usdt=Decimal(1))
    scene.wait(seconds=1)
    scene.store.add_event("leak_probe", actor="t", detail={"strategy_hash": MINE, "leaks": 0})

    assert enter(scene.book, NAME, MINE, actor="t", capital_usdt=Decimal(1)).stage == "RESEARCH"
    with pytest.raises(EvidenceError, match="is in RESEARCH already"):
        enter(scene.book, NAME, MINE, actor="t", capital_usdt=Decimal(1))


def test_enter_needs_no_passed_verdict(scene):
    """Paper is never held up: a refused strategy may trade on paper."""
    scene.validate(max_statistic_p=0.4)

    assert enter(scene.book, NAME, MINE, actor="t", capital_usdt=Decimal(1)).permit is not None


def refused_to_paper(scene, words, *, check_run=untouched):
    with pytest.raises(EvidenceError, match=words):
        admit_to_paper(scene.book, MINE, actor="t", check_run=check_run)
    assert scene.reopen().standing(MINE).stage is Stage.RESEARCH


def test_paper_needs_a_verdict_for_exactly_this_strategy(scene):
    """GR-01: the RESEARCH gate is the validation's verdict."""
    scene.bring_to("RESEARCH", OTHER)
    scene.store.add_event("leak_probe", actor="t", detail={"strategy_hash": MINE, "leaks": 0})
    enter(scene.book, NAME, MINE, actor="t", capital_usdt=Decimal(1))

    refused_to_paper(scene, f"there is one for {OTHER[:12]}: code or parameters have changed")


def test_paper_needs_a_verdict_at_all(scene):
    scene.store.add_event("leak_probe", actor="t", detail={"strategy_hash": MINE, "leaks": 0})
    assert grounds.has_probe(scene.store, MINE)
    enter(scene.book, NAME, MINE, actor="t", capital_usdt=Decimal(1))

    refused_to_paper(scene, "it was never put before that gate")


def test_enter_on_a_probe_that_could_not_judge_is_refused(scene):
    grounds.record_probe(scene.store, MINE, {"leaks": float("nan")}, actor="t")
    with pytest.raises(EvidenceError, match="No leak probe of Trend"):
        enter(scene.book, NAME, MINE, actor="t", capital_usdt=Decimal(1))


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        ({"max_statistic_p": 0.4}, "refuses Trend: The best of 120 tries"),
        ({"is_sealed": False}, "found outside of a recorded run"),
    ],
)
def test_paper_needs_a_passed_verdict_of_a_run(scene, verdict, words):
    scene.bring_to("RESEARCH", **verdict)

    refused_to_paper(scene, words)


def test_paper_the_latest_word_of_the_gate_counts(scene):
    scene.bring_to("RESEARCH")
    scene.wait(days=1)
    scene.validate(sealed_quantile=0.01)

    refused_to_paper(scene, "fell below what was predicted")


def test_paper_needs_the_gate_as_it_ships_now(scene, monkeypatch):
    scene.bring_to("RESEARCH")
    now = grounds.load_gate("default").model_copy(update={"version": 2})
    monkeypatch.setattr(grounds, "load_gate", lambda name: now)

    refused_to_paper(scene, "version 1 .* and default, version 2 .* is the one that counts")


def test_paper_needs_the_run_as_it_was_sealed(scene):
    scene.bring_to("RESEARCH")

    refused_to_paper(
        scene, "is not what was sealed: cell 3: it was edited",
        check_run=lambda run_id: (Difference("cell 3", "it was edited"),),
    )  # fmt: skip


def test_paper_needs_the_run_to_declare_the_verdict(scene):
    scene.bring_to("RESEARCH")
    # A verdict that was put on record beside the run that is named for it.
    run_id = scene.store.runs()["run_id"][0]
    forged = replace(read_verdicts(scene.store)[0].verdict, sentence="Believe me.")
    record_verdict(scene.store, forged, run_id=run_id)

    refused_to_paper(scene, f"The run {run_id} does not declare the verdict")


def test_paper_on_a_synthetic_market_counts_there_only(scene):
    scene.bring_to("PAPER_VALIDATION", is_synthetic=True)

    assert not is_admitted(scene, venue=Venue.SIMULATOR_LIVE)
    assert is_admitted(scene, venue=Venue.SIMULATOR_LIVE, is_synthetic_market=True)


def test_promote_refused_says_why_and_the_stage_stays(scene):
    scene.bring_to("PAPER_VALIDATION")
    with pytest.raises(EvidenceError, match=r"refuses Trend: It fell 16\.0%"):
        promote(scene.book, MINE, scene.judge("paper", max_drawdown=0.16), actor="t")
    with pytest.raises(EvidenceError, match=r"candidate, version 1 .* and paper, version 1"):
        promote(scene.book, MINE, scene.judge("candidate"), actor="t")
    with pytest.raises(EvidenceError, match=f"is about {OTHER[:12]}, not {MINE[:12]}"):
        promote(scene.book, MINE, scene.judge("paper", OTHER), actor="t")
    assert scene.reopen().standing(MINE).stage is Stage.PAPER_VALIDATION


def test_promote_out_of_research_on_fills_is_refused(scene):
    scene.bring_to("RESEARCH")
    with pytest.raises(EvidenceError, match="has traded nowhere"):
        promote(scene.book, MINE, scene.judge("paper"), actor="t")


def test_promote_classic_uses_the_listed_gates(scene):
    scene.bring_to("PAPER_VALIDATION")
    book = scene.reopen(gates="classic")
    with pytest.raises(EvidenceError, match="and classic-paper, version 1"):
        promote(book, MINE, scene.judge("paper"), actor="t")

    assert promote(book, MINE, scene.judge("classic-paper"), actor="t").stage == "LIVE_CANDIDATE"


@pytest.mark.parametrize(
    ("enable", "words"),
    [
        (None, "Real money needs a person"),
        (replace(ENABLE, by=" "), "Real money needs a person"),
        (replace(ENABLE, reason=""), "Real money needs a person"),
        (replace(ENABLE, confirmed="Tredn"), "second confirmation says 'Tredn', not 'Trend'"),
    ],
)
def test_live_needs_a_person_who_says_so_twice(scene, enable, words):
    """GR-09: live needs a recorded enable."""
    scene.bring_to("LIVE_CANDIDATE")
    with pytest.raises(EvidenceError, match=words):
        promote(
            scene.book, MINE, scene.judge("candidate"), actor="t", budget_usdt=BUDGET, enable=enable
        )
    assert scene.reopen().standing(MINE).stage is Stage.LIVE_CANDIDATE


def test_live_on_synthetic_evidence_is_refused(scene):
    scene.bring_to("LIVE_CANDIDATE", is_synthetic=True)
    with pytest.raises(EvidenceError, match="from a synthetic market"):
        promote(
            scene.book, MINE, scene.judge("candidate"), actor="t", budget_usdt=BUDGET, enable=ENABLE
        )


def test_live_the_enable_is_on_record(scene):
    scene.bring_to("LIVE_TRADING")

    assert scene.reopen().entries[-1].detail["enable"] == {"by": "ada", "reason": "the desk agreed"}


def test_live_gets_what_the_budget_leaves_and_nothing_beyond(scene):
    """GR-08: the sum is within the budget."""
    scene.bring_to("LIVE_TRADING", OTHER)
    scene.bring_to("LIVE_CANDIDATE")
    verdict = scene.judge("candidate")
    with pytest.raises(EvidenceError, match="budget of 2700 USDT is used up"):
        promote(scene.book, MINE, verdict, actor="t", budget_usdt=Decimal(2700), enable=ENABLE)
    live = promote(scene.book, MINE, verdict, actor="t", budget_usdt=Decimal(3000), enable=ENABLE)

    assert live.capital_usdt == Decimal("300.00")


def test_live_without_a_score_is_refused(scene):
    scene.bring_to("LIVE_CANDIDATE")
    with pytest.raises(EvidenceError, match="score is unknown"):
        promote(
            scene.book, MINE, scene.judge("candidate", score=None), actor="t", budget_usdt=BUDGET,
            enable=ENABLE,
        )  # fmt: skip


def test_demote_halves_the_capital_and_lets_it_only_close(scene):
    """GR-04, GR-08."""
    scene.bring_to("LIVE_TRADING")
    new = demote(scene.book, MINE, actor="t", reason="cost drift")
    permit = admit(
        scene.book, MINE, public_keys=scene.public_keys, venue=Venue.MAINNET,
        is_synthetic_market=False, capital_usdt=Decimal(1350),
    )  # fmt: skip

    assert (new.stage, new.before) == (Stage.UNDER_REVIEW, Stage.LIVE_TRADING)
    assert new.capital_usdt == Decimal("1350.00")
    assert permit.is_reduce_only


def test_demote_needs_no_key_and_then_nothing_trades(scene):
    """The engine and the schedule hold no key; what takes rights away works without one."""
    live = scene.bring_to("LIVE_TRADING")
    new = demote(scene.reopen(key=None), MINE, actor="engine", reason="drawdown")
    scene.book.reload()

    assert new.stage is Stage.UNDER_REVIEW
    assert live.permit.permit_id in new.revoked
    with pytest.raises(EvidenceError, match="was revoked"):
        admit(
            scene.book, MINE, public_keys=scene.public_keys, venue=Venue.MAINNET,
            is_synthetic_market=False, capital_usdt=Decimal(1),
        )  # fmt: skip


def test_promote_needs_the_key(scene):
    scene.bring_to("PAPER_VALIDATION")
    with pytest.raises(EvidenceError, match="only with the signing key"):
        promote(scene.reopen(key=None), MINE, scene.judge("paper"), actor="t")


def test_recover_goes_back_where_it_was_with_the_halved_capital(scene):
    """GR-05."""
    scene.bring_to("LIVE_TRADING")
    demote(scene.book, MINE, actor="t", reason="cost drift")
    with pytest.raises(EvidenceError, match="no stage above UNDER_REVIEW"):
        promote(scene.book, MINE, scene.judge("candidate"), actor="t", enable=ENABLE)
    with pytest.raises(EvidenceError, match="no stage above UNDER_REVIEW"):
        override(scene.book, MINE, by="ada", reason="now", enable=ENABLE)
    with pytest.raises(EvidenceError, match="The review is not over"):
        recover(scene.book, MINE, actor="t", reason="x", verdict=scene.judge("review", days=6))
    new = recover(scene.book, MINE, actor="t", reason="clean", verdict=scene.judge("review"))

    assert (new.stage, new.before) == (Stage.LIVE_TRADING, None)
    assert new.capital_usdt == Decimal("1350.00")
    assert is_admitted(scene, venue=Venue.MAINNET)


@pytest.mark.parametrize(
    "stage", ["RESEARCH", "PAPER_VALIDATION", "LIVE_CANDIDATE", "LIVE_TRADING"]
)
def test_retire_ends_everything_for_good(scene, stage):
    """GR-05, GR-08: no capital, no permit, no way back."""
    scene.bring_to(stage)
    gone = retire(scene.book, MINE, actor="t", reason="replaced")

    assert (gone.stage, gone.capital_usdt) == (Stage.RETIRED, 0)
    assert not any(is_admitted(scene, venue=venue) for venue in Venue)
    for move in (
        lambda: retire(scene.book, MINE, actor="t", reason="again"),
        lambda: demote(scene.book, MINE, actor="t", reason="x"),
        lambda: promote(scene.book, MINE, scene.judge("paper"), actor="t"),
        lambda: override(scene.book, MINE, by="ada", reason="x"),
    ):
        with pytest.raises(EvidenceError, match=r"RETIRED"):
            move()


@pytest.mark.parametrize(("actor", "reason"), [("", "x"), ("t", "  ")])
def test_nobody_and_no_reason_change_nothing(scene, actor, reason):
    scene.bring_to("LIVE_TRADING")
    with pytest.raises(EvidenceError, match="names nobody, or no reason"):
        demote(scene.book, MINE, actor=actor, reason=reason)
    assert scene.book.standing(MINE).since == NOON


def test_strategy_that_the_book_does_not_know_has_no_stage(scene):
    with pytest.raises(EvidenceError, match="in any stage"):
        demote(scene.book, MINE, actor="t", reason="x")
