"""The connections of one store: opened when they are needed, closed once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import asyncpg

from penstock.stores.errors import StoreUnavailable
from penstock.stores.postgres.codecs import use_record_types
from penstock.stores.postgres.settings import PostgresSettings
from penstock.stores.postgres.translation import Collision, is_collision
from penstock.wire.backoff import next_delay_s

_Result = TypeVar("_Result")

_TRIES = 8
_BASE_MS, _CAP_MS = 10, 500
"""The back-off between tries. A deadlock was found after the server's `deadlock_timeout`, 1 s by default."""


class Pool:
    """asyncpg's pool with our deadlines, errors and end. Belongs to the loop that uses it first."""

    def __init__(self, settings: PostgresSettings) -> None:
        self._settings = settings
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
        pool = self._pool or await self._open()
        async with pool.acquire(timeout=self._settings.timeout) as connection:
            yield connection

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
        async with self.connection() as connection, connection.transaction():
            return await work(connection)

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
            init=use_record_types,
            reset=_leave_as_it_is,
        )


async def _leave_as_it_is(connection: Any) -> None:
    """asyncpg rolls back by itself. Nothing else here outlives a transaction, so its round trip is not needed."""
