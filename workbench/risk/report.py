"""The risk report: what a book risks at one moment, as tables, and what they say in words.

Loads no fitting library, so that a panel shows a recorded report without measuring anything.
``research.risk_report`` makes one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from math import isfinite
from typing import Any, Final, NamedTuple, Self

import numpy as np
import pandas as pd

from workbench.risk.tables import HEADS, SECTIONS, percent, write_table

NEAR: Final = 0.8
"""Share of a limit from which it is called near."""
MOVED: Final = 0.05
"""A headline that moved by less than this share of itself is not news."""


@dataclass(frozen=True)
class RiskReport:
    """What a book risks at a moment.

    Attributes
    ----------
    at : Timestamp
        ``known_at`` of the last bar that the report has seen.
    watermark, snapshot_id : str
        Of the market.
    mode : str
        The limits that it is held against.
    headlines, before : mapping
        The numbers that the words are made of, now and a day earlier from the same data; the
        second is empty where that day is not there.
    tables : mapping of str to DataFrame
        By the names of ``SECTIONS``, fractions of equity unless a column says otherwise; and
        ``path`` (equity and drawdown by day), ``pearson``, ``tail``, ``dcc`` and ``usual``
        (matrices), ``history`` (the regime by day).
    notes : tuple of str
        What could not be measured, or stands in for something else.
    """

    at: pd.Timestamp
    watermark: str
    snapshot_id: str
    mode: str
    headlines: Mapping[str, Any]
    before: Mapping[str, Any] = field(repr=False)
    tables: Mapping[str, pd.DataFrame] = field(repr=False)
    notes: tuple[str, ...] = ()

    @property
    def paragraph(self) -> str:
        """What a person who reads nothing else must know."""
        return " ".join(
            [_largest(self.headlines), _changes(self.headlines, self.before), _near(self.tables)]
        )

    def show(self, name: str) -> Shown:
        """Return one of the tables as people read it, under a sentence that says how."""
        return Shown(section_html(self, name))

    def to_document(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return {
            "at": self.at.isoformat(),
            "watermark": self.watermark,
            "snapshot_id": self.snapshot_id,
            "mode": self.mode,
            "headlines": _plain(self.headlines),
            "before": _plain(self.before),
            "tables": {
                name: json.loads(table.to_json(orient="split", date_format="iso"))
                for name, table in self.tables.items()
            },
            "notes": list(self.notes),
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Return the report that ``to_document`` gave; what was infinite is missing."""
        tables = {
            name: pd.DataFrame(table["data"], table["index"], table["columns"])
            for name, table in document["tables"].items()
        }
        for name in ("path", "history"):
            if name in tables:
                tables[name].index = pd.to_datetime(tables[name].index, utc=True, format="ISO8601")
        return cls(
            at=pd.Timestamp(document["at"]),
            watermark=document["watermark"],
            snapshot_id=document["snapshot_id"],
            mode=document["mode"],
            headlines=document["headlines"],
            before=document["before"],
            tables=tables,
            notes=tuple(document["notes"]),
        )

    def _repr_html_(self) -> str:
        return paragraph_html(self)


class Shown(NamedTuple):
    """A piece of HTML that a notebook shows."""

    html: str

    def _repr_html_(self) -> str:
        return self.html


def paragraph_html(report: RiskReport) -> str:
    """Return the paragraph and the notes of a report as HTML."""
    mark = f'<b class="wb-mark">{escape(report.watermark)}</b> · ' if report.watermark else ""
    notes = "".join(f"<li>{escape(note)}</li>" for note in report.notes)
    return (
        f'<p class="wb-risk">{mark}{escape(report.paragraph)}</p>'
        f"{f'<ul class=wb-quiet>{notes}</ul>' if notes else ''}"
    )


