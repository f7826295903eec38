"""How figures are drawn: palette, template, thinned lines, titles that carry their watermark."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray

ACCENT: Final = "#2962ff"
QUIET: Final = "#8a94a6"
UP: Final = "#0f9d78"
DOWN: Final = "#d93a4a"
LINES: Final = (ACCENT, "#e08a00", "#7a3fd1", "#00838f", "#b0305c", "#5d7d1f", "#8d6748")
HATCH: Final = {"shape": "/", "fillmode": "overlay", "fgcolor": "#ffffff", "solidity": 0.12}
"""The pattern of bars that stand for something bad: seen without colour, too."""
MAX_POINTS: Final = 2_000
"""Points drawn of a line: more than a screen has columns, few enough for a small page."""

TEMPLATE: Final = go.layout.Template(
    layout={
        "font": {"family": "Inter, 'Segoe UI', Helvetica, Arial, sans-serif", "size": 12,
                 "color": "#1c2530"},
        "title": {"font": {"size": 15}, "x": 0, "xref": "paper", "xanchor": "left",
                  "yref": "container", "y": 1, "yanchor": "top", "pad": {"t": 16},
                  "subtitle": {"font": {"size": 12, "color": "#5b6675"}}},
        "colorway": LINES,
        "paper_bgcolor": "#ffffff",
        "plot_bgcolor": "#ffffff",
        "margin": {"l": 64, "r": 24, "t": 68, "b": 40},
        "xaxis": {"gridcolor": "#eef1f5", "linecolor": "#c9d1db", "ticks": "outside",
                  "tickcolor": "#c9d1db", "zeroline": False},
        "yaxis": {"gridcolor": "#eef1f5", "zerolinecolor": "#c9d1db", "automargin": True},
        "legend": {"orientation": "h", "x": 1, "xanchor": "right", "y": 1.02, "yanchor": "bottom"},
        "hovermode": "x unified",
        "height": 420,
    }
)  # fmt: skip


def titled(
    figure: go.Figure,
    title: str,
    watermark: str,
    *,
    name: str = "",
    note: str = "",
    height: int = 420,
) -> go.Figure:
    """Return a figure with the package's look and a title.

    The title says what was found, ``name`` what kind of figure it is (by which a panel lists it),
    ``note`` how to read it.
    """
    text = f"<b>{watermark}</b> · {title}" if watermark else title
    figure.update_layout(template=TEMPLATE, title_text=text, height=height)
    if name:
        figure.update_layout(meta={"name": name})
    if note:
        figure.update_layout(title_subtitle_text=note, margin_t=96)
    return figure


def draw_line(
    figure: go.Figure,
    series: pd.Series,
    name: str,
    colour: str,
    *,
    row: int | None = None,
    is_shown: bool = True,
    fill: str | None = None,
    width: float = 1.5,
) -> None:
    """Add a series over time to a figure, or to one of its rows, thinned to what can be seen."""
    drawn = thin(series)
    place: dict[str, Any] = {} if row is None else {"row": row, "col": 1}
    figure.add_scatter(
        x=times(drawn.index), y=drawn.to_numpy().round(6), mode="lines", name=name, fill=fill,
        fillcolor="rgba(217, 58, 74, 0.18)", line={"color": colour, "width": width},
        showlegend=is_shown, **place,
    )  # fmt: skip


def draw_median(figure: go.Figure, x: Any, paths: NDArray[np.floating]) -> None:
    """Add the median of equity paths of shape (n_paths, n_points), and the line of the start."""
    figure.add_scatter(
        x=x, y=np.median(paths, axis=0), mode="lines", name="median",
        line={"color": ACCENT, "width": 2.5}, hovertemplate="%{y:.2f}<extra>median</extra>",
    )  # fmt: skip
    figure.add_hline(y=1, line_color=QUIET, line_width=1)


def times(index: pd.Index) -> list[str]:
    """Return moments as text, since plotly would encode zones and microseconds in its own way."""
    return list(pd.DatetimeIndex(index).strftime("%Y-%m-%d %H:%M:%S"))


def thin(series: pd.Series, *, points: int = MAX_POINTS) -> pd.Series:
    """Return a series with the least and the greatest value of each stretch, for drawing."""
    if len(series) <= points:
        return series
    size = -(-2 * len(series) // points)
    stretch = np.arange(len(series)) // size
    values = series.reset_index(drop=True)
    known = values.dropna()
    grouped = known.groupby(stretch[known.index])
    rows = pd.concat([grouped.idxmin(), grouped.idxmax()])
    ends = pd.Series([0, len(series) - 1])
    keep = np.unique(pd.concat([rows, ends]).to_numpy(dtype=np.int64))
    return series.iloc[keep]


def thin_frame(frame: pd.DataFrame, *, points: int = MAX_POINTS) -> pd.DataFrame:
    """Return the rows of a frame in which any of its columns is drawn by ``thin``."""
    if len(frame) <= points:
        return frame
    share = max(4, points // max(1, frame.shape[1]))
    kept = [thin(frame[name], points=share).index for name in frame.columns]
    return frame.loc[frame.index.isin(np.concatenate([index.to_numpy() for index in kept]))]
