"""Protects the leak probes: what lies is only the future, what is found is named, errors are none.

The corpus in ``tests/leakbench`` measures how many leaks are found (BT-01, DF-11, VA-04).
"""

from dataclasses import replace
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import fftconvolve
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from tests.markets import random_market
from workbench.backtest import run
from workbench.core.errors import DataError, ModelError
from workbench.core.records import FIELDS
from workbench.data import synthesise
from workbench.evidence.gates import load_gate
from workbench.evidence.judge import judge
from workbench.strategies import (
    BuyAndHold,
    CointegratedPair,
    CrossSectionalMomentum,
    DonchianBreakout,
    FundingCarry,
    MovingAverageCross,
    Strategy,
    TimeSeriesMomentum,
)
from workbench.validation.futures import (
    EXTREME,
    PLAUSIBLE,
    cut_points,
    fair_coin,
    fields_of,
    poison,
    roughen,
)
from workbench.validation.leaks import Labels, Pipeline, label_overlap, probe_leaks
from workbench.validation.splits import purged_kfold

SYMBOLS = ["BTCUSDT", "ETHUSDT", "SOLUSDT"]
NONE = np.array([], dtype=np.int64)


def make_market(seed=1, bars=240):
    """Hourly bars with holes, finer bars and coarser ones."""
    fine = roughen(synthesise(SYMBOLS, interval="30", n_bars=2 * bars, seed=seed), longest=12)
    market = fine.resample("60")
    return replace(market, others={"30": fine, "240": market.resample("240")})


@pytest.fixture(scope="module")
def market():
    return make_market()


class Rule(Strategy):
    """Weights by a function of the market."""

    needs: ClassVar[tuple[str, ...]] = ("close",)

    @property
    def lookback(self):
        return 2


class Nervous(Rule):
    """Refuses a market whose last bar is missing, or does not close as it expects."""

    refuses_missing: bool = False
    expected: float | None = None
    peeks: bool = False

    def weights(self, market):
        close = market.close
        if self.refuses_missing and close.iloc[-1].isna().all():
            raise ValueError("the last bar is missing")
        if self.expected is not None and close.iloc[-1, 0] != self.expected:
            raise ZeroDivisionError("not the market that was expected")
        return np.sign(close.diff().shift(-1 if self.peeks else 0)) / 3


class Dice(Rule):
    def weights(self, market):
        table = np.random.default_rng().uniform(-1, 1, market.close.shape)
        return pd.DataFrame(table, market.index, market.symbols)


@settings(max_examples=60, deadline=None)
@given(row=st.integers(0, 238), kind=st.sampled_from([*EXTREME, *PLAUSIBLE]), seed=st.integers(0))
def test_poison_leaves_what_is_known_and_lies_after(market, row, kind, seed):
    moment = market.index[row]
    liar = poison(market, moment, kind=kind, seed=seed)
    for name in (*FIELDS, "member"):
        before, after = getattr(market.until(moment), name), getattr(liar.until(moment), name)
        pd.testing.assert_frame_equal(before, after, check_freq=False)
    for name, other in market.others.items():
        known = other.until(moment).close
        pd.testing.assert_frame_equal(known, liar.others[name].until(moment).close)
        assert liar.others[name].index.equals(other.index)
    if row < 230:
        is_kept = (liar.close.to_numpy() == market.close.to_numpy())[row + 1 :]
        assert is_kept.mean() < 0.2
    if kind in PLAUSIBLE:
        assert (liar.low.to_numpy() <= liar.high.to_numpy() + 1e-9)[liar.close.notna()].all()


@pytest.mark.parametrize("kind", [*EXTREME, *PLAUSIBLE])
def test_poison_of_one_field_is_its_part_of_the_poison_of_all(market, kind):
    moment = market.index[100]
    whole = poison(market, moment, kind=kind, seed=3)
    for field in FIELDS:
        part = poison(market, moment, kind=kind, seed=3, fields=[field])
        pd.testing.assert_frame_equal(getattr(part, field), getattr(whole, field))
        others = [name for name in FIELDS if name != field]
        assert all(getattr(part, name) is getattr(market, name) for name in others)


