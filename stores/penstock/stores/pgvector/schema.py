"""The schema of the vectors: made, migrated and checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.stores.pgvector.extension import make_extension
from penstock.stores.pgvector.names import Names, prefix
from penstock.stores.pgvector.settings import VectorSettings
from penstock.stores.postgres.ddl import alone
from penstock.stores.postgres.pool import Pool
from penstock.stores.sqlfiles import migrations, pending

MIGRATIONS = migrations("penstock.stores.pgvector")


async def migrate(settings: VectorSettings) -> None:
    """Make the extension, the schema and its tables, whatever of them is missing: all of it or nothing. Processes may
    race.

    On a connection of its own: those of the store need the extension's types to begin with.

    Raises:
        StoreUnavailable: The extension cannot be made, or another process has been migrating for `timeout` seconds.
        StoreRejected: The schema is newer than this code.
    """

    async def work(connection: Any) -> None:
        await make_extension(connection)
        await _migrate(connection, settings)

    pool = Pool(settings.server)
    try:
        await alone(pool, settings.server.timeout, work)
    finally:
        await pool.close()


async def found_version(settings: VectorSettings) -> int:
    """Number of the last migration that was applied; 0 where there are no tables."""
    pool = Pool(settings.server)
    try:
        async with pool.connection() as connection:
            return max(await _applied(connection, Names(prefix(settings.schema), "")), default=0)
    finally:
        await pool.close()


async def _migrate(connection: Any, settings: VectorSettings) -> None:
    names = Names(prefix(settings.schema), "")
    # Looked at first: a role that may only write rows can still find that there is nothing to do.
    if settings.schema is not None and not await connection.fetchval(names.sql("has_home"), settings.schema):
        await connection.execute(names.sql("make_home", schema=names.home.removesuffix(".")))
    if not await connection.fetchval(names.sql("has_vector_migrations"), names.home):
        await connection.execute(names.sql("make_vector_migrations"))
    for migration in pending(MIGRATIONS, await _applied(connection, names)):
        await connection.execute(migration.sql.format(home=names.home))
        await connection.execute(
            names.sql("note_vector_migration"), migration.number, migration.name, migration.checksum
        )


async def _applied(connection: Any, names: Names) -> Mapping[int, str]:
    if not await connection.fetchval(names.sql("has_vector_migrations"), names.home):
        return {}
    return dict(await connection.fetch(names.sql("applied_vector_migrations")))
