"""The validation explorer: every verdict on record, what it rests on, and the trials behind it."""

from __future__ import annotations

import html
from datetime import UTC, datetime
from typing import Any, Final

import ipywidgets as widgets
import pandas as pd

from workbench.core.errors import EvidenceError
from workbench.core.wording import describe_name, describe_value
from workbench.evidence.card import verdict_card
from workbench.evidence.verdicts import Recorded, read_verdicts
from workbench.panels.runs import figures_of
from workbench.panels.widgets import (
    HeartbeatWidget,
    PlotWidget,
    TableWidget,
    card,
    header,
    html_table,
)
from workbench.store import Store
from workbench.validation.figures import trials

COLUMNS: Final = (
    {"key": "at", "title": "when"},
    {"key": "strategy", "title": "strategy"},
    {"key": "word", "title": "verdict", "isStatus": True},
    {"key": "p", "title": "p of luck", "format": "percent"},
    {"key": "market", "title": "market"},
)
NONE_YET: Final = (
    "No verdict is on record yet. Put a strategy before the gate: "
    "workbench run notebooks/validation/80_graduate.ipynb"
)
EVERYONE: Final = "every strategy"
FIRST: Final = "luck of the best of many"
"""The figure that is shown first, where the run has it."""


class ValidationExplorer:
    """The widgets of the panel and what happens between them."""

    def __init__(self, *, store: Store, verdict_id: str = "") -> None:
        self.store = store
        self.verdicts: dict[str, Recorded] = {}
        self.figures: list[tuple[str, dict[str, Any]]] = []
        self.table = TableWidget(
            columns=list(COLUMNS), hint="filter by strategy, verdict, market", empty=NONE_YET
        )
        self.strategy = widgets.Dropdown(options=[EVERYONE], layout={"width": "calc(100% - 98px)"})
        self.refresh = widgets.Button(description="Refresh", layout={"width": "90px"})
        self.head, self.measures = widgets.HTML(), widgets.HTML()
        self.figure = widgets.Dropdown(options=[], layout={"width": "100%"})
        self.plot, self.count = PlotWidget(), PlotWidget()
        self.table.observe(self._choose, names="selected")
        self.strategy.observe(self._list, names="value")
        self.figure.observe(self._draw, names="value")
        self.refresh.on_click(lambda _: self.reload())
        self.reload(chosen=verdict_id)

    def widget(self) -> widgets.Widget:
        """Return the whole panel."""
        gap = {"grid_gap": "10px"}
        pick = widgets.HBox([self.strategy, self.refresh])
        left = widgets.VBox(
            [
                card([pick, self.table], "Verdicts", height="calc(58vh - 60px)"),
                card([self.count], "Trials over time", height="calc(42vh - 46px)"),
            ],
            layout={"width": "43%", **gap},
        )
        right = widgets.VBox(
            [
                card([self.head]),
                card([self.figure, self.plot], "What it rests on"),
                card([self.measures], "Everything the gate was shown", height="360px"),
            ],
            layout={"width": "57%", **gap},
        )
        count = "1 verdict" if len(self.verdicts) == 1 else f"{len(self.verdicts)} verdicts"
        body = widgets.HBox([left, right], layout=gap)
        return widgets.VBox(
            [header("validation", f"{count} on record"), body, HeartbeatWidget()], layout=gap
        )

    def reload(self, *, chosen: str = "") -> None:
        """Read the verdicts again."""
        try:
            found = read_verdicts(self.store)
        except EvidenceError as error:
            # What was changed is not shown as if it were evidence.
            found, self.table.empty = [], f"{error.what} {error.fix}"
        # The same verdict found again is the same verdict: its newest record counts.
        self.verdicts = {each.verdict_id: each for each in reversed(found)}
        self.verdicts = dict(reversed(self.verdicts.items()))
        names = sorted({each.verdict.strategy for each in found})
        self.strategy.options = [EVERYONE, *names]
        first = next((key for key in self.verdicts if chosen and key.startswith(chosen)), "")
        self._list(chosen=first)

    def _list(self, _: Any = None, *, chosen: str = "") -> None:
        shown = {
            key: each
            for key, each in self.verdicts.items()
            if self.strategy.value in (EVERYONE, each.verdict.strategy)
        }
        self.table.rows = [row_of(each) for each in shown.values()]
        kept = self.table.selected if self.table.selected in shown else ""
        self.table.selected = chosen or kept or next(iter(shown), "")
        if not shown:
            self._choose()

    def _choose(self, _: Any = None) -> None:
        found = self.verdicts.get(self.table.selected)
        if found is None:
            self.head.value = f'<div class="wb-empty">{html.escape(self.table.empty)}</div>'
            self.figures, self.figure.options, self.measures.value = [], [], ""
            self.count.figure = {}
            self._draw()
            return
        self.figures = [] if found.run_id is None else figures_of(self.store.run(found.run_id))
        self.head.value = verdict_card(found.verdict) + origin_of(
            found, has_figures=bool(self.figures)
        )
        self.measures.value = measures_of(found)
        self.count.figure = count_of(self.store, found)
        names = [name for name, _ in self.figures]
        wanted = self.figure.label if self.figure.label in names else FIRST
        self.figure.options = [(name, k) for k, name in enumerate(names)]
        self.figure.value = names.index(wanted) if wanted in names else 0 if names else None
        self._draw()

    def _draw(self, _: Any = None) -> None:
        chosen = self.figure.value
        self.plot.figure = {} if chosen is None else self.figures[int(chosen)][1]


