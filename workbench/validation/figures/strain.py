"""What hurts a strategy: days that broke others, shocks that never were, and growing costs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from workbench.core.drawing import ACCENT, DOWN, HATCH, LINES, QUIET, draw_median, times, titled
from workbench.core.errors import DataError
from workbench.validation.montecarlo import follow

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from workbench.validation.episodes import EpisodeReplay
    from workbench.validation.montecarlo import Outcomes
    from workbench.validation.stress import Ladder, ShockReplay

MAX_ROWS: Final = 300
NAMES: Final = {
    "slippage_bps": "slippage, bps at each fill",
    "latency_s": "latency, from decision to fill",
    "fee_scale": "fees, against those of today",
    "funding_scale": "funding, against what was paid",
}


def episodes(replay: EpisodeReplay, *, watermark: str) -> go.Figure:
    """Return what the strategy and buy-and-hold made of each episode that the market holds."""
    table = replay.table.dropna(subset="total_return")
    returns, labels = table["total_return"].astype(float), list(table.index)
    figure = go.Figure()
    _signed(figure, returns, labels)
    figure.add_scatter(
        x=table["hold_total_return"], y=labels, mode="markers", name="buy and hold",
        marker={"symbol": "line-ns-open", "size": 16, "color": QUIET, "line": {"width": 3}},
        hovertemplate="%{x:.1%}<extra>buy and hold</extra>",
    )  # fmt: skip
    _across(figure)
    ruined = int((table["n_liquidations"] > 0).sum())
    title = f"None of {len(replay.table)} episodes lies in this market"
    if labels:
        title = f"Worst of {len(table)} episodes: {returns.idxmin()}, {returns.min():.1%}"
    return titled(
        figure,
        title,
        watermark,
        name="historical episodes",
        note=f"A fresh account through each, bar by bar. Liquidated in {ruined}. "
        f"Not covered by this market: {len(replay.not_covered)}.",
        height=170 + 30 * len(table),
    )


def shocks(replay: ShockReplay) -> go.Figure:
    """Return what was left of an account after each shock, at every moment at which it was put.

    Raises
    ------
    DataError
        If the market cannot show any of them.
    """
    table = replay.table.dropna(subset="mean_return").sort_values("mean_return", ascending=False)
    if len(table) < 2:
        raise DataError(
            "The market cannot show any of the shocks.", "Name shocks of its own symbols."
        )
    runs = replay.runs["total_return"].dropna()
    figure = go.Figure()
    figure.add_scatter(
        x=runs.to_numpy(), y=runs.index.get_level_values("shock"), mode="markers", name="a moment",
        marker={"color": QUIET, "size": 7, "opacity": 0.6, "symbol": "circle-open"},
        text=times(runs.index.get_level_values("moment")),
        hovertemplate="%{text}: %{x:.1%}<extra>%{y}</extra>",
    )  # fmt: skip
    figure.add_scatter(
        x=table["mean_return"], y=table.index, mode="markers", name="mean",
        marker={"color": ACCENT, "size": 11, "symbol": "diamond"},
        hovertemplate="%{x:.1%}<extra>mean</extra>",
    )  # fmt: skip
    ruined = table[table["liquidated"] > 0]
    figure.add_scatter(
        x=ruined["worst_return"], y=ruined.index, mode="markers+text", name="liquidated",
        marker={"color": DOWN, "size": 12, "symbol": "x"}, textposition="top center",
        text=[f"{share:.0%} of the moments" for share in ruined["liquidated"]], cliponaxis=False,
    )  # fmt: skip
    _across(figure)
    figure.update_yaxes(categoryorder="array", categoryarray=list(table.index))
    worst = table["worst_return"].astype(float).idxmin()
    skipped = len(replay.table) - len(table)
    return titled(
        figure,
        f"Worst shock: {worst}, which left {1 + table['worst_return'].min():.0%} of the account",
        replay.watermark,
        name="shocks",
        note=f"The account over the days from each shock on, at {table['moments'].max():.0f} "
        f"moments; not shown by this market: {skipped} shocks.",
        height=170 + 30 * len(table),
    )


def ladders(rungs: Sequence[Ladder]) -> go.Figure:
    """Return the Sharpe ratio on rung after rung of one cost after another, the break-even marked.

    Raises
    ------
    DataError
        If there is no ladder.
    """
    if not rungs:
        raise DataError("There is no ladder to draw.", "Make some with stress.cost_ladder.")
    figure = make_subplots(rows=1, cols=len(rungs), shared_yaxes=True, horizontal_spacing=0.04)
    words = []
    for column, ladder in enumerate(rungs, start=1):
        place: dict[str, Any] = {"row": 1, "col": column}
        values = ladder.table["sharpe"]
        steps = np.arange(len(values))
        figure.add_scatter(
            x=steps, y=values.round(3), mode="lines+markers", showlegend=False,
            line={"color": ACCENT}, hovertemplate="%{y:.2f}<extra></extra>", **place,
            marker={"size": 9, "color": np.where(values > 0, ACCENT, DOWN),
                    "symbol": np.where(values > 0, "circle", "x")},
        )  # fmt: skip
        figure.add_hline(y=0, line_color=QUIET, line_width=1, **place)
        end = ladder.break_even
        name = NAMES[ladder.of].partition(",")[0]
        if np.isfinite(end):
            at = float(np.interp(end, values.index, steps))
            figure.add_vline(x=at, line={"color": DOWN, "dash": "dash"}, **place)
            unit = " bps" if ladder.of == "slippage_bps" else ""
            words.append(f"{_rung(ladder.of, end)}{unit} of {name}")
        figure.update_xaxes(
            title=NAMES[ladder.of], tickvals=steps, tickangle=0,
            ticktext=[_rung(ladder.of, value) for value in values.index], **place,
        )  # fmt: skip
    figure.update_yaxes(title="annual Sharpe ratio", row=1, col=1)
    figure.update_layout(hovermode="closest")
    title = f"Nothing is left at {' or '.join(words)}" if words else "Every rung leaves something"
    return titled(
        figure,
        title,
        rungs[0].watermark,
        name="ladders of cost",
        note="One cost grows, the others stay as they are.",
        height=420,
    )


def monte_carlo(returns: NDArray[np.floating], *, watermark: str) -> go.Figure:
    """Return where drawn paths of returns of shape (n_paths, n_bars) lead: median and bands."""
    equity = np.cumprod(1.0 + np.asarray(returns, dtype=np.float64), axis=1)
    rows = np.unique(np.linspace(0, equity.shape[1] - 1, MAX_ROWS).astype(int))
    x = rows + 1
    figure = go.Figure()
    for low, high, opacity in ((0.05, 0.95, 0.14), (0.25, 0.75, 0.26)):
        below, above = np.quantile(equity[:, rows], [low, high], axis=0)
        figure.add_scatter(
            x=np.r_[x, x[::-1]], y=np.r_[above, below[::-1]], fill="toself", mode="lines",
            line_width=0, fillcolor=f"rgba(41, 98, 255, {opacity})", hoverinfo="skip",
            name=f"{high - low:.0%} of the paths",
        )  # fmt: skip
    draw_median(figure, x, equity[:, rows])
    figure.update_xaxes(title="bars from today")
    figure.update_yaxes(title="equity, start = 1")
    found = follow(returns)
    return titled(
        figure,
        f"{found.p_loss:.0%} of {len(equity):,} paths lose; in the worst twentieth "
        f"{found.value_at_risk():.0%} or more of the account",
        watermark,
        name="Monte Carlo",
        note=f"Half of them fall by {np.median(found.drawdown):.0%} or more from a peak on the "
        "way.",
    )


def ruin(outcomes: Mapping[str, Outcomes], *, watermark: str) -> go.Figure:
    """Return how likely a fall from a peak is, by its depth, for each way of drawing the future."""
    figure = go.Figure()
    levels = np.linspace(0.0, 1.0, 101)
    dashes = ("solid", "dash", "dot", "dashdot", "longdash")
    for k, (name, found) in enumerate(outcomes.items()):
        figure.add_scatter(
            x=levels, y=[found.p_ruin(level) for level in levels], mode="lines", name=name,
            line={"color": LINES[k % len(LINES)], "dash": dashes[k % len(dashes)], "width": 2},
        )  # fmt: skip
    figure.add_vline(x=0.25, line_color=QUIET, line_dash="dot")
    figure.update_xaxes(title="fall from a peak", tickformat=".0%")
    figure.update_yaxes(title="share of the paths that fall so far", tickformat=".0%")
    worst = max(outcomes, key=lambda name: outcomes[name].p_ruin(0.25))
    return titled(
        figure,
        f"A fall by a quarter: in {outcomes[worst].p_ruin(0.25):.0%} of the paths with {worst}",
        watermark,
        name="chance of ruin",
        note="The dotted line marks a fall by a quarter. Half of an account lost takes a doubling "
        "to come back.",
    )


def _rung(of: str, value: float) -> str:
    if of == "latency_s":
        for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
            if value >= size:
                return f"{value / size:.3g}{unit}"
        return f"{value:.3g}s"
    return f"{value:.3g}" + ("" if of == "slippage_bps" else "x")


def _signed(figure: go.Figure, returns: pd.Series, labels: Sequence[str]) -> None:
    names, values = np.asarray(labels), returns.to_numpy()
    for side, name, colour, pattern in (
        (values >= 0, "strategy gained", ACCENT, {}),
        (values < 0, "strategy lost", DOWN, HATCH),
    ):
        figure.add_bar(
            x=values[side], y=names[side], orientation="h", name=name,
            marker={"color": colour, "pattern": pattern}, texttemplate="%{x:.1%}",
            textposition="outside", cliponaxis=False, hovertemplate="%{x:.1%}<extra></extra>",
        )  # fmt: skip
    figure.update_yaxes(categoryorder="array", categoryarray=list(labels)[::-1])


def _across(figure: go.Figure) -> None:
    figure.add_vline(x=0, line_color=QUIET, line_width=1)
    figure.update_xaxes(tickformat=".0%", title="of the account")
    figure.update_layout(hovermode="closest", barmode="overlay")
