"""Interactive figures of a backtest, in plotly: each title says what it shows and its watermark."""

from __future__ import annotations

import calendar
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from workbench.backtest.report import monthly_returns
from workbench.core.drawing import (  # noqa: F401 - notebooks say wb.figures.TEMPLATE
    ACCENT,
    DOWN,
    LINES,
    QUIET,
    TEMPLATE,
    UP,
    draw_line,
    thin_frame,
    times,
    titled,
)
from workbench.core.errors import DataError
from workbench.core.measures import drawdown_path, sharpe
from workbench.core.records import to_bar_start
from workbench.core.wording import better_way, describe_name

if TYPE_CHECKING:
    from workbench.backtest.run import Result
    from workbench.backtest.sweep import Sweep

MAX_CANDLES: Final = 400


def equity(result: Result, *, beside: Result | None = None) -> go.Figure:
    """Return equity above and drawdown below, with a second run (buy-and-hold, say) in grey."""
    figure = make_subplots(
        rows=2, cols=1, shared_xaxes=True, row_heights=[0.7, 0.3], vertical_spacing=0.04
    )
    if beside is not None:
        draw_line(figure, beside.equity, _name(beside), QUIET, row=1)
        draw_line(figure, drawdown_of(beside), _name(beside), QUIET, row=2, is_shown=False)
    draw_line(figure, result.equity, _name(result), ACCENT, row=1)
    draw_line(
        figure, drawdown_of(result), _name(result), DOWN, row=2, is_shown=False, fill="tozeroy"
    )
    figure.update_yaxes(title="equity, USDT", row=1, col=1)
    figure.update_yaxes(title="drawdown", tickformat=".0%", row=2, col=1)
    last, capital = float(result.equity.iloc[-1]), result.account.capital_usdt
    title = f"{capital:,.0f} became {last:,.0f} USDT"
    return _finish(figure, result, "equity and drawdown", title, height=520)


def underwater(result: Result) -> go.Figure:
    """Return how far below its last peak the equity was, bar by bar."""
    path = drawdown_of(result)
    figure = go.Figure()
    draw_line(figure, path, "drawdown", DOWN, fill="tozeroy")
    figure.update_yaxes(tickformat=".0%")
    title = f"At worst {-float(path.min()):.1%} below the peak"
    return _finish(figure, result, "underwater", title)


def monthly(result: Result) -> go.Figure:
    """Return the heat map of compound returns by month, with the year's total beside it."""
    table = monthly_returns(result)
    table["year"] = (1.0 + table.fillna(0.0)).prod(axis=1) - 1.0
    names = [*calendar.month_abbr[1:], "year"]
    values = table.to_numpy()
    reach = float(np.nanmax(np.abs(values[:, :12]))) or 1.0
    figure = go.Figure(
        go.Heatmap(
            z=values, x=names, y=[str(year) for year in table.index], zmid=0, zmin=-reach,
            zmax=reach, colorscale=[[0, DOWN], [0.5, "#ffffff"], [1, UP]], showscale=False,
            texttemplate="%{z:.1%}", hovertemplate="%{y} %{x}: %{z:.2%}<extra></extra>", xgap=2,
            ygap=2, textfont_size=10,
        )
    )  # fmt: skip
    figure.update_yaxes(autorange="reversed", type="category")
    share = (values[:, :12] > 0).sum() / max(1, np.isfinite(values[:, :12]).sum())
    height = 140 + 36 * len(table)
    title = f"{share:.0%} of the months gained"
    return _finish(figure, result, "monthly returns", title, height=height)


