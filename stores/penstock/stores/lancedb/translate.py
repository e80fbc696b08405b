"""The driver's errors as the store's. Nothing of lancedb or pyarrow crosses this line."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pyarrow as pa

from penstock.stores.errors import StoreError, StoreRejected, StoreUnavailable

_REFUSALS = ("LanceError(Schema)", "different schema", "Invalid argument error", "Invalid user input", "Invalid input")
"""Lance raises RuntimeError and ValueError for everything; its words are all there is to tell them apart (0.40)."""


@contextlib.contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn the driver's errors into store errors that begin with *what*, the cause attached.

    What is not known to be a refusal counts as unavailable: trying again loses nothing, a dead letter
    needs a person. That includes a commit conflict, a timeout, a full disk, and "Not found", which a handle
    says after another process has compacted or removed its version.
    """
    try:
        yield
    except StoreError:
        raise
    except pa.ArrowInvalid:
        # Its text quotes the value, and so would a traceback.
        raise StoreRejected(f"{what}: a value is of a type that its column does not hold") from None
    except (RuntimeError, ValueError, OSError, pa.ArrowException) as exc:
        kind = StoreRejected if any(word in str(exc) for word in _REFUSALS) else StoreUnavailable
        raise kind(f"{what}: {_brief(exc)}") from exc


def _brief(exc: Exception) -> str:
    """The first line, without the place in Lance's source."""
    return (str(exc).splitlines() or [type(exc).__name__])[0].partition(", /root/.cargo/")[0]
