"""The stages of a strategy's life, and where each of them may trade."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple

from workbench.core.errors import EvidenceError


class Stage(StrEnum):
    """How far a strategy has come."""

    RESEARCH = "RESEARCH"
    PAPER_VALIDATION = "PAPER_VALIDATION"
    LIVE_CANDIDATE = "LIVE_CANDIDATE"
    LIVE_TRADING = "LIVE_TRADING"
    UNDER_REVIEW = "UNDER_REVIEW"
    RETIRED = "RETIRED"


class Venue(StrEnum):
    """Where orders go; ``SIMULATOR`` has a recorded or synthetic market, the next the live one."""

    SIMULATOR = "simulator"
    SIMULATOR_LIVE = "simulator_live"
    DEMO = "demo"
    TESTNET = "testnet"
    MAINNET = "mainnet"


PROFILES: Final[Mapping[Venue, str]] = MappingProxyType(
    {
        Venue.SIMULATOR: "paper",
        Venue.SIMULATOR_LIVE: "paper",
        Venue.DEMO: "demo",
        Venue.TESTNET: "testnet",
        Venue.MAINNET: "live",
    }
)
"""The profile under which each venue is traded."""


class Reach(NamedTuple):
    """Where a stage may trade, and whether only to close."""

    venues: frozenset[Venue]
    is_reduce_only: bool = False

    @property
    def profiles(self) -> frozenset[str]:
        """The profiles of the venues."""
        return frozenset(PROFILES[venue] for venue in self.venues)


REACHES: Final[Mapping[Stage, Reach]] = MappingProxyType(
    {
        Stage.RESEARCH: Reach(frozenset({Venue.SIMULATOR, Venue.SIMULATOR_LIVE})),
        Stage.PAPER_VALIDATION: Reach(frozenset({Venue.SIMULATOR_LIVE, Venue.DEMO})),
        Stage.LIVE_CANDIDATE: Reach(frozenset({Venue.DEMO, Venue.TESTNET})),
        Stage.LIVE_TRADING: Reach(frozenset({Venue.MAINNET})),
        Stage.RETIRED: Reach(frozenset()),
    }
)
"""Where each stage may trade; UNDER_REVIEW depends on the stage before (``reach_of``)."""


def reach_of(stage: Stage, before: Stage | None = None) -> Reach:
    """Return where a stage may trade; UNDER_REVIEW is where ``before`` was, to close only.

    Raises
    ------
    EvidenceError
        If UNDER_REVIEW comes without a stage that could trade before it, or another stage with one.
    """
    is_odd = (stage is Stage.UNDER_REVIEW) is (before is None)
    if is_odd or before in (Stage.UNDER_REVIEW, Stage.RETIRED):
        raise EvidenceError(
            f"The stage {stage} cannot follow {before or 'nothing'} in a permit.",
            "UNDER_REVIEW needs the stage that was trading before it; other stages stand alone.",
        )
    if before is not None:
        return Reach(REACHES[before].venues, is_reduce_only=True)
    return REACHES[stage]
