"""Protects the guide to risk: its table of coverage is what the code measures on Bitcoin."""

from pathlib import Path

import pandas as pd
import polars as pl
import pytest

from workbench.risk.coverage import ALL, forecast_tails, judge_years
from workbench.risk.limits import load_limits

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "risk.md").read_text("utf-8")


def rows_of(first_head):
    """The cells of the table whose first heading is given, by their first."""
    lines = GUIDE[GUIDE.index(f"\n|{first_head}|") + 1 :].split("\n\n")[0].splitlines()[2:]
    cells = ([cell.strip() for cell in line.strip("| ").split("|")] for line in lines)
    return {name: rest for name, *rest in cells}


@pytest.mark.slow
def test_table_of_coverage_is_measured(shared_data):
    """RK-10: 2020 to 2025 as it is, method by method."""
    path = shared_data / "bybit_linear_major_long" / "ohlcv_1d.parquet"
    rows = pl.read_parquet(path).filter(pl.col("symbol") == "BTCUSDT").sort("timestamp")
    known_at = pd.DatetimeIndex(rows["timestamp"].to_numpy(), tz="UTC") + pd.Timedelta(days=1)
    closes = pd.DataFrame({"BTCUSDT": rows["close"].to_numpy()}, known_at)
    returns = closes.pct_change(fill_method=None)
    made = forecast_tails(returns, refit_bars=30)
    judged = judge_years(returns, made.table).droplevel("symbol")
    whole, calm, wild = judged.index.get_level_values("group").unique()

    told = rows_of(" method ")
    assert list(told) == [name.replace("_", " ") for name in ALL]
    for name in ALL:
        cells = []
        for level in (0.95, 0.99):
            one, low, high = (judged.loc[(group, name, level)] for group in (whole, calm, wild))
            cells += [
                f"{100 * one['rate']:.2f} %", f"{100 * low['rate']:.2f} / {100 * high['rate']:.2f}",
                f"{one['kupiec']:.3f}", f"{one['christoffersen']:.3f}",
                *([one["zone"]] if level == 0.99 else []), f"{one['z2']:+.2f}",
            ]  # fmt: skip
        assert told[name.replace("_", " ")] == cells
    assert f"{judged['bars'].max():,} forecasts" in GUIDE
    assert f"({len(made.fits)} fits, none fell back)" in GUIDE
    assert set(made.fits["model"]) == {"garch"}


def test_table_of_modes_is_that_of_the_files():
    """RK-03: what a reader is told of a mode is what is in force with it."""
    told = rows_of(" ")
    for column, name in enumerate(("conservative", "aggressive")):
        limits = load_limits(name)
        row = {key: cells[column] for key, cells in told.items()}
        drawdowns = f"{limits.max_drawdown:.0%} / {limits.max_strategy_drawdown:.0%}"
        assert row["drawdown, account / strategy"].replace(" %", "%").startswith(drawdowns)
        assert row["value at risk of a day at 95 %"] == f"{100 * limits.max_value_at_risk:.0f} %"
        assert row["loss of a day"] == f"{100 * limits.max_daily_loss:.0f} %"
        exposures = f"{limits.max_gross:g} / {limits.max_net:g}"
        assert row["gross / net exposure, of equity"] == exposures
        assert row["loss if every stop is hit"] == f"{100 * limits.max_heat:.0f} %"
        least = f"{limits.min_sharpe:g} / {100 * limits.min_consistency:.0f} %"
        assert row["least Sharpe ratio / days without a loss"] == least
        sizes = f"{100 * limits.regime_high:.0f} % / {100 * limits.regime_crisis:.0f} %"
        assert row["size in a high regime / in a crisis"] == sizes
