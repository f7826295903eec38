"""Protects the figures and statistics of a run: what they show is what the run holds."""

import json

import numpy as np
import pandas as pd
import pytest

from tests.backtest.test_run import HARD, random_plan
from tests.backtest.test_sweep import Cross
from tests.markets import make_market, random_market, scripted
from workbench.backtest import figures, run, sweep
from workbench.backtest.report import measures, monthly_returns, readable
from workbench.core.costs import FREE, Costs
from workbench.core.errors import DataError
from workbench.core.records import Account
from workbench.core.wording import THIN
from workbench.data import synthesise


@pytest.fixture(scope="module")
def result():
    return run(random_plan(3), random_market(3), costs=HARD)


@pytest.fixture(scope="module")
def swept():
    return sweep(Cross(), random_market(3), {"fast": [2, 3, 4], "slow": [8, 10, 20]})


def test_measures_are_more_than_twenty_five_and_finite(result):
    """BT-09: at least 25 statistics, costs and liquidations among them."""
    named = measures(result)
    assert len(named) >= 25
    assert np.isfinite(named).all()
    assert named["fees_usdt"] == pytest.approx(result.fills["fee_usdt"].sum())
    assert named["n_trades"] == (~result.trades["is_open"]).sum()
    assert named["final_equity_usdt"] == result.equity.iloc[-1]


def test_measures_without_a_trade_do_not_fail():
    named = measures(run(scripted([None]), random_market(1, n_symbols=1)))
    assert named["n_trades"] == 0
    assert np.isnan(named["win_rate"])


def test_readable_writes_measures_in_words_and_units(result, swept):
    text = readable(pd.DataFrame({"mine": measures(result)}))
    deepest = 100 * measures(result)["max_drawdown"]
    assert text.loc["max drawdown", "mine"] == f"{deepest:.1f}{THIN}%"
    assert text.loc["fills", "mine"] == f"{len(result.fills):,}"
    ranked = swept.ranked()
    row = readable(ranked, by="columns").iloc[0]
    assert (row["fast"], row["slow"]) == tuple(str(ranked[name].iloc[0]) for name in swept.grid)
    assert row["Sharpe ratio"] == f"{ranked['sharpe'].iloc[0]:.2f}"


def test_monthly_returns_compound_to_the_total():
    market = random_market(5, n_bars=24 * 70)
    done = run(scripted([0.5, 0.5]), market)
    months = monthly_returns(done).to_numpy()
    total = np.nanprod(1 + months) - 1
    assert total == pytest.approx(done.equity.iloc[-1] / 10_000 - 1)
    assert np.isfinite(months).sum() == 3


DRAWN = [
    *("equity", "underwater", "monthly", "rolling_sharpe", "distribution", "weights", "trades"),
    "waterfall",
]


@pytest.mark.parametrize("draw", DRAWN)
def test_figure_is_titled_with_its_watermark_and_small(draw):
    market = synthesise(["BTCUSDT", "ETHUSDT"], n_bars=30_000, seed=1)
    done = run(Cross(fast=20, slow=100), market)
    figure = getattr(figures, draw)(done)
    assert figure.layout.title.text.startswith("<b>SYNTHETIC</b>")
    assert figure.layout.meta["name"]
    assert len(json.dumps(figure.to_plotly_json(), default=str)) < 1_000_000
    assert figure.data


def test_trades_stand_on_the_candle_in_which_they_filled():
    """Trap: candles stamped by their close look one bar late on a chart."""
    market = make_market(close=[100.0, 101.0, 102.0, 103.0])
    figure = figures.trades(run(scripted([0.5, 0.5]), market, costs=FREE))
    candles, buys = figure.data[0], figure.data[1]
    assert buys.x[0] == candles.x[1] == "2024-01-01 01:00:00"


def test_monthly_of_one_year_names_that_year_and_no_part_of_one():
    """Trap: plotly takes a lone year for a number and draws 2022.5 to 2023.5."""
    figure = figures.monthly(run(random_plan(3), random_market(3)))
    assert list(figure.data[0].y) == ["2024"]
    assert figure.layout.yaxis.type == "category"


def test_waterfall_figure_ends_at_the_result(result):
    figure = figures.waterfall(result)
    assert figure.data[0].text[-1] == f"{result.waterfall()['sharpe'].iloc[-1]:.2f}"


def test_heatmap_holds_each_configuration(swept):
    figure = figures.heatmap(swept)
    assert np.isfinite(figure.data[0].z).sum() == len(swept.table)
    best = swept.ranked().iloc[0]
    assert figure.data[1].x[0] == str(int(best["fast"]))


def test_heatmap_of_a_loss_circles_the_least(swept):
    figure = figures.heatmap(swept, measure="max_drawdown")
    least = swept.table.loc[swept.table["max_drawdown"].idxmin()]
    assert figure.data[1].x[0] == str(int(least["fast"]))
    assert "above 0" not in figure.layout.title.text


def test_compare_of_a_ruined_run_draws_it():
    """Trap: nothing is left to draw on a logarithmic axis."""
    market = make_market(close=np.r_[np.full(10, 100.0), np.full(5_000, 1.0)])
    ruined = run(scripted([1.0] * 5_010), market, account=Account(leverage=5))
    assert ruined.equity.iloc[-1] == 0
    figures.compare({"ruined": ruined})


def test_rolling_sharpe_of_a_short_run_is_not_empty():
    figure = figures.rolling_sharpe(run(random_plan(3), random_market(3, n_bars=24 * 12)))
    assert len(figure.data[0].x)


def test_heatmap_of_one_parameter_is_refused():
    one = sweep(Cross(), random_market(3), {"fast": [2, 3]})
    with pytest.raises(DataError, match="two varied parameters"):
        figures.heatmap(one)


def test_compare_draws_every_run(result):
    figure = figures.compare({"mine": result, "buy and hold": result})
    assert [trace.name for trace in figure.data] == ["mine", "buy and hold"]


@pytest.mark.filterwarnings("ignore:.*:Warning:vectorbt")
def test_vectorbt_portfolio_holds_the_same_positions_and_value():
    market = random_market(6, n_symbols=2)
    plain = {name: getattr(market, name) for name in ("open", "high", "low", "close")}
    market = type(market).from_frames(plain, interval="60")
    done = run(random_plan(6), market, costs=Costs(has_funding=False))
    portfolio = done.vectorbt()
    assert np.allclose(portfolio.assets().to_numpy(), done.positions.to_numpy(), atol=1e-9)
    assert portfolio.value().iloc[-1] == pytest.approx(done.equity.iloc[-1], rel=1e-9)
