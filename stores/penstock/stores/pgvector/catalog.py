"""The collections of a database: found, made and dropped."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import NamedTuple, TypeVar

import asyncpg

from penstock.stores.errors import StoreRejected
from penstock.stores.pgvector.database import Database, Session
from penstock.stores.postgres.translation import Collision
from penstock.stores.sqlfiles import statements

MAX_DIMENSION = 16_000
"""The extension's own limit."""

_FRESH_S = 30.0
"""How long a process goes by what it knows of a collection's indexes. One that is gone is noticed at once."""

_DROPS = 4
"""How often in a row a collection may be dropped, and made anew, under one question."""

_BOUND_DDL_WAITS = statements("penstock.stores.postgres")["bound_ddl_waits"]

_GONE = (asyncpg.UndefinedTableError, asyncpg.InvalidCachedStatementError, asyncpg.InternalServerError)
"""What is told of a table that was dropped a moment ago; the last one where it goes while the question is planned."""

_Result = TypeVar("_Result")


class Collection(NamedTuple):
    """A collection that is there."""

    number: int
    dimension: int
    indexes: frozenset[str]
    """What it has indexes of: metrics, and others."""


class Catalog:
    """What this process knows of the collections."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[str, tuple[float, Collection]] = {}

    async def find(self, name: str, *, fresh: bool = False) -> Collection | None:
        """The collection; None when there is none."""
        at, known = self._known.get(name, (0.0, None))
        if known is not None and not fresh and time.monotonic() - at < _FRESH_S:
            return known

        async def read(session: Session) -> Collection | None:
            row = await session.connection.fetchrow(session.names.sql("collection"), name, session.names.home)
            return None if row is None else Collection(row[0], row[1], frozenset(row[2]))

        found = await self._database.ask(read)
        if found is None:
            self._known.pop(name, None)
        else:
            self._known[name] = (time.monotonic(), found)
        return found

    async def names(self) -> list[str]:
        """Every collection, sorted."""
        rows = await self._database.ask(lambda session: session.connection.fetch(session.names.sql("collection_names")))
        return [row[0] for row in rows]

    async def read(
        self, name: str, ask: Callable[[Collection], Awaitable[_Result]], none: Callable[[], _Result]
    ) -> _Result:
        """The answer of *ask* about the collection, of *none* where there is none. Again where it was dropped."""
        found = await self.find(name)
        for _ in range(_DROPS):
            if found is None:
                return none()
            try:
                return await ask(found)
            except _GONE:
                found = await self.find(name, fresh=True)
        return none() if found is None else await ask(found)

    async def drop(self, name: str) -> bool:
        """Remove the collection; False when there was none."""

        async def work(session: Session) -> bool:
            # Waits for who writes it. Who comes next finds no row, and makes the collection anew.
            number = await session.connection.fetchval(session.names.sql("forget_collection"), name)
            if number is not None:
                await session.connection.execute(_BOUND_DDL_WAITS)
                await session.connection.execute(session.names.of("drop_collection", number))
            return number is not None

        self._known.pop(name, None)
        return await self._database.transact(work)


async def hold(session: Session, names: Iterable[str]) -> Mapping[str, tuple[int, int]]:
    """Number and dimension of those of *names* that are there. None of them can be dropped before the commit."""
    rows = await session.connection.fetch(session.names.sql("hold_collections"), sorted(names))
    return {name: (number, dimension) for name, number, dimension in rows}


def refuse_long(name: str, dimension: int) -> None:
    """Raise `StoreRejected` where the extension has no vectors of that *dimension*."""
    if dimension > MAX_DIMENSION:
        raise StoreRejected(
            f"collection {name}: vectors of {dimension:,} numbers; pgvector keeps up to {MAX_DIMENSION:,}, "
            f"use a model with fewer or another backend"
        )


async def make(session: Session, name: str, dimension: int) -> int:
    """The number of a new collection.

    Raises:
        StoreRejected: The extension has no vectors of that *dimension*.
        Collision: Another transaction has made it meanwhile; begin again.
    """
    refuse_long(name, dimension)
    number: int | None = await session.connection.fetchval(session.names.sql("note_collection"), name, dimension)
    if number is None:
        raise Collision(f"collection {name} was made by another writer")
    table = {"table": session.names.table(number), "number": str(number)}
    await session.connection.execute(session.names.sql("make_collection", dimension=str(dimension), **table))
    await session.connection.execute(session.names.of("index_tombstones", number))
    return number
