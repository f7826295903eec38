"""One way to write a value as JSON, so that equal values have equal text and equal hashes."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from math import isinf, isnan
from pathlib import PurePath
from typing import Any

import numpy as np

from workbench.core.errors import DataError


def canonical_json(value: object) -> str:
    """Return a value as JSON with sorted keys and no spaces.

    NaN becomes null (missing), infinities the strings ``Infinity`` and ``-Infinity`` (which
    ``float`` reads back), moments ISO 8601 in UTC, Decimal and paths their text.

    Raises
    ------
    DataError
        If a part has no such form: a naive time, a key that is not text, an object.
    """
    return json.dumps(
        plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False
    )


def plain(value: object) -> Any:
    """Return a value made of what JSON knows, as ``canonical_json`` writes it."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, Enum):
        value = value.value
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return _plain_float(value)
    if isinstance(value, Mapping):
        return {_plain_key(key): plain(part) for key, part in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [plain(part) for part in value]
    return _plain_text(value)


def utc(moment: datetime) -> datetime:
    """Return a moment in UTC as a plain ``datetime``; a naive one is an error."""
    if moment.tzinfo is None:
        raise DataError(
            f"The time {moment} has no zone.", "Give it one: datetime(..., tzinfo=UTC)."
        )
    there = moment.astimezone(UTC)
    return datetime.combine(there.date(), there.time(), tzinfo=UTC)


def _plain_float(value: float) -> float | str | None:
    if isnan(value):
        return None
    if isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value


def _plain_key(key: object) -> str:
    if not isinstance(key, str):
        raise DataError(
            f"The key {key!r} of type {type(key).__name__} cannot be stored.",
            "Use text as keys.",
        )
    return key


def _plain_text(value: object) -> str:
    if isinstance(value, datetime):
        return utc(value).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal | PurePath):
        return str(value)
    raise DataError(
        f"A value of type {type(value).__name__} cannot be stored: {value!r:.80}.",
        "Store numbers, text, times, and lists and mappings of them.",
    )
