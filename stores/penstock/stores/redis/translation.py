"""The client's errors as store errors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from redis.exceptions import DataError, RedisError, ResponseError

from penstock.stores.errors import StoreError, StoreRejected, StoreUnavailable

_FOREIGN = re.compile(r"(^|@user_script:\d+: )WRONGTYPE ")
"""A script's errors stand behind its line on a server before 7."""


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Turn what the client raises into store errors."""
    try:
        yield
    except (RedisError, OSError) as exc:
        raise store_error(exc, where) from exc


def store_error(exc: Exception, where: str) -> StoreError:
    """*exc* as what the caller does next."""
    if isinstance(exc, DataError):
        return StoreRejected(f"{where}: {exc}")
    if isinstance(exc, ResponseError) and _FOREIGN.search(str(exc)):
        return StoreRejected(
            f"{where} has something else than a value under a key of ours: remove it, or change prefix"
        )
    return StoreUnavailable(f"{where} does not answer: {str(exc) or type(exc).__name__}")
