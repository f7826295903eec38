"""The tables, typed, and the two column types that keep SQLite and PostgreSQL alike."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Date,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from workbench.store.canonical import canonical_json, utc


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC: naive times are refused going in, and never come out."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Convert to UTC; SQLite, which keeps no zone, gets the bare UTC time."""
        if value is None:
            return None
        moment = utc(value)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the moment with its zone."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class CanonicalJson(TypeDecorator[Any]):
    """JSON as text in one canonical form, the same bytes on every backend."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str:
        """Write the canonical form."""
        return canonical_json(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        """Read the text back."""
        return None if value is None else json.loads(value)


class Amount(TypeDecorator[Decimal]):
    """Money and quantities as text: exact on every backend."""

    impl = String(64)
    cache_ok = True

    def process_bind_param(self, value: Decimal | str | None, dialect: Dialect) -> str | None:
        """Write plain digits."""
        return None if value is None else format(Decimal(value), "f")

    def process_result_value(self, value: str | None, dialect: Dialect) -> Decimal | None:
        """Read the digits back."""
        return None if value is None else Decimal(value)


class Base(DeclarativeBase):
    """The declarative base; names of constraints are fixed so that migrations can address them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012
        datetime: UtcDateTime, date: Date, bytes: LargeBinary, Decimal: Amount,
    }  # fmt: skip


Hash = String(64)


class SnapshotRow(Base):
    """The files behind a load; never changed."""

    __tablename__ = "snapshots"

    snapshot_id: Mapped[str] = mapped_column(Hash, primary_key=True)
    files: Mapped[list[list[str]]] = mapped_column(CanonicalJson)
    interval: Mapped[str] = mapped_column(String(8))
    symbols: Mapped[list[str]] = mapped_column(CanonicalJson)
    start: Mapped[datetime]
    end: Mapped[datetime]
    is_synthetic: Mapped[bool]
    created: Mapped[datetime]


class RunRow(Base):
    """One executed notebook; changed once, when it ends."""

    __tablename__ = "runs"
    __table_args__ = (
        CheckConstraint("status IN ('running', 'done', 'failed', 'stopped')", name="status"),
        CheckConstraint("(status = 'running') = (ended IS NULL)", name="ended"),
        Index(None, "status"),
    )

    run_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    notebook: Mapped[str] = mapped_column(Text)
    notebook_hash: Mapped[str] = mapped_column(Hash)
    params: Mapped[dict[str, Any]] = mapped_column(CanonicalJson)
    seed: Mapped[int | None] = mapped_column(BigInteger)
    git_commit: Mapped[str | None] = mapped_column(String(64))
    git_dirty: Mapped[bool]
    lock_hash: Mapped[str | None] = mapped_column(Hash)
    path: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(String(16))
    started: Mapped[datetime]
    ended: Mapped[datetime | None]
    error: Mapped[str | None] = mapped_column(Text)
    measures: Mapped[dict[str, Any]] = mapped_column(CanonicalJson)
    snapshot_id: Mapped[str | None] = mapped_column(ForeignKey("snapshots.snapshot_id"))


class ReturnsRow(Base):
    """The daily float32 returns of one batch of trials: little-endian, one row per trial."""

    __tablename__ = "trial_returns"

    batch_id: Mapped[int] = mapped_column(primary_key=True)
    n_trials: Mapped[int]
    n_days: Mapped[int]
    returns: Mapped[bytes]


class TrialRow(Base):
    """One evaluation; never changed, each row sealed with the hash of the one before."""

    __tablename__ = "trials"
    __table_args__ = (
        UniqueConstraint("strategy_hash", "snapshot_id", "costs_hash"),
        UniqueConstraint("row_hash"),
        CheckConstraint("kind IN ('backtest', 'sweep', 'explore')", name="kind"),
        Index(None, "family"),
        Index(None, "run_id"),
    )

    trial_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    family: Mapped[str] = mapped_column(Text)
    strategy: Mapped[str] = mapped_column(Text)
    strategy_hash: Mapped[str] = mapped_column(Hash)
    params: Mapped[dict[str, Any]] = mapped_column(CanonicalJson)
    snapshot_id: Mapped[str] = mapped_column(ForeignKey("snapshots.snapshot_id"))
    costs_hash: Mapped[str] = mapped_column(Hash)
    kind: Mapped[str] = mapped_column(String(16))
    measures: Mapped[dict[str, Any]] = mapped_column(CanonicalJson)
    first_day: Mapped[date]
    run_id: Mapped[str | None] = mapped_column(ForeignKey("runs.run_id"))
    created: Mapped[datetime]
    batch_id: Mapped[int] = mapped_column(ForeignKey("trial_returns.batch_id"))
    batch_row: Mapped[int]
    returns_hash: Mapped[str] = mapped_column(Hash)
    previous_hash: Mapped[str] = mapped_column(Hash)
    row_hash: Mapped[str] = mapped_column(Hash)


