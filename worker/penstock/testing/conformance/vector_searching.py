"""What a vector store answers: the nearest by each metric it has, filters, vectors by key, all of them by key."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.stores.errors import DimensionMismatch, StoreRejected, Unsupported
from penstock.stores.filters import FilterError, parse
from penstock.stores.metrics import METRICS, Metric, scorer
from penstock.stores.predicate import predicate
from penstock.stores.vector_contract import VectorStore
from penstock.testing.conformance.filter_strategies import filters, objects
from penstock.testing.conformance.vector_records import (
    VectorSubject,
    deletion,
    embedding,
    examples,
    floats,
    fresh_collection,
)
from penstock.wire.records import Embedding, VectorRecord

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class VectorSearchConformance(VectorSubject):
    """Part of `VectorStoreConformance`."""

    @given(vectors=st.lists(st.tuples(*[st.integers(-9, 9)] * 3), min_size=1, max_size=12))
    @examples(15)
    async def test_search_gives_the_scores_of_each_metric_best_first(
        self, store: VectorStore, vectors: list[tuple[int, int, int]]
    ) -> None:
        collection, wanted = fresh_collection(), floats(3, -1, 2)
        batch = [embedding(f"{n}", *each, collection=collection) for n, each in enumerate(vectors)]
        await store.write(batch)

        assert "cosine" in store.capabilities.metrics
        for metric in store.capabilities.metrics:
            score = scorer(metric, wanted)
            hits = await store.search(collection, wanted, len(vectors) + 3, metric=metric)
            expected = {each.key: value for each in batch if (value := score(each.vector)) is not None}
            assert {hit.id: hit.score for hit in hits} == pytest.approx(expected, rel=1e-4, abs=1e-4)
            assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)

    async def test_without_a_metric_the_stores_own_is_taken(self, store: VectorStore) -> None:
        await store.write([embedding("far", 9, 1), embedding("near", 1, 1)])

        plain, named = [await store.search("docs", floats(1, 1), 2, metric=metric) for metric in (None, "cosine")]
        assert [hit.id for hit in plain] == ["near", "far"]
        assert plain == named

    @pytest.mark.parametrize("metric", [*METRICS, "hamming"])
    async def test_a_metric_that_the_store_has_not_is_refused(self, store: VectorStore, metric: Metric) -> None:
        await store.write([embedding("a", 1, 0), embedding("b", 5, 5)])

        if metric in store.capabilities.metrics:
            assert len(await store.search("docs", floats(1, 0), 5, metric=metric)) == 2
        else:
            with pytest.raises(Unsupported, match=rf"{metric}.*cosine"):
                await store.search("docs", floats(1, 0), 5, metric=metric)

    async def test_the_metrics_rank_by_what_they_say(self, store: VectorStore) -> None:
        await store.write([embedding("long", 8, 4), embedding("near", 1, 1), embedding("same way", 2, 0)])

        best: dict[Metric, str] = {"cosine": "same way", "dot": "long", "l2": "near"}
        for metric in store.capabilities.metrics:
            (hit,) = await store.search("docs", floats(1, 0), 1, {}, metric)
            assert (metric, hit.id) == (metric, best[metric])

    async def test_vectors_of_one_score_come_by_key(self, store: VectorStore) -> None:
        await store.write([embedding(key, 1, 2) for key in "dbeac"])

        assert [hit.id for hit in await store.search("docs", floats(1, 2), 9)] == [*"abcde"]

    async def test_search_gives_the_nearest_top_k(self, store: VectorStore) -> None:
        await store.write([embedding(f"{n}", math.cos(n / 10), math.sin(n / 10)) for n in range(30)])

        assert [hit.id for hit in await store.search("docs", floats(1, 0), 3)] == ["0", "1", "2"]
        assert len(await store.search("docs", floats(1, 0), 500)) == 30
        assert list(await store.search("docs", floats(1, 0), 0)) == []

    async def test_a_filter_goes_before_the_choice_of_the_nearest(self, store: VectorStore) -> None:
        await store.write([embedding(f"{n}", 1, n, metadata={"n": n}) for n in range(50)])

        hits = await store.search("docs", floats(1, 0), 2, {"n": {"$gte": 40}})
        assert [hit.id for hit in hits] == ["40", "41"]

    async def test_a_filter_on_a_field_that_nothing_has_finds_nothing_or_all(self, store: VectorStore) -> None:
        await store.write([embedding(f"{n}", 1, n, metadata={"n": n}) for n in range(5)])

        wheres: list[tuple[dict[str, Any], int]] = [
            ({"other": "x"}, 0),
            ({"n": 1, "other": {"$gt": 0}}, 0),
            ({"n.deeper": 1}, 0),
            ({"other": {"$ne": "x"}}, 5),
            ({"other": {"$exists": False}}, 5),
        ]
        for where, count in wheres:
            assert len(await store.search("docs", floats(1, 0), 9, where)) == count, where

    @given(documents=st.lists(objects, min_size=1, max_size=8), wheres=st.lists(filters, min_size=1, max_size=5))
    @examples(25)
    async def test_a_filter_means_what_the_predicate_says(
        self, store: VectorStore, documents: list[dict[str, Any]], wheres: list[dict[str, Any]]
    ) -> None:
        collection = fresh_collection()
        batch = [embedding(f"{n}", collection=collection, metadata=each) for n, each in enumerate(documents)]
        await store.write([*batch, embedding("bare", collection=collection)])

        for where in wheres:
            holds = predicate(parse(where))
            hits = await store.search(collection, floats(1, 0), 100, where)
            expected = {f"{n}" for n, each in enumerate(documents) if holds(each)} | ({"bare"} if holds({}) else set())
            assert {hit.id for hit in hits} == expected, where

    async def test_a_malformed_filter_is_refused_whatever_the_collection(self, store: VectorStore) -> None:
        with pytest.raises(FilterError, match=r"\$gtt.*known are"):
            await store.search("nowhere", floats(1), 1, {"n": {"$gtt": 1}})

    async def test_a_query_of_another_length_is_refused(self, store: VectorStore) -> None:
        await store.write([embedding("a", 1, 2, 3)])

        with pytest.raises(DimensionMismatch, match=r"3 numbers.* 2"):
            await store.search("docs", floats(1, 0), 1)

    async def test_a_vector_without_direction_is_stored_but_never_near(self, store: VectorStore) -> None:
        await store.write([embedding("zero", 0, 0), embedding("a", 1, 0)])

        assert sorted(await self.stored(store, "docs")) == ["a", "zero"]
        assert [hit.id for hit in await store.search("docs", floats(1, 0), 5)] == ["a"]
        assert list(await store.search("docs", floats(0, 0), 5)) == []

    @pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
    async def test_a_query_that_is_not_finite_is_refused(self, store: VectorStore, bad: float) -> None:
        await store.write([embedding("a", 1, 0)])

        with pytest.raises(StoreRejected, match="finite"):
            await store.search("docs", floats(1, bad), 1)

    async def test_vectors_are_read_by_key_bit_by_bit(self, store: VectorStore) -> None:
        numbers = (0.1, -0.0, 3.4028234663852886e38, 1e-45, -7.25)
        at_us = 1_767_225_600_000_001
        await store.write(
            [embedding("a", *numbers, at_us=at_us, text="t", metadata={"n": [1]}), embedding("b", *numbers)]
        )

        (found,) = await store.vectors("docs", ["a", "nowhere", "a"])
        assert (found.id, found.vector, found.text, found.metadata) == ("a", floats(*numbers), "t", {"n": [1]})
        assert found.created_at == _EPOCH + timedelta(microseconds=at_us)

    async def test_of_many_keys_those_are_read_that_are_there(self, store: VectorStore) -> None:
        await store.write([embedding(f"it's {n}", n + 1) for n in range(40)])

        found = await store.vectors("docs", [f"it's {n}" for n in range(2_100)])
        assert {each.id: each.vector for each in found} == {f"it's {n}": floats(n + 1) for n in range(40)}
        assert list(await store.vectors("docs", [])) == []
        assert list(await store.vectors("nowhere", ["a"])) == []

    async def test_a_walk_gives_every_record_once_by_key(self, store: VectorStore) -> None:
        keys = ["", " lead", "A", "a", "aa", "it's", "\u00ef", "\uffee", "\U0001f642"][1:]
        written: list[VectorRecord] = [
            embedding(key, 1, n, at_us=n + 1, text=key, metadata={"n": n} if n % 2 else None)
            for n, key in enumerate(keys)
        ]
        await store.write([*written, embedding("gone", 1, 1)])
        await store.write([gone := deletion("gone", at_us=99)])

        walked: list[VectorRecord] = []
        while page := await store.walk_vectors("docs", walked[-1].key if walked else None, 3):
            assert len(page) <= 3
            walked += page
        assert [_contents(each) for each in walked] == [
            _contents(each) for each in sorted([*written, gone], key=lambda each: each.key)
        ]
        assert list(await store.walk_vectors("nowhere", None, 3)) == []


def _contents(record: VectorRecord) -> tuple[Any, ...]:
    """What a store must keep of a record. Its id, and how its JSON was written, it need not."""
    if not isinstance(record, Embedding):
        return (type(record), record.collection, record.key, record.created_at_us)
    metadata = orjson.loads(record.metadata or b"{}")
    return (Embedding, record.collection, record.key, record.created_at_us, record.vector, record.text, metadata)
