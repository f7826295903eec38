"""Chained entries: a record in which one that was edited, moved, put in or taken out shows.

What no chain can see is its end cut off: keep its length and its last digest elsewhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from workbench.store.canonical import canonical_json, plain

START: Final = "0" * 64
"""What the first entry follows."""


def chain_entry(content: Mapping[str, Any], *, number: int, previous: str) -> dict[str, Any]:
    """Return an entry as it is written: plain, numbered, and sealed with the digest before it."""
    entry = plain({**content, "number": number, "previous": previous})
    return {**entry, "digest": entry_digest(entry)}


def entry_digest(content: Mapping[str, Any]) -> str:
    """Return the digest of an entry without the one that it carries."""
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()


def entry_fault(
    entry: Any, *, parts: frozenset[str], number: int, previous: str, actor: str
) -> str:
    """Return what is wrong with an entry that should have these parts and follow; else nothing."""
    if not isinstance(entry, Mapping) or set(entry) != parts:
        return "does not have the form of one"
    if entry["previous"] != previous or entry["number"] != number:
        return "does not follow from the one before: one was taken out, put in or moved"
    content = {name: value for name, value in entry.items() if name != "digest"}
    is_same = entry_digest(content) == entry["digest"] and entry["actor"] == actor
    return "" if is_same else "is not as it was written"
