"""Protects the verb that judges: an edge passes, luck and leaks are refused, all of it counted."""

import numpy as np
import pytest

import workbench as wb
from workbench.core.costs import FREE
from workbench.core.errors import DataError
from workbench.evidence.verdicts import read_verdicts
from workbench.lifecycle import Prediction, predict
from workbench.research.validation import neighbours, validate, with_own_values
from workbench.store import Store
from workbench.strategies import MovingAverageCross, Strategy, TimeSeriesMomentum

QUICK = {"permutations": 5, "resamples": 300, "seed": 7}
TREND = TimeSeriesMomentum(horizon=240, volatility_bars=168, rebalance_every=12)
GRID = {"horizon": [168, 240, 336], "volatility_bars": [120, 168, 240]}


class Peeking(Strategy):
    """It knows the next bar."""

    @property
    def lookback(self):
        return 1

    def weights(self, market):
        return np.sign(market.close.shift(-1) / market.close - 1.0).fillna(0.0)


def load(*, effect=0.0, years=1, symbols=("BTCUSDT",)):
    return wb.load(
        list(symbols), source="synthetic", start="2020-01-01", end=f"{2020 + years}-01-01", seed=7,
        effect=effect,
    )  # fmt: skip


def verdicts():
    with Store.open() as store:
        return read_verdicts(store)


@pytest.mark.slow
def test_validate_a_planted_edge_passes_after_a_look_at_sealed_data(home):
    """VA-14, GR-01; the effect and its size are stated, not found."""
    market = load(effect=0.06, years=3, symbols=("BTCUSDT", "ETHUSDT"))

    found = validate(TREND, market, GRID, **QUICK)

    assert found.verdict.word == "PASSED", found.verdict.sentence
    assert found.verdict.is_synthetic
    assert found.sealed.looks == 1
    assert found.measures["trials"] == 9
    assert verdicts()[0].verdict == found.verdict
    assert verdicts()[0].run_id is None
    assert found.judge("classic").gate == "classic"


def test_validate_a_strategy_without_an_edge_is_refused_and_no_look_is_spent(home):
    found = validate(MovingAverageCross(fast=12, slow=96), load(), **QUICK)

    assert found.verdict.word == "REFUSED"
    assert "tries without any edge" in found.verdict.sentence
    assert found.sealed == "it is not spent on what another criterion refuses"
    promise = Prediction.from_measures(found.verdict.measures)
    assert promise == predict(found.walk.returns)
    assert abs(promise.mean) < abs(found.walk.returns.mean())
    with Store.open() as store:
        assert store.events(kind="look").empty
        # What it was chosen from counts, whoever chose.
        assert len(store.trials()) == len(found.sweep.strategies) == found.measures["trials"]


def test_validate_a_strategy_that_reads_the_future_is_refused_for_that(home):
    found = validate(Peeking(), load(), **QUICK)

    assert not found.verdict.is_passed
    assert found.verdict.sentence.startswith("It reads the future")
    assert (found.cscv, found.neighbourhood) == (None, None)


def test_validate_without_costs_names_what_is_left_out(home):
    found = validate(MovingAverageCross(fast=12, slow=96), load(), costs=FREE, **QUICK)

    assert found.measures["missing_costs"] == "fees and spread and slippage and funding"


def test_validate_of_a_short_market_says_how_much_is_needed(home):
    market = wb.load(["BTCUSDT"], source="synthetic", start="2024-01-01", end="2024-03-01")

    with pytest.raises(DataError, match="120 days"):
        validate(MovingAverageCross(), market, **QUICK)


def test_neighbours_surround_the_own_value_and_keep_its_kind():
    grid = neighbours(TREND)

    assert set(grid) == {"horizon", "volatility_bars", "target_volatility", "rebalance_every"}
    assert grid["horizon"] == [168, 240, 336]
    assert all(isinstance(value, int) for value in grid["rebalance_every"])


def test_with_own_values_adds_what_is_missing_and_refuses_the_unknown():
    assert with_own_values(TREND, {"horizon": [100, 300]}) == {"horizon": [100, 240, 300]}
    with pytest.raises(DataError, match="no parameter depth"):
        with_own_values(TREND, {"depth": [1]})
