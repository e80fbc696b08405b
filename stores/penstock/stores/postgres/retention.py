"""Retention at level 2: whole partitions go when the last of their rows is past its time.

A partition of log events is dropped. One of messages is detached first, and with it its rows are gone; then they are
removed a slice at a time, each session is counted with its last row, and the partition is dropped when none is left. A
crash between the two leaves it set aside, and the next run goes on. Until then some sessions count messages that are
gone.

Rows of the default partition, which are those of callers' own keys, go one by one, as all do at level 1.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import asyncpg

from penstock.stores.postgres import searching
from penstock.stores.postgres.ddl import LONG_S, alone
from penstock.stores.postgres.deletions import hold_sessions
from penstock.stores.postgres.partitions import Table, past, run
from penstock.stores.postgres.pool import Pool
from penstock.stores.postgres.settings import PostgresSettings
from penstock.stores.sqlfiles import statements

_SQL = statements("penstock.stores.postgres")


async def goes_by_partitions(pool: Pool, table: str) -> bool:
    """Whether *table* is in partitions, and this role may take one away."""
    async with pool.connection() as connection:
        return bool(await connection.fetchval(_SQL["goes_by_partitions"], table))


async def count(connection: Any, table: Table, before_us: int) -> int:
    """How many rows `remove_partition`, called until it finds nothing, removes."""
    names = await past(connection, table, before_us)
    if table == "messages":
        names += [name for (name,) in await connection.fetch(_SQL["partitions_set_aside"])]
    return sum([await _older(connection, name, before_us) for name in names])


async def remove_partition(pool: Pool, settings: PostgresSettings, table: Table, before_us: int, limit: int) -> int:
    """Remove a partition of log events, or *limit* rows of one of messages. Returns how many; 0 when none is left."""
    if table == "logs":
        while (gone := await alone(pool, settings.timeout, partial(_drop_logs, before_us=before_us))) is not None:
            if gone:
                return gone
        return 0
    while (name := await _set_aside(pool, settings, before_us)) is not None:
        try:
            gone = await pool.transact(partial(_settle, name=name, limit=limit))
        except asyncpg.UndefinedTableError:
            continue  # another process has just dropped it
        if gone:
            return gone
        if not await alone(pool, settings.timeout, partial(_drop_if_empty, name=name)):
            return 0  # another process is about the rest
    return 0


async def _drop_logs(connection: Any, before_us: int) -> int | None:
    for name in await past(connection, "logs", before_us):
        await _detach(connection, "logs", name, before_us)
        gone = await _older(connection, name, before_us)
        await run(connection, "drop_table", name)
        return gone
    return None


async def _set_aside(pool: Pool, settings: PostgresSettings, before_us: int) -> str | None:
    """A partition whose rows are gone; None where there is none, and none is past its time."""
    async with pool.connection() as connection:
        name: str | None = await connection.fetchval(_SQL["partitions_set_aside"])
    if name is None and await alone(pool, settings.timeout, partial(_set_next_aside, before_us=before_us)):
        return await _set_aside(pool, settings, before_us)
    return name


async def _set_next_aside(connection: Any, before_us: int) -> bool:
    for name in await past(connection, "messages", before_us):
        await _detach(connection, "messages", name, before_us)
        await connection.execute(await connection.fetchval(_SQL["set_aside"], name))
        return True
    return False


async def _detach(connection: Any, table: Table, name: str, before_us: int) -> None:
    await run(connection, "detach_partition", table, name)
    move_younger = await connection.fetchval(_SQL["move_younger"], f"{table}_default", name)
    await connection.execute(move_younger, before_us, timeout=LONG_S)


async def _settle(connection: Any, *, name: str, limit: int) -> int:
    """Remove *limit* rows of *name*, and count the sessions that have no more of them.

    Anew, and not down by what is gone: since the partition was detached a session may have been deleted, or begun anew.
    Nobody waits for the locks of rows that nobody sees any more, so they may come before those of sessions.
    """
    gone = await connection.fetch(await connection.fetchval(_SQL["remove_set_aside"], name), limit)
    if gone:
        ids, sessions = [row[0] for row in gone], sorted({row[1] for row in gone})
        await hold_sessions(connection, sessions)
        # Only now: another process may have removed the other rows of a session, and one of the two has to count it.
        settled = await connection.fetchval(await connection.fetchval(_SQL["sessions_settled"], name), sessions)
        await connection.execute(_SQL["recount_aged_sessions"], settled)
        await connection.execute(_SQL["delete_empty_sessions"], settled)
        await connection.execute(_SQL["delete_chunks_of_streams"], ids)
        await searching.forget(connection, ids)
    return len(gone)


async def _drop_if_empty(connection: Any, *, name: str) -> bool:
    if name not in [each for (each,) in await connection.fetch(_SQL["partitions_set_aside"])]:
        return True
    if await connection.fetchval(await connection.fetchval(_SQL["has_rows_left"], name)):
        return False
    await run(connection, "drop_table", name)
    return True


async def _older(connection: Any, name: str, before_us: int) -> int:
    older: int = await connection.fetchval(
        await connection.fetchval(_SQL["count_older"], name), before_us, timeout=LONG_S
    )
    return older
