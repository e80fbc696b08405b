"""Strategies on a real queue server: what is stored, left out and buried, and that the audit adds up."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import msgpack
import pytest
from structlog.testing import capture_logs

from penstock import dlq
from penstock.producer import BlockingProducer, Producer, ProducerSettings, RecordDropped
from penstock.producer.errors import ProducerClosed
from penstock.stores.errors import StoreRejected
from penstock.wire.errors import StrategyFailed
from penstock.wire.ids import new_id
from penstock.wire.queue import Queue
from penstock.wire.records import Message, MessageDeletion, Record, StreamChunk
from penstock.wire.settings import InvalidSetting
from penstock.worker import run_worker
from penstock.worker.drain import drain
from penstock.worker.settings import WorkerConfig
from penstock.worker.site import Site
from tests.system.drain_support import MESSAGES, ListStore, Sender, site_of, total
from tests.system.producer_support import contents, held

KEY = "sk-proj-abcdefghijk0123456789XYZ"
SOON = 20.0

OWN = """
told = []


class Touchy:
    def should_store(self, record):
        if record.content == "later":
            raise ValueError(record.content)
        return True

    def before_store(self, record):
        if record.content and record.content.startswith("poison"):
            raise KeyError(record.content)
        return record


class Counts:
    def before_store(self, record):
        return record._replace(content=record.content + "!")


class Listens:
    takes_chunks = True

    def after_store(self, record):
        told.append(record)
        if getattr(record, "content", "") == "raise":
            raise RuntimeError("the secret")


