"""asyncpg's errors as store errors, told apart by SQLSTATE and never by text."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from penstock.stores.errors import BadStoreURL, StoreError, StoreRejected, StoreUnavailable

_REFUSALS = {
    "22",  # a value that its type does not hold
    "23",  # a constraint
    "54",  # a limit of the server's, such as the size of an index entry
    "P0",  # a trigger that raised
}
"""Classes of what is wrong with the row. All else is wrong with the server, the schema or a setting, and may pass."""

_DATATYPE_MISMATCH = "42804"
_MISSING = {"42P01", "42703", "3F000"}
_COLLISIONS = {"40001", "40P01"}
_ENDED = {"57P01", "57P02", "57P05"}
"""An administrator, a crash of the server or its limit for idle sessions has ended the connection."""
_CHECK_VIOLATION = "23514"


class Collision(StoreUnavailable):
    """Two transactions were in each other's way: nothing was written, and the next try may pass."""


def is_collision(exc: BaseException) -> bool:
    """Whether *exc* is a deadlock, a serialisation failure, a partition that came in between or a `Collision`."""
    if isinstance(exc, asyncpg.PostgresError):
        return exc.sqlstate in _COLLISIONS or _is_of_no_partition(exc)
    return isinstance(exc, Collision)


def _is_of_no_partition(exc: asyncpg.PostgresError) -> bool:
    """Whether a row met another partition than the one that it was meant for, which one made meanwhile can do.

    The server calls it a violated check, but names no constraint.
    """
    return bool(exc.sqlstate == _CHECK_VIOLATION and not exc.constraint_name)


def is_lost(exc: BaseException) -> bool:
    """Whether *exc* tells that the connection has ended, not what became of a statement."""
    if isinstance(exc, asyncpg.PostgresError):
        state = exc.sqlstate or ""
        return state.startswith("08") or state in _ENDED
    if isinstance(exc, asyncpg.InterfaceError):
        return not isinstance(exc, ValueError)  # a value that cannot be encoded
    # The driver is in a state that it does not know after it was told of the end while it lay idle.
    return isinstance(exc, ConnectionError | asyncpg.InternalClientError)


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Turn what the driver raises into store errors.

    The driver's text quotes rows and values. So a refusal gives only the names that it concerns, and hides its
    cause, which a traceback would print.
    """
    try:
        yield
    except asyncpg.PostgresError as exc:
        error = _store_error(exc, where)
        if isinstance(error, StoreRejected):
            raise error from None
        raise error from exc
    except asyncpg.exceptions.ClientConfigurationError as exc:
        raise BadStoreURL(f"{where}: {exc}") from exc
    except (asyncpg.InterfaceError, asyncpg.InternalClientError, OSError) as exc:
        # TimeoutError is an OSError, and has no text.
        raise StoreUnavailable(f"{where} does not answer: {str(exc) or type(exc).__name__}") from exc


def refusal_of(exc: asyncpg.PostgresError) -> str | None:
    """Why the row is refused for good; None where something else than the row is wrong."""
    state: str | None = exc.sqlstate
    if state is None or isinstance(exc, asyncpg.DataError):  # also the driver's own, which never asked the server
        return _refusal(exc)
    is_refusal = (state[:2] in _REFUSALS and not _is_of_no_partition(exc)) or state == _DATATYPE_MISMATCH
    return _refusal(exc) if is_refusal else None


def _store_error(exc: asyncpg.PostgresError, where: str) -> StoreError:
    if (refusal := refusal_of(exc)) is not None:
        return StoreRejected(refusal)
    state = exc.sqlstate
    if state in _MISSING:
        return StoreUnavailable(f"{where}: {_message(exc)}; the schema is not the one expected (`setup()` makes it)")
    return StoreUnavailable(f"{where}: {_message(exc)} ({state})")


def _refusal(exc: asyncpg.PostgresError) -> str:
    """Which rule was broken, in names of the schema's alone."""
    names = (f"{word} {name}" for word in ("constraint", "column", "table") if (name := getattr(exc, f"{word}_name")))
    told = ", ".join((exc.sqlstate or "", *names)).removeprefix(", ")
    return f"PostgreSQL refuses a row: {type(exc).__name__.removesuffix('Error')} ({told})"


def _message(exc: asyncpg.PostgresError) -> str:
    """The first line alone: details and hints may quote rows."""
    return (str(exc).splitlines() or [type(exc).__name__])[0]
