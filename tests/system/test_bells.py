"""Rings: heard at once, answered by a drain, passed on by a worker that takes no more."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import msgpack
import pytest
from arq import create_pool
from arq.connections import RedisSettings

from penstock.embedded import EmbeddedQueue
from penstock.testing.system import System
from penstock.wire.queue import Queue
from penstock.worker import runtime
from penstock.worker.runtime import Foreman
from tests.system.drain_support import MESSAGES, ListStore, Sender, site_of


@pytest.fixture
async def foreman(queue: Queue) -> AsyncIterator[Foreman]:
    """One that has not begun, with a site and arq's client."""
    site = site_of(queue, ListStore())
    foreman = Foreman(site.config)
    pool = await create_pool(RedisSettings.from_dsn(queue.scripts.url), job_serializer=msgpack.packb)
    foreman._site, foreman._arq = site, pool
    yield foreman
    await pool.aclose()


async def test_new_records_and_a_stop_wait_for_no_look_of_arq(tmp_path: Path, queue_server: EmbeddedQueue) -> None:
    system = System(tmp_path, queue_server, {"PENSTOCK_POLL_MS": "600000"})
    worker = system.start_worker()
    try:
        await system.workers_alive(1)
        async with system.producer() as producer:
            for number in range(3):
                await producer.message(session_id=f"s{number}", role="user", content="hello").stored(timeout=30)
        worker.send_signal(signal.SIGTERM)
        code = await asyncio.to_thread(worker.wait, 30)
    finally:
        system.stop()

    assert code == 0


async def test_a_worker_that_takes_no_more_passes_a_ring_on(
    queue: Queue, foreman: Foreman, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "_BELL_WAIT_S", 0)
    foreman._require().fleet.stopping.set()

    await foreman._answer(MESSAGES, 7)

    assert await queue.heard(5) == (MESSAGES, 7)


async def test_what_a_sweep_finds_is_rung_for(queue: Queue, foreman: Foreman) -> None:
    sender = Sender(queue)
    await sender.push(sender.message())

    await foreman._sweep()

    assert await queue.heard(5) == (MESSAGES, 2)
