"""The asynchronous producer on a real queue server."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from penstock.embedded import EmbeddedQueue, free_port
from penstock.producer import (
    BufferFull,
    DeadLettered,
    NotQueued,
    NotStored,
    Producer,
    ProducerSettings,
    RecordDropped,
)
from penstock.producer.errors import ProducerClosed
from penstock.wire.errors import ConfigMismatch
from penstock.wire.keys import Partition, partition_of
from penstock.wire.queue import Queue
from penstock.wire.records import Embedding, EmbeddingDeletion, LogEvent, StreamChunk
from tests.system.producer_support import BAD, contents, held, working

SOON = 20.0


def settings_of(**given: Any) -> ProducerSettings:
    return ProducerSettings(**{"retry_base_ms": 5, "retry_cap_ms": 20, "close_timeout_s": SOON, **given})


async def test_records_of_every_kind_reach_their_lanes(queue: Queue, redis_url: str, namespace: str) -> None:
    async with Producer(redis_url, namespace=namespace) as producer:
        producer.message(session_id="s", role="user", content="hi", metadata={"a": 1}, user_id="u")
        producer.log(level="info", event="e", task_id="t")
        producer.log(level="info", event="e", agent_id="a")
        producer.log(level="info", event="e")
        producer.embedding(collection="c", id="k", vector=[1.0, 2.0], metadata={"b": 2})
        producer.delete_embedding(collection="c", id="k")
        own = producer._producer_id

    found = {where: await queue.read(where, 10) for where in queue.all_partitions()}
    lanes = {where for where, entries in found.items() if entries}
    assert lanes == {
        Partition(lane, partition_of(key, queue.partitions))
        for lane, key in (("messages", "s"), ("logs", "t"), ("logs", "a"), ("logs", own), ("embeddings", "c"))
    }
    records = await held(queue)
    assert [type(one) for one in records].count(LogEvent) == 3
    vectors = [one for one in records if isinstance(one, Embedding | EmbeddingDeletion)]
    assert [(type(one), one.collection, one.key) for one in vectors] == [
        (Embedding, "c", "k"),
        (EmbeddingDeletion, "c", "k"),
    ]
    assert isinstance(vectors[0], Embedding)
    assert vectors[0].vector == b"\0\0\x80?\0\0\0@"


async def test_changing_what_was_handed_over_changes_nothing(queue: Queue, redis_url: str, namespace: str) -> None:
    metadata = {"a": [1]}
    async with Producer(redis_url, namespace=namespace) as producer:
        producer.message(session_id="s", role="user", metadata=metadata)
        metadata["a"].append(2)

    assert [getattr(one, "metadata", None) for one in await held(queue)] == [b'{"a":[1]}']


async def test_a_receipt_follows_its_record_into_the_store(queue: Queue, redis_url: str, namespace: str) -> None:
    async with working(queue) as worker, Producer(redis_url, namespace=namespace) as producer:
        receipt = producer.message(session_id="s", role="user", content="hi")
        await receipt.queued(timeout=SOON)
        await receipt.stored(timeout=SOON)

        assert worker.contents("s") == ["hi"]
        assert len(receipt.id) == 36


async def test_many_receipts_can_be_awaited_at_once(queue: Queue, redis_url: str, namespace: str) -> None:
    async with working(queue) as worker, Producer(redis_url, namespace=namespace) as producer:
        receipts = [producer.message(session_id=f"s{n % 9}", role="user", content=str(n)) for n in range(1_000)]
        await asyncio.gather(*(receipt.stored(timeout=SOON) for receipt in receipts))

        assert len(worker.stored) == 1_000


async def test_a_refused_record_raises_with_its_reason_and_its_neighbour_is_stored(
    queue: Queue, redis_url: str, namespace: str
) -> None:
    async with working(queue), Producer(redis_url, namespace=namespace) as producer:
        bad = producer.message(session_id="s", role="user", content=BAD)
        good = producer.message(session_id="s", role="user", content="good")
        await good.stored(timeout=SOON)
        with pytest.raises(DeadLettered) as caught:
            await bad.stored(timeout=SOON)

    assert (caught.value.id, caught.value.kind, caught.value.reason) == (bad.id, "rejected", "the test says so")


async def test_without_a_worker_waiting_says_that_the_record_is_queued(redis_url: str, namespace: str) -> None:
    async with Producer(redis_url, namespace=namespace) as producer:
        receipt = producer.message(session_id="s", role="user")
        await receipt.queued(timeout=SOON)
        with pytest.raises(NotStored, match=r"was queued at 2\d{3}-.*not stored yet"):
            await receipt.stored(timeout=0.01)
        with pytest.raises(NotStored, match="everything is queued"):
            await producer.flush(until="stored", timeout=0.01)

    with pytest.raises(NotStored, match="the producer is closed"):
        await receipt.stored()


async def test_flush_until_stored_waits_for_all_that_was_handed_over_before(
    queue: Queue, redis_url: str, namespace: str
) -> None:
    async with working(queue) as worker, Producer(redis_url, namespace=namespace) as producer:
        for number in range(500):
            producer.message(session_id=f"s{number % 7}", role="user", content=str(number))
        await producer.flush(until="stored", timeout=SOON)

        assert len(worker.stored) == 500


async def test_leaving_the_block_sends_what_is_there(queue: Queue, redis_url: str, namespace: str) -> None:
    async with Producer(redis_url, namespace=namespace, settings=settings_of(linger_ms=60_000)) as producer:
        for number in range(10):
            producer.message(session_id="s", role="user", content=str(number))

    assert await contents(queue, "s") == [str(number) for number in range(10)]
    with pytest.raises(ProducerClosed):
        producer.message(session_id="s", role="user")
    await producer.close()


async def test_a_stream_becomes_runs_whose_end_is_known_to_its_receipt(
    queue: Queue, redis_url: str, namespace: str
) -> None:
    async with Producer(redis_url, namespace=namespace) as producer:
        async with producer.stream(session_id="s", role="assistant", user_id="u") as stream:
            receipt = stream.write("Hel")
            await producer.flush(timeout=SOON)
            with pytest.raises(NotQueued):
                await receipt.queued(timeout=0.01)
            stream.write("lo")
        await receipt.queued(timeout=SOON)

    runs = [one for one in await held(queue) if isinstance(one, StreamChunk)]
    assert [(run.seq, run.chunks, run.text, run.end) for run in runs] == [(0, 1, "Hel", None), (1, 1, "lo", "complete")]


async def test_closing_ends_open_streams_as_interrupted(queue: Queue, redis_url: str, namespace: str) -> None:
    producer = Producer(redis_url, namespace=namespace)
    async with producer, producer.stream(session_id="s", role="assistant") as stream:
        stream.write("half")
        await producer.close()

    assert [(one.text, one.end) for one in await held(queue) if isinstance(one, StreamChunk)] == [
        ("half", "interrupted")
    ]


async def test_a_producer_starts_though_the_queue_is_away_and_sends_when_it_comes(tmp_path: Path) -> None:
    port = free_port()
    url = f"redis://127.0.0.1:{port}/0"
    with capture_logs():
        async with Producer(url, settings=settings_of()) as producer:
            receipt = producer.message(session_id="s", role="user", content="early")
            with pytest.raises(NotQueued, match="still in the buffer"):
                await receipt.queued(timeout=0.01)
            with EmbeddedQueue(tmp_path, port):
                await receipt.queued(timeout=SOON)
                async with Queue(url) as queue:
                    assert await contents(queue, "s") == ["early"]


async def test_closing_without_a_queue_ends_in_time_and_tells_what_was_left() -> None:
    settings = settings_of(redis_url=f"redis://127.0.0.1:{free_port()}/0", close_timeout_s=0.05)
    with capture_logs() as lines:
        async with Producer(settings=settings) as producer:
            receipts = [producer.message(session_id="s", role="user") for _ in range(3)]

    assert producer.dropped == {"closed": 3}
    assert [line["records"] for line in lines if line["event"] == "records dropped"] == [3]
    with pytest.raises(RecordDropped, match="did not answer"):
        await receipts[0].queued()


async def test_another_number_of_partitions_is_refused_at_the_start(
    queue: Queue, redis_url: str, namespace: str
) -> None:
    settings = settings_of(partitions=queue.partitions + 1)
    with capture_logs(), pytest.raises(ConfigMismatch, match=f"was created with {queue.partitions}"):
        await Producer(redis_url, namespace=namespace, settings=settings).__aenter__()


async def test_ready_waits_until_the_buffer_has_room(queue: Queue, redis_url: str, namespace: str) -> None:
    settings = settings_of(buffer_records=100)
    async with Producer(redis_url, namespace=namespace, settings=settings) as producer:
        for number in range(1_000):
            await producer.ready(timeout=SOON)
            producer.message(session_id="s", role="user", content=str(number))

    assert await contents(queue, "s") == [str(number) for number in range(1_000)]


async def test_ready_gives_up_after_its_timeout() -> None:
    settings = settings_of(redis_url=f"redis://127.0.0.1:{free_port()}/0", buffer_records=4, close_timeout_s=0)
    with capture_logs():
        async with Producer(settings=settings) as producer:
            for _ in range(4):
                producer.message(session_id="s", role="user")
            with pytest.raises(BufferFull, match="did not answer"):
                await producer.ready(timeout=0.01)


async def test_drop_leaves_the_agent_alone_and_the_receipt_says_so() -> None:
    url = f"redis://127.0.0.1:{free_port()}/0"
    settings = settings_of(redis_url=url, overflow="drop", buffer_records=2, close_timeout_s=0)
    with capture_logs():
        async with Producer(settings=settings) as producer:
            receipts = [producer.message(session_id="s", role="user") for _ in range(5)]
            assert producer.dropped == {"buffer_full": 3}
            with pytest.raises(RecordDropped, match="the buffer was full"):
                await receipts[-1].stored()


async def test_a_full_partition_waits_for_workers_and_loses_nothing(
    queue: Queue, redis_url: str, namespace: str
) -> None:
    settings = settings_of(backlog_records=1, linger_ms=0)
    with capture_logs():
        async with Producer(redis_url, namespace=namespace, settings=settings) as producer:
            first = producer.message(session_id="s", role="user", content="0")
            await first.queued(timeout=SOON)
            second = producer.message(session_id="s", role="user", content="1")
            with pytest.raises(NotQueued, match="backlog cap"):
                await second.queued(timeout=0.1)
            async with working(queue) as worker:
                await second.stored(timeout=SOON)

    assert worker.contents("s") == ["0", "1"]


async def test_a_server_killed_and_restarted_while_sending_loses_doubles_and_reorders_nothing(tmp_path: Path) -> None:
    """Its AOF has what it answered; what it did not answer is pushed again under the same number."""
    sessions = [f"s{n}" for n in range(6)]
    server = EmbeddedQueue(tmp_path, appendfsync="always")
    with capture_logs(), server:
        async with Producer(server.url, settings=settings_of(linger_ms=1)) as producer:
            for number in range(300):
                for session in sessions:
                    producer.message(session_id=session, role="user", content=str(number))
                if number in (60, 140, 220):
                    await asyncio.to_thread(_restart, server)
                await asyncio.sleep(0.001)
            await producer.flush(timeout=SOON)
        async with Queue(server.url) as queue:
            found = {session: await contents(queue, session) for session in sessions}
            total = sum(count.accepted for count in (await queue.counts()).values())

    assert found == {session: [str(number) for number in range(300)] for session in sessions}
    assert total == 1_800


def _restart(server: EmbeddedQueue) -> None:
    server.kill()
    server.start()