def rolling_sharpe(result: Result, *, days: int = 90) -> go.Figure:
    """Return the Sharpe ratio of trailing days, of fewer where the run is short."""
    days = min(days, max(2, len(result.daily_returns) // 3))
    window = result.daily_returns.rolling(days)
    ratio = (window.mean() / window.std() * np.sqrt(365)).dropna()
    figure = go.Figure()
    draw_line(figure, ratio, f"{days} days", ACCENT)
    figure.add_hline(y=0, line_color=QUIET, line_width=1)
    share = float((ratio > 0).mean()) if len(ratio) else 0.0
    title = f"Sharpe ratio of {days} days: above zero {share:.0%} of the time"
    return _finish(figure, result, "rolling Sharpe ratio", title)


def distribution(result: Result) -> go.Figure:
    """Return the histogram of daily returns beside a normal one of the same mean and deviation."""
    daily = result.daily_returns.to_numpy()
    counts, edges = np.histogram(daily, bins=min(80, max(10, len(daily) // 10)))
    middle = (edges[1:] + edges[:-1]) / 2
    deviation = float(daily.std()) or 1.0
    normal = np.exp(-((middle - daily.mean()) ** 2) / (2 * deviation**2)) / (
        deviation * np.sqrt(2 * np.pi)
    )
    colours = np.where(middle < 0, DOWN, UP)
    figure = go.Figure(go.Bar(x=middle, y=counts, marker_color=colours, name="days", opacity=0.8))
    expected = normal * len(daily) * (edges[1] - edges[0])
    figure.add_scatter(x=middle, y=expected, mode="lines", line_color=QUIET, name="normal")
    figure.update_xaxes(tickformat=".1%")
    figure.update_layout(bargap=0.05)
    worst = float(daily.min())
    title = f"Daily returns: the worst day was {worst:.1%}"
    return _finish(figure, result, "distribution of returns", title)


def weights(result: Result) -> go.Figure:
    """Return the weights that were wanted, a row for each symbol: long in green, short in red."""
    wanted = thin_frame(result.weights.ffill().fillna(0.0))
    values = wanted.to_numpy()
    reach = float(np.abs(values).max()) or 1.0
    figure = go.Figure(
        go.Heatmap(
            z=values.T, x=times(wanted.index), y=list(wanted.columns), zmin=-reach, zmax=reach,
            colorscale=[[0, DOWN], [0.5, "#ffffff"], [1, UP]], ygap=3,
            colorbar={"thickness": 12},
            hovertemplate="%{y} at %{x}: %{z:.3f}<extra></extra>",
        )
    )  # fmt: skip
    figure.update_yaxes(autorange="reversed", type="category")
    figure.update_layout(hovermode="closest")
    held = result.weights.ffill().to_numpy()
    title = f"Wanted to be long {(held > 0).mean():.0%} of the time, short {(held < 0).mean():.0%}"
    height = 150 + 34 * values.shape[1]
    return _finish(figure, result, "weights wanted", title, height=height)


def trades(
    result: Result,
    symbol: str | None = None,
    *,
    start: str | pd.Timestamp | None = None,
    end: str | pd.Timestamp | None = None,
) -> go.Figure:
    """Return the fills on the candles of one symbol, by default the last 400 bars.

    Candles stand at the start of their bar, as on the exchange's own charts.

    Raises
    ------
    DataError
        If the market has no such symbol, or no bars in the span.
    """
    symbol = symbol or _busiest(result)
    market = result.market.select([symbol]).between(start, end)
    if market.n_bars == 0:
        raise DataError(f"There are no bars of {symbol} in the span.", "Choose a longer one.")
    market = market.between(market.index[-min(MAX_CANDLES, market.n_bars)], None)
    bars = {
        name: to_bar_start(getattr(market, name), market.interval)[symbol]
        for name in ("open", "high", "low", "close")
    }
    figure = go.Figure(
        go.Candlestick(
            x=times(bars["close"].index), name=symbol, showlegend=False,
            increasing={"line": {"color": UP, "width": 1}, "fillcolor": UP},
            decreasing={"line": {"color": DOWN, "width": 1}, "fillcolor": DOWN}, **bars,
        )
    )  # fmt: skip
    fills = result.fills[(result.fills["symbol"] == symbol)]
    fills = fills[fills["known_at"].between(market.index[0], market.index[-1])]
    for side, mark, colour, name in (
        (1, "triangle-up", ACCENT, "buy"),
        (-1, "triangle-down", "#e08a00", "sell"),
    ):
        own = fills[fills["side"] == side]
        text = [
            f"{qty:g} at {price:g}, {why}"
            for qty, price, why in zip(own["qty"], own["price"], own["reason"], strict=True)
        ]
        figure.add_scatter(
            x=times(pd.DatetimeIndex(own["filled_at"])), y=own["price"], mode="markers", name=name,
            text=text, hovertemplate="%{text}<extra></extra>",
            marker={"symbol": mark, "size": 10, "color": colour,
                    "line": {"width": 1, "color": "#ffffff"}},
        )  # fmt: skip
    figure.update_layout(xaxis_rangeslider_visible=False, hovermode="closest")
    return _finish(
        figure, result, "trades on the candles", f"{symbol}: {len(fills)} fills", height=480
    )


def waterfall(result: Result) -> go.Figure:
    """Return what each layer of reality takes from the Sharpe ratio and the total return."""
    table = result.waterfall()
    figure = make_subplots(
        rows=1, cols=2, shared_yaxes=True, horizontal_spacing=0.06,
        subplot_titles=["Sharpe ratio", "total return"],
    )  # fmt: skip
    for column, (name, shape) in enumerate((("sharpe", ".2f"), ("total_return", ".1%")), start=1):
        values = table[name].to_numpy()
        steps = np.diff(values)
        figure.add_waterfall(
            y=[*table.index, "as traded"], x=[values[0], *steps, 0.0], orientation="h",
            measure=["absolute", *["relative"] * len(steps), "total"],
            text=[f"{v:{shape}}" for v in [*values, values[-1]]], textposition="outside",
            textfont_size=11, constraintext="none", cliponaxis=False,
            increasing_marker_color=UP, decreasing_marker_color=DOWN, totals_marker_color=ACCENT,
            connector_line_color="#c9d1db", showlegend=False, customdata=[0.0, *steps, 0.0],
            hovertemplate="%{y}: %{text} (%{customdata:+.3f})<extra></extra>", row=1, col=column,
        )  # fmt: skip
        # Room beside the longest bar for its number.
        reach = [min(0.0, *values), max(0.0, *values)]
        room = 0.16 * (reach[1] - reach[0])
        figure.update_xaxes(
            range=[reach[0] - room * (reach[0] < 0), reach[1] + room * (reach[1] > 0)], col=column
        )
    figure.update_xaxes(tickformat=".0%", col=2)
    figure.update_yaxes(autorange="reversed")
    figure.update_annotations(font_size=12)
    figure.update_layout(margin_t=84, hovermode="closest")
    kept = f"from {table['sharpe'].iloc[0]:.2f} to {table['sharpe'].iloc[-1]:.2f}"
    title = f"Reality takes the Sharpe ratio {kept}"
    return _finish(figure, result, "realism waterfall", title, height=440)


def heatmap(
    swept: Sweep, x: str | None = None, y: str | None = None, *, measure: str = "sharpe"
) -> go.Figure:
    """Return a measure over two parameters of a sweep, the best over any others.

    Of losses and costs the least is best.

    Raises
    ------
    DataError
        If the sweep varied fewer than two parameters, or lacks the measure.
    """
    names = [str(name) for name, values in swept.grid.items() if len(values) > 1]
    if len(names) < 2 or measure not in swept.table:
        raise DataError(
            f"The sweep varied {', '.join(names) or 'nothing'} and measured "
            f"{', '.join(str(c) for c in swept.table if c not in swept.grid)}.",
            "A heat map needs two varied parameters and one of the measures.",
        )
    x, y = x or names[0], y or names[1]
    values = swept.table[measure].to_numpy()
    is_loss = better_way(measure) < 0
    how: Literal["min", "max"] = "min" if is_loss else "max"
    table = swept.table.pivot_table(index=y, columns=x, values=measure, aggfunc=how)
    best = swept.table.iloc[[int(values.argmin() if is_loss else values.argmax())]]
    figure = go.Figure(
        go.Heatmap(
            z=table.to_numpy(), x=[str(v) for v in table.columns], y=[str(v) for v in table.index],
            colorscale="Viridis", reversescale=is_loss,
            colorbar={"title": describe_name(measure), "thickness": 12},
            hovertemplate=f"{x} %{{x}}, {y} %{{y}}: %{{z:.3f}}<extra></extra>", xgap=1, ygap=1,
        )
    )  # fmt: skip
    figure.add_scatter(
        x=[str(best[x].item())], y=[str(best[y].item())], mode="markers", showlegend=False,
        hoverinfo="skip",
        marker={"symbol": "circle-open", "size": 14, "color": "#ffffff", "line": {"width": 2}},
    )  # fmt: skip
    figure.update_xaxes(title=x, type="category")
    figure.update_yaxes(title=y, type="category")
    figure.update_layout(hovermode="closest")
    title = f"{describe_name(measure)} of {len(swept.table)} configurations"
    title += "" if is_loss else f", {(values > 0).mean():.0%} above 0"
    return titled(figure, title, swept.watermark, name="parameter heat map", height=480)


def compare(results: Mapping[str, Result]) -> go.Figure:
    """Return the growth of several runs from a common start, on a logarithmic axis."""
    figure = go.Figure()
    for k, (name, result) in enumerate(results.items()):
        colour = QUIET if name == "buy and hold" else LINES[k % len(LINES)]
        growth = result.equity / result.account.capital_usdt
        draw_line(figure, growth.where(growth > 0), name, colour)
    figure.update_yaxes(type="log", title="equity, start = 1")
    ratios = {
        name: sharpe(r.returns.to_numpy(), periods=r.market.bars_per_year)
        for name, r in results.items()
    }
    best = max(ratios, key=lambda name: ratios[name])
    watermark = next(iter(results.values())).watermark
    title = f"Highest Sharpe ratio: {best}, {ratios[best]:.2f}"
    return titled(figure, title, watermark, name="comparison", height=480)


def drawdown_of(result: Result) -> pd.Series:
    """Return how far below its last peak the equity was, by bar; a fall is negative."""
    path = -drawdown_path(result.returns.to_numpy())
    return pd.Series(path, index=result.equity.index)


def _name(result: Result) -> str:
    return type(result.strategy).__name__


def _busiest(result: Result) -> str:
    if result.fills.empty:
        return result.market.symbols[0]
    return str(result.fills["symbol"].value_counts().idxmax())


def _finish(
    figure: go.Figure, result: Result, name: str, title: str, *, height: int = 420
) -> go.Figure:
    return titled(figure, f"{_name(result)}. {title}", result.watermark, name=name, height=height)
