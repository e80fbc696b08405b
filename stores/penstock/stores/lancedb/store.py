"""The store: locked, synced writes, and reads that see every process's commits."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from penstock.stores.contract import Fence, Partial, Trial
from penstock.stores.embeddings import by_collection, check_query, stored_vector, try_out
from penstock.stores.errors import StoreError, StoreRejected
from penstock.stores.filters import parse
from penstock.stores.lancedb import columns, indexing, reading, unfinished, upkeep
from penstock.stores.lancedb.catalog import Catalog, Collection
from penstock.stores.lancedb.compaction import compact, is_due, lifetime
from penstock.stores.lancedb.durability import sync_table
from penstock.stores.lancedb.filtering import to_lance
from penstock.stores.lancedb.indexing import INDEX_FROM
from penstock.stores.lancedb.keys import Keys
from penstock.stores.lancedb.locks import lock_tables
from penstock.stores.lancedb.removal import remove_leftovers, remove_table
from penstock.stores.lancedb.repair import table_folder
from penstock.stores.lancedb.translate import translated
from penstock.stores.lancedb.writing import Part, commit, parts_of, rows_of
from penstock.stores.metrics import METRICS, Metric, chosen_metric
from penstock.stores.preparing import Prepared
from penstock.stores.rows import Hit, StoredVector
from penstock.stores.vector_contract import Shape, VectorCapabilities
from penstock.wire.logs import logger
from penstock.wire.records import Embedding, Record, VectorRecord

LOCK_TIMEOUT_S = 30.0
"""How long a write waits for another writer of the table; a compaction of a million rows takes seconds."""

COMMITS_PER_LOOK = 16
"""How many commits a process makes to a table between two looks at the table's fragments."""

_LOGGER = "penstock.stores.lancedb"

T = TypeVar("T")
"""What a piece of work comes to."""


