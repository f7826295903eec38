"""The small widgets that panels are made of; their scripts are files of this package."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import anywidget
import traitlets

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
