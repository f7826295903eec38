"""Protects CSCV: equal to a plain loop over splits, one half on noise, near zero on a true edge."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata

from tests import refcases
from workbench.core.errors import DataError
from workbench.validation.overfit import cscv

RNG = np.random.default_rng


def loop(returns, n_blocks, metric="sharpe"):
    """The same by a loop over splits, as the paper tells it."""
    blocks = np.split(returns, n_blocks)
    everyone = set(range(n_blocks))

    def score(rows):
        mean = rows.mean(axis=0)
        return mean if metric == "mean" else mean / rows.std(axis=0, ddof=1)

    logits, inside_best, outside_best = [], [], []
    for half in combinations(range(n_blocks), n_blocks // 2):
        inside = score(np.concatenate([blocks[k] for k in half]))
        outside = score(np.concatenate([blocks[k] for k in sorted(everyone - set(half))]))
        best = int(inside.argmax())
        rank = rankdata(outside)[best] / (returns.shape[1] + 1)
        logits.append(np.log(rank / (1 - rank)))
        inside_best.append(inside[best])
        outside_best.append(outside[best])
    return np.array(logits), np.array(inside_best), np.array(outside_best)


def test_published_cases_all_hold(shared_data):
    """VA-02."""
    outcomes = refcases.run_file(shared_data.parent / "refcases" / "pbo_cscv.json")
    assert len(outcomes) >= 2
    assert [outcome for outcome in outcomes if not outcome.is_passed] == []


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(2, 12),
    n_blocks=st.sampled_from([2, 4, 6, 8]),
    metric=st.sampled_from(["sharpe", "mean"]),
    level=st.floats(-0.5, 0.5),
)
def test_cscv_equals_a_plain_loop(seed, n, n_blocks, metric, level):
    returns = RNG(seed).normal(level, 0.01, (n_blocks * 5, n))

    ours = cscv(returns, n_blocks=n_blocks, metric=metric)

    logits, inside, outside = loop(returns, n_blocks, metric)
    np.testing.assert_allclose(ours.logits, logits, rtol=1e-9)
    np.testing.assert_allclose(ours.is_best, inside, rtol=1e-9)
    np.testing.assert_allclose(ours.oos_best, outside, rtol=1e-9, atol=1e-12)


def test_cscv_sixteen_blocks_make_12870_splits():
    assert cscv(RNG(0).normal(size=(320, 4))).n_combinations == 12_870


def test_cscv_on_noise_is_one_half():
    """VA-02: the mean of 200 matrices of 100 configurations."""
    values = [cscv(RNG(seed).normal(0, 0.01, (240, 100)), n_blocks=8).pbo for seed in range(200)]

    assert np.mean(values) == pytest.approx(0.5, abs=0.05)


def test_cscv_with_one_true_edge_is_near_zero():
    returns = RNG(1).normal(0, 0.01, (1_000, 100))
    returns[:, 42] += 0.003

    answer = cscv(returns, n_blocks=10)

    assert answer.pbo < 0.1
    assert answer.p_loss < 0.1
    assert (answer.chosen == 42).mean() > 0.9
    assert answer.dominates in ("first", "second")


def test_cscv_equally_good_configurations_give_one_half_and_no_loss():
    """Why PBO alone vetoes nothing: sixty equals are overfitted by its word, and all earn."""
    answers = [
        cscv(
            RNG(seed).normal(0.004, 0.01, (400, 1)) + RNG(-seed % 999).normal(0, 0.002, (400, 60)),
            n_blocks=8,
        )
        for seed in range(60)
    ]

    assert np.mean([answer.pbo for answer in answers]) == pytest.approx(0.5, abs=0.1)
    assert max(answer.p_loss for answer in answers) == 0.0


def test_cscv_ties_share_their_rank():
    column = RNG(4).normal(size=(40, 1))
    answer = cscv(np.repeat(column, 3, axis=1), n_blocks=4)

    np.testing.assert_allclose(answer.logits, 0.0, atol=1e-12)


def test_cscv_returns_without_spread_have_a_sharpe_ratio_of_zero():
    returns = np.column_stack([np.full(40, 0.01), RNG(5).normal(-0.5, 0.1, 40)])
    answer = cscv(returns, n_blocks=4)

    assert (answer.chosen == 0).all()
    assert (answer.oos_best == 0).all()


def test_cscv_oldest_rows_that_fill_no_block_are_left_out():
    returns = RNG(6).normal(size=(43, 5))

    np.testing.assert_array_equal(
        cscv(returns, n_blocks=4).logits, cscv(returns[3:], n_blocks=4).logits
    )


def test_cscv_distribution_functions_rise_to_one():
    table = cscv(RNG(7).normal(size=(200, 20)), n_blocks=8).dominance

    for name in ("selected", "all"):
        assert (table[name].diff().dropna() >= 0).all()
        assert table[name].iloc[-1] == 1.0


@pytest.mark.parametrize(
    ("shape", "n_blocks"), [((40, 1), 4), ((40, 3), 5), ((40, 3), 18), ((7, 3), 4), ((40,), 4)]
)
def test_cscv_shapes_that_cannot_be_split_are_refused(shape, n_blocks):
    with pytest.raises(DataError):
        cscv(RNG(0).normal(size=shape), n_blocks=n_blocks)


def test_cscv_missing_return_is_named():
    returns = RNG(0).normal(size=(40, 3))
    returns[7, 2] = np.nan
    with pytest.raises(DataError, match="configuration 2 at row 7"):
        cscv(returns, n_blocks=4)
