"""Figures of a risk report and of a backtest of its forecasts, in plotly.

Each title states the finding and carries the watermark. Blue is what is within bounds and red what
is not; a hatch or a word always says the same as the colour.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from workbench.core.drawing import (
    ACCENT,
    DOWN,
    HATCH,
    LINES,
    QUIET,
    UP,
    draw_line,
    thin_frame,
    times,
    titled,
)
from workbench.risk.regime import Regime
from workbench.risk.report import NEAR, RiskReport
from workbench.risk.tables import write_value

if TYPE_CHECKING:
    from workbench.risk.coverage import Forecasts

MATRICES: Final = {
    "pearson": "Correlation of daily returns",
    "tail": "Tail dependence: both among their worst days",
    "dcc": "Correlation forecast for the next day",
    "shift": "Correlation of now against its usual",
}
SHADES: Final = {Regime.HIGH: "#e08a00", Regime.CRISIS: DOWN}
MAX_WORDS: Final = 12
"""Symbols up to which a matrix is written as well as coloured."""


def exposures(report: RiskReport) -> go.Figure:
    """Return what is held of each symbol, longs to the right and shorts to the left."""
    if "positions" not in report.tables:
        return _nothing(report, "exposures")
    now, figure = report.headlines, go.Figure()
    weights = report.tables["positions"]["weight"].iloc[::-1]
    for is_long, name, colour in ((True, "long", UP), (False, "short", DOWN)):
        own = weights[(weights > 0) == is_long]
        _bars(figure, own, name, colour, pattern={} if is_long else HATCH)
    _percents(figure.update_xaxes, "value over equity")
    bets = now.get("effective_bets")
    few = f", which move like {bets:.1f} bets" if bets else ""
    return titled(
        figure,
        f"Gross {_share(now['gross'])}, net {_share(now['net'])} of the equity in "
        f"{now['n_positions']} positions{few}",
        report.watermark,
        name="exposures",
        height=170 + 28 * now["n_positions"],
    )


def tails(report: RiskReport) -> go.Figure:
    """Return the value at risk by every method, at each level."""
    if "tails" not in report.tables:
        return _nothing(report, "value at risk")
    table, now, figure = report.tables["tails"].iloc[::-1], report.headlines, go.Figure()
    labels = [str(name).replace("_", " ") for name in table.index]
    columns = [str(name) for name in table if str(name).startswith("var_")]
    for column, colour, symbol in zip(
        columns, LINES, ("circle", "diamond", "square"), strict=False
    ):
        figure.add_scatter(
            x=table[column], y=labels, mode="markers", name=f"{column.removeprefix('var_')} %",
            marker={"color": colour, "symbol": symbol, "size": 10},
            hovertemplate="%{y}: %{x:.2%}<extra></extra>",
        )  # fmt: skip
    figure.add_vline(x=now["value_at_risk"], line={"color": QUIET, "width": 1, "dash": "dot"})
    _percents(figure.update_xaxes, "loss of a day, of equity", rangemode="tozero")
    low, high = now["value_at_risk_low"], now["value_at_risk_high"]
    return titled(
        figure,
        f"Value at risk at {now['level']:.0%}: {_share(now['value_at_risk'])}; the methods say "
        f"{_share(low)} to {_share(high)}",
        report.watermark,
        name="value at risk",
        height=180 + 24 * len(table),
    )


def contributions(report: RiskReport) -> go.Figure:
    """Return each position's share of the risk beside its share of the gross exposure."""
    if "contributions" not in report.tables:
        return _nothing(report, "risk contributions")
    table, figure = report.tables["contributions"].iloc[::-1], go.Figure()
    _bars(figure, table["share_var"], "of the risk", ACCENT)
    figure.add_scatter(
        x=table["share"], y=list(table.index), mode="markers", name="of the gross exposure",
        marker={"symbol": "line-ns-open", "size": 16, "color": QUIET, "line": {"width": 3}},
        hovertemplate="%{y}: %{x:.1%} of the gross exposure<extra></extra>",
    )  # fmt: skip
    _percents(figure.update_xaxes, "share")
    now = report.headlines
    return titled(
        figure,
        f"{now['largest']} carries {_share(now['largest_share'])} of the risk with "
        f"{_share(now['largest_of_gross'])} of the exposure",
        report.watermark,
        name="risk contributions",
        note="A bar beyond its mark takes more risk than room; one below zero hedges.",
        height=180 + 30 * len(table),
    )


