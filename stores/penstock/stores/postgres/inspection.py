"""What can be seen of a database beside its records: its schema, its health, its size."""

from __future__ import annotations

import uuid
from abc import ABC
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import asyncpg
import orjson

from penstock.stores.alchemy import engine_of
from penstock.stores.health import Health, NotWell, Totals, examined, schema_detail
from penstock.stores.postgres.partitions import is_divided, rows_outside
from penstock.stores.postgres.pool import Pool
from penstock.stores.postgres.schema import MIGRATIONS, applied_migrations
from penstock.stores.postgres.settings import PostgresSettings
from penstock.stores.postgres.translation import translated
from penstock.stores.schemas import FIRST_WITH_STATE, SchemaVersion, refuse_what_lacks, version_of
from penstock.stores.sorting import Sorted
from penstock.stores.sqlfiles import statements

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

_RECORDS = ("messages", "sessions", "logs")
_STATE = ("tasks", "agent_states", "contexts", "key_values")

_COUNTED = 10_000
"""Rows of a table that are counted one by one, in some milliseconds."""

_PROBE = "penstock health"

_LEVEL_2 = "level 2: messages and logs in partitions"

_SQL = statements("penstock.stores.postgres")


class PostgresInspection(ABC):
    """See `SqlInspection`."""

    _settings: PostgresSettings
    _pool: Pool
    _has_place_for_all = False

    async def schema(self) -> SchemaVersion:
        """See `SqlInspection.schema`."""
        with translated(self._settings.where):
            async with self._pool.connection() as connection:
                version = version_of(MIGRATIONS, await applied_migrations(connection))
                waits = self._settings.level == 2 and not await is_divided(connection)
        return version._replace(pending=[*version.pending, _LEVEL_2]) if waits else version

    async def health(self) -> Health:
        """See `SqlInspection.health`."""
        return await examined(
            {
                "answers": self._answers,
                "schema": self._schema_fits,
                "writable": self._is_writable,
                "pool": self._pool_in_use,
                "partitions": self._partitions_hold_all,
            }
        )

    async def totals(self) -> Totals:
        """See `SqlInspection.totals`. Tables of more than 10,000 rows are estimated by the server's planner.

        Within some per cent once autovacuum has analysed them; wrong by up to a half in the first minute of a table.
        """
        counts: dict[str, int] = {}
        with translated(self._settings.where):
            async with self._pool.connection() as connection:
                found = await connection.fetchval(_SQL["schema_version"]) or 0
                counts |= await _counted(connection, "count_records", _RECORDS)
                if found >= FIRST_WITH_STATE:
                    counts |= await _counted(connection, "count_state", _STATE)
                large = [table for table, count in counts.items() if count > _COUNTED]
                for table in large:
                    counts[table] = max(counts[table], await _estimated(connection, table))
                tables = [*counts, "chunks", "tombstones", "search_entries"]
                size = await connection.fetchval(_SQL["size_on_disk"], tables)
        return Totals(**{**dict.fromkeys(_STATE, 0), **counts}, bytes=size, exact=not large)

    def engine(self) -> AsyncEngine:
        """See `SqlInspection.engine`. It has a pool of its own, of `pool_max` connections."""
        settings = self._settings
        cached = settings.statement_cache_size

        async def connect() -> Any:
            return await asyncpg.connect(
                settings.dsn,
                timeout=settings.connect_timeout,
                command_timeout=settings.timeout,
                statement_cache_size=cached,
            )

        adapted: dict[str, Any] = {"prepared_statement_cache_size": cached}
        if not cached:
            # Behind a pooler of transactions two clients must not give one name to two statements.
            adapted["prepared_statement_name_func"] = lambda: f"penstock_{uuid.uuid4().hex}"
        return engine_of("postgresql+asyncpg", connect, adapted=adapted, pool_size=settings.pool_max, max_overflow=0)

    async def _refuse_what_lacks(self, batch: Sorted) -> None:
        """Refuse what the schema has no tables for, looked up until it has all of them. See `refuse_what_lacks`."""
        if self._has_place_for_all or not (batch.states or batch.deletions):
            return
        async with self._pool.connection() as connection:
            found = await connection.fetchval(_SQL["schema_version"]) or 0
        refuse_what_lacks(found, batch)
        self._has_place_for_all = True

    async def _answers(self) -> str:
        with translated(self._settings.where):
            async with self._pool.connection() as connection:
                version: str = await connection.fetchval(_SQL["server_version"])
        return f"PostgreSQL {version}, {self._settings.where}"

    async def _schema_fits(self) -> str:
        return schema_detail(await self.schema())

    async def _is_writable(self) -> str:
        with translated(self._settings.where):
            async with self._pool.connection() as connection:
                transaction = connection.transaction()
                await transaction.start()
                try:
                    await connection.execute(_SQL["write_probe"], _PROBE)
                finally:
                    await transaction.rollback()
        return "a row was written and taken back"

    async def _pool_in_use(self) -> str:
        open_, idle = self._pool.connections()
        return f"{open_ - idle} of {self._settings.pool_max} connections in use"

    async def _partitions_hold_all(self) -> str:
        with translated(self._settings.where):
            found = await rows_outside(self._pool, _COUNTED)
        if lost := [f"{table} {each.by_time:,}" for table, each in found.items() if each.by_time]:
            raise NotWell(
                f"rows outside of every partition: {', '.join(lost)}; look at the clocks of producers, and run "
                f"`penstock upkeep`, which makes partitions in time"
            )
        return "every row by time has its partition" if found else "level 1: none"


async def _counted(connection: Any, statement: str, tables: Sequence[str]) -> Mapping[str, int]:
    row = await connection.fetchrow(_SQL[statement], _COUNTED + 1)
    return dict(zip(tables, row, strict=True))


async def _estimated(connection: Any, table: str) -> int:
    plan: Any = orjson.loads(await connection.fetchval(_SQL[f"estimate_{table}"]))
    return int(plan[0]["Plan"]["Plan Rows"])
