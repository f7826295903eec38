"""The migrations of the store, oldest first in ``versions``."""

HEAD = "0001"
"""The newest revision, kept here so that opening a store does not load Alembic."""
