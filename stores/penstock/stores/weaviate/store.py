"""What opens a store in Weaviate: the engine under the store that Qdrant has, too."""

from __future__ import annotations

from penstock.stores.qdrant.store import QdrantStore
from penstock.stores.weaviate.address import parse
from penstock.stores.weaviate.engine import WeaviateEngine


def open_vector(url: str) -> QdrantStore:
    """The store of `weaviate://host:8080/?grpc_port=&api_key=&metric=&https=&grpc_host=`; nothing is connected yet.

    Raises:
        BadStoreURL: No host, or an option that is not known. The key is not in its words.
    """
    address = parse(url)
    return QdrantStore(WeaviateEngine(address), address.metric)
