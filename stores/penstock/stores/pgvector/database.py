"""The connections of the store, each with the extension's types and the settings of a search."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, TypeVar

import asyncpg

from penstock.stores.pgvector.codecs import use_vector_types
from penstock.stores.pgvector.extension import found_extension
from penstock.stores.pgvector.names import Names, prefix
from penstock.stores.pgvector.settings import VectorSettings
from penstock.stores.postgres.pool import Pool

_Result = TypeVar("_Result")

EF_SEARCH = 100
"""How many candidates the index looks at for a usual search."""


class Session(NamedTuple):
    """A connection, and how things are called there."""

    connection: Any
    names: Names

    async def fetch(self, statement: str, number: int, *values: Any) -> Sequence[Any]:
        """The rows of *statement* about the collection with this *number*."""
        rows: Sequence[Any] = await self.connection.fetch(self.names.of(statement, number), *values)
        return rows

    async def fetchval(self, statement: str, number: int, *values: Any) -> Any:
        """The first value of the first of them."""
        return await self.connection.fetchval(self.names.of(statement, number), *values)


class Database:
    """One database. Its methods raise what the driver raises, but for a missing extension."""

    def __init__(self, settings: VectorSettings) -> None:
        self.settings = settings
        self._home = prefix(settings.schema)
        self._extension = ""
        self._pool = Pool(settings.server, self._begin)

    @property
    def keeps_sessions(self) -> bool:
        """Whether what is set on a connection stays there: not behind a pooler, which mixes up transactions."""
        return self.settings.server.statement_cache_size > 0

    async def transact(self, work: Callable[[Session], Awaitable[_Result]]) -> _Result:
        """See `Pool.transact`."""
        return await self._pool.transact(lambda connection: work(self._session(connection)))

    async def ask(self, read: Callable[[Session], Awaitable[_Result]]) -> _Result:
        """See `Pool.ask`."""
        return await self._pool.ask(lambda connection: read(self._session(connection)))

    async def ask_widely(self, ef_search: int, read: Callable[[Session], Awaitable[_Result]]) -> _Result:
        """`ask` where the index looks at *ef_search* candidates."""
        if self.keeps_sessions and ef_search == EF_SEARCH:
            return await self.ask(read)

        async def work(session: Session) -> _Result:
            await _set_up_search(session.connection, session.names, ef_search, for_transaction=True)
            return await read(session)

        return await self.transact(work)

    @asynccontextmanager
    async def apart(self) -> AsyncIterator[Session]:
        """A connection that is not of the pool, for what takes long; what is set on it goes with it."""
        server = self.settings.server
        connection = await asyncpg.connect(
            server.dsn, timeout=server.connect_timeout, statement_cache_size=server.statement_cache_size
        )
        try:
            yield Session(connection, Names(self._home, prefix(await found_extension(connection))))
        finally:
            await connection.close(timeout=server.connect_timeout)

    async def close(self) -> None:
        """See `Pool.close`."""
        await self._pool.close()

    def _session(self, connection: Any) -> Session:
        return Session(connection, Names(self._home, self._extension))

    async def _begin(self, connection: Any) -> None:
        schema = await found_extension(connection)
        await use_vector_types(connection, schema)
        self._extension = prefix(schema)
        if self.keeps_sessions:
            names = Names(self._home, self._extension)
            await _set_up_search(connection, names, EF_SEARCH, for_transaction=False)


async def _set_up_search(connection: Any, names: Names, ef_search: int, *, for_transaction: bool) -> None:
    await connection.execute(names.sql("set_up_search"), str(ef_search), for_transaction)
