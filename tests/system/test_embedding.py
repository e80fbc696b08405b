"""Texts that an agent sends without a vector, embedded by the worker."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from penstock import dlq
from penstock.cli.exits import Code
from penstock.direct import open_store
from penstock.embedding import EmbedderRejected, EmbedderUnavailable
from penstock.embedding.functions import FunctionEmbedder
from penstock.embedding.hashing import HashingEmbedder
from penstock.embedding.store import EmbeddingStore
from penstock.producer import Producer
from penstock.query import InvalidQuery, Reader
from penstock.stores.lancedb import open_vector as open_lance
from penstock.stores.memory import open_vector
from penstock.stores.vector_contract import VectorStore
from penstock.testing.system import System
from penstock.wire.building import embedding
from penstock.wire.errors import InvalidRecord
from penstock.wire.ids import RisingClock, new_id
from penstock.wire.keys import Partition, partition_of
from penstock.wire.queue import Queue
from penstock.worker.drain import drain
from penstock.worker.lanes import LanePaused
from penstock.worker.settings import WorkerConfig
from penstock.worker.site import Stores
from tests.system.command import penstock
from tests.system.drain_support import Sender, drain_all, site_of, total

COLLECTION = "notes"


class Model:
    """Lengths as vectors. `failure` is raised for a batch that has the text `bad`, or for every one while `away`."""

    def __init__(self) -> None:
        self.away = False
        self.asked: list[list[str]] = []

    async def __call__(self, texts: list[str]) -> list[list[float]]:
        self.asked.append(texts)
        if self.away:
            raise EmbedderUnavailable("model: status 503")
        if "bad" in texts:
            raise EmbedderRejected("model: status 400")
        return [[float(len(text)), 1.0] for text in texts]


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
async def vectors() -> AsyncIterator[VectorStore]:
    store = open_vector("memory://")
    yield store
    await store.close()


def behind(vectors: VectorStore, model: Model) -> EmbeddingStore:
    return EmbeddingStore(vectors, FunctionEmbedder(model, name="lengths", batch_size=4))


async def send(queue: Queue, *texts: str) -> Partition:
    clock = RisingClock()
    partition = Partition("embeddings", partition_of(COLLECTION, queue.partitions))
    records = [embedding(clock, collection=COLLECTION, id=text, text=text) for text in texts]
    await Sender(queue, partition).push(*records)
    return partition


async def stored(vectors: VectorStore) -> list[str]:
    return [each.key for each in await vectors.walk_vectors(COLLECTION, None, 100)]


async def test_an_agent_sends_text_alone_and_it_is_found_by_what_it_is_about(
    queue: Queue, vectors: VectorStore
) -> None:
    async with Producer.from_env(
        {"PENSTOCK_REDIS_URL": queue.scripts.url, "PENSTOCK_NAMESPACE": queue.keys.namespace}
    ) as producer:
        producer.embedding(collection=COLLECTION, id="a", text="the water of the river", metadata={"lang": "en"})
        producer.embedding(collection=COLLECTION, id="b", text="an income tax return")
        producer.embedding(collection=COLLECTION, id="c", vector=[0.0] * 255 + [1.0], text="with a vector of its own")
        await producer.flush()

    embedder = HashingEmbedder(256)
    await drain_all(queue, EmbeddingStore(vectors, embedder))
    (asked,) = await embedder.embed(["river water"])
    hits = await vectors.search(COLLECTION, asked.tobytes(), 2)

    assert (hits[0].id, hits[0].text, hits[0].metadata) == ("a", "the water of the river", {"lang": "en"})
    assert hits[0].score > 0.5
    (own,) = await vectors.vectors(COLLECTION, ["c"])
    assert own.vector[-4:] == b"\x00\x00\x80\x3f"


async def test_a_refused_text_becomes_a_dead_letter_alone(queue: Queue, vectors: VectorStore, model: Model) -> None:
    await send(queue, *(f"text {number:02}" for number in range(10)), "bad", "last")

    await drain_all(queue, behind(vectors, model))
    (letter,) = [each async for each in dlq.list_letters(queue)]
    counts = await total(queue)

    assert len(await stored(vectors)) == 11
    assert (counts.stored, counts.dead, counts.pending) == (11, 1, 0)
    assert letter.reason == "model: status 400"
    assert sum("text 00" in texts for texts in model.asked) == 1


async def test_a_model_that_is_away_pauses_the_lane_and_buries_nothing(
    queue: Queue, vectors: VectorStore, model: Model
) -> None:
    model.away = True
    partition = await send(queue, "text")
    site = site_of(queue, behind(vectors, model))
    with pytest.raises(LanePaused, match="embeddings is paused: model: status 503"):
        await drain(site, partition)
    assert (await total(queue)).pending == 1

    model.away = False
    await drain_all(queue, behind(vectors, model))

    assert await stored(vectors) == ["text"]


async def test_without_an_embedder_a_text_waits_as_a_dead_letter_until_there_is_one(
    queue: Queue, vectors: VectorStore, model: Model
) -> None:
    await send(queue, "text")
    await drain_all(queue, vectors)
    (letter,) = [each async for each in dlq.list_letters(queue)]
    assert "set PENSTOCK_EMBEDDER" in letter.reason

    await dlq.replay(queue)
    await drain_all(queue, behind(vectors, model))

    assert await stored(vectors) == ["text"]


async def test_what_is_delivered_again_costs_no_model(queue: Queue, vectors: VectorStore, model: Model) -> None:
    store = behind(vectors, model)
    await send(queue, "text")
    await drain_all(queue, store)
    await send(queue, "text")
    await drain_all(queue, store)

    assert model.asked == [["text"]]


async def test_a_rehearsal_tells_what_would_become_of_a_text(vectors: VectorStore, model: Model) -> None:
    record = embedding(RisingClock(), collection=COLLECTION, id="a", text="text")

    (trial,) = await behind(vectors, model).rehearse([record])

    assert trial.is_new


async def test_a_rehearsal_tells_of_a_refused_text_alone(vectors: VectorStore, model: Model) -> None:
    clock = RisingClock()
    records = [embedding(clock, collection=COLLECTION, id=each, text=each) for each in ("a", "bad", "c", "d")]

    trials = await behind(vectors, model).rehearse(records)

    assert [(each.is_new, each.refusal) for each in trials] == [
        (True, None),
        (False, "model: status 400"),
        (True, None),
        (True, None),
    ]


async def test_a_dry_run_makes_vectors_as_the_workers_will(
    queue: Queue, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"lancedb:///{tmp_path}/vectors"
    store = open_lance(url)
    await store.setup()
    await send(queue, "text")
    await drain_all(queue, store)
    await store.close()
    place = ("--redis-url", queue.scripts.url, "--namespace", queue.keys.namespace, "--vector-url", url, "--json")

    without = await penstock(capsys, "dlq", "replay", "--dry-run", *place)
    monkeypatch.setenv("PENSTOCK_EMBEDDER", "hashing:64")
    with_one = await penstock(capsys, "dlq", "replay", "--dry-run", *place)

    assert (without.json()["stored"], without.json()["refused"]) == (0, 1)
    assert (with_one.json()["stored"], with_one.json()["refused"]) == (1, 0)


async def test_a_search_whose_embedder_is_away_names_its_setting(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENSTOCK_EMBEDDER", "http://127.0.0.1:1/v1?model=small")

    ran = await penstock(capsys, "query", "search", COLLECTION, "--text", "x", "--vector-url", "memory://")

    assert ran.code == Code.AWAY
    assert ran.err.endswith("; see PENSTOCK_EMBEDDER\n")


async def test_a_worker_takes_its_embedder_from_its_settings(tmp_path: Path) -> None:
    config = WorkerConfig(
        sql_url="memory://", vector_url="memory://", embedder="https://host/v1?model=small", embedder_key="sk-secret"
    )
    stores = Stores(config)
    store = await stores.of("embeddings")
    await stores.close()

    assert isinstance(store, EmbeddingStore)
    assert store.vectors.embedder.name == "small"


async def test_a_worker_process_embeds_into_lancedb(tmp_path: Path) -> None:
    with System.alone(tmp_path) as system:
        system.settings["PENSTOCK_EMBEDDER"] = "hashing:64"
        system.start_worker()
        async with system.producer() as producer:
            producer.embedding(collection=COLLECTION, id="a", text="the water of the river")
            await producer.flush(until="stored", timeout=30)
    store = open_lance(system.vector_url)
    found = await store.vectors(COLLECTION, ["a"])
    await store.close()

    assert len(found[0].vector) == 4 * 64


async def test_a_message_is_deleted_with_its_vector_where_that_is_said(tmp_path: Path) -> None:
    with System.alone(tmp_path) as system:
        system.settings["PENSTOCK_EMBEDDER"] = "hashing:64"
        system.start_worker()
        async with system.producer() as producer:
            for_good, row_alone = (
                producer.message(session_id="s", role="user", content=text, embed=COLLECTION) for text in ("a", "b")
            )
            producer.delete_message(for_good.id, session_id="s", embed=COLLECTION)
            producer.delete_message(row_alone.id, session_id="s")
            await producer.flush(until="stored", timeout=30)
        async with Reader.open(sql=system.sql_url, vectors=system.vector_url) as reader:
            rows = await reader.messages("s", include_deleted=True)
            vectors = await reader.vectors(COLLECTION, [for_good.id, row_alone.id])

    assert [row.id for row in rows.items] == [for_good.id, row_alone.id]
    assert [each and each.text for each in vectors] == [None, "b"]


async def test_a_store_that_is_used_directly_deletes_no_vectors() -> None:
    async with open_store("memory://") as store:
        with pytest.raises(InvalidRecord, match="only a producer sends vectors"):
            await store.delete_message(new_id(), session_id="s", embed=True)


async def test_a_reader_with_an_embedder_searches_for_texts(vectors: VectorStore, model: Model) -> None:
    embedder = FunctionEmbedder(model, name="lengths")
    await EmbeddingStore(vectors, embedder).write(
        [embedding(RisingClock(), collection=COLLECTION, id=text, text=text) for text in ("a", "long text")]
    )

    async with Reader.open(vectors=vectors, embedder=embedder) as reader:
        hits = await reader.search(COLLECTION, text="a", top_k=1)
        with pytest.raises(InvalidQuery, match="either vector= or text="):
            await reader.search(COLLECTION)
    async with Reader.open(vectors=vectors) as reader:
        with pytest.raises(InvalidQuery, match="set PENSTOCK_EMBEDDER"):
            await reader.search(COLLECTION, text="a")

    assert [hit.id for hit in hits] == ["a"]
