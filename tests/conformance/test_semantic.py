"""Texts over the vector stores of this process; the others pass the same class where their own tests are."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from penstock.direct.semantic import open_semantic
from penstock.producer import Producer
from penstock.stores.lancedb import open_vector as open_lance
from penstock.stores.memory import open_vector as open_memory
from penstock.stores.vector_contract import VectorStore
from penstock.testing.conformance.semantic import SemanticConformance
from penstock.wire.errors import InvalidRecord
from penstock.wire.queue import Queue
from penstock.wire.settings import InvalidSetting


class TestTextsInMemory(SemanticConformance):
    @pytest.fixture
    async def store(self) -> AsyncIterator[VectorStore]:
        store = open_memory("memory://")
        yield store
        await store.close()


class TestTextsInLanceDB(SemanticConformance):
    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[VectorStore]:
        store = open_lance(f"lancedb:///{tmp_path}/vectors")
        yield store
        await store.close()


async def test_one_id_in_place_of_a_list_is_refused() -> None:
    async with open_semantic("memory://", "hashing:8") as texts:
        await texts.add("notes", [("a", "water"), ("ab", "fire")])
        with pytest.raises(InvalidRecord, match="a list of ids is needed"):
            await texts.delete("notes", "ab")

        assert {hit.id for hit in await texts.search("notes", "fire")} == {"a", "ab"}


async def test_a_store_of_texts_is_opened_by_its_url_and_its_embedders_name(tmp_path: Path) -> None:
    async with open_semantic(f"lancedb:///{tmp_path}/vectors", "hashing:32") as texts:
        await texts.add("notes", [("a", "water")])
        (hit,) = await texts.search("notes", "water")

    assert (hit.id, hit.text) == ("a", "water")
    with pytest.raises(InvalidSetting, match="known are openai:"):
        open_semantic("memory://", "no such model")


async def test_write_behind_hands_over_and_a_worker_stores(queue: Queue) -> None:
    environment = {"PENSTOCK_REDIS_URL": queue.scripts.url, "PENSTOCK_NAMESPACE": queue.keys.namespace}
    async with Producer.from_env(environment) as producer:
        async with open_semantic("memory://", "hashing:32", producer=producer) as texts:
            await texts.add("notes", [("a", "water"), ("b", "fire")])
            await texts.delete("notes", ["b"])
            stored = await texts.search("notes", "water")
        await producer.flush()

    accepted = sum(counts.accepted for counts in (await queue.counts()).values())
    assert stored == []
    assert accepted == 3
