"""Equal values must have equal text, or hashes and the trial chain mean nothing."""

import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from pathlib import PurePosixPath

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.errors import DataError
from workbench.store.canonical import canonical_json, plain, utc


class Level(Enum):
    HIGH = "high"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(value=VALUES)
def test_canonical_json_read_back_and_written_again_is_the_same(value):
    text = canonical_json(value)
    assert canonical_json(json.loads(text)) == text


@given(value=st.dictionaries(st.text(), st.integers()))
def test_canonical_json_does_not_depend_on_the_order_of_keys(value):
    assert canonical_json(dict(reversed(value.items()))) == canonical_json(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.float64(0.5), "0.5"),
        (np.int64(3), "3"),
        (np.bool_(True), "true"),
        (np.array([1.0, np.nan]), "[1.0,null]"),
        (float("nan"), "null"),
        (float("inf"), '"Infinity"'),
        (float("-inf"), '"-Infinity"'),
        (Decimal("1.50"), '"1.50"'),
        (PurePosixPath("a/b"), '"a/b"'),
        ((1, 2), "[1,2]"),
        (Level.HIGH, '"high"'),
        ("é", '"é"'),
        (datetime(2026, 1, 1, 2, tzinfo=timezone(timedelta(hours=2))), None),
        (pd.Timestamp("2026-01-01", tz="UTC"), None),
    ],
)
def test_canonical_json_writes_each_kind_one_way(value, text):
    assert canonical_json(value) == (text or '"2026-01-01T00:00:00+00:00"')


@pytest.mark.parametrize("value", [object(), {1: 2}, {1}, datetime(2026, 1, 1), b"x"])  # noqa: DTZ001
def test_canonical_json_refuses_what_has_no_one_form(value):
    with pytest.raises(DataError):
        canonical_json({"key": value})


def test_plain_infinity_is_read_back_by_float():
    assert float(plain(float("-inf"))) == float("-inf")


@given(moment=st.datetimes(timezones=st.timezones()))
def test_utc_keeps_the_moment(moment):
    assert utc(moment) == moment.astimezone(UTC)
    assert utc(moment).tzinfo is UTC
    assert type(utc(pd.Timestamp("2026-01-01", tz="UTC"))) is datetime
