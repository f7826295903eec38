"""The risk panel: the newest risk report on record, how old it is, and older ones to choose."""

from __future__ import annotations

import html
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import ipywidgets as widgets
import pandas as pd
import plotly.graph_objects as go

from workbench.core.clock import Clock, SystemClock
from workbench.monitor.reports import Recorded, read_reports
from workbench.panels.widgets import HeartbeatWidget, PlotWidget, card, header
from workbench.risk import figures
from workbench.risk.report import NEAR, RiskReport, paragraph_html, section_html
from workbench.risk.tables import SECTIONS, percent, write_table
from workbench.store import Store

NONE_YET: Final = (
    "No risk report is on record yet. Measure the book: "
    "workbench run notebooks/reports/10_daily_risk.ipynb"
)
STALE: Final = timedelta(hours=26)
"""A daily report that is older than this has missed its day."""
PLOT_HEIGHT: Final = 330
TABLES: Final = (
    "positions",
    "contributions",
    "liquidation",
    "breakers",
    "refusals",
    "volatility",
    "stress",
)
"""The sections that are shown as tables, in their order."""


class RiskPanel:
    """The widgets of the panel and what happens between them."""

    def __init__(self, *, store: Store, report_id: str = "", clock: Clock | None = None) -> None:
        self.store, self.clock = store, clock or SystemClock()
        self.found: dict[str, Recorded] = {}
        self.report: RiskReport | None = None
        self.choice = widgets.Dropdown(options=[], layout={"width": "calc(100% - 98px)"})
        self.refresh = widgets.Button(description="Refresh", layout={"width": "90px"})
        self.matrix = widgets.Dropdown(options=[], layout={"width": "100%"})
        self.head, self.gauges = widgets.HTML(), widgets.HTML()
        self.tables = {name: widgets.HTML() for name in TABLES}
        self.plots = {name: PlotWidget() for name in ("tails", "regimes", "losses", "matrix")}
        self.choice.observe(self._choose, names="value")
        self.matrix.observe(self._draw_matrix, names="value")
        self.refresh.on_click(lambda _: self.reload())
        self.reload(chosen=report_id)

    def widget(self) -> widgets.Widget:
        """Return the whole panel."""
        pick = widgets.HBox([self.choice, self.refresh])
        plot = self.plots
        cards = [
            _flexible(card([pick, self.head]), "100%"),
            _flexible(card([self.gauges], "Limits, and what is taken of them"), "400px"),
            _flexible(card([plot["tails"]], "Value at risk"), "400px"),
            _flexible(card([plot["losses"]], "Drawdown against its limit"), "400px"),
            _flexible(card([plot["regimes"]], "Regime"), "400px"),
            _flexible(
                card([self.matrix, plot["matrix"]], "How the market moves together"), "400px"
            ),
            *(
                _flexible(card([self.tables[name]], SECTIONS[name].title), "540px")
                for name in TABLES
            ),
        ]
        count = "1 report" if len(self.found) == 1 else f"{len(self.found)} reports"
        body = widgets.Box(cards, layout={"flex_flow": "row wrap", "grid_gap": "10px"})
        return widgets.VBox(
            [header("risk", f"{count} on record"), body, HeartbeatWidget()],
            layout={"grid_gap": "10px"},
        )

    def reload(self, *, chosen: str = "") -> None:
        """Read the reports again; the one that is shown stays."""
        self.found = {str(each.number): each for each in read_reports(self.store)}
        kept = chosen or self.choice.value
        self.choice.options = [(_called(each), key) for key, each in self.found.items()]
        self.choice.value = kept if kept in self.found else next(iter(self.found), None)
        self._choose()

    def _choose(self, _: Any = None) -> None:
        recorded = self.found.get(str(self.choice.value))
        report = self.report = None if recorded is None else recorded.report
        if recorded is None or report is None:
            self.head.value = f'<div class="wb-empty">{NONE_YET}</div>'
            return
        age = age_html(recorded, report, self.clock.now())
        self.head.value = paragraph_html(report) + age
        self.gauges.value = gauges_html(report)
        for name, shown in self.tables.items():
            shown.value = section_html(report, name)
        self._draw("tails", "tails", figures.tails)
        self._draw("losses", "path", lambda one: figures.losses(one, _deepest(one)))
        self._draw(
            "regimes", "history",
            lambda one: figures.regimes(one.tables["history"], watermark=one.watermark),
        )  # fmt: skip
        there = [name for name in figures.MATRICES if _matrix(report, name) is not None]
        kept = self.matrix.value if self.matrix.value in there else None
        self.matrix.options = [(figures.MATRICES[name], name) for name in there]
        self.matrix.value = kept or next(iter(there), None)
        self._draw_matrix()

    def _draw(self, plot: str, table: str, draw: Callable[[RiskReport], go.Figure]) -> None:
        is_there = self.report is not None and table in self.report.tables
        self.plots[plot].figure = _plain(draw(self.report)) if is_there and self.report else {}

    def _draw_matrix(self, _: Any = None) -> None:
        table = None if self.report is None else _matrix(self.report, str(self.matrix.value))
        if table is None or self.report is None:
            self.plots["matrix"].figure = {}
            return
        figure = figures.matrix(table, name=str(self.matrix.value), watermark=self.report.watermark)
        self.plots["matrix"].figure = _plain(figure)


