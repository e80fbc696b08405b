"""From the call to stored: a message now and then, and at half of what producer, queue and worker sustain together.

`stored()` is what a receipt knows. *In the store* is what somebody sees who asks the database itself for the row, as
often as it answers; only every other message is looked for like that, and left out of the column beside it.

python -m benchmarks.latency [--messages 300] [--records 150000] [--seconds 8]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sqlite3
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from urllib.parse import quote

import asyncpg

from benchmarks.draining import SESSIONS, send
from benchmarks.measuring import (
    CONTENT,
    Watch,
    median,
    percentile,
    postgres,
    queue_server_pid,
    system,
    table,
    worker,
)
from penstock.producer import Producer, Receipt

SETTINGS: dict[str, dict[str, str]] = {"default": {}, "low latency": {"PENSTOCK_LINGER_MS": "0"}}
"""What is set in the environment of producer and worker."""

PAUSE_S = 0.08
"""Between two messages. Each system gets every fourth, so that it falls idle: its drains linger for 0.2 s."""

ROW_PAUSE_S = 0.0005
TICK_S = 0.001
WARM = 500
"""Messages that go ahead while a worker gets going."""

Seen = Callable[[str], Awaitable[bool]]
"""Whether the database shows the message with that id."""


@dataclass
class Measured:
    """One system: what it is, and milliseconds."""

    store: str
    setting: str
    environment: dict[str, str]
    receipts: list[float] = field(default_factory=list)
    rows: list[float] = field(default_factory=list)


def main() -> None:
    """Print two tables."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--messages", type=int, default=300, help="of each system, idle")
    arguments.add_argument("--records", type=int, default=150_000, help="sent and stored to find the rate")
    arguments.add_argument("--seconds", type=float, default=8, help="of half load, for each system")
    given = arguments.parse_args()
    settings = "; ".join(
        " ".join(f"{name}={value}" for name, value in each.items()) for each in SETTINGS.values() if each
    )
    print(f"Low latency is `{settings}`. AOF everysec, synchronous=FULL, PostgreSQL's own defaults.\n")
    with postgres() as url:
        show_idle(idle(url, given.messages))
        show_loaded([loaded(one, given.records, given.seconds) for one in systems_of(url)])


def systems_of(postgres_url: str) -> list[Measured]:
    """Each store with each setting; on PostgreSQL a schema for each."""
    found = [Measured("SQLite", name, dict(values)) for name, values in SETTINGS.items()]
    for name, values in SETTINGS.items():
        url = asyncio.run(new_schema(postgres_url))
        found.append(Measured("PostgreSQL", name, {**values, "PENSTOCK_SQL_URL": url}))
    return found


async def new_schema(url: str) -> str:
    """The URL of an empty schema."""
    name = f"latency_{uuid.uuid4().hex[:8]}"
    connection = await asyncpg.connect(url)
    await connection.execute(f"CREATE SCHEMA {name}")
    await connection.close()
    return f"{url}&options={quote(f'-csearch_path={name}')}"


# -- idle -----------------------------------------------------------------------------------------


def idle(postgres_url: str, messages: int) -> list[Measured]:
    """All systems at once, one message of one system at a time."""
    measured = systems_of(postgres_url)
    with contextlib.ExitStack() as stack:
        for one in measured:
            _, one.environment = stack.enter_context(system(**one.environment))
            stack.enter_context(worker(one.environment))
        asyncio.run(now_and_then(measured, messages))
    return measured


async def now_and_then(measured: list[Measured], messages: int) -> None:
    """Send *messages* in each system, in turn, and wait for each."""
    async with contextlib.AsyncExitStack() as stack:
        ready = []
        for one in measured:
            producer = await stack.enter_async_context(Producer.from_env(one.environment))
            await producer.message(session_id="warm", role="user", content="up").stored(timeout=60)
            ready.append((one, producer, await stack.enter_async_context(looking(one.environment["PENSTOCK_SQL_URL"]))))
        for number in range(messages):
            for one, producer, seen in ready:
                await asyncio.sleep(PAUSE_S)
                started = time.perf_counter()
                receipt = producer.message(session_id=f"s{number}", role="user", content=CONTENT)
                if number % 2:
                    await receipt.stored(timeout=30)
                    one.receipts.append(since(started))
                else:
                    await until_seen(seen, receipt.id)
                    one.rows.append(since(started))
                    await receipt.stored(timeout=30)


def since(started: float) -> float:
    """Milliseconds."""
    return (time.perf_counter() - started) * 1000


