"""Whether a series has passed its quality check, kept beside its files."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final

from workbench.core.errors import DataError
from workbench.data.lake import Lake, Series, write_whole
from workbench.data.quality import Finding, check, has_error

NAME: Final = "quality.json"


def check_series(
    lake: Lake,
    series: Series,
    *,
    as_of: datetime | None = None,
    survivors_only: bool | None = None,
    accept: Iterable[str] = (),
) -> list[Finding]:
    """Check a series of the lake and keep the outcome beside it.

    ``accept`` names codes of findings that a person has looked at and takes as they are; like
    ``survivors_only`` it stands until it is given anew.
    """
    before = _read(lake, series)
    span = lake.span(series)
    interval = None if series.kind in ("funding", "open_interest") else series.interval
    # What the lake holds had closed when it was written.
    closed = as_of or (None if span is None else _far_future())
    found = check(
        lake.read(series), symbol=series.symbol, kind=series.kind, interval=interval, as_of=closed
    )
    accepted = sorted({*before.get("accepted", []), *accept})
    keep = {
        "digests": _digests(lake, series),
        "accepted": accepted,
        "is_survivors": before.get("is_survivors", False)
        if survivors_only is None
        else survivors_only,
        "findings": [asdict(finding) | {"at": finding.at.isoformat()} for finding in found],
        "is_usable": not has_error([f for f in found if f.code not in accepted]),
    }
    write_whole(series.folder(lake.root) / NAME, json.dumps(keep, indent=1).encode())
    return found


def require_usable(lake: Lake, series: Series) -> None:
    """Check a series that has changed since its last check, and refuse one that failed.

    Raises
    ------
    DataError
        Naming the first error.
    """
    kept = _read(lake, series)
    if kept.get("digests") != _digests(lake, series):
        check_series(lake, series)
        kept = _read(lake, series)
    if not kept["is_usable"]:
        errors = [
            f
            for f in kept["findings"]
            if f["severity"] == "error" and f["code"] not in kept["accepted"]
        ]
        raise DataError(
            f"{series.symbol} ({series.kind}, {series.interval}) has {len(errors)} errors, the "
            f"first at {errors[0]['at']}: {errors[0]['what']}",
            f"{errors[0]['fix']} `workbench data check {series.symbol}` lists them; what you have "
            f"looked at can be accepted with --accept {errors[0]['code']}.",
        )


def is_survivors(lake: Lake, series: Series) -> bool:
    """Say whether a series was imported as one of survivors only."""
    return bool(_read(lake, series).get("is_survivors", False))


def _read(lake: Lake, series: Series) -> dict[str, Any]:
    path = series.folder(lake.root) / NAME
    return dict(json.loads(path.read_bytes())) if path.is_file() else {}


def _digests(lake: Lake, series: Series) -> list[str]:
    return [lake.digest(path) for path in lake.files(series)]


def _far_future() -> datetime:
    from datetime import UTC

    return datetime(9999, 1, 1, tzinfo=UTC)
