"""The pgvector backend: vectors in a PostgreSQL database, one table a collection, any number of writers."""

from penstock.stores.pgvector.store import PgVectorStore, open_vector

__all__ = ["PgVectorStore", "open_vector"]
