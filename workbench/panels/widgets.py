"""The small widgets that panels are made of; their scripts are files of this package."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import anywidget
import ipywidgets as widgets
import traitlets

from workbench.panels.board import PANELS

STATIC: Final = Path(__file__).parent / "static"


class TableWidget(anywidget.AnyWidget):
    """A table to sort, filter and choose a row of; ``selected`` is the ``key`` of a row."""

    _esm = STATIC / "table.js"
    columns = traitlets.List(traitlets.Dict()).tag(sync=True)
    rows = traitlets.List(traitlets.Dict()).tag(sync=True)
    selected = traitlets.Unicode("").tag(sync=True)
    hint = traitlets.Unicode("filter").tag(sync=True)
    empty = traitlets.Unicode("Nothing here yet.").tag(sync=True)


class PlotWidget(anywidget.AnyWidget):
    """A plotly figure as plain values, drawn by the page's own plotly.js."""

    _esm = STATIC / "plot.js"
    figure = traitlets.Dict().tag(sync=True)


class HeartbeatWidget(anywidget.AnyWidget):
    """Answers the page's pings, so that the page knows when its kernel is gone."""

    _esm = STATIC / "heartbeat.js"

    def __init__(self) -> None:
        super().__init__()
        self.on_msg(self._answer)

    def _answer(self, _: Any, content: dict[str, Any], __: Any) -> None:
        if content.get("kind") == "ping":
            self.send({"kind": "pong"})


def header(panel: str, note: str) -> widgets.HTML:
    """Return the line on top of a panel, with the way to the others."""
    ways = "".join(
        f'<a class="wb-way" href="{name}.ipynb" aria-current="{str(name == panel).lower()}">'
        f"{title}</a>"
        for name, title in PANELS.items()
    )
    return widgets.HTML(
        f'<div class="wb-head"><span class="wb-brand">WORKBENCH</span>{ways}'
        f'<span class="wb-quiet">{note}</span></div>'
    )


def card(
    children: Sequence[widgets.Widget], title: str = "", *, width: str = "auto",
    height: str = "auto",
) -> widgets.Box:  # fmt: skip
    """Return a framed part of a panel, which scrolls where its content is too long."""
    heading = [widgets.HTML(f"<h3>{title}</h3>")] if title else []
    box = widgets.VBox([*heading, *children], layout={"width": width, "height": height})
    box.layout.overflow = "auto"
    box.add_class("wb-card")
    return box


def html_table(heads: str, rows: Sequence[str], empty: str) -> str:
    """Return rows as a table; words where there is none."""
    if not rows:
        return f'<div class="wb-empty">{empty}</div>'
    body = "".join(rows)
    return f'<table class="wb-table"><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>'
