"""Protects permutations: the same moves in another order, equal chances, never a p-value of 0."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.naive_bayes import GaussianNB

from tests.markets import make_market, random_market
from workbench.backtest import sweep
from workbench.core.errors import DataError
from workbench.core.records import FIELDS, Market
from workbench.strategies import MovingAverageCross
from workbench.validation import permute
from workbench.validation.permute import (
    flip_signs,
    permutation_pvalue,
    permutation_test,
    permute_labels,
    permute_signal,
    signal_test,
)
from workbench.validation.shuffle import permute_bars, permute_ohlc
from workbench.validation.splits import PurgedKFold

BARS = ("open", "high", "low", "close")


def with_gaps(seed, *, n_bars=240):
    """Three symbols that do not open where they closed."""
    market = random_market(seed, n_bars=n_bars, n_symbols=3)
    gaps = np.random.default_rng(seed).normal(0, 0.003, market.open.shape)
    moved = {name: getattr(market, name) * np.exp(gaps) for name in ("open", "mark_open")}
    for top in ("", "mark_"):
        opened = moved[f"{top}open"]
        moved[f"{top}high"] = np.maximum(getattr(market, f"{top}high"), opened)
        moved[f"{top}low"] = np.minimum(getattr(market, f"{top}low"), opened)
    return replace(market, **moved)


def with_holes(seed, *, n_bars=240):
    """One symbol comes late, one goes early, and the third misses some bars."""
    market = with_gaps(seed, n_bars=n_bars)
    absent = np.zeros((n_bars, 3), dtype=bool)
    absent[:60, 1] = absent[200:, 2] = True
    absent[[90, 91, 130, 131, 160, 161], 0] = True
    rng = np.random.default_rng(seed)
    interest = 1e6 * np.exp(rng.normal(0, 0.02, (n_bars, 3)).cumsum(axis=0))
    table = {name: getattr(market, name) for name in FIELDS}
    table["open_interest"] = pd.DataFrame(interest, market.index, market.symbols)
    frames = {name: frame.mask(absent) for name, frame in table.items()}
    return Market.from_frames(frames, interval="60", snapshot_id="holes")


def gaps_and_shapes(market, start):
    """Logarithmic gaps from the last close there was, and bars over their open with their marks."""
    logs = np.log(np.stack([getattr(market, name).to_numpy() for name in BARS]))
    marks = np.log(np.stack([getattr(market, f"mark_{name}").to_numpy() for name in BARS]))
    before = pd.DataFrame(logs[3]).ffill().shift(1).to_numpy()
    shapes = np.concatenate([logs, marks]) - logs[0]
    return (logs[0] - before)[start + 1 :], np.moveaxis(shapes, 0, 1)[start + 1 :]


def in_order(rows):
    """Rows as a sorted multiset, NaN as a number, of float32 so that the last bits are equal."""
    table = np.nan_to_num(rows.reshape(len(rows), -1), nan=9.0).round(9)
    return table[np.lexsort(table.T)]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), start=st.integers(0, 100), has_holes=st.booleans())
def test_permute_bars_only_the_order_changes(seed, start, has_holes):
    """VA-06: the moves, jointly over symbols; first and last close; marks; what is missing."""
    market = with_holes(seed) if has_holes else with_gaps(seed)
    built = permute_bars(market, seed=seed, start=start)

    pairs = [gaps_and_shapes(m, start) for m in (market, built)]
    for before, after in zip(*pairs, strict=True):
        np.testing.assert_allclose(in_order(before), in_order(after), atol=2e-9)
        moved = (np.nan_to_num(before - after).reshape(len(before), -1).round(9) != 0).any(axis=1)
        assert moved.mean() > 0.5
    # A gap and a shape that stood together do not go together.
    bodies = [
        {tuple(row) for row in np.nan_to_num(gaps + shapes[:, 3]).round(9)}
        for gaps, shapes in pairs
    ]
    assert len(bodies[0] & bodies[1]) < 0.3 * len(bodies[0])
    for name in BARS:
        old, new = getattr(market, name), getattr(built, name)
        assert old.iloc[: start + 1].equals(new.iloc[: start + 1])
        assert old.isna().equals(new.isna())
    np.testing.assert_allclose(built.close.ffill().iloc[-1], market.close.ffill().iloc[-1])
    whole = built.close.notna()
    for top in ("", "mark_"):
        o, h, low, c = (getattr(built, f"{top}{name}").where(whole) for name in BARS)
        slack = 1e-9 * c
        assert (h >= np.maximum(o, c) - slack).where(whole, True).all(axis=None)
        assert (low <= np.minimum(o, c) + slack).where(whole, True).all(axis=None)
        assert (low > 0).where(whole, True).all(axis=None)
    assert not built.close.iloc[start:].equals(market.close.iloc[start:])


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), start=st.integers(0, 100))
def test_permute_bars_funding_moves_by_whole_periods(seed, start):
    """Rates stay at the stamps and sum to the same; what was predicted goes with its period."""
    market = random_market(seed, n_bars=240, n_symbols=2)
    predicted = market.funding_settled.bfill()
    built = permute_bars(replace(market, funding_predicted=predicted), seed=seed, start=start)

    assert built.funding_settled.notna().equals(market.funding_settled.notna())
    np.testing.assert_allclose(
        in_order(built.funding_settled.dropna().to_numpy()),
        in_order(market.funding_settled.dropna().to_numpy()),
    )
    # Between stamps the prediction is the rate that settles at the end.
    assert built.funding_predicted.equals(built.funding_settled.bfill())
    assert not built.funding_settled.equals(market.funding_settled)


def test_permute_bars_keeps_the_correlation_of_symbols_within_a_bar():
    rng = np.random.default_rng(0)
    common = rng.normal(0, 0.01, (3_000, 1))
    close = 100 * np.exp((common + rng.normal(0, 0.005, (3_000, 2))).cumsum(axis=0))
    market = make_market(symbols=("AAA", "BBB"), close=close)
    before = np.corrcoef(np.diff(np.log(close), axis=0).T)[0, 1]
    after = np.diff(np.log(permute_bars(market, seed=1).close.to_numpy()), axis=0)

    assert np.corrcoef(after.T)[0, 1] == pytest.approx(before, abs=1e-3)


def test_permute_bars_what_one_bar_tells_of_the_next_is_gone():
    rng = np.random.default_rng(1)
    moves = np.zeros(4_000)
    for k in range(1, 4_000):
        moves[k] = 0.5 * moves[k - 1] + rng.normal(0, 0.01)
    market = make_market(close=100 * np.exp(moves.cumsum()))
    after = np.diff(np.log(permute_bars(market, seed=2).close.to_numpy()[:, 0]))

    assert abs(np.corrcoef(after[1:], after[:-1])[0, 1]) < 4 / np.sqrt(4_000)


def test_permute_bars_open_interest_changes_with_its_bar():
    market = with_holes(3)
    built = permute_bars(market, seed=4)
    bars = [np.log(m.high / m.low).iloc[1:, 0].to_numpy() for m in (market, built)]
    changes = [
        np.log(m.open_interest).ffill().diff().iloc[1:, 0].to_numpy() for m in (market, built)
    ]

    pairs = [
        np.column_stack([bar, change])[~np.isnan(bar)]
        for bar, change in zip(bars, changes, strict=True)
    ]
    after_hole = 3  # their change spans the hole before them
    shared = (in_order(pairs[0])[:, None] == in_order(pairs[1])).all(axis=2).any(axis=1)
    assert shared.sum() >= len(pairs[0]) - 2 * after_hole
    steps = np.abs(np.diff(np.log(built.open_interest.to_numpy()[:, 1])))
    assert np.nanmax(steps) < 0.02 * 5


def test_permute_bars_coarser_markets_are_made_anew_and_finer_ones_dropped():
    fine = random_market(5, n_bars=480, n_symbols=1, interval="15")
    base = random_market(5, n_bars=240, n_symbols=1)
    market = replace(base, others={"15": fine, "240": base.resample("240")})
    built = permute_bars(market, seed=1)

    assert list(built.others) == ["240"]
    assert built.others["240"].close.equals(built.resample("240").close)
    assert built.is_synthetic
    assert not market.is_synthetic


def test_permute_bars_that_could_not_change_places_are_refused():
    market = random_market(6, n_bars=60, n_symbols=8)
    holes = np.random.default_rng(0).random((60, 8)) < 0.5
    ragged = replace(market, **{name: getattr(market, name).mask(holes) for name in BARS})
    negative = replace(market, low=-market.low)

    for broken in (ragged, negative, random_market(0, n_bars=2)):
        with pytest.raises(DataError):
            permute_bars(broken, seed=1)
    with pytest.raises(DataError, match="nothing to permute"):
        permute_bars(market, seed=1, start=58)


def trend(market):
    """What one earns by following the sign of the last move."""
    moves = np.diff(np.log(market.close.to_numpy()[:, 0]))
    return float(np.sign(moves[:-1]) @ moves[1:])


def test_permutation_test_is_uniform_under_the_null():
    """VA-06, by the Kolmogorov-Smirnov test over 500 seeds; ties of ranks broken at random."""
    rng = np.random.default_rng(0)
    pvalues = []
    for seed in range(500):
        moves = rng.standard_t(4, (2, 40)) * 0.01
        close = 100 * np.exp(moves.sum(axis=0).cumsum())
        market = make_market(close=close, open=close / np.exp(moves[1]))
        answer = permutation_test(trend, market, n=19, seed=seed, workers=1)
        pvalues.append(answer.p_value - rng.random() / 20)

    assert stats.kstest(pvalues, "uniform").pvalue > 0.01


def test_permutation_test_finds_what_is_there():
    rng = np.random.default_rng(2)
    moves = np.zeros(600)
    for k in range(1, 600):
        moves[k] = 0.3 * moves[k - 1] + rng.normal(0, 0.01)
    answer = permutation_test(trend, make_market(close=100 * np.exp(moves.cumsum())), n=199)

    assert answer.p_value == 1 / 200
    assert answer.z > 4


def test_permutation_test_reruns_the_whole_sweep():
    """The null is the best of the sweep on each permuted market, whatever the threads."""
    market = random_market(7, n_bars=400, n_symbols=2)
    grid = {"fast": [3, 6], "slow": [12, 24]}
    seen = []

    def best_of(bars):
        return float(sweep(MovingAverageCross(), bars, grid, workers=1).table["sharpe"].max())

    one = permutation_test(best_of, market, n=12, seed=3, workers=1)
    two = permutation_test(
        best_of, market, n=12, seed=3, workers=2, progress=lambda k, n: seen.append((k, n))
    )

    assert one.observed == best_of(market)
    np.testing.assert_array_equal(one.null, two.null)
    assert len(np.unique(one.null)) == 12
    assert seen == [(k + 1, 12) for k in range(12)]
    single = permutation_test(
        lambda bars: float(sweep(MovingAverageCross(fast=3, slow=12), bars, {}).table["sharpe"][0]),
        market, n=12, seed=3,
    )  # fmt: skip
    assert (one.null >= single.null).all()


def test_permutation_test_drops_finer_bars_from_the_observed_market():
    base = random_market(8, n_bars=60, n_symbols=1)
    market = replace(base, others={"15": random_market(8, n_bars=240, interval="15", n_symbols=1)})

    assert permutation_test(lambda m: float(len(m.others)), market, n=9).observed == 0.0


def test_signal_test_is_uniform_under_the_null_and_finds_foresight():
    """VA-06: positions that know nothing, slowly changing, on moves that are exchangeable."""
    rng = np.random.default_rng(1)
    pvalues = []
    for seed in range(500):
        moves = rng.standard_t(4, 60)
        weights = pd.DataFrame(np.sign(rng.normal(size=60).cumsum()))
        answer = signal_test(
            lambda w, moves=moves: float(w[0] @ moves), weights, n=19, seed=seed, workers=1
        )
        ties = (answer.null == answer.observed).sum() + 1
        pvalues.append(answer.p_value - ties * rng.random() / 20)

    assert stats.kstest(pvalues, "uniform").pvalue > 0.01
    seer = pd.DataFrame(np.sign(moves))
    assert signal_test(lambda w: float(w[0] @ moves), seer, n=99, block=4).p_value == 0.01


@settings(max_examples=30, deadline=None)
@given(n=st.integers(3, 50), seed=st.integers(0, 99), data=st.data())
def test_permute_signal_keeps_every_row_and_the_insides_of_blocks(n, seed, data):
    block = data.draw(st.integers(1, n - 1))
    weights = pd.DataFrame({"a": np.arange(n), "b": -np.arange(n)})
    turned = permute_signal(weights, seed=seed, block=block)

    assert sorted(turned["a"]) == list(range(n))
    assert (turned["a"] == -turned["b"]).all()
    followed = (np.diff(turned["a"]) % n == 1).sum()
    assert followed >= n - -(-n // block)
    with pytest.raises(DataError):
        permute_signal(weights, seed=0, block=n)


def test_permute_labels_uses_the_splits_it_is_given():
    """VA-06: label shuffle; noise is not significant and what is known is."""
    rng = np.random.default_rng(0)
    index = pd.date_range("2024-01-01", periods=120, freq="h", tz="UTC")
    features = pd.DataFrame(rng.normal(size=(120, 2)), index=index)
    ends = pd.Series(index + pd.Timedelta("3h"), index=index)
    labels = (features[0] > 0).astype(int)
    options = {"cv": PurgedKFold(ends, n_splits=3), "n": 39, "seed": 1}

    found = permute_labels(GaussianNB(), features, labels, **options)
    noise = permute_labels(GaussianNB(), features[[1]], labels, **options)
    assert found.p_value == 1 / 40
    assert noise.p_value > 0.05
    assert len(noise.null) == 39


def test_flip_signs_every_flip_and_drawn_ones_agree():
    x = np.random.default_rng(3).normal(0.35, 1, 20)
    exact, plain = flip_signs(x), flip_signs(np.append(x, 0.0), flips=40_000, seed=1)

    assert (exact.n, exact.is_exact, plain.is_exact) == (2**20, True, False)
    p = exact.one_sided
    assert plain.one_sided == pytest.approx(p, abs=4 * np.sqrt(p * (1 - p) / 40_000))
    assert exact.two_sided == pytest.approx(2 * p, rel=1e-9)


def test_flip_signs_is_uniform_under_symmetry():
    """VA-06, over 500 seeds, for drawn flips; the exact ones by a table of all three values."""
    rng = np.random.default_rng(4)
    pvalues = [
        flip_signs(rng.standard_t(3, 30), flips=199, seed=seed).one_sided - rng.random() / 200
        for seed in range(500)
    ]

    assert stats.kstest(pvalues, "uniform").pvalue > 0.01
    assert [flip_signs(np.array(x)).one_sided for x in ([1.0, 2, 3], [-1.0, -2, -3])] == [0.125, 1]
    # 0.1 + 0.2 - 0.3 and its opposite are both 0, whatever their last bits say.
    assert flip_signs(np.array([0.1, 0.2, -0.3])).count == 5


@given(st.integers(0, 20), st.integers(1, 30))
def test_permutation_pvalue_is_never_0_and_counts_ties(above, n):
    above = min(above, n)
    null = np.array(above * [2.0] + (n - above) * [0.0])

    assert permutation_pvalue(null, 2.0) == (above + 1) / (n + 1)
    assert permutation_pvalue(null, 3.0) == 1 / (n + 1) > 0


@pytest.mark.parametrize(("null", "observed"), [([], 1.0), ([1.0, np.nan], 1.0), ([1.0], np.nan)])
def test_permutation_pvalue_of_missing_values_is_refused(null, observed):
    with pytest.raises(DataError):
        permutation_pvalue(np.array(null), observed)


def test_permute_ohlc_of_the_identity_is_the_original():
    market = with_holes(9)
    table = np.stack([getattr(market, name).to_numpy() for name in BARS], axis=1)
    same = np.arange(239)

    built = permute_ohlc(table, perm_gap=same, perm_intrabar=same)
    np.testing.assert_allclose(built, table, rtol=1e-12)


def test_max_exact_is_where_enumeration_ends():
    assert flip_signs(np.ones(permute.MAX_EXACT + 1), flips=9).n == 9
