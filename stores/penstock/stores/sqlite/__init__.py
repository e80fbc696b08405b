"""The SQLite backend: one file, one writer that groups commits, readers beside it."""

from penstock.stores.sqlite.store import SqliteStore, open_sql

open_key_values = open_sql

__all__ = ["SqliteStore", "open_key_values", "open_sql"]
