"""Protects what a strategy may do where it stands: permits, overrides, capital, heirs."""

import json
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pandas as pd
import pytest

from tests.lifecycle.scene import BUDGET, ENABLE, MINE, NOON, OTHER, make_key, untouched
from tests.lifecycle.test_book import edit, entry
from workbench.core.errors import EvidenceError
from workbench.evidence.permits import read_permit
from workbench.evidence.seals import Difference
from workbench.evidence.stages import Stage, Venue
from workbench.lifecycle import (
    Proof,
    admit,
    compare_decisions,
    grounds,
    inherit,
    override,
    promote,
    renew,
    retire,
    revoke,
    scale,
)
from workbench.lifecycle.standing import Standing
from workbench.store.chain import entry_digest


def use(scene, *, venue=Venue.DEMO, capital_usdt=Decimal(100), **changes):
    return admit(
        scene.reopen(), MINE, public_keys=scene.public_keys, venue=venue,
        is_synthetic_market=False, capital_usdt=capital_usdt, **changes,
    )  # fmt: skip


def test_admit_without_a_permit_is_refused(scene):
    with pytest.raises(EvidenceError, match="in any stage"):
        use(scene)


def test_permit_ends_after_thirty_days_or_as_many_as_are_asked_for(scene):
    scene.bring_to("PAPER_VALIDATION")
    scene.wait(days=30, seconds=-1)
    assert use(scene)
    scene.wait(seconds=1)
    with pytest.raises(EvidenceError, match="expired at 2026-03-31 12:00:00"):
        use(scene)

    renewed = renew(scene.reopen(permit_days=2), MINE, actor="t", check_run=untouched)
    assert renewed.permit.expires == NOON + timedelta(days=32)
    assert use(scene).serial == 3


def test_permit_of_before_a_move_is_refused_by_its_number(scene):
    old = scene.bring_to("PAPER_VALIDATION").permit.document
    promote(scene.book, MINE, scene.judge("paper"), actor="t")
    with pytest.raises(EvidenceError, match="is number 2 and was superseded by number 3"):
        use(scene, document=old)


def test_revoke_takes_the_permit_back_and_the_stage_stays(scene):
    scene.bring_to("PAPER_VALIDATION")
    revoke(scene.book, MINE, actor="ada", reason="the exchange is odd today")
    with pytest.raises(EvidenceError, match="was revoked"):
        use(scene)
    assert scene.book.standing(MINE).stage is Stage.PAPER_VALIDATION
    with pytest.raises(EvidenceError, match="holds no permit that could be revoked"):
        revoke(scene.book, MINE, actor="ada", reason="again")

    renew(scene.book, MINE, actor="ada", check_run=untouched)
    assert use(scene)


def test_renew_needs_what_the_stage_stands_on(scene):
    scene.bring_to("PAPER_VALIDATION")
    with pytest.raises(EvidenceError, match="not what was sealed: cell 2: edited"):
        renew(scene.book, MINE, actor="t", check_run=lambda _: (Difference("cell 2", "edited"),))


def test_renew_of_a_gate_that_has_changed_since_goes_by_the_rules_of_its_day(scene, monkeypatch):
    scene.bring_to("PAPER_VALIDATION")
    other = grounds.load_gate("default").model_copy(update={"version": 2})
    monkeypatch.setattr(grounds, "load_gate", lambda name: other)

    assert renew(scene.book, MINE, actor="t", check_run=untouched).serial == 3


def test_renew_in_research_needs_the_probe_only(scene):
    scene.bring_to("RESEARCH", max_statistic_p=0.5)
    assert renew(scene.book, MINE, actor="t", check_run=untouched).serial == 2
    scene.wait(seconds=1)
    scene.store.add_event("leak_probe", actor="t", detail={"strategy_hash": MINE, "leaks": 1})
    with pytest.raises(EvidenceError, match="reads the future"):
        renew(scene.book, MINE, actor="t", check_run=untouched)


def test_scale_issues_a_permit_for_the_new_capital(scene):
    """GR-08."""
    scene.bring_to("LIVE_TRADING")
    scale(scene.book, MINE, Decimal("3375.00"), actor="t", reason="nothing failed")

    assert use(scene, venue=Venue.MAINNET, capital_usdt=Decimal(3375))
    with pytest.raises(EvidenceError, match=r"up to 3375\.00 USDT, not 3376"):
        use(scene, venue=Venue.MAINNET, capital_usdt=Decimal(3376))


# Overrides


def test_override_lets_it_act_one_stage_up_for_a_while_and_the_stage_stays(scene):
    """GR-10: flagged, signed, and over by itself."""
    scene.bring_to("PAPER_VALIDATION")
    new = override(scene.book, MINE, by="ada", reason="the venue closes on Monday", days=3)

    assert new.stage is Stage.PAPER_VALIDATION
    word = scene.reopen().standing(MINE).active_override(scene.clock.now())
    assert (word.by, word.stage, word.until) == ("ada", "LIVE_CANDIDATE", NOON + timedelta(days=3))
    assert word.is_signed(scene.public_keys)
    permit = use(scene, venue=Venue.TESTNET)
    assert (permit.stage, permit.verdict_id) == (Stage.LIVE_CANDIDATE, "override")

    scene.wait(days=3)
    assert scene.reopen().standing(MINE).active_override(scene.clock.now()) is None
    with pytest.raises(EvidenceError, match="expired"):
        use(scene, venue=Venue.TESTNET)


