"""The moves of a strategy between stages: in, up, into review, back, out.

Each writes one entry of the book, with the permit that belongs to it, and returns where the
strategy stands then.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

from workbench.core.errors import EvidenceError
from workbench.evidence.stages import Stage
from workbench.lifecycle import capital
from workbench.lifecycle.grounds import CheckRun, require_pass, require_probe, require_verdict
from workbench.lifecycle.standing import Standing
from workbench.lifecycle.transitions import GATES, next_stage, require_move

if TYPE_CHECKING:
    from workbench.evidence.verdicts import Verdict
    from workbench.lifecycle.book import Book


@dataclass(frozen=True, slots=True)
class Enable:
    """A person lets a strategy trade real money: who, why, and its name once more to be sure."""

    by: str
    reason: str
    confirmed: str


def gate_name(book: Book, step: str) -> str:
    """Return the gate of a step in the set that is in force; research has one for both."""
    return f"classic-{step}" if book.gates == "classic" and step != "default" else step


def enter(
    book: Book, strategy: str, strategy_hash: str, *, actor: str, capital_usdt: Decimal,
    lock_hash: str | None = None,
) -> Standing:  # fmt: skip
    """Bring a strategy into RESEARCH, which permits paper; it needs a clean leak probe only.

    Raises
    ------
    EvidenceError
        If it is in a stage already, its probe found a leak, or none is on record.
    """
    known = book.find(strategy_hash)
    if known is not None:
        raise EvidenceError(
            f"{strategy} {strategy_hash:.12} is in {known.stage} already.",
            "`workbench stage show` says how it got there.",
        )
    require_probe(book.store, strategy, strategy_hash)
    now = book.clock.now()
    new = Standing(
        strategy, strategy_hash, Stage.RESEARCH, now, capital_usdt=capital_usdt, scaled=now,
        lock_hash=lock_hash or "-",
    )  # fmt: skip
    return book.append(
        "enter", new, actor=actor, reason="Its leak probe found nothing.", is_permitted=True
    )


def admit_to_paper(book: Book, strategy_hash: str, *, actor: str, check_run: CheckRun) -> Standing:
    """Move a strategy from RESEARCH to PAPER_VALIDATION, on a sealed verdict.

    Raises
    ------
    EvidenceError
        As ``require_verdict``, or if it is in another stage.
    """
    old = book.standing(strategy_hash)
    require_move(old.stage, Stage.PAPER_VALIDATION, old.before)
    gate = GATES[Stage.PAPER_VALIDATION]
    recorded = require_verdict(
        book.store, old.strategy, strategy_hash, gate=gate, check_run=check_run
    )
    run = book.store.run(str(recorded.run_id))
    new = replace(
        old, is_synthetic=recorded.verdict.is_synthetic, verdict_id=recorded.verdict_id,
        run_id=run.run_id, lock_hash=run.lock_hash or "-",
    )  # fmt: skip
    return _move(
        book, new, Stage.PAPER_VALIDATION, actor=actor, reason=recorded.verdict.sentence,
        **_shown(recorded.verdict),
    )  # fmt: skip


def promote(
    book: Book,
    strategy_hash: str,
    verdict: Verdict,
    *,
    actor: str,
    budget_usdt: Decimal = Decimal(0),
    enable: Enable | None = None,
) -> Standing:
    """Move a strategy that trades on paper one stage up, on what was recorded of it there.

    ``verdict`` holds its recorded fills against the gate (``judge_records``). LIVE_TRADING needs a
    person's ``enable`` besides, and capital that the budget leaves free.

    Raises
    ------
    EvidenceError
        If the gate refuses, the move is not legal, or the enable is missing or does not fit.
    """
    old = book.standing(strategy_hash)
    to = next_stage(old.stage)
    if to is Stage.PAPER_VALIDATION:
        raise EvidenceError(
            f"{old.strategy} is in RESEARCH and has traded nowhere.",
            "It moves up on the sealed verdict of a validation: `workbench gate STRATEGY`.",
        )
    if verdict.strategy_hash != strategy_hash:
        raise EvidenceError(
            f"The verdict is about {verdict.strategy_hash:.12}, not {strategy_hash:.12}.",
            "Judge what was recorded of the strategy itself.",
        )
    require_pass(verdict, gate_name(book, GATES[to]))
    more: dict[str, Any] = _shown(verdict)
    new, reason = old, verdict.sentence
    if to is Stage.LIVE_TRADING:
        require_enable(old, enable)
        if enable is not None:
            new = replace(
                old, enabled_by=enable.by, capital_usdt=_entry(book, verdict, budget_usdt)
            )
            reason, more["enable"] = enable.reason, {"by": enable.by, "reason": enable.reason}
    return _move(book, new, to, actor=actor, reason=reason, **more)


def demote(
    book: Book, strategy_hash: str, *, actor: str, reason: str, verdict: Verdict | None = None
) -> Standing:
    """Put a strategy under review: half the capital, and only to close what it holds.

    Without the signing key it gets no permit at all, and the one it had is taken back.
    """
    old = book.standing(strategy_hash)
    new = replace(
        old, before=old.stage, before_since=old.since,
        capital_usdt=capital.cut_capital(old.capital_usdt),
    )  # fmt: skip
    return _move(
        book, new, Stage.UNDER_REVIEW, actor=actor, reason=reason,
        is_permitted=book.key is not None, **_shown(verdict),
    )  # fmt: skip


def recover(
    book: Book, strategy_hash: str, *, actor: str, reason: str, verdict: Verdict
) -> Standing:
    """Bring a strategy back from review to where it was, with the capital that was left to it.

    Raises
    ------
    EvidenceError
        If it is not under review, or ``verdict`` does not say so.
    """
    old = book.standing(strategy_hash)
    to = old.before or old.stage
    require_move(old.stage, to, old.before)
    if not verdict.is_passed or verdict.strategy_hash != strategy_hash:
        raise EvidenceError(f"The review is not over: {verdict.sentence}", "Wait, or retire it.")
    new = replace(old, before=None, before_since=None)
    return _move(book, new, to, actor=actor, reason=reason, **_shown(verdict))


def retire(
    book: Book, strategy_hash: str, *, actor: str, reason: str, verdict: Verdict | None = None
) -> Standing:
    """End a strategy for good: no capital, and no permit."""
    old = book.standing(strategy_hash)
    new = replace(old, capital_usdt=Decimal(0), before=None, before_since=None)
    return _move(
        book, new, Stage.RETIRED, actor=actor, reason=reason, is_permitted=False, **_shown(verdict)
    )


def require_enable(standing: Standing, enable: Enable | None) -> None:
    """Raise unless a person has let exactly this strategy trade real money.

    Raises
    ------
    EvidenceError
    """
    if enable is None or not (enable.by.strip() and enable.reason.strip()):
        raise EvidenceError(
            f"Real money needs a person who lets {standing.strategy} trade it, by name and with a "
            "reason.",
            "Give --enable NAME and --reason TEXT.",
        )
    if enable.confirmed != standing.strategy:
        raise EvidenceError(
            f"The second confirmation says {enable.confirmed!r}, not {standing.strategy!r}.",
            "Type the name of the strategy to confirm it.",
        )
    if standing.is_synthetic:
        raise EvidenceError(
            f"The evidence of {standing.strategy} is from a synthetic market.",
            "It counts on a synthetic market only: earn a verdict on real data.",
        )


def free_budget(book: Book, budget_usdt: Decimal) -> Decimal:
    """Return what the strategies on real money leave of a budget."""
    return budget_usdt - capital.live_capital(book.standings, book.clock.now())


def _move(
    book: Book, new: Standing, to: Stage, *, actor: str, reason: str, is_permitted: bool = True,
    **more: Any,
) -> Standing:  # fmt: skip
    old = book.standing(new.strategy_hash)
    require_move(old.stage, to, old.before)
    now = book.clock.now()
    new = replace(new, stage=to, since=now, scaled=now)
    more |= {"from": old.stage, "to": to}
    if not is_permitted and old.permit is not None:
        more["revokes"] = [old.permit.permit_id]
    return book.append("move", new, actor=actor, reason=reason, is_permitted=is_permitted, **more)


def _entry(book: Book, verdict: Verdict, budget_usdt: Decimal) -> Decimal:
    score = verdict.measures.get("score")
    if score is None:
        raise EvidenceError(
            "The graduation score is unknown, and with it the capital.",
            "Every part of it must be measured: docs/graduation.md.",
        )
    confidence: Literal["high", "medium", "low"] = verdict.confidence
    amount = min(capital.entry_capital(float(score), confidence), free_budget(book, budget_usdt))
    if amount <= 0:
        raise EvidenceError(
            f"The budget of {budget_usdt} USDT is used up by the strategies that are live.",
            "Raise account.capital_usdt, or scale down or retire one of them.",
        )
    return amount


def _shown(verdict: Verdict | None) -> dict[str, Any]:
    if verdict is None:
        return {}
    named = {"name": verdict.gate, "version": verdict.version, "digest": verdict.gate_digest}
    return {"gate": named, "measures": dict(verdict.measures)}
