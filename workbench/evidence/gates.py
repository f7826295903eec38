"""Gates as data: which measures are held against which thresholds, under a name and a version."""

from __future__ import annotations

import hashlib
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from workbench.core.errors import ConfigError

PLACE: Final = files("workbench.evidence") / "criteria"

Comparison = Literal["at_least", "at_most", "above"]
SIGNS: Final = {"at_least": "≥", "at_most": "≤", "above": ">"}
WORDS: Final = {"at_least": "at least", "at_most": "at most", "above": "more than"}


class Criterion(BaseModel):
    """One comparison of a gate.

    ``passes``, ``fails`` and ``unknown`` are the sentences that a verdict says, with the names of
    measures in braces.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    measure: str = Field(min_length=1)
    comparison: Comparison
    threshold: float
    is_required: bool
    passes: str = ""
    fails: str = ""
    unknown: str = ""

    def holds(self, value: float) -> bool:
        """Return whether a value is on the right side; only ``above`` leaves the threshold out."""
        if self.comparison == "above":
            return value > self.threshold
        return value >= self.threshold if self.comparison == "at_least" else value <= self.threshold


class Gate(BaseModel):
    """A named, versioned set of criteria; those that are not required are shown and decide nothing.

    By the rule ``all`` every required criterion must hold, and what is unknown does not; by
    ``known`` every required one that is known must; by ``share`` that share of those. ``grants``
    says whether a pass can become a permit.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    version: int = Field(ge=1)
    rule: Literal["all", "known", "share"]
    pass_share: float = Field(default=1.0, gt=0, le=1)
    grants: bool
    criteria: tuple[Criterion, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        names = [criterion.name for criterion in self.criteria]
        if len(set(names)) < len(names):
            raise ValueError("two criteria have the same name")
        if not any(c.is_required for c in self.criteria):
            raise ValueError("no criterion is required, so everything would pass")
        if self.rule != "all" and self.grants:
            raise ValueError("only the rule 'all' can grant a permit")
        return self

    @property
    def digest(self) -> str:
        """The SHA-256 of what the gate says, whatever its file looks like."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


def list_gates() -> list[str]:
    """Return the names of the gates that come with the package."""
    return sorted(entry.name[:-5] for entry in PLACE.iterdir() if entry.name.endswith(".toml"))


def load_gate(name: str = "default") -> Gate:
    """Return a gate by its name, or out of a TOML file of one's own.

    Raises
    ------
    ConfigError
        If there is no such gate, or the file does not describe one.
    """
    place = Path(name) if name.endswith(".toml") else PLACE / f"{name}.toml"
    if not place.is_file():
        raise ConfigError(
            f"There is no gate {name!r}.",
            f"Take one of {', '.join(list_gates())}, or give the path of a .toml file.",
        )
    try:
        return Gate.model_validate(tomllib.loads(place.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{place} is not valid TOML: {error}.", "Correct that line.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the gate"
        raise ConfigError(
            f"{place} does not describe a gate: {where}: {first['msg']}.",
            "Compare it with the gate 'default' of the package.",
        ) from error
