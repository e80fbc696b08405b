"""Errors of Pinecone's client as errors of a store."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from pinecone.errors.exceptions import (
    ApiError,
    ForbiddenError,
    NotFoundError,
    PaymentRequiredError,
    PineconeError,
    PineconeTypeError,
    PineconeValueError,
    UnauthorizedError,
)

from penstock.stores.errors import StoreError, StoreRejected, StoreUnavailable
from penstock.stores.points.engine import Missing

_LOCKED = (UnauthorizedError, ForbiddenError, PaymentRequiredError)

_REFUSALS = (400, 413, 422)


@contextlib.contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn the client's errors into store errors that begin with *what*, the cause attached.

    What is not known to be a refusal counts as unavailable, a wrong key or a used-up quota among them: no record is to
    blame for it.
    """
    try:
        yield
    except StoreError:
        raise
    except NotFoundError as exc:
        raise Missing(f"{what}: not found") from exc
    except _LOCKED as exc:
        raise StoreUnavailable(f"{what}: {_words(exc)}; look at api_key in PENSTOCK_VECTOR_URL") from exc
    except ApiError as exc:
        kind = StoreRejected if exc.status_code in _REFUSALS else StoreUnavailable
        raise kind(f"{what}: {_words(exc)}") from exc
    except (PineconeTypeError, PineconeValueError):
        # Its text quotes the value, and so would a traceback.
        raise StoreRejected(f"{what}: a value is one that no request holds") from None
    except PineconeError as exc:  # no connection, no answer in time, no answer that is one
        raise StoreUnavailable(f"{what}: {_line(str(exc))}") from exc
    except RuntimeError as exc:  # of a connection that `close` has taken away meanwhile
        raise StoreUnavailable(f"{what}: {_line(str(exc))}") from exc


def _words(exc: ApiError) -> str:
    return f"{exc.status_code}: {_line(exc.message)}"


def _line(text: str) -> str:
    return next(iter(text.splitlines()), "")[:200]
