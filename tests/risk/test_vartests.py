"""Protects the backtests of risk: right size on models that are right, power on those that lie."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from workbench.core.errors import DataError
from workbench.risk.tails import normal_tail
from workbench.risk.vartests import (
    PLUS,
    Transitions,
    acerbi_szekely,
    christoffersen,
    independence,
    kupiec,
    kupiec_region,
    traffic_light,
)


@given(bars=st.integers(20, 2_000), share=st.floats(0, 1), level=st.floats(0.8, 0.995))
def test_kupiec_equals_the_binomial_likelihood_ratio(bars, share, level):
    hits = round(share * bars)
    ratio, p_value = kupiec(hits, bars, level=level)
    chances = [stats.binom.logpmf(hits, bars, p) for p in (1 - level, hits / bars)]
    assert ratio == pytest.approx(max(2 * (chances[1] - chances[0]), 0), rel=1e-6, abs=1e-6)
    assert p_value == pytest.approx(stats.chi2.sf(ratio, 1), rel=1e-9)


@pytest.mark.parametrize(
    ("level", "bars", "region"),
    [(0.99, 255, (1, 6)), (0.99, 510, (2, 10)), (0.95, 255, (7, 20)), (0.95, 1_000, (38, 64))],
)
def test_kupiec_region_is_the_published_one(level, bars, region):
    """Kupiec (1995), table 6-2 of Jorion: N < 7, 1 < N < 11, 6 < N < 21, 37 < N < 65.

    No hit in 255 bars at 99 per cent has a ratio of 5.13: the table's N < 7 leaves that out.
    """
    assert kupiec_region(bars, level=level) == region


def test_kupiec_region_without_a_passing_count_is_refused():
    with pytest.raises(DataError, match="No count"):
        kupiec_region(1, level=0.5, confidence=1e-9)


def test_christoffersen_sees_clusters_that_kupiec_does_not():
    hits = np.zeros(1_000, dtype=bool)
    hits[:50] = True
    assert kupiec(50, 1_000, level=0.95).p_value == 1.0
    assert independence(Transitions.of(hits)).p_value < 1e-20
    assert christoffersen(hits, level=0.95).p_value < 1e-20


def test_transitions_tell_what_follows_what():
    assert Transitions.of([0, 1, 1, 1, 0, 0, 1]) == Transitions(n00=1, n01=2, n10=1, n11=2)
    assert Transitions(n00=1, n01=2, n10=1, n11=3).after_none == pytest.approx(2 / 3)
    assert Transitions(n00=1, n01=2, n10=1, n11=3).after_hit == pytest.approx(3 / 4)


@pytest.mark.parametrize("hits", [[False] * 100, [True] * 100, [False] * 99 + [True]])
def test_hits_that_say_nothing_of_independence_do_not_reject_it(hits):
    ratio, p_value = independence(Transitions.of(hits))
    assert ratio == pytest.approx(0.0, abs=0.1)
    assert p_value > 0.7
    assert np.isnan(Transitions(10, 0, 0, 0).after_hit)


def test_christoffersen_rejects_at_its_nominal_rate():
    rng = np.random.default_rng(1)
    drawn = [christoffersen(rng.random(2_000) < 0.05, level=0.95).p_value for _ in range(2_000)]
    assert np.mean(np.array(drawn) < 0.05) == pytest.approx(0.05, abs=0.02)


@pytest.mark.parametrize(
    ("hits", "percent", "zone"),
    [
        (0, 8.11, "green"), (1, 28.58, "green"), (2, 54.32, "green"), (3, 75.81, "green"),
        (4, 89.22, "green"), (5, 95.88, "yellow"), (6, 98.63, "yellow"), (7, 99.60, "yellow"),
        (8, 99.89, "yellow"), (9, 99.97, "yellow"), (10, 99.99, "red"), (17, 100.0, "red"),
    ],
)  # fmt: skip
def test_traffic_light_is_the_published_table(hits, percent, zone):
    """Basel Committee (1996), table 2."""
    light = traffic_light(hits, 250)
    assert round(100 * light.at_most, 2) == pytest.approx(percent, abs=0.011)
    assert light.zone == zone
    assert light.plus == PLUS[min(hits, 10)]
    assert light.exactly == pytest.approx(stats.binom.pmf(hits, 250, 0.01))


def test_traffic_light_of_other_samples_goes_by_the_chance():
    assert traffic_light(0, 1_000, level=0.95).zone == "green"
    assert traffic_light(64, 1_000, level=0.95).plus == PLUS[6]
    assert traffic_light(90, 1_000, level=0.95).plus == 1.0


@pytest.mark.parametrize(("hits", "bars"), [(-1, 10), (11, 10), (0, 0)])
def test_counts_that_cannot_be_are_refused(hits, bars):
    with pytest.raises(DataError, match="cannot be"):
        kupiec(hits, bars, level=0.99)
    with pytest.raises(DataError, match="cannot be"):
        traffic_light(hits, bars)


def forecasts(n, sd=1.0, level=0.975):
    tail = normal_tail(0.0, sd, level=level)
    return np.full(n, tail.value_at_risk), np.full(n, tail.expected_shortfall)


def test_acerbi_szekely_is_zero_where_forecasts_are_right():
    x = np.random.default_rng(2).standard_normal(200_000)
    found = acerbi_szekely(x, *forecasts(len(x)), level=0.975)
    assert found.z1 == pytest.approx(0.0, abs=0.01)
    assert found.z2 == pytest.approx(0.0, abs=0.05)
    assert not found.is_low


def test_acerbi_szekely_published_bound_rejects_one_in_twenty():
    """Their table 4: over 250 bars at 97.5 per cent, z2 is below -0.7 in 4.1 to 5 per cent."""
    rng = np.random.default_rng(3)
    low = [
        acerbi_szekely(rng.standard_normal(250), *forecasts(250), level=0.975).is_low
        for _ in range(4_000)
    ]
    assert np.mean(low) == pytest.approx(0.045, abs=0.012)


def test_acerbi_szekely_finds_shortfalls_that_are_too_low():
    x = np.random.default_rng(4).standard_t(3, 1_000) / np.sqrt(3)
    var, es = forecasts(1_000)
    honest = np.quantile(-x, 0.975)
    found = acerbi_szekely(x, np.full(1_000, honest), es, level=0.975)
    assert found.z1 < -0.1
    rng = np.random.default_rng(5)
    scenarios = rng.standard_normal((2_000, 1_000))
    judged = acerbi_szekely(1.5 * x, var, es, level=0.975, scenarios=scenarios)
    assert judged.p_value == pytest.approx(1 / 2_001)
    assert judged.is_low
    fair = acerbi_szekely(rng.standard_normal(1_000), var, es, level=0.975, scenarios=scenarios)
    assert 0.01 < fair.p_value <= 1.0


def test_acerbi_szekely_without_hits_has_no_first_statistic():
    found = acerbi_szekely(np.zeros(10), np.ones(10), np.ones(10), level=0.99)
    assert np.isnan(found.z1)
    assert found.z2 == 1.0


@pytest.mark.parametrize("es", [[1.0], [1.0, np.nan], [1.0, 0.0]])
def test_acerbi_szekely_refuses_forecasts_that_do_not_fit(es):
    with pytest.raises(DataError, match="cannot be tested"):
        acerbi_szekely(np.zeros(2), np.ones(2), np.array(es), level=0.99)
