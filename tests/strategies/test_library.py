"""The built-in strategies see the past only and remember as much as they say (SM-03, SM-06)."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.markets import make_market, random_market
from workbench.core.records import FIELDS, Market
from workbench.strategies import (
    BuyAndHold,
    CointegratedPair,
    CrossSectionalMomentum,
    DonchianBreakout,
    FundingCarry,
    MovingAverageCross,
    Strategy,
    TimeSeriesMomentum,
    probe_lookback,
    quantise,
)

FITTED = {"hedge_ratio": 0.8, "intercept": 0.1, "residual_std": 0.02, "p_value": 0.01}
SMALL: list[Strategy] = [
    BuyAndHold(),
    MovingAverageCross(fast=3, slow=12),
    TimeSeriesMomentum(horizon=10, volatility_bars=4, rebalance_every=3),
    DonchianBreakout(entry=10, exit_=5, hold=15, atr_bars=4),
    CrossSectionalMomentum(formation=10, skip=1, quantile=0.4, rebalance_every=4),
    FundingCarry(window=16, rebalance_every=4),
    CointegratedPair(first="AAAUSDT", second="BBBUSDT", **FITTED),
]


def answers(strategy: Strategy, market: Market) -> list[pd.DataFrame]:
    if isinstance(strategy, CointegratedPair):
        return list(strategy.features(market).values())
    brackets = strategy.brackets(market)
    frames = [] if brackets is None else [brackets.stop_loss, brackets.trailing]
    return [strategy.weights(market), *frames]


@pytest.fixture(scope="session")
def real(shared_data: Path) -> Market:
    path = shared_data / "bybit_linear_major_long" / "ohlcv_1h.parquet"
    rows = pl.read_parquet(path)
    table = pd.DataFrame({name: rows[name].to_list() for name in rows.columns})
    table["known_at"] = table["timestamp"] + pd.Timedelta(hours=1)
    frames = {
        name: table.pivot_table(index="known_at", columns="symbol", values=name).iloc[-9000:]
        for name in ("open", "high", "low", "close", "volume")
    }
    return Market.from_frames(frames, interval="60", snapshot_id="real")


@pytest.mark.parametrize("strategy", SMALL, ids=lambda s: type(s).__name__)
@given(seed=st.integers(0, 10_000), cut=st.integers(1, 199))
@settings(max_examples=15, deadline=None)
def test_answers_when_the_future_changes_stay(strategy: Strategy, seed: int, cut: int) -> None:
    market, other = (random_market(k, n_bars=200, n_symbols=5) for k in (seed, seed + 1))
    mixed = {
        name: pd.concat([getattr(market, name)[:cut], getattr(other, name)[cut:]])
        for name in FIELDS
    }
    shuffled = replace(market, **mixed)
    prefix = market.until(market.index[cut - 1])
    for whole, part, after in zip(
        *(answers(strategy, m) for m in (market, prefix, shuffled)), strict=True
    ):
        pd.testing.assert_frame_equal(part, whole[:cut], check_freq=False, rtol=0, atol=1e-9)
        pd.testing.assert_frame_equal(after[:cut], whole[:cut], check_freq=False, atol=1e-9)


@pytest.mark.parametrize("strategy", SMALL, ids=lambda s: type(s).__name__)
def test_lookback_of_small_strategies_is_enough(strategy: Strategy) -> None:
    assert probe_lookback(strategy, random_market(5, n_bars=600, n_symbols=5), rows=40).is_enough


@pytest.mark.parametrize("kind", [type(s) for s in SMALL], ids=lambda kind: kind.__name__)
def test_lookback_on_real_data_is_enough(kind: type[Strategy], real: Market) -> None:
    strategy = kind(**FITTED) if kind is CointegratedPair else kind()
    report = probe_lookback(strategy, real, rows=12)
    assert report.is_enough, report
    if kind is not CointegratedPair:
        quantise(strategy.weights(real))


class Forgetful(TimeSeriesMomentum):
    """Says that it remembers a tenth of what it does."""

    @property
    def lookback(self) -> int:
        return self.volatility_bars + 1


def test_probe_with_a_short_lookback_names_a_longer_one() -> None:
    market = random_market(5, n_bars=600, n_symbols=2)
    strategy = Forgetful(horizon=5, volatility_bars=10, rebalance_every=1, target_volatility=0.3)
    report = probe_lookback(strategy, market)
    assert not report.is_enough
    assert report.needed is not None
    assert 11 < report.needed <= 200


def test_crossover_on_a_rise_and_fall_turns() -> None:
    market = make_market(close=[1, 1, 1, 2, 3, 2, 1, 0.5])
    weights = MovingAverageCross(fast=1, slow=3).weights(market).iloc[:, 0]
    assert weights.tolist() == [0, 0, 0, 1, 1, -1, -1, -1]


def test_cross_section_is_dollar_neutral() -> None:
    market = random_market(3, n_symbols=5)
    weights = CrossSectionalMomentum(formation=10, rebalance_every=1).weights(market).iloc[10:]
    assert np.allclose(weights.sum(axis=1), 0)
    assert np.allclose(weights.abs().sum(axis=1), 1)


def test_carry_receives_funding() -> None:
    market = make_market(close=[1.0] * 4, funding_settled=[0.01, 0.01, -0.05, -0.05])
    weights = FundingCarry(window=1, rebalance_every=1).weights(market).iloc[:, 0]
    assert weights.tolist() == [-1, -1, 1, 1]


def test_pair_fit_finds_the_hedge_ratio_and_time_stop_closes_both_legs() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(0, 0.01, 1500).cumsum()
    close = np.exp(np.column_stack([1 + 1.5 * x + rng.normal(0, 0.01, 1500), x]))
    market = make_market(symbols=("AAAUSDT", "BBBUSDT"), close=close)
    pair = CointegratedPair(first="AAAUSDT", second="BBBUSDT", max_bars=5).fit(market)
    assert pair.hedge_ratio == pytest.approx(1.5, abs=0.05)
    assert pair.p_value is not None
    assert pair.p_value < 0.01
    _, opened = pair.step(pair.init(), {"z": np.array([2.5])}, {})
    assert [np.sign(intent.weight) for intent in opened] == [-1, 1]
    assert len({intent.group for intent in opened}) == 1
    from workbench.strategies import Held

    held = {i.symbol: Held(i.weight, 1.0, 5, 0.0) for i in opened}
    state, closed = pair.step(pair.init(), {"z": np.array([2.5])}, held)
    assert [intent.weight for intent in closed] == [0, 0]
    assert state["is_blocked"]
    assert pair.step(state, {"z": np.array([2.5])}, {})[1] == []
