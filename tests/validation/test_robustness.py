"""Protects the parameter neighbourhood: what is one step away, counted as by a plain loop."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from tests.markets import random_market
from workbench.backtest.sweep import sweep
from workbench.core.errors import DataError
from workbench.strategies.crossover import MovingAverageCross
from workbench.validation.robustness import neighbourhood


def table_of(grid, score):
    rows = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
    return pd.DataFrame(rows).assign(sharpe=[score(**row) for row in rows])


def by_loop(table, grid, row):
    """The scores of every row at most one step away in each number, and how many cells lack one."""
    order = {name: sorted(values) for name, values in grid.items()}
    place = [
        tuple(order[name].index(value) for name, value in zip(grid, values, strict=True))
        for values in table[list(grid)].itertuples(index=False)
    ]
    near = [
        k for k, other in enumerate(place)
        if k != row and all(abs(a - b) <= 1 for a, b in zip(other, place[row], strict=True))
    ]  # fmt: skip
    cells = np.prod(
        [
            min(p + 1, len(order[name]) - 1) - max(p - 1, 0) + 1
            for name, p in zip(grid, place[row], strict=True)
        ]
    )
    return table["sharpe"].to_numpy()[near], int(cells) - 1 - len(near)


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    seed=st.integers(0, 10_000),
    refused=st.floats(0, 0.6),
)
def test_neighbourhood_equals_a_plain_loop_whatever_was_refused(sizes, seed, refused):
    """VA-13, for any number of parameters."""
    rng = np.random.default_rng(seed)
    grid = {f"p{k}": rng.permutation(10)[:size].tolist() for k, size in enumerate(sizes)}
    table = table_of(grid, lambda **_: rng.normal(0.5, 1))
    table = table[rng.random(len(table)) >= refused].reset_index(drop=True)
    row = int(table["sharpe"].argmax()) if len(table) else 0
    around, missing = by_loop(table, grid, row) if len(table) else ([], 0)
    if not len(around):
        with pytest.raises(DataError):
            neighbourhood(table, grid)
        return

    found = neighbourhood(table, grid)

    peak = table["sharpe"].iloc[row]
    assert found.peak == table[list(grid)].iloc[row].to_dict()
    assert (found.n_neighbours, found.n_missing) == (len(around), missing)
    for k in range(len(table)):
        own, _ = by_loop(table, grid, k)
        assert found.table["neighbours"].iloc[k] == len(own)
        if len(own):
            assert found.table["neighbour_mean"].iloc[k] == pytest.approx(own.mean())
    if peak > 0:
        assert found.kept == np.mean(around >= 0.5 * peak)
        assert found.mean_ratio == pytest.approx(around.mean() / peak)
        assert found.plateau == pytest.approx(np.clip(around / peak, 0, 1).mean())
    else:
        assert np.isnan([found.kept, found.mean_ratio, found.plateau]).all()


GRID = {"fast": [5, 10, 20, 40, 80], "slow": [100, 200, 300, 400, 500], "band": [0.0, 0.01, 0.02]}


def test_flat_surface_keeps_everything():
    found = neighbourhood(table_of(GRID, lambda **_: 1.3), GRID)

    assert (found.kept, found.mean_ratio, found.plateau) == (1.0, 1.0, 1.0)
    assert np.isnan(found.rank_correlation)


def test_lone_spike_keeps_nothing():
    def spike(fast, slow, band):
        return 3.0 if (fast, slow, band) == (20, 300, 0.01) else 0.02

    found = neighbourhood(table_of(GRID, spike), GRID)

    assert found.n_neighbours == 26
    assert found.kept == 0.0
    assert found.plateau < 0.01
    assert found.rank_correlation < 0.1
    assert found.edges == ()
    assert (found.steps[["down", "up"]] == 0.02).all(axis=None)


def test_neighbours_better_than_a_chosen_configuration_do_not_hide_those_that_lose():
    table = pd.DataFrame({"p": [1, 2, 3], "sharpe": [-1.0, 1.0, 9.0]})
    found = neighbourhood(table, {"p": [1, 2, 3]}, chosen={"p": 2, "other": "passed over"})

    assert found.plateau == 0.5
    assert found.kept == 0.5
    assert found.mean_ratio == 4.0


def test_smooth_surface_ranks_neighbours_alike_and_noise_does_not():
    smooth = table_of(GRID, lambda fast, slow, band: -((np.log(fast) - 3) ** 2) - slow / 500)
    rng = np.random.default_rng(0)
    noise = table_of(GRID, lambda **_: rng.normal())

    found = neighbourhood(smooth, GRID)
    assert found.rank_correlation > 0.8
    assert abs(neighbourhood(noise, GRID).rank_correlation) < 0.35
    table = found.table
    oracle = spearmanr(table["score"], table["neighbour_mean"]).statistic
    assert found.rank_correlation == pytest.approx(oracle)


def test_parameters_that_are_no_numbers_stay_and_order_of_the_grid_does_not_count():
    grid = {"p": [3, 1, 2], "long_only": [True, False], "kind": ["a", "b"]}
    table = table_of(
        grid, lambda p, long_only, kind: p + 10 * long_only + 100 * (kind == "b")
    ).sample(frac=1.0, random_state=1)

    found = neighbourhood(table, grid)

    assert found.peak == {"p": 3, "long_only": True, "kind": "b"}
    assert found.n_neighbours == 1
    assert found.edges == ("p",)
    assert found.steps.loc["p"].isna().tolist() == [False, True]
    assert found.steps.loc["p", "down"] == 112


def test_broadest_plateau_can_lie_beside_the_peak():
    scores = dict(enumerate([0.0, 0.0, 5.0, 0.0, 2.9, 3.0, 2.9, 0.0]))
    table = table_of({"p": list(scores)}, lambda p: scores[p])

    found = neighbourhood(table, {"p": list(scores)})

    assert (found.peak, found.broadest) == ({"p": 2}, {"p": 5})


def test_neighbourhood_of_a_real_sweep_counts_what_it_refused():
    market = random_market(3, n_bars=400, n_symbols=1)
    grid = {"fast": [2, 4, 8, 16], "slow": [3, 6, 12, 24]}
    swept = sweep(MovingAverageCross(), market, grid)
    assert len(swept.refused) == 6

    found = neighbourhood(swept.table, swept.grid, chosen={"fast": 4, "slow": 6})

    # Of the eight around, (8, 3), (4, 3) and (8, 6) have a fast average that is not faster.
    assert (found.n_neighbours, found.n_missing) == (5, 3)
    assert type(found.peak["fast"]) is int


@pytest.mark.parametrize(
    ("table", "grid", "options", "words"),
    [
        ({"p": [1], "sharpe": [1.0]}, {"p": [1]}, {}, "no neighbour"),
        ({"p": [1, 2], "sharpe": [1.0, np.nan]}, {"p": [1, 2]}, {}, "not finite"),
        ({"p": [1, 2], "sharpe": [1.0, 2.0]}, {"p": [1, 2]}, {"by": "sortino"}, "no 'sortino'"),
        ({"p": [1, 2], "sharpe": [1.0, 2.0]}, {"q": [1, 2]}, {}, "no column q"),
        ({"p": [1, 3], "sharpe": [1.0, 2.0]}, {"p": [1, 2]}, {}, "not on the grid"),
        ({"p": [1, 1], "sharpe": [1.0, 2.0]}, {"p": [1, 2]}, {}, "twice"),
        ({"p": [1, 2], "sharpe": [1.0, 2.0]}, {"p": [1, 2]}, {"chosen": {"p": 7}}, "0 config"),
        ({"p": [], "sharpe": []}, {"p": [1, 2]}, {}, "0 rows"),
    ],
)
def test_table_that_does_not_fit_is_refused(table, grid, options, words):
    with pytest.raises(DataError, match=words):
        neighbourhood(pd.DataFrame(table), grid, **options)
