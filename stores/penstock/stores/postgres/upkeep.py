"""What goes by itself, a slice a transaction. See `penstock.stores.upkeep`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, cast

from penstock.stores.postgres import partitions, retention, searching
from penstock.stores.postgres.bulk import columns
from penstock.stores.postgres.deletions import share_sessions
from penstock.stores.postgres.partitions import TABLES, Table
from penstock.stores.postgres.pool import Pool
from penstock.stores.postgres.settings import PostgresSettings
from penstock.stores.postgres.translation import translated
from penstock.stores.sqlfiles import statements
from penstock.stores.upkeep import Bounds, Excess, Kind

_SQL = statements("penstock.stores.postgres")

_TOMBSTONES = (
    "remove_due_tombstones",
    "remove_deleted_tasks",
    "remove_deleted_agent_states",
    "remove_deleted_contexts",
    "remove_deleted_key_values",
)

_KEEP_PARTITIONS_EVERY_US = 3_600_000_000
"""They are made two periods ahead, and looking for rows outside of them reads up to a million."""


class PostgresUpkeep:
    """See `SqlUpkeep`. The size of a database is left to its owner."""

    _settings: PostgresSettings
    _pool: Pool
    _partitions_kept_at_us = 0

    async def count_due(self, kind: Kind, before_us: int) -> int:
        """See `SqlUpkeep.count_due`."""
        with translated(self._settings.where):
            divided = kind in TABLES and await retention.goes_by_partitions(self._pool, kind)
            async with self._pool.connection() as connection:
                name = f"count_due_{kind}_default" if divided else f"count_due_{kind}"
                count: int = await connection.fetchval(_SQL[name], before_us)
                return count + (await retention.count(connection, cast("Table", kind), before_us) if divided else 0)

    async def remove_due(self, kind: Kind, before_us: int, now_us: int, limit: int) -> int:
        """See `SqlUpkeep.remove_due`. At level 2 messages and logs go by partitions (`retention`)."""
        with translated(self._settings.where):
            divided = kind in TABLES and await retention.goes_by_partitions(self._pool, kind)
            if divided and (gone := await self._remove_partition(cast("Table", kind), before_us, limit)):
                return gone
            suffix = "_default" if divided else ""
            slice_ = _remove_messages if kind == "messages" else partial(_remove, kind=kind, now_us=now_us)
            return await self._pool.transact(partial(slice_, before_us=before_us, limit=limit, suffix=suffix))

    async def _remove_partition(self, table: Table, before_us: int, limit: int) -> int:
        return await retention.remove_partition(self._pool, self._settings, table, before_us, limit)

    async def count_excess(self, kind: Excess, bounds: Bounds, now_us: int, floor_us: int, limit: int) -> int:  # noqa: ARG002 - no size is kept
        """See `SqlUpkeep.count_excess`."""
        return 0

    async def remove_excess(self, kind: Excess, floor_us: int, limit: int) -> int:  # noqa: ARG002 - no size is kept
        """See `SqlUpkeep.remove_excess`."""
        return 0

    async def refresh_search(self, limit: int) -> int:
        """See `SqlUpkeep.refresh_search`."""
        with translated(self._settings.where):
            async with self._pool.connection() as connection:
                if not await searching.is_due(connection):
                    return 0
            return await self._pool.transact(partial(searching.refresh, limit=limit))

    async def reindex(self) -> None:
        """See `SqlUpkeep.reindex`."""
        with translated(self._settings.where):
            await self._pool.transact(searching.reindex)

    async def tidy(self, now_us: int) -> Mapping[str, int]:
        """See `SqlUpkeep.tidy`. Statistics and free space are autovacuum's."""
        if now_us < self._partitions_kept_at_us + _KEEP_PARTITIONS_EVERY_US:
            return {}
        with translated(self._settings.where):
            if not await retention.goes_by_partitions(self._pool, "messages"):
                return {}
            kept = await partitions.keep(self._pool, self._settings, now_us)
        self._partitions_kept_at_us = now_us
        return {"partitions_made": len(kept.made)} if kept.made else {}


async def _remove(connection: Any, *, kind: Kind, before_us: int, now_us: int, limit: int, suffix: str) -> int:
    gone = 0
    for statement in _TOMBSTONES if kind == "tombstones" else (f"remove_due_{kind}{suffix}",):
        values = (before_us, limit - gone, *([now_us] if kind in ("contexts", "key_values") else []))
        told: str = await connection.execute(_SQL[statement], *values)
        gone += int(told.rpartition(" ")[2])  # "DELETE 5"
    return gone


async def _remove_messages(connection: Any, *, before_us: int, limit: int, suffix: str) -> int:
    """Locks as a writer does: sessions' locks, messages, sessions, chunks."""
    due = await connection.fetch(_SQL[f"due_messages{suffix}"], before_us, limit)
    if not due:
        return 0
    await share_sessions(connection, {session for _, session in due})
    gone = await connection.fetch(_SQL["remove_due_messages"], [message_id for message_id, _ in due], before_us)
    return await _count_down(connection, gone)


async def _count_down(connection: Any, gone: Sequence[Any]) -> int:
    """What sessions count without the messages *gone*: id, session, whether it was live.

    Their locks are shared, as writers have them: who deletes a whole session counts what is left, and must not see
    half of this.
    """
    counted: Counter[str] = Counter()
    for _, session, is_live in gone:
        counted[session] += is_live
    if sessions := sorted(counted):
        await connection.execute(_SQL["lock_session_rows"], sessions)
        await connection.execute(_SQL["age_sessions"], *columns([(each, counted[each]) for each in sessions]))
        await connection.execute(_SQL["delete_empty_sessions"], sessions)
        ids = [row[0] for row in gone]
        await connection.execute(_SQL["delete_chunks_of_streams"], ids)
        await searching.forget(connection, ids)
    return len(gone)
