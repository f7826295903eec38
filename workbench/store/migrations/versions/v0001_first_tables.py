"""Runs, trials with their returns, snapshots and events, and the triggers that keep them.

Revision ID: 0001
Revises:
"""

import sqlalchemy as sa
from alembic import op

from workbench.store.triggers import refuse

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

APPEND_ONLY = ("snapshots", "trials", "trial_returns", "events")


def upgrade() -> None:
    """Make the first tables."""
    _create_snapshots()
    _create_runs()
    _create_trials()
    _create_events()
    for table in APPEND_ONLY:
        refuse(table, "UPDATE", f"{table} is append-only")
        refuse(table, "DELETE", f"{table} is append-only")
    refuse("runs", "DELETE", "runs are kept")
    refuse("runs", "UPDATE", "a run that has ended is never changed", "OLD.status <> 'running'")


def downgrade() -> None:
    """Remove every table of this revision, and what is in it."""
    for table in ("trials", "trial_returns", "runs", "snapshots", "events"):
        op.drop_table(table)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION workbench_refuse()")


def _create_snapshots() -> None:
    op.create_table(
        "snapshots",
        sa.Column("snapshot_id", sa.String(64), nullable=False),
        sa.Column("files", sa.Text(), nullable=False),
        sa.Column("interval", sa.String(8), nullable=False),
        sa.Column("symbols", sa.Text(), nullable=False),
        sa.Column("start", sa.DateTime(timezone=True), nullable=False),
        sa.Column("end", sa.DateTime(timezone=True), nullable=False),
        sa.Column("is_synthetic", sa.Boolean(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("snapshot_id", name="pk_snapshots"),
    )


def _create_runs() -> None:
    op.create_table(
        "runs",
        sa.Column("run_id", sa.String(32), nullable=False),
        sa.Column("notebook", sa.Text(), nullable=False),
        sa.Column("notebook_hash", sa.String(64), nullable=False),
        sa.Column("params", sa.Text(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=True),
        sa.Column("git_commit", sa.String(64), nullable=True),
        sa.Column("git_dirty", sa.Boolean(), nullable=False),
        sa.Column("lock_hash", sa.String(64), nullable=True),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("started", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("measures", sa.Text(), nullable=False),
        sa.Column("snapshot_id", sa.String(64), nullable=True),
        sa.CheckConstraint(
            "status IN ('running', 'done', 'failed', 'stopped')", name=op.f("ck_runs_status")
        ),
        sa.CheckConstraint("(status = 'running') = (ended IS NULL)", name=op.f("ck_runs_ended")),
        sa.ForeignKeyConstraint(
            ["snapshot_id"], ["snapshots.snapshot_id"], name="fk_runs_snapshot_id_snapshots"
        ),
        sa.PrimaryKeyConstraint("run_id", name="pk_runs"),
    )
    op.create_index("ix_runs_status", "runs", ["status"])


def _create_trials() -> None:
    op.create_table(
        "trial_returns",
        sa.Column("batch_id", sa.Integer(), nullable=False),
        sa.Column("n_trials", sa.Integer(), nullable=False),
        sa.Column("n_days", sa.Integer(), nullable=False),
        sa.Column("returns", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("batch_id", name="pk_trial_returns"),
    )
    op.create_table(
        "trials",
        sa.Column("trial_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("family", sa.Text(), nullable=False),
        sa.Column("strategy", sa.Text(), nullable=False),
        sa.Column("strategy_hash", sa.String(64), nullable=False),
        sa.Column("params", sa.Text(), nullable=False),
        sa.Column("snapshot_id", sa.String(64), nullable=False),
        sa.Column("costs_hash", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("measures", sa.Text(), nullable=False),
        sa.Column("first_day", sa.Date(), nullable=False),
        sa.Column("run_id", sa.String(32), nullable=True),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("batch_id", sa.Integer(), nullable=False),
        sa.Column("batch_row", sa.Integer(), nullable=False),
        sa.Column("returns_hash", sa.String(64), nullable=False),
        sa.Column("previous_hash", sa.String(64), nullable=False),
        sa.Column("row_hash", sa.String(64), nullable=False),
        sa.CheckConstraint("kind IN ('backtest', 'sweep', 'explore')", name=op.f("ck_trials_kind")),
        sa.ForeignKeyConstraint(
            ["batch_id"], ["trial_returns.batch_id"], name="fk_trials_batch_id_trial_returns"
        ),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name="fk_trials_run_id_runs"),
        sa.ForeignKeyConstraint(
            ["snapshot_id"], ["snapshots.snapshot_id"], name="fk_trials_snapshot_id_snapshots"
        ),
        sa.PrimaryKeyConstraint("trial_id", name="pk_trials"),
        sa.UniqueConstraint("row_hash", name="uq_trials_row_hash"),
        sa.UniqueConstraint(
            "strategy_hash",
            "snapshot_id",
            "costs_hash",
            name="uq_trials_strategy_hash_snapshot_id_costs_hash",
        ),
    )
    op.create_index("ix_trials_family", "trials", ["family"])
    op.create_index("ix_trials_run_id", "trials", ["run_id"])


def _create_events() -> None:
    op.create_table(
        "events",
        sa.Column("event_id", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("event_id", name="pk_events"),
    )
    op.create_index("ix_events_kind", "events", ["kind"])
