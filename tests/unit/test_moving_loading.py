"""What is loaded goes in batches; a record that the store refuses costs only itself, and its place is told."""

from __future__ import annotations

import gzip
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from penstock.moving import Loader, load, load_folder
from penstock.moving.sources import look_at
from penstock.stores.errors import StoreUnavailable
from penstock.stores.memory.sql import MemorySql
from penstock.stores.queries import LogQuery, MessageQuery
from penstock.wire.ids import id_from_key
from penstock.wire.records import Embedding, Message

UTC = ZoneInfo("UTC")


@pytest.fixture
def store() -> MemorySql:
    return MemorySql()


@pytest.fixture
def complaints() -> list[str]:
    return []


def message(number: int, size: int = 1) -> Message:
    return Message(id_from_key(str(number)), number, "s", "user", "x" * size)


async def test_a_refused_record_costs_only_itself(store: MemorySql, complaints: list[str]) -> None:
    loader = Loader(store, complaints.append)
    for number in range(100):
        await loader.add(f"f:{number}", message(number))
        if number % 40 == 7:
            await loader.add(f"f:{number}+", Embedding(id_from_key("e"), 1, "docs", "k", b"\0\0\0\0"))
    await loader.flush()

    assert await store.count_messages(MessageQuery()) == 100
    assert (loader.loaded.records, loader.loaded.new, loader.loaded.refused) == (100, 100, 3)
    assert [each.partition(": ")[0] for each in complaints] == ["f:7+", "f:47+", "f:87+"]
    assert "keeps no vectors" in complaints[0]


@pytest.mark.parametrize(("size", "told"), [(1, [2_000, 4_000, 4_500]), (100_000, [42, 84, 100])])
async def test_a_batch_ends_by_its_number_or_by_its_bytes(size: int, told: list[int], store: MemorySql) -> None:
    seen: list[int] = []
    loader = Loader(store, lambda _: None, seen.append)
    for number in range(told[-1]):
        await loader.add("f", message(number, size))
    await loader.flush()

    assert seen == told


async def test_a_store_that_is_away_ends_the_load(store: MemorySql, complaints: list[str]) -> None:
    loader = Loader(store, complaints.append)
    await store.close()
    await loader.add("f:1", message(1))

    with pytest.raises(StoreUnavailable):
        await loader.flush()
    assert complaints == []


async def test_a_damaged_archive_is_told_with_how_far_it_was_read(
    store: MemorySql, complaints: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "app.log.gz"
    path.write_bytes(gzip.compress(b"a line\n" * 100)[:-6])
    loader = Loader(store, complaints.append)

    await load(look_at(path), loader, UTC)
    await loader.flush()

    assert len(complaints) == 1
    assert complaints[0].startswith(f"{path}:")
    assert "the file cannot be read on" in complaints[0]
    assert loader.loaded.new == await store.count_logs(LogQuery())


async def test_a_folder_leaves_conversations_and_databases_alone(
    store: MemorySql, complaints: list[str], tmp_path: Path
) -> None:
    (tmp_path / "chat.jsonl").write_text('{"session_id": "s", "messages": []}\n')
    (tmp_path / "store.gz").write_bytes(b"SQLite format 3\0")
    (tmp_path / "app.txt").write_text("a line\n")
    loader = Loader(store, complaints.append)

    left = await load_folder(tmp_path, loader, UTC)
    await loader.flush()

    assert [each.path.name for each in left] == ["chat.jsonl"]
    assert complaints == [f"{tmp_path}/store.gz: it is a database; penstock copy reads those of Penstock; skipped"]
    assert loader.loaded.new == 1


async def test_lines_of_two_files_are_two_lines(store: MemorySql, tmp_path: Path) -> None:
    for name in ("a.log", "b.log"):
        (tmp_path / name).write_text("starting\nstarting\n")
    loader = Loader(store, lambda _: None)

    await load_folder(tmp_path, loader, UTC)
    await loader.flush()

    assert loader.loaded.new == 4
