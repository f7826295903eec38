"""The run explorer: every recorded run, and for the chosen one what it was and what it showed."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from datetime import UTC
from pathlib import Path
from typing import Any, Final

import ipywidgets as widgets

from workbench.core.measures import RETURN_MEASURES, TRADE_MEASURES
from workbench.core.wording import better_way, describe_name, describe_value
from workbench.monitor.process import shown_status
from workbench.panels.widgets import (
    HeartbeatWidget,
    PlotWidget,
    TableWidget,
    card,
    header,
    html_table,
)
from workbench.store import Run, Store

PLOTLY: Final = "application/vnd.plotly.v1+json"
COLUMNS: Final = (
    {"key": "started", "title": "started"},
    {"key": "notebook", "title": "notebook"},
    {"key": "strategy", "title": "strategy"},
    {"key": "status", "title": "status", "isStatus": True},
    {"key": "sharpe", "title": "Sharpe", "format": "number", "isSigned": True},
    {"key": "return", "title": "return", "format": "percent", "isSigned": True},
    {"key": "drawdown", "title": "drawdown", "format": "percent"},
    {"key": "market", "title": "market"},
)
HEADLINES: Final = {
    "sharpe": ("strategy.sharpe", "sharpe"),
    "return": ("strategy.total_return", "total_return"),
    "drawdown": ("strategy.max_drawdown", "max_drawdown"),
}
NO_RUN: Final = "no comparison"
CLOSE: Final = {"description_width": "initial"}
ORDER: Final = {name: k for k, name in enumerate((*RETURN_MEASURES, *TRADE_MEASURES))}


class RunExplorer:
    """The widgets of the panel and what happens between them."""

    def __init__(self, *, store: Store, run_id: str = "") -> None:
        self.store = store
        self.runs = self._load()
        self.table = TableWidget(
            columns=list(COLUMNS),
            rows=[row_of(run) for run in self.runs.values()],
            hint="filter by notebook, status, parameter, symbol",
            empty="No run is recorded yet. Run one: workbench run notebooks/research/...",
        )
        self.other = widgets.Dropdown(
            description="beside", options=[NO_RUN], layout={"width": "44%"}, style=CLOSE
        )
        self.figure = widgets.Dropdown(
            description="figure", options=[], layout={"width": "40%"}, style=CLOSE
        )
        self.refresh = widgets.Button(description="Refresh", layout={"width": "90px"})
        self.plot = PlotWidget()
        self.head, self.params, self.measures = (widgets.HTML() for _ in range(3))
        self.figures: list[tuple[str, dict[str, Any]]] = []
        self.table.observe(self._choose, names="selected")
        self.other.observe(self._compare, names="value")
        self.figure.observe(self._draw, names="value")
        self.refresh.on_click(lambda _: self.reload())
        first = next((key for key in self.runs if run_id and key.startswith(run_id)), None)
        self.table.selected = first or next(iter(self.runs), "")
        if not self.runs:
            self._choose()

    def widget(self) -> widgets.Widget:
        """Return the whole panel."""
        left = card([self.table], "Runs", width="49%", height="calc(100vh - 96px)")
        pick = widgets.HBox([self.figure, self.other, self.refresh])
        right = widgets.VBox(
            [
                card([self.head, pick]),
                card([self.plot], "Figure"),
                widgets.HBox(
                    [
                        card([self.measures], "Measures", width="60%", height="420px"),
                        card([self.params], "Parameters", width="40%", height="420px"),
                    ],
                    layout={"grid_gap": "10px"},
                ),
            ],
            layout={"width": "51%", "grid_gap": "10px"},
        )
        count = "1 run" if len(self.runs) == 1 else f"{len(self.runs)} runs"
        title = header("runs", f"{count} recorded")
        body = widgets.HBox([left, right], layout={"grid_gap": "10px"})
        return widgets.VBox([title, body, HeartbeatWidget()], layout={"grid_gap": "10px"})

    def reload(self) -> None:
        """Read the runs again."""
        self.runs = self._load()
        self.table.rows = [row_of(run) for run in self.runs.values()]

    def _load(self) -> dict[str, Run]:
        ids = self.store.runs()["run_id"]
        return {str(run_id): self.store.run(str(run_id)) for run_id in ids}

    def _choose(self, _: Any = None) -> None:
        run = self.runs.get(self.table.selected)
        if run is None:
            self.head.value = '<div class="wb-empty">Choose a run on the left.</div>'
            return
        self.figures = figures_of(run)
        chosen = self.other.value
        others = [(NO_RUN, NO_RUN)] + [
            (f"{_when(r)}  {Path(r.notebook).stem}", key)
            for key, r in self.runs.items()
            if key != run.run_id
        ]
        self.other.options = others
        self.other.value = chosen if chosen in dict(others).values() else NO_RUN
        names = [name for name, _ in self.figures]
        # One who goes through runs looks at the same figure of each.
        before = dict(self.figure.options).get(self.figure.label)
        label = self.figure.label if before is not None else ""
        self.figure.options = [(name, k) for k, name in enumerate(names)]
        self.figure.value = names.index(label) if label in names else 0 if names else None
        self._compare()

    def _compare(self, _: Any = None) -> None:
        run = self.runs.get(self.table.selected)
        if run is None:
            return
        other = self.runs.get(str(self.other.value))
        self.head.value = head_of(run, other)
        self.params.value = params_of(run, other)
        self.measures.value = measures_of(run, other)
        self._draw()

    def _draw(self, _: Any = None) -> None:
        if self.figure.value is None or not self.figures:
            self.plot.figure = {}
            return
        name, figure = self.figures[int(self.figure.value)]
        other = self.runs.get(str(self.other.value))
        beside = dict(figures_of(other)) if other is not None else {}
        self.plot.figure = overlay(figure, beside.get(name))


def row_of(run: Run) -> dict[str, Any]:
    """Return what the list shows of a run."""
    measures = run.measures
    row: dict[str, Any] = {
        "key": run.run_id,
        "started": _when(run),
        "notebook": Path(run.notebook).stem.lstrip("0123456789_"),
        "status": shown_status(run),
        "market": " ".join(
            [*run.params.get("SYMBOLS", [])[:3], str(run.params.get("INTERVAL", ""))]
        ),
        "strategy": str(run.params.get("STRATEGY", "")),
    }
    for name, keys in HEADLINES.items():
        found = [measures[key] for key in keys if isinstance(measures.get(key), int | float)]
        row[name] = found[0] if found else None
    return row


def head_of(run: Run, other: Run | None) -> str:
    """Return the heading of the chosen run."""
    mark = str(run.measures.get("watermark") or "")
    badge = f'<span class="wb-mark">{html.escape(mark)}</span>' if mark else ""
    beside = ""
    if other is not None:
        beside = f' <span class="wb-quiet">beside {_when(other)} {Path(other.notebook).stem}</span>'
    error = f'<div class="wb-error">{html.escape(run.error)}</div>' if run.error else ""
    commit = (run.git_commit or "no commit")[:10] + (" + changes" if run.git_dirty else "")
    facts = f"{run.run_id} · {commit} · snapshot {(run.snapshot_id or 'none')[:10]}"
    status = shown_status(run)
    return (
        f'<div><span class="wb-title">{html.escape(Path(run.notebook).stem)}</span> '
        f'<span class="wb-{status}">{status}</span> {badge}{beside}'
        f'<div class="wb-quiet">{facts}</div>{error}</div>'
    )


def params_of(run: Run, other: Run | None) -> str:
    """Return the table of parameters; those that differ from the other run's stand out."""
    rows = []
    for name in run.params if other is None else {**run.params, **other.params}:
        ours = _text(run.params.get(name))
        cells = (
            f"<td>{html.escape(name)}</td><td title='{html.escape(ours)}'>{html.escape(ours)}</td>"
        )
        differs = ""
        if other is not None:
            theirs = _text(other.params.get(name))
            cells += f"<td title='{html.escape(theirs)}'>{html.escape(theirs)}</td>"
            differs = ' class="wb-differs"' if ours != theirs else ""
        rows.append(f"<tr{differs}>{cells}</tr>")
    heads = "<th>name</th><th>value</th>" + ("" if other is None else "<th>beside</th>")
    table = html_table(heads, rows, "The notebook has no parameters.")
    return f'<div class="wb-params">{table}</div>'


