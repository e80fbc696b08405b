"""A whole table, record by record, with a bounded number of bytes in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from penstock.stores.contract import SqlStore
from penstock.stores.errors import SchemaTooOld
from penstock.stores.schemas import FIRST_WITH_STATE
from penstock.stores.walking import TABLES
from penstock.wire.frames import encode
from penstock.wire.records import Record

_FIRST_ROWS, _MOST_ROWS = 200, 2_000
_PAGE_BYTES = 4 * 1024 * 1024
"""A page is asked to hold about this much, going by the page before it."""


class Walkable(Protocol):
    """What can be walked: a store, or a snapshot of one."""

    async def walk(self, table: str, after: Record | None, limit: int) -> Sequence[Record]:
        """See `SqlReading.walk`."""
        ...


async def refuse_old(store: SqlStore) -> None:
    """Refuse a store that cannot be walked whole.

    Raises:
        SchemaTooOld: It has not all tables yet.
        StoreUnavailable: There is no store.
    """
    found = (await store.schema()).found
    if 0 < found < FIRST_WITH_STATE:
        raise SchemaTooOld(
            f"the schema has version {found}, {FIRST_WITH_STATE} is needed to read all of it: run `penstock migrate`"
        )


async def records_of(source: Walkable, table: str) -> AsyncIterator[Record]:
    """Every record of *table*, in the order of its key."""
    async for page in pages_of(source, table):
        for record in page:
            yield record


async def pages_of(source: Walkable, table: str) -> AsyncIterator[Sequence[Record]]:
    """Every record of *table*, in the order of its key, by pages none of which is empty."""
    after: Record | None = None
    limit = _FIRST_ROWS
    while page := await source.walk(table, after, limit):
        yield page
        if len(page) < limit:
            return
        after = page[-1]
        limit = _next_limit(page)


def _next_limit(page: Sequence[Record]) -> int:
    average = sum(map(size_of, page)) // len(page)
    return max(1, min(_MOST_ROWS, 2 * len(page), _PAGE_BYTES // average))


def size_of(record: Record) -> int:
    """How many bytes *record* takes. Encoding it takes 0.9 us, to look at each of its fields 2.4 us."""
    return len(encode(record, None))


def tables_named(names: Sequence[str]) -> list[str]:
    """Those of *names* in the order in which they are written; all where there are none.

    Raises:
        ValueError: One that is no table.
    """
    for name in names:
        if name not in TABLES:
            raise ValueError(f"{name!r} is no table; known are {', '.join(TABLES)}")
    return [table for table in TABLES if not names or table in names]
