"""A producer with a spool, on a real queue server that goes away and comes back."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from penstock.embedded import EmbeddedQueue, free_port
from penstock.producer import BlockingProducer, BufferFull, NotQueued, NotStored, Producer, ProducerSettings
from penstock.producer.spool_folder import SpoolFolder
from penstock.wire.queue import Queue
from penstock.wire.records import StreamChunk
from tests.system.link import linked
from tests.system.producer_support import contents, held, working

SOON = 30.0
SESSIONS = [f"s{number}" for number in range(6)]


class Scene:
    """A queue server that can be stopped and started, and a folder for a spool."""

    def __init__(self, folder: Path) -> None:
        self.server = EmbeddedQueue(folder / "queue", free_port())
        self.spool = folder / "spool"

    def settings(self, **given: Any) -> ProducerSettings:
        ours = {
            "redis_url": self.server.url,
            "spool_dir": str(self.spool),
            "spool_after_ms": 20,
            "retry_base_ms": 5,
            "retry_cap_ms": 50,
            "close_timeout_s": SOON,
            "linger_ms": 1,
        }
        return ProducerSettings(**{**ours, **given})

    def producer(self, **given: Any) -> Producer:
        return Producer(settings=self.settings(**given))

    def spooled(self, namespace: str = "penstock") -> int:
        """Records that wait on disk, seen as `penstock status` does."""
        return SpoolFolder(self.spool, namespace).spooled().records

    async def in_queue(self) -> tuple[dict[str, list[str | None]], int]:
        """What each session has in the queue, and how many records it has ever accepted."""
        async with Queue(self.server.url) as queue:
            found = {session: await contents(queue, session) for session in SESSIONS}
            return found, sum(count.accepted for count in (await queue.counts()).values())

    def files(self) -> list[str]:
        return sorted(path.name for path in self.spool.iterdir())


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


async def until(true: Callable[[], bool]) -> None:
    """Wait for what another task or process does."""
    async with asyncio.timeout(SOON):
        while not true():
            await asyncio.sleep(0.005)


def send(producer: Producer | BlockingProducer, numbers: range, sessions: list[str] = SESSIONS) -> None:
    for number in numbers:
        for session in sessions:
            producer.message(session_id=session, role="user", content=str(number))


def in_order(upto: int) -> dict[str, list[str]]:
    return {session: [str(number) for number in range(upto)] for session in SESSIONS}


async def test_records_wait_on_disk_while_the_queue_is_away_and_go_in_order_when_it_is_back(scene: Scene) -> None:
    with capture_logs() as lines, scene.server:
        async with scene.producer() as producer:
            send(producer, range(50))
            await producer.flush(timeout=SOON)
            scene.server.kill()
            for start in range(50, 350, 50):
                send(producer, range(start, start + 50))
                await until(lambda: producer._buffer.records == 0)
            assert scene.spooled() == 300 * len(SESSIONS)
            await asyncio.to_thread(scene.server.start)
            send(producer, range(350, 400))
            await producer.flush(timeout=SOON)

            assert await scene.in_queue() == (in_order(400), 400 * len(SESSIONS))
            await until(lambda: scene.files() == [])

    told = [line["event"] for line in lines if "spool" in line["event"]]
    assert told == ["records wait in the spool", "the spool is empty again"]
    assert producer.dropped == {}


async def test_before_the_queue_was_ever_reached_records_wait_unsorted(scene: Scene) -> None:
    with capture_logs():
        async with scene.producer() as producer:
            send(producer, range(100))
            receipt = producer.message(session_id="s0", role="user", content="100")
            await until(lambda: scene.spooled() == 601)
            producer.log(level="info", event="e")
            await until(lambda: scene.spooled() == 602)
            with scene.server:
                await receipt.queued(timeout=SOON)
                send(producer, range(100, 110), SESSIONS[1:])
                await producer.flush(timeout=SOON)
                found, accepted = await scene.in_queue()

    assert found["s0"] == [str(number) for number in range(101)]
    assert found["s1"] == [str(number) for number in range(110)]
    assert accepted == 601 + 1 + 50


async def test_closing_without_a_queue_leaves_the_spool_and_the_next_start_sends_it(scene: Scene) -> None:
    with capture_logs() as lines:
        async with asyncio.timeout(SOON / 2):
            async with scene.producer(spool_after_ms=10**6) as producer:
                send(producer, range(30))
                receipt = producer.message(session_id="s0", role="user", content="30")
        async with scene.producer() as second:
            send(second, range(31, 40))
            await until(lambda: scene.spooled() == 181 + 54)
        with scene.server:
            async with scene.producer() as third:
                send(third, range(40, 50))
                await third.flush(timeout=SOON)
                found, accepted = await scene.in_queue()
            assert scene.files() == []

    left = [line for line in lines if line["event"] == "records left in the spool"]
    assert [(line["records"], line["path"]) for line in left] == [(181, str(scene.spool)), (235, str(scene.spool))]
    with pytest.raises(NotQueued, match=f"waits in the spool {scene.spool}.*next producer that starts"):
        await receipt.queued()
    with pytest.raises(NotStored, match="waits in the spool"):
        await receipt.stored()
    assert "in the spool at" in repr(receipt)
    assert found["s0"] == [str(number) for number in range(50)]
    assert found["s1"] == [*(str(n) for n in range(30)), *(str(n) for n in range(31, 50))]
    assert accepted == 181 + 54 + 60
    assert producer.dropped == {}


async def test_a_receipt_of_a_spooled_record_says_where_it_is_and_settles(scene: Scene) -> None:
    with capture_logs(), scene.server:
        async with scene.producer() as producer:
            await producer.message(session_id="s0", role="user", content="0").queued(timeout=SOON)
            scene.server.kill()
            receipts = [producer.message(session_id=s, role="user", content="1") for s in SESSIONS]
            async with producer.stream(session_id="s0", role="assistant") as stream:
                stream.write("text")
            await until(lambda: scene.spooled() == len(SESSIONS) + 1)
            with pytest.raises(NotQueued, match=f"in the spool at {scene.spool}.*did not answer"):
                await receipts[0].queued(timeout=0.01)
            with pytest.raises(NotQueued, match=f"7 in the spool at {scene.spool}"):
                await producer.flush(timeout=0.01)
            await asyncio.to_thread(scene.server.start)

            async with Queue(scene.server.url) as queue, working(queue) as worker:
                await stream.receipt.queued(timeout=SOON)
                await asyncio.gather(*(receipt.stored(timeout=SOON) for receipt in receipts))
                assert worker.contents("s5") == ["1"]
                assert worker.contents("s0") == ["0", "1"]


async def test_a_full_partition_goes_to_the_spool_alone(scene: Scene) -> None:
    """One session has reached the backlog cap; the others go on directly."""
    with capture_logs(), scene.server:
        async with scene.producer(backlog_records=100) as producer, Queue(scene.server.url) as queue:
            send(producer, range(200), ["s0"])
            await producer.flush(timeout=SOON)
            send(producer, range(200, 400), ["s0"])
            await until(lambda: scene.spooled() == 200 and producer._buffer.records == 0)
            quick = producer.message(session_id="s1", role="user", content="quick")
            await quick.queued(timeout=SOON)
            assert scene.spooled() == 200

            async with working(queue) as worker:
                await producer.flush(until="stored", timeout=SOON)

    assert worker.contents("s0") == [str(number) for number in range(400)]


async def test_a_namespace_with_another_number_of_partitions_gets_everything_once_and_in_order(scene: Scene) -> None:
    with capture_logs():
        with scene.server:
            async with scene.producer(partitions=8) as producer:
                await producer.message(session_id="x", role="user").queued(timeout=SOON)
                scene.server.kill()
                send(producer, range(50))
                await until(lambda: scene.spooled() == 300)
                send(producer, range(50, 100))
                await until(lambda: scene.spooled() == 600)
        other = EmbeddedQueue(scene.spool.parent / "other", scene.server.port)
        with other:
            async with scene.producer(partitions=3) as producer:
                await producer.flush(timeout=SOON)
            found = await scene.in_queue()

    assert found == (in_order(100), 600)


@pytest.mark.parametrize("overflow", ["block", "drop", "raise"])
async def test_at_the_bound_the_overflow_policy_holds_and_it_goes_on_by_itself(scene: Scene, overflow: Any) -> None:
    settings = {"overflow": overflow, "buffer_records": 50, "spool_bytes": 60_000}
    taken: list[str] = []
    with capture_logs() as lines, scene.server:
        async with scene.producer(**settings) as producer:
            await producer.message(session_id="x", role="user").queued(timeout=SOON)
            scene.server.kill()
            refused = number = 0
            while not refused or not any(line["event"] == "the spool cannot be used" for line in lines):
                try:
                    receipt = producer.message(session_id="s0", role="user", content=str(number))
                except BufferFull:
                    refused += 1
                    await asyncio.sleep(0.01)
                else:
                    refused += receipt.fate is not None
                    taken += [str(number)] if receipt.fate is None else []
                number += 1
                if number % 10 == 0:
                    await asyncio.sleep(0.005)
            assert 0 < scene.spooled() < len(taken)
            await asyncio.to_thread(scene.server.start)
            await producer.flush(timeout=SOON)
            producer.message(session_id="s0", role="user", content="after")
            await producer.flush(timeout=SOON)
            found, _ = await scene.in_queue()

    assert found["s0"] == [*taken, "after"]
    assert next(line["reason"] for line in lines if line["event"] == "the spool cannot be used").startswith("it holds ")
    assert producer.dropped == ({"buffer_full": refused} if overflow == "drop" else {})


async def test_two_producers_in_one_folder_have_a_file_each(scene: Scene) -> None:
    with capture_logs():
        async with scene.producer() as one, scene.producer() as two:
            send(one, range(20), ["s0"])
            send(two, range(20), ["s1"])
            await until(lambda: scene.spooled() == 40)
            assert [name for name in scene.files() if name.endswith(".spool")] == [
                "penstock.0.spool",
                "penstock.1.spool",
            ]
            with scene.server:
                await asyncio.gather(one.flush(timeout=SOON), two.flush(timeout=SOON))
                found, accepted = await scene.in_queue()

    assert (found["s0"], found["s1"], accepted) == ([str(n) for n in range(20)], [str(n) for n in range(20)], 40)


async def test_other_namespaces_keep_their_files(scene: Scene) -> None:
    with capture_logs():
        async with Producer(settings=scene.settings(), namespace="an/other") as producer:
            producer.message(session_id="s0", role="user")
        async with scene.producer() as producer:
            pass

    assert scene.spooled("an/other") == 1
    assert scene.spooled() == 0


async def test_a_claim_waits_for_what_is_spooled_before_it(scene: Scene) -> None:
    with capture_logs(), scene.server:
        async with scene.producer() as producer:
            await producer.message(session_id="x", role="user").queued(timeout=SOON)
            scene.server.kill()
            for number in range(300):
                producer.key_value(key=str(number), value=number)
            await until(lambda: scene.spooled() == 300)
            await asyncio.to_thread(scene.server.start)

            assert not await producer.set_if_absent(key="299", value="mine", timeout=SOON)
            assert await producer.set_if_absent(key="new", value="mine", timeout=SOON)


def test_a_blocking_producer_spools_and_leaves_at_exit_what_the_queue_did_not_take(scene: Scene) -> None:
    program = """
