"""The Chroma backend: `chroma:///folder` in this process, `chroma://host:8000/` a server.

It is `qdrant.store` over an engine of its own: a collection is one of Chroma's, a key is the id of its row, and the
row's metadata has the record.
"""

from penstock.stores.chroma.homes import open_vector

__all__ = ["open_vector"]
