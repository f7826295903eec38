"""What the engine books, orders and is worth, for gates, API and panels; and its newest word.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

from workbench.store.triggers import refuse

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

APPEND_ONLY = ("postings", "orders", "equity")


def upgrade() -> None:
    """Make the tables of trading."""
    _create_postings()
    _create_orders()
    op.create_table(
        "equity",
        sa.Column("strategy_hash", sa.String(64), nullable=False),
        sa.Column("venue", sa.String(32), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("equity_usdt", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("strategy_hash", "venue", "at", name="pk_equity"),
    )
    op.create_table(
        "engines",
        sa.Column("profile", sa.String(16), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("profile", name="pk_engines"),
    )
    for table in APPEND_ONLY:
        refuse(table, "UPDATE", f"{table} is append-only")
        refuse(table, "DELETE", f"{table} is append-only")


def downgrade() -> None:
    """Remove every table of this revision, and what is in it."""
    for table in (*APPEND_ONLY, "engines"):
        op.drop_table(table)


def _create_postings() -> None:
    op.create_table(
        "postings",
        sa.Column("posting_id", sa.String(200), nullable=False),
        sa.Column("venue", sa.String(32), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("strategy", sa.Text(), nullable=False),
        sa.Column("strategy_hash", sa.String(64), nullable=False),
        sa.Column("symbol", sa.String(32), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        *(sa.Column(n, sa.String(64), nullable=False) for n in ("qty", "price", "amount_usdt")),
        sa.Column("order_id", sa.String(64), nullable=False),
        sa.Column("is_maker", sa.Boolean(), nullable=False),
        *(sa.Column(n, sa.String(64), nullable=True) for n in ("expected_price", "mid", "spread")),
        sa.PrimaryKeyConstraint("posting_id", "venue", name="pk_postings"),
    )
    op.create_index("ix_postings_venue_strategy_hash", "postings", ["venue", "strategy_hash"])


def _create_orders() -> None:
    mids = ("decision_mid", "arrival_mid", "final_mid")
    op.create_table(
        "orders",
        sa.Column("order_id", sa.String(64), nullable=False),
        sa.Column("strategy_hash", sa.String(64), nullable=False),
        sa.Column("venue", sa.String(32), nullable=False),
        sa.Column("strategy", sa.Text(), nullable=False),
        sa.Column("symbol", sa.String(32), nullable=False),
        sa.Column("side", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.String(64), nullable=False) for name in ("qty", "filled")),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("algorithm", sa.String(16), nullable=False),
        sa.Column("decision_id", sa.Text(), nullable=False),
        *(
            sa.Column(name, sa.DateTime(timezone=True), nullable=False)
            for name in ("decided_at", "sent_at", "ended_at")
        ),
        *(sa.Column(name, sa.String(64), nullable=True) for name in mids),
        sa.CheckConstraint(
            "status IN ('filled', 'cancelled', 'rejected', 'lost')", name=op.f("ck_orders_status")
        ),
        sa.PrimaryKeyConstraint("order_id", "strategy_hash", "venue", name="pk_orders"),
    )
    op.create_index("ix_orders_venue_strategy_hash", "orders", ["venue", "strategy_hash"])
