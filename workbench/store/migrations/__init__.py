"""The migrations of the store, oldest first in ``versions``."""

HEAD = "0002"
"""The newest revision, kept here so that opening a store does not load Alembic."""