class LanceStore:
    """Embeddings in Lance tables below one folder. See `VectorStore`.

    Lance has no transaction over several tables. A batch of several collections is checked as a whole before
    anything is written; then each collection's part is atomic. After a crash or `StoreUnavailable` some parts
    may be written, and writing the batch again is harmless.
    """

    capabilities = VectorCapabilities(shared=True, fenced=False, metrics=METRICS, exact_below=INDEX_FROM)

    def __init__(self, folder: Path, *, metric: Metric = "cosine", lock_timeout_s: float = LOCK_TIMEOUT_S) -> None:
        self.folder = folder
        self._metric = metric
        self._lock_timeout_s = lock_timeout_s
        self._catalog = Catalog(folder, lock_timeout_s)
        self._running: set[asyncio.Task[Any]] = set()
        self._commits: Counter[str] = Counter()

    async def setup(self, *, migrate: bool = True) -> None:  # noqa: ARG002 - a table has the columns of its vectors
        """See `Store.setup`. Creates the folder; a table is created by its first record."""
        with translated(f"folder {self.folder}"):
            self.folder.mkdir(parents=True, exist_ok=True)
            await asyncio.to_thread(remove_leftovers, self.folder)

    async def prepare(self, records: list[Record]) -> list[Record]:
        """See `Preparing.prepare`."""
        try:
            return Prepared(records, await asyncio.to_thread(parts_of, records))
        except StoreRejected:
            return records

    async def write(self, records: Sequence[Record], fence: Fence | None = None) -> int:  # noqa: ARG002 - unfenced
        """See `Store.write`. The fence is not looked at: the lock and the version of each vector stand in for it.

        A call that is cancelled while it waits for the lock writes nothing; after that it writes everything.

        Raises:
            DimensionMismatch: Names both lengths; nothing of the batch was written.
        """
        # In a thread: 5,000 vectors of 1,536 numbers are 30 MB to copy.
        parts = records.made if isinstance(records, Prepared) else await asyncio.to_thread(parts_of, records)
        held = await self._lock(parts)
        return await self._finish(self._write(parts), held)

    async def _lock(self, names: Mapping[str, object]) -> contextlib.ExitStack:
        with translated(f"folder {self.folder} (was it set up?)"):
            return await lock_tables(self.folder, names, self._lock_timeout_s)

    async def _finish(self, work: Coroutine[Any, Any, T], held: contextlib.ExitStack) -> T:
        """The result of *work*. It runs to its end and only then lets go of the locks, though the caller be cancelled.

        Without the shield a commit would go on in Lance's own threads after its lock is gone; without the lock two
        commits would store a row twice (`test_a_cancelled_write_keeps_its_lock_until_its_commit_has_ended`).
        """
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        task.add_done_callback(lambda _: held.close())
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_log_failure)
            raise

    async def _write(self, parts: Mapping[str, Part]) -> int:
        found = {name: await self._catalog.find(name, locked=True) for name in parts}
        rows = {name: await rows_of(name, part, found[name]) for name, part in parts.items()}
        return sum([await self._write_part(name, part, rows[name], found[name]) for name, part in parts.items()])

    async def _write_part(self, name: str, part: Part, rows: Any, known: Collection | None) -> int:
        if rows is None:
            return 0
        with self._catalog.translated(name):
            if known is None:
                known, changed = await self._catalog.create(name, rows, Keys(part.numbers)), len(part.records)
            else:
                changed = await commit(self._catalog, known, part, rows)
            # Before the write returns: power lost after it must not undo what the queue is about to trim.
            await self._sync(name)
        await self._compact_at_times(known)
        return changed

    async def _sync(self, name: str) -> None:
        await asyncio.to_thread(sync_table, table_folder(self.folder, name))

    async def _compact_at_times(self, collection: Collection) -> None:
        self._commits[collection.name] += 1
        if self._commits[collection.name] % COMMITS_PER_LOOK:
            return
        try:
            await self._compact_if_due(collection)
        except StoreError as exc:
            # The batch is stored; the compaction is only put off.
            logger(_LOGGER).warning("compaction_failed", collection=collection.name, reason=str(exc))

    async def _compact_if_due(self, collection: Collection) -> bool:
        with self._catalog.translated(collection.name):
            if not await is_due(collection.table):
                return False
            cut_short = unfinished.is_noted(self.folder, collection.name)
            await asyncio.to_thread(unfinished.note, self.folder, collection.name)
            async with collection.tidied():
                await compact(collection.table, lifetime(table_folder(self.folder, collection.name)))
            await self._sync(collection.name)
            if not cut_short:  # else upkeep makes the index anew
                unfinished.forget(self.folder, collection.name)
        return True

    async def rehearse(self, records: Sequence[Record]) -> Sequence[Trial]:
        """See `Store.rehearse`. Takes no lock: what is written meanwhile is seen or not."""
        keys: dict[str, set[str]] = {}
        for record in records:
            with contextlib.suppress(StoreRejected):  # told below
                for name, embeddings in by_collection([record]).items():
                    keys.setdefault(name, set()).update(each.key for each in embeddings)
        found = {name: known for name in keys if (known := await self._catalog.find(name))}
        versions = {
            (name, key): version
            for name, known in found.items()
            for key, version in (await self._versions(known, keys[name])).items()
        }
        dimensions = {name: known.dimension for name, known in found.items()}
        return try_out(records, dimensions, versions, _check)

    async def _versions(self, known: Collection, keys: Iterable[str]) -> dict[str, int]:
        with self._catalog.translated(known.name):
            return await reading.versions_of(known, keys)

    async def partials(self, ids: Sequence[bytes]) -> Mapping[bytes, Partial]:  # noqa: ARG002 - there are none
        """See `Store.partials`."""
        return {}

    async def check(self) -> None:
        """See `Store.check`."""
        with translated(f"folder {self.folder}"):
            await asyncio.to_thread(next, self.folder.iterdir(), None)

    async def close(self) -> None:
        """See `Store.close`."""
        while self._running:
            await asyncio.wait(self._running)
        self._catalog.close()

    async def search(
        self,
        collection: str,
        vector: bytes,
        top_k: int,
        where: Mapping[str, Any] | None = None,
        metric: Metric | None = None,
    ) -> Sequence[Hit]:
        """See `VectorReading.search`. The filter goes first."""
        condition = to_lance(parse(where))
        chosen = chosen_metric(metric, self._metric, METRICS)
        found = await self._catalog.find(collection)
        if found is None or top_k < 1:
            return []
        check_query(collection, found.dimension, vector)
        with self._catalog.translated(collection):
            return await reading.nearest(found, vector, top_k, condition, chosen)

    async def vectors(self, collection: str, keys: Sequence[str]) -> Sequence[StoredVector]:
        """See `VectorReading.vectors`."""
        found = await self._catalog.find(collection)
        if found is None or not keys:
            return []
        with self._catalog.translated(collection):
            return [stored_vector(each) for each in await reading.of_keys(found, keys)]

    async def count_vectors(self, collection: str) -> int:
        """See `VectorReading.count_vectors`."""
        found = await self._catalog.find(collection)
        if found is None:
            return 0
        with self._catalog.translated(collection):
            return await reading.count(found)

    async def walk_vectors(self, collection: str, after: str | None, limit: int) -> Sequence[VectorRecord]:
        """See `VectorReading.walk_vectors`."""
        found = await self._catalog.find(collection)
        if found is None:
            return []
        with self._catalog.translated(collection):
            return await reading.after_key(found, after, limit)

    async def collections(self) -> Sequence[str]:
        """See `VectorReading.collections`."""
        with translated(f"folder {self.folder}"):
            return await asyncio.to_thread(self._catalog.names)

    async def shape(self, collection: str) -> Shape | None:
        """See `VectorUpkeep.shape`."""
        found = await self._catalog.find(collection)
        if found is None:
            return None
        with self._catalog.translated(collection):
            return await upkeep.shape(found, table_folder(self.folder, collection))

    async def is_due(self, collection: str) -> bool:
        """See `VectorUpkeep.is_due`."""
        found = await self._catalog.find(collection)
        if found is None:
            return False
        with self._catalog.translated(collection):
            cut_short = unfinished.is_noted(self.folder, collection)
            return cut_short or await upkeep.is_due(found, self._metric)

    async def tend(self, collection: str, tombstones_before_us: int) -> Mapping[str, int]:
        """See `VectorUpkeep.tend`. Writers wait meanwhile, readers go on.

        Writes join fragments themselves now and then, so this is also for what many short-lived processes wrote.
        """
        if not await self._catalog.find(collection):
            return {}
        held = await self._lock({collection: None})
        return await self._finish(self._tend(collection, tombstones_before_us), held)

    async def _tend(self, name: str, tombstones_before_us: int) -> dict[str, int]:
        found = await self._catalog.find(name, locked=True)
        if found is None:
            return {}
        with self._catalog.translated(name):
            cut_short = unfinished.is_noted(self.folder, name)
            await asyncio.to_thread(unfinished.note, self.folder, name)
            async with found.tidied():
                if cut_short:
                    await indexing.drop(found.table)
                done = await upkeep.tend(found, table_folder(self.folder, name), tombstones_before_us, self._metric)
            if done or cut_short:
                await self._sync(name)
            unfinished.forget(self.folder, name)
        return done

    async def drop(self, collection: str) -> bool:
        """See `VectorStore.drop`. Waits for a write under way."""
        held = await self._lock({collection: None})
        return await self._finish(self._drop(collection), held)

    async def _drop(self, name: str) -> bool:
        with self._catalog.translated(name):
            existed = await asyncio.to_thread(remove_table, self.folder, name)
            unfinished.forget(self.folder, name)
        return existed


def _check(embedding: Embedding, dimension: int) -> None:
    with translated(f"collection {embedding.collection}"):
        columns.to_batch([embedding], dimension)


def _log_failure(task: asyncio.Task[Any]) -> None:
    """A write whose caller was cancelled failed; the caller's next write will tell."""
    if not task.cancelled() and (error := task.exception()) is not None:
        logger(_LOGGER).warning("cancelled_write_failed", reason=str(error))
