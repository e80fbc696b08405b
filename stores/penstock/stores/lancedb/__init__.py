"""The LanceDB backend: vectors in a folder of Lance tables, one table a collection.

Lance runs threads of its own and does not survive a fork: start other processes with `spawn`. Its driver takes 2 s of a
core and 100 MB to load, so nothing here does before a store is opened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from penstock.stores.lancedb.location import folder_of

if TYPE_CHECKING:
    from penstock.stores.lancedb.store import LanceStore

__all__ = ["LanceStore", "check_vector", "open_vector"]


def check_vector(url: str) -> None:
    """Refuse a URL that `open_vector` would refuse, without loading the driver. Raises `BadStoreURL`."""
    folder_of(url)


def open_vector(url: str) -> LanceStore:
    """The store of `lancedb:///relative/folder` or `lancedb:////absolute/folder`; nothing is opened yet.

    Raises:
        BadStoreURL: No folder, a host, or an object store.
    """
    folder = folder_of(url)
    from penstock.stores.lancedb.store import LanceStore  # noqa: PLC0415 - see above

    return LanceStore(folder)


def __getattr__(name: str) -> Any:
    if name != "LanceStore":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from penstock.stores.lancedb.store import LanceStore  # noqa: PLC0415 - see above

    return LanceStore
