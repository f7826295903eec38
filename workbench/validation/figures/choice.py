"""What choosing the best of many is worth: overfitting, deflation, luck and plateaus."""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING, Final

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from workbench.core.drawing import ACCENT, DOWN, HATCH, LINES, QUIET, titled
from workbench.core.measures import DAYS_A_YEAR
from workbench.validation.deflation import deflated_sharpe

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from workbench.validation.deflation import SharpeStats
    from workbench.validation.maxstat import MaxStatistic
    from workbench.validation.overfit import Cscv, Floats
    from workbench.validation.permute import PermutationTest

N_BINS: Final = 36
MAX_RANKS: Final = 40
MAX_DOTS: Final = 1_500
YEAR: Final = sqrt(DAYS_A_YEAR)
"""What makes a daily Sharpe ratio an annual one."""


def overfitting(cscv: Cscv | None, *, watermark: str) -> go.Figure:
    """Return the histogram of where the choices ended out of sample, the worse half shaded.

    None stands for a strategy that was not chosen from anything.
    """
    if cscv is None:
        return _nothing_chosen(watermark, "probability of overfitting")
    places, counts, width = _count(cscv.logits)
    figure = go.Figure()
    _bars(
        figure, places, counts / cscv.n_combinations, width, is_bad=places <= 0,
        names=("ended in the better half", "ended in the worse half"), colour=ACCENT,
    )  # fmt: skip
    low = min(float(cscv.logits.min()), -width)
    figure.add_vrect(
        x0=low - width, x1=0, fillcolor=DOWN, opacity=0.08, line_width=0, layer="below",
        annotation={"text": f"at or below the median: {cscv.pbo:.0%}", "font_color": DOWN},
        annotation_position="top left",
    )  # fmt: skip
    figure.add_vline(x=0, line_color=QUIET, line_width=1, line_dash="dot")
    figure.update_xaxes(title="logit of the choice's rank out of sample (0 is the median)")
    figure.update_yaxes(title="share of the splits", tickformat=".0%")
    figure.update_layout(hovermode="closest", bargap=0)
    bad = int((cscv.logits <= 0).sum())
    return titled(
        figure,
        f"PBO {cscv.pbo:.0%}: {bad:,} of {cscv.n_combinations:,} choices ended in the worse half",
        watermark,
        name="probability of overfitting",
        note="The best on one half of the data, ranked among all on the other half. "
        "Luck alone gives 50 %.",
    )


