"""What came after the choice, over time: stitched windows, whole paths, and the trials made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from workbench.core.drawing import ACCENT, DOWN, LINES, QUIET, draw_line, draw_median, times, titled
from workbench.core.measures import DAYS_A_YEAR

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from workbench.core.records import Market
    from workbench.validation.leaks import LeakReport
    from workbench.validation.walkforward import Paths, WalkForward

MAX_TEXTS: Final = 20
MAX_PATHS: Final = 60
MAX_ROWS: Final = 300


def walk_forward(
    walk: WalkForward, days: pd.DatetimeIndex, params: pd.DataFrame, *, watermark: str
) -> go.Figure:
    """Return the stitched equity, the Sharpe ratios of each window, and what each one chose.

    ``days`` is the calendar of the returns that were walked; ``params`` has a row for each
    configuration.
    """
    names = list(params)
    figure = make_subplots(
        rows=3, cols=1, shared_xaxes=True, vertical_spacing=0.05,
        row_heights=[0.5, 0.27, 0.06 + 0.06 * len(names)],
    )  # fmt: skip
    equity = pd.Series(np.cumprod(1.0 + walk.returns), index=days[walk.rows])
    draw_line(figure, equity, "out of sample, stitched", ACCENT, row=1, width=2)
    figure.add_hline(y=1, line_color=QUIET, line_width=1, row=1, col=1)
    first, last = days[walk.table["first"]], days[walk.table["last"]]
    for k, (start, end) in enumerate(zip(times(first), times(last), strict=True)):
        if k % 2:
            figure.add_vrect(x0=start, x1=end, fillcolor=QUIET, opacity=0.1, line_width=0,
                             layer="below")  # fmt: skip
    middle = times(first + (last - first) / 2)
    for column, name, colour, symbol in (
        ("is_sharpe", "in sample", QUIET, "circle-open"),
        ("oos_sharpe", "out of sample", ACCENT, "diamond"),
    ):
        figure.add_scatter(
            x=middle, y=walk.table[column].round(3), name=name, mode="markers", row=2, col=1,
            marker={"color": colour, "symbol": symbol, "size": 9},
        )  # fmt: skip
    figure.add_hline(y=0, line_color=QUIET, line_width=1, row=2, col=1)
    _choices(figure, params.iloc[walk.table["chosen"]], middle)
    figure.update_yaxes(title="equity, start = 1", row=1, col=1)
    figure.update_yaxes(title="Sharpe ratio", row=2, col=1)
    # Without a gain in sample the efficiency is NaN: there was nothing to keep.
    kept = f"{walk.efficiency:.0%}" if walk.efficiency > 0 else "nothing"
    return titled(
        figure,
        f"Walk-forward Sharpe ratio {walk.sharpe:.2f}: {walk.consistency:.0%} of "
        f"{len(walk.table)} windows earned; {kept} of the return in sample was kept",
        watermark,
        name="walk-forward",
        note="Each window chooses anew from what lies before it and is judged only on what comes "
        "after.",
        height=560 + 24 * len(names),
    )


def paths(found: Paths, days: pd.DatetimeIndex, *, watermark: str) -> go.Figure:
    """Return every path of combinatorial cross-validation, those that lost apart."""
    n = len(found.returns)
    return fan(
        found.returns, days, of="path", watermark=watermark,
        title=f"{round(found.p_loss * n)} of {n} paths lost; their median Sharpe ratio is "
        f"{np.median(found.sharpes):.2f}",
        note="Each path is out of sample from end to end: its choices never saw what they are "
        "judged on.",
    )  # fmt: skip


def fan(
    returns: NDArray[np.floating],
    index: pd.Index,
    *,
    of: str,
    title: str,
    watermark: str,
    note: str = "",
) -> go.Figure:
    """Return the equity of many paths from a common start, those that lost apart, and their median.

    Parameters
    ----------
    returns : ndarray of shape (n_paths, n_periods)
        Simple returns.
    index : Index of length n_periods
        Moments or numbers.
    of : str
        What a path is.
    title, watermark, note : str

    Returns
    -------
    Figure
        Some paths are drawn, and some of their rows; the median and the shares are those of all.
    """
    equity = np.cumprod(1.0 + np.asarray(returns, dtype=np.float64), axis=1)
    lost = equity[:, -1] <= 1.0
    rows = np.unique(np.linspace(0, len(index) - 1, MAX_ROWS).astype(int))
    is_time = isinstance(index, pd.DatetimeIndex)
    x = times(index[rows]) if is_time else list(index[rows])
    drawn = np.arange(len(equity))[:: -(-len(equity) // MAX_PATHS)]
    figure = go.Figure()
    for own, name, colour, dash in (
        (drawn[~lost[drawn]], f"{of} that gained ({(~lost).mean():.0%})", QUIET, "solid"),
        (drawn[lost[drawn]], f"{of} that lost ({lost.mean():.0%})", DOWN, "dot"),
    ):
        for k, path in enumerate(own):
            figure.add_scatter(
                x=x, y=equity[path, rows].astype(np.float32), mode="lines", name=name,
                legendgroup=name, showlegend=k == 0, hoverinfo="skip", opacity=0.55,
                line={"color": colour, "width": 1, "dash": dash},
            )  # fmt: skip
    draw_median(figure, x, equity[:, rows])
    figure.update_yaxes(title="equity, start = 1", type="log" if equity.max() > 5 else "linear")
    return titled(figure, title, watermark, name=f"every {of}", note=note, height=460)


def prediction(predicted: NDArray[np.floating], seen: float, *, watermark: str) -> go.Figure:
    """Return the predicted mean daily return over sealed days, with the one that was seen."""
    yearly, own = DAYS_A_YEAR * np.asarray(predicted), DAYS_A_YEAR * seen
    below = float((yearly <= own).mean())
    counts, edges = np.histogram(yearly, bins=40)
    figure = go.Figure(
        go.Bar(
            x=(edges[1:] + edges[:-1]) / 2, y=counts / len(yearly), width=np.diff(edges),
            marker_color=QUIET, name="predicted", hovertemplate="%{x:.0%}: %{y:.1%}<extra></extra>",
        )
    )  # fmt: skip
    figure.add_vrect(
        x0=min(edges[0], own), x1=np.quantile(yearly, 0.05), fillcolor=DOWN, opacity=0.1,
        line_width=0, layer="below", annotation_text="below what was predicted",
        annotation_position="top left",
    )  # fmt: skip
    figure.add_vline(
        x=own, line={"color": ACCENT, "width": 2}, annotation_text=f"seen {own:.0%}",
        annotation_position="top right",
    )  # fmt: skip
    figure.update_xaxes(title="mean return over the sealed days, a year", tickformat=".0%")
    figure.update_yaxes(title="share of the predictions", tickformat=".0%")
    figure.update_layout(hovermode="closest", bargap=0)
    return titled(
        figure,
        f"On sealed data it earned {own:.0%} a year, more than {below:.0%} of the predictions",
        watermark,
        name="sealed data",
        note="Predicted from the returns out of sample before: the luck of the days and the error "
        "of the prediction are both in it.",
    )


def trials(made: pd.Series, *, watermark: str, marked: pd.Timestamp | None = None) -> go.Figure:
    """Return how many trials there were over time, and how many at a marked moment.

    ``made`` holds the moment at which each trial was made.
    """
    moments = pd.DatetimeIndex(made).sort_values()
    counts = pd.Series(np.arange(1, len(moments) + 1), index=moments)
    if marked is not None and marked > moments[-1]:
        until = pd.Series([len(moments)], index=pd.DatetimeIndex([marked]))
        counts = pd.concat([counts, until])
    figure = go.Figure()
    draw_line(figure, counts, "trials", ACCENT)
    figure.update_traces(line_shape="hv")
    title = f"{len(moments):,} trials are on record"
    if marked is not None:
        seen = int((moments <= marked).sum())
        figure.add_scatter(
            x=times(pd.DatetimeIndex([marked])), y=[seen], mode="markers", name="this verdict",
            marker={"symbol": "diamond", "size": 11, "color": LINES[1]},
        )  # fmt: skip
        title = f"{seen:,} trials when it was judged, {len(moments):,} now"
    figure.update_yaxes(title="trials made", rangemode="tozero")
    return titled(figure, title, watermark, name="trials over time", height=320)


def leaks(report: LeakReport, market: Market) -> go.Figure:
    """Return the first bars at which an answer of the past moved with the future, on the prices.

    Prices are those of the first symbol.
    """
    figure = go.Figure()
    price = market.close[market.symbols[0]].ffill()
    draw_line(figure, price, market.symbols[0], QUIET, width=1)
    found = report.findings
    if found:
        at = pd.DatetimeIndex([finding.known_at for finding in found])
        figure.add_scatter(
            x=times(at), y=price.reindex(at, method="ffill").to_numpy(), mode="markers",
            name="first bar that leaks", text=[finding.sentence for finding in found],
            hovertemplate="%{text}<extra></extra>",
            marker={"symbol": "x", "size": 12, "color": DOWN},
        )  # fmt: skip
    title = f"Nothing of the past moved in {report.n_probes} changed futures"
    if found:
        title = f"It reads the future: {found[0].field} reaches its {found[0].answer}"
    elif not report.is_judged:
        title = "Nothing can be said of it: it could not be judged"
    figure.update_layout(hovermode="closest")
    return titled(figure, f"{report.subject}. {title}", market.watermark, name="leaks")


def _choices(figure: go.Figure, chosen: pd.DataFrame, middle: Sequence[str]) -> None:
    mode = "text" if len(chosen) <= MAX_TEXTS else "markers"
    for k, name in enumerate(chosen):
        figure.add_scatter(
            x=middle, y=[k] * len(chosen), text=[f"{value}" for value in chosen[name]], mode=mode,
            showlegend=False, hovertemplate=f"{name} %{{text}}<extra></extra>", row=3, col=1,
            marker={"symbol": "square", "size": 10, "color": chosen[name].rank(method="dense"),
                    "colorscale": "Viridis"},
        )  # fmt: skip
    names = [str(name) for name in chosen]
    figure.update_yaxes(tickvals=list(range(len(names))), ticktext=names, showgrid=False,
                        zeroline=False, range=[-0.7, len(names) - 0.3], row=3, col=1)  # fmt: skip