def row_of(found: Recorded) -> dict[str, Any]:
    """Return what the list shows of a verdict."""
    verdict = found.verdict
    return {
        "key": found.verdict_id,
        "at": _minute(found.at),
        "strategy": verdict.strategy,
        "word": verdict.word,
        "p": verdict.measures.get("max_statistic_p"),
        "market": "made" if verdict.is_synthetic else "real",
    }


def origin_of(found: Recorded, *, has_figures: bool) -> str:
    """Return the sentence that says where a verdict comes from."""
    if found.run_id is None:
        words = "Found outside of a recorded run: it has no figures and no permit can rest on it."
    else:
        words = f"Found by run {found.run_id}: workbench verify {found.run_id} finds it again."
        words += "" if has_figures else " The executed notebook of the run is gone."
    return f'<p class="wb-quiet">{_minute(found.at)} UTC. {html.escape(words)}</p>'


def measures_of(found: Recorded) -> str:
    """Return the table of everything that the gate was shown."""
    # A count went through a float on its way into the verdict.
    shown = {
        name: int(value) if isinstance(value, float) and value.is_integer() else value
        for name, value in found.verdict.measures.items()
    }
    rows = [
        f"<tr><td>{html.escape(describe_name(name))}</td>"
        f'<td class="wb-number">{html.escape(describe_value(name, value))}</td></tr>'
        for name, value in shown.items()
    ]
    heads = '<th>measure</th><th class="wb-number">value</th>'
    return html_table(heads, rows, "The gate was shown nothing.")


def count_of(store: Store, found: Recorded) -> dict[str, Any]:
    """Return the figure of the trials on the verdict's kind of market, the verdict marked."""
    made, snapshots = store.trials(), store.snapshots().set_index("snapshot_id")
    kind = snapshots["is_synthetic"].reindex(made["snapshot_id"]).to_numpy()
    made = made[kind == found.verdict.is_synthetic]
    if made.empty:
        return {}
    watermark = "SYNTHETIC" if found.verdict.is_synthetic else ""
    figure = trials(made["created"], marked=pd.Timestamp(found.at), watermark=watermark)
    return dict(figure.update_layout(height=270).to_plotly_json())


def _minute(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}"