def test_cut_points_are_drawn_where_leaks_show():
    index = pd.date_range("2024-01-29", periods=200, freq="1h", tz="UTC", name="known_at")
    events, holes = np.array([40, 90, 150]), np.array([70, 71])
    cuts = cut_points(index, events=events, holes=holes, cuts=24, seed=1)
    assert list(cuts[:2]) == [198, 40]
    assert len(set(cuts)) == 24
    assert cuts.max() == 198
    month = index.get_loc(pd.Timestamp("2024-02-01", tz="UTC"))
    assert {*events, *holes, month, month - 1} <= set(cuts)
    assert list(cut_points(index, events=NONE, holes=NONE, cuts=500, seed=1)) != []
    assert set(cut_points(index, events=NONE, holes=NONE, cuts=500, seed=1)) == set(range(199))


def test_fair_coin_is_a_martingale_of_the_same_bars(market):
    earned = []
    for seed in range(60):
        tossed = fair_coin(market, seed=seed)
        returns = tossed.close.ffill().pct_change(fill_method=None)
        earned.append(returns.sum().sum())
        sizes = np.log(market.close.ffill()).diff().abs()
        np.testing.assert_allclose(np.log(tossed.close.ffill()).diff().abs(), sizes, atol=1e-9)
        bars = np.stack([tossed.open, tossed.close]), tossed.close.notna().to_numpy()
        assert (tossed.low.to_numpy() <= bars[0].min(axis=0) + 1e-9)[bars[1]].all()
        assert (tossed.high.to_numpy() >= bars[0].max(axis=0) - 1e-9)[bars[1]].all()
        assert set(tossed.others) == {"240"}
    assert abs(np.mean(earned)) < 3.5 * np.std(earned) / np.sqrt(60)


@pytest.mark.parametrize("field", fields_of(make_market()))
def test_probe_leaks_names_the_field_that_carries_the_future(market, field):
    def ahead(market):
        if field == "instruments":
            is_open = [market.instruments[s].status == "Trading" for s in market.symbols]
            return market.close.notna() * np.array(is_open, dtype=float)
        if field.startswith("others"):
            coarse = market.others[field[7:-1]].close
            return coarse.shift(-1).reindex(market.index, method="ffill")
        return getattr(market, field).astype(float).shift(-2)

    report = probe_leaks(ahead, market, cuts=8)
    assert report.findings
    assert {finding.field for finding in report.findings} == {field}
    assert field in report.leak
    assert not report.is_clean


def test_probe_leaks_names_symbol_first_bar_and_size(market):
    def peek(market):
        late = market.turnover.copy()
        late["BTCUSDT"] = late["BTCUSDT"].shift(-1)
        return {"close": market.close, "flow": late}

    report = probe_leaks(peek, market, cuts=6)
    first = report.findings[0]
    assert (first.probe, first.answer, first.symbol) == ("poison", "flow", "BTCUSDT")
    assert first.known_at == market.index[-2]
    was = market.turnover["BTCUSDT"].iloc[-1]
    assert first.size in (pytest.approx(19 * was), pytest.approx(was * 0.95))
    assert first.sentence.startswith("flow of BTCUSDT at 2023-01-10 23:00 moves from ")
    assert [finding.probe for finding in report.findings] == ["poison", "truncate"]
    assert list(report.table["answer"]) == ["flow", "flow"]


def test_probe_leaks_tells_a_length_from_a_value(market):
    def days_left(market):
        return pd.DataFrame({"left": np.arange(market.n_bars)[::-1]}, market.index)

    report = probe_leaks(days_left, market, cuts=6)
    assert [(f.probe, f.field) for f in report.findings] == [("truncate", "length")]


