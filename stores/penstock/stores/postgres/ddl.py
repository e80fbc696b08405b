"""Changes of the schema: one process at a time, and none that waits long for a table."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import asyncpg

from penstock.stores.errors import StoreUnavailable
from penstock.stores.postgres.pool import Pool
from penstock.stores.sqlfiles import statements

_SQL = statements("penstock.stores.postgres")

LONG_S = 3_600.0
"""For what has to read a whole table: longer than any statement of a batch may take."""

_POLL_S = 0.05

_Result = TypeVar("_Result")


async def alone(pool: Pool, patience_s: float, work: Callable[[Any], Awaitable[_Result]]) -> _Result:
    """Run *work* with a connection in a transaction that holds the schema's lock.

    A table's lock that is not to be had within some seconds ends the transaction, so that nobody queues behind it for
    longer, and another one begins.

    Raises:
        StoreUnavailable: Another process has held the one lock or the other for *patience_s* seconds.
    """
    deadline = asyncio.get_running_loop().time() + patience_s

    async def locked(connection: Any) -> tuple[_Result] | None:
        if not await connection.fetchval(_SQL["take_migration_lock"]):
            return None
        await connection.execute(_SQL["bound_ddl_waits"])
        return (await work(connection),)

    while True:
        cause: asyncpg.LockNotAvailableError | None = None
        try:
            if (done := await pool.transact(locked)) is not None:
                return done[0]
        except asyncpg.LockNotAvailableError as exc:
            cause = exc
        if asyncio.get_running_loop().time() > deadline:
            who = "another transaction has been holding a table" if cause else "another process has been migrating"
            raise StoreUnavailable(f"{who} for {patience_s:g} s, and the schema has to wait for it") from cause
        await asyncio.sleep(_POLL_S)
