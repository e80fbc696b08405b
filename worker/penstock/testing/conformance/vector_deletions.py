"""What a vector store forgets: vectors by deletions, which leave tombstones, and whole collections."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.stores.errors import StoreRejected, StoreUnavailable
from penstock.stores.vector_contract import VectorStore
from penstock.testing.conformance.vector_records import (
    Row,
    VectorSubject,
    deletion,
    embedding,
    examples,
    floats,
    fresh_collection,
)
from penstock.wire.records import VectorRecord


class VectorDeletionConformance(VectorSubject):
    """Part of `VectorStoreConformance`."""

    async def test_a_deleted_vector_is_gone_and_its_neighbours_are_there(self, store: VectorStore) -> None:
        await store.write([embedding("a", text="secret"), embedding("b"), embedding("a", collection="other")])

        assert await store.write([deletion("a")]) == 1
        assert sorted(await self.stored(store, "docs")) == ["b"]
        assert sorted(await self.stored(store, "other")) == ["a"]
        for metric in store.capabilities.metrics:
            assert [hit.id for hit in await store.search("docs", floats(1, 0), 5, None, metric)] == ["b"]
        assert [each.id for each in await store.vectors("docs", ["a", "b"])] == ["b"]
        assert await store.count_vectors("docs") == 1

    async def test_a_deletion_again_changes_nothing(self, store: VectorStore) -> None:
        await store.write([embedding("a"), embedding("b")])
        await store.write([gone := deletion("a")])

        assert await store.write([gone]) == 0
        assert sorted(await self.stored(store, "docs")) == ["b"]

    async def test_what_is_older_than_its_deletion_does_not_come_back(self, store: VectorStore) -> None:
        await store.write([embedding("a", at_us=1), embedding("b")])
        await store.write([deletion("a", at_us=5)])

        assert await store.write([embedding("a", at_us=1)]) == await store.write([embedding("a", at_us=4)]) == 0
        assert sorted(await self.stored(store, "docs")) == ["b"]

    async def test_a_deletion_that_comes_first_keeps_out_what_is_older(self, store: VectorStore) -> None:
        await store.write([embedding("b")])
        await store.write([deletion("a", at_us=5)])

        assert await store.write([embedding("a", at_us=4)]) == 0
        assert sorted(await self.stored(store, "docs")) == ["b"]

    async def test_a_later_embedding_stands_there_again(self, store: VectorStore) -> None:
        await store.write([embedding("a", at_us=1, text="old"), embedding("b")])
        await store.write([deletion("a", at_us=5)])

        assert await store.write([embedding("a", 0, 1, at_us=6, text="new")]) == 1
        assert (await self.stored(store, "docs"))["a"] == Row([0, 1], "new", {}, 6)
        assert await store.count_vectors("docs") == 2

    async def test_a_late_deletion_leaves_what_was_created_after_it(self, store: VectorStore) -> None:
        await store.write([embedding("a", at_us=6)])

        assert await store.write([deletion("a", at_us=5)]) == 0
        assert sorted(await self.stored(store, "docs")) == ["a"]

    @pytest.mark.parametrize("turned", [False, True])
    async def test_embedding_and_deletion_in_one_batch_end_at_the_later(self, store: VectorStore, turned: bool) -> None:
        batch: list[VectorRecord] = [embedding("a", at_us=1), deletion("a", at_us=2), deletion("b", at_us=1)]
        batch += [embedding("b", at_us=2), embedding("c")]
        await store.write(batch[::-1] if turned else batch)

        assert sorted(await self.stored(store, "docs")) == ["b", "c"]
        assert await store.write([embedding("a", at_us=1)]) == 0

    async def test_a_deletion_where_there_is_no_collection_makes_none(self, store: VectorStore) -> None:
        assert await store.write([deletion("a"), embedding("a", collection="other")]) == 1

        assert list(await store.collections()) == ["other"]
        assert await store.write([embedding("a", 1, 2, 3)]) == 1

    @given(
        deliveries=st.lists(
            st.lists(st.tuples(st.integers(0, 2), st.integers(1, 5), st.booleans()), max_size=4), max_size=4
        )
    )
    @examples(20)
    async def test_any_order_of_embeddings_and_deletions_ends_at_the_latest_of_each_key(
        self, store: VectorStore, deliveries: list[list[tuple[int, int, bool]]]
    ) -> None:
        """What has an even version is a deletion."""
        collection = fresh_collection()
        await store.write([embedding("first", 1, 0, collection=collection)])
        latest: dict[str, int] = {}
        for batch in deliveries:
            keys = [(f"k{key}", version) for key, version, _ in batch]
            await store.write(
                [
                    embedding(key, 1, version, collection=collection, at_us=version)
                    if version % 2
                    else deletion(key, collection=collection, at_us=version)
                    for key, version in keys
                ]
            )
            for key, version in keys:
                latest[key] = max(version, latest.get(key, 0))

        there = {key: version for key, version in latest.items() if version % 2} | {"first": 1}
        assert {key: row.version for key, row in (await self.stored(store, collection)).items()} == there
        assert await store.count_vectors(collection) == len(there)

    async def test_a_rehearsal_tells_what_deletions_would_come_to(self, store: VectorStore) -> None:
        await store.write([embedding("a", at_us=5)])

        trials = await store.rehearse(
            [
                deletion("a", at_us=5),
                deletion("a", at_us=6),
                deletion("a", at_us=6),
                embedding("a", at_us=6),
                deletion("new"),
                deletion("a", collection="nowhere"),
            ]
        )
        assert [each.is_new for each in trials] == [False, True, False, False, True, False]
        assert [each.refusal for each in trials] == [None] * 6
        assert sorted(await self.stored(store, "docs")) == ["a"]

    @pytest.mark.parametrize(
        "fields", [{"collection": "../secret"}, {"key": "secret\0"}, {"created_at_us": -1}], ids=repr
    )
    async def test_a_deletion_that_no_builder_makes_is_refused(
        self, store: VectorStore, fields: dict[str, Any]
    ) -> None:
        await store.write([embedding("a")])

        with pytest.raises(StoreRejected) as caught:
            await store.write([embedding("b"), deletion("secret")._replace(**fields)])
        assert "secret" not in str(caught.value)
        assert sorted(await self.stored(store, "docs")) == ["a"]

    async def test_upkeep_removes_the_tombstones_that_are_old_enough(self, store: VectorStore) -> None:
        await store.write([embedding(key) for key in "abc"])
        await store.write([deletion("a", at_us=5), deletion("b", at_us=9)])
        before = await store.shape("docs")
        assert before is not None
        assert (before.vectors, before.tombstones) == (1, 2)

        done = await store.tend("docs", 9)
        after = await store.shape("docs")
        assert after is not None
        assert done["tombstones"] == 1
        assert (after.vectors, after.tombstones) == (1, 1)
        assert await store.write([embedding("b", at_us=8)]) == 0
        assert sorted(await self.stored(store, "docs")) == ["c"]

    async def test_upkeep_of_what_is_in_order_does_nothing(self, store: VectorStore) -> None:
        await store.write([embedding(key) for key in "abc"])
        await store.tend("docs", 9)

        assert not await store.is_due("docs")
        assert dict(await store.tend("docs", 9)) == {}
        assert sorted(await self.stored(store, "docs")) == ["a", "b", "c"]

    async def test_two_upkeeps_at_once_beside_writes_and_reads_are_harmless(self, store: VectorStore) -> None:
        await store.write([embedding(f"{n}", 1, n) for n in range(10)])
        await store.write([deletion(f"{n}") for n in range(5)])

        _, _, written, hits = await asyncio.gather(
            store.tend("docs", 9),
            store.tend("docs", 9),
            store.write([embedding("new", at_us=9), deletion("9", at_us=9)]),
            store.search("docs", floats(1, 0), 20),
        )
        assert written == 2
        assert {f"{n}" for n in range(5, 9)} <= {hit.id for hit in hits} <= {"9", "new", *(f"{n}" for n in range(5, 9))}
        assert sorted(await self.stored(store, "docs")) == ["5", "6", "7", "8", "new"]
        shape = await store.shape("docs")
        assert shape is not None
        assert (shape.vectors, shape.tombstones) == (5, 1)

    async def test_an_unknown_collection_has_no_shape_and_needs_no_upkeep(self, store: VectorStore) -> None:
        assert await store.shape("nowhere") is None
        assert not await store.is_due("nowhere")
        assert dict(await store.tend("nowhere", 9)) == {}
        assert not await store.drop("nowhere")
        assert list(await store.collections()) == []

    async def test_a_dropped_collection_is_gone_and_may_come_again_with_another_dimension(
        self, store: VectorStore
    ) -> None:
        await store.write([embedding("a", at_us=5), embedding("b"), embedding("a", collection="other")])
        await store.write([deletion("b", at_us=9)])

        assert await store.drop("docs")
        assert await self.stored(store, "docs") == {}
        assert list(await store.search("docs", floats(1, 0), 5)) == []
        assert await store.count_vectors("docs") == 0
        assert list(await store.collections()) == ["other"]
        assert not await store.drop("docs")
        assert await store.write([embedding("a", 1, 2, 3, at_us=1), embedding("b", 3, 2, 1, at_us=1)]) == 2
        assert [hit.id for hit in await store.search("docs", floats(1, 2, 3), 5)] == ["a", "b"]
        assert sorted(await self.stored(store, "other")) == ["a"]

    async def test_a_collection_dropped_while_it_is_written_is_gone_or_made_anew(self, store: VectorStore) -> None:
        await store.write([embedding(f"{n}") for n in range(20)])

        work = [store.write([embedding(f"{m}", 1, n, at_us=n + 2) for m in range(20)]) for n in range(6)]
        work.insert(3, store.drop("docs"))
        ended = await asyncio.gather(*work, return_exceptions=True)
        assert [each for each in ended if isinstance(each, BaseException) and type(each) is not StoreUnavailable] == []
        rows = await self.stored(store, "docs")
        assert len(rows) in (0, 20)
        await store.write([embedding("again", at_us=99)])
        assert (await self.stored(store, "docs"))["again"].version == 99
