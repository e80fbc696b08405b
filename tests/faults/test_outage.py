"""A store is away for some seconds: its lanes wait, nobody's attempts are spent, and the backlog flows as fast as any.

`benchmarks/outage_store.py` does the same for two minutes, and compares the rates where the machine is at rest.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from penstock.testing.faults import sqlite_locked
from penstock.testing.system import System
from penstock.wire.queue import Queue
from tests.conformance.postgres_server import Postgres, Schema
from tests.faults.striking import SQL_LANES, under_load

BACKLOG = 30_000

RESUMED_S = 3.0
"""A lane whose store is back is probed within 2 s; the rest is for a machine that is busy elsewhere."""


@pytest.fixture(params=["sqlite", "postgresql"])
def outage(request: pytest.FixtureRequest, system: System) -> AbstractContextManager[None]:
    """Takes the system's SQL store away. Nobody waits long for an answer."""
    if request.param == "sqlite":
        system.settings["PENSTOCK_SQL_URL"] = f"sqlite:///{system.database}?busy_timeout_ms=100"
        return sqlite_locked(system.sql_url, "EXCLUSIVE")
    schema: Schema = request.getfixturevalue("schema")
    system.settings["PENSTOCK_SQL_URL"] = f"{schema.url}&timeout=2"
    return stopped(schema.server)


async def test_an_outage_spends_no_attempt_and_is_over_when_the_store_is_back(
    system: System, outage: AbstractContextManager[None]
) -> None:
    for _ in range(2):
        system.start_worker()
    await system.workers_alive(2)
    async with under_load(system) as load:
        with outage:
            await load.waits(*SQL_LANES, seconds=4)
            await load.flows("embeddings")
            assert await failures(system) == 0
        began = time.monotonic()
        await load.flows(*SQL_LANES)
        assert time.monotonic() - began < RESUMED_S


async def test_the_backlog_of_an_outage_flows_as_one_that_nothing_happened_to(
    system: System, outage: AbstractContextManager[None]
) -> None:
    await fill(system, 0)
    system.start_worker()
    normal_s = await drained(system)

    with outage:
        await fill(system, 1)
        assert (await system.counts()).pending == BACKLOG
    after_s = await drained(system)

    assert after_s < 2 * normal_s + RESUMED_S
    counts = await system.counts()
    assert (counts.stored, counts.dead, counts.balanced) == (2 * BACKLOG, 0, True)


async def fill(system: System, run: int) -> None:
    """Have the queue take a backlog, in three seconds."""
    async with system.producer() as producer:
        for number in range(BACKLOG):
            producer.message(session_id=f"session-{number % 200}", role="user", content=f"message {run} {number}")
            if number % 500 == 0:
                await asyncio.sleep(0.05)
        await producer.flush(until="queued", timeout=30)


async def drained(system: System) -> float:
    """Wait until nothing is pending. Returns the seconds since the first record of it was stored."""
    before = (await system.counts()).stored
    async with asyncio.timeout(60):
        while (await system.counts()).stored == before:
            await asyncio.sleep(0.01)
    began = time.monotonic()
    await system.drained()
    return time.monotonic() - began


async def failures(system: System) -> int:
    """The failures that the queue has counted, over all partitions: attempts of what lies there."""
    async with Queue(system.server.url, system.namespace) as queue:
        found = [await queue.client.hget(queue.keys.meta(where), "fails") for where in queue.all_partitions()]
    return sum(int(each or 0) for each in found)


@contextmanager
def stopped(postgres: Postgres) -> Iterator[None]:
    postgres.crash()
    try:
        yield
    finally:
        postgres.start()
