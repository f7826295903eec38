"""Entries and exits, as vectorbt and freqtrade write them, to target weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.core.errors import ModelError


class _Signals(NamedTuple):
    entry: bool
    exit: bool
    short_entry: bool
    short_exit: bool


def from_signals(
    entries: pd.DataFrame,
    exits: pd.DataFrame,
    short_entries: pd.DataFrame | None = None,
    short_exits: pd.DataFrame | None = None,
    *,
    size: float = 1.0,
    convention: Literal["vectorbt", "freqtrade"] = "vectorbt",
) -> pd.DataFrame:
    """Return the target weights that signals ask for.

    Parameters
    ----------
    entries, exits : DataFrame of bool of shape (n_bars, n_symbols)
        Where a long position is opened and closed, indexed by ``known_at``.
    short_entries, short_exits : DataFrame of bool of shape (n_bars, n_symbols), optional
        The same for short positions; none without them.
    size : float, default=1.0
        Weight of a position, in (0, 1].
    convention : {"vectorbt", "freqtrade"}, default="vectorbt"
        What happens when signals meet, see Notes.

    Returns
    -------
    DataFrame of shape (n_bars, n_symbols)
        ``size`` or ``-size`` where a position is opened, 0 where it is closed, NaN (keep)
        elsewhere and 0 in the first row if nothing opens there.

    Raises
    ------
    ModelError
        If the frames differ in index or columns, are not bool, or size is outside (0, 1].

    Notes
    -----
    Timing: a signal in row t is decided at t and fills at the next open, so signals are not to be
    shifted first.

    vectorbt (its defaults): entry and exit of one side in one bar cancel; then long and short
    entries in one bar cancel; an entry against the position reverses it; a repeated entry is
    ignored.

    freqtrade: an entry counts only if its own exit and the other side's entry are silent; an exit
    counts only if its own entry is silent; an entry against the position is ignored.
    """
    frames = _check(entries, exits, short_entries, short_exits)
    if not 0 < size <= 1:
        raise ModelError(f"A size of {size} is no weight.", "Give a size above 0 and at most 1.")
    rule = _RULES.get(convention)
    if rule is None:
        raise ModelError(
            f"{convention!r} is not a convention of signals.", f"Use one of {', '.join(_RULES)}."
        )
    table = np.stack([frame.to_numpy() for frame in frames], axis=-1)
    weights = np.full(table.shape[:2], np.nan)
    for column in range(table.shape[1]):
        weights[:, column] = _walk(table[:, column], rule)
    weights[:1] = np.where(np.isnan(weights[:1]), 0.0, weights[:1])
    return pd.DataFrame(weights * size, index=entries.index, columns=entries.columns)


def _check(
    entries: pd.DataFrame,
    exits: pd.DataFrame,
    short_entries: pd.DataFrame | None,
    short_exits: pd.DataFrame | None,
) -> list[pd.DataFrame]:
    silent = pd.DataFrame(False, index=entries.index, columns=entries.columns)
    named = {
        "entries": entries,
        "exits": exits,
        "short_entries": silent if short_entries is None else short_entries,
        "short_exits": silent if short_exits is None else short_exits,
    }
    for name, frame in named.items():
        if not (frame.index.equals(entries.index) and frame.columns.equals(entries.columns)):
            raise ModelError(
                f"{name} and entries differ in index or columns.", "Align them to one market."
            )
        if not all(pd.api.types.is_bool_dtype(kind) for kind in frame.dtypes):
            raise ModelError(
                f"{name} holds {', '.join(sorted({str(d) for d in frame.dtypes}))}, not bool.",
                "Decide what a missing signal means: frame.fillna(False).astype(bool).",
            )
    return list(named.values())


def _walk(table: NDArray[np.bool_], rule: Callable[[int, _Signals], int]) -> NDArray[np.float64]:
    weights = np.full(len(table), np.nan)
    side = 0
    # Only rows with a signal can change anything, so only these are walked.
    for row in np.flatnonzero(table.any(axis=1)):
        wanted = rule(side, _Signals(*table[row].tolist()))
        if wanted != side:
            side = wanted
            weights[row] = side
    return weights


def _vectorbt(side: int, given: _Signals) -> int:
    opens, closes = given.entry and not given.exit, given.exit and not given.entry
    shorts = given.short_entry and not given.short_exit
    covers = given.short_exit and not given.short_entry
    if opens and shorts:
        opens = shorts = False
    if opens or shorts:
        return 1 if opens else -1
    return 0 if (side > 0 and closes) or (side < 0 and covers) else side


def _freqtrade(side: int, given: _Signals) -> int:
    if side > 0:
        return 0 if given.exit and not given.entry else side
    if side < 0:
        return 0 if given.short_exit and not given.short_entry else side
    if given.entry and not (given.exit or given.short_entry):
        return 1
    return -1 if given.short_entry and not (given.short_exit or given.entry) else 0


_RULES: Final[dict[str, Callable[[int, _Signals], int]]] = {
    "vectorbt": _vectorbt,
    "freqtrade": _freqtrade,
}
