"""What a move up rests on: a verdict on record, found by a sealed run, under today's gate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from workbench.core.errors import EvidenceError
from workbench.evidence.gates import load_gate
from workbench.evidence.verdicts import Recorded, Verdict, read_verdicts

if TYPE_CHECKING:
    from workbench.evidence.seals import Difference
    from workbench.store.session import Store

PROBE: Final = "leak_probe"
"""Kind of the event that ``record_probe`` writes."""

DIGEST: Final = "verdict.digest"
"""The measure by which a sealed run declares the verdict that it found."""

CheckRun = Callable[[str], "Sequence[Difference]"]
"""Says in what a run is no longer what was sealed; jobs have one that reads and one that reruns."""

_AGAIN: Final = "Put the strategy before the gate again: `workbench gate STRATEGY`."


def require_verdict(
    store: Store, strategy: str, strategy_hash: str, *, gate: str, check_run: CheckRun
) -> Recorded:
    """Return the newest verdict of a gate on exactly this strategy, if a permit may rest on it.

    Raises
    ------
    EvidenceError
        If there is none, it was edited, it refuses, the gate's rules have changed since, or it is
        not the one of a run that is still as it was sealed, on a ledger that is intact.
    """
    recorded = _newest(store, strategy, strategy_hash, gate)
    require_pass(recorded.verdict, gate)
    require_sealed(store, recorded, check_run)
    return recorded


def require_pass(verdict: Verdict, gate: str) -> None:
    """Raise unless a verdict is a pass of a gate, by the rules with which it ships now.

    Raises
    ------
    EvidenceError
    """
    rules = load_gate(gate)
    if (verdict.gate, verdict.gate_digest) != (gate, rules.digest):
        raise EvidenceError(
            f"The verdict was found by the gate {verdict.gate}, version {verdict.version} "
            f"({verdict.gate_digest:.12}), and {gate}, version {rules.version} "
            f"({rules.digest:.12}), is the one that counts.",
            _AGAIN,
        )
    if not (verdict.is_passed and verdict.grants):
        raise EvidenceError(
            f"The gate {gate} refuses {verdict.strategy}: {verdict.sentence}",
            "What it asks for is in docs/graduation.md; `workbench stage override` is on record.",
        )


def require_sealed(store: Store, recorded: Recorded, check_run: CheckRun) -> None:
    """Raise unless a verdict is a declared output of a run that is still as it was sealed.

    Raises
    ------
    EvidenceError
    """
    run = store.run(str(recorded.run_id))
    if run.measures.get(DIGEST) != recorded.verdict.digest:
        raise EvidenceError(
            f"The run {run.run_id} does not declare the verdict {recorded.verdict_id} as its own.",
            _AGAIN,
        )
    chain = store.verify_trials()
    if not chain.is_intact:
        raise EvidenceError(
            f"The trial ledger is broken at trial {chain.broken}: {chain.reason}.",
            "No verdict counts before it is restored from a backup.",
        )
    differences = check_run(run.run_id)
    if differences:
        raise EvidenceError(
            f"The run {run.run_id} is not what was sealed: {differences[0]}.", _AGAIN
        )


def find_verdict(store: Store, verdict_id: str) -> Recorded | None:
    """Return a verdict on record by its id, None where there is none."""
    return next((v for v in read_verdicts(store) if v.verdict_id == verdict_id), None)


def record_probe(store: Store, strategy_hash: str, found: Mapping[str, Any], *, actor: str) -> None:
    """Put on record what a leak probe measured: ``leaks`` (how many) and ``leak`` (in words)."""
    store.add_event(PROBE, actor=actor, detail={"strategy_hash": strategy_hash, **found})


def has_probe(store: Store, strategy_hash: str) -> bool:
    """Return whether a leak probe of a strategy is on record."""
    return bool(_probes(store, strategy_hash))


def require_probe(store: Store, strategy: str, strategy_hash: str) -> None:
    """Raise unless the newest leak probe of a strategy found nothing.

    Raises
    ------
    EvidenceError
        If none is on record, or it found a leak.
    """
    probes = _probes(store, strategy_hash)
    if not probes:
        raise EvidenceError(
            f"No leak probe of {strategy} ({strategy_hash:.12}) is on record.",
            "Probe it: `workbench stage promote FILE.py:CLASS`, or `workbench gate STRATEGY`.",
        )
    found = max(probes, key=lambda probe: probe[0])[1]
    if found["leaks"]:
        raise EvidenceError(
            f"{strategy} reads the future: {found.get('leak') or 'the probe found a leak'}.",
            "Mend it; nothing that it shows can be believed before.",
        )


def _probes(store: Store, strategy_hash: str) -> list[tuple[datetime, Mapping[str, Any]]]:
    events = store.events(kind=PROBE)
    found = [
        *((v.at, v.verdict.measures) for v in read_verdicts(store, strategy_hash=strategy_hash)),
        *(
            (at.to_pydatetime(), detail)
            for at, detail in zip(events["at"], events["detail"], strict=True)
            if detail["strategy_hash"] == strategy_hash
        ),
    ]
    # What could not be judged is no probe.
    return [(at, measures) for at, measures in found if measures.get("leaks") is not None]


def _newest(store: Store, strategy: str, strategy_hash: str, gate: str) -> Recorded:
    every = [v for v in read_verdicts(store) if v.verdict.gate == gate]
    mine = [v for v in every if v.verdict.strategy_hash == strategy_hash]
    sealed = [recorded for recorded in mine if recorded.run_id is not None]
    if sealed:
        return sealed[0]
    others = {v.verdict.strategy_hash[:12] for v in every if v.verdict.strategy == strategy}
    if mine:
        why = "the one there is was found outside of a recorded run"
    elif others:
        why = f"there is one for {', '.join(sorted(others))}: code or parameters have changed since"
    else:
        why = "it was never put before that gate"
    raise EvidenceError(
        f"No verdict of the gate {gate} is on record for exactly {strategy} {strategy_hash:.12}: "
        f"{why}.",
        _AGAIN,
    )
