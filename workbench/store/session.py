"""The one door to the store: open it, write runs, trials, snapshots and events, read frames."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal, Self

import numpy as np
import pandas as pd
from sqlalchemy import Select, func, select
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session

from workbench.core.clock import Clock, SystemClock
from workbench.core.config import load_config
from workbench.core.errors import ConfigError, DataError
from workbench.store import ledger, recorded
from workbench.store.canonical import plain, utc
from workbench.store.engine import (
    WRITES,
    configured_engine,
    is_fresh_file,
    make_engine,
    take_write_lock,
)
from workbench.store.fork import copy_rows
from workbench.store.recorded import Table
from workbench.store.records import ChainCheck, Run, Snapshot, Trial
from workbench.store.schema import read_revision, require_current, shown_url, upgrade
from workbench.store.tables import Base, EngineRow, EventRow, RunRow, SnapshotRow, TrialRow

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sqlalchemy import Engine

_TIMES: Final = frozenset(
    {"started", "ended", "start", "end", "at", "created", "decided_at", "sent_at", "ended_at"}
)
_HIDDEN: Final = frozenset({"batch_id", "batch_row"})


class Store:
    """A store that is open; safe to share between threads, and with other processes by its url."""

    def __init__(self, engine: Engine, *, clock: Clock | None = None) -> None:
        self._engine = engine
        self._writer = engine.execution_options(**{WRITES: True})
        self._clock = clock or SystemClock()

    @classmethod
    def open(cls, url: str | None = None, *, clock: Clock | None = None) -> Self:
        """Open the store of the configuration, or another one; a fresh SQLite file is set up.

        Raises
        ------
        ConfigError
            If it cannot be reached, or its schema is not the one that this code needs.
        """
        engine = make_engine(url) if url else configured_engine(load_config().store)
        try:
            require_current(engine)
        except ConfigError:
            engine.dispose()
            raise
        return cls(engine, clock=clock)

    @property
    def url(self) -> str:
        """Its address, without a password."""
        return shown_url(self._engine)

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    def fork(self, url: str, *, until: datetime) -> None:
        """Make a new store that holds what was on record here before a moment.

        Raises
        ------
        ConfigError
            If there is something at the address already.
        """
        target = make_engine(url)
        try:
            if not is_fresh_file(target) and read_revision(target) is not None:
                raise ConfigError(
                    f"There is a store at {shown_url(target)} already.", "Fork to a new place."
                )
            upgrade(target)
            writer = target.execution_options(**{WRITES: True})
            with self._engine.connect() as source, writer.begin() as connection:
                copy_rows(source, connection, until=utc(until))
        finally:
            target.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # Runs

    def start_run(
        self,
        *,
        notebook: str,
        notebook_hash: str,
        params: Mapping[str, Any],
        seed: int | None,
        git_commit: str | None,
        git_dirty: bool,
        lock_hash: str | None,
        path: str,
        started: datetime,
    ) -> str:
        """Record that a notebook starts to run, and return the id of the run (sorts by time).

        ``{run_id}`` in ``path`` becomes that id.
        """
        run_id = f"{utc(started):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
        row = RunRow(
            run_id=run_id,
            notebook=str(notebook),
            notebook_hash=notebook_hash,
            params=plain(params),
            seed=seed,
            git_commit=git_commit,
            git_dirty=git_dirty,
            lock_hash=lock_hash,
            path=str(path).replace("{run_id}", run_id),
            status="running",
            started=started,
            measures={},
        )
        with self._write() as session:
            session.add(row)
        return run_id

    def finish_run(
        self,
        run_id: str,
        *,
        status: Literal["done", "failed", "stopped"],
        ended: datetime,
        error: str | None = None,
        measures: Mapping[str, Any] | None = None,
        snapshot_id: str | None = None,
    ) -> None:
        """Record how a run ended; from then on its row never changes.

        Raises
        ------
        DataError
            If there is no such run, it has ended already, or its snapshot is not on record.
        """
        with self._write() as session:
            row = session.get(RunRow, run_id)
            if row is None or row.status != "running":
                seen = "is not on record" if row is None else f"has ended already ({row.status})"
                raise DataError(f"The run {run_id} {seen}.", "Finish a started run once.")
            row.status = status
            row.ended = ended
            row.error = error
            row.measures = plain(measures or {})
            row.snapshot_id = snapshot_id

    def runs(self, *, status: str | None = None, limit: int | None = None) -> pd.DataFrame:
        """Return recorded runs, newest first, one row each; parameters and measures as dicts."""
        query = select(RunRow).order_by(RunRow.run_id.desc()).limit(limit)
        return self._frame(
            RunRow, query if status is None else query.where(RunRow.status == status)
        )

    def run(self, run_id: str) -> Run:
        """Return one run by its id or the beginning of it.

        Raises
        ------
        DataError
            If no run, or more than one, begins so.
        """
        with Session(self._engine) as session:
            near = RunRow.run_id.startswith(run_id, autoescape=True)
            rows = list(session.scalars(select(RunRow).where(near).order_by(RunRow.run_id)))
            exact = [row for row in rows if row.run_id == run_id]
            if len(exact or rows) != 1:
                raise DataError(
                    f"{len(rows) or 'No'} runs begin with {run_id!r}.",
                    f"Give more of the id: {', '.join(row.run_id for row in rows[:5])}."
                    if rows
                    else "`workbench runs list` shows their ids.",
                )
            row = (exact or rows)[0]
            return Run(**{f.name: getattr(row, f.name) for f in fields(Run)})

    # Trials

    def add_trials(
        self, trials: Sequence[Trial], *, returns: NDArray[np.float32], run_id: str | None = None
    ) -> int:
        """Append trials with daily returns of shape (n_trials, n_days); return how many are new.

        The same strategy hash, snapshot and costs count once, whoever tried them first.

        Raises
        ------
        DataError
            If the shapes differ, or a snapshot or the run is not on record.
        """
        with self._write() as session:
            return ledger.append_trials(
                session, trials, np.asarray(returns), run_id=run_id, now=self._clock.now()
            )

    def trials(self, *, family: str | None = None, run_id: str | None = None) -> pd.DataFrame:
        """Return the ledger in its order, one row per trial; parameters and measures as dicts."""
        query = select(TrialRow).order_by(TrialRow.trial_id)
        if family is not None:
            query = query.where(TrialRow.family == family)
        return self._frame(
            TrialRow, query if run_id is None else query.where(TrialRow.run_id == run_id)
        )

    def trial_returns(self, trial_ids: Sequence[int]) -> NDArray[np.float32]:
        """Return daily returns, one row per trial, on the calendar of all of them (NaN outside)."""
        with Session(self._engine) as session:
            return ledger.read_returns(session, trial_ids)

    def trial_head(self) -> tuple[int, str]:
        """Return how many trials there are, and the hash of the last: a seal names both."""
        with Session(self._engine) as session:
            return ledger.read_end(session)

    def verify_trials(self) -> ChainCheck:
        """Recompute the whole chain; the answer names the first trial that is not as written."""
        with Session(self._engine) as session:
            return ledger.check_chain(session)

    # Snapshots

    def add_snapshot(
        self,
        snapshot_id: str,
        *,
        files: Sequence[tuple[str, str]],
        interval: str,
        symbols: Sequence[str],
        start: datetime,
        end: datetime,
        is_synthetic: bool,
    ) -> None:
        """Record the files behind a load; again is harmless.

        Raises
        ------
        DataError
            If the same id is on record for other files.
        """
        listed = [[str(name), digest] for name, digest in files]
        with self._write() as session:
            known = session.get(SnapshotRow, snapshot_id)
            if known is not None:
                if known.files != listed:
                    raise DataError(
                        f"The snapshot {snapshot_id} is on record for other files.",
                        "A snapshot's id is the hash of its files: compute it from them.",
                    )
                return
            session.add(
                SnapshotRow(
                    snapshot_id=snapshot_id,
                    files=listed,
                    interval=interval,
                    symbols=list(symbols),
                    start=start,
                    end=end,
                    is_synthetic=is_synthetic,
                    created=self._clock.now(),
                )
            )

    def snapshot(self, snapshot_id: str) -> Snapshot:
        """Return one snapshot by its id; an unknown one is a ``DataError``."""
        with Session(self._engine) as session:
            row = session.get(SnapshotRow, snapshot_id)
            if row is None:
                raise DataError(
                    f"The snapshot {snapshot_id!r} is not on record.",
                    "Snapshots are recorded when data are loaded by research.load.",
                )
            values = {f.name: getattr(row, f.name) for f in fields(Snapshot)}
        values["files"] = tuple((name, digest) for name, digest in row.files)
        return Snapshot(**{**values, "symbols": tuple(row.symbols)})

    def snapshots(self) -> pd.DataFrame:
        """Return recorded snapshots, oldest first."""
        return self._frame(SnapshotRow, select(SnapshotRow).order_by(SnapshotRow.created))

    # Events

    def add_event(
        self, kind: str, *, actor: str, detail: Mapping[str, Any], after: int | None = None
    ) -> int:
        """Append an event and return its number.

        ``after`` is the number of the last event of this kind that the caller knows, 0 where it
        knows none: what follows from them is not written if there are others by now.

        Raises
        ------
        DataError
            If there is an event of this kind after that one.
        """
        row = EventRow(at=self._clock.now(), kind=kind, actor=actor, detail=plain(detail))
        with self._write() as session:
            if after is not None:
                same_kind = select(func.max(EventRow.event_id)).where(EventRow.kind == kind)
                last = session.scalar(same_kind) or 0
                if last != after:
                    raise DataError(
                        f"The last event of the kind {kind!r} is number {last}, not {after}: "
                        "another process has written since it was read.",
                        "Read it again, and decide again on what it says now.",
                    )
            session.add(row)
            session.flush()
            return row.event_id

    def events(self, *, kind: str | None = None, limit: int | None = None) -> pd.DataFrame:
        """Return recorded events, newest first."""
        query = select(EventRow).order_by(EventRow.event_id.desc()).limit(limit)
        return self._frame(EventRow, query if kind is None else query.where(EventRow.kind == kind))

    # Trading

    def add_rows(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Append what an engine records (``postings``, ``orders``, ``equity``); again is harmless.

        Moments are datetimes with a zone, or their text; amounts are Decimals or their text.
        """
        if rows:
            with self._write() as session:
                recorded.add_rows(session, table, rows)

    def rows(
        self, table: Table, *, venues: Sequence[str] | None = None, strategy_hash: str | None = None
    ) -> pd.DataFrame:
        """Return what engines recorded, oldest first; amounts as Decimals."""
        query = recorded.select_rows(table, venues=venues, strategy_hash=strategy_hash)
        return self._frame(recorded.TABLES[table], query)

    def put_engine(self, profile: str, document: Mapping[str, Any]) -> None:
        """Keep the newest word of the engine of a profile."""
        with self._write() as session:
            recorded.put_engine(session, profile, document, now=self._clock.now())

    def engines(self) -> pd.DataFrame:
        """Return the newest word of every engine, by profile."""
        return self._frame(EngineRow, select(EngineRow).order_by(EngineRow.profile))

    @contextmanager
    def _write(self) -> Iterator[Session]:
        with Session(self._writer) as session:
            try:
                with session.begin():
                    take_write_lock(session.connection())
                    yield session
            except IntegrityError as error:
                raise DataError(
                    f"The store refuses the row: {error.orig}.",
                    "A foreign key names a run or snapshot that is not on record yet "
                    "(add_snapshot, start_run); a check, a value outside the allowed ones.",
                ) from error
            except DBAPIError as error:
                raise DataError(
                    f"The store {self.url} cannot be written: {error.orig}.",
                    "Look at the disk (`workbench doctor`), and for a process that holds it longer "
                    "than store.busy_timeout_s.",
                ) from error

    def _frame(self, table: type[Base], query: Select[Any]) -> pd.DataFrame:
        names = [c.name for c in table.__table__.columns if c.name not in _HIDDEN]
        try:
            with Session(self._engine) as session:
                rows = [[getattr(row, name) for name in names] for row in session.scalars(query)]
        except DBAPIError as error:
            raise DataError(
                f"The store {self.url} cannot be read: {error.orig}.",
                "Look at the disk and the server (`workbench doctor`).",
            ) from error
        frame = pd.DataFrame(rows, columns=names)
        for name in _TIMES.intersection(names):
            frame[name] = pd.to_datetime(frame[name], utc=True).astype("datetime64[us, UTC]")
        return frame
