"""Protects the search: seeded, resumable, out of sample, and every evaluation counted once."""

import os
import subprocess
import sys
from pathlib import Path
from typing import ClassVar, Literal, Self

import numpy as np
import optuna
import pandas as pd
import pytest
from pydantic import Field, model_validator

import workbench as wb
from tests.markets import random_market
from workbench.core.errors import DataError, ModelError
from workbench.research.space import POPULATION, read_space
from workbench.research.walk import Walk
from workbench.store import Store
from workbench.strategies import MovingAverageCross, Strategy
from workbench.validation.splits import walk_forward

SPACE = {"a": (0.0, 1.0), "b": (0.0, 1.0), "c": (0, 20), "d": ["x", "y"]}
METHODS = ["tpe", "random", "genetic", "grid"]


class Planted(Strategy):
    """Knows the next bar the better, the nearer its parameters are to where the edge is planted."""

    a: float = Field(default=0.5, ge=0, le=1)
    b: float = Field(default=0.5, ge=0, lt=1)
    c: int = Field(default=3, gt=0, le=20, json_schema_extra={"step": 1})
    d: Literal["x", "y"] = "x"
    note: str = ""

    @model_validator(mode="after")
    def _order(self) -> Self:
        if self.a > 0.9 and self.b > 0.9:
            raise ValueError("a and b are both above 0.9")
        return self

    @property
    def lookback(self):
        return 1

    def weights(self, market):
        far = abs(self.a - 0.3) + abs(self.b - 0.7) + abs(self.c - 5) / 20 + (self.d == "y") * 0.3
        noise = np.random.default_rng(0).normal(0, 1, market.close.shape)
        ahead = np.sign(market.close.shift(-1) - market.close).to_numpy()
        return pd.DataFrame(
            np.clip(np.nan_to_num(ahead) * (1 - far) + 0.5 * noise, -1, 1),
            index=market.index, columns=market.symbols,
        )  # fmt: skip


class Fitted(Strategy):
    """Holds the sign of what the training bars did, scaled: ``fit`` gives another object."""

    size: float = Field(default=0.5, gt=0, le=1)
    flips: bool = False
    side: float | None = None

    spans: ClassVar[list[tuple[pd.Timestamp, pd.Timestamp]]] = []

    @property
    def lookback(self):
        return 3

    def fit(self, market):
        self.spans.append((market.index[0], market.index[-1]))
        side = float(np.sign(market.close.iloc[-1, 0] / market.close.iloc[0, 0] - 1))
        return self.model_copy(update={"side": -side if self.flips else side})

    def weights(self, market):
        return market.close * 0.0 + self.side * self.size


@pytest.fixture
def market(home):
    return random_market(5, n_bars=240, n_symbols=1, interval="D", volatility=0.03)


def ledger():
    with Store.open() as store:
        return store.trials()


def assert_same(one, other):
    pd.testing.assert_frame_equal(one.trials, other.trials)
    pd.testing.assert_frame_equal(one.table, other.table)
    assert np.array_equal(one.returns, other.returns, equal_nan=True)
    assert one.study == other.study


def start_afresh(home, monkeypatch, name):
    monkeypatch.setenv("WORKBENCH_DATA_DIR", str(home / name))


def space_of(method):
    if method != "grid":
        return SPACE
    return {"a": (0.0, 1.0, 0.25), "b": [0.1, 0.95], "c": (1, 11, 5)}


@pytest.mark.parametrize("method", METHODS)
def test_optimise_interrupted_goes_on_as_if_it_never_was(method, market, home, monkeypatch):
    """ML-13: seeded, and the count of trials survives a crash."""
    ask = {"space": space_of(method), "method": method, "n_trials": POPULATION + 5, "seed": 3}
    whole = wb.optimise(Planted(), market, **ask)
    n_whole = len(ledger())
    assert n_whole == len(whole.table)

    def stop(done, total):
        if done == POPULATION + 2:
            raise KeyboardInterrupt

    start_afresh(home, monkeypatch, "other")
    with pytest.raises(KeyboardInterrupt):
        wb.optimise(Planted(), market, **ask, progress=stop)
    assert 0 < len(ledger()) <= POPULATION + 2
    assert_same(wb.optimise(Planted(), market, **ask), whole)
    assert len(ledger()) == n_whole
    assert_same(wb.optimise(Planted(), market, **ask), whole)
    assert len(ledger()) == n_whole


