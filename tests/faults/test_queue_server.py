"""The queue server is killed, or the line to it fails: what it has accepted is stored, once."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.testing.system import System
from tests.faults.watching import agents_done, ended, flowing, judged_sound


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    """With a queue server of its own."""
    with System.alone(tmp_path) as system:
        yield system


async def test_a_queue_server_that_is_killed_and_started_again_has_lost_nothing(system: System) -> None:
    system.start_worker()
    await system.workers_alive(1)
    system.start_agent(seconds=6, rate=400)
    for _ in range(2):
        await asyncio.sleep(1.5)
        system.server.kill()
        await asyncio.sleep(0.5)
        system.server.start()

    await agents_done(system)
    await judged_sound(system, accepted=1_000)
    assert system.workers[0].poll() is None


async def test_server_worker_and_producer_killed_together_lose_nothing(system: System) -> None:
    """As where a machine's power fails: but for what the producer had not sent."""
    worker = system.start_worker()
    await system.workers_alive(1)
    agent = system.start_agent(seconds=30, rate=400)
    await flowing(system, records=500)
    for process in (worker, agent):
        process.kill()
    system.server.kill()
    system.server.start()
    system.settings["PENSTOCK_STREAM_TIMEOUT_MS"] = "1000"
    system.start_worker()

    await judged_sound(system, accepted=300)


async def test_a_worker_ends_in_order_while_the_queue_server_is_away(system: System) -> None:
    leaving = system.start_worker()
    await system.workers_alive(1)
    system.start_agent(seconds=4, rate=300)
    await flowing(system)
    system.server.kill()
    leaving.send_signal(signal.SIGTERM)

    assert await ended(leaving, timeout_s=15) == 0

    system.server.start()
    system.start_worker()
    await agents_done(system)
    await judged_sound(system, accepted=500)


async def test_a_server_without_memory_and_back_costs_only_time(system: System) -> None:
    system.start_worker()
    await system.workers_alive(1)
    system.start_agent(seconds=5, rate=300)
    with system.server.client() as client:
        for _ in range(2):
            await asyncio.sleep(1)
            client.config_set("maxmemory", "1")
            await asyncio.sleep(1)
            client.config_set("maxmemory", "0")

    await agents_done(system)
    await judged_sound(system, accepted=500)
    assert system.workers[0].poll() is None
