"""The Milvus backend: `milvus:///file.db` is Milvus Lite in this process, `milvus://host:19530/` a server.

It is `qdrant.store` over an engine of its own: a collection is one of Milvus's, a key is a row.
"""

from penstock.stores.milvus.homes import open_vector

__all__ = ["open_vector"]