def age_html(recorded: Recorded, report: RiskReport, now: datetime) -> str:
    """Return the line that says how old the numbers are, loud where they are too old."""
    data = now - report.at.to_pydatetime()
    words = (
        f"The data end on {_minute(report.at)} UTC, {_ago(data)} ago; measured "
        f"{_ago(now - recorded.at)} ago against the limits {report.mode}."
    )
    origin = f" By run {recorded.run_id}." if recorded.run_id else " Outside of a recorded run."
    mark = '<span class="wb-mark">OLD</span> ' if data > STALE else ""
    return f'<p class="wb-quiet wb-age">{mark}{html.escape(words + origin)}</p>'


def gauges_html(report: RiskReport) -> str:
    """Return a bar for each limit, filled by what is taken of it."""
    if "limits" not in report.tables:
        return '<div class="wb-empty">No limits were given.</div>'
    table = report.tables["limits"]
    texts = write_table(table)
    rows = []
    for name, use in table["use"].items():
        own = texts.loc[str(name)]
        state = "over" if use >= 1.0 else "near" if use >= NEAR else "within"
        width = 100 * min(max(float(use), 0.0), 1.0)
        words = f"{own['taken']} of {own['limit']} {own['unit']}"
        rows.append(
            f'<div class="wb-gauge wb-{state}" role="meter" aria-valuenow="{100 * use:.0f}" '
            f'aria-label="{html.escape(str(name))}"><span>{html.escape(str(name))}</span>'
            f'<div><i style="width:{width:.1f}%"></i></div><b>{percent(use)} {state}</b>'
            f'<small class="wb-quiet">{html.escape(words)}</small></div>'
        )
    return "".join(rows)


def _flexible(box: widgets.Box, basis: str) -> widgets.Box:
    box.layout.flex, box.layout.min_width = f"1 1 {basis}", "0"
    return box


def _matrix(report: RiskReport, name: str) -> pd.DataFrame | None:
    tables = report.tables
    if name == "shift":
        return tables["dcc"] - tables["usual"] if "dcc" in tables else None
    return tables.get(name)


def _deepest(report: RiskReport) -> float | None:
    table = report.tables.get("limits")
    return None if table is None else float(table["limit"].loc["drawdown"])


def _plain(figure: go.Figure) -> dict[str, Any]:
    return dict(figure.update_layout(height=PLOT_HEIGHT).to_plotly_json())


def _called(recorded: Recorded) -> str:
    at = pd.Timestamp(recorded.document["at"])
    mark = recorded.document["watermark"]
    return f"{_minute(at)} UTC{f' · {mark}' if mark else ''}  (report {recorded.number})"


def _minute(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}"


def _ago(span: timedelta) -> str:
    hours = span.total_seconds() / 3600
    if hours < 1:
        return f"{max(hours * 60, 0):.0f} min"
    return f"{hours:.0f} h" if hours < 48 else f"{hours / 24:.0f} days"
