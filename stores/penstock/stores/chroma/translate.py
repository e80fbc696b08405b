"""Chroma's errors as the store's."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import httpx
from chromadb.errors import (
    ChromaError,
    DuplicateIDError,
    InvalidArgumentError,
    InvalidDimensionException,
    NotFoundError,
)

from penstock.stores.errors import StoreError, StoreRejected, StoreUnavailable
from penstock.stores.points.engine import Missing

_REFUSALS = (InvalidArgumentError, InvalidDimensionException, DuplicateIDError)

_TOO_LARGE = 413
_LOCKED = (401, 403)


@contextlib.contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn the client's errors into store errors that begin with *what*, the cause attached.

    What is not known to be a refusal counts as unavailable: trying again loses nothing, a dead letter needs a person.
    """
    try:
        yield
    except StoreError:
        raise
    except NotFoundError as exc:
        raise Missing(f"{what}: not found") from exc
    except ChromaError as exc:
        kind = StoreRejected if isinstance(exc, _REFUSALS) else StoreUnavailable
        raise kind(f"{what}: {_first_line(exc)}") from exc
    except (TypeError, ValueError, OverflowError) as exc:
        raise _of_python(what, exc) from None  # its text may quote the value, and so would a traceback
    except BaseException as exc:
        if not isinstance(exc, Exception) and type(exc).__name__ != "PanicException":
            raise
        raise _of_server(what, exc) from exc


def _of_python(what: str, exc: Exception) -> StoreError:
    if "connect to a Chroma server" in str(exc):
        return StoreUnavailable(f"{what}: it does not answer")
    if "different settings" in str(exc):
        return StoreUnavailable(f"{what}: this program has it open with settings of its own; close that client")
    return StoreRejected(f"{what}: a value is of a type that Chroma does not hold")


def _of_server(what: str, exc: BaseException) -> StoreError:
    answer = exc.__context__.response if isinstance(exc.__context__, httpx.HTTPStatusError) else None
    if answer is not None and answer.status_code == _TOO_LARGE:
        return StoreRejected(f"{what}: more than it takes in one request")
    if answer is not None and answer.status_code in _LOCKED:
        return StoreUnavailable(f"{what}: it refuses the token; look at token in PENSTOCK_VECTOR_URL")
    return StoreUnavailable(f"{what}: {_first_line(exc)}")


def _first_line(exc: BaseException) -> str:
    return next(iter(str(exc).splitlines()), type(exc).__name__)[:200]
