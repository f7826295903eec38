"""The daily look at every strategy: up, down, back, out, more or less capital, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import pandas as pd

from workbench.core.costs import Costs
from workbench.core.errors import EvidenceError, WorkbenchError
from workbench.evidence.gates import load_gate
from workbench.evidence.judge import judge
from workbench.evidence.stages import Stage
from workbench.lifecycle import moves, rights
from workbench.lifecycle.capital import fit_capital, live_capital, scale_capital
from workbench.lifecycle.grounds import CheckRun, find_verdict
from workbench.lifecycle.prediction import Prediction
from workbench.lifecycle.records import Records, measure_records
from workbench.lifecycle.transitions import GATES, UP

if TYPE_CHECKING:
    from workbench.evidence.verdicts import Verdict
    from workbench.lifecycle.book import Book
    from workbench.lifecycle.standing import Standing

MAINTENANCE: Final = timedelta(days=30)
REVIEW: Final = timedelta(days=14)
CLEAN: Final = timedelta(days=7)
RENEWAL: Final = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a look did to one strategy, and why; ``is_fault`` where it could not be looked at."""

    strategy: str
    strategy_hash: str
    before: Stage
    after: Stage
    words: str
    is_fault: bool = False

    @property
    def is_moved(self) -> bool:
        """Whether the stage is another than before: somebody should be told."""
        return self.before is not self.after


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What a look needs besides the book: the records, the check of runs, the costs, the budget.

    ``records`` are by strategy hash.
    """

    records: Mapping[str, Records]
    check_run: CheckRun
    budget_usdt: Decimal
    costs: Costs
    actor: str = "schedule"


@dataclass(frozen=True, slots=True)
class Report:
    """The stages with their capital, the newest entries, and how much of the budget is used."""

    stages: pd.DataFrame
    entries: pd.DataFrame
    live_usdt: Decimal
    head: str


def evaluate(book: Book, desk: Desk) -> list[Outcome]:
    """Look at every strategy once and write what follows; LIVE_TRADING is left to people.

    The newest comes first, so that of two alike the one that was there stays. What one strategy
    lacks, or a fault in its records, does not keep the others from being looked at: its outcome
    says so.
    """
    _fit_budget(book, desk)
    return [
        _look(book, desk, standing)
        for standing in reversed(book.standings)
        if standing.stage is not Stage.RETIRED
    ]


def judge_records(
    book: Book, desk: Desk, strategy_hash: str, step: str, *, last: timedelta | None = None
) -> Verdict:
    """Hold what was recorded of a strategy against a gate of the set in force.

    ``step`` is ``paper``, ``candidate``, ``triggers``, ``maintenance``, ``review`` or
    ``redemption``; the window is the whole stage, or ``last`` until the newest equity of it.

    Raises
    ------
    EvidenceError
        If nothing is on record.
    """
    standing = book.standing(strategy_hash)
    records = desk.records.get(strategy_hash)
    if records is None:
        raise EvidenceError(
            f"No fills of {standing.strategy} {strategy_hash:.12} are on record.",
            f"They are recorded while it trades in {standing.stage}.",
        )
    grounds = find_verdict(book.store, standing.verdict_id)
    newest = records.equity.index[-1].to_pydatetime()
    begin = standing.since if last is None else max(standing.since, newest - last)
    found = measure_records(
        records,
        start=begin,
        end=book.clock.now(),
        costs=desk.costs,
        prediction=Prediction.from_measures(grounds.verdict.measures) if grounds else None,
        watched_since=standing.before_since or standing.since,
        validation_score=grounds.verdict.share if grounds else None,
        others=_live_returns(book, desk, but=strategy_hash),
    )
    return judge(
        found,
        load_gate(moves.gate_name(book, step)),
        strategy=standing.strategy,
        strategy_hash=strategy_hash,
        is_synthetic=standing.is_synthetic,
    )


def report(book: Book, *, n_entries: int = 10) -> Report:
    """Return the stages, capital and newest entries, for a page or a message."""
    now = book.clock.now()
    stages = [
        {
            "strategy": s.strategy,
            "hash": s.strategy_hash[:12],
            "stage": str(s.stage),
            "since": s.since,
            "capital_usdt": s.capital_usdt,
            "permit_until": s.permit.expires if s.permit and s.has_permit(now) else None,
            "is_overridden": s.active_override(now) is not None,
        }
        for s in book.standings
    ]
    entries = [
        {"at": e.at, "strategy": e.strategy, "what": e.what, "by": e.actor}
        | {"to": e.detail.get("to"), "reason": e.detail["reason"]}
        for e in book.entries[: -n_entries - 1 : -1]
    ]
    live = live_capital(book.standings, now)
    return Report(pd.DataFrame(stages), pd.DataFrame(entries), live, book.head)


def _look(book: Book, desk: Desk, old: Standing) -> Outcome:
    is_fault, is_known = False, True
    try:
        words = _STEPS[old.stage](book, desk, old)
    except WorkbenchError as error:
        # EvidenceError is an answer: the stage stays. Whatever else is wrong is for a person.
        words, is_fault = str(error), not isinstance(error, EvidenceError)
        is_known = old.stage is not Stage.LIVE_TRADING
    if is_known:
        # Paper is never held up; real money goes on only where it could be looked at.
        try:
            words += _renew(book, desk, old.strategy_hash)
        except WorkbenchError as error:
            words += f" The permit is not renewed: {error}"
    after = book.standing(old.strategy_hash).stage
    return Outcome(old.strategy, old.strategy_hash, old.stage, after, words, is_fault)


def _fit_budget(book: Book, desk: Desk) -> None:
    """Scale every live strategy down alike where together they have more than the budget."""
    live = [s for s in book.standings if s.stage is Stage.LIVE_TRADING]
    scalable = sum((s.capital_usdt for s in live), Decimal(0))
    excess = -moves.free_budget(book, desk.budget_usdt)
    if excess <= 0 or scalable <= 0:
        return
    for each in live:
        to = fit_capital(each.capital_usdt, 1 - min(excess / scalable, Decimal(1)))
        words = f"The strategies that are live have {excess} USDT more than the budget."
        rights.scale(book, each.strategy_hash, to, actor=desk.actor, reason=words)


def _research(book: Book, desk: Desk, old: Standing) -> str:
    new = moves.admit_to_paper(book, old.strategy_hash, actor=desk.actor, check_run=desk.check_run)
    return new.reason


def _paper(book: Book, desk: Desk, old: Standing) -> str:
    verdict = judge_records(book, desk, old.strategy_hash, "paper")
    if not verdict.is_passed:
        return f"It stays: {verdict.sentence}"
    return moves.promote(book, old.strategy_hash, verdict, actor=desk.actor).reason


def _candidate(book: Book, desk: Desk, old: Standing) -> str:
    verdict = judge_records(book, desk, old.strategy_hash, GATES[UP[old.stage]])
    if not verdict.is_passed:
        return f"It stays: {verdict.sentence}"
    return "The gate is open: it waits for a person to enable it."


def _live(book: Book, desk: Desk, old: Standing) -> str:
    name, now = old.strategy_hash, book.clock.now()
    alarm = judge_records(book, desk, name, "triggers")
    if not alarm.is_passed:
        moves.demote(book, name, actor=desk.actor, reason=alarm.sentence, verdict=alarm)
        return f"To review: {alarm.sentence}"
    if now - old.since < MAINTENANCE:
        return "No trigger fired."
    kept = judge_records(book, desk, name, "maintenance", last=MAINTENANCE)
    if not kept.is_passed:
        moves.demote(book, name, actor=desk.actor, reason=_why(kept), verdict=kept)
        return f"To review: {_why(kept)}"
    if now - (old.scaled or old.since) < MAINTENANCE:
        return f"It stays: {_why(kept)}"
    is_faultless = kept.share == 1
    free = moves.free_budget(book, desk.budget_usdt)
    to = scale_capital(old.capital_usdt, is_faultless=is_faultless, free_usdt=free)
    if to == old.capital_usdt:
        return "Its capital stays at the most there is."
    rights.scale(book, name, to, actor=desk.actor, reason=_why(kept))
    return f"Capital {old.capital_usdt} to {to} USDT: {_why(kept)}"


def _review(book: Book, desk: Desk, old: Standing) -> str:
    name, now = old.strategy_hash, book.clock.now()
    verdict = judge_records(book, desk, name, "review", last=CLEAN)
    if not verdict.is_passed and now - old.since >= REVIEW:
        verdict = judge_records(book, desk, name, "redemption")
        if not verdict.is_passed:
            moves.retire(book, name, actor=desk.actor, reason=verdict.sentence, verdict=verdict)
            return f"Retired: {verdict.sentence}"
    if not verdict.is_passed:
        return f"Still under review: {verdict.sentence}"
    moves.recover(book, name, actor=desk.actor, reason=verdict.sentence, verdict=verdict)
    return f"Back: {verdict.sentence}"


_STEPS: Final[Mapping[Stage, Callable[[Book, Desk, Standing], str]]] = {
    Stage.RESEARCH: _research,
    Stage.PAPER_VALIDATION: _paper,
    Stage.LIVE_CANDIDATE: _candidate,
    Stage.LIVE_TRADING: _live,
    Stage.UNDER_REVIEW: _review,
}


def _why(vote: Verdict) -> str:
    failed = [f.sentence for f in vote.findings if f.is_required and f.status == "fail"]
    return " ".join([vote.sentence, *failed])


def _renew(book: Book, desk: Desk, strategy_hash: str) -> str:
    now, standing = book.clock.now(), book.standing(strategy_hash)
    permit = standing.permit
    if standing.stage is Stage.RETIRED or standing.active_override(now) or permit is None:
        return ""
    if permit.permit_id in standing.revoked or permit.expires - now > RENEWAL:
        return ""
    rights.renew(book, strategy_hash, actor=desk.actor, check_run=desk.check_run)
    return " The permit is renewed."


def _live_returns(book: Book, desk: Desk, *, but: str) -> dict[str, pd.Series]:
    return {
        s.strategy_hash: desk.records[s.strategy_hash].returns
        for s in book.standings
        if s.stage is Stage.LIVE_TRADING
        and s.strategy_hash != but
        and s.strategy_hash in desk.records
    }
