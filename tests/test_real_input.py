"""Protects the main job on real data: import, quality, five strategies, sweep, report, panel."""

import numpy as np
import pytest

import workbench as wb
from workbench.data import check_market, import_file
from workbench.jobs import run_notebook
from workbench.panels.runs import RunExplorer
from workbench.store import Store

pytestmark = pytest.mark.slow

SYMBOLS = ["BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT", "BNBUSDT"]
PAIRS = {"fast": list(range(5, 105, 5)), "slow": list(range(110, 510, 20))}
STRATEGIES = ["momentum", "crossover", "breakout", "crosssection", "carry"]


@pytest.fixture
def lake(home, shared_data):
    """Five majors hourly from 2020 to 2025, with marks and funding where there are some."""
    place = home / "data" / "lake"
    candles = import_file(shared_data / "bybit_linear_major_long" / "ohlcv_1h.parquet", lake=place)
    for name in ("funding", "mark_1h"):
        import_file(shared_data / "bybit_linear_2024" / f"{name}.parquet", lake=place)
    assert {report.series.symbol for report in candles.series} == set(SYMBOLS)
    assert sum(report.n_new for report in candles.series) == 181_513 - 5
    return place


def test_main_job_on_five_years_of_five_majors(lake):
    market = wb.load(SYMBOLS, start="2020-03-25")
    assert market.n_bars == 45_044
    assert set(check_market(market)["severity"]) <= {"warning", "info"}
    assert market.close["BTCUSDT"].loc["2021-01-01 01:00+00:00"] == pytest.approx(28_990, rel=0.02)
    assert market.funding_settled["BTCUSDT"].notna().sum() > 4_000

    results = wb.compare({name: wb.strategies.load_strategy(name) for name in STRATEGIES}, market)
    for result in results.values():
        assert np.isfinite(result.equity).all()
        assert result.trades["pnl_usdt"].sum() == pytest.approx(
            result.equity.iloc[-1] - 10_000, abs=1e-4
        )
    assert all(len(result.fills) for result in results.values())
    assert results["carry"].totals["funding_usdt"] < 0

    swept = wb.sweep(wb.strategies.MovingAverageCross(), market.select(["BTCUSDT"]), PAIRS)
    assert len(swept.table) == 400
    with Store.open() as store:
        assert len(store.trials()) == 406
        assert store.verify_trials().is_intact


def test_research_notebook_on_five_years_of_five_majors_reaches_the_panel(lake, home):
    """The same by papermill: import, 400 pairs, the page and the panel."""
    from tests.browser.conftest import CHECKOUT

    notebook = CHECKOUT / "notebooks" / "research" / "20_research_strategy.ipynb"
    done = run_notebook(notebook, {"SYMBOLS": SYMBOLS, "START": "2020-03-25", "GRID": PAIRS})

    assert done.status == "done", done.error
    assert done.measures["watermark"] == ""
    assert done.measures["sweep.configurations"] == 400
    assert done.measures["strategy.funding_usdt"] != 0
    page = done.html.read_text("utf-8")
    assert "Sharpe ratio of 400 configurations" in page
    assert "SYNTHETIC" not in page
    with Store.open() as store:
        assert len(store.trials()) == 402
        explorer = RunExplorer(store=store)
    assert "Sharpe ratio" in explorer.measures.value
    assert explorer.plot.figure["data"]
