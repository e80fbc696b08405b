"""The LanceDB backend: vectors in a folder of Lance tables, one table a collection.

Lance runs threads of its own and does not survive a fork: start other processes with `spawn`.
"""

from penstock.stores.lancedb.store import LanceStore, open_vector

__all__ = ["LanceStore", "open_vector"]
