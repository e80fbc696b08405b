"""The schema of a database: made, migrated and checked."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from penstock.stores.errors import StoreUnavailable
from penstock.stores.postgres.pool import Pool
from penstock.stores.sqlfiles import migrations, pending, refuse_newer, statements

MIGRATIONS = migrations("penstock.stores.postgres")

_SQL = statements("penstock.stores.postgres")

_POLL_S = 0.05


async def migrate(pool: Pool, patience_s: float) -> None:
    """Apply what is missing, all of it or nothing. Several processes may race.

    Raises:
        StoreRejected: The schema is newer than this code.
        StoreUnavailable: Another process has been migrating for *patience_s* seconds.
    """
    deadline = asyncio.get_running_loop().time() + patience_s
    while not await pool.transact(_migrate_if_first):
        if asyncio.get_running_loop().time() > deadline:
            raise StoreUnavailable(f"another process has been migrating the schema for {patience_s:g} s")
        await asyncio.sleep(_POLL_S)


async def applied_migrations(connection: Any) -> Mapping[int, str]:
    """Number and checksum of every migration; none in a database without our tables."""
    if not await connection.fetchval(_SQL["has_schema_table"]):
        return {}
    return dict(await connection.fetch(_SQL["applied_migrations"]))


def refuse_newer_schema(number: int) -> None:
    """Raise `StoreRejected` where a database's schema is newer than this code."""
    refuse_newer(number, MIGRATIONS)


async def _migrate_if_first(connection: Any) -> bool:
    """Whether the schema is up to date now; not while another process holds the lock."""
    if not await connection.fetchval(_SQL["take_migration_lock"]):
        return False
    await connection.execute(_SQL["bound_ddl_waits"])
    # Looked at first: a role that may only write rows can still find that there is nothing to do.
    if not await connection.fetchval(_SQL["has_schema_table"]):
        await connection.execute(_SQL["make_schema_table"])
    applied = dict(await connection.fetch(_SQL["applied_migrations"]))
    for migration in pending(MIGRATIONS, applied):
        await connection.execute(migration.sql)
        await connection.execute(_SQL["note_migration"], migration.number, migration.name, migration.checksum)
    return True
