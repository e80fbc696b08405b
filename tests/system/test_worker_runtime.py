"""The worker as a process: started by arq or by ours, stopped by signals, sharing with others."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgpack
import pytest
from arq import create_pool
from arq.connections import RedisSettings
from redis.exceptions import WatchError
from structlog.testing import capture_logs

from penstock.embedded import EmbeddedQueue
from penstock.testing.system import System
from penstock.wire.queue import Queue
from penstock.wire.tasks import end_task
from penstock.worker import runtime
from penstock.worker.runtime import Foreman
from tests.system.drain_support import ListStore, Sender, site_of

ARQ = [sys.executable, "-m", "arq", "penstock.worker.WorkerSettings", "--burst"]
OURS = [sys.executable, "-m", "penstock.cli", "worker", "--burst"]


@pytest.fixture
def system(tmp_path: Path, queue_server: EmbeddedQueue) -> System:
    return System(tmp_path, queue_server)


async def send(system: System, count: int) -> None:
    async with system.producer() as producer:
        for number in range(count):
            producer.message(session_id=f"s{number % 20}", role="user", content=str(number))
            producer.log(level="info", event="sent", agent_id="a", data={"number": number})


@pytest.mark.parametrize("command", [ARQ, OURS], ids=["arq", "penstock"])
async def test_a_burst_worker_drains_everything_and_ends(system: System, command: list[str]) -> None:
    await send(system, 500)

    done = subprocess.run(command, env=system.environment, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 0, done.stderr
    assert sum(map(len, system.contents().values())) == 500
    counts = await system.counts()
    assert (counts.stored, counts.pending, counts.balanced) == (1000, 0, True)


async def test_the_sweep_that_a_worker_of_0_1_queued_is_taken_as_done(system: System) -> None:
    """It is a job of arq's there, each second; unknown here, each would be told with a traceback."""
    settings = RedisSettings.from_dsn(system.server.url)
    pool = await create_pool(settings, job_serializer=msgpack.packb)
    sweep = f"{system.namespace}:sweep"
    await pool.enqueue_job(sweep, _job_id=f"{sweep}:1750000000000", _queue_name=f"{system.namespace}:arq")
    await pool.aclose()
    await send(system, 20)

    done = subprocess.run(OURS, env=system.environment, capture_output=True, text=True, timeout=60, check=True)

    assert (await system.counts()).stored == 40
    assert not [line for line in done.stderr.splitlines() if json.loads(line)["level"] in ("warning", "error")]


async def test_the_log_has_one_line_a_slice_and_none_a_record(system: System) -> None:
    await send(system, 500)

    done = subprocess.run(OURS, env=system.environment, capture_output=True, text=True, timeout=60, check=True)

    lines = [json.loads(line) for line in done.stderr.splitlines()]
    slices = [line for line in lines if line["event"] == "slice"]
    assert sum(line["records"] for line in slices) == 1000
    assert len(lines) < 60
    assert {"partition", "records", "stored", "dead", "ms", "timestamp", "level"} <= slices[0].keys()


@pytest.mark.parametrize("uvloop", ["auto", "never"])
async def test_a_terminated_worker_hands_over_within_half_a_second(system: System, uvloop: str) -> None:
    system.settings["PENSTOCK_UVLOOP"] = uvloop
    worker = system.start_worker()
    try:
        async with system.producer() as producer:
            for number in range(2_000):
                producer.message(session_id=f"s{number % 50}", role="user", content=str(number))
            await producer.message(session_id="s0", role="user", content="last").stored(timeout=20)
            started = time.monotonic()
            worker.send_signal(signal.SIGTERM)
            code = await asyncio.to_thread(worker.wait, 10)
    finally:
        system.stop()

    assert code == 0
    # The process ends within this; its leases go back earlier. Six times the target, since the machine may be busy.
    assert time.monotonic() - started < 3.0
    async with Queue(system.server.url, system.namespace) as queue:
        assert sum(counts.leased for counts in (await queue.counts()).values()) == 0
        assert await queue.workers() == []


async def test_two_workers_share_the_partitions(system: System) -> None:
    system.settings["PENSTOCK_SLICE_MS"] = "300"
    for _ in range(2):
        system.start_worker()
    try:
        await system.workers_alive(2)
        logs = [system.folder / f"worker-{n}.log" for n in range(2)]
        async with asyncio.timeout(30):
            while not all('"slice"' in log.read_text() for log in logs):
                await send(system, 200)
        counts = await system.drained()
    finally:
        system.stop()

    assert counts.balanced


async def test_a_worker_with_a_wrong_url_says_what_to_do(system: System) -> None:
    environment = {**os.environ, **system.environment, "PENSTOCK_SQL_URL": "mysql://nowhere/db"}

    done = subprocess.run(OURS, env=environment, capture_output=True, text=True, timeout=30, check=False)

    assert done.returncode != 0
    assert "mysql" in done.stderr
    assert "known are" in done.stderr
    assert "Traceback" not in done.stderr


async def test_a_line_that_breaks_while_arq_watches_a_key_costs_a_sweep_and_no_traceback(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "_SWEEP_S", 0.01)
    monkeypatch.setattr(runtime, "_SWEEP_CLAIM_MS", 1)
    site = site_of(queue, ListStore())
    foreman = Foreman(site.config)
    pool = await create_pool(RedisSettings.from_dsn(queue.scripts.url), job_serializer=msgpack.packb)
    foreman._site, foreman._arq = site, pool
    enqueue, broken, enqueued = pool.enqueue_job, asyncio.Event(), asyncio.Event()

    async def enqueue_job(*args: Any, **options: Any) -> None:
        if not broken.is_set():
            broken.set()
            raise WatchError("A ConnectionError occurred on while watching one or more keys")
        await enqueue(*args, **options)
        enqueued.set()

    monkeypatch.setattr(pool, "enqueue_job", enqueue_job)
    sender = Sender(queue)
    await sender.push(sender.message())
    with capture_logs() as lines:
        task = asyncio.create_task(runtime._kept_alive(foreman._keep_sweeping))
        async with asyncio.timeout(10):
            await enqueued.wait()
        await end_task(task)
    await pool.aclose()

    assert {line["event"] for line in lines} == {"queue away"}