import sys
from penstock.producer import BlockingProducer, ProducerSettings
settings = ProducerSettings(redis_url=sys.argv[1], spool_dir=sys.argv[2], retry_base_ms=5, retry_cap_ms=50)
producer = BlockingProducer(settings=settings)
for number in range(500):
    producer.message(session_id="s0", role="user", content=str(number))
"""
    command = [sys.executable, "-W", "error", "-c", program, scene.server.url, str(scene.spool)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 0
    assert "500" in done.stdout + done.stderr
    assert scene.spooled() == 500
    with capture_logs(), scene.server, BlockingProducer(settings=scene.settings()) as producer:
        producer.message(session_id="s0", role="user", content="500").queued(timeout=SOON)
        found, accepted = asyncio.run(scene.in_queue())
    assert (found["s0"], accepted) == ([str(number) for number in range(501)], 501)


FORKING = """
import os, sys, time
from penstock.producer import BlockingProducer, ProducerSettings
from penstock.producer.errors import ProducerClosed
settings = ProducerSettings(
    redis_url=sys.argv[1], spool_dir=sys.argv[2], spool_after_ms=20, retry_base_ms=5, retry_cap_ms=50
)
producer = BlockingProducer(settings=settings)
receipt = producer.message(session_id="s0", role="user", content="0")
while producer._buffer.records:
    time.sleep(0.005)
