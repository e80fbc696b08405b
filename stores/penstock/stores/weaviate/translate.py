"""Errors of Weaviate's client as errors of a store."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import grpc
import httpx
from weaviate.exceptions import (
    AuthenticationFailedError,
    InsufficientPermissionsError,
    UnexpectedStatusCodeError,
    WeaviateBaseError,
    WeaviateInvalidInputError,
)

from penstock.stores.errors import StoreError, StoreRejected, StoreUnavailable
from penstock.stores.points.engine import Missing

_NOT_FOUND, _UNAUTHORISED, _UNPROCESSABLE = 404, 401, 422


@contextlib.contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn the client's errors into store errors that begin with *what*, the cause attached.

    Over gRPC the client tells nothing but words, so what is not known to be a refusal counts as unavailable: trying
    again loses nothing. Records are checked before they are sent.
    """
    try:
        yield
    except StoreError:
        raise
    except (AuthenticationFailedError, InsufficientPermissionsError) as exc:
        raise StoreUnavailable(f"{what}: {_line(exc)}; look at api_key in PENSTOCK_VECTOR_URL") from exc
    except UnexpectedStatusCodeError as exc:
        if exc.status_code == _NOT_FOUND:
            raise Missing(f"{what}: not found") from exc
        if exc.status_code == _UNAUTHORISED:
            raise StoreUnavailable(f"{what}: {_line(exc)}; look at api_key in PENSTOCK_VECTOR_URL") from exc
        kind = StoreRejected if exc.status_code == _UNPROCESSABLE else StoreUnavailable
        raise kind(f"{what}: {_line(exc)}") from exc
    except (WeaviateInvalidInputError, TypeError, ValueError, OverflowError):
        # Its text quotes the value, and so would a traceback.
        raise StoreRejected(f"{what}: a value is one that no message holds") from None
    except (WeaviateBaseError, grpc.RpcError, httpx.HTTPError, LookupError, RuntimeError, OSError) as exc:
        # A `LookupError` is an answer that the client does not understand.
        raise StoreUnavailable(f"{what}: {_line(exc)}") from exc


def _line(exc: BaseException) -> str:
    return next(iter(str(exc).splitlines()), type(exc).__name__)[:200]
