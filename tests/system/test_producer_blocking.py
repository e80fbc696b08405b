"""The producer for threads, on a real queue server: threads, forks, the interpreter's end."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import Any

import pytest
from structlog.testing import capture_logs

from penstock.embedded import free_port
from penstock.producer import BlockingProducer, BufferFull, DeadLettered, NotQueued, NotStored, ProducerSettings
from penstock.producer.errors import ProducerClosed
from penstock.wire.errors import ConfigMismatch
from penstock.wire.queue import Queue
from penstock.wire.records import StreamChunk
from tests.system.producer_support import BAD, SmallWorker, contents, held

SOON = 20.0
AWAY = f"redis://127.0.0.1:{free_port()}/0"


def settings_of(**given: Any) -> ProducerSettings:
    return ProducerSettings(**{"retry_base_ms": 5, "retry_cap_ms": 20, "close_timeout_s": SOON, **given})


async def test_threads_share_a_producer_and_each_keeps_its_order(queue: Queue, redis_url: str, namespace: str) -> None:
    def work(producer: BlockingProducer, session: str) -> None:
        for number in range(300):
            producer.message(session_id=session, role="user", content=str(number))

    with BlockingProducer(redis_url, namespace=namespace) as producer:
        threads = [threading.Thread(target=work, args=(producer, f"s{n}")) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        producer.flush(timeout=SOON)

    for n in range(4):
        assert await contents(queue, f"s{n}") == [str(number) for number in range(300)]
    times = [one.created_at_us for one in await held(queue)]
    assert len(set(times)) == 1_200


async def test_a_receipt_blocks_until_the_record_is_stored_or_dead(
    queue: Queue, redis_url: str, namespace: str
) -> None:
    worker = SmallWorker(queue)
    with BlockingProducer(redis_url, namespace=namespace) as producer:
        good = producer.message(session_id="s", role="user", content="good")
        bad = producer.message(session_id="s", role="user", content=BAD)
        bad.queued(timeout=SOON)
        with pytest.raises(NotStored, match="was queued at"):
            good.stored(timeout=0.01)
        await worker.drain_all()
        good.stored(timeout=SOON)
        producer.flush(until="stored", timeout=SOON)
        with pytest.raises(DeadLettered, match="the test says so"):
            bad.stored(timeout=SOON)


async def test_its_stream_is_a_plain_block(queue: Queue, redis_url: str, namespace: str) -> None:
    def fail(producer: BlockingProducer) -> None:
        with producer.stream(session_id="s", role="assistant") as stream:
            stream.write("half")
            raise ValueError

    with BlockingProducer(redis_url, namespace=namespace) as producer:
        with producer.stream(session_id="s", role="assistant") as stream:
            for text in ("Hel", "lo"):
                stream.write(text)
        with pytest.raises(ValueError):
            fail(producer)
        stream.receipt.queued(timeout=SOON)

    runs = [one for one in await held(queue) if isinstance(one, StreamChunk)]
    assert ["".join(run.text for run in runs if run.end or run.seq == 0)] == ["Hellohalf"]
    assert [run.end for run in runs if run.end] == ["complete", "interrupted"]


async def test_closing_ends_open_streams_as_interrupted(queue: Queue, redis_url: str, namespace: str) -> None:
    producer = BlockingProducer(redis_url, namespace=namespace)
    with producer.stream(session_id="s", role="assistant") as stream:
        stream.write("half")
        producer.close()

    assert [(one.text, one.end) for one in await held(queue) if isinstance(one, StreamChunk)] == [
        ("half", "interrupted")
    ]


async def test_logs_and_embeddings_need_no_block(queue: Queue, redis_url: str, namespace: str) -> None:
    producer = BlockingProducer(redis_url, namespace=namespace)
    producer.log(level="info", event="e").queued(timeout=SOON)
    producer.embedding(collection="c", id="k", vector=[1.0]).queued(timeout=SOON)
    producer.close()

    assert len(await held(queue)) == 2
    with pytest.raises(ProducerClosed):
        producer.log(level="info", event="e")
    producer.close()


def test_without_a_queue_a_call_returns_and_waiting_says_what_is_known() -> None:
    with capture_logs(), BlockingProducer(AWAY, settings=settings_of(close_timeout_s=0.05)) as producer:
        receipt = producer.message(session_id="s", role="user")
        with pytest.raises(NotQueued, match="still in the buffer"):
            receipt.queued(timeout=0.01)
        with pytest.raises(NotQueued, match="1 records are still in the buffer"):
            producer.flush(timeout=0.01)

    assert producer.dropped == {"closed": 1}


async def test_block_makes_the_thread_wait_for_room(queue: Queue, redis_url: str, namespace: str) -> None:
    with BlockingProducer(redis_url, namespace=namespace, settings=settings_of(buffer_records=50)) as producer:
        for number in range(1_000):
            producer.message(session_id="s", role="user", content=str(number))

    assert await contents(queue, "s") == [str(number) for number in range(1_000)]


@pytest.mark.parametrize("overflow", ["block", "raise"])
def test_a_buffer_that_stays_full_raises(overflow: str) -> None:
    settings = settings_of(buffer_records=1, block_timeout_s=0.01, close_timeout_s=0, overflow=overflow)
    with capture_logs(), BlockingProducer(AWAY, settings=settings) as producer:
        producer.message(session_id="s", role="user")
        with pytest.raises(BufferFull):
            producer.message(session_id="s", role="user")


async def test_a_wrong_number_of_partitions_is_known_on_entering(queue: Queue, redis_url: str, namespace: str) -> None:
    settings = settings_of(partitions=queue.partitions + 1)
    with capture_logs(), pytest.raises(ConfigMismatch):
        BlockingProducer(redis_url, namespace=namespace, settings=settings).__enter__()


def run_program(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-c", program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


UNCLOSED = """
import sys
from penstock.producer import BlockingProducer, ProducerSettings
producer = BlockingProducer(sys.argv[1], namespace=sys.argv[2], settings=ProducerSettings(uvloop=sys.argv[3]))
for number in range(500):
    producer.message(session_id="s", role="user", content=str(number))