def measures_of(run: Run, other: Run | None) -> str:
    """Return the table of measures, with the other run's and the difference beside them."""
    numbers = {k: v for k, v in run.measures.items() if isinstance(v, int | float)}
    rows = []
    for name, value in sorted(numbers.items(), key=_rank):
        own = name.removeprefix("strategy.")
        cells = (
            f"<td>{html.escape(describe_name(own))}</td>"
            f'<td class="wb-number">{describe_value(own, value)}</td>'
        )
        if other is not None:
            cells += _beside(own, value, other.measures.get(name))
        rows.append(f"<tr>{cells}</tr>")
    heads = '<th>measure</th><th class="wb-number">value</th>'
    if other is not None:
        heads += '<th class="wb-number">beside</th><th class="wb-number">difference</th>'
    return html_table(heads, rows, "The run recorded no measures.")


def figures_of(run: Run) -> list[tuple[str, dict[str, Any]]]:
    """Return the plotly figures in a run's executed notebook, each under a name of its own."""
    path = Path(run.path)
    if not path.is_file():
        return []
    try:
        # Read as plain JSON: nbformat takes a second to load, and a job wrote the file.
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    except ValueError:
        # A job that still runs writes it again after every cell: half a file shows nothing yet.
        return []
    found: dict[str, dict[str, Any]] = {}
    for cell in cells:
        for output in cell.get("outputs", []):
            figure = output.get("data", {}).get(PLOTLY)
            if figure is not None:
                name = _name(figure["layout"])
                count = sum(known.partition(" (")[0] == name for known in found)
                place = f"{name} ({count + 1})" if count else name
                found[place] = {"data": figure["data"], "layout": figure["layout"]}
    return list(found.items())


