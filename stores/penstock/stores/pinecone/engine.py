"""What the store asks of Pinecone."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from pinecone import AsyncIndex
from pinecone.errors.exceptions import ConflictError, NotFoundError

from penstock.stores.errors import StoreUnavailable, Unsupported
from penstock.stores.pinecone import vectors
from penstock.stores.pinecone.address import Address
from penstock.stores.pinecone.filtering import to_filter
from penstock.stores.pinecone.indexes import Indexes
from penstock.stores.pinecone.translate import translated
from penstock.stores.points.engine import Group, Layout, Missing, Near, Point, Standing, Term, Wanted

MAX_TOP_K = 10_000

FETCHED_AT_ONCE = 100
"""Records of one request: their ids stand in its URL, and 100 times 40 KB of metadata are the 4 MB of an answer."""

LISTED_AT_ONCE = 100

TOGETHER = 8
"""Requests of one call that are under way at once."""

SHOWN_WITHIN_S = 60.0
"""How long Pinecone may take to show what it has written."""

_FIRST_LOOK_S, _LAST_LOOK_S = 0.005, 1.0

_LIVE = Term((vectors.LIVE,))


class PineconeEngine:
    """Namespaces of the indexes of one store. See `Engine`.

    Pinecone is durable when it answers, but shows what it has written only some time later. A write therefore ends when
    a query has told that it sees the write (by its log sequence number), so that the next one reads the versions that
    this one wrote. It has no condition for an upsert: *below* is not looked at.
    """

    shared = True
    builds_index = False
    exact_below = 0
    id_of = staticmethod(vectors.id_of)

    def __init__(self, address: Address) -> None:
        self.address = address
        self._indexes = Indexes(address)
        self._layouts: dict[str, Layout] = {}

    def turn(self, name: str) -> int | None:  # noqa: ARG002 - others write whenever they like
        """See `Engine.turn`."""
        return None

    async def open(self) -> None:
        """See `Engine.open`."""
        await self.check()

    async def check(self) -> None:
        """See `Engine.check`."""
        with self._translated():
            await self._indexes.all()

    async def close(self) -> None:
        """See `Engine.close`."""
        await self._indexes.close()

    async def names(self) -> Sequence[str]:
        """See `Engine.names`."""
        prefix = self.address.namespace
        with self._translated():
            return [
                each.name.removeprefix(prefix)
                for index in (await self._indexes.all()).values()
                async for page in index.list_namespaces(prefix=prefix or None, limit=LISTED_AT_ONCE)
                for each in page.namespaces
                if each.name not in {"", "__default__"}
            ]

    async def layout(self, name: str) -> Layout:
        """See `Engine.layout`."""
        known = self._layouts.pop(name, None)
        with self._translated(name):
            home = None if known is None else self._indexes.known(known)
            if known is not None and home is not None and await self._has(home, name):
                self._layouts[name] = known
                return known
            for layout, index in sorted((await self._indexes.all()).items()):
                if await self._has(index, name):
                    self._layouts[name] = layout
                    return layout
        raise Missing(f"{self.address}, collection {name}: not found")

    async def create(self, name: str, layout: Layout) -> None:
        """See `Engine.create`. Makes the index, too, where it is the first collection of its dimension."""
        with self._translated(name):
            index = await self._indexes.for_layout(layout)
            with contextlib.suppress(ConflictError):  # somebody was sooner
                await index.create_namespace(name=self._namespace(name))
            await self._until(name, lambda: self._has(index, name))
        self._layouts[name] = layout

    async def drop(self, name: str) -> bool:
        """See `Engine.drop`."""
        was_there = False
        with self._translated(name):
            for index in (await self._indexes.all()).values():
                if await self._has(index, name):
                    with contextlib.suppress(NotFoundError):
                        await index.delete_namespace(name=self._namespace(name))
                    await self._until(name, lambda index=index: self._has_not(index, name))  # type: ignore[misc]
                    was_there = True
        self._layouts.pop(name, None)
        return was_there

    async def versions(self, name: str, ids: Sequence[str]) -> Mapping[str, int]:
        """See `Engine.versions`. What is there comes whole: Pinecone fetches a record with its vector."""
        await self._home(name)
        # An upsert would make anew what somebody has dropped, and maybe made elsewhere.
        _, found = await asyncio.gather(self._described(name), self._fetched(name, ids))
        return {each.id: vectors.version_of(each.metadata) for each in found}

    async def upsert(self, name: str, points: Sequence[Point], below: int | None) -> None:  # noqa: ARG002 - it has no conditions
        """See `Engine.upsert`. Not one step: each of its requests is, of 1,000 records and 2 MB at most."""
        index, layout = await self._home(name)
        requests = await asyncio.to_thread(vectors.to_requests, points, layout)

        async def send(request: list[vectors.Vector]) -> int | None:
            with self._translated(name):
                answer = await index.upsert(vectors=request, namespace=self._namespace(name))
            return answer.response_info.lsn_committed if answer.response_info else None

        written = [lsn for lsn in await _together(send, requests) if lsn is not None]
        if written:
            await self._until(name, lambda: self._is_shown(name, max(written)))

    async def points(self, name: str, ids: Sequence[str]) -> Sequence[Point]:
        """See `Engine.points`."""
        await self._home(name)
        return [vectors.from_vector(each) for each in await self._fetched(name, ids)]

    async def nearest(self, name: str, using: str, vector: bytes, limit: int, where: Wanted | None) -> Sequence[Near]:  # noqa: ARG002 - it has one vector only
        """See `Engine.nearest`.

        Raises:
            Unsupported: More are wanted than Pinecone gives, and there are more.
        """
        _, layout = await self._home(name)
        wanted = Group(must=(_LIVE, where)) if where is not None else _LIVE
        most, is_small = min(limit, MAX_TOP_K), limit <= FETCHED_AT_ONCE
        found = await self._query(name, vectors.numbers_of(vector), most, wanted, include_metadata=is_small)
        if len(found) == MAX_TOP_K and limit > MAX_TOP_K + 1:
            raise Unsupported(f"top_k is {limit - 1:,}; Pinecone gives the best {MAX_TOP_K:,}: ask for fewer")
        if not is_small:
            shown = {each.id: each.metadata for each in await self._fetched(name, [each.id for each in found])}
        else:
            shown = {each.id: each.metadata for each in found}
        # What it calls the score by Euclid is the distance squared.
        return [
            Near(shown[each.id], math.sqrt(max(0.0, each.score)) if layout.metric == "l2" else each.score)
            for each in found
            if each.id in shown
        ]

    async def keys(self, name: str, after: str | None, limit: int) -> tuple[Sequence[str], str | None]:
        """See `Engine.keys`. *after* is Pinecone's word for where to go on; a page has 100 at most."""
        index, _ = await self._home(name)
        with self._translated(name):
            page = await index.list_paginated(
                namespace=self._namespace(name), limit=min(limit, LISTED_AT_ONCE), pagination_token=after
            )
        ids = [each.id for each in page.vectors if each.id is not None]
        digests = await self._fetched(name, [each for each in ids if vectors.key_of(each) is None])
        keys = [key for each in ids if (key := vectors.key_of(each)) is not None]
        keys += [each.metadata["key"] for each in digests]
        return keys, page.pagination.next if page.pagination else None

    async def count(self, name: str, where: Wanted | None = None) -> int:
        """See `Engine.count`."""
        if where is None:
            return await self._described(name)
        _, layout = await self._home(name)
        found = await self._query(name, vectors.stand_in(layout.dimension), MAX_TOP_K, where)
        return len(found) if len(found) < MAX_TOP_K else await self._counted(name, where)

    async def remove(self, name: str, where: Wanted) -> None:
        """See `Engine.remove`."""
        index, layout = await self._home(name)
        anything = vectors.stand_in(layout.dimension)

        async def is_done() -> bool:
            return not await self._query(name, anything, 1, where)

        with self._translated(name):
            await index.delete(filter=to_filter(where), namespace=self._namespace(name))
        await self._until(name, is_done)

    async def standing(self, name: str) -> Standing:
        """See `Engine.standing`. Pinecone tells nothing of its pieces, and indexes everything."""
        records = await self._described(name)
        return Standing(records, None, records)

    async def optimise(self, name: str) -> bool:
        """See `Engine.optimise`. Pinecone does it by itself."""
        await self._home(name)
        return False

    async def _described(self, name: str) -> int:
        """How many records the collection has, which is there."""
        index, _ = await self._home(name)
        try:
            with self._translated(name):
                return (await index.describe_namespace(name=self._namespace(name))).record_count
        except Missing:
            self._layouts.pop(name, None)
            raise

    async def _counted(self, name: str, where: Wanted) -> int:
        """How many records match, page by page: a query gives 10,000 only."""
        index, _ = await self._home(name)
        count, token = 0, None
        while True:
            with self._translated(name):
                page = await index.fetch_by_metadata(
                    filter=to_filter(where),
                    namespace=self._namespace(name),
                    limit=FETCHED_AT_ONCE,
                    pagination_token=token,
                )
            count += len(page.vectors)
            token = page.pagination.next if page.pagination else None
            if token is None:
                return count

    async def _query(
        self, name: str, numbers: list[float], limit: int, where: Wanted, *, include_metadata: bool = False
    ) -> list[Any]:
        index, _ = await self._home(name)
        with self._translated(name):
            answer = await index.query(
                vector=numbers,
                top_k=limit,
                namespace=self._namespace(name),
                filter=to_filter(where),
                include_metadata=include_metadata,
            )
        return answer.matches

    async def _fetched(self, name: str, ids: Sequence[str]) -> list[Any]:
        """Those of the records that are there, whole."""
        index, _ = await self._home(name)

        async def fetch(some: Sequence[str]) -> list[Any]:
            with self._translated(name):
                return list((await index.fetch(ids=some, namespace=self._namespace(name))).vectors.values())

        parts = [ids[at : at + FETCHED_AT_ONCE] for at in range(0, len(ids), FETCHED_AT_ONCE)]
        return [each for found in await _together(fetch, parts) for each in found]

    async def _is_shown(self, name: str, lsn: int) -> bool:
        """Whether a query sees the write of this log sequence number."""
        index, layout = await self._home(name)
        with self._translated(name):
            answer = await index.query(
                vector=vectors.stand_in(layout.dimension), top_k=1, namespace=self._namespace(name)
            )
        seen = answer.response_info.lsn_reconciled if answer.response_info else None
        return seen is None or seen >= lsn  # an index that tells none shows at once what it has

    async def _until(self, name: str, is_so: Callable[[], Awaitable[bool]]) -> None:
        deadline, pause_s = time.monotonic() + SHOWN_WITHIN_S, _FIRST_LOOK_S
        while not await is_so():
            if time.monotonic() > deadline:
                raise StoreUnavailable(
                    f"{self.address}, collection {name}: not shown {SHOWN_WITHIN_S:g} s after it was taken; try again"
                )
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LAST_LOOK_S)

    async def _has(self, index: AsyncIndex, name: str) -> bool:
        try:
            await index.describe_namespace(name=self._namespace(name))
        except NotFoundError:
            return False
        return True

    async def _has_not(self, index: AsyncIndex, name: str) -> bool:
        return not await self._has(index, name)

    async def _home(self, name: str) -> tuple[AsyncIndex, Layout]:
        """The index that has the collection, and what it is for."""
        layout = self._layouts.get(name)
        index = None if layout is None else self._indexes.known(layout)
        if layout is None or index is None:
            layout = await self.layout(name)
            index = await self._indexes.for_layout(layout)
        return index, layout

    def _namespace(self, name: str) -> str:
        return self.address.namespace + name

    def _translated(self, name: str | None = None) -> contextlib.AbstractContextManager[None]:
        return translated(f"{self.address}, collection {name}" if name else str(self.address))


async def _together(work: Callable[[Any], Awaitable[Any]], parts: Sequence[Any]) -> list[Any]:
    """What comes of *work* with each of *parts*, in order, some of them at once."""
    gate = asyncio.Semaphore(TOGETHER)

    async def one(part: Any) -> Any:
        async with gate:
            return await work(part)

    tasks = [asyncio.ensure_future(one(part)) for part in parts]
    try:
        return list(await asyncio.gather(*tasks))
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