class EventRow(Base):
    """Something that happened and must stay on record; never changed."""

    __tablename__ = "events"
    __table_args__ = (Index(None, "kind"),)

    event_id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    kind: Mapped[str] = mapped_column(String(64))
    actor: Mapped[str] = mapped_column(Text)
    detail: Mapped[dict[str, Any]] = mapped_column(CanonicalJson)


class PostingRow(Base):
    """What was booked for one strategy: a fill or a payment; never changed.

    ``qty`` carries the sign; ``amount_usdt`` is the fee of a fill (positive where paid) and what a
    payment added to the wallet. ``expected_price`` is the mid when the order was decided, ``mid``
    and ``spread`` are of the book just before the fill.
    """

    __tablename__ = "postings"
    __table_args__ = (Index(None, "venue", "strategy_hash"),)

    posting_id: Mapped[str] = mapped_column(String(200), primary_key=True)
    venue: Mapped[str] = mapped_column(String(32), primary_key=True)
    at: Mapped[datetime]
    strategy: Mapped[str] = mapped_column(Text)
    strategy_hash: Mapped[str] = mapped_column(Hash)
    symbol: Mapped[str] = mapped_column(String(32))
    kind: Mapped[str] = mapped_column(String(16))
    qty: Mapped[Decimal]
    price: Mapped[Decimal]
    amount_usdt: Mapped[Decimal]
    order_id: Mapped[str] = mapped_column(String(64))
    is_maker: Mapped[bool]
    expected_price: Mapped[Decimal | None]
    mid: Mapped[Decimal | None]
    spread: Mapped[Decimal | None]


class OrderRow(Base):
    """An order that has ended, as far as it was for one strategy; never changed."""

    __tablename__ = "orders"
    __table_args__ = (
        CheckConstraint("status IN ('filled', 'cancelled', 'rejected', 'lost')", name="status"),
        Index(None, "venue", "strategy_hash"),
    )

    order_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    strategy_hash: Mapped[str] = mapped_column(Hash, primary_key=True)
    venue: Mapped[str] = mapped_column(String(32), primary_key=True)
    strategy: Mapped[str] = mapped_column(Text)
    symbol: Mapped[str] = mapped_column(String(32))
    side: Mapped[int]
    qty: Mapped[Decimal]
    filled: Mapped[Decimal]
    status: Mapped[str] = mapped_column(String(16))
    algorithm: Mapped[str] = mapped_column(String(16))
    decision_id: Mapped[str] = mapped_column(Text)
    decided_at: Mapped[datetime]
    sent_at: Mapped[datetime]
    ended_at: Mapped[datetime]
    decision_mid: Mapped[Decimal | None]
    arrival_mid: Mapped[Decimal | None]
    final_mid: Mapped[Decimal | None]


class EquityRow(Base):
    """The equity of a strategy's own book, or of the account (no hash), at a bar; never changed."""

    __tablename__ = "equity"

    strategy_hash: Mapped[str] = mapped_column(Hash, primary_key=True)
    venue: Mapped[str] = mapped_column(String(32), primary_key=True)
    at: Mapped[datetime] = mapped_column(primary_key=True)
    equity_usdt: Mapped[float] = mapped_column(Double)


class EngineRow(Base):
    """What an engine says of itself, the newest word only."""

    __tablename__ = "engines"

    profile: Mapped[str] = mapped_column(String(16), primary_key=True)
    at: Mapped[datetime]
    document: Mapped[dict[str, Any]] = mapped_column(CanonicalJson)
