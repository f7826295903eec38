"""The store: runs, trials, snapshots and events in SQLite or PostgreSQL, behind one ``Store``.

SQLAlchemy and Alembic load when a store is first opened.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "canonical": ["canonical_json"],
        "records": ["ChainCheck", "Run", "Snapshot", "Trial"],
        "schema": ["StoreStatus", "downgrade", "status", "upgrade"],
        "session": ["Store"],
    },
)
