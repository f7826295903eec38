"""Breakers: what stops entries at once when a measure passes its limit, and lets them in again.

A breaker is closed (entries pass), open (none do) or half open (a share does, on trial). It opens
in the update that brings the reading, also when a reading that it once had stays away; a reading
that has never been there yet (no forecast before there is a history) holds nothing up, since
``review`` asks for the forecast itself. It leads back in one of three ways:

- daily loss: closed with the first sound reading of the next UTC day;
- drawdown: half open when a person re-arms it, who thereby lets the measure start anew;
- all others: half open with the first sound reading after a cool-down.

Half open turns into closed after a time without a breach, into open at a breach, and then the next
cool-down is twice as long, up to a longest. A rate over no orders is 0 and not missing: an open
breaker sends none, and would never hear of a sound one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from math import isnan, nan
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.core.errors import ConfigError, DataError, RiskRefused


class Kind(StrEnum):
    """What a breaker watches."""

    DAILY_LOSS = "daily_loss"
    DRAWDOWN = "drawdown"
    VALUE_AT_RISK = "value_at_risk"
    VOLATILITY = "volatility"
    STALE_DATA = "stale_data"
    REJECT_RATE = "reject_rate"
    ORDER_RATE = "order_rate"

    @property
    def words(self) -> str:
        """Its name as people write it."""
        return self.value.replace("_", " ")


class Phase(StrEnum):
    """Whether entries pass."""

    CLOSED = "closed"
    HALF_OPEN = "half_open"
    OPEN = "open"

    @property
    def words(self) -> str:
        """Its name as people write it."""
        return self.value.replace("_", " ")


PHRASES: Final[Mapping[Kind, str]] = {
    Kind.DAILY_LOSS: "a loss of {:.1%} today is beyond {:.1%}",
    Kind.DRAWDOWN: "{:.1%} below the peak are beyond {:.1%}",
    Kind.VALUE_AT_RISK: "a value at risk of {:.1%} a day is beyond {:.1%}",
    Kind.VOLATILITY: "a volatility of {:.2f} times the usual is beyond {:.2f}",
    Kind.STALE_DATA: "stale data of {:.2f} are beyond {:.2f}",
    Kind.REJECT_RATE: "{:.0%} of the orders refused are beyond {:.0%}",
    Kind.ORDER_RATE: "{:.0f} orders a minute are beyond {:.0f}",
}
"""What is said of a reading and its limit."""

LATCHED: Final = frozenset({Kind.DRAWDOWN})
"""What only a person lets in again."""


@dataclass(frozen=True, slots=True)
class BreakerRules:
    """How a breaker leads back: the share of an entry on trial, and times in seconds."""

    trial: float = 0.5
    cooldown_s: float = 3_600.0
    longest_cooldown_s: float = 86_400.0
    probation_s: float = 3_600.0

    def __post_init__(self) -> None:
        is_sound = 0 < self.cooldown_s <= self.longest_cooldown_s and self.probation_s >= 0
        if not (is_sound and 0 <= self.trial <= 1):
            raise ConfigError(
                f"{self} are no rules for breakers.",
                "Let 0 < cooldown_s <= longest_cooldown_s, probation_s >= 0 and 0 <= trial <= 1.",
            )


class State(NamedTuple):
    """Where one breaker stands, since when and why, how long it cools down, and if it ever read."""

    phase: Phase = Phase.CLOSED
    since: datetime = datetime.min.replace(tzinfo=UTC)
    words: str = ""
    cooldown_s: float = 0.0
    is_known: bool = False


class Change(NamedTuple):
    """One step of a breaker, for the record."""

    kind: Kind
    at: datetime
    before: Phase
    after: Phase
    words: str
    by: str = "breakers"


class Breakers:
    """The breakers of an account; pure, so that their document is all that must be kept.

    Parameters
    ----------
    limits : mapping of Kind to float
        One for each kind; a reading above it opens the breaker.
    rules : BreakerRules, optional

    Raises
    ------
    ConfigError
        If a kind has no limit, or one that is not positive.
    """

    def __init__(self, limits: Mapping[Kind, float], rules: BreakerRules | None = None) -> None:
        self.rules = rules or BreakerRules()
        self.set_limits(limits)
        self.readings: Mapping[Kind, float] = {}
        self.now: datetime | None = None
        self._put(dict.fromkeys(Kind, State()))

    def set_limits(self, limits: Mapping[Kind, float]) -> None:
        """Take other limits, which count from the next update on."""
        unfit = [kind.value for kind in Kind if not limits.get(kind, 0.0) > 0.0]
        if unfit:
            raise ConfigError(
                f"The breakers {', '.join(unfit)} have no limit above 0.",
                "Give one for each kind: what is left out would never open.",
            )
        self.limits = {kind: float(limits[kind]) for kind in Kind}

    @property
    def states(self) -> Mapping[Kind, State]:
        """Where each of them stands."""
        return self._states

    def update(self, readings: Mapping[Kind, float], now: datetime) -> list[Change]:
        """Take readings (NaN or none where one is missing), and return what they changed.

        Raises
        ------
        DataError
            If ``now`` has no zone or lies before the update before.
        """
        self._move_to(now)
        self.readings = readings
        changes: list[Change] = []
        for kind, limit in self.limits.items():
            reading, state = readings.get(kind, nan), self._states[kind]
            if reading <= limit and state.phase is Phase.CLOSED and state.is_known:
                continue
            new = self._step(kind, state, reading, now)
            if new.phase is not state.phase:
                changes.append(Change(kind, now, state.phase, new.phase, new.words))
            if new is not state:
                self._put({**self._states, kind: new})
        return changes

    def rearm(self, kind: Kind, *, by: str, reason: str, now: datetime) -> Change:
        """Let entries in again, on trial, after a breaker that only a person can re-arm.

        The measure must start anew with it (a drawdown from a new peak), or it opens again.

        Raises
        ------
        RiskRefused
            If the breaker is not open, ends by itself, or nobody or no reason is named.
        """
        state = self._states[kind]
        if state.phase is not Phase.OPEN:
            raise RiskRefused(f"The breaker {kind.words} is not open.", "There is nothing to do.")
        if kind not in LATCHED:
            raise RiskRefused(
                f"The breaker {kind.words} is not re-armed by hand: {state.words}.",
                "Remove the cause; it lets entries in again by itself.",
            )
        if not (by.strip() and reason.strip()):
            raise RiskRefused("Nobody, or no reason, is named.", "Say who re-arms it, and why.")
        self._move_to(now)
        words = f"re-armed by {by}: {reason}"
        armed = state._replace(phase=Phase.HALF_OPEN, since=now, words=words)
        self._put({**self._states, kind: armed})
        return Change(kind, now, Phase.OPEN, Phase.HALF_OPEN, words, by)

    def document(self) -> dict[str, Any]:
        """Return all that must be kept, as plain JSON."""
        return {
            "now": _text(self.now),
            "breakers": {
                kind.value: {**state._asdict(), "since": _text(state.since)}
                for kind, state in self._states.items()
            },
        }

    def restore(self, document: Mapping[str, Any]) -> None:
        """Stand where a document says.

        Raises
        ------
        DataError
            If it is not one that ``document`` made.
        """
        try:
            states = {Kind(name): _read(row) for name, row in document["breakers"].items()}
            now = document["now"] and datetime.fromisoformat(document["now"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(
                f"This is not the document of breakers: {error}.",
                "Restore the store from a backup; until then nothing may enter.",
            ) from error
        if set(states) != set(Kind):
            raise DataError(
                f"The document holds {len(states)} of {len(Kind)} breakers.",
                "Restore the store from a backup; until then nothing may enter.",
            )
        self.now = now
        self._put(states)

    @property
    def scale(self) -> float:
        """What is left of an entry: 0 when one is open, the trial share when one is half open."""
        return self._scale

    def _put(self, states: dict[Kind, State]) -> None:
        self._states = states
        phases = {state.phase for state in states.values()}
        is_trial = Phase.HALF_OPEN in phases
        self._scale = 0.0 if Phase.OPEN in phases else self.rules.trial if is_trial else 1.0

    def _move_to(self, now: datetime) -> None:
        if now.tzinfo is None:
            raise DataError(
                f"The time {now} has no zone.", "Give it one: datetime(..., tzinfo=UTC)."
            )
        if self.now is not None and now < self.now:
            raise DataError(
                f"{now} lies before {self.now}, to which the breakers have come.",
                "Hand moments in the order of time.",
            )
        self.now = now

    def _step(self, kind: Kind, state: State, reading: float, now: datetime) -> State:
        is_sound = reading <= self.limits[kind]
        if state.phase is Phase.CLOSED:
            if is_sound:
                return state._replace(is_known=True)
            if isnan(reading) and not state.is_known:
                return state
            return self._open(kind, reading, now, self.rules.cooldown_s)
        if is_sound:
            return self._lead_back(kind, state, now)
        if state.phase is Phase.OPEN:
            return state
        longer = min(2.0 * state.cooldown_s, self.rules.longest_cooldown_s)
        return self._open(kind, reading, now, longer)

    def _lead_back(self, kind: Kind, state: State, now: datetime) -> State:
        if state.phase is Phase.HALF_OPEN:
            is_over = _waited(state, now) >= self.rules.probation_s
            return self._close(now, "nothing happened on trial") if is_over else state
        if kind in LATCHED:
            return state
        if kind is Kind.DAILY_LOSS:
            return self._close(now, "a new day") if _day(now) > _day(state.since) else state
        if _waited(state, now) < state.cooldown_s:
            return state
        return state._replace(phase=Phase.HALF_OPEN, since=now, words="cooled down, on trial")

    def _close(self, now: datetime, words: str) -> State:
        return State(Phase.CLOSED, now, words, self.rules.cooldown_s, is_known=True)

    def _open(self, kind: Kind, reading: float, now: datetime, cooldown_s: float) -> State:
        if isnan(reading):
            seen = f"the {kind.words} is not known any more"
        else:
            seen = PHRASES[kind].format(reading, self.limits[kind])
        if kind in LATCHED:
            until = "until a person re-arms it"
        elif kind is Kind.DAILY_LOSS:
            until = f"until {_day(now) + timedelta(days=1)} 00:00 UTC"
        else:
            until = f"for {timedelta(seconds=cooldown_s)}, then a share of them on trial"
        return State(Phase.OPEN, now, f"{seen}: no entries {until}", cooldown_s, is_known=True)


def is_inside_collar(
    price: NDArray[np.float64], mark: NDArray[np.float64], collar: float
) -> NDArray[np.bool_]:
    """Return for each order whether its price lies within a fraction of the mark.

    A price or a mark that is missing is outside.
    """
    return np.asarray(np.abs(price - mark) <= collar * mark)


def _day(moment: datetime) -> date:
    return moment.astimezone(UTC).date()


def _waited(state: State, now: datetime) -> float:
    return (now - state.since).total_seconds()


def _read(row: Mapping[str, Any]) -> State:
    since = datetime.fromisoformat(row["since"])
    return State(
        Phase(row["phase"]), since, str(row["words"]), float(row["cooldown_s"]), row["is_known"]
    )


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat()