def test_probe_leaks_finds_what_is_tiny_and_lets_rounding_pass(market):
    def filtered(market):
        # By FFT each value carries a trace of all others, down where the numbers end.
        close = market.close.iloc[:, 0].ffill()
        kernel = np.exp(-np.arange(24) / 6)
        return pd.Series(fftconvolve(close, kernel)[: len(close)], close.index).to_frame("smooth")

    def tiny(market):
        returns = market.close.pct_change(fill_method=None)
        return 1e-9 * (returns + 1e-3 * returns.shift(-1).fillna(0.0))

    assert probe_leaks(filtered, market, cuts=12).is_clean
    assert probe_leaks(tiny, market, cuts=12).findings


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(
    "strategy",
    [
        BuyAndHold(),
        MovingAverageCross(fast=3, slow=12),
        TimeSeriesMomentum(horizon=10, volatility_bars=4, rebalance_every=3),
        DonchianBreakout(entry=10, exit_=5, hold=15, atr_bars=4),
        CrossSectionalMomentum(formation=10, skip=1, quantile=0.4, rebalance_every=4),
        FundingCarry(window=16, rebalance_every=4),
        CointegratedPair(first="BTCUSDT", second="ETHUSDT", max_p_value=1.0),
    ],
    ids=lambda each: type(each).__name__,
)
def test_probe_leaks_calls_the_library_clean(strategy, seed):
    report = probe_leaks(strategy, make_market(seed), cuts=12, seed=seed)
    assert report.is_clean, (report.findings, report.notes)
    assert report.leak == ""
    assert report.n_probes >= 36
    assert report.measures == {"leaks": 0.0, "probes": float(report.n_probes), "leak": ""}


def test_probe_leaks_says_that_a_subject_is_random(market):
    report = probe_leaks(Dice(), market)
    assert report.findings == ()
    assert not report.is_judged
    assert not report.is_clean
    assert np.isnan(report.measures["leaks"])
    assert "seed what is random" in report.notes[0]


def test_probe_leaks_takes_an_error_for_neither_leak_nor_cleanness(market):
    some = probe_leaks(Nervous(refuses_missing=True), market)
    assert some.is_clean
    assert "ValueError: the last bar is missing" in some.notes[0]
    leaky = probe_leaks(Nervous(refuses_missing=True, peeks=True), market)
    assert leaky.leak.startswith("weights of")
    every = probe_leaks(Nervous(expected=market.close.iloc[-1, 0], peeks=True), market)
    assert every.findings == ()
    assert not every.is_judged
    assert np.isnan(every.measures["leaks"])


def test_gate_refuses_a_leak_in_its_own_words_and_the_unjudged_as_unknown(market):
    for strategy, status in ((Nervous(peeks=True), "fail"), (Dice(), "unknown")):
        report = probe_leaks(strategy, market)
        verdict = judge(
            {**report.measures, "costs_on": 1, "missing_costs": "", "sealed_missing": ""},
            load_gate(), strategy="x", strategy_hash="y", is_synthetic=True,
        )  # fmt: skip
        found = next(finding for finding in verdict.findings if finding.measure == "leaks")
        assert found.status == status
        assert report.leak in found.sentence
        assert not verdict.is_passed


def test_probe_leaks_leaves_the_market_as_it_was(market):
    def careless(market):
        market.close["TOTAL"] = market.close.sum(axis=1)
        market.open.iloc[:] = 0.0
        return market.close

    kept = market.close.copy()
    assert probe_leaks(careless, market, cuts=4).is_clean
    pd.testing.assert_frame_equal(market.close, kept)


def test_probe_leaks_refuses_what_it_cannot_ask(market):
    with pytest.raises(DataError, match="no market"):
        probe_leaks(Dice())
    with pytest.raises(DataError, match="cannot probe a lookback of 2689"):
        probe_leaks(TimeSeriesMomentum(), market)
    with pytest.raises(ModelError, match="cannot answer on the market as it is: KeyError"):
        probe_leaks(lambda market: market.others["720"].close, market)
    with pytest.raises(ModelError, match="is float, nothing that can be probed"):
        probe_leaks(lambda market: 1.0, market, name="one")
    with pytest.raises(ModelError, match="not indexed by one moment each"):
        probe_leaks(lambda market: market.close.reset_index(drop=True), market)
    with pytest.raises(ModelError, match="not fitted"):
        probe_leaks(lambda market: CointegratedPair().features(market), market)


def test_probe_leaks_of_words_and_categories(market):
    def side(market, bars):
        word = np.where(market.close.iloc[:, 0].shift(bars) > market.close.iloc[:, 0], "up", "down")
        return pd.DataFrame({"side": word, "n": np.arange(len(word))}, market.index)

    assert probe_leaks(lambda market: side(market, 1), market, cuts=8).is_clean
    found = probe_leaks(lambda market: side(market, -1), market, cuts=8)
    assert {finding.symbol for finding in found.findings} == {"side"}


