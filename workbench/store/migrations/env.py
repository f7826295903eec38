"""What Alembic runs: migrate on the connection that ``workbench.store.schema`` holds open."""

from alembic import context

from workbench.store.tables import Base

connection = context.config.attributes["connection"]
# The caller holds the transaction and the lock; batches let SQLite alter tables in later revisions.
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    render_as_batch=True,
    compare_type=True,
)
context.run_migrations()
