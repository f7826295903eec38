"""Protects the figures of risk: each says what it found, under its watermark."""

import numpy as np
import pandas as pd
import pytest

from tests.risk.reported import make_report
from workbench.risk import figures
from workbench.risk.coverage import forecast_tails, judge_years

OF_A_REPORT = {
    "exposures": figures.exposures,
    "tails": figures.tails,
    "contributions": figures.contributions,
    "losses": lambda report: figures.losses(report, 0.25),
    "limits": figures.limits,
    "regimes": lambda r: figures.regimes(r.tables["history"], watermark=r.watermark),
    "matrix": lambda r: figures.matrix(r.tables["tail"], name="tail", watermark=r.watermark),
}


@pytest.mark.parametrize("is_flat", [False, True])
@pytest.mark.parametrize("name", OF_A_REPORT)
def test_figure_of_a_report_carries_its_watermark_and_name(name, is_flat):
    layout = OF_A_REPORT[name](make_report(is_flat=is_flat)).layout
    assert "SYNTHETIC" in layout.title.text
    assert layout.meta["name"]


def test_limits_that_are_reached_are_hatched_and_counted():
    report = make_report()
    figure = figures.limits(report)
    within, over = figure.data
    assert set(over.y) == set(report.tables["limits"].query("use >= 1").index)
    assert "value at risk, 95%" in over.y
    assert over.marker.pattern.shape
    assert not within.marker.pattern.shape
    assert figure.layout.title.text.endswith("used")


def test_stress_tells_liquidated_from_lost_by_more_than_colour():
    table = pd.DataFrame(
        {"share": [0.1, -0.2, -1.0, np.nan], "liquidated": ["", "", "AAAUSDT", ""]},
        index=["up", "down", "gone", "unknown"],
    )
    figure = figures.stress(table, watermark="X")
    gains, loses, gone = figure.data
    assert [list(trace.y) for trace in (gains, loses, gone)] == [["up"], ["down"], ["gone"]]
    assert gone.marker.pattern.shape != loses.marker.pattern.shape
    assert "Worst: gone" in figure.layout.title.text
    assert "liquidated in 1 of 3" in figure.layout.title.text


def test_hits_are_the_days_that_lost_more_than_was_forecast_the_day_before():
    index = pd.date_range("2022-06-01", periods=420, freq="D", tz="UTC")
    returns = pd.DataFrame({"A": np.random.default_rng(1).standard_t(4, 420) * 0.02}, index)
    made = forecast_tails(returns, methods=["historical"], levels=(0.95,))
    figure = figures.hits(returns["A"], made, method="historical", level=0.95, watermark="X")
    judged = judge_years(returns, made.table)
    assert len(figure.data[2].x) == judged.loc[("all", "historical", 0.95, "A"), "hits"]
    rates = figures.coverage(judged, level=0.95, watermark="X").data
    groups = judged.index.get_level_values("group").unique()
    assert [trace.name for trace in rates] == list(groups)
    whole = judged.xs("all", level="group").iloc[0]
    assert rates[0].x[0] == pytest.approx(whole["hits"] / whole["bars"])


def test_years_are_judged_apart_by_how_wild_they_were():
    """Calm and wild years together are all of them, and no day is judged twice."""
    index = pd.date_range("2020-01-01", periods=1_200, freq="D", tz="UTC")
    spread = np.where(index.year.isin([2021, 2022]), 0.05, 0.01)
    returns = pd.DataFrame({"A": np.random.default_rng(2).normal(0, spread)}, index)
    judged = judge_years(returns, forecast_tails(returns, methods=["normal"]).table)
    sums = judged.groupby("group", sort=False)[["bars", "hits"]].sum()
    assert sums.index.tolist() == ["all", "calm (2020, 2023)", "wild (2021, 2022)"]
    assert (sums.iloc[0] == sums.iloc[1] + sums.iloc[2]).all()
    rates = sums["hits"] / sums["bars"]
    assert rates.iloc[2] > 2 * rates.iloc[1]
