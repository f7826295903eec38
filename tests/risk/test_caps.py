"""Protects the caps: limits hold afterwards, nothing grows or turns, and what fits is untouched."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from workbench.risk.caps import cap_loads, cap_net, cap_risk, overlap

SLACK = 1.0 + 1e-6
BAND = 0.02
values = st.floats(-1e5, 1e5, allow_subnormal=False)


@st.composite
def books(draw):
    """A target, what is held, and who asked: two strategies, three symbols."""
    table = hnp.arrays(np.float64, (2, 3), elements=values)
    held, asked = draw(table), draw(hnp.arrays(np.bool_, (2, 3)))
    return np.where(asked, draw(table), held), held, asked


def never_grew(before, after):
    """Every value is where it was or nearer to zero, on the same side."""
    return (np.abs(after) <= np.abs(before) * SLACK).all() and (after * before >= 0).all()


@given(books(), st.floats(1.0, 3e5), st.sampled_from(["symbols", "pairs", "all"]))
def test_cap_loads_of_any_book_holds_the_limits_and_lets_nothing_grow(book, limit, kind):
    """RK-09, RK-18."""
    target, held, asked = book
    members = {
        "symbols": np.eye(3),
        "pairs": np.array([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]),
        "all": np.ones((1, 3)),
    }[kind]
    limits = np.full(len(members), limit)
    after = cap_loads(target, held, asked, members=members, limits=limits, band=BAND).target
    assert never_grew(target, after)
    assert (members @ np.abs(after).sum(axis=0) <= limits * (1 + BAND) * SLACK).all()
    fits = members @ np.abs(target).sum(axis=0) <= limits
    alone = (members[~fits] > 0).any(axis=0) if (~fits).any() else np.zeros(3, bool)
    np.testing.assert_array_equal(after[:, ~alone], target[:, ~alone])


@given(books(), st.floats(1.0, 3e5))
def test_cap_loads_of_what_is_asked_does_not_depend_on_what_is_held_of_it(book, limit):
    """Asking twice gives the same: the factor comes from the targets and from what stands."""
    target, held, asked = book
    standing = np.abs(np.where(asked, 0.0, held)).sum()
    if standing > limit:
        return
    how = {"members": np.ones((1, 3)), "limits": np.array([limit]), "band": BAND}
    once = cap_loads(target, held, asked, **how).target
    again = cap_loads(np.where(asked, target, once), once, asked, **how).target
    np.testing.assert_allclose(again, once, rtol=1e-9)


@given(books(), st.floats(1.0, 3e5))
def test_cap_net_of_any_book_holds_the_limit_and_leaves_the_other_side(book, limit):
    target, held, asked = book
    after = cap_net(target, held, asked, limit=limit, band=BAND).target
    assert never_grew(target, after)
    assert abs(after.sum()) <= limit * (1 + BAND) * SLACK + 1e-6
    other = target * np.sign(target.sum()) <= 0
    np.testing.assert_array_equal(after[other], target[other])


@given(books(), st.floats(1.0, 1e4), st.integers(0, 2**32 - 1))
def test_cap_risk_of_any_book_holds_the_deviation(book, limit, seed):
    target, held, asked = book
    draws = np.random.default_rng(seed).normal(0, 0.03, (50, 3))
    covariance = np.cov(draws.T)
    after = cap_risk(target, held, asked, covariance=covariance, limit=limit, band=BAND).target
    net = after.sum(axis=0)
    assert never_grew(target, after)
    assert np.sqrt(net @ covariance @ net) <= limit * (1 + BAND) * SLACK + 1e-9


def test_cap_risk_of_a_hedge_that_lowers_the_risk_is_let_through():
    """A long of 100 alone is beyond the limit; the short beside it brings it back."""
    covariance = 0.01 * np.array([[1.0, 0.9], [0.9, 1.0]])
    held = np.array([[100.0, 0.0]])
    target, asked = np.array([[100.0, -80.0]]), np.array([[False, True]])
    capped = cap_risk(target, held, asked, covariance=covariance, limit=6.0, band=BAND)
    assert capped.target is target


def test_cap_loads_beyond_the_limit_by_what_stands_adds_nothing_and_trims_beyond_the_band():
    members, asked = np.ones((1, 2)), np.array([[False, True]])
    held = np.array([[101.0, 10.0]])
    how = {"members": members, "limits": np.array([100.0]), "band": 0.2}
    inside = cap_loads(np.array([[101.0, 50.0]]), held, asked, **how)
    np.testing.assert_allclose(inside.target, [[101.0, 10.0]])
    held = np.array([[130.0, 10.0]])
    beyond = cap_loads(np.array([[130.0, 50.0]]), held, asked, **how)
    np.testing.assert_allclose(beyond.target, np.array([[130.0, 10.0]]) * 100 / 140)
    assert (beyond.load, beyond.limit) == (180.0, 100.0)


@pytest.mark.parametrize(
    ("target", "held", "left"),
    [(5.0, 3.0, 3.0), (2.0, 3.0, 2.0), (-5.0, 3.0, 0.0), (-5.0, -3.0, -3.0), (0.0, 3.0, 0.0)],
)
def test_overlap_is_what_a_reduction_leaves(target, held, left):
    assert overlap(np.array([target]), np.array([held])) == left