def overlay(figure: Mapping[str, Any], other: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a figure with the lines of another run's that differ dotted over it."""
    data, layout = list(figure["data"]), dict(figure["layout"])
    shown = [(trace.get("name"), trace.get("x"), trace.get("y")) for trace in data]
    for trace in other["data"] if other is not None else ():
        is_line = trace.get("type", "scatter") == "scatter" and trace.get("mode") == "lines"
        if is_line and (trace.get("name"), trace.get("x"), trace.get("y")) not in shown:
            line = {**trace.get("line", {}), "dash": "dot", "color": "#e0a030"}
            name = f"{trace.get('name') or ''} (beside)".strip()
            data.append({**trace, "line": line, "name": name, "fill": None})
    return {"data": data, "layout": layout}


def _rank(item: tuple[str, Any]) -> tuple[bool, str, int]:
    # What the strategy did comes before what it is measured against, the weighty before the rest.
    group, _, own = item[0].partition(".") if "." in item[0] else ("", "", item[0])
    return group not in ("strategy", ""), group, ORDER.get(own, len(ORDER))


def _beside(name: str, value: float, theirs: Any) -> str:
    if not isinstance(theirs, int | float):
        return "<td></td><td></td>"
    gap = value - theirs
    # Green is better, whichever way that is; a measure that has no better side has no colour.
    way = better_way(name) * gap
    colour = "wb-up" if way > 0 else "wb-down" if way < 0 else ""
    sign = "+" if gap > 0 else ""
    return (
        f'<td class="wb-number">{describe_value(name, theirs)}</td>'
        f'<td class="wb-number {colour}">{sign}{describe_value(name, gap)}</td>'
    )


def _name(layout: Mapping[str, Any]) -> str:
    kind = (layout.get("meta") or {}).get("name")
    if kind:
        return str(kind)
    # A figure of a notebook's own is known by its title, without what every title carries.
    title = str((layout.get("title") or {}).get("text") or "figure")
    return title.rpartition("</b> · ")[2]


def _when(run: Run) -> str:
    return f"{run.started.astimezone(UTC):%Y-%m-%d %H:%M}"


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{name}: {_text(part)}" for name, part in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
