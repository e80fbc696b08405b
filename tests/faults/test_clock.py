"""A clock is set back by an hour while records flow: nothing is lost, reordered, or late for that long."""

from __future__ import annotations

import asyncio

import msgpack
import pytest
from arq.connections import RedisSettings, create_pool

from penstock.testing import faults
from penstock.testing.system import System
from penstock.wire.queue import Queue
from tests.faults.watching import agents_done, flowing, judged_sound

HOUR_BACK = "-3600:1.5"


@pytest.mark.parametrize("whose", ["worker", "agent"])
async def test_a_clock_set_back_an_hour_costs_neither_records_nor_order(system: System, whose: str) -> None:
    system.start_worker(clock=HOUR_BACK if whose == "worker" else None)
    await system.workers_alive(1)
    system.start_agent(seconds=4, rate=400, clock=HOUR_BACK if whose == "agent" else None)

    await agents_done(system)
    await judged_sound(system, accepted=1_000)


async def test_what_a_killed_worker_an_hour_ahead_leaves_is_taken_by_one_behind(system: System) -> None:
    """arq's jobs are due by the clock of who queued them."""
    ahead, behind = system.start_worker(clock="3600"), system.start_worker()
    await system.workers_alive(2)
    system.start_agent(seconds=4, rate=400)
    await flowing(system)
    ahead.kill()

    await agents_done(system)
    await judged_sound(system, accepted=1_000)
    assert behind.poll() is None


async def test_a_job_that_is_due_in_an_hour_by_the_clock_of_who_queued_it_is_not_waited_for(system: System) -> None:
    async with system.producer() as producer:
        receipt = producer.message(session_id="s", role="user", content="hello")
        await receipt.queued(timeout=10)
        async with Queue(system.server.url, system.namespace) as queue:
            rung = await queue.heard(5)
        assert rung is not None
        (lane, number), generation = rung
        pool = await create_pool(RedisSettings(port=system.server.port), job_serializer=msgpack.packb)
        job_id = f"{system.namespace}:drain:{lane}:{number}:{generation}"
        job = await pool.enqueue_job(
            "drain", lane, number, _job_id=job_id, _queue_name=f"{system.namespace}:arq", _defer_by=3600
        )
        await pool.aclose()
        assert job is not None
        system.start_worker()

        await receipt.stored(timeout=20)


async def test_a_stream_that_falls_silent_is_stored_by_a_worker_an_hour_behind_the_one_that_began_it(
    system: System,
) -> None:
    system.settings["PENSTOCK_STREAM_TIMEOUT_MS"] = "1000"
    first = system.start_worker()
    async with (
        Queue(system.server.url, system.namespace) as queue,
        system.producer() as producer,
        producer.stream(session_id="s", role="assistant") as stream,
    ):
        stream.write("Once upon")
        async with asyncio.timeout(20):
            while not sum(counts.buffered for counts in (await queue.counts()).values()):
                await asyncio.sleep(0.01)
        faults.kill(first)
        system.start_worker(clock="-3600")

        await system.drained(20)

        assert system.contents() == {"s": ["Once upon"]}