def test_optimise_another_seed_tries_other_values(market):
    one, other = (
        wb.optimise(Planted(), market, SPACE, n_trials=5, seed=seed).table["a"] for seed in (1, 2)
    )
    assert not np.intersect1d(one, other).size


def test_optimise_with_more_trials_goes_on_and_with_fewer_shows_fewer(market):
    few = wb.optimise(Planted(), market, SPACE, n_trials=8)
    more = wb.optimise(Planted(), market, SPACE, n_trials=12)
    assert_same(wb.optimise(Planted(), market, SPACE, n_trials=8), few)
    pd.testing.assert_frame_equal(more.table.iloc[: len(few.table)], few.table)
    assert len(ledger()) == len(more.table)


def test_optimise_whose_study_is_lost_counts_nothing_twice(market, home):
    whole = wb.optimise(Planted(), market, SPACE, n_trials=12)
    (home / "data" / "studies.db").unlink()
    assert_same(wb.optimise(Planted(), market, SPACE, n_trials=12), whole)
    assert len(ledger()) == len(whole.table)


def test_optimise_whose_ledger_is_lost_puts_it_on_record_again(market, home):
    whole = wb.optimise(Planted(), market, SPACE, n_trials=12)
    for path in (home / "data").glob("workbench.db*"):
        path.unlink()
    assert_same(wb.optimise(Planted(), market, SPACE, n_trials=12), whole)
    assert len(ledger()) == len(whole.table)


def test_optimise_in_two_processes_at_once_counts_once(market, home):
    code = (
        "from tests.research.test_search import *\n"
        "market = random_market(5, n_bars=240, n_symbols=1, interval='D', volatility=0.03)\n"
        "found = wb.optimise(Planted(), market, SPACE, n_trials=12)\n"
        "print(len(found.table), found.best_value, len(found.refused))"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=home, text=True,
                         env=_environment(home))
        for _ in range(2)
    ]  # fmt: skip
    said = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert said[0] == said[1] != ""
    assert len(ledger()) == int(said[0].split()[0])
    kept = optuna.load_study(study_name=None, storage=f"sqlite:///{home}/data/studies.db")
    assert len(kept.trials) == 12 + int(said[0].split()[2])
    kept._storage._backend.engine.dispose()


def _environment(home):
    root = str(Path(__file__).resolve().parents[2])
    return {**os.environ, "PYTHONPATH": root, "WORKBENCH_DATA_DIR": str(home / "data")}


def test_tpe_finds_the_planted_optimum_better_than_random_draws(market, home):
    """ML-13, with equal trials: the mean over three seeds of the best value."""
    best = {
        method: [
            wb.optimise(Planted(), market, SPACE, method=method, n_trials=24, seed=s).best_value
            for s in range(3)
        ]
        for method in ("tpe", "random")
    }
    assert np.mean(best["tpe"]) > np.mean(best["random"])
    found = wb.optimise(Planted(), market, SPACE, n_trials=24, seed=0).best_params
    assert abs(found["a"] - 0.3) + abs(found["b"] - 0.7) < 0.3


def test_genetic_search_improves_from_generation_to_generation(market):
    table = wb.optimise(Planted(), market, SPACE, method="genetic", n_trials=50).table
    first, last = table["value"].iloc[:POPULATION], table["value"].iloc[-POPULATION:]
    assert last.mean() > first.mean() + 1


def test_grid_covers_every_combination_once_and_marks_what_is_refused(market):
    found = wb.optimise(Planted(), market, {"a": [0.2, 0.95], "b": [0.7, 0.95]}, method="grid")
    assert {(row.a, row.b): row.state for row in found.trials.itertuples()} == {
        (0.2, 0.7): "complete",
        (0.2, 0.95): "complete",
        (0.95, 0.7): "complete",
        (0.95, 0.95): "refused",
    }
    assert len(found.trials) == 4
    assert found.refused == [{"a": 0.95, "b": 0.95}]
    assert len(found.table) == len(found.strategies) == len(found.returns) == len(ledger()) == 3


def test_grid_agrees_with_the_sweep_and_counts_with_it(market):
    grid = {"a": [0.2, 0.6], "c": [3, 8]}
    swept = wb.sweep(Planted(), market, grid)
    found = wb.optimise(Planted(), market, grid, method="grid")
    place = {(row.a, row.c): line for line, row in enumerate(found.table.itertuples())}
    order = [place[row.a, row.c] for row in swept.table.itertuples()]
    assert np.array_equal(found.returns[order], swept.returns)
    assert found.days.equals(swept.days)
    assert [found.strategies[line] for line in order] == swept.strategies
    assert len(ledger()) == 4


