"""Lists by page: windows of time, cursors, and the newest rows first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar
from urllib.parse import quote, unquote

from workbench.exchange.simulator.rules import Refused

Row = TypeVar("Row")
DAY_MS: Final = 86_400_000
WEEK_MS: Final = 7 * DAY_MS


def read_limit(params: Mapping[str, str], *, default: int, most: int) -> int:
    """Return the size of a page, cut to the largest that is served."""
    return min(read_number(params, "limit", default=default, least=1), most)


def read_number(params: Mapping[str, str], name: str, *, default: int, least: int = 0) -> int:
    """Return a whole number of a request."""
    text = params.get(name, "")
    if text == "":
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 16) or int(text) < least:
        raise Refused(10001, f"params error: {name} invalid")
    return int(text)


def read_window(
    params: Mapping[str, str], now_ms: int, *, span_ms: int, default_ms: int | None = None
) -> tuple[int, int]:
    """Return the first and last millisecond asked for; one end alone is given the other."""
    start = read_number(params, "startTime", default=-1)
    end = read_number(params, "endTime", default=-1)
    reach = span_ms if default_ms is None else default_ms
    if start < 0:
        end = now_ms if end < 0 else end
        return end - reach, end
    if end < 0:
        return start, start + reach
    if end < start or end - start > span_ms:
        raise Refused(10001, "The time range between startTime and endTime is invalid")
    return start, end


def page(
    rows: Sequence[Row],
    params: Mapping[str, str],
    *,
    key: Callable[[Row], tuple[int, str]],
    default: int,
    most: int,
) -> tuple[list[Row], str]:
    """Return the newest rows behind the cursor, and the cursor of the page that follows.

    ``key`` gives a row's time and its name among rows of one time; the cursor is that of the last
    row given, so rows that arrive between two pages shift nothing.
    """
    limit = read_limit(params, default=default, most=most)
    ordered = sorted(rows, key=key, reverse=True)
    after = _read_cursor(params.get("cursor", ""))
    if after is not None:
        ordered = [row for row in ordered if key(row) < after]
    shown = ordered[:limit]
    if len(ordered) <= limit:
        return shown, ""
    moment, name = key(shown[-1])
    return shown, quote(f"{moment}:{name}", safe="")


def _read_cursor(text: str) -> tuple[int, str] | None:
    if text == "":
        return None
    # Clients send the cursor back as it came, which the query decodes, or encoded once more.
    plain = text if ":" in text else unquote(text)
    moment, colon, name = plain.partition(":")
    if not colon or not (moment.isascii() and moment.isdigit() and len(moment) < 20):
        raise Refused(10001, "params error: cursor invalid")
    return int(moment), name
