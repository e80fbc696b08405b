"""How the LanceDB store writes: new keys are appended, others merged, and no other writer is overlooked."""

from __future__ import annotations

import contextlib
import math
import random
import shutil
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import lancedb
import pytest
from structlog.testing import capture_logs

from penstock.stores.errors import DimensionMismatch
from penstock.stores.lancedb import LanceStore, keys, writing
from penstock.stores.lancedb import catalog as catalog_module
from penstock.stores.lancedb import store as store_module
from penstock.stores.lancedb.compaction import SMALL_FRAGMENTS
from penstock.stores.lancedb.store import COMMITS_PER_LOOK
from penstock.stores.lancedb.writing import MERGES_BEFORE_KEYS
from penstock.stores.preparing import Prepared
from penstock.testing.conformance.vector_records import deletion, embedding
from penstock.wire.records import Record
from tests.conformance.lance_reader import read_table


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[LanceStore]:
    store = LanceStore(tmp_path)
    yield store
    await store.close()


@pytest.fixture
async def other(tmp_path: Path) -> AsyncIterator[LanceStore]:
    """Another process, as far as the files can tell."""
    store = LanceStore(tmp_path)
    yield store
    await store.close()


@pytest.fixture
def merged(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many records each merge was given."""
    sizes: list[int] = []
    merge = writing._merge

    async def merge_and_tell(known: catalog_module.Collection, rows: Any) -> tuple[int, int]:
        sizes.append(rows.num_rows)
        return await merge(known, rows)

    monkeypatch.setattr(writing, "_merge", merge_and_tell)
    return sizes


def versions(folder: Path) -> dict[str, int]:
    return {key: row.version for key, row in read_table(folder, "docs").items()}


async def test_new_keys_are_appended_and_others_merged(store: LanceStore, merged: list[int]) -> None:
    assert await store.write([embedding("a"), embedding("b")]) == 2
    assert await store.write([embedding("c"), embedding("d")]) == 2
    assert merged == []

    assert await store.write([embedding("d", at_us=2), embedding("e"), embedding("a")]) == 2
    assert merged == [3]
    assert await store.write([embedding("f")]) == 1
    assert merged == [3]
    assert versions(store.folder) == {"a": 1, "b": 1, "c": 1, "d": 2, "e": 1, "f": 1}


async def test_a_table_that_is_there_is_merged_into_until_a_look_at_its_keys_pays(
    store: LanceStore, other: LanceStore, merged: list[int]
) -> None:
    await other.write([embedding("old")])

    for n in range(MERGES_BEFORE_KEYS + 3):
        await store.write([embedding(f"{n}")])
    assert len(merged) == MERGES_BEFORE_KEYS
    assert await store.write([embedding("old", at_us=2), embedding("0", at_us=2)]) == 2
    assert len(read_table(store.folder, "docs")) == MERGES_BEFORE_KEYS + 4


async def test_a_commit_of_another_process_is_seen_before_the_next_one(store: LanceStore, other: LanceStore) -> None:
    dice = random.Random(20)
    latest: dict[str, int] = {}
    for at_us in range(1, 61):
        writer = dice.choice([store, store, other])
        # New keys in the main, so that all of it is appends but for what has to be merged.
        batch = {f"k{dice.randrange(at_us, at_us + 4)}" for _ in range(3)}
        await writer.write([embedding(key, at_us=at_us) for key in sorted(batch)])
        latest |= dict.fromkeys(batch, at_us)

    assert versions(store.folder) == latest


async def test_keys_are_known_still_after_a_compaction_of_ones_own(store: LanceStore, merged: list[int]) -> None:
    for n in range(SMALL_FRAGMENTS + COMMITS_PER_LOOK):
        await store.write([embedding(f"{n}")])
    assert await store.write([embedding("0", at_us=2), embedding("new")]) == 2

    assert merged == [2]
    assert len(list((store.folder / "docs.lance" / "data").iterdir())) > SMALL_FRAGMENTS  # readers have them still
    assert len(versions(store.folder)) == SMALL_FRAGMENTS + COMMITS_PER_LOOK + 1


async def test_a_compaction_by_another_process_costs_no_row(store: LanceStore, other: LanceStore) -> None:
    for n in range(SMALL_FRAGMENTS):
        await store.write([embedding(f"{n}")])
    assert await other.tend("docs", 0)

    assert await store.write([embedding("0", at_us=2), embedding("new")]) == 2
    assert await store.count_vectors("docs") == SMALL_FRAGMENTS + 1


async def test_a_table_that_another_process_made_anew_is_not_taken_for_the_old_one(
    store: LanceStore, other: LanceStore
) -> None:
    await store.write([embedding("a")])
    shutil.rmtree(store.folder / "docs.lance")
    await other.write([embedding("b", 1, 2, 3)])

    assert await store.count_vectors("docs") == 1
    assert await store.write([embedding("b", 1, 2, 3), embedding("a", 1, 2, 3)]) == 1
    with pytest.raises(DimensionMismatch):
        await store.write([embedding("c")])
    assert sorted(read_table(store.folder, "docs")) == ["a", "b"]


async def test_deletions_of_new_keys_are_appended_too(store: LanceStore, merged: list[int]) -> None:
    await store.write([embedding("a")])
    await store.write([deletion("b", at_us=2), embedding("c")])
    assert merged == []
    await store.write([deletion("a", at_us=2), embedding("b"), embedding("c", at_us=3)])
    await store.write([embedding("d")])

    assert merged == [3]
    assert await store.count_vectors("docs") == 2
    assert await store.tend("docs", 3) == {"tombstones": 2}
    assert await store.write([embedding("a", at_us=4), embedding("e")]) == 2
    assert sorted(versions(store.folder)) == ["a", "c", "d", "e"]


async def test_more_keys_than_memory_may_hold_are_merged(
    store: LanceStore, other: LanceStore, merged: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog_module, "MAX_KEYS", 3)
    await store.write([embedding("a"), embedding("b")])
    await store.write([embedding("c")])
    assert merged == []

    for n in range(MERGES_BEFORE_KEYS + 2):
        await store.write([embedding(f"{n}")])
    assert len(merged) == MERGES_BEFORE_KEYS + 1  # the first one took what was kept beyond the limit


@pytest.mark.parametrize("ready", [False, True])
async def test_two_writers_that_get_past_the_lock_leave_each_key_once(
    store: LanceStore, other: LanceStore, monkeypatch: pytest.MonkeyPatch, ready: bool
) -> None:
    """Both know the keys (*ready*), or neither does: they append, or merge, what the other has just stored."""

    async def no_lock(*_: object) -> contextlib.ExitStack:
        return contextlib.ExitStack()

    await store.write([embedding("z")])
    for n in range(MERGES_BEFORE_KEYS + 1 if ready else 1):
        await other.write([embedding(f"other{n}")])
    monkeypatch.setattr(store_module, "lock_tables", no_lock)
    known = await other._catalog.find("docs")
    assert known is not None
    await store.write([embedding("a", at_us=2), embedding("b", at_us=2)])
    with capture_logs() as logs:
        part = writing.parts_of([embedding("a", at_us=3), embedding("b", at_us=1), embedding("c")])["docs"]
        await writing.commit(other._catalog, known, part, part.rows)

    assert [log["event"] for log in logs] == ["commit_without_lock_met"]
    found = versions(store.folder)
    assert (found["a"], found["b"], found["c"]) == (3, 2, 1)
    assert await other.write([embedding("a", at_us=4), embedding("d")]) == 2


async def test_prepared_records_are_written_as_others_are(store: LanceStore) -> None:
    records: list[Record] = [embedding("a", at_us=1), embedding("b"), embedding("a", at_us=2)]
    ready = await store.prepare(records)

    assert isinstance(ready, Prepared)
    assert ready == records
    assert type(ready[:2]) is list
    assert await store.write(ready) == 2
    assert await store.write(ready) == 0
    assert versions(store.folder) == {"a": 2, "b": 1}


@pytest.mark.parametrize("bad", [embedding("b", 1, 2, 3), embedding("b", math.nan, 1), embedding("\0")])
async def test_what_would_be_refused_comes_back_unprepared(store: LanceStore, bad: Record) -> None:
    records: list[Record] = [embedding("a"), bad]

    assert await store.prepare(records) is records


async def test_prepared_vectors_of_another_length_than_the_tables_are_refused(store: LanceStore) -> None:
    ready = await store.prepare([embedding("b", 1, 2, 3), embedding("a", collection="other")])
    await store.write([embedding("a")])

    with pytest.raises(DimensionMismatch, match=r"docs .* 2 numbers.* 3"):
        await store.write(ready)
    assert await store.collections() == ["docs"]


@pytest.mark.parametrize("seed", range(3))
def test_what_is_known_of_keys_is_what_a_set_knows(seed: int) -> None:
    dice = random.Random(seed)
    known = keys.Keys(keys.numbers_of([]))
    model: set[int] = set()
    for size in (0, 1, 5, 3, 200, 1, 1, 40, 700, 2):
        numbers = keys.numbers_of([f"{dice.randrange(1_000)}" for _ in range(size)])
        numbers = keys.numbers_of(list(_distinct(numbers.tolist())))
        fresh = known.new_of(numbers)

        assert fresh.tolist() == sorted(set(numbers.tolist()) - model)
        known.add(fresh)
        model |= set(numbers.tolist())
        assert len(known) == len(model)


def _distinct(numbers: Iterable[int]) -> Iterable[str]:
    return (f"{number}" for number in set(numbers))


async def test_the_keys_of_a_table_are_read_whole(store: LanceStore, tmp_path: Path) -> None:
    names = [f"k{n}" for n in range(3_000)]
    await store.write([embedding(name) for name in names])
    table = await (await lancedb.connect_async(tmp_path)).open_table("docs")

    known = await keys.keys_of(table)
    assert len(known) == 3_000
    assert not len(known.new_of(keys.numbers_of(names)))
    assert len(known.new_of(keys.numbers_of(["k0", "new"]))) == 1
