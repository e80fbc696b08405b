"""Milvus's errors as the store's."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from pymilvus.exceptions import (
    DataNotMatchException,
    DataTypeNotMatchException,
    MilvusException,
    ParamError,
    SchemaNotReadyException,
)

from penstock.stores.errors import StoreError, StoreRejected, StoreUnavailable
from penstock.stores.points.engine import Missing

NOT_FOUND = 100
NOT_LOADED = 101

_REFUSALS = (5, 6, 1100, 1101)
"""Codes of a parameter that is not as it should be: of Lite, and of servers."""

_OF_CLIENT = (DataNotMatchException, DataTypeNotMatchException, ParamError, SchemaNotReadyException)


@contextlib.contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn the client's errors into store errors that begin with *what*.

    What is not known to be a refusal counts as unavailable: trying again loses nothing, a dead letter needs a person.
    """
    try:
        yield
    except StoreError:
        raise
    except (*_OF_CLIENT, TypeError, ValueError, OverflowError):
        # Its text quotes the value, and so would a traceback.
        raise StoreRejected(f"{what}: a value is of a type that Milvus does not hold") from None
    except MilvusException as exc:
        if exc.code == NOT_FOUND:
            raise Missing(f"{what}: not found") from exc
        kind = StoreRejected if exc.code in _REFUSALS else StoreUnavailable
        raise kind(f"{what}: {_first_line(exc.message)}") from exc
    except Exception as exc:
        raise StoreUnavailable(f"{what}: {_first_line(str(exc)) or type(exc).__name__}") from exc


def _first_line(text: str) -> str:
    return next(iter(text.splitlines()), "")[:200]
