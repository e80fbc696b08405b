"""Compressed frames through the whole system: a queue server, real workers, SQLite and LanceDB."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from penstock.embedded import EmbeddedQueue
from penstock.producer import Producer, ProducerSettings
from penstock.testing.system import System
from penstock.wire import compression
from penstock.wire.compression import Press
from penstock.wire.entries import Push
from penstock.wire.frames import Frame, encode, frame_of, opened_bytes
from penstock.wire.keys import Partition
from penstock.wire.queue import Queue
from penstock.worker.batch import LogReader
from penstock.worker.drain import LaneWaits, drain
from penstock.worker.settings import WorkerConfig
from tests.system.drain_support import MESSAGES, ListStore, Sender, site_of, total
from tests.system.producer_support import contents

TEXT = "The reservoir lets out at the rate the turbines can take. "


@pytest.fixture
def system(tmp_path: Path, queue_server: EmbeddedQueue) -> Iterator[System]:
    whole = System(tmp_path, queue_server, {"PENSTOCK_COMPRESSION": "zstd"})
    try:
        yield whole
    finally:
        whole.stop()


async def versions(queue: Queue) -> set[int]:
    return {entry.frame[0] for where in queue.all_partitions() for entry in await queue.read(where, 10**6)}


async def test_a_compressing_producer_and_workers_that_die_leave_everything_as_it_was_sent(system: System) -> None:
    """Messages, streams, logs, state and vectors, by the ledger of who sent them."""
    agent = system.start_agent(seconds=1, rate=2_000)
    async with Queue(system.server.url, system.namespace) as queue:
        async with asyncio.timeout(20):
            while compression.VERSION not in await versions(queue):
                await asyncio.sleep(0.05)
        first = system.start_worker(die_at=["after-store"])
        assert await asyncio.to_thread(first.wait, 30) == -signal.SIGKILL
        system.start_worker()
        assert await asyncio.to_thread(agent.wait, 30) == 0
        await system.drained()

    verdict = await system.check()
    assert verdict.sound, str(verdict)
    assert verdict.totals["messages"] > 100


async def test_what_the_spool_kept_is_compressed_on_its_way_out(queue: Queue, redis_url: str, tmp_path: Path) -> None:
    settings = ProducerSettings(
        redis_url=redis_url,
        namespace=queue.keys.namespace,
        compression="zstd",
        spool_dir=str(tmp_path),
        spool_after_ms=1,
        backlog_records=1,
        close_timeout_s=1,
    )
    sent = [f"{number} {TEXT}" for number in range(200)]
    async with Producer(settings=settings) as producer:
        producer.message(session_id="s", role="user", content="first")
        await producer.flush()
        for each in sent:
            producer.message(session_id="s", role="user", content=each)
    async with Producer(settings=replace(settings, backlog_records=10**6)) as producer:
        await producer.flush(timeout=20)

    assert await contents(queue, "s") == ["first", *sent]
    assert await versions(queue) == {1, compression.VERSION}


async def test_a_batch_is_bounded_by_what_its_frames_become(queue: Queue) -> None:
    sender, press = Sender(queue), Press()
    body = frame_of([encode(sender.message(TEXT * 1_000)) for _ in range(4)]).body  # 230 KB
    small = await press.press(body)
    await queue.push([Push(MESSAGES, "p", 1, [Frame(small, 4)] * 20)], 10**6)

    reader = LogReader(queue, MESSAGES, WorkerConfig(batch_bytes=1_000_000))
    sizes = []
    while prefix := await reader.next_prefix():
        sizes.append(sum(opened_bytes(entry.frame) for entry in prefix))

    assert sizes == [4 * len(body)] * 5
    assert len(small) * 20 < 1_000_000


async def test_a_worker_without_the_library_leaves_the_frame_where_it_is(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender, store = Sender(queue), ListStore()
    body = frame_of([encode(sender.message(TEXT)) for _ in range(40)]).body
    await queue.push([Push(MESSAGES, "p", 1, [Frame(await Press().press(body), 40)])], 10**6)
    site = site_of(queue, store, backoff_base_ms=1, backoff_cap_ms=1)

    with monkeypatch.context() as patch:
        patch.setattr(compression, "_library", lambda: None)
        with pytest.raises(LaneWaits, match=r"pip install 'penstock\[zstd\]'"):
            await drain(site, MESSAGES)
    waiting = await total(queue)
    await drain(site, MESSAGES)

    assert (waiting.pending, waiting.dead) == (40, 0)
    assert len(store.rows) == 40
    assert (await total(queue)).balanced


async def test_a_frame_that_is_damaged_is_buried_as_it_came(queue: Queue) -> None:
    sender, store = Sender(queue), ListStore()
    body = frame_of([encode(sender.message(TEXT)) for _ in range(40)]).body
    damaged = (await Press().press(body))[:-9]
    await queue.push([Push(MESSAGES, "p", 1, [Frame(damaged, 40)])], 10**6)

    await drain(site_of(queue, store), MESSAGES)

    (letter,) = await queue.client.xrange(queue.keys.dead(Partition("messages", 0)))
    assert letter[1][b"r"] == damaged
    assert (await total(queue)).dead == 40
