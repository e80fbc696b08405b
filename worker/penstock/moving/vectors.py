"""Vectors as lines of JSON: a header, every record of each collection, and an end, in the form of an export."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import IO, Any

from penstock.moving.backups import Tell
from penstock.moving.exports import end_of, header_of
from penstock.moving.files import opened, replacing
from penstock.moving.lines import line_of
from penstock.moving.walks import pages_of
from penstock.stores.vector_contract import VectorReading
from penstock.wire.records import Embedding, EmbeddingDeletion, Record

_KINDS: tuple[type[Record], ...] = (Embedding, EmbeddingDeletion)
"""In the order of the file: a deletion alone would make no collection where it is read."""


class _Collections:
    """A vector store as what can be walked: its collections are the tables."""

    def __init__(self, store: VectorReading) -> None:
        self._store = store

    async def walk(self, table: str, after: Record | None, limit: int) -> Sequence[Record]:
        key = after.key if isinstance(after, Embedding | EmbeddingDeletion) else None
        return await self._store.walk_vectors(table, key, limit)


async def export_vectors(store: VectorReading, file: IO[bytes], collections: Sequence[str], tell: Tell) -> None:
    """Write *collections* of *store* to *file*: tombstones too, each collection as it is while it is walked."""
    async for lines in _lines_of(store, collections, lambda name, count: tell(name, count, None)):
        file.write(lines)


async def export_vectors_to(store: VectorReading, to: Path, collections: Sequence[str], tell: Tell) -> None:
    """`export_vectors` to the file *to*, which is replaced when all of it is on disk. Raises `OSError`."""
    with replacing(to) as partial, opened(partial, to) as file:
        await export_vectors(store, file, collections, tell)


async def _lines_of(
    store: VectorReading, collections: Sequence[str], tell: Callable[[str, int], Any]
) -> AsyncIterator[bytes]:
    counts = dict.fromkeys(collections, 0)
    yield header_of("collections", collections, _KINDS)
    for collection in collections:
        for kind in _KINDS:
            async for page in pages_of(_Collections(store), collection):
                wanted = [record for record in page if isinstance(record, kind)]
                yield b"".join(map(line_of, wanted))
                counts[collection] += len(wanted)
                tell(collection, counts[collection])
    yield end_of(counts)
