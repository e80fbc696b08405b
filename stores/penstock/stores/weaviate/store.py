"""What opens a store in Weaviate: the engine under the store that Qdrant has, too."""

from __future__ import annotations

from penstock.stores.points.store import PointStore
from penstock.stores.weaviate.address import parse
from penstock.stores.weaviate.engine import WeaviateEngine


def open_vector(url: str) -> PointStore:
    """The store of `weaviate://host:8080/?grpc_port=&api_key=&metric=&https=&grpc_host=`; nothing is connected yet.

    Raises:
        BadStoreURL: No host, or an option that is not known. The key is not in its words.
    """
    address = parse(url)
    return PointStore(WeaviateEngine(address), address.metric)