def test_override_says_who_in_ink_that_cannot_be_changed(scene, tmp_path):
    scene.bring_to("PAPER_VALIDATION")
    word = override(scene.book, MINE, by="ada", reason="x").override

    for change in (
        {"by": "bob"},
        {"reason": "y"},
        {"until": word.until + timedelta(days=1)},
        {"capital_usdt": Decimal(10**6)},
        {"stage": Stage.LIVE_TRADING},
        {"strategy_hash": OTHER},
        {"signature": "00" * 64},
        {"signature": ""},
    ):
        assert not replace(word, **change).is_signed(scene.public_keys)
    assert not word.is_signed([make_key(tmp_path, scene.clock).public])
    retired = replace(scene.key.public, retired=NOON)
    assert not word.is_signed([retired])


def test_override_of_real_money_needs_the_enable_and_is_small(scene):
    scene.bring_to("LIVE_CANDIDATE")
    with pytest.raises(EvidenceError, match="Real money needs a person"):
        override(scene.book, MINE, by="ada", reason="x", budget_usdt=BUDGET)
    with pytest.raises(EvidenceError, match="budget leaves nothing free"):
        override(scene.book, MINE, by="ada", reason="x", enable=ENABLE)
    override(scene.book, MINE, by="ada", reason="x", enable=ENABLE, budget_usdt=BUDGET)

    assert use(scene, venue=Venue.MAINNET, capital_usdt=Decimal(500))
    with pytest.raises(EvidenceError, match="for up to 500 USDT"):
        use(scene, venue=Venue.MAINNET, capital_usdt=Decimal(501))


def test_override_counts_against_the_budget(scene):
    scene.bring_to("LIVE_CANDIDATE", OTHER)
    override(scene.book, OTHER, by="ada", reason="x", enable=ENABLE, budget_usdt=BUDGET)
    scene.bring_to("LIVE_CANDIDATE")
    live = promote(
        scene.book, MINE, scene.judge("candidate"), actor="t", budget_usdt=Decimal(1000),
        enable=ENABLE,
    )  # fmt: skip

    assert live.capital_usdt == Decimal("500.00")


@pytest.mark.parametrize("days", [0, 31])
def test_override_that_would_not_end_soon_is_refused(scene, days):
    scene.bring_to("PAPER_VALIDATION")
    with pytest.raises(EvidenceError, match=f"cannot last {days} days"):
        override(scene.book, MINE, by="ada", reason="x", days=days)


def test_override_without_the_key_is_refused(scene):
    scene.bring_to("PAPER_VALIDATION")
    with pytest.raises(EvidenceError, match="no signing key"):
        override(scene.reopen(key=None), MINE, by="ada", reason="x")


def test_revoke_ends_an_override(scene):
    scene.bring_to("PAPER_VALIDATION")
    override(scene.book, MINE, by="ada", reason="x")
    new = revoke(scene.book, MINE, actor="bob", reason="no")

    assert new.active_override(scene.clock.now()) is None
    with pytest.raises(EvidenceError, match="was revoked"):
        use(scene, venue=Venue.TESTNET)


def test_renew_after_an_override_permits_the_stage_that_stayed(scene):
    scene.bring_to("PAPER_VALIDATION")
    override(scene.book, MINE, by="ada", reason="x", days=1)
    scene.wait(days=1)
    renew(scene.book, MINE, actor="t", check_run=untouched)

    assert use(scene, venue=Venue.DEMO).stage is Stage.PAPER_VALIDATION


# Heirs


def weights(*rows, symbols=("AAAUSDT",)):
    index = pd.date_range(NOON, periods=len(rows), freq="h", unit="us")
    return pd.DataFrame([[row] for row in rows], index=index, columns=list(symbols))


PROOF = compare_decisions(weights(0.5, 0.25), weights(0.5, 0.25), snapshot_id="snap")


def test_inherit_takes_stage_clock_capital_and_evidence_and_retires_the_old(scene):
    """DESIGN 4.2: a new hash whose decisions are identical goes on where the old one stood."""
    old = scene.bring_to("LIVE_CANDIDATE")
    scene.wait(days=40)
    new = inherit(scene.book, MINE, OTHER, PROOF, actor="t")
    gone = scene.reopen().standing(MINE)

    assert (new.stage, new.since, new.capital_usdt) == (old.stage, old.since, old.capital_usdt)
    assert (new.verdict_id, new.run_id, new.lock_hash) == (
        old.verdict_id, old.run_id, old.lock_hash,
    )  # fmt: skip
    assert (new.strategy_hash, new.serial) == (OTHER, 1)
    assert (gone.stage, gone.successor, gone.capital_usdt) == (Stage.RETIRED, OTHER, 0)
    assert old.permit.permit_id in gone.revoked
    assert read_permit(new.permit.document, public_keys=scene.public_keys).strategy_hash == OTHER
    assert scene.book.entries[-1].detail["proof"]["digest"] == PROOF.new_digest
    with pytest.raises(EvidenceError, match="revoked"):
        use(scene)
    # Its verdict speaks of the hash before, and still holds.
    assert renew(scene.book, OTHER, actor="t", check_run=untouched).serial == 2


