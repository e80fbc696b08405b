"""Into PostgreSQL: what one worker moves, beside the bare driver, in one run.

python -m benchmarks.drain_postgres [--records 200000] [--runs 3]
"""

from __future__ import annotations

import argparse
import asyncio
import uuid
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

import asyncpg
import psutil

from benchmarks.draining import BATCH, LOG_EVENTS, MESSAGES, RECORDS, SESSIONS, Load, Moved, backlog, middle, own
from benchmarks.measuring import CONTENT, Watch, postgres, settle_disk, table
from penstock.stores.registry import sql_store
from penstock.wire.ids import new_id

_Row = tuple[Any, ...]
_Write = Callable[[Any, "Bare", Sequence[_Row]], Awaitable[object]]

_NOW = datetime.now(UTC)


class Bare(NamedTuple):
    """The rows that a load becomes, as the driver alone would insert them."""

    table: str
    columns: dict[str, str]
    """Those that have a value, with their types."""
    row: Callable[[int], _Row]
    """The one with that number."""


_BARE = {
    MESSAGES: Bare(
        "messages",
        {
            "id": "uuid", "created_at": "timestamptz", "session_id": "text", "role": "text", "content": "text",
            "version": "bigint", "normalised": "boolean",
        },
        lambda n: (uuid.UUID(bytes=new_id()), _at(n), f"session-{n % SESSIONS}", "user", own(CONTENT), 0, False),
    ),
    LOG_EVENTS: Bare(
        "logs",
        {
            "id": "uuid", "created_at": "timestamptz", "level": "bigint", "event": "text", "message": "text",
            "agent_id": "text", "normalised": "boolean",
        },
        lambda n: (uuid.UUID(bytes=new_id()), _at(n), 20, "tool_called", own(CONTENT), f"agent-{n % SESSIONS}", False),
    ),
}  # fmt: skip


def _at(number: int) -> datetime:
    return _NOW + timedelta(microseconds=number)


async def by_arrays(connection: Any, bare: Bare, rows: Sequence[_Row]) -> None:
    """One statement, an array a column."""
    arrays = ", ".join(f"${number}::{type_} []" for number, type_ in enumerate(bare.columns.values(), 1))
    await connection.execute(
        f"INSERT INTO {bare.table} ({', '.join(bare.columns)}) SELECT * FROM unnest({arrays}) ON CONFLICT DO NOTHING",
        *map(list, zip(*rows, strict=True)),
    )


async def by_staging(connection: Any, bare: Bare, rows: Sequence[_Row]) -> None:
    """COPY into a temporary table, and from there."""
    async with connection.transaction():
        await connection.copy_records_to_table("staged", records=rows, columns=list(bare.columns))
        await connection.execute(
            f"INSERT INTO {bare.table} ({', '.join(bare.columns)}) SELECT * FROM staged ON CONFLICT DO NOTHING"
        )


async def by_copy(connection: Any, bare: Bare, rows: Sequence[_Row]) -> None:
    """COPY into the table: an id that is there already refuses the batch."""
    await connection.copy_records_to_table(bare.table, records=rows, columns=list(bare.columns))


_WAYS: dict[str, _Write] = {
    "bare `INSERT … SELECT FROM unnest … ON CONFLICT`": by_arrays,
    "bare COPY to a temporary table, `INSERT … ON CONFLICT`": by_staging,
    "bare COPY, which is not idempotent": by_copy,
}
_IDEMPOTENT = list(_WAYS)[:2]


def main() -> None:
    """Print the tables."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--records", type=int, default=RECORDS)
    arguments.add_argument("--runs", type=int, default=3)
    given = arguments.parse_args()
    print(
        f"{given.records:,} records with {len(CONTENT)} characters of text, {SESSIONS} sessions or agents, "
        f"{BATCH:,} a transaction, medians of {given.runs} runs; synchronous_commit=on everywhere, AOF everysec\n"
    )
    with postgres() as url:
        server = asyncio.run(_server(url))
        for load in _BARE:
            compare(url, server, load, given.records, given.runs)


def compare(url: str, server: psutil.Process, load: Load, records: int, runs: int) -> None:
    """Print the table of one load. The limit is the best of the statements that may be repeated."""
    found: dict[str, list[Moved]] = {}
    drained = "a backlog, drained by one worker"
    for _ in range(runs):
        for way, write in _WAYS.items():
            asyncio.run(_emptied(url))
            found.setdefault(way, []).append(asyncio.run(bare(url, server, load, records, write)))
        asyncio.run(_emptied(url))
        moved = backlog(load, records, store_cpu_s=partial(_cpu_s, server), PENSTOCK_SQL_URL=url)
        found.setdefault(drained, []).append(moved)
    medians = {way: middle(moved) for way, moved in found.items()}
    limit = max(medians[way].rate for way in _IDEMPOTENT)
    table(
        (f"{load.name} into PostgreSQL", "records/s", "against bare", "us of CPU a record: writer", "server", "queue"),
        [
            (
                way,
                f"{moved.rate:,.0f}",
                f"{moved.rate / limit:.2f}",
                f"{moved.worker_us:.2f}",
                f"{moved.store_us:.2f}",
                f"{moved.server_us:.2f}" if moved.server_us else "",
            )
            for way, moved in medians.items()
        ],
    )


async def bare(url: str, server: psutil.Process, load: Load, records: int, write: _Write) -> Moved:
    """The same rows by the driver alone: ready in memory, in transactions of the worker's batch size."""
    known = _BARE[load]
    rows = [known.row(number) for number in range(records)]
    connection = await asyncpg.connect(url)
    try:
        columns = ", ".join(f"{name} {type_}" for name, type_ in known.columns.items())
        await connection.execute(f"CREATE TEMPORARY TABLE staged ({columns}) ON COMMIT DELETE ROWS")
        settle_disk()
        watch, before_s = Watch(), _cpu_s(server)
        for at in range(0, records, BATCH):
            await write(connection, known, rows[at : at + BATCH])
        spent = watch.spent()
        return Moved(
            spent.rate(records), spent.cpu_us(records), 0, store_us=(_cpu_s(server) - before_s) / records * 1e6
        )
    finally:
        await connection.close()


async def _server(url: str) -> psutil.Process:
    """The process that all others of the server are children of."""
    connection = await asyncpg.connect(url)
    try:
        return psutil.Process(psutil.Process(await connection.fetchval("SELECT pg_backend_pid()")).ppid())
    finally:
        await connection.close()


def _cpu_s(server: psutil.Process) -> float:
    """Seconds of a core that *server* has spent with all its children, also those that have ended."""
    times = server.cpu_times()
    spent = times.user + times.system + times.children_user + times.children_system
    for child in server.children(recursive=True):
        try:
            ours = child.cpu_times()
        except psutil.NoSuchProcess:
            continue
        spent += ours.user + ours.system
    return spent


async def _emptied(url: str) -> None:
    """The store's own tables and indexes, empty, and nothing left to write of what was there before."""
    store = sql_store(url)
    await store.setup()
    await store.close()
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("TRUNCATE messages, logs, sessions, search_pending, search_entries, fences")
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close()


if __name__ == "__main__":
    main()
