"""Into SQLite: Penstock against the bare driver and against one arq job a record, in one run.

python -m benchmarks.drain [--records 150000] [--runs 3]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sqlite3
import time
from pathlib import Path
from typing import Any, Literal, cast

from arq import create_pool
from arq.connections import RedisSettings
from arq.worker import Worker, func

from benchmarks.measuring import CONTENT, median, system, worker
from penstock.producer import Producer
from penstock.stores.registry import sql_store
from penstock.wire.ids import new_id
from penstock.wire.queue import Queue

BATCH = 2_000
SESSIONS = 200
ARQ_JOBS = 3_000

INSERT = (
    "INSERT INTO messages (id, session_no, created_at, role, content, version, normalised) "
    "VALUES (?, ?, ?, ?, ?, 0, 0) ON CONFLICT (id) DO NOTHING"
)


def connect(database: Path) -> sqlite3.Connection:
    """A connection with the settings that the store uses."""
    connection = sqlite3.connect(database, isolation_level=None)
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "cache_size=-65536", "wal_autocheckpoint=5000"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


async def prepare(url: str) -> None:
    """The store's own schema."""
    store = sql_store(url)
    await store.setup()
    await store.close()


def rows_of(records: int) -> list[tuple[Any, ...]]:
    """The rows of that many messages."""
    now = time.time_ns() // 1000
    return [(new_id(), n % SESSIONS, now + n, "user", CONTENT) for n in range(records)]


def bare(folder: Path, records: int) -> float:
    """Records a second by `executemany` in transactions of the worker's batch size."""
    database = folder / f"bare-{time.monotonic_ns()}.db"
    asyncio.run(prepare(f"sqlite:///{database}"))
    rows = rows_of(records)
    with contextlib.closing(connect(database)) as connection:
        connection.executemany(
            "INSERT INTO sessions (no, id, message_count, first_message_at, last_message_at, "
            "last_message_id) VALUES (?, ?, 0, 0, 0, x'00')",
            [(n, f"session-{n}") for n in range(SESSIONS)],
        )
        started = time.perf_counter()
        for at in range(0, records, BATCH):
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(INSERT, rows[at : at + BATCH])
            connection.execute("COMMIT")
        return records / (time.perf_counter() - started)


async def send(environment: dict[str, str], records: int, until: Literal["queued", "stored"]) -> None:
    """Hand over *records* messages as fast as the producer takes them, and wait for them."""
    async with Producer.from_env(environment) as producer:
        for number in range(records):
            producer.message(session_id=f"session-{number % SESSIONS}", role="user", content=CONTENT)
            if number % 500 == 0:
                await producer.ready()
                await asyncio.sleep(0)
        await producer.flush(until=until, timeout=300)


async def stored(environment: dict[str, str], records: int) -> None:
    """Wait until that many messages are stored, asking for nothing but the counters."""
    async with Queue(environment["PENSTOCK_REDIS_URL"]) as queue:
        metas = [queue.keys.meta(where) for where in queue.all_partitions() if where.lane == "messages"]
        while True:
            async with queue.client.pipeline(transaction=False) as pipe:
                for meta in metas:
                    pipe.hget(meta, "stored")
                if sum(int(count or 0) for count in await pipe.execute()) >= records:
                    return
            await asyncio.sleep(0.01)


def backlog(records: int) -> float:
    """Records a second out of a preloaded queue; the first tenth is for the worker to get going."""
    with system() as (_, environment):
        asyncio.run(send(environment, records + records // 10, "queued"))
        with worker(environment):
            asyncio.run(stored(environment, records // 10))
            started = time.perf_counter()
            asyncio.run(stored(environment, records + records // 10))
            return records / (time.perf_counter() - started)


def end_to_end(records: int) -> float:
    """Records a second from the first call to the last record stored, producer and worker at once."""
    with system() as (_, environment), worker(environment):
        asyncio.run(send(environment, 100, "stored"))
        started = time.perf_counter()
        asyncio.run(send(environment, records, "stored"))
        return records / (time.perf_counter() - started)


async def one_job_a_record(folder: Path, url: str, records: int) -> float:
    """Records a second when each is an arq job that inserts it, arq tuned as its documentation allows."""
    database = folder / f"arq-{time.monotonic_ns()}.db"
    await prepare(f"sqlite:///{database}")
    settings = RedisSettings.from_dsn(url)
    connection = connect(database)

    async def insert(_: dict[Any, Any], row: tuple[Any, ...]) -> None:
        connection.execute(INSERT, row)

    started = time.perf_counter()
    pool = await create_pool(settings)
    for row in rows_of(records):
        await pool.enqueue_job("insert", row)
    arq_worker = Worker(
        functions=[func(cast("Any", insert), name="insert")],
        redis_settings=settings,
        burst=True,
        handle_signals=False,
        max_jobs=100,
        poll_delay=0.01,
        queue_read_limit=1000,
        keep_result=0,
        log_results=False,
    )
    await arq_worker.main()
    rate = records / (time.perf_counter() - started)
    await arq_worker.close()
    await pool.aclose()
    connection.close()
    return rate


def main() -> None:
    """Print the table."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--records", type=int, default=150_000)
    arguments.add_argument("--runs", type=int, default=3)
    given = arguments.parse_args()
    results: dict[str, list[float]] = {"bare": [], "backlog": [], "end to end": [], "arq": []}
    for _ in range(given.runs):
        with system() as (folder, environment):
            results["bare"].append(bare(folder, given.records))
            results["arq"].append(asyncio.run(one_job_a_record(folder, environment["PENSTOCK_REDIS_URL"], ARQ_JOBS)))
        results["backlog"].append(backlog(given.records))
        results["end to end"].append(end_to_end(given.records))
    table = {name: median(values) for name, values in results.items()}
    print(
        f"{given.records} messages of {len(CONTENT)} characters, {SESSIONS} sessions, synchronous=FULL, AOF everysec\n"
    )
    print("| into SQLite | records/s | against bare | against arq |\n|---|---|---|---|")
    for name, label in (
        ("bare", f"bare `executemany`, {BATCH} a transaction"),
        ("backlog", "Penstock, a backlog drained by one worker"),
        ("end to end", "Penstock, from the call to stored, one producer, one worker"),
        ("arq", "one arq job a record, enqueued and run"),
    ):
        rate = table[name]
        print(f"| {label} | {rate:,.0f} | {rate / table['bare']:.2f} | {rate / table['arq']:.0f} |")


if __name__ == "__main__":
    main()