def test_value_is_the_mean_sharpe_ratio_of_the_windows_that_follow_a_purge(market):
    found = wb.optimise(Planted(), market, {"c": [3, 8]}, method="grid", purge_days=4)
    assert found.splits[0].test[0] == found.splits[0].train[-1] + 5
    own = walk_forward(len(found.days), train=60, test=20, purge=4)
    daily = found.returns.astype(float)
    ratios = [
        np.mean([d[s.test].mean() / d[s.test].std(ddof=1) * 365**0.5 for s in own]) for d in daily
    ]
    assert found.table["value"].to_numpy() == pytest.approx(ratios, rel=1e-6)
    assert found.best_value == max(found.table["value"])
    assert found.best.c == found.best_params["c"]


def test_what_happens_outside_the_windows_does_not_count(market):
    """The first training days are never judged on."""
    spoiled = market.close.copy()
    spoiled.iloc[:40] = spoiled.iloc[:40].to_numpy()[::-1]
    frames = {name: getattr(market, name).copy() for name in ("open", "high", "low", "close")}
    frames["close"].iloc[:40] = spoiled.iloc[:40]
    other = wb.core.records.Market.from_frames(frames, interval="D")
    calm = wb.core.records.Market.from_frames(
        {name: getattr(market, name) for name in frames}, interval="D"
    )
    values = [
        wb.optimise(Planted(), each, {"c": [3]}, method="grid", train_days=120).best_value
        for each in (other, calm)
    ]
    assert values[0] == pytest.approx(values[1], rel=1e-9)


def test_search_repeats_nothing_and_says_so(market):
    found = wb.optimise(Planted(), market, {"d": ["x", "y"]}, n_trials=6)
    assert found.trials["state"].tolist().count("repeated") == 4
    assert len(found.table) == len(ledger()) == 2


def test_search_where_hardly_anything_is_valid_ends_with_the_reason(market):
    with pytest.raises(ModelError, match="both above") as caught:
        wb.optimise(Planted(), market, {"a": (0.91, 1.0), "b": (0.91, 0.99)}, n_trials=2)
    assert "space" in caught.value.fix
    with pytest.raises(ModelError, match="None of the 1 combinations"):
        wb.optimise(Planted(), market, {"a": [0.95], "b": [0.95]}, method="grid")
    assert ledger().empty


def test_fitted_strategy_learns_from_training_days_only_and_is_stitched(market):
    Fitted.spans.clear()
    found = wb.optimise(Fitted(), market, {"size": [0.4]}, method="grid", purge_days=2)
    days = pd.DatetimeIndex(market.index) - pd.Timedelta(days=1)
    assert len(Fitted.spans) == len(found.splits) == 8
    for (first, last), split in zip(Fitted.spans, found.splits, strict=True):
        assert first == market.index[split.train[0]]
        assert last == market.index[split.train[-1]]
        assert last + pd.Timedelta(days=2) < market.index[split.test[0]]
    assert found.days[0] == days[found.splits[0].test[0]]
    assert len(found.days) == sum(len(split.test) for split in found.splits)
    assert found.strategies[0].side is None


def test_fitted_returns_are_those_of_a_fresh_account_in_each_window(market):
    """An oracle: hold the fitted weight from the open of the first test day, no costs."""
    free = wb.core.costs.FREE
    found = wb.optimise(Fitted(), market, {"size": [1.0]}, method="grid", costs=free)
    split = found.splits[2]
    open_, close = market.open.to_numpy()[:, 0], market.mark_close.to_numpy()[:, 0]
    side = np.sign(market.close.iloc[split.train[-1], 0] / market.close.iloc[split.train[0], 0] - 1)
    move = close[split.test[0]] / open_[split.test[0]] - 1
    seen = found.returns[0, 2 * len(split.test)]
    assert seen == pytest.approx(side * move, abs=2e-3)


def test_pruned_configurations_count_and_say_how_far_they_came(market):
    space = {"size": (0.1, 1.0, 0.01), "flips": [False, True]}
    found = wb.optimise(Fitted(), market, space, n_trials=24, method="random")
    assert 0 < found.n_pruned < len(found.table)
    assert len(ledger()) == len(found.table)
    pruned = found.table["state"] == "pruned"
    assert (found.table["n_windows"][pruned] < 8).all()
    assert (found.table["n_windows"][~pruned] == 8).all()
    width = len(found.splits[0].test)
    seen = np.isfinite(found.returns).sum(axis=1)
    assert (seen == found.table["n_windows"] * width).all()
    best = found.strategies.index(found.best)
    assert found.table["state"].iloc[best] == "complete"
    again = wb.optimise(Fitted(), market, space, n_trials=24, method="random")
    assert_same(again, found)
    whole = wb.optimise(Fitted(), market, space, n_trials=24, method="random", pruning=False)
    assert whole.n_pruned == 0
    # A longer look at the same configuration is another look.
    assert len(ledger()) == len(found.table) + found.n_pruned


