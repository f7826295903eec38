"""The report of execution quality: a table for machines, a page for people.

Loads the drawing library, so the engine never imports it.
"""

from __future__ import annotations

import re
from html import escape
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from workbench.core.costs import BASIS_POINT
from workbench.core.drawing import ACCENT, DOWN, titled
from workbench.core.errors import DataError
from workbench.core.wording import THIN, describe_value
from workbench.execution.analytics import compare_algorithms
from workbench.execution.calibration import (
    ImpactFit,
    Measured,
    fit_impact,
    impact_points,
    mostly_taken,
)

STYLE: Final = (
    "body{font:14px Inter,'Segoe UI',Helvetica,Arial,sans-serif;color:#1c2530;max-width:1240px;"
    "margin:24px auto;padding:0 16px}h1{font-size:20px}h2{font-size:15px;margin-top:28px}"
    "table{border-collapse:collapse;width:100%}th,td{padding:5px 6px;text-align:right;"
    "border-bottom:1px solid #eef1f5;font-variant-numeric:tabular-nums}"
    "th:first-child,td:first-child{text-align:left}p{color:#5b6675}"
    ".watermark{color:#d93a4a;font-weight:600}"
)
_UNITS: Final = {"bps": "bp", "usdt": "USDT", "s": "s"}


def write_report(
    measured: pd.DataFrame, costs: Measured, target: Path, *, watermark: str = ""
) -> None:
    """Write what orders cost: every order as CSV, or a page that needs no network as HTML."""
    if target.suffix == ".csv":
        measured.to_csv(target)
    elif target.suffix == ".html":
        target.write_text(report_page(measured, costs, watermark=watermark), encoding="utf-8")
    else:
        raise DataError(f"{target} names no kind of report.", "End it with .csv or .html.")


def report_page(measured: pd.DataFrame, costs: Measured, *, watermark: str = "") -> str:
    """Return the page: the split by algorithm, the costs that were measured, and the impact."""
    span = (
        f"{measured['sent_at'].min():%Y-%m-%d %H:%M} to {measured['ended_at'].max():%Y-%m-%d %H:%M}"
    )
    mark = f'<p class="watermark">{escape(watermark)}</p>' if watermark else ""
    try:
        takers = mostly_taken(measured)
        figure = draw_impact(takers, fit_impact(takers), watermark=watermark).to_html(
            full_html=False, include_plotlyjs=True, config={"displaylogo": False}
        )
    except DataError as error:
        figure = f"<p>{escape(str(error))}</p>"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Execution quality'
        f"</title><style>{STYLE}</style></head><body>{mark}<h1>Execution quality</h1>"
        f"<p>{len(measured):,} orders, {span} UTC. Costs are positive, gains negative; the parts "
        "add up to the shortfall against the price at the decision. The last columns are "
        "percentiles of the slippage against the arrival, in bp.</p><h2>By algorithm</h2>"
        f"{_table(compare_algorithms(measured))}<h2>Costs for the next backtest</h2>"
        f"{_table(_cost_rows(costs))}<h2>Impact</h2>{figure}</body></html>"
    )


def draw_impact(measured: pd.DataFrame, fit: ImpactFit, *, watermark: str = "") -> go.Figure:
    """Draw what orders paid beyond half the spread by their size, and the fitted law."""
    size, paid = impact_points(measured)
    line = np.array([0.0, size.max()])
    figure = go.Figure()
    figure.add_scatter(
        x=size / BASIS_POINT, y=paid / BASIS_POINT, mode="markers", name="orders",
        marker={"color": ACCENT, "size": 5, "opacity": 0.5},
        hovertemplate="size %{x:.2f} bp, paid %{y:.2f} bp<extra></extra>",
    )  # fmt: skip
    figure.add_scatter(
        x=line / BASIS_POINT, y=(fit.slippage.value + fit.impact.value * line) / BASIS_POINT,
        mode="lines", name="square-root law", line={"color": DOWN, "width": 2.5},
    )  # fmt: skip
    figure.update_xaxes(title_text="volatility √(value / day's volume), bp")
    figure.update_yaxes(title_text="paid beyond half the spread, bp")
    title = f"Orders pay {fit.impact.words} times volatility √share"
    note = f"The law explains {fit.r2:.0%} of the variance; in brackets how many orders took."
    return titled(figure, title, watermark, name="impact", note=note).update_layout(
        hovermode="closest"
    )


def _cost_rows(costs: Measured) -> pd.DataFrame:
    rows: dict[str, dict[str, Any]] = {}
    for name in (*costs.estimates, *costs.assumed):
        one = costs.estimates.get(name)
        words = f"{one.n} seen" if one else f"assumed: {costs.assumed[name]}"
        error = None if one is None else one.error
        rows[name] = {
            "value": getattr(costs.costs, name),
            "standard error": error,
            "rests on": words,
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def _table(table: pd.DataFrame) -> str:
    text = pd.DataFrame(
        {
            _head(str(name)): [describe_value(str(name), value) for value in own]
            for name, own in table.astype(object).items()
        },
        [_head(str(label)) for label in table.index],
    )
    return str(text.to_html(border=0))


def _head(name: str) -> str:
    name = re.sub(r"^p(\d+)_bps$", rf"\1{THIN}%", name.removeprefix("n_"))
    words, _, unit = name.rpartition("_")
    name = f"{words}, {_UNITS[unit]}" if unit in _UNITS else name
    return name.replace("_", " ")
