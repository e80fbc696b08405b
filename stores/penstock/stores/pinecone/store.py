"""What opens a store in Pinecone: the engine under the store that Qdrant has, too."""

from __future__ import annotations

from penstock.stores.pinecone.address import parse
from penstock.stores.pinecone.engine import PineconeEngine
from penstock.stores.points.store import PointStore


def open_vector(url: str) -> PointStore:
    """The store of `pinecone://index-name?api_key=&namespace=&metric=&cloud=&region=&host=`; nothing is connected yet.

    Raises:
        BadStoreURL: No index, or an option that is not known. The key is not in its words.
    """
    address = parse(url)
    return PointStore(PineconeEngine(address), address.metric)
