"""The LanceDB store passes the contract; what is its own beside it: URLs, foreign tables, compaction."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import lancedb
import pyarrow as pa
import pytest

from penstock.stores.errors import BadStoreURL, StoreRejected, StoreUnavailable
from penstock.stores.lancedb import LanceStore, open_vector
from penstock.stores.lancedb.columns import SCHEMA_VERSION, schema
from penstock.stores.lancedb.compaction import FEW_FRAGMENTS, SMALL_FRAGMENTS
from penstock.stores.lancedb.store import COMMITS_PER_LOOK
from penstock.stores.vector_contract import VectorStore
from penstock.testing.conformance.vector_records import Row, deletion, embedding, floats
from tests.conformance.lance_reader import read_table
from tests.conformance.replay_contract import VectorReplayConformance


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[LanceStore]:
    store = open_vector(f"lancedb:///{tmp_path / 'vectors'}")
    await store.setup()
    yield store
    await store.close()


class TestLanceStore(VectorReplayConformance):
    async def stored(self, store: VectorStore, collection: str) -> dict[str, Row]:
        assert isinstance(store, LanceStore)
        return read_table(store.folder, collection)


@pytest.mark.parametrize(
    ("url", "folder"),
    [
        ("lancedb:///./data/vectors", "data/vectors"),
        ("lancedb:///data", "data"),
        ("lancedb:////var/lib/x%20y", "/var/lib/x y"),
    ],
)
def test_the_url_names_a_folder(url: str, folder: str) -> None:
    assert open_vector(url).folder == Path(folder)


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        ("lancedb://", "lancedb:///relative"),
        ("lancedb://host/data", "lancedb:///relative"),
        ("lancedb+s3://bucket/data", "local folder"),
    ],
)
def test_a_url_without_a_local_folder_is_refused_with_the_remedy(url: str, remedy: str) -> None:
    with pytest.raises(BadStoreURL, match=remedy):
        open_vector(url)


async def test_a_folder_that_was_never_set_up_is_unavailable(tmp_path: Path) -> None:
    store = LanceStore(tmp_path / "missing")

    with pytest.raises(StoreUnavailable, match="missing"):
        await store.write([embedding("a")])
    with pytest.raises(StoreUnavailable, match="missing"):
        await store.check()
    assert not (tmp_path / "missing").exists()


async def test_a_folder_that_goes_away_is_unavailable_and_not_empty(store: LanceStore, tmp_path: Path) -> None:
    await store.write([embedding("a")])
    store.folder.rename(tmp_path / "elsewhere")

    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="moved, or unmounted"):
            await store.search("docs", floats(1, 0), 1)

    (tmp_path / "elsewhere").rename(store.folder)
    assert [hit.id for hit in await store.search("docs", floats(1, 0), 1)] == ["a"]


async def test_setup_where_a_file_lies_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(StoreUnavailable, match="file"):
        await LanceStore(tmp_path / "file").setup()


async def test_a_closed_store_is_unavailable(store: LanceStore) -> None:
    await store.close()

    with pytest.raises(StoreUnavailable, match="closed"):
        await store.write([embedding("a")])


async def test_metadata_that_is_no_json_is_refused_and_its_batch_is_not_written(store: LanceStore) -> None:
    await store.write([embedding("before")])

    with pytest.raises(StoreRejected, match="JSON"):
        await store.write([embedding("a"), embedding("b")._replace(metadata=b"{broken")])
    with pytest.raises(StoreRejected, match="UTF-8"):
        await store.write([embedding("a"), embedding("b")._replace(metadata=b"\xff")])
    assert sorted(read_table(store.folder, "docs")) == ["before"]


async def test_a_table_of_somebody_else_is_refused(store: LanceStore) -> None:
    lancedb.connect(store.folder).create_table("docs", pa.table({"id": ["a"], "vector": [[1.0, 2.0]]}))

    with pytest.raises(StoreRejected, match="not made by Penstock"):
        await store.write([embedding("a")])
    with pytest.raises(StoreRejected, match="not made by Penstock"):
        await store.search("docs", floats(1, 0), 1)


async def test_a_table_of_a_newer_penstock_is_refused(store: LanceStore) -> None:
    newer = schema(2).with_metadata({"penstock_schema": str(SCHEMA_VERSION + 1)})
    lancedb.connect(store.folder).create_table("docs", schema=newer)

    with pytest.raises(StoreRejected, match="upgrade"):
        await store.write([embedding("a")])


async def test_a_table_removed_underneath_is_made_anew(store: LanceStore) -> None:
    await store.write([embedding("a")])
    shutil.rmtree(store.folder / "docs.lance")

    assert await store.write([embedding("b")]) == 1
    assert sorted(read_table(store.folder, "docs")) == ["b"]


async def test_an_open_reader_sees_what_another_store_writes(store: LanceStore) -> None:
    reader = LanceStore(store.folder)
    await store.write([embedding("a")])
    assert await reader.count_vectors("docs") == 1

    await store.write([embedding("b")])
    assert await reader.count_vectors("docs") == 2
    assert len(await reader.search("docs", floats(1, 0), 5)) == 2
    await reader.close()


async def test_an_open_reader_follows_a_collection_that_is_dropped_and_made_anew(store: LanceStore) -> None:
    reader = LanceStore(store.folder)
    await store.write([embedding("a"), embedding("b")])
    assert await reader.count_vectors("docs") == 2

    await store.drop("docs")
    assert await reader.count_vectors("docs") == 0
    await store.write([embedding("c", 1, 2, 3)])
    assert [hit.id for hit in await reader.search("docs", floats(1, 2, 3), 5)] == ["c"]
    await reader.close()


async def test_what_a_removal_left_that_was_cut_short_goes_at_the_next_start(store: LanceStore) -> None:
    await store.write([embedding("a")])
    (store.folder / "docs.lance").rename(store.folder / "docs.0123.dropped")

    assert await store.collections() == []
    await LanceStore(store.folder).setup()
    assert [path.name for path in store.folder.iterdir()] == ["docs.lock"]


async def test_a_table_from_before_deletions_takes_them(store: LanceStore) -> None:
    await store.write([embedding("a", at_us=1), embedding("b", at_us=1)])
    reader = LanceStore(store.folder)
    assert await reader.count_vectors("docs") == 2

    assert await store.write([deletion("a", at_us=2), embedding("b", 0, 1, at_us=3)]) == 2
    for each in (store, reader, LanceStore(store.folder)):
        assert [hit.id for hit in await each.search("docs", floats(0, 1), 5, metric="dot")] == ["b"]
        assert await each.count_vectors("docs") == 1


async def test_a_table_of_many_small_commits_is_compacted_while_it_is_written(store: LanceStore) -> None:
    for n in range(SMALL_FRAGMENTS + COMMITS_PER_LOOK):
        await store.write([embedding(f"{n}", 1, n, metadata={"n": n})])

    stats: Any = lancedb.connect(store.folder).open_table("docs").stats()
    assert stats["fragment_stats"]["num_fragments"] <= COMMITS_PER_LOOK + 1
    rows = read_table(store.folder, "docs")
    assert {key: row.metadata for key, row in rows.items()} == {
        f"{n}": {"n": n} for n in range(SMALL_FRAGMENTS + COMMITS_PER_LOOK)
    }


async def test_a_collection_of_few_fragments_is_left_alone(store: LanceStore) -> None:
    await store.write([embedding("a")])

    assert await store.is_due("docs") is False
    assert await store.tend("docs", 9) == {}


async def test_upkeep_compacts_what_another_process_wrote(store: LanceStore) -> None:
    for n in range(FEW_FRAGMENTS):
        writer = LanceStore(store.folder)
        await writer.write([embedding(f"{n}")])
        await writer.close()

    assert await store.is_due("docs") is True
    assert await store.tend("docs", 9) == {"fragments": FEW_FRAGMENTS - 1}
    assert await store.is_due("docs") is False
    assert await store.tend("docs", 9) == {}
    assert len(read_table(store.folder, "docs")) == FEW_FRAGMENTS
