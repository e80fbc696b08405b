"""The extension of the server that keeps vectors: found, and made where it may be."""

from __future__ import annotations

import re
from typing import Any

import asyncpg

from penstock.stores.errors import StoreUnavailable
from penstock.stores.pgvector.names import Names

_OLDEST = (0, 8)
"""The first whose index goes on where a filter leaves too few."""

_PLAIN = Names("", "")


async def found_extension(connection: Any) -> str:
    """The schema that the extension `vector` lies in.

    Raises:
        StoreUnavailable: It is not there, or too old; what to do is in the words.
    """
    row = await connection.fetchrow(_PLAIN.sql("extension"))
    if row is None:
        raise StoreUnavailable("the database has no extension vector; start a worker, or run CREATE EXTENSION vector")
    schema, version = row
    if tuple(map(int, re.findall(r"\d+", version)))[:2] < _OLDEST:
        oldest = ".".join(map(str, _OLDEST))
        raise StoreUnavailable(
            f"extension vector has version {version}, {oldest} is needed; upgrade pgvector on the server, then run "
            f"ALTER EXTENSION vector UPDATE"
        )
    return str(schema)


async def make_extension(connection: Any) -> None:
    """Make the extension where it is missing.

    Raises:
        StoreUnavailable: The server does not have it, or the role may not.
    """
    if await connection.fetchrow(_PLAIN.sql("extension")) is not None:
        return
    try:
        public = await connection.fetchval(_PLAIN.sql("has_public"))
        await connection.execute(_PLAIN.sql("make_extension_in_public" if public else "make_extension"))
    except asyncpg.InsufficientPrivilegeError as exc:
        raise StoreUnavailable(
            "the role may not make the extension vector; have a superuser run CREATE EXTENSION vector in this database"
        ) from exc
    except (asyncpg.FeatureNotSupportedError, asyncpg.UndefinedFileError) as exc:
        raise StoreUnavailable(
            "the server does not have pgvector; install it (its package is often called postgresql-NN-pgvector), or "
            "switch it on where a provider runs the server"
        ) from exc
