"""The trial ledger: an append-only chain in which every row carries the hash of the one before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np
from sqlalchemy import func, insert, select

from workbench.core.errors import DataError
from workbench.store.canonical import canonical_json, plain, utc
from workbench.store.records import ChainCheck, Trial
from workbench.store.tables import ReturnsRow, TrialRow

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sqlalchemy.orm import Session

START: Final = "0" * 64
"""The hash before the first trial."""

_SEALED: Final = (
    "trial_id",
    "family",
    "strategy",
    "strategy_hash",
    "params",
    "snapshot_id",
    "costs_hash",
    "kind",
    "measures",
    "first_day",
    "run_id",
    "created",
    "batch_id",
    "batch_row",
    "returns_hash",
    "previous_hash",
)
_FLOAT: Final = np.dtype("<f4")
_DAY: Final = np.timedelta64(1, "D")
_T = TypeVar("_T")


def append_trials(
    session: Session,
    trials: Sequence[Trial],
    returns: NDArray[np.float32],
    *,
    run_id: str | None,
    now: datetime,
) -> int:
    """Append the trials that are not there yet, with their returns, and say how many were new.

    The session must hold the write lock: the chain has one end.
    """
    if returns.ndim != 2 or len(returns) != len(trials):
        raise DataError(
            f"{len(trials)} trials came with returns of shape {returns.shape}.",
            "Give one row of daily returns per trial: shape (n_trials, n_days).",
        )
    fresh = _new_ones(session, trials)
    if not fresh:
        return 0
    kept = np.ascontiguousarray(returns[fresh], dtype=_FLOAT)
    batch = ReturnsRow(n_trials=len(fresh), n_days=kept.shape[1], returns=kept.tobytes())
    session.add(batch)
    session.flush()
    number, previous = read_end(session)
    rows = []
    for place, index in enumerate(fresh):
        number += 1
        row = _row(trials[index], run_id=run_id, now=now)
        row |= {
            "trial_id": number,
            "batch_id": batch.batch_id,
            "batch_row": place,
            "returns_hash": sha256(kept[place].tobytes()).hexdigest(),
            "previous_hash": previous,
        }
        previous = _row_hash(row)
        rows.append({**row, "row_hash": previous})
    session.execute(insert(TrialRow), rows)
    return len(rows)


def check_chain(session: Session) -> ChainCheck:
    """Recompute every hash of the ledger and name the first trial that is not as written."""
    number, previous = 0, START
    batches: dict[int, list[bytes]] = {}
    numbers = session.scalars(select(TrialRow.trial_id).order_by(TrialRow.trial_id)).all()
    for trial_id, row in _each(session, numbers):
        number += 1
        if trial_id != number:
            return ChainCheck(len(numbers), previous, number, "the trial is missing")
        if isinstance(row, ValueError):
            return ChainCheck(len(numbers), previous, number, f"it cannot be read: {row}")
        if row.batch_id not in batches:
            batches = {row.batch_id: _rows_of_batch(session, row.batch_id)}
        reason = _fault(row, previous, batches[row.batch_id])
        if reason:
            return ChainCheck(len(numbers), previous, number, reason)
        previous = row.row_hash
    held = session.scalar(select(func.coalesce(func.sum(ReturnsRow.n_trials), 0)))
    if held != number:
        return ChainCheck(
            number, previous, number + 1, f"returns of {held} trials are kept, rows of {number}"
        )
    return ChainCheck(number, previous)


def read_returns(session: Session, trial_ids: Sequence[int]) -> NDArray[np.float32]:
    """Return daily returns, one row per trial in the order asked for, on one calendar of days.

    The first column is the earliest ``first_day`` among them; days outside a trial are NaN.
    """
    wanted = {int(number) for number in trial_ids}
    found: dict[int, tuple[date, NDArray[np.float32]]] = {}
    batches: dict[int, NDArray[np.float32]] = {}
    for part in _chunks(sorted(wanted)):
        query = select(
            TrialRow.trial_id, TrialRow.first_day, TrialRow.batch_id, TrialRow.batch_row
        ).where(TrialRow.trial_id.in_(part))
        for number, first_day, batch_id, place in session.execute(query):
            if batch_id not in batches:
                batches[batch_id] = _batch(session, batch_id)
            found[number] = (first_day, batches[batch_id][place])
    missing = sorted(wanted - set(found))
    if missing:
        raise DataError(
            f"The ledger has no trial {', '.join(map(str, missing[:5]))}.",
            "Take trial ids from store.trials().",
        )
    if not found:
        return np.empty((0, 0), dtype=np.float32)
    start = min(np.datetime64(day) for day, _ in found.values())
    offsets = {n: int((np.datetime64(day) - start) / _DAY) for n, (day, _) in found.items()}
    width = max(offsets[n] + len(row) for n, (_, row) in found.items())
    table = np.full((len(trial_ids), width), np.nan, dtype=np.float32)
    for line, number in enumerate(trial_ids):
        row, offset = found[int(number)][1], offsets[int(number)]
        table[line, offset : offset + len(row)] = row
    return table


def _new_ones(session: Session, trials: Sequence[Trial]) -> list[int]:
    known: set[tuple[str, str, str]] = set()
    hashes = sorted({trial.strategy_hash for trial in trials})
    for part in _chunks(hashes):
        query = select(TrialRow.strategy_hash, TrialRow.snapshot_id, TrialRow.costs_hash)
        known.update(
            (row.strategy_hash, row.snapshot_id, row.costs_hash)
            for row in session.execute(query.where(TrialRow.strategy_hash.in_(part)))
        )
    fresh = []
    for index, trial in enumerate(trials):
        key = (trial.strategy_hash, trial.snapshot_id, trial.costs_hash)
        if key not in known:
            known.add(key)
            fresh.append(index)
    return fresh


def read_end(session: Session) -> tuple[int, str]:
    """Return the number and the hash of the last trial; 0 and ``START`` where there is none."""
    query = select(TrialRow.trial_id, TrialRow.row_hash).order_by(TrialRow.trial_id.desc())
    last = session.execute(query.limit(1)).first()
    return (0, START) if last is None else (last.trial_id, last.row_hash)


def _row(trial: Trial, *, run_id: str | None, now: datetime) -> dict[str, Any]:
    day = trial.first_day
    return {
        "family": trial.family,
        "strategy": trial.strategy,
        "strategy_hash": trial.strategy_hash,
        "params": plain(trial.params),
        "snapshot_id": trial.snapshot_id,
        "costs_hash": trial.costs_hash,
        "kind": trial.kind,
        "measures": plain(trial.measures),
        "first_day": utc(day).date() if isinstance(day, datetime) else day,
        "run_id": run_id,
        "created": utc(now),
    }


def _row_hash(row: dict[str, Any]) -> str:
    return sha256(canonical_json({key: row[key] for key in _SEALED}).encode()).hexdigest()


def _each(session: Session, numbers: Sequence[int]) -> Iterator[tuple[int, TrialRow | ValueError]]:
    for part in _chunks(numbers):
        query = select(TrialRow).where(TrialRow.trial_id.in_(part)).order_by(TrialRow.trial_id)
        try:
            rows = session.scalars(query).all()
        except ValueError:
            # One of them holds what no column of its type can: find which.
            yield from ((number, _read(session, number)) for number in part)
        else:
            yield from zip(part, rows, strict=True)
        session.expunge_all()


def _read(session: Session, number: int) -> TrialRow | ValueError:
    try:
        return session.get_one(TrialRow, number)
    except ValueError as error:
        return error


def _fault(row: TrialRow, previous: str, returns: list[bytes]) -> str:
    if row.previous_hash != previous:
        return "its link to the trial before is wrong"
    if row.batch_row >= len(returns):
        return "its returns are missing"
    if sha256(returns[row.batch_row]).hexdigest() != row.returns_hash:
        return "its returns are not as written"
    content = {key: getattr(row, key) for key in _SEALED}
    content["created"] = row.created.astimezone(UTC)
    return "" if _row_hash(content) == row.row_hash else "its content is not as written"


def _batch(session: Session, batch_id: int) -> NDArray[np.float32]:
    batch = session.get_one(ReturnsRow, batch_id)
    return np.frombuffer(batch.returns, dtype=_FLOAT).reshape(batch.n_trials, batch.n_days)


def _rows_of_batch(session: Session, batch_id: int) -> list[bytes]:
    batch = session.get(ReturnsRow, batch_id)
    if batch is None or len(batch.returns) != batch.n_trials * batch.n_days * _FLOAT.itemsize:
        return []
    width = batch.n_days * _FLOAT.itemsize
    return [batch.returns[k * width : (k + 1) * width] for k in range(batch.n_trials)]


def _chunks(items: Sequence[_T], size: int = 500) -> Iterable[Sequence[_T]]:
    return (items[k : k + size] for k in range(0, len(items), size))
