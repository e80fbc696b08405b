"""One collection's part of a batch: made ready without a look at the table, then written in one commit."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from penstock.stores.embeddings import by_collection, dimension_after
from penstock.stores.lancedb import columns
from penstock.stores.lancedb.catalog import Catalog, Collection
from penstock.stores.lancedb.doubles import remove_doubles
from penstock.stores.lancedb.keys import Keys, Numbers, keys_of, numbers_of
from penstock.stores.lancedb.translate import translated
from penstock.wire.logs import logger
from penstock.wire.records import EmbeddingDeletion, Record, VectorRecord

MERGE_TIMEOUT = timedelta(seconds=60)

MERGES_BEFORE_KEYS = 4
"""A look at all keys takes about as long as so many merges, so a writer merges so often before it takes one."""

_LOGGER = "penstock.stores.lancedb"


class Part(NamedTuple):
    """What a batch holds for one collection: one record a key."""

    records: Sequence[VectorRecord]
    rows: Any
    """A batch of Arrow; None where there are deletions among them, whose rows depend on the table."""
    numbers: Numbers
    """Of the keys."""


def parts_of(records: Sequence[Record]) -> dict[str, Part]:
    """What *records* hold for each collection.

    Raises:
        StoreRejected: Some record is none that a vector store keeps, or no builder makes it.
        DimensionMismatch: Two vectors for one collection have different lengths.
    """
    # One a key, or Lance would insert both of two new rows with one id (lance#7907).
    return {name: _part(name, changes) for name, changes in by_collection(records).items()}


def _part(name: str, records: Sequence[VectorRecord]) -> Part:
    rows = None
    if not _has_deletions(records):
        rows = _converted(name, records, None)
    return Part(records, rows, numbers_of([each.key for each in records]))


async def rows_of(name: str, part: Part, known: Collection | None) -> Any:
    """What is written of *part* to the table, if there is one; None when there is nothing to delete from.

    Raises:
        DimensionMismatch: Its vectors have another length than the table's.
    """
    if part.rows is None:
        return await asyncio.to_thread(_converted, name, part.records, known)
    # They all have one length.
    dimension_after(name, known.dimension if known else None, part.records[:1])
    return columns.with_marks(part.rows) if known and known.marked else part.rows


def _converted(name: str, records: Sequence[VectorRecord], known: Collection | None) -> Any:
    dimension = dimension_after(name, known.dimension if known else None, records)
    if dimension is None:
        return None
    marked = (known is not None and known.marked) or _has_deletions(records)
    with translated(f"collection {name}"):
        return columns.to_batch(records, dimension, marked=marked)


def _has_deletions(records: Sequence[VectorRecord]) -> bool:
    return any(type(each) is EmbeddingDeletion for each in records)


async def commit(catalog: Catalog, known: Collection, part: Part, rows: Any) -> int:
    """Insert or replace in one commit; how many rows were new or newer. The caller holds the table's lock.

    A batch of new keys is appended: nothing can come between the look at the keys and the append while the lock is
    held. The version that the commit makes tells whether something came all the same, and then doubles are looked for.
    """
    if columns.is_marked(rows.schema) and not known.marked:
        await catalog.mark(known)
    keys, before = await _keys(catalog, known), known.version
    fresh = None if keys is None else keys.new_of(part.numbers)
    if fresh is not None and len(fresh) == len(part.numbers):
        version, changed = (await known.table.add(rows)).version, len(part.records)
    else:
        version, changed = await _merge(known, rows)
    if before is not None and version != before + 1:
        logger(_LOGGER).warning("commit_without_lock_met", collection=known.name, expected=before + 1, made=version)
        await remove_doubles(known.table, [each.key for each in part.records])
        known.settle(await known.table.version())
    else:
        known.settle(version, _with(catalog, keys, fresh))
    return changed


async def _keys(catalog: Catalog, known: Collection) -> Keys | None:
    """The table's keys, read where that pays."""
    if known.keys is None and known.version is not None and known.merges >= MERGES_BEFORE_KEYS:
        known.merges = 0
        if catalog.has_room_for(await known.table.count_rows()):
            known.settle(known.version, await keys_of(known.table))
    return known.keys


def _with(catalog: Catalog, keys: Keys | None, fresh: Numbers | None) -> Keys | None:
    """*keys* and those that are *fresh*; None where they are too many to be kept."""
    if keys is None or fresh is None or not catalog.has_room_for(len(fresh)):
        return None
    keys.add(fresh)
    return keys


async def _merge(known: Collection, rows: Any) -> tuple[int, int]:
    """The version that was made, and how many rows were new or newer."""
    known.merges += 1
    merge = known.table.merge_insert("id").when_matched_update_all(where="source.version > target.version")
    done = await merge.when_not_matched_insert_all().execute(columns.checked(rows), timeout=MERGE_TIMEOUT)
    return int(done.version), int(done.num_inserted_rows + done.num_updated_rows)