def degradation(cscv: Cscv | None, *, watermark: str) -> go.Figure:
    """Return what each choice earned in sample against out of sample, with the line through all.

    Of many splits some are drawn; line and shares are those of all. None stands for a strategy that
    was not chosen from anything.
    """
    if cscv is None:
        return _nothing_chosen(watermark, "in sample against out of sample")
    step = -(-cscv.n_combinations // MAX_DOTS)
    x, y = YEAR * cscv.is_best[::step], YEAR * cscv.oos_best[::step]
    figure = go.Figure()
    for name, side, colour, symbol in (
        ("lost out of sample", y < 0, DOWN, "x-thin-open"),
        ("earned out of sample", y >= 0, ACCENT, "circle"),
    ):
        figure.add_scatter(
            x=x[side].round(3), y=y[side].round(3), mode="markers", name=name,
            marker={"color": colour, "symbol": symbol, "size": 5, "opacity": 0.45},
            hovertemplate="%{x:.2f} in sample, %{y:.2f} out of sample<extra></extra>",
        )  # fmt: skip
    ends = np.array([x.min(), x.max()])
    figure.add_scatter(
        x=ends, y=ends, mode="lines", name="nothing lost", hoverinfo="skip",
        line={"color": QUIET, "dash": "dot", "width": 1},
    )  # fmt: skip
    if np.isfinite(cscv.slope):
        figure.add_scatter(
            x=ends, y=YEAR * cscv.intercept + cscv.slope * ends, mode="lines", name="degradation",
            line={"color": LINES[1], "width": 2.5}, hoverinfo="skip",
        )  # fmt: skip
    figure.add_hline(y=0, line_color=QUIET, line_width=1)
    figure.update_xaxes(title="annual Sharpe ratio in sample, of the best there")
    figure.update_yaxes(title="the same one out of sample")
    figure.update_layout(hovermode="closest")
    drop = YEAR * float(cscv.is_best.mean() - cscv.oos_best.mean())
    return titled(
        figure,
        f"{cscv.p_loss:.0%} of the choices lost out of sample; a choice gave up {drop:.2f} of its "
        "Sharpe ratio",
        watermark,
        name="in sample against out of sample",
        note=f"Line: slope {cscv.slope:.2f}, R² {cscv.r2:.2f}, over {cscv.n_combinations:,} splits."
        " Where it falls, looking better in sample meant doing worse after.",
        height=480,
    )  # fmt: skip


def dominance(cscv: Cscv, *, watermark: str) -> go.Figure:
    """Return the distribution out of sample of what was chosen beside that of all there was."""
    table = cscv.dominance
    x = YEAR * table.index.to_numpy()
    figure = make_subplots(
        rows=2, cols=1, shared_xaxes=True, row_heights=[0.68, 0.32], vertical_spacing=0.06
    )
    for column, name, colour, dash in (
        ("all", "one drawn at random", QUIET, "dash"),
        ("selected", "the one chosen in sample", ACCENT, "solid"),
    ):
        figure.add_scatter(
            x=x, y=table[column], mode="lines", name=name, line={"color": colour, "dash": dash},
            row=1, col=1,
        )  # fmt: skip
    second = YEAR * table["second_order"]
    figure.add_scatter(
        x=x, y=second, mode="lines", fill="tozeroy", showlegend=False, name="in favour of choosing",
        line_color=ACCENT if (second >= -1e-12).all() else DOWN, row=2, col=1,
    )  # fmt: skip
    figure.update_yaxes(title="share below", tickformat=".0%", row=1, col=1)
    figure.update_yaxes(title="second order", row=2, col=1)
    figure.update_xaxes(title="annual Sharpe ratio out of sample", row=2, col=1)
    words = {
        "first": "Choosing beats drawing at random at every level",
        "second": "Choosing beats drawing at random for who shuns risk",
        "none": "Choosing the best in sample does not beat drawing one at random",
    }
    return titled(
        figure,
        words[cscv.dominates],
        watermark,
        name="stochastic dominance",
        note="First order: the blue line never lies above the grey one. Second order: the area "
        "between them, added up from the left, never turns negative.",
        height=480,
    )


def deflation(
    stats: SharpeStats, *, variance: float, n_trials: int, n_effective: float, watermark: str
) -> go.Figure:
    """Return how the deflated Sharpe ratio falls as the trials grow, this one's count marked.

    ``variance`` is that of the trials' daily Sharpe ratios; ``n_effective`` is how many independent
    trials they amount to.
    """
    counts = np.unique(np.geomspace(1, max(1_000, 10 * n_trials), 200).round())
    figure = make_subplots(
        rows=2, cols=1, shared_xaxes=True, row_heights=[0.5, 0.5], vertical_spacing=0.07
    )
    lines = np.array([deflated_sharpe(stats, n_trials=n, variance=variance) for n in counts])
    for row, y, name, colour in (
        (1, YEAR * lines[:, 1], "what luck gives the best", LINES[1]),
        (2, lines[:, 0], "deflated Sharpe ratio", ACCENT),
    ):
        figure.add_scatter(x=counts, y=y, mode="lines", name=name, line_color=colour, row=row,
                           col=1)  # fmt: skip
    figure.add_hline(y=YEAR * stats.sharpe, line_color=ACCENT, line_dash="dash", row=1, col=1,
                     annotation_text="this one", annotation_position="top left")  # fmt: skip
    figure.add_hline(y=0.95, line_color=QUIET, line_dash="dot", row=2, col=1,
                     annotation_text="95 %", annotation_position="top left")  # fmt: skip
    marks = ((n_trials, "all trials", "diamond"), (n_effective, "effective trials", "circle"))
    found = [deflated_sharpe(stats, n_trials=n, variance=variance) for n, _, _ in marks]
    for (n, name, symbol), (deflated, bar) in zip(marks, found, strict=True):
        for row, value, text in ((1, YEAR * bar, ""), (2, deflated, f"{n:,.0f}: {deflated:.0%}")):
            figure.add_scatter(
                x=[n], y=[value], mode="markers+text", name=name, text=text, showlegend=row == 2,
                textposition="top right", row=row, col=1,
                marker={"symbol": symbol, "size": 11, "color": DOWN, "line": {"width": 1}},
            )  # fmt: skip
    figure.update_xaxes(type="log", dtick=1)
    figure.update_xaxes(title="number of trials", row=2, col=1)
    figure.update_yaxes(title="annual Sharpe ratio", row=1, col=1)
    figure.update_yaxes(title="probability", tickformat=".0%", range=[-0.03, 1.12], row=2, col=1)
    figure.update_layout(hovermode="closest")
    return titled(
        figure,
        f"Deflated Sharpe ratio {found[0][0]:.0%} after {n_trials:,} trials, {found[1][0]:.0%} "
        f"for the {n_effective:,.0f} they amount to",
        watermark,
        name="deflated Sharpe ratio",
        note="The probability that its true Sharpe ratio exceeds what luck gives the best of so "
        "many. 95 % is the usual bar.",
        height=520,
    )


def luck(test: MaxStatistic, *, watermark: str) -> go.Figure:
    """Return the best of as many tries without an edge, beside the candidate."""
    return null(
        test.null, test.statistic, p_value=test.p_value, threshold=test.threshold(),
        of=f"studentised mean of the best of {test.n_trials:,} tries", watermark=watermark,
        name="luck of the best of many",
    )  # fmt: skip


def permutation(test: PermutationTest, *, watermark: str) -> go.Figure:
    """Return the best Sharpe ratio of the sweep on each permuted market, beside the real one."""
    return null(
        test.null, test.observed, p_value=test.p_value,
        of="best annual Sharpe ratio of the sweep on permuted bars", watermark=watermark,
        name="permuted markets",
    )  # fmt: skip


def null(
    values: NDArray[np.floating],
    observed: float,
    *,
    p_value: float,
    of: str,
    name: str,
    watermark: str,
    threshold: float | None = None,
) -> go.Figure:
    """Return what chance gives, as a histogram, with what was seen and what is asked for.

    ``of`` is the statistic and ``name`` the test; ``threshold`` is what it takes at its level.
    """
    width = float(np.ptp(np.append(values, observed))) / N_BINS or 1.0
    # An edge lies on what was seen, so that the bars beyond it are those that count against it.
    places, counts = np.unique(np.floor((values - observed) / width), return_counts=True)
    figure = go.Figure()
    _bars(
        figure, observed + (places + 0.5) * width, counts / len(values), width, is_bad=places >= 0,
        names=("without an edge", "without an edge, and as good"), colour=QUIET,
    )  # fmt: skip
    bounds = [(observed, f"seen {observed:.2f}", ACCENT, "solid")]
    if threshold is not None:
        bounds.append((threshold, f"asked for {threshold:.2f}", QUIET, "dash"))
    for k, (place, text, colour, dash) in enumerate(sorted(bounds)):
        figure.add_vline(
            x=place, line={"color": colour, "dash": dash, "width": 2}, annotation_text=text,
            annotation_position=f"top {'right' if k else 'left'}",
        )  # fmt: skip
    figure.update_xaxes(title=of)
    figure.update_yaxes(title="share of the worlds", tickformat=".0%")
    figure.update_layout(hovermode="closest", bargap=0)
    return titled(
        figure,
        f"{p_value:.1%} of worlds without an edge give at least what was seen",
        watermark,
        name=name,
        note=f"{len(values):,} worlds; the p-value counts what was seen among them, so it is never "
        "zero.",
    )


def _count(logits: Floats) -> tuple[Floats, NDArray[np.int64], float]:
    # Few configurations have few ranks: a bar for each of them, else bins.
    ranks, counts = np.unique(logits.round(9), return_counts=True)
    if len(ranks) <= MAX_RANKS:
        width = float(np.diff(ranks).min()) if len(ranks) > 1 else 1.0
        return ranks, counts, 0.9 * width
    width = float(np.ptp(logits)) / N_BINS
    # A logit of zero is the median and counts as overfitted: it falls into the bin below.
    bins, counts = np.unique(np.ceil(logits / width - 1e-9), return_counts=True)
    return (bins - 0.5) * width, counts, width


def _nothing_chosen(watermark: str, name: str) -> go.Figure:
    title = "There is one configuration only: nothing was chosen"
    return titled(go.Figure(), title, watermark, name=name, height=160)


def _bars(
    figure: go.Figure, x: Floats, y: Floats, width: float, *, is_bad: NDArray[np.bool_],
    names: tuple[str, str], colour: str,
) -> None:  # fmt: skip
    for side, name, tint, pattern in (
        (~is_bad, names[0], colour, {}),
        (is_bad, names[1], DOWN, HATCH),
    ):
        figure.add_bar(
            x=x[side], y=y[side], width=width, name=name,
            marker={"color": tint, "pattern": pattern},
            hovertemplate="%{x:.2f}: %{y:.1%}<extra></extra>",
        )  # fmt: skip
