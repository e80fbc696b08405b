"""Weaviate, over its gRPC and REST interfaces: one of its collections for each of ours, an object a key."""

from penstock.stores.weaviate.store import open_vector

__all__ = ["open_vector"]
