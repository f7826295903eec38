"""What lies around a choice: its parameters a step off, and its beginning at other dates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from workbench.core.drawing import ACCENT, DOWN, QUIET, times, titled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workbench.validation.robustness import Neighbourhood
    from workbench.validation.variations import Variations


def plateau(found: Neighbourhood | None, *, watermark: str) -> go.Figure:
    """Return the scores around a chosen configuration: a line, a map, or a step in each parameter.

    None stands for a strategy that was not chosen from anything.
    """
    figure = go.Figure()
    if found is None:
        title = "There is one configuration only: no neighbour to look at"
        return titled(figure, title, watermark, name="parameter plateau", height=160)
    varied = [name for name in found.peak if found.table[name].nunique() > 1]
    if len(varied) == 1:
        _ridge(figure, found, varied[0])
    elif len(varied) == 2:
        _map(figure, found, varied)
    else:
        _tornado(figure, found)
    figure.update_layout(hovermode="closest")
    title = "Its Sharpe ratio is not above zero: there is no peak to lose"
    if found.score > 0:
        title = (
            f"A step away it keeps {found.plateau:.0%} of its Sharpe ratio; {found.kept:.0%} of "
            f"{found.n_neighbours} neighbours keep half"
        )
    words = {True: f"The grid ends at it in {' and '.join(found.edges)}.", False: ""}
    return titled(
        figure,
        title,
        watermark,
        name="parameter plateau",
        note="A lone peak is luck; on a plateau the parameters may be a little off. "
        + words[bool(found.edges)],
        height=480,
    )


def start_dates(found: Variations) -> go.Figure:
    """Return what fresh accounts made that began at many dates, beside holding from each."""
    table = found.table
    x, y = times(table.index), table["total_return"].to_numpy()
    figure = go.Figure()
    figure.add_scatter(
        x=x, y=table["hold_return"].round(4), mode="lines", name="buy and hold",
        line={"color": QUIET, "dash": "dot"},
    )  # fmt: skip
    for side, name, colour, symbol in (
        (y >= 0, "gained", ACCENT, "circle"),
        (y < 0, "lost", DOWN, "x"),
    ):
        figure.add_scatter(
            x=np.asarray(x)[side], y=y[side].round(4), mode="markers", name=name,
            marker={"color": colour, "symbol": symbol, "size": 9},
        )  # fmt: skip
    figure.add_hline(y=0, line_color=QUIET, line_width=1)
    figure.update_xaxes(title="first decision")
    figure.update_yaxes(title="return of the account", tickformat=".0%")
    return titled(
        figure,
        f"Begun at {len(table)} dates it lost from {(y < 0).mean():.0%} of them; the worst lost "
        f"{max(0.0, -float(y.min())):.0%}",
        found.watermark,
        name="start dates",
        note="Windows overlap: the spread says how much the date decides, not how sure the mean "
        "is.",
    )


def _ridge(figure: go.Figure, found: Neighbourhood, name: str) -> None:
    table = found.table.sort_values(name)
    figure.add_scatter(
        x=table[name].astype(str), y=table["score"].round(4), mode="lines+markers", name="score",
        line_color=ACCENT,
    )  # fmt: skip
    figure.add_scatter(
        x=[str(found.peak[name])], y=[found.score], mode="markers", name="chosen",
        marker={"symbol": "diamond", "size": 14, "color": DOWN},
    )  # fmt: skip
    figure.update_xaxes(title=name, type="category")
    figure.update_yaxes(title="annual Sharpe ratio")


def _map(figure: go.Figure, found: Neighbourhood, names: Sequence[str]) -> None:
    x, y = names
    table = found.table.pivot_table(index=y, columns=x, values="score", sort=True)
    figure.add_heatmap(
        z=table.to_numpy().round(4), x=[str(v) for v in table.columns],
        y=[str(v) for v in table.index], colorscale="Viridis", xgap=1, ygap=1,
        colorbar={"title": "Sharpe", "thickness": 12},
        hovertemplate=f"{x} %{{x}}, {y} %{{y}}: %{{z:.2f}}<extra></extra>",
    )  # fmt: skip
    column, row = list(table.columns).index(found.peak[x]), list(table.index).index(found.peak[y])
    for reach, dash in ((0.5, "solid"), (1.5, "dash")):
        # White under black is seen on every colour of the map.
        for colour, width in (("#ffffff", 5), ("#1c2530", 2)):
            figure.add_shape(
                type="rect", line={"color": colour, "width": width, "dash": dash},
                x0=max(column - reach, -0.5), x1=min(column + reach, table.shape[1] - 0.5),
                y0=max(row - reach, -0.5), y1=min(row + reach, table.shape[0] - 0.5),
            )  # fmt: skip
    figure.update_xaxes(title=x, type="category")
    figure.update_yaxes(title=y, type="category")


def _tornado(figure: go.Figure, found: Neighbourhood) -> None:
    steps = found.steps.dropna(how="all")
    for side, symbol in (("down", "triangle-left"), ("up", "triangle-right")):
        figure.add_scatter(
            x=steps[side].round(4), y=list(steps.index), mode="markers", name=f"a step {side}",
            marker={"symbol": symbol, "size": 12, "color": ACCENT if side == "up" else DOWN},
        )  # fmt: skip
    figure.add_vline(
        x=found.score, line_color=QUIET, line_width=2, annotation_text=f"chosen {found.score:.2f}"
    )
    figure.add_vline(x=0, line_color=QUIET, line_width=1, line_dash="dot")
    figure.update_xaxes(title="annual Sharpe ratio")