def test_rule_is_never_pruned_since_nothing_would_be_saved(market):
    assert wb.optimise(Planted(), market, SPACE, n_trials=15).n_pruned == 0


def test_ledger_says_which_study_a_trial_belongs_to(market):
    found = wb.optimise(Planted(), market, SPACE, n_trials=3, family="mine")
    rows = ledger()
    assert set(rows["kind"]) == {"sweep"}
    assert set(rows["family"]) == {"mine"}
    assert [row["study"] for row in rows["measures"]] == [found.study] * 3
    assert [row["value"] for row in rows["measures"]] == found.table["value"].tolist()


def test_optimise_leaves_the_library_as_talkative_as_it_was(market, capfd):
    optuna.logging.set_verbosity(optuna.logging.INFO)
    wb.optimise(Planted(), market, SPACE, n_trials=3, method="genetic")
    assert optuna.logging.get_verbosity() == optuna.logging.INFO
    assert capfd.readouterr().err == ""


def test_default_space_is_what_the_fields_allow():
    found = read_space(Planted(), None, method="tpe")
    assert list(found) == ["a", "b", "c", "d"]
    assert (found["a"].low, found["a"].high) == (0, 1)
    assert found["b"].high == 0.999
    assert (found["c"].low, found["c"].high, found["c"].step) == (1, 20, 1)
    assert found["d"].choices == ("x", "y")
    assert list(read_space(MovingAverageCross(), ["fast", "long_only"], method="tpe")) == [
        "fast",
        "long_only",
    ]
    stepped = read_space(MovingAverageCross(), ["band"], method="grid")["band"]
    assert len(stepped.choices) == 201
    assert stepped.choices[-1] == 0.2


class Endless(Strategy):
    size: float = Field(default=0.5, gt=0)

    @property
    def lookback(self):
        return 1

    def weights(self, market):
        return market.close * 0.0


@pytest.mark.parametrize(
    ("strategy", "space", "method", "seen"),
    [
        (Endless(), None, "tpe", "size has no bounds"),
        (Planted(), {"z": (0, 1)}, "tpe", "no parameter z"),
        (Planted(), {"a": (1.0, 0.0)}, "tpe", "nothing to search"),
        (Planted(), {"c": (1.5, 9)}, "tpe", "nothing to search"),
        (Planted(), {"c": (1, 9, 20)}, "tpe", "nothing to search"),
        (Planted(), {"a": (0, 1, 0.5, 2)}, "tpe", "cannot be read"),
        (Planted(), {"d": [["x"]]}, "tpe", "cannot be tried"),
        (Planted(), {"d": []}, "tpe", "cannot be tried"),
        (Planted(), {}, "tpe", "no parameter to search"),
        (Planted(), {"a": (0.0, 1.0)}, "grid", "needs the steps of a"),
        (Planted(), {"a": (0.0, 1.0, 1e-7)}, "grid", "values"),
    ],
)
def test_space_that_cannot_be_searched_is_refused_in_words(strategy, space, method, seen):
    with pytest.raises(ModelError, match=seen):
        read_space(strategy, space, method=method)


def test_optimise_that_cannot_judge_says_so(market):
    with pytest.raises(DataError, match="9 days"):
        wb.optimise(Planted(), market, SPACE, test_days=9)
    with pytest.raises(ModelError, match="0 trials"):
        wb.optimise(Planted(), market, SPACE, n_trials=0)
    many = {"a": (0.0, 1.0, 0.001), "b": (0.0, 0.9, 0.001)}
    with pytest.raises(ModelError, match="combinations"):
        wb.optimise(Planted(), market, many, method="grid")


def test_walk_counts_days_as_the_windows_do(market):
    walk = Walk.over(
        Fitted(), market, wb.core.costs.Costs(), wb.core.records.Account(), train_days=None,
        test_days=None, purge_days=1, is_anchored=True,
    )  # fmt: skip
    assert walk.first_day == walk.splits[0].test[0]
    assert walk.n_days(2) == 40
    assert all(split.train[0] == 0 for split in walk.splits)
