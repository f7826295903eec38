"""Triggers that refuse to change what is on record, on either backend."""

from __future__ import annotations

from alembic import op


def refuse(table: str, verb: str, reason: str, condition: str = "") -> None:
    """Let a table refuse a verb, always or under a condition; PostgreSQL's TRUNCATE with DELETE."""
    name = f"{table}_refuse_{verb.lower()}"
    when = f"WHEN ({condition})" if condition else ""
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            f"CREATE TRIGGER {name} BEFORE {verb} ON {table} {when} "
            f"BEGIN SELECT RAISE(ABORT, '{reason}'); END"
        )
        return
    op.execute(
        "CREATE OR REPLACE FUNCTION workbench_refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION '%', TG_ARGV[0] USING ERRCODE = 'restrict_violation'; END $$"
    )
    op.execute(
        f"CREATE TRIGGER {name} BEFORE {verb} ON {table} FOR EACH ROW {when} "
        f"EXECUTE FUNCTION workbench_refuse('{reason}')"
    )
    if verb == "DELETE":
        op.execute(
            f"CREATE TRIGGER {table}_refuse_truncate BEFORE TRUNCATE ON {table} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION workbench_refuse('{reason}')"
        )