class Renames:
    def before_store(self, record):
        return record._replace(session_id="elsewhere")
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Names a strategy of a user's own module."""
    name = f"strategies_of_{new_id().hex()}"
    (tmp_path / f"{name}.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    return lambda path: f"{name}:{path}"


async def drain_all(queue: Queue, site: Site) -> None:
    for where in queue.all_partitions():
        await drain(site, where)


async def letters(queue: Queue) -> list[tuple[str, str]]:
    """Kind and reason of each dead letter of the partition."""
    found = await queue.client.xrange(queue.keys.dead(MESSAGES))
    unpacked = [msgpack.unpackb(fields[b"e"]) for _, fields in found]
    return [(each["kind"], each["reason"]) for each in unpacked]


# -- at the worker --------------------------------------------------------------------------------


async def test_a_record_on_which_the_strategy_raises_is_buried_alone(queue: Queue, own: Callable[[str], str]) -> None:
    store, sender = ListStore(), Sender(queue)
    sent = [sender.message("poison with a secret" if n == 3 else str(n)) for n in range(9)]
    await sender.push(*sent)

    with capture_logs() as logs:
        moved = await drain(site_of(queue, store, strategy=own("Touchy")), MESSAGES)

    assert moved is not None
    assert (moved.records, moved.stored, moved.dead) == (9, 8, 1)
    assert store.messages() == [*sent[:3], *sent[4:]]
    assert await letters(queue) == [("strategy", f"strategy '{own('Touchy')}' raised KeyError")]
    assert "secret" not in repr(logs)
    assert any("line 13, in before_store" in str(line.get("at")) for line in logs)
    assert (await total(queue)).balanced


async def test_a_buried_record_is_stored_once_the_strategy_is_mended(queue: Queue, own: Callable[[str], str]) -> None:
    store, sender = ListStore(), Sender(queue)
    await sender.push(sender.message("poison"))
    await drain(site_of(queue, store, strategy=own("Touchy")), MESSAGES)

    outcome = await dlq.replay(queue, error_kind="strategy")
    await drain(site_of(queue, store, strategy="mask"), MESSAGES)

    assert outcome.letters == 1
    assert [message.content for message in store.messages()] == ["poison"]
    counts = await total(queue)
    assert (counts.accepted, counts.stored, counts.dead, counts.balanced) == (1, 1, 0, True)


async def test_a_strategy_that_moves_a_record_elsewhere_buries_it(queue: Queue, own: Callable[[str], str]) -> None:
    store, sender = ListStore(), Sender(queue)
    await sender.push(sender.message())

    await drain(site_of(queue, store, strategy=own("Renames")), MESSAGES)

    assert store.rows == {}
    ((kind, reason),) = await letters(queue)
    assert (kind, reason.rpartition("' ")[2]) == ("strategy", "changed session_id, which must stay")


async def test_what_is_left_out_is_counted_and_the_audit_adds_up(queue: Queue) -> None:
    store, sender = ListStore(), Sender(queue)
    said = [sender.message(str(n)) for n in range(10)]
    await sender.push(*(each._replace(role="tool") if n % 2 else each for n, each in enumerate(said)))

    moved = await drain(site_of(queue, store, strategy="minimal"), MESSAGES)

    assert moved is not None
    assert (moved.records, moved.stored, moved.skipped) == (10, 5, 5)
    assert store.messages() == said[::2]
    counts = await total(queue)
    assert (counts.accepted, counts.stored, counts.skipped, counts.pending) == (10, 5, 5, 0)
    assert counts.balanced


async def test_the_receipt_of_a_record_that_is_left_out_is_fulfilled(queue: Queue, redis_url: str) -> None:
    site = site_of(queue, ListStore(), strategy="minimal")
    async with Producer(redis_url, namespace=queue.keys.namespace) as producer:
        receipt = producer.message(session_id="s", role="tool", content="noise")
        await receipt.queued(SOON)
        await drain_all(queue, site)

        await receipt.stored(SOON)
        await producer.flush(until="stored", timeout=SOON)

    assert (await total(queue)).skipped == 1


async def test_deletions_pass_whatever_the_strategy_says(queue: Queue, own: Callable[[str], str]) -> None:
    store, sender = ListStore(), Sender(queue)
    deletion = MessageDeletion(new_id(), sender.clock.now_us(), "s")
    await sender.push(deletion)

    await drain(site_of(queue, store, strategy=f"minimal,{own('Renames')}"), MESSAGES)

    assert list(store.rows.values()) == [deletion]


async def test_after_store_hears_of_what_is_stored_and_of_nothing_else(queue: Queue, own: Callable[[str], str]) -> None:
    def refuse(records: Sequence[Record]) -> None:
        if any(isinstance(record, Message) and record.content == "refused" for record in records):
            raise StoreRejected("no")

    store, sender = ListStore(before=refuse), Sender(queue)
    site = site_of(queue, store, strategy=f"minimal,{own('Listens')}")
    kept, bad = sender.message("kept"), sender.message("raise")
    await sender.push(kept, sender.message("refused"), sender.message("skipped")._replace(role="tool"), bad)

    with capture_logs() as logs:
        await drain(site, MESSAGES)

    module = __import__(own("")[:-1])
    assert module.told == [kept, bad]
    assert set(store.messages()) == {kept, bad}, "what it raises changes nothing"
    assert [line["reason"].rpartition("' ")[2] for line in logs if line["event"] == "strategy failed"] == [
        "raised RuntimeError"
    ]
    counts = await total(queue)
    assert (counts.stored, counts.skipped, counts.dead, counts.balanced) == (2, 1, 1, True)


def test_a_worker_with_a_strategy_that_cannot_be_loaded_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting, match="no_such_module:x"):
        run_worker(WorkerConfig(sql_url="memory:", vector_url="memory:", strategy="no_such_module:x"))


# -- streams --------------------------------------------------------------------------------------


def cut(text: str, size: int = 4) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


@pytest.mark.parametrize("at", ["worker", "producer"])
async def test_a_secret_that_is_split_over_chunks_is_masked(queue: Queue, at: str) -> None:
    store, sender = ListStore(), Sender(queue)
    site = site_of(queue, store, strategy="mask", strategy_at=at)
    for chunk in sender.chunks(cut(f"the key is {KEY}, keep it")):
        await sender.push(chunk)
        await drain(site, MESSAGES)

    assert [message.content for message in store.messages()] == ["the key is [masked:api_key], keep it"]
    assert (await total(queue)).balanced


