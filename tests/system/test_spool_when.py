"""When records go into the spool: before the queue's first answer, unconfirmed, and at an end that is cut short."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from penstock.embedded import EmbeddedQueue, free_port
from penstock.producer import BufferFull, Producer, ProducerSettings
from penstock.producer.spool_folder import SpoolFolder
from penstock.wire.keys import partition_of
from tests.system.link import linked

SOON = 30.0


class Scene:
    """A queue server that need not run, and a folder for a spool."""

    def __init__(self, folder: Path) -> None:
        self.server = EmbeddedQueue(folder / "queue", free_port())
        self.spool = folder / "spool"

    def producer(self, **given: Any) -> Producer:
        ours = {
            "redis_url": self.server.url,
            "spool_dir": str(self.spool),
            "spool_after_ms": 50,
            "retry_base_ms": 5,
            "retry_cap_ms": 50,
            "close_timeout_s": SOON,
        }
        return Producer(settings=ProducerSettings(**{**ours, **given}))

    def spooled(self) -> int:
        return SpoolFolder(self.spool, "penstock").spooled().records


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


async def until(true: Callable[[], bool]) -> None:
    """Wait for what another task or thread does."""
    async with asyncio.timeout(SOON):
        while not true():
            await asyncio.sleep(0.005)


def send(producer: Producer, records: int, session: str = "s") -> None:
    for number in range(records):
        producer.message(session_id=session, role="user", content=str(number))


async def overfill(producer: Producer) -> None:
    while True:
        send(producer, 1, "hot")
        await asyncio.sleep(0)


async def test_records_do_not_wait_in_memory_for_the_first_answer_of_a_deaf_queue(scene: Scene) -> None:
    with capture_logs(), scene.server:
        async with linked(scene.server.url) as link:
            link.hearing = False
            async with scene.producer(redis_url=link.url, close_timeout_s=0) as producer:
                send(producer, 10)
                await until(lambda: scene.spooled() == 10)

                assert not producer._outbox.sender.opened.is_set()
                assert producer._outbox.sender.failing_since_s is None


async def test_what_the_queue_took_and_cannot_confirm_any_more_goes_to_the_spool(scene: Scene) -> None:
    """Although nothing is left to be sent that could fail."""
    with capture_logs():
        async with scene.producer(durability="fsync") as producer:
            with scene.server:
                await producer.message(session_id="s", role="user", content="first").queued(timeout=SOON)
                receipt = producer.message(session_id="s", role="user", content="second")
                await until(lambda: any(line.trail.pending for line in producer._outbox.sender.lines))
                scene.server.kill()
            await until(lambda: "in the spool" in repr(receipt))
            before = time.monotonic()
            await producer.close()

        assert time.monotonic() - before < SOON / 2  # the queue is away: nothing to wait for
    assert scene.spooled() == 1


@pytest.mark.parametrize("turns", [1, 3, 10, 30, 100, 300])
async def test_a_cancelled_close_leaves_everything_in_the_spool(scene: Scene, turns: int) -> None:
    with capture_logs():
        producer = scene.producer(spool_after_ms=60_000)
        await producer.__aenter__()
        send(producer, 1_000)
        receipt = producer.message(session_id="s", role="user")
        closing = asyncio.create_task(producer.close())
        for _ in range(turns):
            await asyncio.sleep(0)
        closing.cancel()
        await asyncio.wait([closing])

    assert scene.spooled() == 1_001
    assert "in the spool" in repr(receipt)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert list(scene.spool.glob("*.lock")) == []


async def test_closing_beside_a_close_ends_when_that_does(scene: Scene) -> None:
    with capture_logs():
        producer = scene.producer(spool_after_ms=60_000)
        await producer.__aenter__()
        send(producer, 1_000)
        first = asyncio.create_task(producer.close())
        await until(lambda: producer._outbox._ending is not None)
        await producer.close()

        assert scene.spooled() == 1_000
        await first


def test_an_interrupted_close_of_a_blocking_producer_leaves_everything_in_the_spool(scene: Scene) -> None:
    program = """
import signal, socket, sys, threading
from penstock.producer import BlockingProducer, ProducerSettings
deaf = socket.create_server(("127.0.0.1", 0))
url = f"redis://127.0.0.1:{deaf.getsockname()[1]}/0"
producer = BlockingProducer(settings=ProducerSettings(redis_url=url, spool_dir=sys.argv[1], spool_after_ms=60_000))
for number in range(1000):
    producer.message(session_id="s", role="user", content=str(number))
threading.Timer(0.2, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT)).start()
producer.close()
"""
    command = [sys.executable, "-c", program, str(scene.spool)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == -signal.SIGINT
    assert "was destroyed" not in done.stderr
    assert scene.spooled() == 1_000


async def test_a_refused_partition_that_holds_half_the_buffer_does_not_hold_up_the_loop(scene: Scene) -> None:
    """Also when its records have no room in the spool: that other records fill the rest is what the alarm is for."""
    settings = {"partitions": 2, "backlog_records": 10, "buffer_records": 200, "spool_bytes": 1, "close_timeout_s": 0}
    cold = next(str(number) for number in range(100) if partition_of(str(number), 2) != partition_of("hot", 2))
    with capture_logs(), scene.server:
        async with scene.producer(**settings) as producer:
            send(producer, 10, "hot")
            await producer.flush(timeout=SOON)
            send(producer, 1, "hot")
            await until(lambda: bool(producer._buffer.shares))
            with pytest.raises(BufferFull, match="hold their share"):
                await overfill(producer)

            await producer.message(session_id=cold, role="user").queued(timeout=SOON)
            assert producer._buffer.records >= 100


async def test_a_child_that_outlives_its_parent_does_not_keep_the_spool_from_others(scene: Scene) -> None:
    """As the processes of a pool do that was made with fork."""
    program = """
import asyncio, os, signal, sys
from penstock.producer import Producer, ProducerSettings
async def main():
    settings = ProducerSettings(redis_url=sys.argv[1], spool_dir=sys.argv[2], spool_after_ms=20, retry_cap_ms=50)
    async with Producer(settings=settings) as producer:
        receipt = producer.message(session_id="s", role="user", content="left")
        while "in the spool" not in repr(receipt):
            await asyncio.sleep(0.01)
        if os.fork() == 0:
            sys.stdin.read()
            os._exit(0)
        os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""
    command = [sys.executable, "-c", program, scene.server.url, str(scene.spool)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as parent:
        await asyncio.to_thread(parent.wait, SOON)
        with capture_logs(), scene.server:
            async with scene.producer():
                await until(lambda: scene.spooled() == 0)
