"""Which collections upkeep tends, and when it stops."""

from __future__ import annotations

from collections import Counter

import pytest

from penstock.stores.errors import StoreError, StoreRejected, StoreUnavailable
from penstock.stores.memory.vectors import MemoryVectors, open_vector
from penstock.testing.conformance.vector_records import deletion, embedding
from penstock.worker.tending import tend_all
from penstock.worker.upkeep import go_on


async def test_every_collection_that_is_due_is_tended() -> None:
    store = open_vector("memory://")
    await store.write([embedding(key, collection=name) for name in "xyz" for key in "ab"])
    await store.write([deletion("a", collection=name) for name in "xz"])

    done: Counter[str] = Counter()
    await tend_all(store, 3, go_on, done)

    assert done == {"tombstones": 2}
    assert [await store.is_due(name) for name in "xyz"] == [False] * 3


async def test_a_run_stops_after_the_collection_that_was_its_last_and_the_next_one_goes_on() -> None:
    store = open_vector("memory://")
    await store.write([embedding(key, collection=name) for name in "xy" for key in "ab"])
    await store.write([deletion("a", collection=name) for name in "xy"])

    async def stop(_: float) -> bool:
        return False

    done: Counter[str] = Counter()
    await tend_all(store, 3, stop, done)
    assert done == {"tombstones": 1}
    await tend_all(store, 3, stop, done)
    assert done == {"tombstones": 2}


class _OneIll(MemoryVectors):
    """Cannot look at `x`."""

    def __init__(self, why: StoreError) -> None:
        super().__init__()
        self._why = why

    async def is_due(self, collection: str) -> bool:
        if collection == "x":
            raise self._why
        return await super().is_due(collection)


@pytest.mark.parametrize("why", [StoreUnavailable("x is locked"), StoreRejected("x was not made by Penstock")])
async def test_a_collection_that_cannot_be_tended_holds_up_no_other(why: StoreError) -> None:
    store = _OneIll(why)
    await store.write([embedding(key, collection=name) for name in "xy" for key in "ab"])
    await store.write([deletion("a", collection=name) for name in "xy"])

    done: Counter[str] = Counter()
    with pytest.raises(type(why), match=r"^x "):
        await tend_all(store, 3, go_on, done)

    assert done == {"tombstones": 1}
