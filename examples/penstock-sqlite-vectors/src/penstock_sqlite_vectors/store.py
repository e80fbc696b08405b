"""The store: what Penstock asks of a vector backend, each call in one thread and one transaction."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from penstock.stores import BadStoreURL, Fence, StoreUnavailable
from penstock.stores.contract import Partial, Trial
from penstock.stores.embeddings import (
    by_collection,
    check_query,
    dimension_after,
    embeddings_of,
    ranked,
    refuse_infinite,
    stored_vector,
    try_out,
)
from penstock.stores.filters import parse
from penstock.stores.metrics import METRICS, Metric, chosen_metric, own_metric, scorer, url_options
from penstock.stores.predicate import predicate
from penstock.stores.rows import Hit, StoredVector
from penstock.stores.vector_contract import Shape, VectorCapabilities
from penstock.wire.records import Embedding, EmbeddingDeletion, Record, VectorRecord
from penstock.wire.text import load_object
from penstock_sqlite_vectors import statements

BUSY_TIMEOUT_S = 10.0
"""How long a call waits for a transaction of another process."""

_Done = TypeVar("_Done")


def open_vector(url: str) -> SqliteVectors:
    """The store of `sqlite-vectors:///relative/file` or `sqlite-vectors:////absolute/file`; nothing is opened yet.

    Raises:
        BadStoreURL: No file, a host, or an unknown option.
    """
    parts = urlsplit(url)
    file = unquote(parts.path[1:])
    if parts.netloc or not file:
        raise BadStoreURL("a file is needed: sqlite-vectors:///relative/file or sqlite-vectors:////absolute/file")
    return SqliteVectors(Path(file), own_metric(url_options(url, "metric")))


class SqliteVectors:
    """Embeddings in one SQLite file. See `VectorStore`.

    One thread does all the work, a call after the other. A call that is cancelled while it runs there still ends, and
    one that has not begun never does, so a batch is always written whole or not at all.
    """

    capabilities = VectorCapabilities(shared=True, fenced=False, metrics=METRICS)

    def __init__(self, file: Path, metric: Metric = "cosine") -> None:
        self.file = file
        self._metric = metric
        self._connection: sqlite3.Connection | None = None
        self._thread = ThreadPoolExecutor(1, "sqlite-vectors")
        self._closed = False

    async def setup(self, *, migrate: bool = True) -> None:  # noqa: ARG002 - there is one schema so far
        """See `Store.setup`."""
        await self._run(self._make_file)

    async def check(self) -> None:
        """See `Store.check`."""
        await self._run(lambda: self._dimension(""))

    async def close(self) -> None:
        """See `Store.close`."""
        self._closed = True
        await asyncio.to_thread(self._thread.shutdown)
        if self._connection is not None:
            self._connection.close()

    # -- writing --------------------------------------------------------------------------------

    async def write(self, records: Sequence[Record], fence: Fence | None = None) -> int:  # noqa: ARG002 - unfenced
        """See `Store.write`. The fence is not looked at: whoever writes, what is newer stays."""
        parts = by_collection(records)
        for part in parts.values():
            refuse_infinite(embeddings_of(part))
        return await self._run(lambda: self._write(parts)) if parts else 0

    def _write(self, parts: Mapping[str, Sequence[VectorRecord]]) -> int:
        with self._open() as connection:
            connection.execute("BEGIN IMMEDIATE")
            known = dict(connection.execute(statements.DIMENSIONS))
            dimensions = {name: dimension_after(name, known.get(name), part) for name, part in parts.items()}
            # Deletions alone make no collection: there is nothing then that they could keep out.
            rows = [_row(each) for name, part in parts.items() if dimensions[name] for each in part]
            connection.executemany(statements.ADD_COLLECTION, [each for each in dimensions.items() if each[1]])
            before = connection.total_changes
            connection.executemany(statements.PUT, rows)
            return connection.total_changes - before

    async def rehearse(self, records: Sequence[Record]) -> Sequence[Trial]:
        """See `Store.rehearse`."""
        return await self._run(lambda: self._rehearse(records))

    def _rehearse(self, records: Sequence[Record]) -> list[Trial]:
        execute = self._open().execute
        keys = {(each.collection, each.key) for each in records if isinstance(each, Embedding | EmbeddingDeletion)}
        versions = {key: row[0] for key in keys for row in execute(statements.VERSION, key)}
        dimensions = dict(execute(statements.DIMENSIONS))
        return try_out(records, dimensions, versions, lambda embedding, _: refuse_infinite([embedding]))

    async def partials(self, ids: Sequence[bytes]) -> Mapping[bytes, Partial]:  # noqa: ARG002 - there are none
        """See `Store.partials`."""
        return {}

    async def drop(self, collection: str) -> bool:
        """See `VectorStore.drop`."""
        return await self._run(lambda: self._drop(collection))

    def _drop(self, name: str) -> bool:
        with self._open() as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(statements.DROP_VECTORS, (name,))
            return connection.execute(statements.DROP_COLLECTION, (name,)).rowcount > 0

    # -- reading --------------------------------------------------------------------------------

    async def search(
        self,
        collection: str,
        vector: bytes,
        top_k: int,
        where: Mapping[str, Any] | None = None,
        metric: Metric | None = None,
    ) -> Sequence[Hit]:
        """See `VectorReading.search`."""
        holds, chosen = predicate(parse(where)), chosen_metric(metric, self._metric, METRICS)
        return await self._run(lambda: self._search(collection, vector, top_k, holds, chosen))

    def _search(
        self, name: str, vector: bytes, top_k: int, holds: Callable[[Mapping[str, Any]], bool], metric: Metric
    ) -> list[Hit]:
        dimension = self._dimension(name)
        if dimension is None or top_k < 1:
            return []
        check_query(name, dimension, vector)
        score = scorer(metric, vector)
        near = (
            Hit(id=each.key, score=value, text=each.text, metadata=metadata)
            for each in map(_embedding, self._open().execute(statements.ALL, (name,)))
            if holds(metadata := load_object(each.metadata)) and (value := score(each.vector)) is not None
        )
        return ranked(near, top_k)

    async def vectors(self, collection: str, keys: Sequence[str]) -> Sequence[StoredVector]:
        """See `VectorReading.vectors`."""
        wanted = dict.fromkeys(keys)
        found = await self._run(lambda: [self._one(statements.ONE, collection, key) for key in wanted])
        return [stored_vector(_embedding(row)) for row in found if row]

    async def count_vectors(self, collection: str) -> int:
        """See `VectorReading.count_vectors`."""
        return (await self._run(lambda: self._counts(collection)))[0]

    async def collections(self) -> Sequence[str]:
        """See `VectorReading.collections`."""
        return await self._run(lambda: [row[0] for row in self._open().execute(statements.DIMENSIONS)])

    async def walk_vectors(self, collection: str, after: str | None, limit: int) -> Sequence[VectorRecord]:
        """See `VectorReading.walk_vectors`."""
        values = {"collection": collection, "after": after, "limit": limit}
        rows = await self._run(lambda: self._open().execute(statements.WALK, values).fetchall())
        return [EmbeddingDeletion(*row[:4]) if row[4] is None else _embedding(row) for row in rows]

    # -- upkeep ---------------------------------------------------------------------------------

    async def shape(self, collection: str) -> Shape | None:
        """See `VectorUpkeep.shape`."""
        dimension = await self._run(lambda: self._dimension(collection))
        vectors, tombstones = await self._run(lambda: self._counts(collection))
        return None if dimension is None else Shape(vectors=vectors, tombstones=tombstones)

    async def is_due(self, collection: str) -> bool:
        """See `VectorUpkeep.is_due`. Whenever there are tombstones."""
        return await self._run(lambda: bool(self._one(statements.HAS_TOMBSTONES, collection)[0]))

    async def tend(self, collection: str, tombstones_before_us: int) -> Mapping[str, int]:
        """See `VectorUpkeep.tend`."""
        removed = await self._run(lambda: self._remove_tombstones(collection, tombstones_before_us))
        return {"tombstones": removed} if removed else {}

    def _remove_tombstones(self, name: str, before_us: int) -> int:
        return self._open().execute(statements.REMOVE_TOMBSTONES, (name, before_us)).rowcount

    # -- the thread -----------------------------------------------------------------------------

    async def _run(self, work: Callable[[], _Done]) -> _Done:
        """What *work* comes to, in the thread. The one place where the driver's errors become a store's."""
        if self._closed:
            raise StoreUnavailable(f"the store of {self.file} is closed")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except (sqlite3.Error, OSError) as exc:
            raise StoreUnavailable(f"{self.file}: {exc}") from exc

    def _open(self, mode: str = "rw") -> sqlite3.Connection:
        """The connection. Whoever does not set the store up makes no file: a missing one is not an empty one."""
        if self._connection is None:
            address = f"{self.file.absolute().as_uri()}?mode={mode}"
            # Each statement is its own transaction, unless BEGIN says otherwise; `close` is called from another thread.
            connection = sqlite3.connect(
                address, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
            # What `write` has returned must outlive power loss, since the queue's copy goes next. A journal that stays
            # needs fewer syncs for that than one that is removed.
            connection.execute("PRAGMA journal_mode = PERSIST")
            connection.execute("PRAGMA synchronous = FULL")
            self._connection = connection
        return self._connection

    def _make_file(self) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self._open("rwc").executescript(statements.SCHEMA)

    def _one(self, statement: str, *values: Any) -> Any:
        return self._open().execute(statement, values).fetchone()

    def _dimension(self, name: str) -> int | None:
        row = self._one(statements.DIMENSION, name)
        return None if row is None else row[0]

    def _counts(self, name: str) -> tuple[int, int]:
        """Vectors and tombstones."""
        vectors, tombstones = self._one(statements.COUNT, name)
        return vectors, tombstones


def _row(record: VectorRecord) -> dict[str, Any]:
    """The values of `statements.PUT`. A deletion has a key and a time alone."""
    return {"vector": None, "text": None, "metadata": None, "normalised": False, **record._asdict()}


def _embedding(row: Sequence[Any]) -> Embedding:
    return Embedding._make((*row[:7], bool(row[7])))
