"""The contract of a vector store. Every backend passes every test here, unchanged.

A backend's test class gives a fixture `store`, set up and closed after the test, that searches by cosine unless asked
otherwise, and `stored`, which reads a collection without using the store.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.stores.errors import DimensionMismatch, StoreRejected
from penstock.stores.vector_contract import VectorStore
from penstock.testing.conformance.filter_strategies import objects
from penstock.testing.conformance.vector_deletions import VectorDeletionConformance
from penstock.testing.conformance.vector_records import MESSAGE, Row, embedding, examples, floats, fresh_collection
from penstock.testing.conformance.vector_searching import VectorSearchConformance
from penstock.wire.ids import new_id
from penstock.wire.records import Embedding

__all__ = ["Row", "VectorStoreConformance"]


class VectorStoreConformance(VectorDeletionConformance, VectorSearchConformance):
    """Every vector store passes every test here, unchanged."""

    async def test_what_is_written_is_stored_value_by_value(self, store: VectorStore) -> None:
        metadata = {"n": 1, "f": 0.1, "b": True, "none": None, "list": [1, "a"], "deep": {"x": {"y": "z"}}}

        written = await store.write([embedding("a", 0.25, -2.5, at_us=7, text="hello", metadata=metadata)])

        assert written == 1
        assert await self.stored(store, "docs") == {"a": Row([0.25, -2.5], "hello", metadata, 7)}

    async def test_writing_nothing_is_allowed(self, store: VectorStore) -> None:
        assert await store.write([]) == 0

    async def test_a_repeated_write_changes_nothing(self, store: VectorStore) -> None:
        batch = [embedding("a", text="one"), embedding("b", 0.5, 0.5)]
        await store.write(batch)
        before = await self.stored(store, "docs")

        assert await store.write(batch) == 0
        assert await self.stored(store, "docs") == before

    async def test_a_rehearsal_tells_what_would_be_taken_and_changes_nothing(self, store: VectorStore) -> None:
        await store.write([embedding("it's", at_us=5)])
        wrong, foreign = embedding("c", 1, 2, 3), MESSAGE
        infinite, empty = embedding("d", math.inf, 0), embedding("e")._replace(vector=b"")

        known = [embedding("it's", at_us=5), embedding("it's", at_us=6), embedding("it's", at_us=6), embedding("b")]
        trials = await store.rehearse([*known, wrong, infinite, empty, foreign])

        assert [each.is_new for each in trials] == [False, True, False, True, False, False, False, False]
        assert [each.refusal is None for each in trials] == [True] * 4 + [False] * 4
        assert "3" in (trials[4].refusal or "")
        assert [row.version for row in (await self.stored(store, "docs")).values()] == [5]

    async def test_a_rehearsal_lets_the_first_vector_fix_the_dimension_and_makes_no_collection(
        self, store: VectorStore
    ) -> None:
        trials = await store.rehearse([embedding("a", 1, 2, 3), embedding("b", 1, 2)])

        assert [each.refusal is None for each in trials] == [True, False]
        assert await store.collections() == []

    async def test_a_later_embedding_replaces_an_earlier_one_whole(self, store: VectorStore) -> None:
        await store.write([embedding("a", 1, 0, at_us=1, text="old", metadata={"old": 1})])

        assert await store.write([embedding("a", 0, 1, at_us=2)]) == 1
        assert await self.stored(store, "docs") == {"a": Row([0, 1], None, {}, 2)}

    async def test_an_earlier_embedding_never_replaces_a_later_one(self, store: VectorStore) -> None:
        await store.write([embedding("a", at_us=5, text="new")])

        assert await store.write([embedding("a", at_us=4, text="late"), embedding("b", at_us=4)]) == 1
        rows = await self.stored(store, "docs")
        assert (rows["a"].text, rows["a"].version) == ("new", 5)

    @given(deliveries=st.lists(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 4)), max_size=4), max_size=4))
    @examples(15)
    async def test_any_order_of_delivery_keeps_the_latest_of_each_key(
        self, store: VectorStore, deliveries: list[list[tuple[int, int]]]
    ) -> None:
        collection = fresh_collection()
        latest: dict[str, int] = {}
        for batch in deliveries:
            await store.write([embedding(f"k{key}", 1, v, collection=collection, at_us=v) for key, v in batch])
            for key, version in batch:
                latest[f"k{key}"] = max(version, latest.get(f"k{key}", 0))

        rows = await self.stored(store, collection)
        assert {key: row.version for key, row in rows.items()} == latest
        assert all(row.vector == [1, row.version] for row in rows.values())

    @pytest.mark.parametrize("there", [False, True])
    async def test_a_key_twice_in_a_batch_is_stored_once_at_its_latest(self, store: VectorStore, there: bool) -> None:
        if there:
            await store.write([embedding("a", at_us=1)])

        await store.write([embedding("a", at_us=v, text=f"v{v}") for v in (2, 9, 3)] + [embedding("b")])
        rows = await self.stored(store, "docs")
        assert sorted(rows) == ["a", "b"]
        assert (rows["a"].text, rows["a"].version) == ("v9", 9)

    async def test_several_collections_in_a_batch_go_each_to_its_own(self, store: VectorStore) -> None:
        batch = [embedding("same", n, collection=name) for n, name in ((1, "one"), (2, "Two.x"), (3, "3-y_z"))]

        assert await store.write(batch) == 3
        assert [(await self.stored(store, name))["same"].vector for name in ("one", "Two.x", "3-y_z")] == [
            [1],
            [2],
            [3],
        ]
        assert list(await store.collections()) == ["3-y_z", "Two.x", "one"]

    async def test_a_collections_first_vector_fixes_its_dimension(self, store: VectorStore) -> None:
        await store.write([embedding("a", 1, 2, 3)])

        with pytest.raises(DimensionMismatch, match=r"docs .* 3 numbers.* 2"):
            await store.write([embedding("b", 1, 2, 3), embedding("c", 1, 2), embedding("d", 1, collection="other")])
        assert sorted(await self.stored(store, "docs")) == ["a"]
        assert await self.stored(store, "other") == {}

    async def test_two_dimensions_in_a_first_batch_create_nothing(self, store: VectorStore) -> None:
        with pytest.raises(DimensionMismatch, match=r"1 numbers.* 2"):
            await store.write([embedding("a", 1), embedding("b", 1, 2)])

        assert await self.stored(store, "docs") == {}
        assert await store.write([embedding("b", 1, 2)]) == 1

    async def test_a_record_that_is_no_embedding_is_refused(self, store: VectorStore) -> None:
        with pytest.raises(StoreRejected, match="Message"):
            await store.write([embedding("a"), MESSAGE])

        assert await self.stored(store, "docs") == {}

    @pytest.mark.parametrize("bad", [math.nan, math.inf])
    async def test_a_vector_that_is_not_finite_is_refused(self, store: VectorStore, bad: float) -> None:
        with pytest.raises(StoreRejected, match="finite"):
            await store.write([embedding("a"), embedding("odd", 1, bad), embedding("b", collection="other")])

        assert await self.stored(store, "docs") == await self.stored(store, "other") == {}

    async def test_a_vector_of_no_numbers_is_refused(self, store: VectorStore) -> None:
        with pytest.raises(StoreRejected, match="no vector"):
            await store.write([embedding("a"), embedding("empty")._replace(vector=b"")])

        assert await self.stored(store, "docs") == {}

    @pytest.mark.parametrize(
        "fields",
        [
            {"collection": "../outside"},
            {"collection": "a/../../outside"},
            {"collection": ""},
            {"collection": "x" * 300},
            {"vector": b"12345"},
            {"key": "secret\0"},
            {"text": "secret\0"},
            {"metadata": b'{"a":"secret'},
            {"metadata": b"\xffsecret"},
            {"metadata": b'["secret"]'},
            {"created_at_us": 2**63},
            {"created_at_us": -1},
        ],
        ids=repr,
    )
    async def test_what_no_builder_makes_is_refused_and_no_value_is_quoted(
        self, store: VectorStore, fields: dict[str, Any]
    ) -> None:
        bad = embedding("secret", text="secret", metadata={"secret": "secret"})._replace(**fields)
        for batch in ([bad], [embedding("a"), bad]):
            with pytest.raises(StoreRejected) as caught:
                await store.write(batch)
            assert "secret" not in str(caught.value)

        (trial,) = await store.rehearse([bad])
        assert trial.refusal == str(caught.value)
        assert await store.collections() == []

    async def test_any_text_and_key_come_back_as_they_were(self, store: VectorStore) -> None:
        keys = ["naïve", "日本語", "🙂" * 40, 'it\'s "q" \\ / \n\t;--', " lead", "%_", "\u2028\ufffd\u200f", "A", "a"]
        await store.write([embedding(key, text=key * 2, metadata={key: [key]}) for key in keys])

        rows = await self.stored(store, "docs")
        assert {key: (row.text, row.metadata) for key, row in rows.items()} == {k: (k * 2, {k: [k]}) for k in keys}
        hits = await store.search("docs", floats(1, 0), 100)
        assert {hit.id: (hit.text, hit.metadata) for hit in hits} == {k: (k * 2, {k: [k]}) for k in keys}

    @given(documents=st.lists(objects, max_size=6))
    @examples(20)
    async def test_any_metadata_comes_back_equal(self, store: VectorStore, documents: list[dict[str, Any]]) -> None:
        collection = fresh_collection()
        batch = [embedding(f"{n}", collection=collection, metadata=each) for n, each in enumerate(documents)]
        await store.write(batch)

        hits = await store.search(collection, floats(1, 0), 10)
        assert {hit.id: hit.metadata for hit in hits} == {f"{n}": each for n, each in enumerate(documents)}

    async def test_missing_text_is_none_and_missing_metadata_is_empty(self, store: VectorStore) -> None:
        await store.write([embedding("a"), embedding("b", text="", metadata={})])

        hits = {hit.id: hit for hit in await store.search("docs", floats(1, 0), 2)}
        assert (hits["a"].text, hits["a"].metadata) == (None, {})
        assert (hits["b"].text, hits["b"].metadata) == ("", {})

    async def test_an_unknown_collection_holds_nothing(self, store: VectorStore) -> None:
        assert list(await store.search("nowhere", floats(1, 0), 5)) == []
        assert await store.count_vectors("nowhere") == 0
        assert list(await store.collections()) == []

    async def test_counts_are_of_keys_and_not_of_writes(self, store: VectorStore) -> None:
        for version in (1, 2, 3):
            await store.write([embedding("a", at_us=version), embedding(f"b{version}")])

        assert await store.count_vectors("docs") == 4

    @pytest.mark.parametrize("turns", range(12))
    async def test_a_cancelled_write_is_all_or_nothing_and_leaves_the_store_usable(
        self, store: VectorStore, turns: int
    ) -> None:
        write = asyncio.create_task(store.write([embedding("a"), embedding("b")]))
        for _ in range(turns):
            await asyncio.sleep(0)
        write.cancel()
        await asyncio.wait([write])

        await store.write([embedding("c")])
        assert sorted(await self.stored(store, "docs")) in (["c"], ["a", "b", "c"])

    async def test_concurrent_writes_are_all_stored_once(self, store: VectorStore) -> None:
        async with asyncio.TaskGroup() as group:
            for n in range(8):
                batch: Sequence[Embedding] = [embedding("same", at_us=n), embedding(f"own{n}", at_us=n)]
                group.create_task(store.write(batch))

        rows = await self.stored(store, "docs")
        assert sorted(rows) == [*(f"own{n}" for n in range(8)), "same"]
        assert rows["same"].version == 7

    async def test_reads_go_on_while_writes_run(self, store: VectorStore) -> None:
        await store.write([embedding("a")])

        async with asyncio.TaskGroup() as group:
            writes = [group.create_task(store.write([embedding(f"{n}", at_us=n)])) for n in range(5)]
            reads = [group.create_task(store.search("docs", floats(1, 0), 50)) for _ in range(5)]
        assert sum(write.result() for write in writes) == 5
        assert all(1 <= len(read.result()) <= 6 for read in reads)

    async def test_a_vector_store_has_no_partial_messages(self, store: VectorStore) -> None:
        assert await store.partials([new_id()]) == {}

    async def test_setup_again_keeps_what_is_stored(self, store: VectorStore) -> None:
        await store.write([embedding("a")])

        await store.setup()
        await store.check()
        assert sorted(await self.stored(store, "docs")) == ["a"]

    async def test_closing_twice_is_harmless(self, store: VectorStore) -> None:
        await store.write([embedding("a")])

        await store.close()
        await store.close()