async def test_no_chunk_is_stored_beside_a_masked_message(queue: Queue) -> None:
    store, sender = ListStore(), Sender(queue)
    await sender.push(*sender.chunks(cut(KEY)))

    with capture_logs() as logs:
        site = site_of(queue, store, strategy="mask", stream_policy="all_chunks")
    await drain(site, MESSAGES)

    assert [type(record) for record in store.rows.values()] == [Message]
    assert [line["event"] for line in logs] == ["chunks are not stored"]
    assert (await total(queue)).balanced


async def test_chunks_that_the_strategies_take_are_stored_beside_the_message(queue: Queue) -> None:
    store, sender = ListStore(), Sender(queue)
    chunks = sender.chunks(["a", "b"])
    await sender.push(*chunks)

    await drain(site_of(queue, store, strategy="minimal,verbose", stream_policy="all_chunks"), MESSAGES)

    assert [type(record) for record in store.rows.values()] == [Message, StreamChunk, StreamChunk, StreamChunk]
    counts = await total(queue)
    assert (counts.accepted, counts.stored, counts.balanced) == (3, 3, True)


async def test_a_stream_that_is_left_out_counts_with_all_its_chunks(queue: Queue) -> None:
    store, sender = ListStore(), Sender(queue)
    chunks = [chunk._replace(role="tool") for chunk in sender.chunks(["a", "b", "c"])]
    site = site_of(queue, store, strategy="minimal", stream_policy="all_chunks")
    await sender.push(*chunks[:2])
    await drain(site, MESSAGES)
    assert (await total(queue)).buffered == 2
    await sender.push(*chunks[2:])

    await drain(site, MESSAGES)

    assert store.rows == {}
    counts = await total(queue)
    assert (counts.accepted, counts.skipped, counts.pending, counts.open_streams) == (4, 4, 0, 0)
    assert counts.balanced


async def test_a_stream_on_which_the_strategy_raises_is_buried_whole_and_replayed(
    queue: Queue, own: Callable[[str], str]
) -> None:
    """Replayed, it is sifted again even where the producer applies the strategy: it has never been."""
    store, sender = ListStore(), Sender(queue)
    await sender.push(*sender.chunks(["poi", "son ", KEY]), sender.message("after"))

    await drain(site_of(queue, store, strategy=own("Touchy"), strategy_at="producer"), MESSAGES)
    counts = await total(queue)
    assert (counts.stored, counts.dead, counts.balanced) == (1, 4, True)
    await dlq.replay(queue)
    await drain(site_of(queue, store, strategy="mask", strategy_at="producer"), MESSAGES)

    assert [message.content for message in store.messages()] == ["poison [masked:api_key]", "after"]
    counts = await total(queue)
    assert (counts.stored, counts.dead, counts.balanced) == (5, 0, True)


@pytest.mark.parametrize("reached", range(1, len(KEY), 6))
async def test_a_stream_that_goes_on_after_an_interruption_stays_masked(queue: Queue, reached: int) -> None:
    """What the store gives back of it may end in a mask: the rest of that secret follows."""
    store, sender = ListStore(), Sender(queue)
    site = site_of(queue, store, strategy="mask")
    begin, rest, end = sender.chunks([f"key {KEY[:reached]}", f"{KEY[reached:]} done"])
    await sender.push(begin)
    await drain(site, MESSAGES)
    real_now = site.now_ms
    site.now_ms = lambda: real_now() + site.config.stream_timeout_ms + 1
    await drain(site, MESSAGES)
    assert [message.state for message in store.messages()] == ["interrupted"]
    site.now_ms = real_now
    await sender.push(rest, end)

    await drain(site, MESSAGES)

    assert [message.content for message in store.messages()] == ["key [masked:api_key] done"]


async def test_a_view_of_an_open_stream_is_masked_as_the_whole_is(queue: Queue) -> None:
    store, sender = ListStore(), Sender(queue)
    site = site_of(queue, store, strategy="mask", stream_policy="snapshots")
    begin, *_ = sender.chunks([f"{KEY} and", " on"])

    await sender.push(begin)
    await drain(site, MESSAGES)

    assert [(message.content, message.state) for message in store.messages()] == [("[masked:api_key] and", "streaming")]
    counts = await total(queue)
    assert (counts.pending, counts.balanced) == (1, True)


