"""The in-memory backend: for tests, examples and one process that needs no disk."""

from penstock.stores.memory.sql import open_sql
from penstock.stores.memory.vectors import open_vector

open_key_values = open_sql

__all__ = ["open_key_values", "open_sql", "open_vector"]
