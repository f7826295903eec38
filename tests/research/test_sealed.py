"""Protects the look at sealed data: on record, counted, and priced in."""

import numpy as np
import pytest

import workbench as wb
from workbench.core.costs import Costs
from workbench.core.records import Account
from workbench.research.sealed import LOOK, Sealed, look_at_sealed, predict_means
from workbench.store import Store
from workbench.strategies import TimeSeriesMomentum


@pytest.fixture
def market(home):
    return wb.load(["BTCUSDT"], source="synthetic", start="2024-01-01", end="2024-07-01", seed=3)


def look(strategy, market, predicted=None):
    values = np.random.default_rng(0).normal(0, 0.01, 150) if predicted is None else predicted
    return look_at_sealed(strategy, market, values, costs=Costs(), account=Account(), seed=1)


def events():
    with Store.open() as store:
        return store.events(kind=LOOK)


def test_look_begins_after_the_sealed_date_and_spans_half_a_year(market):
    sealed = look(TimeSeriesMomentum(horizon=48, volatility_bars=24), market)

    assert sealed.returns.index[0].isoformat() == "2024-07-01T00:00:00+00:00"
    assert len(sealed.returns) == 182
    # It trades from the first day on: the bars before were only looked back at.
    assert sealed.returns.iloc[:3].abs().sum() > 0


def test_look_of_the_same_strategy_counts_once_and_another_makes_it_dearer(market):
    """DESIGN 6: each look spends some of what the sealed data can say."""
    one, other = (TimeSeriesMomentum(horizon=h, volatility_bars=24) for h in (24, 48))

    counts = [look(each, market).looks for each in (one, one, other, one)]

    assert counts == [1, 1, 2, 2]
    assert len(events()) == 2


def test_priced_is_the_chance_of_the_best_of_so_many_looks():
    sealed = Sealed(0.5, 3, None, None, "")
    assert sealed.priced == 0.125


def test_look_at_a_market_with_nothing_sealed_says_so_and_is_no_look(home):
    from tests.markets import random_market

    answer = look(TimeSeriesMomentum(horizon=24, volatility_bars=24), random_market(1))

    assert "nothing follows" in answer
    assert events().empty


def test_predict_means_covers_as_often_as_it_says():
    """Of worlds whose days before and after are alike, the quantiles are uniform."""
    rng = np.random.default_rng(5)
    quantiles = []
    for _ in range(150):
        before, after = rng.normal(0.001, 0.02, 300), rng.normal(0.001, 0.02, 100)
        band = predict_means(before, n_days=100, seed=int(rng.integers(1e9)), reps=400)
        quantiles.append(np.mean(band <= after.mean()))

    from scipy.stats import kstest

    assert kstest(quantiles, "uniform").pvalue > 0.01


def test_predict_means_over_more_days_than_there_were_is_narrower():
    returns = np.random.default_rng(2).normal(0, 0.02, 100)
    short, long = (predict_means(returns, n_days=n, seed=3).std() for n in (20, 400))
    assert long < short
