"""An export of vectors, and what becomes of it in another store."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from zoneinfo import ZoneInfo

import orjson

from penstock.moving import Loader, load
from penstock.moving.lines import line_of, record_of
from penstock.moving.sources import look_at
from penstock.moving.vectors import export_vectors
from penstock.stores.memory.vectors import MemoryVectors, open_vector
from penstock.stores.vector_contract import VectorStore
from penstock.testing.conformance.vector_records import deletion, embedding
from penstock.wire.records import Embedding, VectorRecord
from tests.unit.golden.samples import FRAMES


def test_every_vector_comes_back_bit_by_bit_and_is_written_the_same_again() -> None:
    for record in (*FRAMES["embedding"], *FRAMES["embedding_deletion"]):
        assert record_of(line_of(record)) == record
        assert line_of(record_of(line_of(record))) == line_of(record)


async def filled() -> tuple[MemoryVectors, list[VectorRecord]]:
    """A store of two collections, one of which begins with tombstones."""
    store = open_vector("memory://")
    written: list[VectorRecord] = [
        embedding(f"k{n:04}", 1, n, text=f"text {n}", metadata={"n": n} if n % 2 else None) for n in range(3_000)
    ]
    written += [embedding("a", 1, 2, 3, collection="other", at_us=7)]
    await store.write(written)
    await store.write([deletion(f"{n:04}") for n in range(2_500)])
    return store, written


async def everything(store: VectorStore) -> list[Sequence[VectorRecord]]:
    return [await store.walk_vectors(name, None, 10_000) for name in await store.collections()]


async def exported(store: VectorStore, path: Path) -> list[bytes]:
    with path.open("wb") as file:
        await export_vectors(store, file, await store.collections(), lambda *_: None)
    return path.read_bytes().splitlines()


async def test_an_export_makes_the_same_store_elsewhere(tmp_path: Path) -> None:
    store, written = await filled()
    lines = await exported(store, tmp_path / "vectors.jsonl")
    assert orjson.loads(lines[0])["collections"] == ["docs", "other"]
    assert orjson.loads(lines[-1]) == {"kind": "end", "records": {"docs": 5_500, "other": 1}}

    other, complaints = open_vector("memory://"), list[str]()
    loader = Loader(other, complaints.append)
    await load(look_at(tmp_path / "vectors.jsonl"), loader, ZoneInfo("UTC"))
    await loader.flush()

    assert complaints == []
    assert loader.loaded.new == len(written) + 2_500
    assert await everything(other) == await everything(store)


async def test_a_file_that_is_cut_off_is_told(tmp_path: Path) -> None:
    store, _ = await filled()
    path = tmp_path / "vectors.jsonl"
    lines = await exported(store, path)
    path.write_bytes(b"\n".join(lines[:100]))

    complaints = list[str]()
    loader = Loader(open_vector("memory://"), complaints.append)
    await load(look_at(path), loader, ZoneInfo("UTC"))

    assert [each.split(": ")[1] for each in complaints] == [
        "the file ends before its last line; it is cut off; skipped"
    ]


async def test_a_vector_that_the_store_refuses_costs_only_itself() -> None:
    store = open_vector("memory://")
    complaints = list[str]()
    loader = Loader(store, complaints.append)
    for record in (embedding("a", 1, 2), embedding("b", 1, 2, 3), embedding("c", 3, 4)):
        await loader.add(f"file:{record.key}", record)
    await loader.flush()

    assert [each.partition(": ")[0] for each in complaints] == ["file:b"]
    assert [row.key for row in await store.walk_vectors("docs", None, 9) if isinstance(row, Embedding)] == ["a", "c"]


async def test_nothing_but_a_header_and_an_end_is_an_export_of_nothing() -> None:
    file = io.BytesIO()
    await export_vectors(open_vector("memory://"), file, [], lambda *_: None)

    assert len(file.getvalue().splitlines()) == 2
