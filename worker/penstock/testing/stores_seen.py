"""What lies in stores, read by SQL of our own and by the drivers themselves: never through the library's readers."""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
import uuid
from array import array
from collections.abc import Mapping, Sequence
from contextlib import closing
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from penstock.testing.evidence import StoredLog, StoredMessage, StoredValue, StoredVector
from penstock.wire.errors import PenstockError

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)

_OURS = ("pool_", "level", "period", "timeout", "connect_timeout", "statement_cache_size", "max_overflow")
"""Options of a `postgresql://` URL that the driver does not know."""

Found = Mapping[str, Sequence[Sequence[Any]]]
"""The rows of each statement, by its name."""


class CannotLook(PenstockError):
    """The kit has no eyes for this store; read it yourself, and give `judge` an `Evidence`."""


async def sql_rows(url: str) -> Found:
    """What the statements of `sql/` find in the store of *url*.

    Raises:
        CannotLook: Neither SQLite nor PostgreSQL.
    """
    if url.startswith("sqlite:"):
        return await asyncio.to_thread(sqlite_rows, sqlite_path(url))
    if url.startswith(("postgresql", "postgres:")):
        return await _postgres_rows(url)
    raise CannotLook(f"{urlsplit(url).scheme}:// is read by nobody here; give `judge` an Evidence of your own")


def messages_of(found: Found) -> list[StoredMessage]:
    """The messages, in the order of created_at and id."""
    return [StoredMessage(_id(row[0]), row[1], row[2], row[3], row[4], bool(row[5])) for row in found["messages"]]


def logs_of(found: Found) -> list[StoredLog]:
    """The log events."""
    return [StoredLog(_id(row[0]), *row[1:]) for row in found["logs"]]


def values_of(found: Found) -> list[StoredValue]:
    """The key-values that are not deleted."""
    return [StoredValue(row[0], row[1], json.loads(row[2])) for row in found["key_values"]]


async def vectors_in(url: str) -> list[StoredVector]:
    """Every row of every collection of a `lancedb:///folder`.

    Raises:
        CannotLook: Another store.
    """
    if not url.startswith("lancedb:///"):
        raise CannotLook(f"{urlsplit(url).scheme}:// is read by nobody here; give `judge` an Evidence of your own")
    return await asyncio.to_thread(_lance_rows, Path(unquote(urlsplit(url).path[1:])))


def statements(name: str) -> dict[str, str]:
    """The statements of `sql/NAME.sql`."""
    parts = _NAME.split(files("penstock.testing").joinpath("sql", f"{name}.sql").read_text("utf-8"))
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def sqlite_path(url: str) -> Path:
    """The file of a `sqlite:///` URL."""
    return Path(unquote(urlsplit(url).path.removeprefix("/")))


def driver_url(url: str) -> str:
    """A `postgresql://` URL as asyncpg takes it: without the options that are ours."""
    parts = urlsplit(url)
    options = [each for each in parse_qsl(parts.query, keep_blank_values=True) if not each[0].startswith(_OURS)]
    return urlunsplit(("postgresql", parts.netloc, parts.path, urlencode(options), ""))


def sqlite_rows(path: Path) -> Found:
    """What the statements of `sql/sqlite.sql` find in the file; nothing where there is none."""
    asked = statements("sqlite")
    if not path.exists():
        return dict.fromkeys(asked, ())
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN")  # one instant for all of them
        return {name: connection.execute(sql).fetchall() for name, sql in asked.items()}


async def _postgres_rows(url: str) -> Found:
    import asyncpg  # noqa: PLC0415 - an extra

    asked = statements("postgres")
    connection = await asyncpg.connect(driver_url(url), statement_cache_size=0)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            return {name: await connection.fetch(sql) for name, sql in asked.items()}
    finally:
        await connection.close()


def _lance_rows(folder: Path) -> list[StoredVector]:
    import lancedb  # noqa: PLC0415 - an extra

    if not folder.exists():
        return []
    connection = lancedb.connect(folder)
    tables = {name: connection.open_table(name) for name in sorted(path.stem for path in folder.glob("*.lance"))}
    return [
        StoredVector(name, row["id"], array("f", row["vector"]).tobytes())
        for name, table in tables.items()
        for row in table.to_arrow().select(["id", "vector"]).to_pylist()
    ]


def _id(digits: str) -> str:
    return str(uuid.UUID(hex=digits))
