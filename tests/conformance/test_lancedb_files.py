"""What the LanceDB store does with its files: locks between processes, syncs, and repair after a power loss."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import timedelta
from pathlib import Path

import lancedb
import pytest
from structlog.testing import capture_logs

from penstock.stores.errors import StoreUnavailable
from penstock.stores.lancedb import LanceStore, columns, durability
from penstock.stores.lancedb import store as store_module
from penstock.stores.lancedb.compaction import FEW_FRAGMENTS, READER_LIFETIME, lifetime
from penstock.stores.lancedb.locks import lock_tables
from penstock.stores.lancedb.repair import MAX_TORN, is_whole, newest_manifest
from penstock.testing.conformance.vector_records import embedding
from tests.conformance.lance_reader import read_table

WRITES = 25
KEYS = 20


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[LanceStore]:
    store = LanceStore(tmp_path)
    yield store
    await store.close()


def write_the_same_keys(folder: Path) -> int:
    """What each of the two processes does."""
    return asyncio.run(_write_the_same_keys(folder))


async def _write_the_same_keys(folder: Path) -> int:
    store = LanceStore(folder)
    changed = 0
    for n in range(WRITES):
        changed += await store.write([embedding(f"k{key}", 1, n, at_us=n + 1) for key in range(KEYS)])
    await store.close()
    return changed


def test_two_processes_that_write_the_same_keys_store_each_once(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")  # Lance does not survive a fork
    with ProcessPoolExecutor(2, mp_context=spawn) as pool:
        changed = list(pool.map(write_the_same_keys, [tmp_path] * 2))

    rows = read_table(tmp_path, "docs")
    assert {key: row.version for key, row in rows.items()} == {f"k{key}": WRITES for key in range(KEYS)}
    assert WRITES * KEYS <= sum(changed) < 2 * WRITES * KEYS


async def test_a_write_waits_for_the_lock_no_longer_than_its_deadline(tmp_path: Path) -> None:
    store = LanceStore(tmp_path, lock_timeout_s=0.02)
    with await lock_tables(tmp_path, ["docs"], 0):
        with pytest.raises(StoreUnavailable, match=r"docs\.lock"):
            await store.write([embedding("a")])
        assert await store.write([embedding("a", collection="other")]) == 1

    assert await store.write([embedding("a")]) == 1
    await store.close()


async def test_a_write_cancelled_while_it_waits_for_the_lock_writes_nothing(store: LanceStore) -> None:
    with await lock_tables(store.folder, ["docs"], 0):
        write = asyncio.create_task(store.write([embedding("a")]))
        await asyncio.sleep(0)
        write.cancel()
        await asyncio.wait([write])

    with await lock_tables(store.folder, ["docs"], 0):
        assert read_table(store.folder, "docs") == {}


async def test_a_cancelled_write_keeps_its_lock_until_its_commit_has_ended(store: LanceStore) -> None:
    write = asyncio.create_task(store.write([embedding(f"{n}") for n in range(500)]))
    while not store._running:
        await asyncio.sleep(0)
    write.cancel()
    await asyncio.wait([write])

    with pytest.raises(StoreUnavailable, match="another writer"):
        await lock_tables(store.folder, ["docs"], 0)
    await store.close()
    with await lock_tables(store.folder, ["docs"], 0):
        assert len(read_table(store.folder, "docs")) == 500


async def test_a_write_that_fails_after_its_caller_was_cancelled_is_logged(store: LanceStore) -> None:
    await store.write([embedding("a")])
    (store.folder / "docs.lance").rename(store.folder / "gone")
    (store.folder / "docs.lance").touch()

    write = asyncio.create_task(store.write([embedding("b")]))
    while not store._running:
        await asyncio.sleep(0)
    write.cancel()
    with capture_logs() as logs:
        await store.close()

    assert [log["event"] for log in logs] == ["cancelled_write_failed"]


async def test_batches_of_the_same_collections_in_any_order_do_not_wait_for_each_other(store: LanceStore) -> None:
    names = ["x", "y", "z"]
    async with asyncio.TaskGroup() as group:
        for n in range(6):
            turned = names[n % 3 :] + names[: n % 3]
            group.create_task(store.write([embedding(f"{n}", collection=name) for name in turned]))

    assert [await store.count_vectors(name) for name in names] == [6, 6, 6]


async def test_a_write_returns_after_its_commit_was_synced(store: LanceStore, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []

    def sync_and_tell(table: Path) -> None:
        synced.append(_newest(store.folder).name)
        durability.sync_table(table)

    monkeypatch.setattr(store_module, "sync_table", sync_and_tell)
    for key in "ab":
        await store.write([embedding(key)])

    assert len(set(synced)) == 2
    assert synced[-1] == _newest(store.folder).name


async def test_a_disk_that_fails_the_sync_is_unavailable_and_the_write_can_be_repeated(
    store: LanceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Path) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(store_module, "sync_table", fail)
        with pytest.raises(StoreUnavailable, match="Input/output"):
            await store.write([embedding("a")])

    await store.write([embedding("a"), embedding("b")])
    assert sorted(read_table(store.folder, "docs")) == ["a", "b"]


async def test_every_file_can_be_synced_where_the_system_has_no_syncfs(
    store: LanceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.write([embedding("a")])
    await store.write([embedding("a", at_us=2)])
    synced: set[Path] = set()
    fsync = durability._fsync

    def fsync_and_tell(path: Path) -> None:
        fsync(path)
        synced.add(path)

    monkeypatch.setattr(durability, "_syncfs", None)
    monkeypatch.setattr(durability, "_fsync", fsync_and_tell)
    durability.sync_table(store.folder / "docs.lance")

    table = store.folder / "docs.lance"
    assert synced == {store.folder, table, *table.rglob("*")}


def _cut_to_nothing(manifest: Path) -> None:
    manifest.write_bytes(b"")


def _cut_in_half(manifest: Path) -> None:
    manifest.write_bytes(manifest.read_bytes()[: manifest.stat().st_size // 2])


def _fill_with_zeros(manifest: Path) -> None:
    manifest.write_bytes(bytes(manifest.stat().st_size))


def _lose_a_data_file(manifest: Path) -> None:
    _newest_data_file(manifest).unlink()


def _cut_a_data_file(manifest: Path) -> None:
    _newest_data_file(manifest).write_bytes(b"")


def _newest_data_file(manifest: Path) -> Path:
    return max((manifest.parent.parent / "data").iterdir(), key=lambda path: path.stat().st_mtime_ns)


damages = pytest.mark.parametrize(
    "damage", [_cut_to_nothing, _cut_in_half, _fill_with_zeros, _lose_a_data_file, _cut_a_data_file]
)


async def _write_and_damage(folder: Path, keys: str, damage: Callable[[Path], None]) -> None:
    """A process that writes each key, and loses its power in the last commit."""
    store = LanceStore(folder)
    for key in keys:
        await store.write([embedding(key)])
    await store.close()
    damage(_newest(folder))


@damages
async def test_a_torn_commit_is_put_aside_and_can_be_written_again(
    store: LanceStore, damage: Callable[[Path], None]
) -> None:
    await _write_and_damage(store.folder, "abc", damage)

    with capture_logs() as logs:
        assert await store.count_vectors("docs") == 2
    assert [(log["event"], log["collection"]) for log in logs] == [("torn_commit_put_aside", "docs")]
    assert Path(logs[0]["file"]).exists()
    assert await store.write([embedding("b"), embedding("c")]) == 1
    assert sorted(read_table(store.folder, "docs")) == ["a", "b", "c"]


@damages
async def test_a_torn_first_commit_leaves_no_collection(store: LanceStore, damage: Callable[[Path], None]) -> None:
    await _write_and_damage(store.folder, "a", damage)

    assert await store.count_vectors("docs") == 0
    assert await store.write([embedding("a", 1, 2, 3)]) == 1
    assert sorted(read_table(store.folder, "docs")) == ["a"]


async def test_damage_that_no_power_loss_explains_is_left_for_a_person(store: LanceStore) -> None:
    await _write_and_damage(store.folder, "abcdefgh", lambda _: None)
    manifests = sorted((store.folder / "docs.lance" / "_versions").glob("*.manifest"))
    for manifest in manifests[: MAX_TORN + 1]:
        _cut_to_nothing(manifest)

    with pytest.raises(StoreUnavailable, match="backup"):
        await store.count_vectors("docs")
    assert sorted((store.folder / "docs.lance" / "_versions").glob("*.manifest")) == manifests


async def test_a_compacted_table_whose_old_files_were_removed_is_whole(store: LanceStore) -> None:
    for key in "abcdefgh":
        await store.write([embedding(key)])
    with pytest.warns(UserWarning, match="removes every version except the latest"):
        lancedb.connect(store.folder).open_table("docs").optimize(cleanup_older_than=timedelta(0))
    files = list((store.folder / "docs.lance" / "data").iterdir())

    assert len(files) < 8
    assert is_whole(_newest(store.folder))
    assert await LanceStore(store.folder).count_vectors("docs") == 8


def _newest(folder: Path) -> Path:
    manifest = newest_manifest(folder / "docs.lance")
    assert manifest is not None
    return manifest


async def test_vectors_of_later_batches_are_of_the_type_of_the_first(store: LanceStore, tmp_path: Path) -> None:
    for number in range(3):
        await store.write([embedding(f"k{number}", 1, number), embedding("k", 0, number, at_us=number + 1)])

    table = await (await lancedb.connect_async(tmp_path)).open_table("docs")
    assert (await table.schema()).field("vector") == columns.schema(2).field("vector")
    assert {key: row.vector for key, row in read_table(tmp_path, "docs").items()} == {
        "k": [0, 2], "k0": [1, 0], "k1": [1, 1], "k2": [1, 2]
    }  # fmt: skip


async def test_a_compaction_keeps_the_last_commit_that_was_on_disk(store: LanceStore) -> None:
    """What it commits itself is not: power lost at its end leaves that commit to step back to."""
    for number in range(FEW_FRAGMENTS):
        await store.write([embedding(f"{number}")])
    before = _newest(store.folder)

    assert await store.tend("docs", 0) == {"fragments": FEW_FRAGMENTS - 1}
    assert before.exists()
    _cut_to_nothing(_newest(store.folder))
    await store.close()
    assert await LanceStore(store.folder).count_vectors("docs") == FEW_FRAGMENTS


async def test_the_longer_a_table_has_rested_the_longer_a_compaction_keeps_its_versions(store: LanceStore) -> None:
    table = store.folder / "docs.lance"
    await store.write([embedding("a")])
    assert lifetime(table) < READER_LIFETIME + timedelta(minutes=1)

    an_hour_ago = time.time() - 3_600
    os.utime(_newest(store.folder), (an_hour_ago, an_hour_ago))
    assert lifetime(table) >= READER_LIFETIME + timedelta(hours=1)
