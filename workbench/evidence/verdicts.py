"""Verdicts: what a gate said of a strategy, and on which recorded run it rests."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal, Self

import pandas as pd

from workbench.core.errors import EvidenceError
from workbench.evidence.card import verdict_card
from workbench.evidence.gates import SIGNS, Comparison
from workbench.store.canonical import canonical_json, plain

if TYPE_CHECKING:
    from workbench.store.session import Store

EVENT: Final = "verdict"
ID_LENGTH: Final = 16

Status = Literal["pass", "fail", "unknown"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of one criterion; ``value`` is None where it could not be measured."""

    name: str
    measure: str
    value: float | None
    comparison: Comparison
    threshold: float
    is_required: bool
    status: Status
    sentence: str

    @property
    def bound(self) -> str:
        """The threshold with its sign, as a table shows it."""
        return f"{SIGNS[self.comparison]} {self.threshold:g}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a strategy passes a gate, and why.

    Attributes
    ----------
    strategy, strategy_hash : str
        Whom it is about: this code with these parameters and no other.
    gate, version, gate_digest : str, int, str
        The gate it was held against.
    is_passed : bool
    grants : bool
        Whether the gate's pass can become a permit.
    is_synthetic : bool
        Evidence from a synthetic market counts on a synthetic market only.
    share : float
        Share of the known criteria that hold; with a vote, of those that vote.
    sentence : str
        Why, in plain words.
    findings : tuple of Finding
    measures : mapping of str to float, str or None
        Everything that the gate was shown.
    """

    strategy: str
    strategy_hash: str
    gate: str
    version: int
    gate_digest: str
    is_passed: bool
    grants: bool
    is_synthetic: bool
    share: float
    sentence: str
    findings: tuple[Finding, ...]
    measures: Mapping[str, Any]

    @property
    def word(self) -> str:
        """``PASSED`` or ``REFUSED``."""
        return "PASSED" if self.is_passed else "REFUSED"

    @property
    def confidence(self) -> Literal["high", "medium", "low"]:
        """How many of the known criteria hold: four fifths are high, three fifths medium."""
        return "high" if self.share >= 0.8 else "medium" if self.share >= 0.6 else "low"

    @property
    def table(self) -> pd.DataFrame:
        """A row for each criterion: value, bound, status, and whether it decides."""
        rows = [
            {
                "criterion": finding.name,
                "value": finding.value,
                "bound": finding.bound,
                "status": finding.status,
                "decides": finding.is_required,
                "words": finding.sentence,
            }
            for finding in self.findings
        ]
        return pd.DataFrame(rows).set_index("criterion")

    def _repr_html_(self) -> str:
        return verdict_card(self)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return dict(plain(asdict(self)))

    @property
    def digest(self) -> str:
        """The SHA-256 of everything in it: a sealed run declares it."""
        return hashlib.sha256(canonical_json(asdict(self)).encode()).hexdigest()

    def to_json(self) -> str:
        """Return it as JSON, with sorted keys."""
        return json.dumps(self.to_dict(), sort_keys=True, allow_nan=False)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the verdict that ``to_dict`` gave."""
        findings = tuple(Finding(**finding) for finding in values["findings"])
        return cls(**{**values, "findings": findings})


@dataclass(frozen=True, slots=True)
class Recorded:
    """A verdict on record: its id (the beginning of its digest), when, and the run that found it.

    ``run_id`` is None for a verdict that was found outside of a recorded run: it shows what a gate
    would say, and no permit can rest on it.
    """

    verdict_id: str
    at: datetime
    run_id: str | None
    verdict: Verdict


def record_verdict(store: Store, verdict: Verdict, *, run_id: str | None) -> str:
    """Put a verdict on record and return its id."""
    detail = {"digest": verdict.digest, "run_id": run_id, "verdict": verdict.to_dict()}
    store.add_event(EVENT, actor="research", detail=detail)
    return verdict.digest[:ID_LENGTH]


def read_verdicts(store: Store, *, strategy_hash: str | None = None) -> list[Recorded]:
    """Return the verdicts on record, newest first, of one strategy or of all.

    Raises
    ------
    EvidenceError
        If one of them is not what was recorded.
    """
    events = store.events(kind=EVENT)
    answer = []
    for at, detail in zip(events["at"], events["detail"], strict=True):
        verdict, verdict_id = Verdict.from_dict(detail["verdict"]), detail["digest"][:ID_LENGTH]
        if verdict.digest != detail["digest"]:
            raise EvidenceError(
                f"The verdict {verdict_id} was changed after it was recorded.",
                "Put the strategy before the gate again: `workbench gate`.",
            )
        if strategy_hash in (None, verdict.strategy_hash):
            answer.append(Recorded(verdict_id, at.to_pydatetime(), detail["run_id"], verdict))
    return answer
