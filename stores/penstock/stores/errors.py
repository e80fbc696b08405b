"""What a store may raise. Drivers' own exceptions never cross this line.

StoreError
├── StoreUnavailable       try the same batch again later
│   └── SchemaTooOld       and run `penstock migrate` before
├── StoreRejected          this batch will never be accepted; halve it, dead-letter what is alone
│   └── DimensionMismatch  the vector's length is not its collection's
├── StaleOwner             somebody with a higher epoch has written; stop, nothing was written
├── Unsupported            this backend cannot do what is asked; ask otherwise, or another backend
└── BadStoreURL            mend the setting
    ├── UnknownBackend     no backend has this scheme
    ├── MissingExtra       the backend's driver is not installed
    ├── BrokenBackend      the package that has the scheme cannot be used
    └── BackendClash       two have the scheme
"""

from __future__ import annotations

from penstock.wire.errors import PenstockError


class StoreError(PenstockError):
    """Root of what stores raise."""


class StoreUnavailable(StoreError):
    """The store could not answer. The batch may or may not be written; writing it again is harmless."""


class SchemaTooOld(StoreUnavailable):
    """The schema lacks what is needed, and waits for `penstock migrate`. Nothing was written."""


class StoreRejected(StoreError):
    """The store answered, and the answer will not change on a retry. Nothing was written."""


class DimensionMismatch(StoreRejected):
    """A vector's length is not its collection's. Nothing was written."""


class StaleOwner(StoreError):
    """The store has seen a higher epoch of this partition. Nothing was written."""

    def __init__(self, partition: str, epoch: int, seen: int) -> None:
        super().__init__(f"partition {partition} was written with epoch {seen}, ours is {epoch}")
        self.seen = seen


class Unsupported(StoreError, ValueError):
    """The backend cannot do what is asked, though another can. The message names the limit and the remedy."""


class BadStoreURL(StoreError, ValueError):
    """A store's URL cannot be used."""


class UnknownBackend(BadStoreURL):
    """No backend is registered for the URL's scheme."""


class MissingExtra(BadStoreURL):
    """The backend exists, but its driver is not installed."""


class BrokenBackend(BadStoreURL):
    """The package that serves the URL's scheme cannot be loaded, or its store keeps to another contract."""


class BackendClash(BadStoreURL):
    """Two backends claim one scheme for the same sort of store."""
