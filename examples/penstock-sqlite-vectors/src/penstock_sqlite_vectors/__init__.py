"""Embeddings in one SQLite file: a store for Penstock in a package of its own."""

from penstock_sqlite_vectors.store import SqliteVectors, open_vector

__all__ = ["SqliteVectors", "open_vector"]
