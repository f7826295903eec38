"""The judge: evidence held against a gate, criterion by criterion, and said in a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from math import isnan
from typing import Any

from workbench.core.errors import DataError
from workbench.evidence.gates import WORDS, Criterion, Gate
from workbench.evidence.verdicts import Finding, Status, Verdict


def judge(
    measures: Mapping[str, Any],
    gate: Gate,
    *,
    strategy: str,
    strategy_hash: str,
    is_synthetic: bool,
) -> Verdict:
    """Hold measures against a gate.

    Parameters
    ----------
    measures : mapping of str to float, str or None
        What was found, under the names that the gate's criteria use. A measure that is absent, None
        or NaN is unknown; whether that refuses is the gate's rule.
    gate : Gate
    strategy, strategy_hash : str
    is_synthetic : bool
        Whether the market was made, not traded.

    Returns
    -------
    Verdict

    Raises
    ------
    DataError
        If a measure that is compared is not a number, or none of the criteria is known.
    """
    known = {name: _plain(name, value) for name, value in measures.items()}
    findings = tuple(_find(criterion, known) for criterion in gate.criteria)
    decided = [finding for finding in findings if finding.status != "unknown"]
    if not decided:
        raise DataError(
            f"None of the criteria of the gate {gate.name!r} could be measured.",
            "Give at least one of the measures that it names.",
        )
    deciding = [f for f in (findings if gate.rule == "all" else decided) if f.is_required]
    refusals = [finding for finding in deciding if finding.status != "pass"]
    counted = deciding if gate.rule == "share" else decided
    share = sum(finding.status == "pass" for finding in counted) / max(len(counted), 1)
    is_passed = share >= gate.pass_share if gate.rule == "share" else not refusals
    return Verdict(
        strategy=strategy,
        strategy_hash=strategy_hash,
        gate=gate.name,
        version=gate.version,
        gate_digest=gate.digest,
        is_passed=is_passed,
        grants=gate.grants,
        is_synthetic=is_synthetic,
        share=share,
        sentence=_sentence(gate, findings, refusals, is_passed=is_passed, share=share),
        findings=findings,
        measures=known,
    )


def _plain(name: str, value: Any) -> float | str | None:
    if value is None or isinstance(value, str):
        return value
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"The measure {name} is {type(value).__name__}, not a number.",
            "Give plain numbers, words or None.",
        ) from error
    return None if isnan(number) else number


def _find(criterion: Criterion, measures: Mapping[str, float | str | None]) -> Finding:
    value = measures.get(criterion.measure)
    if isinstance(value, str):
        raise DataError(
            f"The measure {criterion.measure} is the word {value!r}.", "Give it as a number."
        )
    if value is None:
        status: Status = "unknown"
        words = criterion.unknown or f"{criterion.name}: it could not be measured."
    elif criterion.holds(value):
        status, words = "pass", criterion.passes
    else:
        status, words = "fail", criterion.fails
    return Finding(
        name=criterion.name,
        measure=criterion.measure,
        value=value,
        comparison=criterion.comparison,
        threshold=criterion.threshold,
        is_required=criterion.is_required,
        status=status,
        sentence=_fill(words, measures) or _default(criterion, value),
    )


def _default(criterion: Criterion, value: float | None) -> str:
    shown = "unknown" if value is None else f"{value:.4g}"
    name = criterion.name[0].upper() + criterion.name[1:]
    return f"{name}: {shown}; {WORDS[criterion.comparison]} {criterion.threshold:g} is asked for."


def _fill(words: str, measures: Mapping[str, float | str | None]) -> str:
    try:
        return words.format_map({k: float("nan") if v is None else v for k, v in measures.items()})
    except (KeyError, ValueError) as error:
        raise DataError(
            f"The sentence {words!r} asks for a measure that is not there: {error}.",
            "Give that measure, or correct the gate's file.",
        ) from error


def _sentence(
    gate: Gate,
    findings: tuple[Finding, ...],
    refusals: list[Finding],
    *,
    is_passed: bool,
    share: float,
) -> str:
    if gate.rule == "share":
        return f"{share:.0%} of the criteria hold; {gate.pass_share:.0%} are asked for."
    if not is_passed:
        return refusals[0].sentence
    luck = next((f for f in findings if f.is_required and f.measure == "max_statistic_p"), None)
    return luck.sentence if luck else "Every required criterion holds."