# -- at the producer ------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def sending(queue: Queue, strategy: str, at: Any = "producer") -> AsyncIterator[Producer]:
    settings = ProducerSettings(namespace=queue.keys.namespace, strategy=strategy, strategy_at=at)
    async with Producer(queue.scripts.url, settings=settings) as producer:
        yield producer


async def test_at_the_producer_a_secret_never_reaches_the_queue(queue: Queue) -> None:
    async with sending(queue, "mask") as producer:
        producer.message(session_id="s", role="user", content=f"the key is {KEY}", metadata={"key": KEY})
        producer.log(level="info", event="called", data={"key": KEY})
        producer.task(task_id="t", description=KEY, result=KEY)

    found = await held(queue)
    assert len(found) == 3
    assert KEY not in repr(found)


async def test_at_the_worker_the_producer_sends_everything_as_it_is(queue: Queue) -> None:
    async with sending(queue, "no_such_module:only_workers_have_it", at="worker") as producer:
        producer.message(session_id="s", role="tool", content=KEY)

    assert await contents(queue, "s") == [KEY]


async def test_a_record_that_the_producer_leaves_out_is_counted_and_its_receipt_says_so(queue: Queue) -> None:
    async with sending(queue, "minimal") as producer:
        with capture_logs() as logs:
            receipt = producer.message(session_id="s", role="tool", content="noise")
            producer.log(level="debug", event="noise")
        producer.message(session_id="s", role="user", content="kept")

        for waiting in (receipt.queued, receipt.stored):
            with pytest.raises(RecordDropped, match=f"{receipt.id} was not handed over: the strategy 'minimal'"):
                await waiting(SOON)
        await producer.flush(timeout=SOON)
        assert producer.dropped == {"strategy": 2}

    assert await contents(queue, "s") == ["kept"]
    assert logs == [], "it is what the settings ask for"
    with pytest.raises(ProducerClosed):
        producer.message(session_id="s", role="tool", content="noise")


async def test_a_strategy_that_fails_at_the_producer_is_told_to_the_caller(
    queue: Queue, own: Callable[[str], str]
) -> None:
    async with sending(queue, own("Touchy")) as producer:
        with pytest.raises(StrategyFailed) as caught:
            producer.message(session_id="s", role="user", content="poison with a secret")
        producer.message(session_id="s", role="user", content="next")

    assert str(caught.value) == f"strategy '{own('Touchy')}' raised KeyError"
    assert await contents(queue, "s") == ["next"]


async def test_a_strategy_is_applied_once_to_each_record_wherever_it_came_from(
    queue: Queue, own: Callable[[str], str]
) -> None:
    store = ListStore()
    async with sending(queue, own("Counts")) as producer:
        producer.message(session_id="s", role="user", content="plain")
        async with producer.stream(session_id="s", role="assistant") as stream:
            stream.write("stre")
            stream.write("am")

    await drain_all(queue, site_of(queue, store, strategy=own("Counts"), strategy_at="producer"))

    assert [message.content for message in store.messages()] == ["plain!", "stream!"]


def test_threads_are_told_the_same(redis_url: str, namespace: str) -> None:
    settings = ProducerSettings(namespace=namespace, strategy="minimal", strategy_at="producer")

    with BlockingProducer(redis_url, settings=settings) as producer:
        receipt = producer.message(session_id="s", role="tool", content="noise")
        with pytest.raises(RecordDropped, match="the strategy 'minimal' leaves it out"):
            receipt.stored(SOON)
        assert producer.dropped == {"strategy": 1}


def test_a_producer_with_a_strategy_that_cannot_be_loaded_is_refused() -> None:
    with pytest.raises(InvalidSetting, match="no_such_module:x"):
        Producer(settings=ProducerSettings(strategy="no_such_module:x", strategy_at="producer"))
