"""Protects the breakers: at once open on a breach, never closed during one, always able to close.

RK-20; traps: a breaker that cannot re-arm, and state that is not persisted.
"""

import json
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from workbench.core.errors import ConfigError, DataError, RiskRefused
from workbench.risk.breakers import (
    LATCHED,
    BreakerRules,
    Breakers,
    Kind,
    Phase,
    is_inside_collar,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
CALM = dict.fromkeys(Kind, 0.0)
LIMITS = {
    Kind.DAILY_LOSS: 0.05, Kind.DRAWDOWN: 0.25, Kind.VALUE_AT_RISK: 0.03, Kind.VOLATILITY: 3.0,
    Kind.STALE_DATA: 0.5, Kind.REJECT_RATE: 0.2, Kind.ORDER_RATE: 60.0,
}  # fmt: skip
RULES = BreakerRules(cooldown_s=600, longest_cooldown_s=2_000, probation_s=300)
TIMED = sorted(set(Kind) - LATCHED - {Kind.DAILY_LOSS})


@pytest.fixture
def breakers():
    made = Breakers(LIMITS, RULES)
    made.update(CALM, NOON)
    return made


def after(**duration):
    return NOON + timedelta(**duration)


def phase(breakers, kind):
    return breakers.states[kind].phase


@pytest.mark.parametrize("kind", Kind)
def test_reading_beyond_its_limit_opens_in_the_same_update(breakers, kind):
    """RK-20: the action reaches the engine in less than a cycle."""
    for at_the_limit in (breakers, Breakers(LIMITS)):
        assert at_the_limit.update({**CALM, kind: LIMITS[kind]}, NOON) == []
    assert breakers.scale == 1.0
    (change,) = breakers.update({**CALM, kind: LIMITS[kind] * 1.01}, NOON)
    assert (change.kind, change.before, change.after) == (kind, Phase.CLOSED, Phase.OPEN)
    assert breakers.scale == 0.0
    assert "no entries" in change.words


def test_words_say_what_was_seen_and_when_it_ends(breakers):
    seen = {Kind.DAILY_LOSS: 0.062, Kind.DRAWDOWN: 0.3, Kind.ORDER_RATE: 75.0, Kind.STALE_DATA: 1.0}
    words = {c.kind: c.words for c in breakers.update({**CALM, **seen}, NOON)}
    assert words == {
        Kind.DAILY_LOSS: "a loss of 6.2% today is beyond 5.0%: no entries until 2026-03-02 00:00 "
        "UTC",
        Kind.DRAWDOWN: "30.0% below the peak are beyond 25.0%: no entries until a person re-arms "
        "it",
        Kind.ORDER_RATE: "75 orders a minute are beyond 60: no entries for 0:10:00, then a share "
        "of them on trial",
        Kind.STALE_DATA: "stale data of 1.00 are beyond 0.50: no entries for 0:10:00, then a "
        "share of them on trial",
    }


@pytest.mark.parametrize("readings", [{}, dict.fromkeys(Kind, np.nan)])
def test_reading_that_stays_away_opens_and_one_that_never_came_does_not(readings):
    """Fails closed; before there is a history, nothing can be read and `review` asks by itself."""
    fresh = Breakers(LIMITS, RULES)
    assert fresh.update(readings, NOON) == []
    fresh.update({**CALM, Kind.VOLATILITY: np.nan}, NOON)
    changes = fresh.update(readings, NOON)
    assert {c.kind for c in changes} == set(Kind) - {Kind.VOLATILITY}
    assert "the value at risk is not known any more" in changes[2].words
    assert fresh.update({**CALM, Kind.VOLATILITY: 3.5}, NOON)[0].kind is Kind.VOLATILITY


@pytest.mark.parametrize("kind", TIMED)
def test_timed_breaker_cools_down_then_lets_a_share_in_then_closes(breakers, kind):
    breakers.update({**CALM, kind: 99.0}, NOON)
    assert breakers.update(CALM, after(seconds=599)) == []
    (half,) = breakers.update(CALM, after(seconds=600))
    assert (half.after, breakers.scale) == (Phase.HALF_OPEN, RULES.trial)
    assert breakers.update(CALM, after(seconds=899)) == []
    (closed,) = breakers.update(CALM, after(seconds=900))
    assert (closed.after, breakers.scale) == (Phase.CLOSED, 1.0)


def test_breach_on_trial_doubles_the_cooldown_up_to_the_longest(breakers):
    kind, now, waits = Kind.VOLATILITY, NOON, []
    breakers.update({**CALM, kind: 4.0}, now)
    for _ in range(4):
        waits.append(breakers.states[kind].cooldown_s)
        now += timedelta(seconds=waits[-1])
        assert breakers.update(CALM, now)[0].after is Phase.HALF_OPEN
        assert breakers.update({**CALM, kind: np.nan}, now)[0].after is Phase.OPEN
    assert waits == [600, 1_200, 2_000, 2_000]
    now += timedelta(days=1)
    breakers.update(CALM, now)
    breakers.update(CALM, now + timedelta(seconds=300))
    breakers.update({**CALM, kind: 4.0}, now + timedelta(seconds=301))
    assert breakers.states[kind].cooldown_s == 600


def test_breach_that_lasts_is_no_second_breach(breakers):
    """The cool-down ends with the first sound reading after it, and is not doubled by waiting."""
    for hour in range(5):
        breakers.update({**CALM, Kind.VALUE_AT_RISK: 0.04}, after(hours=hour))
    assert breakers.states[Kind.VALUE_AT_RISK].cooldown_s == 600
    assert breakers.update(CALM, after(hours=5))[0].after is Phase.HALF_OPEN


def test_daily_loss_ends_with_the_utc_day_and_not_by_a_recovery(breakers):
    breakers.update({**CALM, Kind.DAILY_LOSS: 0.06}, NOON)
    assert breakers.update(CALM, after(hours=11, minutes=59)) == []
    tokyo = timezone(timedelta(hours=9))
    assert breakers.update(CALM, after(hours=11, minutes=59).astimezone(tokyo)) == []
    (change,) = breakers.update(CALM, after(hours=12).astimezone(tokyo))
    assert (change.after, breakers.scale) == (Phase.CLOSED, 1.0)


def test_daily_loss_that_is_still_there_on_the_next_day_stays_open(breakers):
    breakers.update({**CALM, Kind.DAILY_LOSS: 0.06}, NOON)
    assert breakers.update({**CALM, Kind.DAILY_LOSS: 0.06}, after(days=1)) == []
    assert breakers.update(CALM, after(days=1, hours=1))[0].after is Phase.CLOSED


def test_drawdown_waits_for_a_person_and_then_closes_again(breakers):
    """Trap: a breaker that cannot re-arm."""
    breakers.update({**CALM, Kind.DRAWDOWN: 0.3}, NOON)
    assert breakers.update(CALM, after(days=400)) == []
    change = breakers.rearm(Kind.DRAWDOWN, by="ada", reason="the desk agreed", now=after(days=401))
    assert (change.by, change.words) == ("ada", "re-armed by ada: the desk agreed")
    assert breakers.scale == RULES.trial
    (closed,) = breakers.update(CALM, after(days=402))
    assert (closed.after, breakers.scale) == (Phase.CLOSED, 1.0)


def test_drawdown_whose_measure_did_not_start_anew_opens_again(breakers):
    breakers.update({**CALM, Kind.DRAWDOWN: 0.3}, NOON)
    breakers.rearm(Kind.DRAWDOWN, by="ada", reason="x", now=NOON)
    assert breakers.update({**CALM, Kind.DRAWDOWN: 0.3}, NOON)[0].after is Phase.OPEN


@pytest.mark.parametrize(
    ("kind", "by", "reason", "said"),
    [
        (Kind.VOLATILITY, "ada", "x", "not re-armed by hand: a volatility of 9.00"),
        (Kind.REJECT_RATE, "ada", "x", "reject rate is not open"),
        (Kind.DRAWDOWN, " ", "x", "Nobody"),
        (Kind.DRAWDOWN, "ada", "", "no reason"),
    ],
)
def test_rearming_is_refused(breakers, kind, by, reason, said):
    breakers.update({**CALM, Kind.VOLATILITY: 9.0, Kind.DRAWDOWN: 0.3}, NOON)
    states = dict(breakers.states)
    with pytest.raises(RiskRefused, match=said):
        breakers.rearm(kind, by=by, reason=reason, now=NOON)
    assert dict(breakers.states) == states


@pytest.mark.parametrize(
    ("now", "said"),
    [(after(microseconds=-1), "lies before"), (datetime(2026, 3, 2), "no zone")],  # noqa: DTZ001
)
def test_time_that_runs_backwards_or_has_no_zone_is_an_error(breakers, now, said):
    with pytest.raises(DataError, match=said):
        breakers.update(CALM, now)


@pytest.mark.parametrize(
    "limits", [{k: v for k, v in LIMITS.items() if k != Kind.DRAWDOWN},
               {**LIMITS, Kind.DRAWDOWN: 0.0}, {**LIMITS, Kind.DRAWDOWN: np.nan}],
)  # fmt: skip
def test_limits_that_would_never_open_are_refused(breakers, limits):
    """Trap: a partial configuration that replaces the defaults."""
    for take in (breakers.set_limits, Breakers):
        with pytest.raises(ConfigError, match="breakers drawdown have no limit"):
            take(limits)
    assert breakers.limits == LIMITS


def test_other_limits_count_from_the_next_update(breakers):
    breakers.set_limits({**LIMITS, Kind.VOLATILITY: 2.0})
    assert breakers.scale == 1.0
    assert breakers.update({**CALM, Kind.VOLATILITY: 2.5}, NOON)[0].kind is Kind.VOLATILITY


@pytest.mark.parametrize(
    "changes",
    [{"trial": 1.1}, {"cooldown_s": 0.0}, {"cooldown_s": 90_000.0}, {"probation_s": -1.0},
     {"trial": np.nan}],
)  # fmt: skip
def test_rules_that_contradict_themselves_are_refused(changes):
    with pytest.raises(ConfigError, match="no rules for breakers"):
        BreakerRules(**changes)


@pytest.mark.parametrize(
    "document",
    [{}, {"now": None}, {"now": None, "breakers": {}}, {"now": "noon", "breakers": {}},
     {"now": None, "breakers": {"daily_loss": {"phase": "ajar"}}}],
)  # fmt: skip
def test_document_that_is_none_is_refused(breakers, document):
    breakers.update({**CALM, Kind.VOLATILITY: 9.0}, NOON)
    with pytest.raises(DataError, match="document"):
        breakers.restore(document)
    assert breakers.scale == 0.0


def test_collar_is_a_fraction_of_the_mark_and_fails_closed():
    price = np.array([102.9, 103.1, 97.0, 96.9, np.nan, 100.0, 100.0])
    mark = np.array([100.0, 100.0, 100.0, 100.0, 100.0, np.nan, 0.0])
    inside = is_inside_collar(price, mark, 0.03)
    assert inside.tolist() == [True, False, True, False, False, False, False]


READINGS = {
    kind: st.one_of(st.floats(0, limit), st.floats(limit * 1.001, limit * 3), st.just(float("nan")))
    for kind, limit in LIMITS.items()
}


class AnyLife(RuleBasedStateMachine):
    """Whatever is read, whenever, and whoever re-arms: what must hold of the breakers."""

    @initialize(rules=st.sampled_from([RULES, BreakerRules(), BreakerRules(trial=0.0)]))
    def begin(self, rules):
        self.rules, self.now = rules, NOON
        self.breakers, self.seen = Breakers(LIMITS, rules), dict.fromkeys(Kind, float("nan"))
        self.known = set()

    def take(self, readings):
        before = self.breakers.scale
        changes = self.breakers.update(readings, self.now)
        self.seen = readings
        self.known |= {kind for kind in Kind if readings[kind] == readings[kind]}
        assert self.breakers.scale == before or changes
        assert all(change.words and change.before is not change.after for change in changes)

    @rule(readings=st.fixed_dictionaries(READINGS), seconds=st.integers(0, 200_000))
    def read(self, readings, seconds):
        self.now += timedelta(seconds=seconds)
        self.take(readings)

    @rule(seconds=st.integers(0, 5_000))
    def calm_down(self, seconds):
        self.now += timedelta(seconds=seconds)
        self.take(CALM)

    @precondition(lambda self: phase(self.breakers, Kind.DRAWDOWN) is Phase.OPEN)
    @rule()
    def rearm(self):
        self.breakers.rearm(Kind.DRAWDOWN, by="ada", reason="agreed", now=self.now)
        self.take({**self.seen, Kind.DRAWDOWN: 0.0})

    @rule()
    def restart(self):
        """A process that starts now stands where the last one did."""
        document = json.loads(json.dumps(self.breakers.document(), allow_nan=False))
        fresh = Breakers(LIMITS, self.rules)
        fresh.restore(document)
        assert dict(fresh.states) == dict(self.breakers.states)
        assert (fresh.scale, fresh.now) == (self.breakers.scale, self.breakers.now)
        assert fresh.document() == document
        self.breakers = fresh

    @rule()
    def every_breaker_closes_again(self):
        """Trap: a breaker that cannot re-arm."""
        self.restart()
        for _ in range(2):
            if phase(self.breakers, Kind.DRAWDOWN) is Phase.OPEN:
                self.breakers.rearm(Kind.DRAWDOWN, by="ada", reason="agreed", now=self.now)
            self.now += timedelta(days=2)
            self.take(CALM)
        assert {phase(self.breakers, kind) for kind in Kind} == {Phase.CLOSED}

    @invariant()
    def breached_is_never_closed(self):
        for kind in self.known:
            if not self.seen[kind] <= LIMITS[kind]:
                assert phase(self.breakers, kind) is Phase.OPEN

    @invariant()
    def scale_is_that_of_the_worst(self):
        phases = {state.phase for state in self.breakers.states.values()}
        worst = Phase.OPEN if Phase.OPEN in phases else max(phases)
        table = {Phase.OPEN: 0.0, Phase.HALF_OPEN: self.rules.trial, Phase.CLOSED: 1.0}
        assert self.breakers.scale == table[worst]


AnyLife.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestAnyLife = AnyLife.TestCase
