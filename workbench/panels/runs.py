"""The run explorer: every recorded run, and for the chosen one what it was and what it showed."""

from __future__ import annotations

import html
from collections.abc import Mapping
from datetime import UTC
from pathlib import Path
from typing import Any, Final

import ipywidgets as widgets
import nbformat

from workbench.panels.widgets import HeartbeatWidget, PlotWidget, TableWidget
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
            description="beside", options=[NO_RUN], layout={"width": "34%"}
        )
        self.figure = widgets.Dropdown(description="figure", options=[], layout={"width": "50%"})
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
        left = _card([self.table], "Runs", width="46%", height="calc(100vh - 96px)")
        pick = widgets.HBox([self.figure, self.other, self.refresh])
        right = widgets.VBox(
            [
                _card([self.head, pick]),
                _card([self.plot], "Figure"),
                widgets.HBox(
                    [
                        _card([self.measures], "Measures", width="58%", height="420px"),
                        _card([self.params], "Parameters", width="42%", height="420px"),
                    ],
                    layout={"grid_gap": "10px"},
                ),
            ],
            layout={"width": "54%", "grid_gap": "10px"},
        )
        count = "1 run" if len(self.runs) == 1 else f"{len(self.runs)} runs"
        title = widgets.HTML(
            '<div class="wb-head"><span class="wb-brand">WORKBENCH</span>'
            '<span class="wb-title">Run explorer</span>'
            f'<span class="wb-quiet">{count} recorded</span></div>'
        )
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
        titles = [title for title, _ in self.figures]
        self.figure.options = [(title, k) for k, title in enumerate(titles)]
        self.figure.value = 0 if titles else None
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
        title, figure = self.figures[int(self.figure.value)]
        other = self.runs.get(str(self.other.value))
        beside = dict(figures_of(other)) if other is not None else {}
        match = next((f for name, f in beside.items() if _kind(name) == _kind(title)), None)
        self.plot.figure = overlay(figure, match)


def row_of(run: Run) -> dict[str, Any]:
    """Return what the list shows of a run."""
    measures = run.measures
    row: dict[str, Any] = {
        "key": run.run_id,
        "started": _when(run),
        "notebook": Path(run.notebook).stem,
        "status": run.status,
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
    return (
        f'<div><span class="wb-title">{html.escape(Path(run.notebook).stem)}</span> '
        f'<span class="wb-{run.status}">{run.status}</span> {badge}{beside}'
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
    return _table(heads, rows, "The notebook has no parameters.")


def measures_of(run: Run, other: Run | None) -> str:
    """Return the table of measures, with the other run's and the difference beside them."""
    numbers = {k: v for k, v in run.measures.items() if isinstance(v, int | float)}
    # What the strategy did comes before what it is measured against.
    numbers = dict(sorted(numbers.items(), key=lambda item: not item[0].startswith("strategy.")))
    rows = []
    for name, value in numbers.items():
        cells = (
            f'<td>{html.escape(name.replace("_", " "))}</td><td class="wb-number">{value:,.4g}</td>'
        )
        if other is not None:
            theirs = other.measures.get(name)
            if isinstance(theirs, int | float):
                gap = value - theirs
                colour = "" if gap == 0 else "wb-up" if gap > 0 else "wb-down"
                cells += (
                    f'<td class="wb-number">{theirs:,.4g}</td>'
                    f'<td class="wb-number {colour}">{gap:+,.4g}</td>'
                )
            else:
                cells += "<td></td><td></td>"
        rows.append(f"<tr>{cells}</tr>")
    heads = '<th>measure</th><th class="wb-number">value</th>'
    if other is not None:
        heads += '<th class="wb-number">beside</th><th class="wb-number">difference</th>'
    return _table(heads, rows, "The run recorded no measures.")


def figures_of(run: Run) -> list[tuple[str, dict[str, Any]]]:
    """Return the plotly figures in a run's executed notebook, by title."""
    path = Path(run.path)
    if not path.is_file():
        return []
    found = []
    for cell in nbformat.read(path, as_version=4).cells:  # type: ignore[no-untyped-call]
        for output in cell.get("outputs", []):
            figure = output.get("data", {}).get(PLOTLY)
            if figure is not None:
                title = figure.get("layout", {}).get("title", {}).get("text", "figure")
                found.append((_plain(title), {"data": figure["data"], "layout": figure["layout"]}))
    return found


def overlay(figure: Mapping[str, Any], other: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a figure with the lines of another run's dotted over it."""
    data, layout = list(figure["data"]), dict(figure["layout"])
    if other is not None:
        shown = {trace.get("name") for trace in data} - {"drawdown"}
        for trace in other["data"]:
            is_line = trace.get("type", "scatter") == "scatter" and trace.get("mode") == "lines"
            if is_line and trace.get("name") not in shown:
                line = {**trace.get("line", {}), "dash": "dot", "color": "#e0a030"}
                name = f"{trace.get('name') or ''} (beside)".strip()
                data.append({**trace, "line": line, "name": name, "fill": None})
    return {"data": data, "layout": layout}


def _kind(title: str) -> str:
    # Titles state a finding: the same figure of two runs shares only its words without numbers.
    return " ".join(word for word in title.split() if word.isalpha())


def _plain(title: str) -> str:
    return title.replace("<b>", "").replace("</b>", "")


def _when(run: Run) -> str:
    return f"{run.started.astimezone(UTC):%Y-%m-%d %H:%M}"


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _table(heads: str, rows: list[str], empty: str) -> str:
    if not rows:
        return f'<div class="wb-empty">{empty}</div>'
    body = "".join(rows)
    return f'<table class="wb-table"><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>'


def _card(
    children: list[widgets.Widget], title: str = "", *, width: str = "auto", height: str = "auto"
) -> widgets.Box:
    heading = [widgets.HTML(f"<h3>{title}</h3>")] if title else []
    box = widgets.VBox([*heading, *children], layout={"width": width, "height": height})
    box.layout.overflow = "auto"
    box.add_class("wb-card")
    return box
