"""The schema of a database: made, migrated and checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.stores.postgres.ddl import LONG_S, alone
from penstock.stores.postgres.deletions import hold_all_sessions
from penstock.stores.postgres.partitions import divide
from penstock.stores.postgres.pool import Pool
from penstock.stores.postgres.settings import PostgresSettings
from penstock.stores.sqlfiles import migrations, pending, refuse_newer, statements

MIGRATIONS = migrations("penstock.stores.postgres")

_SQL = statements("penstock.stores.postgres")


async def migrate(pool: Pool, settings: PostgresSettings) -> None:
    """Apply what is missing, all of it or nothing. Several processes may race.

    Raises:
        StoreRejected: The schema is newer than this code, or something hangs on a table that has to be divided.
        StoreUnavailable: Another process has been migrating for `timeout` seconds.
    """

    async def work(connection: Any) -> None:
        await _migrate(connection)
        if settings.level == 2:
            await divide(connection, settings.period)

    await alone(pool, settings.timeout, work)


def refuse_newer_schema(number: int) -> None:
    """Raise `StoreRejected` where a database's schema is newer than this code."""
    refuse_newer(number, MIGRATIONS)


async def applied_migrations(connection: Any) -> Mapping[int, str]:
    """Number and checksum of every migration; none in a database without our tables."""
    if not await connection.fetchval(_SQL["has_schema_table"]):
        return {}
    return dict(await connection.fetch(_SQL["applied_migrations"]))


async def _migrate(connection: Any) -> None:
    # Looked at first: a role that may only write rows can still find that there is nothing to do.
    if not await connection.fetchval(_SQL["has_schema_table"]):
        await connection.execute(_SQL["make_schema_table"])
    applied = dict(await connection.fetch(_SQL["applied_migrations"]))
    waiting = pending(MIGRATIONS, applied)
    if waiting:
        # Before any table, as a writer has it: who holds a session's lock and waits for a table that is being indexed
        # would never let go of it. Fails test_a_database_is_migrated_beside_workers_that_write if left out.
        await hold_all_sessions(connection)
    for migration in waiting:
        await connection.execute(migration.sql, timeout=LONG_S)  # one may make an index of a large table anew
        await connection.execute(_SQL["note_migration"], migration.number, migration.name, migration.checksum)