def _pipeline(model, seed=0, n=400):
    rng = np.random.default_rng(seed)
    index = pd.date_range("2024-01-01", periods=n, freq="1h", tz="UTC")
    features = pd.DataFrame(rng.normal(0, 1, (n, 3)).cumsum(axis=0), index, ["a", "b", "c"])
    labels = features["a"].diff(-2).rename("label")
    return Pipeline(model, features, labels, pd.Series(index + pd.Timedelta("2h"), index))


def test_probe_leaks_of_features_and_labels_at_hand():
    """DF-11: a pipeline's transform may not learn from what it is asked about."""
    by_batch = FunctionTransformer(lambda x: (x - x.mean()) / x.std())
    leaky = probe_leaks(_pipeline(make_pipeline(by_batch, LinearRegression())))
    assert {finding.field for finding in leaky.findings} == {"features"}
    assert {finding.answer for finding in leaky.findings} == {"predict"}
    clean = probe_leaks(_pipeline(make_pipeline(StandardScaler(), LinearRegression())))
    assert clean.is_clean, (clean.findings, clean.notes)


@settings(max_examples=40, deadline=None)
@given(
    spans=st.lists(st.integers(0, 9), min_size=6, max_size=30),
    picks=st.lists(st.integers(0, 2), min_size=30, max_size=30),
)
def test_label_overlap_equals_a_look_at_every_pair(spans, picks):
    """VA-04: learnt is what is picked 1, judged what is picked 2; ends alone do not overlap."""
    starts = np.arange(len(spans))
    ends, pick = starts + spans, np.array(picks[: len(spans)])
    train, test = np.flatnonzero(pick == 1), np.flatnonzero(pick == 2)
    if not len(test):
        return
    runs = np.split(test, np.flatnonzero(np.diff(test) > 1) + 1)
    over = [
        i
        for i in train
        if any(starts[i] < ends[run].max() and ends[i] > starts[run].min() for run in runs)
    ]
    report = label_overlap(starts, ends, [(train, test)])
    assert [finding.size for finding in report.findings] == ([len(over)] if over else [])


def test_label_overlap_accuses_plain_folds_and_no_purged_ones(market):
    starts, ends = market.index[:-6], market.index[6:]
    plain = label_overlap(starts, ends, KFold(4).split(starts))
    assert [finding.size for finding in plain.findings] == [5, 10, 10, 5]
    assert plain.findings[0].known_at == market.index[59]
    assert "split 1 learns from 5 observations" in plain.leak
    assert label_overlap(starts, ends, purged_kfold(starts, ends, n_splits=4)).is_clean
    asked = probe_leaks(lambda m: Labels(starts, ends, KFold(4).split(starts)), market, name="k")
    assert (asked.subject, len(asked.findings)) == ("k", 4)
    with pytest.raises(DataError, match="3 starts, 2 ends and 1 splits"):
        label_overlap([1, 2, 3], [1, 2], [([0], [1])])


@pytest.mark.parametrize("kind", ["spike", "mirror", "shuffle"])
def test_trades_of_the_past_do_not_move_with_the_future(kind):
    """BT-01: shuffled or poisoned, what comes after t leaves every fill up to t as it was."""
    market = random_market(4)
    strategy = DonchianBreakout(entry=10, exit_=5, hold=15, atr_bars=4)
    moment = market.index[180]
    futures = (market, poison(market, moment, kind=kind), market.until(moment))
    fills = [run(strategy, each).fills for each in futures]
    fills = [each[each["known_at"] <= moment] for each in fills]
    assert len(fills[0]) > 20
    pd.testing.assert_frame_equal(fills[0], fills[1])
    pd.testing.assert_frame_equal(fills[0], fills[2])


def test_decision_at_a_close_fills_at_the_next_open_whatever_that_bar_does():
    """BT-01: the bar that fills gives its open only; nothing is filled in the bar that decides."""
    market = random_market(5)
    strategy = MovingAverageCross(fast=3, slow=12)
    row = int(np.flatnonzero(strategy.weights(market).diff().abs().sum(axis=1) > 0)[40])
    liar = poison(market, market.index[row], kind="spike", fields=["high", "low", "close"])
    one, other = (run(strategy, each).fills for each in (market, liar))
    for fills in (one, other):
        assert (fills["filled_at"] == fills["known_at"] - market.bar_length).all()
    at = market.index[row + 1]
    next_bar = one[one["known_at"] == at]
    assert len(next_bar)
    pd.testing.assert_frame_equal(next_bar, other[other["known_at"] == at])
