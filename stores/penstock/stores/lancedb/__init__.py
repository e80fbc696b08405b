"""The LanceDB backend: vectors in a folder of Lance tables, one table a collection.

Lance runs threads of its own and does not survive a fork: start other processes with `spawn`.

The driver is loaded by `open_vector`: it takes 1.5 s of a core and 110 MB.
"""

from typing import TYPE_CHECKING, Any

from penstock.stores.lancedb.address import address_of

if TYPE_CHECKING:
    from penstock.stores.lancedb.store import LanceStore

__all__ = ["DRIVERS", "LanceStore", "check_vector", "open_vector"]

DRIVERS = ("lancedb", "pyarrow", "numpy")


def check_vector(url: str) -> None:
    """Raise `BadStoreURL` as `open_vector` would, without the driver."""
    address_of(url)


def open_vector(url: str) -> "LanceStore":
    """The store that *url* names, see `address_of`; nothing is opened yet.

    Raises:
        BadStoreURL: It names none.
    """
    folder, metric = address_of(url)
    from penstock.stores.lancedb.store import LanceStore  # noqa: PLC0415 - see above

    return LanceStore(folder, metric=metric)


def __getattr__(name: str) -> Any:
    """Load the driver only for those who ask for what needs it."""
    if name == "LanceStore":
        from penstock.stores.lancedb.store import LanceStore  # noqa: PLC0415

        return LanceStore
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
