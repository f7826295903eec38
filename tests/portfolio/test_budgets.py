"""Protects the division among strategies: risk as budgeted, caps kept, and the gaps told."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.core.errors import ConfigError, DataError
from workbench.portfolio.budgets import share_among_strategies


def daily(seed=0, n=5, days=400, common=0.3):
    rng = np.random.default_rng(seed)
    sd = rng.uniform(0.003, 0.04, n)
    shared = rng.standard_normal((days, 1))
    own = rng.standard_normal((days, n))
    index = pd.date_range("2023-01-01", periods=days, tz="UTC")
    values = sd * (np.sqrt(common) * shared + np.sqrt(1 - common) * own)
    return pd.DataFrame(values, index=index, columns=list("abcdefgh")[:n])


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10_000), n=st.integers(1, 8),
    wanted=st.lists(st.floats(0.1, 10), min_size=8, max_size=8),
)  # fmt: skip
def test_each_strategy_takes_its_share_of_the_risk(seed, n, wanted):
    """PM-06: budgets given, no cap: risk contributions equal them."""
    returns = daily(seed, n)
    budgets = dict(zip(returns, wanted, strict=False))
    result = share_among_strategies(returns, budgets=budgets)
    assert result.shares.sum() == pytest.approx(1)
    expected = np.array(list(budgets.values())) / sum(budgets.values())
    assert np.allclose(result.table["budget"], expected)
    assert np.allclose(result.table["risk_share"], expected, atol=1e-6)
    covariance = returns.cov().to_numpy()
    w = result.shares.to_numpy()
    assert np.allclose(w * (covariance @ w) / (w @ covariance @ w), expected, atol=1e-6)


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 10_000), n=st.integers(1, 8), cap=st.floats(0.05, 1),
    n_young=st.integers(0, 3), floor=st.floats(0, 0.05),
    most=st.one_of(st.none(), st.integers(1, 8)),
)  # fmt: skip
def test_caps_floors_and_the_whole_are_kept(seed, n, cap, n_young, floor, most):
    returns = daily(seed, n)
    young = returns.columns[: min(n_young, n)]
    returns.loc[returns.index[:-20], young] = np.nan
    result = share_among_strategies(returns, max_share=cap, floor=floor, max_strategies=most)
    assert (result.shares <= cap + 1e-9).all()
    assert (result.shares >= 0).all()
    assert result.shares.sum() <= 1 + 1e-9
    assert (result.shares > 0).sum() <= (most or n)
    own = result.table.loc[young]
    assert set(own["share"]) <= {floor, 0.0}
    assert (own["note"] != "").all()
    seasoned = result.shares.drop(young)
    if (seasoned[seasoned > 0] < cap - 1e-9).any():
        assert result.unallotted == pytest.approx(0, abs=1e-9)


def test_what_a_cap_cuts_goes_to_the_others_in_their_proportions():
    returns = daily(4, 4)
    free = share_among_strategies(returns).shares
    cap = float(free.max()) - 0.02
    capped = share_among_strategies(returns, max_share=cap)
    rest = capped.shares.drop(free.idxmax())
    ratio = rest / free.drop(free.idxmax())
    assert np.allclose(ratio, ratio.iloc[0])
    assert capped.table.loc[free.idxmax(), "note"] == "cut to max_share"
    assert (capped.table["note"] == "").sum() == 3


def test_a_copy_of_a_strategy_gets_no_second_budget():
    returns = daily(1, 3, common=0.0)
    noise = np.random.default_rng(9).normal(0, 1e-4, len(returns))
    copied = returns.assign(copy=returns["a"] + noise)
    result = share_among_strategies(copied)
    groups = result.table["group"]
    assert groups["a"] == groups["copy"]
    assert groups.nunique() == 3
    by_group = result.table["risk_share"].groupby(groups).sum()
    assert np.allclose(by_group, 1 / 3, atol=1e-6)
    apart = share_among_strategies(copied, max_correlation=1.0)
    assert apart.table["budget"].tolist() == pytest.approx([0.25] * 4)


def test_the_longest_history_comes_first():
    returns = daily(2, 4)
    returns.loc[returns.index[:100], "a"] = np.nan
    result = share_among_strategies(returns, max_strategies=3)
    assert result.shares["a"] == 0
    assert result.table.loc["a", "note"] == "beyond max_strategies"


def test_a_strategy_too_young_to_measure_is_on_its_floor_and_says_so():
    returns = daily(3, 3)
    returns.loc[returns.index[:-30], "c"] = np.nan
    result = share_among_strategies(returns, floor=0.05)
    assert result.shares["c"] == 0.05
    assert result.table.loc["c", "note"] == "fewer than 90 days: on its floor"
    assert np.isnan(result.table.loc["c", "risk_share"])
    assert result.unallotted == pytest.approx(0, abs=1e-12)
    alone = share_among_strategies(returns[["c"]], floor=0.05)
    assert alone.unallotted == pytest.approx(0.95)


@pytest.mark.parametrize(
    ("changes", "options", "error", "words"),
    [
        (lambda r: r, {"floor": 0.6, "max_share": 0.5}, ConfigError, "do not fit"),
        (lambda r: r, {"max_share": 0}, ConfigError, "do not fit"),
        (lambda r: r.iloc[:10], {"floor": 0.4}, ConfigError, "more than the equity"),
        (lambda r: r, {"budgets": {"a": 1}}, ConfigError, "b, c has no budget"),
        (lambda r: r[[]], {}, DataError, "no strategies"),
        (lambda r: r.replace(r.iloc[0, 0], np.inf), {}, DataError, "infinite"),
        (lambda r: r.assign(b=0.0), {}, DataError, "b did not move"),
        (lambda r: r.assign(b=r["a"]), {}, DataError, "no inverse"),
        (
            lambda r: r.assign(a=r["a"].iloc[:200], b=r["b"].iloc[200:]),
            {}, DataError, "a and b share 0",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_divided_is_refused(changes, options, error, words):
    """NaN and constant returns, and two strategies with disjoint history."""
    with pytest.raises(error, match=words):
        share_among_strategies(changes(daily(5, 3)), **options)