def test_inherit_can_be_taken_back_and_nothing_trades_twice(scene):
    scene.bring_to("LIVE_CANDIDATE")
    inherit(scene.book, MINE, OTHER, PROOF, actor="t")
    back = inherit(scene.book, OTHER, MINE, PROOF, actor="t")

    assert (back.stage, back.successor, back.serial) == (Stage.LIVE_CANDIDATE, "", 4)
    assert use(scene).strategy_hash == MINE
    assert scene.book.standing(OTHER).stage is Stage.RETIRED


@pytest.mark.parametrize(
    ("proof", "words"),
    [
        (replace(PROOF, new_digest="f" * 64), f"{OTHER[:12]} does not decide as {MINE[:12]}"),
        (
            replace(PROOF, snapshot_id="other"),
            "were compared on other, and the evidence is on snap",
        ),
    ],
)
def test_inherit_without_proof_is_refused(scene, proof, words):
    scene.bring_to("LIVE_CANDIDATE")
    with pytest.raises(EvidenceError, match=words):
        inherit(scene.book, MINE, OTHER, proof, actor="t")
    assert scene.reopen().standing(MINE).stage is Stage.LIVE_CANDIDATE


def test_inherit_needs_something_to_hand_on_and_a_free_hash(scene):
    scene.bring_to("RESEARCH")
    with pytest.raises(EvidenceError, match="has nothing to hand on"):
        inherit(scene.book, MINE, OTHER, PROOF, actor="t")
    scene.bring_to("PAPER_VALIDATION", OTHER)
    with pytest.raises(EvidenceError, match="stands in PAPER_VALIDATION by itself"):
        inherit(scene.book, OTHER, scene.bring_to("PAPER_VALIDATION", "c" * 64).strategy_hash,
                PROOF, actor="t")  # fmt: skip


def test_compare_decisions_sees_a_quantum_and_not_less():
    for change, is_same in ((0.00004, True), (0.0001, False)):
        proof = compare_decisions(weights(0.5), weights(0.5 + change), snapshot_id="snap")
        assert (proof.old_digest == proof.new_digest) is is_same
    other = compare_decisions(weights(0.5), weights(0.5, symbols=("B",)), snapshot_id="s")
    assert other.old_digest != other.new_digest


def test_compare_decisions_of_nothing_proves_nothing():
    with pytest.raises(EvidenceError, match="no decision to compare"):
        compare_decisions(weights(0.0, float("nan")), weights(0.0, 0.0), snapshot_id="snap")
    assert isinstance(PROOF, Proof)


def test_override_put_into_the_store_by_hand_is_not_signed(scene):
    """Who can write the store can chain an entry, and cannot sign it."""
    scene.bring_to("PAPER_VALIDATION")
    override(scene.book, MINE, by="ada", reason="x")
    event_id, detail = entry(scene, 3)
    detail["detail"]["override"]["until"] = "2030-01-01T00:00:00+00:00"
    detail["digest"] = entry_digest({k: v for k, v in detail.items() if k != "digest"})
    edit(scene, "UPDATE events SET detail = ? WHERE event_id = ?", json.dumps(detail), event_id)

    word = scene.reopen().standing(MINE).override
    assert word.until.year == 2030
    assert not word.is_signed(scene.public_keys)
    scene.wait(days=8)
    with pytest.raises(EvidenceError, match="expired"):
        use(scene, venue=Venue.TESTNET)


def test_renew_of_what_is_retired_is_refused(scene):
    scene.bring_to("PAPER_VALIDATION")
    retire(scene.book, MINE, actor="t", reason="over")
    with pytest.raises(EvidenceError, match="Trend is retired"):
        renew(scene.book, MINE, actor="t", check_run=untouched)


def test_renew_where_the_verdict_is_gone_is_refused(scene):
    scene.bring_to("PAPER_VALIDATION")
    edit(scene, "DELETE FROM events WHERE kind = 'verdict'")
    with pytest.raises(EvidenceError, match="on which Trend stands, is gone"):
        renew(scene.book, MINE, actor="t", check_run=untouched)


def test_admit_where_none_was_issued_is_refused(scene):
    scene.book.append(
        "note", Standing("Trend", MINE, Stage.RESEARCH, NOON), actor="t", reason="without a permit"
    )
    with pytest.raises(EvidenceError, match="No permit was ever issued"):
        use(scene)
