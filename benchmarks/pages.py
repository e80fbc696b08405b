"""A page of a session out of a million messages, against the same rows by primary key, on SQLite and PostgreSQL.

python -m benchmarks.pages [--messages 1000000] [--pages 1000]
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import aiosqlite
import asyncpg

from benchmarks.filling import Row, fill, filled
from benchmarks.measuring import CONTENT, median, percentile, postgres
from penstock.query import Reader
from penstock.query.page import Course, cursor
from penstock.stores.queries import Position
from penstock.wire.ids import format_id

PER_SESSION = 500
PAGE = 50

COLUMNS = (
    "id, created_at, role, content, metadata, user_id, message_type, platform, from_user_id, from_user_name, "
    "to_user_id, channel_id, thread_id, bot_user_id, engine_session_id, engine_namespace, provider_session_id, "
    "provider_type, updated_at, deleted_at, state, version, normalised"
)


class Database(ABC):
    """A database that the store has set up, and its bare driver."""

    name: str
    url: str

    @abstractmethod
    async def open(self) -> None:
        """Connect past the store."""

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

    async def open(self) -> None:
        """See `Database.open`."""
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

    async def open(self) -> None:
        """See `Database.open`."""
        self._bare = await asyncpg.connect(self.url)

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
    await fill(database.url, range(len(rows)), PER_SESSION)
    await database.open()
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
    rows = list(filled(range(given.messages), PER_SESSION))
    sessions = len({row.session for row in rows})
    print(f"{PAGE} messages of {len(CONTENT)} characters, of {given.messages:,} in {sessions:,} sessions\n")
    print("| `Reader.messages` | p50, ms | p99, ms | same rows by key, bare driver, p50, ms | ratio |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(compare(Sqlite(Path(folder)), rows, given.pages))
    with postgres() as url:
        asyncio.run(compare(Postgres(url), rows, given.pages))


if __name__ == "__main__":
    main()
