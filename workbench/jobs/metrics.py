"""What a notebook says about itself: recorded in the kernel, read back from its outputs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from html import escape
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from workbench.core.errors import DataError

if TYPE_CHECKING:
    from nbformat import NotebookNode

MIME: Final = "application/vnd.workbench.metrics+json"
SNAPSHOT: Final = "snapshot_id"
"""The measure that names the data behind the run."""
WATERMARK: Final = "watermark"
"""The measure that every page made from the run carries in its title, such as SYNTHETIC."""
VERDICT: Final = "verdict"
"""The measures ``.word`` and ``.sentence`` that a page opens with."""


def record(name: str, value: object) -> None:
    """Record a measure of the run, and show it.

    A mapping or Series records one measure for each of its entries, named ``name.entry``. Infinite
    and missing numbers are recorded as missing.

    Raises
    ------
    DataError
        If a value is neither a number, text, a moment nor a mapping of those.
    """
    from IPython.display import display

    measures = flatten(name, value)
    lines = {key: _readable(item) for key, item in measures.items()}
    rows = "".join(
        f"<tr><th>{escape(key)}</th><td>{escape(text)}</td></tr>" for key, text in lines.items()
    )
    bundle = {
        MIME: measures,
        "text/html": f'<table class="dataframe measures">{rows}</table>',
        "text/plain": "\n".join(f"{key} = {text}" for key, text in lines.items()),
    }
    display(bundle, raw=True)  # type: ignore[no-untyped-call]


def read_measures(notebook: NotebookNode) -> dict[str, Any]:
    """Return every measure that an executed notebook recorded; a later one replaces an earlier."""
    measures: dict[str, Any] = {}
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            measures.update(output.get("data", {}).get(MIME, {}))
    return measures


def flatten(name: str, value: object) -> dict[str, Any]:
    """Return a value as plain measures by dotted name."""
    if isinstance(value, pd.Series):
        value = value.to_dict()
    if not isinstance(value, Mapping):
        return {name: _plain(name, value)}
    flat: dict[str, Any] = {}
    for key, item in value.items():
        flat.update(flatten(f"{name}.{key}" if name else str(key), item))
    return flat


def _plain(name: str, value: object) -> bool | int | float | str | None:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or value is pd.NaT or isinstance(value, bool | int | str):
        return None if value is pd.NaT else value  # type: ignore[return-value]
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, pd.Timedelta):
        return str(value)
    raise DataError(
        f"The measure {name} is a {type(value).__name__}.",
        "Record numbers, text, moments, or a mapping or Series of those; show the rest.",
    )


def _readable(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.4g}"
    return "missing" if value is None else str(value)
