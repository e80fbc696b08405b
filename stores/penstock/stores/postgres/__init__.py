"""The PostgreSQL backend: one database, any number of writers."""

from penstock.stores.postgres.store import PostgresStore, open_sql

open_key_values = open_sql

__all__ = ["PostgresStore", "open_key_values", "open_sql"]
