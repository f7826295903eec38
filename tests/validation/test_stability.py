"""Protects stability: parts and windows of a result are those of the days that they name."""

import numpy as np
import pandas as pd
import pytest

from tests.markets import make_market
from workbench.core.errors import DataError
from workbench.core.measures import max_drawdown, sharpe, total_return
from workbench.strategies.pairs import CointegratedPair
from workbench.validation.resample import bootstrap_interval
from workbench.validation.stability import rolling_estimates, rolling_scores, subsamples


def returns(n=400, mean=0.001, seed=0):
    days = pd.date_range("2023-01-01", periods=n, freq="1D", tz="UTC", name="day")
    return pd.Series(np.random.default_rng(seed).normal(mean, 0.01, n), index=days)


def test_subsamples_score_the_days_that_they_name():
    """VA-13."""
    values = returns()
    found = subsamples(values, reps=200)

    table, days = found.table, values.index
    month = days.strftime("%Y-%m")
    best = found.months["total_return"].idxmin()
    assert best == max(set(month), key=lambda m: total_return(values[month == m].to_numpy()))
    expected = {
        "all days": values,
        "first half": values[:200],
        "second half": values[200:],
        "odd months": values[days.month % 2 == 1],
        "even months": values[days.month % 2 == 0],
        "without its best 10 days": values.drop(values.nlargest(10).index),
        f"without its best month, {best}": values[month != best],
    }
    assert list(table.index) == list(expected)
    for name, part in expected.items():
        assert table.loc[name, "days"] == len(part)
        assert table.loc[name, "sharpe"] == pytest.approx(sharpe(part.to_numpy(), 365.0))
        assert table.loc[name, "total_return"] == pytest.approx(total_return(part.to_numpy()))
    assert len(found.months) == 14
    assert found.months.loc["2023-02", "days"] == 400 - 28


def test_subsample_interval_is_that_of_the_bootstrap_and_is_seeded():
    values = returns()
    one, two, other = (subsamples(values, reps=200, seed=s).interval for s in (1, 1, 2))

    assert one == two != other
    drawn = bootstrap_interval(values.to_numpy(), lambda r: sharpe(r, 365.0), reps=200, seed=1)
    assert one == drawn
    assert one[0] < sharpe(values.to_numpy(), 365.0) < one[1]


def test_subsamples_show_a_result_that_hangs_on_ten_days():
    values = returns(mean=0.0)
    values.iloc[[5, 50, 90, 130, 180, 220, 260, 300, 340, 390]] += 0.06

    table = subsamples(values, reps=50).table

    assert table.loc["all days", "sharpe"] > 1.5
    assert table.loc["without its best 10 days", "sharpe"] < 0.5


@pytest.mark.parametrize(
    "values",
    [
        returns(20),
        returns(31).iloc[:29],
        returns().where(lambda r: r > 0),
        returns().reset_index(drop=True),
    ],
)
def test_subsamples_of_too_little_are_refused(values):
    with pytest.raises(DataError):
        subsamples(values)


def test_rolling_scores_are_those_of_each_window():
    values = returns()
    table = rolling_scores(values, window_days=100, step_days=50).table

    assert list(table.index) == [values.index[k - 1] for k in (100, 150, 200, 250, 300, 350, 400)]
    part = values.iloc[50:150].to_numpy()
    assert table["sharpe"].iloc[1] == pytest.approx(sharpe(part, 365.0))
    assert table["max_drawdown"].iloc[1] == pytest.approx(max_drawdown(part))
    assert table["volatility"].iloc[1] == pytest.approx(part.std(ddof=1) * np.sqrt(365))


def test_rolling_summary_sees_decay_and_change_of_sign():
    values = returns(mean=0.0)
    values += np.linspace(0.004, -0.004, 400)

    found = rolling_scores(values, window_days=60, step_days=20).summary

    assert found.loc["sharpe", "trend"] < -0.9
    assert found.loc["sharpe", "same_sign"] < 0.7
    assert found.loc["volatility", "same_sign"] == 1.0


def test_rolling_estimates_are_made_on_each_window_alone():
    """VA-13: the hedge ratio of a pair that changes half-way."""
    rng = np.random.default_rng(0)
    slow = rng.normal(0, 0.01, 2_000).cumsum()
    slope = np.where(np.arange(2_000) < 1_000, 1.0, 2.0)
    noise = rng.normal(0, 0.002, 2_000)
    close = 100 * np.exp(np.column_stack([slope * slow + noise, slow]))
    market = make_market(close=close, symbols=("BTCUSDT", "ETHUSDT"))
    asked = []

    def fit(part):
        asked.append((part.index[0], part.n_bars))
        return CointegratedPair().fit(part).params

    found = rolling_estimates(fit, market, window_bars=400, step_bars=400, workers=2)

    ratio = found.table["hedge_ratio"]
    assert list(found.table.index) == [market.index[k - 1] for k in range(400, 2_001, 400)]
    np.testing.assert_allclose(ratio.iloc[[0, 1]], 1.0, atol=0.05)
    np.testing.assert_allclose(ratio.iloc[[3, 4]], 2.0, atol=0.05)
    assert {n for _, n in asked} == {400}
    assert found.summary.loc["hedge_ratio", "trend"] > 0.5
    assert "first" not in found.summary.index


def test_windows_that_do_not_fit_are_refused():
    with pytest.raises(DataError, match="no window"):
        rolling_scores(returns(50), window_days=60)
    with pytest.raises(DataError, match="no window"):
        rolling_scores(returns(50), window_days=20, step_days=0)