@contextlib.asynccontextmanager
async def looking(url: str) -> AsyncIterator[Seen]:
    """A connection to the database with nothing of Penstock between."""
    if not url.startswith("sqlite"):
        connection = await asyncpg.connect(url)
        look = await connection.prepare("SELECT 1 FROM messages WHERE id = $1")

        async def row_of(record_id: str) -> bool:
            return await look.fetchval(uuid.UUID(record_id)) is not None

        try:
            yield row_of
        finally:
            await connection.close()
        return
    with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as file:

        async def line_of(record_id: str) -> bool:
            found = file.execute("SELECT 1 FROM messages WHERE id = ?", (uuid.UUID(record_id).bytes,))
            return found.fetchone() is not None

        yield line_of


async def until_seen(seen: Seen, record_id: str) -> None:
    """Ask until the row is there."""
    async with asyncio.timeout(30):
        while not await seen(record_id):  # noqa: ASYNC110 - a database tells nobody
            await asyncio.sleep(ROW_PAUSE_S)


def show_idle(measured: list[Measured]) -> None:
    """Print one table."""
    rows = [
        [
            one.store,
            one.setting,
            f"{median(one.receipts):.1f}",
            f"{percentile(one.receipts, 0.99):.1f}",
            f"{max(one.receipts):.1f}",
            f"{median(one.rows):.1f}",
            f"{percentile(one.rows, 0.99):.1f}",
        ]
        for one in measured
    ]
    print(f"{len(measured[0].receipts)} messages each, idle, milliseconds:\n")
    table(("into", "settings", "`stored()` p50", "p99", "longest", "in the store p50", "p99"), rows)


# -- at half load ---------------------------------------------------------------------------------


@dataclass
class Loaded:
    """One system at half load."""

    measured: Measured
    sustained: float
    """Records a second, from the first call to the last one stored. It takes seconds: SQLite moves its log into the
    file every 40 MB."""
    sent: float
    cpu_us: float
    """Of producer, queue server and worker, for each record."""


def loaded(measured: Measured, records: int, seconds: float) -> Loaded:
    """Find the rate that all of it sustains together, then send half as much."""
    with system(**measured.environment) as (_, environment), worker(environment) as process:
        url = environment["PENSTOCK_REDIS_URL"]
        asyncio.run(send(environment, WARM, "stored"))
        started = time.perf_counter()
        asyncio.run(send(environment, records, "stored"))
        rate = records / (time.perf_counter() - started)
        watch = Watch(os.getpid(), process.pid, queue_server_pid(url))
        sent = asyncio.run(send_paced(measured, environment, rate / 2, seconds))
        spent = watch.spent()
    return Loaded(measured, rate, spent.rate(sent), spent.cpu_us(sent))


async def send_paced(measured: Measured, environment: dict[str, str], rate: float, seconds: float) -> int:
    """Send *rate* messages a second, wait for one of each fifth tick; returns how many were sent."""
    async with Producer.from_env(environment) as producer, asyncio.TaskGroup() as waits:
        started, sent, ticks = time.perf_counter(), 0, 0
        while (elapsed := time.perf_counter() - started) < seconds:
            due = int(rate * elapsed)
            for number in range(sent, due):
                receipt = producer.message(session_id=f"s{number % SESSIONS}", role="user", content=CONTENT)
            if due > sent and ticks % 5 == 0:
                waits.create_task(wait_for(receipt, measured))
            sent, ticks = due, ticks + 1
            await asyncio.sleep(TICK_S)
    return sent


async def wait_for(receipt: Receipt, measured: Measured) -> None:
    """Note how long it takes from now."""
    started = time.perf_counter()
    await receipt.stored(timeout=60)
    measured.receipts.append(since(started))


def show_loaded(found: list[Loaded]) -> None:
    """Print one table."""
    rows = [
        [
            one.measured.store,
            one.measured.setting,
            f"{one.sustained:,.0f}",
            f"{one.sent:,.0f}",
            f"{median(one.measured.receipts):.0f}",
            f"{percentile(one.measured.receipts, 0.99):.0f}",
            f"{percentile(one.measured.receipts, 0.999):.0f}",
            f"{one.cpu_us:.0f}",
        ]
        for one in found
    ]
    print("At half load, milliseconds from the call to `stored()`:\n")
    head = ("into", "settings", "sustained, records/s", "sent, records/s", "p50", "p99", "p99.9")
    table((*head, "CPU of producer, queue and worker, us a record"), rows)


if __name__ == "__main__":
    main()