"""


@pytest.mark.parametrize("uvloop", ["auto", "never"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_program_that_ends_without_closing_still_sends_everything(
    queue: Queue, redis_url: str, namespace: str, host: str, uvloop: str
) -> None:
    """By name too: no executor looks names up while the interpreter exits."""
    done = run_program(UNCLOSED, redis_url.replace("127.0.0.1", host), namespace, uvloop)

    assert (done.returncode, done.stderr) == (0, "")
    assert await contents(queue, "s") == [str(number) for number in range(500)]


FORKING = """
import os, sys
from penstock.producer import BlockingProducer, ProducerSettings
settings = ProducerSettings(linger_ms=60_000, uvloop=sys.argv[3])
producer = BlockingProducer(sys.argv[1], namespace=sys.argv[2], settings=settings)
before = [producer.message(session_id="parent", role="user", content=str(n)) for n in range(50)]
stream = producer.stream(session_id="stream", role="assistant").__enter__()
stream.write("from the parent")
child = os.fork()
if child == 0:
    from penstock.producer.errors import ProducerClosed, StreamEnded
    for attempt, expected in ((before[0].queued, ProducerClosed), (lambda: stream.write("x"), StreamEnded)):
        try:
            attempt()
        except expected:
            continue
        os._exit(3)
    for n in range(50):
        receipt = producer.message(session_id="child", role="user", content=str(n))
    producer.flush(timeout=20)
    receipt.queued(timeout=20)
    producer.close()
    os._exit(0)
status = os.waitpid(child, 0)[1]
producer.message(session_id="parent", role="user", content="50")
stream.__exit__(None, None, None)
producer.close()
sys.exit(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.parametrize("uvloop", ["auto", "never"])
async def test_after_a_fork_each_process_sends_its_own_records_once(
    queue: Queue, redis_url: str, namespace: str, uvloop: str
) -> None:
    done = run_program(FORKING, redis_url, namespace, uvloop)

    assert (done.returncode, done.stderr) == (0, "")
    assert await contents(queue, "parent") == [str(n) for n in range(51)]
    assert await contents(queue, "child") == [str(n) for n in range(50)]
    runs = [one for one in await held(queue) if isinstance(one, StreamChunk)]
    assert [(run.text, run.end) for run in runs] == [("from the parent", "complete")]


def test_a_fork_before_the_first_call_is_nothing_special(redis_url: str, namespace: str) -> None:
    """As a server with pre-forked workers does it."""
    program = FORKING.replace("before = [", "before = [] and [").split("stream =")[0] + (
        "child = os.fork()\n"
        "producer.message(session_id=str(child == 0), role='user').queued(timeout=20)\n"
        "producer.close()\n"
        "sys.exit(0 if child == 0 else os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    done = run_program(program.replace("60_000", "1"), redis_url, namespace, "auto")

    assert (done.returncode, done.stderr) == (0, "")


def test_this_process_leaves_no_thread_behind(redis_url: str, namespace: str) -> None:
    before = threading.active_count()
    with BlockingProducer(redis_url, namespace=namespace) as producer:
        producer.message(session_id="s", role="user")

    assert (threading.active_count(), os.getpid() > 0) == (before, True)
