"""The page of a run: title, prose, tables and figures, no code, and nothing from elsewhere."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from copy import deepcopy
from datetime import datetime
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any, Final

from nbformat.v4 import new_output

from workbench.core.wording import describe_name, describe_value
from workbench.jobs.metrics import SNAPSHOT, VERDICT, WATERMARK, read_measures
from workbench.jobs.parameters import TAG, parse_parameters

if TYPE_CHECKING:
    from nbformat import NotebookNode

    from workbench.store.records import Run

HEADLINES: Final = ("total_return", "sharpe", "max_drawdown", "annual_volatility")
PLOTLY: Final = "application/vnd.plotly.v1+json"
_PAPERMILL_MARK: Final = "papermill-error-cell-tag"
_FIGURE: Final = Template(
    '<div class="figure" id="$name" style="height:${height}px"></div>'
    '<script>Plotly.newPlot("$name", $data, $layout, '
    "{responsive: true, displaylogo: false});</script>"
)
_TITLE: Final = re.compile(r"^#\s+(.+)$", re.MULTILINE)


def write_page(
    notebook: NotebookNode,
    target: Path,
    *,
    run: Run,
    status: str,
    ended: datetime,
    error: str | None = None,
    measures: Mapping[str, Any] | None = None,
) -> None:
    """Write an executed notebook as a page that a manager can read without a network.

    ``measures`` are those of the run; by default those that the notebook recorded.
    """
    from nbconvert import HTMLExporter

    shown = deepcopy(notebook)
    n_figures = _prepare(shown)
    has_table = _list_parameters(shown, run.params)
    measures = read_measures(notebook) if measures is None else measures
    mark = str(measures.get(WATERMARK) or "")
    heading = title(notebook, run.notebook)
    exporter = HTMLExporter(  # type: ignore[no-untyped-call]
        template_name="basic",
        exclude_input=True,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        exclude_anchor_links=True,
    )
    body, _ = exporter.from_notebook_node(shown)
    tiles = _tiles(measures) if status == "done" else ""
    template = Template(files(__package__).joinpath("page.html").read_text("utf-8"))
    page = template.substitute(
        title=escape(f"{heading} · {mark}" if mark else heading),
        watermark=f'<p class="watermark">{escape(mark)}</p>' if mark else "",
        plotly=_plotly() if n_figures else "",
        banner=_banner(status, error),
        verdict=_verdict(measures) if status == "done" else "",
        params="" if has_table else f"<table>{_rows(run.params)}</table>",
        body=body.replace("</h1>", f"</h1>{tiles}", 1),
        facts=_rows(_facts(run, status, ended, measures)),
    )
    target.write_text(page, encoding="utf-8")


def title(notebook: NotebookNode, otherwise: str) -> str:
    """Return the first heading of a notebook."""
    for cell in notebook.cells:
        found = _TITLE.search(cell.source) if cell.cell_type == "markdown" else None
        if found:
            return found.group(1).strip()
    return otherwise


def _prepare(notebook: NotebookNode) -> int:
    """Turn figures into scripts, drop noise, and return how many figures there are."""
    notebook.cells = [
        cell for cell in notebook.cells if _PAPERMILL_MARK not in cell.metadata.get("tags", [])
    ]
    n_figures = 0
    for cell in notebook.cells:
        kept = []
        for output in cell.get("outputs", []):
            is_noise = output.output_type == "error" or output.get("name") == "stderr"
            if is_noise:
                continue
            if PLOTLY in output.get("data", {}):
                n_figures += 1
                figure = _figure(output.data[PLOTLY], f"figure-{n_figures}")
                output.data = {"text/html": figure}
            kept.append(output)
        if cell.cell_type == "code":
            cell.outputs = kept
    return n_figures


def _list_parameters(notebook: NotebookNode, params: Mapping[str, Any]) -> bool:
    """Show values and meanings where the cell of the parameters stands; its code is not shown."""
    for cell in notebook.cells:
        if cell.cell_type == "code" and TAG in cell.metadata.get("tags", []):
            notes = {name: known.comment for name, known in parse_parameters(cell.source).items()}
            rows = "".join(
                f"<tr><th>{escape(name)}</th><td>{escape(_text(params.get(name)))}</td>"
                f"<td>{escape(note)}</td></tr>"
                for name, note in notes.items()
            )
            table = {"text/html": f'<table class="parameters">{rows}</table>'}
            cell.outputs = [new_output("display_data", table)]  # type: ignore[no-untyped-call]
            return True
    return False


def _figure(figure: dict[str, Any], name: str) -> str:
    layout = {**figure.get("layout", {}), "autosize": True}
    layout.pop("width", None)
    return _FIGURE.substitute(
        name=name,
        height=int(layout.get("height") or 450),
        data=_script(figure.get("data", [])),
        layout=_script(layout),
    )


def _script(value: Any) -> str:
    # "</script>" inside a label would end the script.
    return json.dumps(value).replace("</", "<\\/")


def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    return f"<script>{get_plotlyjs()}</script>"


def _banner(status: str, error: str | None) -> str:
    if status == "done":
        return ""
    return (
        f'<section class="banner"><strong>This run {escape(status)}: what follows is not '
        f"complete.</strong><pre>{escape(error or '')}</pre></section>"
    )


def _verdict(measures: Mapping[str, Any]) -> str:
    # Whoever reads no further than the first line has read how it ended.
    word, sentence = measures.get(f"{VERDICT}.word"), measures.get(f"{VERDICT}.sentence")
    if not word:
        return ""
    return (
        f'<section class="stamp {escape(str(word).lower())}"><strong>{escape(str(word))}</strong>'
        f'<p>{escape(str(sentence or ""))} <a href="#verdict">Every criterion</a></p></section>'
    )


def _tiles(measures: Mapping[str, Any]) -> str:
    # What came out, before how: the strategy's own numbers over those of holding.
    shown = [name for name in HEADLINES if f"strategy.{name}" in measures]
    tiles = "".join(
        f"<div><strong>{describe_value(name, measures[f'strategy.{name}'])}</strong>"
        f"{escape(describe_name(name))}"
        f"<small>buy and hold {describe_value(name, measures.get(f'buy_and_hold.{name}'))}</small>"
        "</div>"
        for name in shown
    )
    return f'<section class="tiles">{tiles}</section>' if tiles else ""


def _facts(run: Run, status: str, ended: datetime, measures: Mapping[str, Any]) -> dict[str, Any]:
    commit = run.git_commit[:12] if run.git_commit else "not under version control"
    return {
        "run": run.run_id,
        "notebook": f"{run.notebook} ({run.notebook_hash[:12]})",
        "status": status,
        "started": f"{run.started:%Y-%m-%d %H:%M:%S} UTC",
        "seconds": f"{(ended - run.started).total_seconds():.1f}",
        "code": f"{commit}{', with changes not committed' if run.git_dirty else ''}",
        "packages": (run.lock_hash or "no lock")[:12],
        "data": str(measures.get(SNAPSHOT) or "not recorded")[:12],
        "check it": f"workbench verify {run.run_id}" if status == "done" else "it did not end well",
    }


def _rows(facts: Any) -> str:
    return "".join(
        f"<tr><th>{escape(str(name))}</th><td>{escape(_text(value))}</td></tr>"
        for name, value in facts.items()
    )


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    return json.dumps(value) if isinstance(value, dict) else str(value)
