"""Protects what a notebook says of itself: measures survive the way through its outputs."""

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from workbench.core.errors import DataError
from workbench.jobs.metrics import MIME, flatten, read_measures


def test_flatten_series_and_mapping_give_dotted_plain_names():
    series = pd.Series({"sharpe": np.float64(1.5), "n_trades": np.int64(3), "missing": np.nan})

    assert flatten("strategy", series) == {
        "strategy.sharpe": 1.5,
        "strategy.n_trades": 3,
        "strategy.missing": None,
    }
    assert flatten("a", {"b": {"c": True}}) == {"a.b.c": True}


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (float("inf"), None),
        (pd.NaT, None),
        (np.bool_(True), True),
        (datetime(2024, 1, 1, tzinfo=UTC), "2024-01-01T00:00:00+00:00"),
        (pd.Timedelta("1D"), "1 days 00:00:00"),
        ("text", "text"),
    ],
)
def test_flatten_value_becomes_json(value, wanted):
    assert flatten("x", value) == {"x": wanted}


def test_flatten_frame_is_refused():
    with pytest.raises(DataError, match="measure x is a DataFrame"):
        flatten("x", pd.DataFrame())


def test_read_measures_later_record_replaces_earlier():
    cells = [
        new_code_cell("", outputs=[new_output("display_data", {MIME: {"a": 1, "b": 2}})]),
        new_code_cell("", outputs=[new_output("stream", text="x")]),
        new_code_cell("", outputs=[new_output("display_data", {MIME: {"a": 3}})]),
    ]

    assert read_measures(new_notebook(cells=cells)) == {"a": 3, "b": 2}