child = os.fork()
if child == 0:
    try:
        receipt.queued()
    except ProducerClosed:
        producer.message(session_id="s1", role="user", content="0")
        producer.close()
        sys.exit(0)
    sys.exit(3)
status = os.waitpid(child, 0)[1]
producer.message(session_id="s0", role="user", content="1")
producer.close()
sys.exit(os.waitstatus_to_exitcode(status))
"""


async def test_a_forked_child_has_a_file_of_its_own(scene: Scene) -> None:
    command = [sys.executable, "-W", "error::UserWarning", "-c", FORKING, scene.server.url, str(scene.spool)]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60, check=False)

    assert (done.returncode, scene.files()) == (0, ["penstock.0.spool", "penstock.1.spool"]), done.stderr
    with capture_logs(), scene.server:
        async with scene.producer():
            pass
        found, accepted = await scene.in_queue()
    assert (found["s0"], found["s1"], accepted) == (["0", "1"], ["0"], 3)


async def test_streams_are_whole_after_an_outage(scene: Scene) -> None:
    with capture_logs(), scene.server:
        async with scene.producer() as producer:
            async with producer.stream(session_id="s0", role="assistant") as stream:
                for number in range(60):
                    stream.write(f"{number} ")
                    if number == 20:
                        await producer.flush(timeout=SOON)
                        scene.server.kill()
                    if number == 40:
                        await until(lambda: scene.spooled() > 0)
            await until(lambda: producer._buffer.records == 0)
            await asyncio.to_thread(scene.server.start)
            await stream.receipt.queued(timeout=SOON)
            async with Queue(scene.server.url) as queue:
                runs = [one for one in await held(queue) if isinstance(one, StreamChunk)]

    assert "".join(run.text for run in runs) == "".join(f"{number} " for number in range(60))
    assert runs[-1].end == "complete"


async def test_a_deaf_queue_keeps_nothing_in_memory_and_gets_nothing_twice(scene: Scene) -> None:
    """A push whose answer is lost is put on disk before what came after it, and sent again from there."""
    with capture_logs(), scene.server:
        async with linked(scene.server.url) as link, scene.producer(redis_url=link.url) as producer:
            await producer.message(session_id="x", role="user").queued(timeout=SOON)
            link.hearing = False
            send(producer, range(20))
            await link.lost.wait()
            send(producer, range(20, 40))
            await until(lambda: producer._buffer.records == 0)
            assert scene.spooled() == 240
            link.hearing = True
            link.cut()
            await producer.flush(timeout=SOON)

        assert await scene.in_queue() == (in_order(40), 241)


async def test_a_folder_that_cannot_be_used_is_said_and_all_goes_on_without(scene: Scene) -> None:
    scene.spool.write_text("a file")
    with capture_logs() as lines:
        async with scene.producer() as producer:
            send(producer, range(5))
            with scene.server:
                await producer.flush(timeout=SOON)
                found = await scene.in_queue()

    assert found == (in_order(5), 30)
    said = [line for line in lines if line["event"] == "the spool cannot be used"]
    assert "set spool_dir to another" in said[0]["reason"]
    assert scene.spool.read_text() == "a file"
