"""The rights of a strategy where it stands: its permit, its capital, an override, an heir."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import pandas as pd

from workbench.core.errors import EvidenceError
from workbench.evidence.permits import Permit, check_permit
from workbench.evidence.stages import Stage
from workbench.lifecycle import capital
from workbench.lifecycle.grounds import CheckRun, find_verdict, require_probe, require_sealed
from workbench.lifecycle.moves import Enable, free_budget, require_enable
from workbench.lifecycle.overrides import Override
from workbench.lifecycle.standing import Standing
from workbench.lifecycle.transitions import next_stage
from workbench.strategies.identity import decision_hash

if TYPE_CHECKING:
    from workbench.core.vault import PublicKey
    from workbench.evidence.stages import Venue
    from workbench.lifecycle.book import Book

OVERRIDE_DAYS: Final = 7
MOST_OVERRIDE_DAYS: Final = 30


@dataclass(frozen=True, slots=True)
class Proof:
    """The decisions of two strategies on one snapshot, each as ``decision_hash`` gives them."""

    snapshot_id: str
    old_digest: str
    new_digest: str


def compare_decisions(old: pd.DataFrame, new: pd.DataFrame, *, snapshot_id: str) -> Proof:
    """Return the proof of how two frames of weights on one snapshot compare.

    Raises
    ------
    EvidenceError
        If there is no decision in them: strategies that do nothing are alike in nothing.
    """
    if not (old.fillna(0.0) != 0.0).to_numpy().any():
        raise EvidenceError(
            "There is no decision to compare: every weight is zero or missing.",
            "Compare on the data of the verdict's run.",
        )
    return Proof(snapshot_id, decision_hash(old), decision_hash(new))


def revoke(book: Book, strategy_hash: str, *, actor: str, reason: str) -> Standing:
    """Take back the permit of a strategy, and its override; the stage stays.

    Raises
    ------
    EvidenceError
        If it holds no good permit.
    """
    old = book.standing(strategy_hash)
    if old.permit is None or not old.has_permit(book.clock.now()):
        raise EvidenceError(
            f"{old.strategy} holds no permit that could be revoked.",
            "It expired, or was revoked before: nothing can trade on it.",
        )
    more: dict[str, Any] = {"revokes": [old.permit.permit_id]}
    override = old.active_override(book.clock.now())
    if override is not None:
        more["override"] = None
    return book.append("revoke", old, actor=actor, reason=reason, **more)


def renew(book: Book, strategy_hash: str, *, actor: str, check_run: CheckRun) -> Standing:
    """Issue the permit of a strategy anew, if what it stands on still holds.

    The verdict must be as it was recorded and its run as it was sealed; the rules of its day count.

    Raises
    ------
    EvidenceError
        If they are not, a leak was found since, or nothing permits it to trade.
    """
    old = book.standing(strategy_hash)
    if old.stage is Stage.RETIRED:
        raise EvidenceError(f"{old.strategy} is retired.", "Nothing can trade on it again.")
    if old.stage is Stage.RESEARCH:
        require_probe(book.store, old.strategy, strategy_hash)
    elif old.run_id:
        recorded = find_verdict(book.store, old.verdict_id)
        if recorded is None:
            raise EvidenceError(
                f"The verdict {old.verdict_id}, on which {old.strategy} stands, is gone.",
                "Restore the store from a backup.",
            )
        require_sealed(book.store, recorded, check_run)
    reason = f"The permit is renewed for {book.permit_days} days."
    return book.append("renew", old, actor=actor, reason=reason, is_permitted=True)


def scale(book: Book, strategy_hash: str, to_usdt: Decimal, *, actor: str, reason: str) -> Standing:
    """Give a strategy another capital, with a permit for it.

    Raises
    ------
    EvidenceError
        If there is no signing key.
    """
    new = replace(book.standing(strategy_hash), capital_usdt=to_usdt, scaled=book.clock.now())
    return book.append("scale", new, actor=actor, reason=reason, is_permitted=True)


def override(
    book: Book, strategy_hash: str, *, by: str, reason: str, days: int = OVERRIDE_DAYS,
    enable: Enable | None = None, budget_usdt: Decimal = Decimal(0),
) -> Standing:  # fmt: skip
    """Let a strategy act for a while as if it were one stage up, on a person's signed word.

    The stage stays: when the override expires there is nothing to undo. Real money needs an
    ``enable`` as ever, and is at most 500 USDT.

    Raises
    ------
    EvidenceError
        If there is no stage above, the days do not fit, or the enable is missing.
    """
    old = book.standing(strategy_hash)
    to = next_stage(old.stage)
    if not 1 <= days <= MOST_OVERRIDE_DAYS:
        raise EvidenceError(
            f"An override cannot last {days} days.", f"Give 1 to {MOST_OVERRIDE_DAYS} days."
        )
    amount = old.capital_usdt
    if to is Stage.LIVE_TRADING:
        require_enable(old, enable)
        amount = min(capital.OVERRIDE_USDT, free_budget(book, budget_usdt))
    if book.key is None or amount <= 0:
        raise EvidenceError(
            "There is no signing key." if book.key is None else "The budget leaves nothing free.",
            "Open the vault." if book.key is None else "Scale down or retire another strategy.",
        )
    now = book.clock.now()
    word = Override(
        strategy_hash=strategy_hash, stage=to, by=by, reason=reason, since=now,
        until=now + timedelta(days=days), capital_usdt=amount,
    ).sign(book.key)  # fmt: skip
    return book.append(
        "override", old, actor=by, reason=reason, is_permitted=True, override=word.to_dict()
    )


def inherit(book: Book, old_hash: str, new_hash: str, proof: Proof, *, actor: str) -> Standing:
    """Let a new hash go on where an old one stands, since both decide the same.

    The new one takes stage, clock, capital and evidence; the old one is retired in the same entry.

    Raises
    ------
    EvidenceError
        If the streams differ, the snapshot is not that of the evidence, or a hash is not free.
    """
    old = book.standing(old_hash)
    if old.stage is Stage.RETIRED or not old.run_id:
        raise EvidenceError(
            f"{old_hash:.12} is in {old.stage} and has nothing to hand on.",
            "Put the new code before the gate by itself.",
        )
    if proof.old_digest != proof.new_digest:
        raise EvidenceError(
            f"{new_hash:.12} does not decide as {old_hash:.12} does: {proof.new_digest:.12}, not "
            f"{proof.old_digest:.12}.",
            "It is another strategy: put it before the gate.",
        )
    certified = book.store.run(old.run_id).snapshot_id
    if proof.snapshot_id != certified:
        raise EvidenceError(
            f"The decisions were compared on {proof.snapshot_id:.12}, and the evidence is on "
            f"{certified or 'no snapshot':.12}.",
            "Compare them on the data of the verdict's run.",
        )
    known = book.find(new_hash)
    if known is not None and known.stage is not Stage.RESEARCH and not known.successor:
        raise EvidenceError(
            f"{new_hash:.12} stands in {known.stage} by itself.", "Retire the old one instead."
        )
    mine = known or Standing(old.strategy, new_hash, old.stage, old.since)
    new = replace(
        old, strategy=mine.strategy, strategy_hash=new_hash, successor="", serial=mine.serial,
        permit=mine.permit, revoked=mine.revoked, override=mine.override,
    )  # fmt: skip
    words = f"It decides exactly as {old_hash:.12} on {certified:.12} and goes on in its place."
    return book.append(
        "inherit", new, actor=actor, reason=words, is_permitted=True, retires=old_hash,
        proof={"snapshot_id": proof.snapshot_id, "digest": proof.new_digest},
    )  # fmt: skip


def admit(
    book: Book,
    strategy_hash: str,
    *,
    public_keys: Collection[PublicKey],
    venue: Venue,
    is_synthetic_market: bool,
    capital_usdt: Decimal,
    lock_hash: str | None = None,
    document: str | None = None,
) -> Permit:
    """Return the permit by which a strategy may trade now; by default the one on record.

    Raises
    ------
    EvidenceError
        As ``check_permit``, or if there is none.
    """
    standing = book.standing(strategy_hash)
    if standing.permit is None:
        raise EvidenceError(
            f"No permit was ever issued for {standing.strategy}.",
            "`workbench stage show` says what is missing.",
        )
    return check_permit(
        document or standing.permit.document, public_keys=public_keys, revoked=standing.revoked,
        latest_serial=standing.serial, clock=book.clock, strategy_hash=strategy_hash, venue=venue,
        is_synthetic_market=is_synthetic_market, capital_usdt=capital_usdt, lock_hash=lock_hash,
    )  # fmt: skip
