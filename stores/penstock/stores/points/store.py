"""The store: one writer a collection at a time in this process, reads by the index, upkeep."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from operator import attrgetter
from typing import Any, NamedTuple, TypeVar

from penstock.stores.contract import Fence, Partial, Trial
from penstock.stores.embeddings import (
    by_collection,
    check_query,
    dimension_after,
    ranked,
    stored_vector,
    try_out,
)
from penstock.stores.errors import StoreRejected, StoreUnavailable, Unsupported
from penstock.stores.filters import parse
from penstock.stores.metrics import Metric, chosen_metric
from penstock.stores.points import writing
from penstock.stores.points.encoding import direction, refuse_infinite, to_hit, to_record
from penstock.stores.points.engine import VERSION, Engine, Group, Layout, Missing, Number, Term, Wanted
from penstock.stores.points.filtering import to_wanted
from penstock.stores.points.terms import TOMBSTONE
from penstock.stores.points.walking import Walks
from penstock.stores.rows import Hit, StoredVector
from penstock.stores.vector_contract import Shape, VectorCapabilities
from penstock.wire.logs import logger
from penstock.wire.records import Embedding, Record, VectorRecord

READ_AT_ONCE = 1_000
"""Points that one request asks for."""

TIES = 1_024
"""How many answers of one score are looked at, to choose among them by id."""

_TRIES = 5

_LOGGER = "penstock.stores.points"

_DELETED = Term((TOMBSTONE,))

_T = TypeVar("_T")


class _Part(NamedTuple):
    """What a batch brings to one collection."""

    name: str
    layout: Layout
    records: Sequence[VectorRecord]


class _Question(NamedTuple):
    name: str
    vector: bytes
    top_k: int
    where: Wanted | None
    metric: Metric


class PointStore:
    """Embeddings in the collections of an engine. See `VectorStore`.

    A batch of several collections is checked as a whole before anything is written; then each collection's part goes in
    one request, or several above 16 MB. After a crash or `StoreUnavailable` some may be written, and writing the batch
    again is harmless. A collection has the metric of the store that made it, and is searched by no other.

    Two writers of one collection, a worker whose lease has run out among them, cannot undo each other's newer writes:
    see `writing.write`.
    """

    def __init__(self, engine: Engine, metric: Metric = "cosine") -> None:
        self._engine = engine
        self._metric = metric
        self._layouts: dict[str, Layout] = {}
        self._made: set[str] = set()
        """Collections that were there whole when this process wrote to them first."""
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._running: set[asyncio.Task[Any]] = set()
        self._settled: dict[str, int] = {}
        """Vectors without an index for which the engine saw no need of one."""
        self._walks = Walks()
        self.capabilities = VectorCapabilities(
            shared=engine.shared, fenced=False, metrics=(metric,), exact_below=engine.exact_below
        )

    async def setup(self, *, migrate: bool = True) -> None:  # noqa: ARG002 - its first vector makes a collection
        """See `Store.setup`."""
        await self._engine.open()

    async def check(self) -> None:
        """See `Store.check`."""
        await self._engine.check()

    async def close(self) -> None:
        """See `Store.close`."""
        while self._running:
            await asyncio.wait(self._running)
        await self._engine.close()

    async def write(self, records: Sequence[Record], fence: Fence | None = None) -> int:  # noqa: ARG002 - unfenced
        """See `Store.write`. The fence is not looked at: the version of each vector stands in for it.

        A call that is cancelled while it waits for another write of a collection writes nothing; after that everything.
        """
        parts = by_collection(records)
        return await self._alone(parts, lambda: self._write(parts))

    async def _alone(self, names: Mapping[str, object], work: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
        """What comes of *work*, which has the collections to itself and ends, though the caller be cancelled."""
        async with contextlib.AsyncExitStack() as held:
            for name in sorted(names):  # in one order, so that two batches never wait for each other
                await held.enter_async_context(self._locks[name])
            task = asyncio.create_task(_hold(held.pop_all(), work()))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_log_failure)
            raise

    async def _write(self, records: Mapping[str, Sequence[VectorRecord]]) -> int:
        parts = [part for name, each in records.items() if (part := await self._prepared(name, each)) is not None]
        return sum([await self._put(part) for part in parts])

    async def _prepared(self, name: str, records: Sequence[VectorRecord]) -> _Part | None:
        """What is to be written, checked. None where there is no collection and only deletions would make one."""
        known = self._layouts[name] if name in self._made & self._layouts.keys() else await self._look_up(name)
        try:
            dimension = dimension_after(name, known and known.dimension, records)
        except StoreRejected:
            # Somebody else may have dropped it, and made it anew with another dimension.
            known = await self._look_up(name)
            dimension = dimension_after(name, known and known.dimension, records)
        await asyncio.to_thread(refuse_infinite, records)
        if dimension is None:
            return None
        return _Part(name, known or Layout(dimension, self._metric), records)

    async def _put(self, part: _Part) -> int:
        for _ in range(_TRIES):
            if part.name in self._made:
                try:
                    return await writing.write(self._engine, part.name, part.layout, part.records)
                except Missing:
                    self._forget(part.name)  # dropped meanwhile
                except StoreRejected:
                    self._forget(part.name)  # made anew, and otherwise
                    raise
            else:
                # Also where it is there: who made it may have died before its index was.
                await self._engine.create(part.name, part.layout)
                self._made.add(part.name)
            again = await self._prepared(part.name, part.records)
            if again is None:
                return 0
            part = again
        raise StoreUnavailable(f"collection {part.name} was dropped {_TRIES} times while it was written; try again")

    def _forget(self, name: str) -> None:
        self._layouts.pop(name, None)
        self._settled.pop(name, None)
        self._made.discard(name)
        self._walks.forget(name)

    async def _look_up(self, name: str) -> Layout | None:
        self._layouts.pop(name, None)
        with contextlib.suppress(Missing):
            self._layouts[name] = await self._engine.layout(name)
        return self._layouts.get(name)

    async def rehearse(self, records: Sequence[Record]) -> Sequence[Trial]:
        """See `Store.rehearse`. What is written meanwhile is seen or not."""
        keys: dict[str, dict[str, str]] = {}
        for record in records:
            with contextlib.suppress(StoreRejected):  # told below
                for name, changes in by_collection([record]).items():
                    keys.setdefault(name, {}).update((self._engine.id_of(each.key), each.key) for each in changes)
        layouts = {name: layout for name in keys if (layout := await self._look_up(name)) is not None}
        versions: dict[tuple[str, str], int] = {}
        for name in layouts:
            found = await _unless_missing(self._engine.versions(name, list(keys[name])), {})
            versions |= {(name, keys[name][at]): version for at, version in found.items()}
        dimensions = {name: layout.dimension for name, layout in layouts.items()}
        return try_out(records, dimensions, versions, lambda embedding, _: refuse_infinite([embedding]))

    async def partials(self, ids: Sequence[bytes]) -> Mapping[bytes, Partial]:  # noqa: ARG002 - there are none
        """See `Store.partials`."""
        return {}

    async def drop(self, collection: str) -> bool:
        """See `VectorStore.drop`."""
        return await self._alone({collection: None}, lambda: self._drop(collection))

    async def _drop(self, name: str) -> bool:
        self._forget(name)
        return await self._engine.drop(name)

    async def search(
        self,
        collection: str,
        vector: bytes,
        top_k: int,
        where: Mapping[str, Any] | None = None,
        metric: Metric | None = None,
    ) -> Sequence[Hit]:
        """See `VectorReading.search`. Of more than `TIES` answers of one score some are chosen by the engine."""
        condition = to_wanted(parse(where))
        chosen = chosen_metric(metric, self._metric, self.capabilities.metrics)
        question = _Question(collection, vector, top_k, condition, chosen)
        layout = self._layouts.get(collection) or await self._look_up(collection)
        if layout is None or top_k < 1:
            return []
        try:
            return await self._search(question, layout)
        except (Missing, StoreRejected, Unsupported):
            # Somebody else may have dropped it, and made it anew with another dimension.
            layout = await self._look_up(collection)
            return [] if layout is None else await _unless_missing(self._search(question, layout), [])

    async def _search(self, question: _Question, layout: Layout) -> list[Hit]:
        name, vector, top_k, where, metric = question
        if layout.metric != metric:
            raise Unsupported(
                f"collection {name} was made for {layout.metric}, and is searched by nothing else, {metric} "
                f"included; open the store with ?metric={layout.metric}, or write to another collection"
            )
        check_query(name, layout.dimension, vector)
        asked = direction(vector) if metric == "cosine" else vector
        limit = top_k + 1
        while asked is not None:
            near = await self._engine.nearest(name, layout.searched, asked, limit, where)
            is_tied = len(near) == limit and near[-1].score == near[top_k - 1].score
            if not is_tied or limit > top_k + TIES:
                return ranked([to_hit(each, layout) for each in near], top_k)
            limit = top_k + 4 * (limit - top_k)
        return []

    async def vectors(self, collection: str, keys: Sequence[str]) -> Sequence[StoredVector]:
        """See `VectorReading.vectors`."""
        records = await _unless_missing(self._records(collection, list(dict.fromkeys(keys))), [])
        return [stored_vector(each) for each in records if isinstance(each, Embedding)]

    async def _records(self, name: str, keys: Sequence[str]) -> list[VectorRecord]:
        ids = list(map(self._engine.id_of, keys))
        return [
            to_record(name, point)
            for at in range(0, len(ids), READ_AT_ONCE)
            for point in await self._engine.points(name, ids[at : at + READ_AT_ONCE])
        ]

    async def walk_vectors(self, collection: str, after: str | None, limit: int) -> Sequence[VectorRecord]:
        """See `VectorReading.walk_vectors`. Engines have no order by key, so a walk begins with a look at every key."""
        records: list[VectorRecord] = []
        with contextlib.suppress(Missing):
            while len(records) < limit:
                keys = await self._walks.keys(self._engine, collection, after, limit - len(records))
                if not keys:
                    break
                records += sorted(await self._records(collection, keys), key=attrgetter("key"))
                after = keys[-1]
        return records

    async def count_vectors(self, collection: str) -> int:
        """See `VectorReading.count_vectors`."""
        return await _unless_missing(self._count(collection), 0)

    async def _count(self, name: str) -> int:
        return await self._engine.count(name) - await self._engine.count(name, _DELETED)

    async def collections(self) -> Sequence[str]:
        """See `VectorReading.collections`. Those of others in the same place are left out."""
        return sorted(await self._engine.names())

    async def shape(self, collection: str) -> Shape | None:
        """See `VectorUpkeep.shape`."""
        try:
            standing = await self._engine.standing(collection)
            vectors, tombstones = await self._count(collection), await self._engine.count(collection, _DELETED)
        except Missing:
            return None
        return Shape(
            vectors=vectors, tombstones=tombstones, fragments=standing.segments, indexed=min(standing.indexed, vectors)
        )

    async def is_due(self, collection: str) -> bool:
        """See `VectorUpkeep.is_due`."""
        shape = await self.shape(collection)
        if shape is None:
            return False
        unindexed = shape.vectors - (shape.indexed or 0)
        return shape.tombstones > 0 or (
            self._engine.builds_index and unindexed > self._engine.exact_below + self._settled.get(collection, 0)
        )

    async def tend(self, collection: str, tombstones_before_us: int) -> Mapping[str, int]:
        """See `VectorUpkeep.tend`. A server builds its index by itself."""
        done: dict[str, int] = {}
        with contextlib.suppress(Missing):
            old = Group(must=(_DELETED, Number(VERSION, "<", tombstones_before_us)))
            if count := await self._engine.count(collection, old):
                await self._engine.remove(collection, old)
                done["tombstones"] = count
            if await self._engine.optimise(collection):
                done["optimised"] = 1
            elif shape := await self.shape(collection):
                self._settled[collection] = shape.vectors - (shape.indexed or 0)
        return done


async def _unless_missing(asked: Awaitable[_T], nothing: _T) -> _T:
    try:
        return await asked
    except Missing:
        return nothing


async def _hold(held: contextlib.AsyncExitStack, work: Coroutine[Any, Any, _T]) -> _T:
    async with held:
        return await work


def _log_failure(task: asyncio.Task[Any]) -> None:
    """A write whose caller was cancelled failed; the caller's next write will tell."""
    if not task.cancelled() and (error := task.exception()) is not None:
        logger(_LOGGER).warning("cancelled_write_failed", reason=str(error))
