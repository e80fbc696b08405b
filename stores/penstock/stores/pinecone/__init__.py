"""Pinecone, over its REST interface: a namespace a collection, in an index for each dimension and metric."""

from penstock.stores.pinecone.store import open_vector

__all__ = ["open_vector"]