def matrix(table: pd.DataFrame, *, name: str, watermark: str) -> go.Figure:
    """Return how symbols move together as a heat map; ``name`` is one of ``MATRICES``."""
    values = table.to_numpy().copy()
    np.fill_diagonal(values, np.nan)
    reach = float(np.nanmax(np.abs(values))) if name == "shift" else 1.0
    figure = go.Figure(
        go.Heatmap(
            z=values, x=list(table.columns), y=list(table.index), zmid=0, zmin=-reach, zmax=reach,
            colorscale=[[0, ACCENT], [0.5, "#ffffff"], [1, DOWN]], xgap=2, ygap=2,
            texttemplate="%{z:.2f}" if len(table) <= MAX_WORDS else None,
            colorbar={"thickness": 12}, hovertemplate="%{y} and %{x}: %{z:.2f}<extra></extra>",
            textfont={"color": "#1c2530"},
        )
    )  # fmt: skip
    figure.update_yaxes(autorange="reversed", type="category")
    figure.update_xaxes(type="category")
    figure.update_layout(hovermode="closest")
    return titled(
        figure, f"{MATRICES[name]}: {float(np.nanmean(values)):+.2f} on average", watermark,
        name=MATRICES[name].partition(":")[0].lower(), height=160 + 36 * min(len(table), 20),
    )  # fmt: skip


def regimes(history: pd.DataFrame, *, watermark: str) -> go.Figure:
    """Return the score of the regime over time, high and crisis shaded.

    ``history`` is of ``regime.detect_regimes``.
    """
    shown, figure = thin_frame(history[["score", "correlation"]]), go.Figure()
    kinds = history["regime"].astype(int)
    starts = np.flatnonzero(kinds.diff().fillna(1.0).to_numpy() != 0)
    moments = history.index
    for start, stop in zip(starts, [*starts[1:], len(kinds) - 1], strict=True):
        shade = SHADES.get(Regime(int(kinds.iloc[start])))
        if shade:
            x0, x1 = times(moments[[int(start), int(stop)]])
            figure.add_vrect(
                x0=x0, x1=x1, fillcolor=shade, opacity=0.16, line_width=0, layer="below"
            )
    draw_line(figure, shown["score"], "score", ACCENT)
    draw_line(figure, shown["correlation"], "mean correlation", QUIET, width=1)
    figure.add_hline(y=1, line_color=QUIET, line_width=1)
    figure.update_yaxes(title="times as volatile as usual", rangemode="tozero")
    regime = Regime(int(kinds.iloc[-1])).name.lower()
    return titled(
        figure,
        f"The regime is {regime} since {moments[starts[-1]]:%Y-%m-%d}; the score is "
        f"{history['score'].iloc[-1]:.2f}",
        watermark,
        name="regime",
        note="Shaded: high (amber) and crisis (red). A rise counts at once, a fall after a day.",
        height=340,
    )


def courses(table: pd.DataFrame, title: str, *, watermark: str, unit: str = "") -> go.Figure:
    """Return the columns of a table over time, each a line: correlations, equities."""
    figure = go.Figure()
    for (name, own), colour in zip(
        thin_frame(table).items(), (*LINES, QUIET, UP, DOWN), strict=False
    ):
        draw_line(figure, own, str(name).replace("_", " "), colour)
    figure.update_yaxes(title=unit)
    if table.shape[1] > 4:
        figure.update_layout(legend={"orientation": "v", "x": 1.01, "xanchor": "left", "y": 1,
                                     "yanchor": "top"})  # fmt: skip
    return titled(figure, title, watermark, name=title.partition(":")[0].lower(), height=380)


def losses(report: RiskReport, limit: float | None = None) -> go.Figure:
    """Return how far below its peak the equity was, with the limit."""
    below, figure = -report.tables["path"]["drawdown"], go.Figure()
    draw_line(figure, below, "below the peak", DOWN, fill="tozeroy")
    if limit is not None:
        figure.add_hline(
            y=-limit, line={"color": QUIET, "dash": "dash"}, annotation_text=f"limit {limit:.0%}",
            annotation_position="bottom left",
        )  # fmt: skip
    _percents(figure.update_yaxes, "")
    now = report.headlines
    return titled(
        figure,
        f"{_share(now['drawdown'])} below the peak; at worst {_share(now['worst_drawdown'])}, and "
        f"{_share(now.get('drawdown_at_risk'))} or less on 19 days of 20",
        report.watermark,
        name="drawdown",
        height=320,
    )


def stress(table: pd.DataFrame, *, watermark: str) -> go.Figure:
    """Return what each scenario does to the equity.

    ``table`` is of ``stress.stress_book``, or the section ``stress`` of a report.
    """
    own = table.rename(columns={"share": "profit"}).dropna(subset="profit")
    own = own.sort_values("profit", ascending=False)
    is_gone, figure = own["liquidated"].astype(bool), go.Figure()
    for chosen, name, colour, pattern in (
        (~is_gone & (own["profit"] >= 0), "gains", ACCENT, {}),
        (~is_gone & (own["profit"] < 0), "loses", DOWN, {}),
        (is_gone, "liquidated", DOWN, HATCH),
    ):
        _bars(figure, own.loc[chosen, "profit"], name, colour, pattern=pattern)
    figure.update_yaxes(categoryorder="array", categoryarray=list(own.index))
    _percents(figure.update_xaxes, "profit over equity")
    gone = f"; liquidated in {int(is_gone.sum())} of {len(own)}" if is_gone.any() else ""
    return titled(
        figure, f"Worst: {own.index[-1]}, {_share(float(own['profit'].iloc[-1]))}{gone}", watermark,
        name="stress", height=170 + 24 * len(own),
    )  # fmt: skip


