"""PostgreSQL crashes, ends sessions, stands still, has no room, or loses its answer to a COMMIT, while records flow."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from penstock.testing.faults import end_sessions
from penstock.testing.system import System
from tests.conformance.postgres_server import Postgres, Schema
from tests.faults.commits import CommitProxy, Fate
from tests.faults.disks import no_file_beyond
from tests.faults.striking import SQL_LANES, under_load

MB = 1024 * 1024


@pytest.fixture
async def working(schema: Schema, system: System) -> System:
    """Two workers on an empty schema, who wait 2 s for an answer."""
    system.settings["PENSTOCK_SQL_URL"] = f"{schema.url}&timeout=2&connect_timeout=2"
    system.start_worker()
    system.start_worker()
    await system.workers_alive(2)
    return system


async def test_a_crash_of_the_server_costs_nothing(working: System, postgres: Postgres) -> None:
    async with under_load(working) as load:
        await asyncio.to_thread(postgres.crash)
        try:
            await load.waits(*SQL_LANES)
            await load.flows("embeddings")
        finally:
            await asyncio.to_thread(postgres.start)
    assert "Traceback" not in logs_of(working)


async def test_sessions_ended_again_and_again_cost_nothing(working: System, schema: Schema) -> None:
    async with under_load(working) as load:
        for _ in range(20):
            await end_sessions(schema.url)
            await load.flows("messages")


async def test_a_server_that_stands_still_holds_up_its_lanes_alone(working: System, postgres: Postgres) -> None:
    async with under_load(working) as load:
        with frozen(postgres):
            await load.waits(*SQL_LANES, seconds=3)  # longer than anybody waits for an answer
            await load.flows("embeddings")


async def test_tables_that_cannot_grow_lose_no_record(working: System, schema: Schema) -> None:
    """A file of the log has 16 MB, a table that is mostly empty soon has more."""
    async with under_load(working) as load:
        schema.execute("ALTER TABLE messages SET (fillfactor = 10)")
        await grown(schema, 16 * MB)
        with no_file_beyond(16 * MB, schema.server.processes):
            await load.waits("messages")
            await load.flows("embeddings")
    assert "File too large" in logs_of(working)


async def test_a_server_whose_log_has_no_room_is_started_again_and_lacks_nothing(
    working: System, postgres: Postgres
) -> None:
    """PostgreSQL gives up altogether: what it has not logged it must not keep."""
    async with under_load(working) as load:
        try:
            with no_file_beyond(0, postgres.processes):
                await load.waits(*SQL_LANES)
                await load.flows("embeddings")
        finally:
            await asyncio.to_thread(postgres.start)


@pytest.mark.parametrize("fate", Fate)
async def test_a_commit_whose_answer_is_lost_is_neither_lost_nor_repeated(
    schema: Schema, system: System, fate: Fate
) -> None:
    async with CommitProxy(schema.url, fate, every=7) as proxy:
        system.settings["PENSTOCK_SQL_URL"] = f"{proxy.url}&timeout=2"
        system.start_worker()
        await system.workers_alive(1)
        async with under_load(system):
            await proxy.struck(4)
            proxy.heal()


@contextmanager
def frozen(postgres: Postgres) -> Iterator[None]:
    """Stop every process of the server, and wake them."""
    stopped = postgres.processes()
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)


async def grown(schema: Schema, size: int) -> None:
    """Wait until the table of messages has that many bytes."""
    async with asyncio.timeout(30):
        while schema.rows("SELECT pg_relation_size('messages')") < [(size,)]:
            await asyncio.sleep(0.05)


def logs_of(system: System) -> str:
    return "".join(path.read_text() for path in system.folder.glob("worker-*.log"))
