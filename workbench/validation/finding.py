"""A finding: the leak that a probe has seen, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

from workbench.validation.answers import Change

Probe = Literal["truncate", "poison", "fit", "fill_timing", "label_overlap"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One leak.

    Attributes
    ----------
    probe : {"truncate", "poison", "fit", "fill_timing", "label_overlap"}
    answer : str
        What moved: ``weights``, ``brackets.stop_loss``, ``intents.weight``, a feature's name.
    field : str
        The fields of the market that carry the future; ``length`` where only its end does.
    symbol : str
        Column of the answer.
    known_at : Timestamp
        The first bar whose answer moved.
    size : float
        By how much, infinite where it is missing on one side; standard errors for ``fill_timing``,
        observations for ``label_overlap``.
    sentence : str
    """

    probe: Probe
    answer: str
    field: str
    symbol: str
    known_at: pd.Timestamp
    size: float
    sentence: str


def name_change(
    probe: Probe, name: str, change: Change, fields: Sequence[str], moment: pd.Timestamp
) -> Finding:
    """Return what moved when the future after a moment was cut off, or when some fields lied."""
    carrier = ", ".join(fields) or ("length" if probe == "truncate" else "several fields together")
    cause = (
        f"{carrier} after {describe_moment(moment)} {'is' if len(fields) == 1 else 'are'} changed"
    )
    if probe == "truncate":
        cause = f"what comes after {describe_moment(moment)} is not there yet"
    words = (
        f"{name} of {change.column} at {describe_moment(change.known_at)} moves from "
        f"{_number(change.before)} to {_number(change.after)} when {cause}"
    )
    return Finding(probe, name, carrier, change.column, change.known_at, change.size, words)


def in_order(found: Mapping[tuple[Probe, str], Finding]) -> list[Finding]:
    """Return findings, those of poisons first: they name the field, also for the truncation."""
    poisoned = {name: each for (probe, name), each in found.items() if probe == "poison"}
    cut = [
        replace(each, field=poisoned[name].field) if name in poisoned else each
        for (probe, name), each in found.items()
        if probe == "truncate"
    ]
    return [*poisoned.values(), *cut]


def describe_moment(moment: pd.Timestamp) -> str:
    """Return a moment to the minute, as sentences name it."""
    return f"{moment:%Y-%m-%d %H:%M}"


def _number(value: float) -> str:
    return "nothing" if np.isnan(value) else f"{value:.4g}"
