"""The connections of one store: opened when they are needed, closed once."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, TypeVar

import asyncpg

from penstock.stores.errors import StoreUnavailable
from penstock.stores.postgres.codecs import use_record_types
from penstock.stores.postgres.settings import PostgresSettings
from penstock.stores.postgres.translation import Collision, is_collision, is_lost
from penstock.stores.sqlfiles import statements
from penstock.wire.backoff import next_delay_s

_Result = TypeVar("_Result")

_SQL = statements("penstock.stores.postgres")

_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
"""What the driver raises."""

_TRIES = 8
_BASE_MS, _CAP_MS = 10, 500
"""The back-off between tries. A deadlock was found after the server's `deadlock_timeout`, 1 s by default."""

_IDLE_S = 1
"""From then on a connection is asked whether it lives. One in use is told apart by its first statement, at no cost."""


class Pool:
    """asyncpg's pool with our deadlines, errors and end. Belongs to the loop that uses it first."""

    def __init__(self, settings: PostgresSettings, begin: Callable[[Any], Awaitable[None]] | None = None) -> None:
        """*begin* prepares a new connection in place of what messages and logs need."""
        self._settings = settings
        self._begin = begin or (_begin if settings.statement_cache_size else use_record_types)
        self._pool: Any = None
        self._opening = asyncio.Lock()
        self._closed = False
        self._rng = random.Random()  # noqa: S311 - jitter

    async def transact(self, work: Callable[[Any], Awaitable[_Result]]) -> _Result:
        """Run *work* with a connection in a transaction and commit it; again where it collides with another one.

        A cancelled call is rolled back by the server, unless its commit has already been sent.
        """
        for collisions in range(1, _TRIES):
            try:
                return await self._transact_once(work)
            except (asyncpg.PostgresError, Collision) as exc:
                if not is_collision(exc):
                    raise
            await asyncio.sleep(next_delay_s(collisions, _BASE_MS, _CAP_MS, self._rng))
        return await self._transact_once(work)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        """A connection outside of a transaction."""
        async with self._answering(_nothing) as (connection, _):
            yield connection

    async def ask(self, read: Callable[[Any], Awaitable[_Result]]) -> _Result:
        """The answer of *read* to a connection, outside of a transaction; of another one where the first has died."""
        async with self._answering(read) as (_, answer):
            return answer

    def connections(self) -> tuple[int, int]:
        """How many are open, and how many of them idle."""
        return (self._pool.get_size(), self._pool.get_idle_size()) if self._pool else (0, 0)

    async def close(self) -> None:
        """Wait for what runs, each for its own deadline, then close. Later calls are refused."""
        self._closed = True
        async with self._opening:
            pool, self._pool = self._pool, None
            if pool is not None:
                await pool.close()

    async def _transact_once(self, work: Callable[[Any], Awaitable[_Result]]) -> _Result:
        transaction = AsyncExitStack()  # ends within the connection that it was begun on
        begun = self._answering(lambda connection: transaction.enter_async_context(connection.transaction()))
        async with begun as (connection, _), transaction:
            return await work(connection)

    @asynccontextmanager
    async def _answering(self, first: Callable[[Any], Awaitable[_Result]]) -> AsyncIterator[tuple[Any, _Result]]:
        """A connection with its answer to *first*, which may be asked again: dead ones are replaced, unseen by all.

        All that lay idle may be dead, as after a restart of the server; the one that is opened then tells the truth.
        """
        pool = self._pool or await self._open()
        for may_be_dead in [True] * self._settings.pool_max + [False]:
            async with pool.acquire(timeout=self._settings.timeout) as connection:
                if may_be_dead and not await self._is_fit(connection):
                    continue
                connection.is_used()
                try:
                    answer = await first(connection)
                except _ERRORS as exc:
                    if not may_be_dead or not is_lost(exc):
                        raise
                    _terminate(connection)
                    continue
                yield connection, answer
                return

    async def _is_fit(self, connection: Any) -> bool:
        """Whether *connection* may be used; it is closed otherwise."""
        settings = self._settings
        if settings.pool_recycle_s and connection.age_s() > settings.pool_recycle_s:
            await connection.close(timeout=settings.connect_timeout)
            return False
        if not settings.pool_pre_ping or connection.idle_s() < _IDLE_S:
            return True
        try:
            await connection.execute(_SQL["ping"], timeout=settings.connect_timeout)
        except _ERRORS:
            _terminate(connection)
            return False
        return True

    async def _open(self) -> Any:
        async with self._opening:
            if self._closed:
                raise StoreUnavailable(f"the store at {self._settings.where} is closed")
            if self._pool is None:
                self._pool = await self._create()
            return self._pool

    async def _create(self) -> Any:
        settings = self._settings
        return await asyncpg.create_pool(
            settings.dsn,
            min_size=settings.pool_min,
            max_size=settings.pool_max,
            timeout=settings.connect_timeout,
            command_timeout=settings.timeout,
            statement_cache_size=settings.statement_cache_size,
            connection_class=_Connection,
            init=self._begin,
            reset=_leave_as_it_is,
        )


async def _begin(connection: Any) -> None:
    await use_record_types(connection)
    await connection.execute(_SQL["plan_once"])


class _Connection(asyncpg.Connection):  # type: ignore[misc] # asyncpg tells no types
    """One that knows how long it has been open, and how long ago it was used."""

    __slots__ = ("_opened_at", "_used_at")

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._opened_at = self._used_at = time.monotonic()

    def is_used(self) -> None:
        self._used_at = time.monotonic()

    def idle_s(self) -> float:
        return time.monotonic() - self._used_at

    def age_s(self) -> float:
        return time.monotonic() - self._opened_at


def _terminate(connection: Any) -> None:
    with suppress(asyncpg.InterfaceError):  # it has noticed by itself, and left the pool
        connection.terminate()


async def _nothing(connection: Any) -> None:
    """To begin with."""


async def _leave_as_it_is(connection: Any) -> None:
    """asyncpg rolls back by itself. Nothing else here outlives a transaction, so its round trip is not needed."""
