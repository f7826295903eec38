"""The table of moves between stages, and the gate on each of the ways up."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from workbench.core.errors import EvidenceError
from workbench.evidence.stages import Stage

MOVES: Final[Mapping[Stage, frozenset[Stage]]] = MappingProxyType(
    {
        Stage.RESEARCH: frozenset({Stage.PAPER_VALIDATION, Stage.RETIRED}),
        Stage.PAPER_VALIDATION: frozenset(
            {Stage.LIVE_CANDIDATE, Stage.UNDER_REVIEW, Stage.RETIRED}
        ),
        Stage.LIVE_CANDIDATE: frozenset({Stage.LIVE_TRADING, Stage.UNDER_REVIEW, Stage.RETIRED}),
        Stage.LIVE_TRADING: frozenset({Stage.UNDER_REVIEW, Stage.RETIRED}),
        Stage.UNDER_REVIEW: frozenset({Stage.RETIRED}),
        Stage.RETIRED: frozenset(),
    }
)
"""Where each stage may lead; UNDER_REVIEW leads back to the stage before it as well."""

UP: Final[Mapping[Stage, Stage]] = MappingProxyType(
    {
        Stage.RESEARCH: Stage.PAPER_VALIDATION,
        Stage.PAPER_VALIDATION: Stage.LIVE_CANDIDATE,
        Stage.LIVE_CANDIDATE: Stage.LIVE_TRADING,
    }
)
"""The next stage of each that has one."""

GATES: Final[Mapping[Stage, str]] = MappingProxyType(
    {
        Stage.PAPER_VALIDATION: "default",
        Stage.LIVE_CANDIDATE: "paper",
        Stage.LIVE_TRADING: "candidate",
    }
)
"""The gate before each stage."""


def legal_moves(stage: Stage, before: Stage | None = None) -> frozenset[Stage]:
    """Return the stages that one may lead to; ``before`` is the stage before a review."""
    back = {before} if before is not None and stage is Stage.UNDER_REVIEW else set()
    return MOVES[stage] | back


def require_move(stage: Stage, to: Stage, before: Stage | None = None) -> None:
    """Raise unless a stage may lead to another.

    Raises
    ------
    EvidenceError
        With the moves that are legal.
    """
    legal = legal_moves(stage, before)
    if to not in legal:
        ways = ", ".join(each for each in Stage if each in legal) or "nothing, for good"
        raise EvidenceError(
            f"A strategy in {stage} cannot move to {to}.", f"From {stage} it can move to {ways}."
        )


def next_stage(stage: Stage) -> Stage:
    """Return the stage above one.

    Raises
    ------
    EvidenceError
        If there is none, with the moves that are legal.
    """
    if stage not in UP:
        ways = ", ".join(each for each in Stage if each in MOVES[stage]) or "nothing, for good"
        raise EvidenceError(
            f"There is no stage above {stage}.",
            f"From {stage} it can move to {ways}, and from a review back where it was.",
        )
    return UP[stage]
