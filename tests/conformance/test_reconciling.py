"""Rows and vectors of the same records: what one store lacks is found, and sent again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.embedding.hashing import HashingEmbedder
from penstock.embedding.store import EmbeddingStore
from penstock.moving.reconciling import Finding, findings, repair
from penstock.producer import BufferFull, Producer
from penstock.query import Reader
from penstock.stores.contract import SqlStore
from penstock.stores.memory import open_sql as open_memory
from penstock.stores.memory import open_vector
from penstock.stores.sqlite import open_sql
from penstock.stores.vector_contract import VectorStore
from penstock.wire import companions
from penstock.wire.building import message
from penstock.wire.errors import InvalidRecord, RecordTooLarge
from penstock.wire.frames import encode
from penstock.wire.ids import RisingClock, wall_clock_us
from penstock.wire.queue import Queue
from penstock.wire.records import MAX_RECORD_BYTES, Embedding, EmbeddingDeletion, VectorRecord
from penstock.wire.text import load_object
from penstock.worker.drain import drain
from tests.system.drain_support import site_of


class Both:
    """A SQL store and a vector store, with a producer whose records go into one, the other, or both."""

    def __init__(self, queue: Queue, producer: Producer, sql: SqlStore, vectors: VectorStore) -> None:
        self.queue = queue
        self.producer = producer
        self.sql = sql
        self.vectors = vectors
        self._embedding = EmbeddingStore(vectors, HashingEmbedder(16))

    async def drain(self, *, without: str = "") -> None:
        """Store what was sent; the records of the lane *without* are lost."""
        await self.producer.flush()
        for partition in self.queue.all_partitions():
            if not await self.queue.read(partition, 1):
                continue
            store: Any = self._embedding if partition.lane == "embeddings" else self.sql
            if partition.lane == without:
                store = EmbeddingStore(open_vector("memory://"), HashingEmbedder(16))
                store = store if without == "embeddings" else open_memory("memory://")
            await drain(site_of(self.queue, store), partition)

    async def found(self, collection: str = "messages", before_us: int | None = None) -> list[Finding]:
        until = wall_clock_us() + 60_000_000 if before_us is None else before_us
        return [each async for each in findings(self.sql, self.sql, self.vectors, collection, until)]

    async def repaired(self, collection: str = "messages") -> list[Finding]:
        """What is still found once everything was repaired."""

        async def each() -> AsyncIterator[Finding]:
            for one in await self.found(collection):
                yield one

        await repair(each(), self.producer)
        await self.drain()
        return await self.found(collection)

    async def walked(self, collection: str = "messages") -> list[VectorRecord]:
        return list(await self.vectors.walk_vectors(collection, None, 100))


@pytest.fixture
async def both(queue: Queue, tmp_path: Path) -> AsyncIterator[Both]:
    sql, vectors = open_sql(f"sqlite:///{tmp_path}/p.db?synchronous=NORMAL"), open_vector("memory://")
    await sql.setup()
    environment = {"PENSTOCK_REDIS_URL": queue.scripts.url, "PENSTOCK_NAMESPACE": queue.keys.namespace}
    async with Producer.from_env(environment) as producer:
        yield Both(queue, producer, sql, vectors)
    await sql.close()


def kinds(found: list[Finding]) -> list[tuple[str, str]]:
    return sorted((each.lacks, each.of) for each in found)


async def test_a_message_and_a_document_go_into_both_stores(both: Both) -> None:
    sent = both.producer.message(
        session_id="s", role="user", content="water", metadata={"n": 1}, user_id="ada", embed=True
    )
    both.producer.document(collection="guides", id="g-1", text="pumps", metadata={"lang": "en"}, embed=True)
    both.producer.message(session_id="s", role="user", content="not embedded")
    both.producer.document(collection="guides", id="g-2", text="not embedded")
    await both.drain()

    async with Reader.open(sql=both.sql, vectors=both.vectors, embedder=HashingEmbedder(16)) as reader:
        (hit,) = await reader.search("messages", text="water")
        (guide,) = await reader.search("guides", text="pumps", where={"lang": "en"})
        row, document = await reader.message(hit.id), await reader.document("guides", "g-1")

    assert (hit.id, hit.text) == (sent.id, "water")
    assert hit.metadata == {
        "n": 1, "session_id": "s", "role": "user", "user_id": "ada", "embedded_from": "message"
    }  # fmt: skip
    assert row is not None
    assert row.metadata == {"n": 1, "embedded_in": "messages"}
    assert (guide.id, guide.metadata) == ("g-1", {"lang": "en", "embedded_from": "document"})
    assert document is not None
    assert (document.text, document.metadata, document.embedded) == ("pumps", {"lang": "en"}, True)
    assert await both.found() == await both.found("guides") == []


async def test_a_vector_that_is_lacking_is_made_again(both: Both) -> None:
    both.producer.message(session_id="s", role="user", content="water", embed="notes")
    both.producer.document(collection="notes", id="d", text="fire", embed=True)
    await both.drain(without="embeddings")

    assert kinds(await both.found("notes")) == [("vector", "document"), ("vector", "message")]
    assert await both.repaired("notes") == []
    assert {each.text for each in await both.walked("notes") if isinstance(each, Embedding)} == {"water", "fire"}


@pytest.mark.parametrize("lane", ["messages", "state"])
async def test_a_row_that_is_lacking_is_made_of_its_vector(both: Both, lane: str) -> None:
    sent = both.producer.message(
        session_id="s", role="user", content="water", metadata={"n": 1}, thread_id="t", embed=True
    )
    both.producer.document(collection="messages", id="d", text="fire", metadata={"n": 2}, embed=True)
    await both.drain(without=lane)

    assert kinds(await both.found()) == [("row", "message" if lane == "messages" else "document")]
    assert await both.repaired() == []
    async with Reader.open(sql=both.sql) as reader:
        row, document = await reader.message(sent.id), await reader.document("messages", "d")
    assert row is not None
    assert (row.content, row.session_id, row.role, row.thread_id) == ("water", "s", "user", "t")
    assert row.metadata == {"n": 1, "embedded_in": "messages"}
    assert document is not None
    assert (document.text, document.metadata) == ("fire", {"n": 2})


@pytest.mark.parametrize("how", ["message", "session"])
async def test_the_vector_of_a_deleted_message_is_deleted_and_nothing_comes_back(both: Both, how: str) -> None:
    sent = both.producer.message(session_id="s", role="user", content="water", embed=True)
    await both.drain()
    if how == "message":
        both.producer.delete_message(sent.id, session_id="s")
    else:
        both.producer.delete_session("s")
    await both.drain()

    assert kinds(await both.found()) == [("deletion", "message")]
    assert await both.repaired() == []
    assert [type(each) for each in await both.walked()] == [EmbeddingDeletion]


async def test_a_deleted_document_takes_its_vector_along(both: Both) -> None:
    both.producer.document(collection="notes", id="d", text="fire", embed=True)
    await both.drain()
    both.producer.delete_document(collection="notes", id="d")
    await both.drain(without="embeddings")

    assert kinds(await both.found("notes")) == [("deletion", "document")]
    assert await both.repaired("notes") == []
    assert await both.vectors.count_vectors("notes") == 0


async def test_a_vector_of_an_older_text_is_made_again(both: Both) -> None:
    both.producer.document(collection="notes", id="d", text="fire", embed=True)
    await both.drain()
    both.producer.document(collection="notes", id="d", text="water", embed=True)
    await both.drain(without="embeddings")

    assert kinds(await both.found("notes")) == [("vector", "document")]
    assert await both.repaired("notes") == []
    (vector,) = await both.walked("notes")
    assert isinstance(vector, Embedding)
    assert vector.text == "water"


@pytest.mark.parametrize(("lost", "lack"), [("embeddings", "vector"), ("state", "row")])
async def test_a_document_that_was_sent_again_after_its_deletion_is_made_whole(
    both: Both, lost: str, lack: str
) -> None:
    both.producer.document(collection="notes", id="d", text="fire", embed=True)
    await both.drain()
    both.producer.delete_document(collection="notes", id="d")
    await both.drain()
    both.producer.document(collection="notes", id="d", text="water", embed=True)
    await both.drain(without=lost)

    assert kinds(await both.found("notes")) == [(lack, "document")]
    assert await both.repaired("notes") == []
    (vector,) = await both.walked("notes")
    assert isinstance(vector, Embedding)
    assert vector.text == "water"


async def test_a_message_newer_than_the_deletion_of_its_vector_gets_one_again(both: Both) -> None:
    sent = both.producer.message(session_id="s", role="user", content="water", embed=True)
    await both.drain(without="messages")
    both.producer.delete_embedding(collection="messages", id=sent.id)
    await both.drain()
    both.producer.message(session_id="s", role="user", content="water", id=sent.id, embed=True)
    await both.drain(without="embeddings")

    assert kinds(await both.found()) == [("vector", "message")]


async def test_metadata_with_the_name_of_a_field_does_not_stop_a_repair(both: Both) -> None:
    sent = both.producer.message(
        session_id="s", role="user", content="water", metadata={"user_id": 42, "platform": {"os": "x"}}, embed=True,
        created_at=datetime(1972, 1, 1, tzinfo=UTC),
    )  # fmt: skip
    both.producer.embedding(
        collection="messages", id="copy", text="water", metadata={"embedded_from": "message", "session_id": "s"}
    )
    await both.drain(without="messages")

    assert await both.repaired() == []
    async with Reader.open(sql=both.sql) as reader:
        row = await reader.message(sent.id)
    assert row is not None
    assert row.metadata == {"user_id": 42, "platform": {"os": "x"}, "embedded_in": "messages"}
    assert row.user_id is None


async def test_a_call_that_raises_for_its_vector_has_taken_nothing(both: Both) -> None:
    room = MAX_RECORD_BYTES - len(encode(message(RisingClock(), session_id="s", role="user", content="")))
    with pytest.raises(RecordTooLarge):
        both.producer.message(session_id="s", role="user", content="x" * (room - 60), embed=True)
    with pytest.raises(InvalidRecord, match="a mapping is needed"):
        both.producer.document(collection="notes", id="d", text="x", metadata=[1])  # type: ignore[arg-type]
    await both.producer.flush()

    assert [each for each in both.queue.all_partitions() if await both.queue.read(each, 1)] == []


async def test_what_a_strategy_leaves_out_has_no_vector_either(both: Both) -> None:
    environment = {
        "PENSTOCK_REDIS_URL": both.queue.scripts.url,
        "PENSTOCK_NAMESPACE": both.queue.keys.namespace,
        "PENSTOCK_STRATEGY": "minimal",
        "PENSTOCK_STRATEGY_AT": "producer",
    }
    async with Producer.from_env(environment) as producer:
        producer.message(session_id="s", role="tool", content="water", embed=True)
        producer.message(session_id="s", role="user", content="fire", embed=True)
    await both.drain()

    assert [each.text for each in await both.walked() if isinstance(each, Embedding)] == ["fire"]


async def test_a_row_that_was_taken_is_told_as_taken_though_its_vector_has_no_room(both: Both) -> None:
    environment = {
        "PENSTOCK_REDIS_URL": both.queue.scripts.url,
        "PENSTOCK_NAMESPACE": both.queue.keys.namespace,
        "PENSTOCK_BUFFER_RECORDS": "1",
        "PENSTOCK_OVERFLOW": "raise",
    }
    async with Producer.from_env(environment) as producer:
        producer.message(session_id="s", role="user", content="water", embed=True)
        with pytest.raises(BufferFull):
            producer.message(session_id="s", role="user", content="fire", embed=True)
    await both.drain()

    assert kinds(await both.found()) == [("vector", "message")]
    assert await both.repaired() == []


async def test_a_vector_that_was_deleted_by_itself_stays_deleted(both: Both) -> None:
    sent = both.producer.message(session_id="s", role="user", content="water", embed=True)
    await both.drain()
    both.producer.delete_embedding(collection="messages", id=sent.id)
    await both.drain()

    assert await both.found() == []


async def test_a_vector_that_was_sent_by_itself_is_not_looked_at(both: Both) -> None:
    both.producer.embedding(collection="messages", id="own", vector=[1.0] * 16, text="own")
    await both.drain()

    assert await both.found() == []


async def test_what_is_younger_is_left_to_come(both: Both) -> None:
    before_us = wall_clock_us()
    both.producer.message(session_id="s", role="user", content="water", embed=True)
    both.producer.document(collection="messages", id="d", text="fire", embed=True)
    await both.drain(without="embeddings")

    assert await both.found(before_us=before_us) == []
    assert len(await both.found()) == 2


async def test_documents_are_compared_wherever_they_are_kept(both: Both, tmp_path: Path) -> None:
    both.producer.document(collection="notes", id="d", text="fire", embed=True)
    await both.drain(without="state")
    from penstock.stores.registry import key_value_store  # noqa: PLC0415

    values = key_value_store(f"dbm:///{tmp_path}/values")
    await values.setup()
    lacking = [each async for each in findings(both.sql, values, both.vectors, "notes", wall_clock_us())]
    await values.close()

    assert kinds(lacking) == [("row", "document")]


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"content": None}, "needs a text"),
        ({"content": "x", "embed": "../etc"}, "A-Z a-z 0-9"),
        ({"content": "x", "metadata": {"embedded_in": "other"}}, "written by embed="),
        ({"content": "x", "metadata": [1]}, "a mapping is needed"),
    ],
)
async def test_what_cannot_be_embedded_is_refused_at_the_call(both: Both, fields: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidRecord, match=told):
        both.producer.message(session_id="s", role="user", **{"embed": True, **fields})
    with pytest.raises(InvalidRecord, match="needs a text"):
        both.producer.document(collection="notes", id="d", text="", embed=True)

    assert await both.walked() == []


@given(
    st.dictionaries(st.text(max_size=5), st.integers(-5, 5) | st.text(max_size=5), max_size=4),
    st.dictionaries(st.sampled_from(sorted(companions._TEXT_FIELDS)), st.text(min_size=1, max_size=5), max_size=3),
)
def test_a_message_is_made_of_its_vector_and_the_other_way_round(
    metadata: dict[str, Any], fields: dict[str, str]
) -> None:
    own = {name: value for name, value in metadata.items() if name not in companions._OURS | {"embedded_in"}}
    known = companions.noted(own, "notes")
    sent = message(RisingClock(), session_id="s", role="user", content="text", metadata=known, **fields)
    vector = companions.vector_of_message(sent)

    assert vector is not None
    assert vector.collection == "notes"
    again = companions.message_of_vector(vector)
    assert load_object(again.metadata) == load_object(sent.metadata)
    assert again._replace(metadata=None) == sent._replace(metadata=None)


def test_what_was_not_noted_has_no_vector_beside_it() -> None:
    assert companions.vector_of_message(message(RisingClock(), session_id="s", role="user", content="text")) is None