def section_html(report: RiskReport, name: str) -> str:
    """Return a table of a report as HTML with its sentence; the sentence of its absence else."""
    read = f'<p class="wb-quiet">{escape(SECTIONS[name].read)}</p>'
    if name not in report.tables or report.tables[name].empty:
        return '<p class="wb-quiet">Not in this report.</p>'
    table = write_table(report.tables[name])
    kinds = [HEADS.get(str(column), ("", ""))[1] for column in report.tables[name]]
    numeric = [' class="wb-number"' if kind else "" for kind in kinds]
    heads = "".join(f"<th{n}>{escape(str(c))}</th>" for c, n in zip(table, numeric, strict=True))
    rows = "".join(
        f'<tr><th scope="row">{escape(str(label))}</th>'
        + "".join(f"<td{n}>{escape(text)}</td>" for text, n in zip(own, numeric, strict=True))
        + "</tr>"
        for label, own in zip(table.index, table.to_numpy().tolist(), strict=True)
    )
    return (
        f'{read}<div class="wb-wide"><table class="wb-table dataframe"><thead><tr><th></th>{heads}'
        f"</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    plain = {k: v.item() if isinstance(v, np.generic) else v for k, v in values.items()}
    return {
        name: None if isinstance(value, float) and not isfinite(value) else value
        for name, value in plain.items()
    }


def _largest(now: Mapping[str, Any]) -> str:
    if not now["n_positions"]:
        return "The book is flat: it holds no position, and no move of the market changes it."
    loss = now.get("value_at_risk")
    if loss is None:
        return "What a day may lose could not be measured; the notes say why."
    words = (
        f"With a confidence of {now['level']:.0%} the book loses no more than {percent(loss)} of "
        f"its equity ({loss * now['equity_usdt']:,.0f} USDT) in a day"
    )
    low, high = now["value_at_risk_low"], now["value_at_risk_high"]
    words += f"; by method it is {percent(low)} to {percent(high)}. "
    words += (
        f"The largest risk is {now['largest']}: {percent(now['largest_share'])} of it, with "
        f"{percent(now['largest_of_gross'])} of the gross exposure."
    )
    if now.get("worst_stress"):
        left = max(1.0 + now["worst_stress_return"], 0.0)
        words += f" The worst of the shocks ({now['worst_stress']}) would leave {percent(left)}."
    return words


def _changes(now: Mapping[str, Any], before: Mapping[str, Any]) -> str:
    if not before:
        return "There is no report of the day before to compare with."
    changed = []
    then, loss = before.get("value_at_risk"), now.get("value_at_risk")
    if then and loss and abs(loss / then - 1.0) >= MOVED:
        way = "rose" if loss > then else "fell"
        words = f"the value at risk {way} from {percent(then)} to {percent(loss)}"
        same = now.get("value_at_risk_same_book")
        if same:
            words += (
                f" ({_points(same - then)} points by what was traded, {_points(loss - same)} by "
                "the market)"
            )
        changed.append(words)
    for name in ("gross", "net"):
        gap = now[name] - before[name]
        # A book of longs alone moves both as one, and is told once.
        is_told = name == "net" and abs(gap) == abs(now["gross"] - before["gross"])
        if abs(gap) > MOVED * max(abs(before[name]), 0.1) and not is_told:
            changed.append(
                f"the {name} exposure went from {percent(before[name])} to {percent(now[name])}"
            )
    if now.get("regime") != before.get("regime"):
        changed.append(f"the regime went from {before.get('regime')} to {now.get('regime')}")
    head = f"Since yesterday the equity moved by {percent(now['day_return'])}"
    return f"{head}; {', '.join(changed)}." if changed else f"{head}; little else changed."


def _points(change: float) -> str:
    # Adding zero takes the sign from a change that rounds to none.
    return f"{round(100 * change, 2) + 0.0:+.2f}"


def _near(tables: Mapping[str, pd.DataFrame]) -> str:
    if "limits" not in tables:
        return "No limits were given to hold it against."
    use = tables["limits"]["use"].dropna().sort_values(ascending=False)
    over, near = use[use >= 1.0], use[(use >= NEAR) & (use < 1.0)]
    words = []
    if len(over):
        words.append("Over the limit: " + _list(over) + ".")
    if len(near):
        words.append("Near the limit: " + _list(near) + ".")
    if not words and len(use):
        return f"Nothing is near a limit; the nearest is {_list(use[:1])}."
    return " ".join(words)


def _list(use: pd.Series) -> str:
    return ", ".join(f"{name} ({percent(share)} used)" for name, share in use.items())