def limits(report: RiskReport) -> go.Figure:
    """Return how much of each limit is taken."""
    use, figure = report.tables["limits"]["use"].iloc[::-1], go.Figure()
    for is_over, name, colour in ((False, "within", ACCENT), (True, "over", DOWN)):
        own = use[(use >= 1.0) == is_over]
        _bars(figure, own, name, colour, pattern=HATCH if is_over else {})
    figure.add_vline(x=1, line={"color": DOWN, "width": 2})
    figure.add_vline(x=NEAR, line={"color": QUIET, "width": 1, "dash": "dot"})
    _percents(figure.update_xaxes, "of the limit", range=[0, max(1.15, float(use.max()) * 1.05)])
    figure.update_yaxes(categoryorder="array", categoryarray=list(use.index))
    over, most = int((use >= 1.0).sum()), f"{use.idxmax()}, {_share(float(use.max()))} used"
    reached = f"{over} of {len(use)} limits are reached, first of all {most}"
    return titled(
        figure,
        reached if over else f"Every limit holds; the nearest is {most}",
        report.watermark,
        name="limits",
        height=170 + 26 * len(use),
    )


def hits(
    returns: pd.Series, made: Forecasts, *, method: str, level: float, watermark: str
) -> go.Figure:
    """Return a series with the loss that was forecast for each of its days, and the days beyond."""
    forecast = made.table[method, level, returns.name, "var"].dropna().shift(1).dropna()
    own = returns.loc[forecast.index]
    is_hit = own < -forecast
    figure = go.Figure()
    draw_line(figure, own, "return of the day", QUIET, width=1)
    draw_line(figure, -forecast, f"value at risk, {method.replace('_', ' ')}", ACCENT)
    figure.add_scatter(
        x=times(own.index[is_hit]), y=own[is_hit].round(5), mode="markers", name="lost more",
        marker={"color": DOWN, "symbol": "x", "size": 8},
    )  # fmt: skip
    _percents(figure.update_yaxes, "")
    return titled(
        figure,
        f"{returns.name}: {int(is_hit.sum())} days lost more than forecast, "
        f"{len(own) * (1 - level):.0f} were to be expected",
        watermark,
        name="hits",
    )


def coverage(judged: pd.DataFrame, *, level: float, watermark: str) -> go.Figure:
    """Return how often each method's value at risk was exceeded, by group of days.

    ``judged`` is of ``coverage.judge_groups``: by ``group`` and method, of one level.
    """
    figure = go.Figure()
    own = judged.xs(level, level="level")
    groups = list(dict.fromkeys(own.index.get_level_values("group")))
    for group, colour, symbol in zip(groups, LINES, ("diamond", "circle", "x"), strict=False):
        rows = own.xs(group, level="group").groupby("method", sort=False)[["hits", "bars"]].sum()
        figure.add_scatter(
            x=rows["hits"] / rows["bars"], y=[name.replace("_", " ") for name in rows.index],
            mode="markers", name=str(group), marker={"color": colour, "symbol": symbol, "size": 10},
            hovertemplate="%{y}: %{x:.2%}<extra></extra>",
        )  # fmt: skip
    figure.add_vline(x=1 - level, line={"color": QUIET, "width": 2})
    _percents(figure.update_xaxes, "days that lost more than forecast", rangemode="tozero")
    figure.update_yaxes(autorange="reversed")
    passed = own.xs(groups[0], level="group")["kupiec"] > 0.05
    return titled(
        figure,
        f"At {level:g} the frequency is right for {int(passed.sum())} of {len(passed)} forecasts",
        watermark,
        name=f"coverage at {level:g}",
        note="The line is the rate that was promised; right means that Kupiec's test does not "
        "refuse it at 5 %.",
        height=200 + 24 * own.index.get_level_values("method").nunique(),
    )


def _nothing(report: RiskReport, name: str) -> go.Figure:
    why = "could not be measured" if report.headlines["n_positions"] else "nothing is held"
    figure = titled(go.Figure(), f"No {name}: {why}", report.watermark, name=name, height=90)
    figure.update_xaxes(visible=False)
    return figure.update_yaxes(visible=False)


def _bars(
    figure: go.Figure, values: pd.Series, name: str, colour: str, *, pattern: Any = None
) -> None:
    figure.add_bar(
        x=values, y=list(values.index), orientation="h", name=name, marker_color=colour,
        marker_pattern=pattern or {}, hovertemplate="%{y}: %{x:.1%}<extra></extra>",
    )  # fmt: skip
    figure.update_yaxes(type="category")
    figure.update_layout(hovermode="closest", barmode="relative")


def _percents(update: Any, title: str, **options: Any) -> None:
    update(tickformat=".2~%", title=title, **options)


def _share(value: float | None) -> str:
    return write_value("share", value)
