"""The contract of texts that are found by what they are about, over any vector store.

A test class gives a fixture `store`, a vector store that is set up and closed after the test.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from penstock.direct.semantic import SemanticStore
from penstock.embedding.hashing import HashingEmbedder
from penstock.stores.errors import DimensionMismatch
from penstock.stores.vector_contract import VectorStore
from penstock.wire.errors import InvalidRecord

NOTES = [
    ("rain", "It rained on the mountains all night."),
    ("pump", "The pump of turbine four is broken."),
    ("lunch", "We had soup for lunch."),
]


class SemanticConformance:
    """Every vector store passes every test here, unchanged."""

    @pytest.fixture
    async def texts(self, store: VectorStore) -> AsyncIterator[SemanticStore]:
        async with SemanticStore(store, HashingEmbedder(128)) as texts:
            yield texts

    async def test_the_text_that_is_nearest_comes_first_with_its_id_and_score(self, texts: SemanticStore) -> None:
        await texts.add("notes", NOTES)

        hits = await texts.search("notes", "is the pump broken?")

        assert hits[0].id == "pump"
        assert hits[0].text == "The pump of turbine four is broken."
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
        assert len(hits) == 3

    async def test_a_text_under_an_id_that_is_there_replaces_it(self, texts: SemanticStore) -> None:
        await texts.add("notes", NOTES)
        await texts.add("notes", [("pump", "A new boat was bought.")])

        (hit,) = await texts.search("notes", "boat", top_k=1)

        assert (hit.id, hit.text) == ("pump", "A new boat was bought.")

    async def test_deleted_texts_are_not_found(self, texts: SemanticStore) -> None:
        await texts.add("notes", NOTES)
        await texts.delete("notes", ["pump", "never there"])

        assert {hit.id for hit in await texts.search("notes", "pump")} == {"rain", "lunch"}

    async def test_a_deleted_table_holds_nothing_and_begins_anew(self, texts: SemanticStore) -> None:
        await texts.add("notes", NOTES)

        assert await texts.delete_table("notes")
        assert not await texts.delete_table("notes")
        assert await texts.search("notes", "pump") == []
        await texts.add("notes", NOTES[:1])
        assert [hit.id for hit in await texts.search("notes", "rain")] == ["rain"]

    async def test_tables_are_kept_apart(self, texts: SemanticStore) -> None:
        await texts.add("notes", NOTES)
        await texts.add("others", [("rain", "Other rain.")])
        await texts.delete("others", ["rain"])

        assert len(await texts.search("notes", "rain")) == 3

    async def test_metadata_narrows_a_search(self, texts: SemanticStore) -> None:
        await texts.add("notes", NOTES[:1], metadata={"day": 1})
        await texts.add("notes", NOTES[1:], metadata={"day": 2})

        hits = await texts.search("notes", "rain", where={"day": {"$gt": 1}})

        assert {hit.id for hit in hits} == {"pump", "lunch"}

    async def test_a_text_that_no_store_takes_is_refused_before_any_is_written(self, texts: SemanticStore) -> None:
        with pytest.raises(InvalidRecord, match="a text that a worker makes one of"):
            await texts.add("notes", [("fine", "fine"), ("empty", "")])

        assert await texts.search("notes", "fine") == []

    async def test_another_model_needs_another_table(self, texts: SemanticStore, store: VectorStore) -> None:
        await texts.add("notes", NOTES)
        other = SemanticStore(store, HashingEmbedder(64))

        with pytest.raises(DimensionMismatch, match="another model needs another collection"):
            await other.add("notes", [("new", "new")])
        with pytest.raises(DimensionMismatch):
            await other.search("notes", "rain")
