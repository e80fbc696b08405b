"""What the store asks of Weaviate."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from weaviate import WeaviateAsyncClient, use_async_with_custom
from weaviate.classes.config import ConsistencyLevel, DataType, Property
from weaviate.classes.init import AdditionalConfig, Auth, Timeout
from weaviate.classes.query import MetadataQuery
from weaviate.exceptions import (
    UnexpectedStatusCodeError,
    WeaviateInsertManyAllFailedError,
    WeaviateInvalidInputError,
    WeaviateQueryError,
)

from penstock.stores.errors import StoreRejected, StoreUnavailable, Unsupported
from penstock.stores.metrics import floats_of
from penstock.stores.points.encoding import point_id
from penstock.stores.points.engine import SHOWN, Layout, Missing, Near, Point, Standing, Wanted
from penstock.stores.weaviate import objects
from penstock.stores.weaviate.address import Address
from penstock.stores.weaviate.filtering import Where, numbers_in, to_filter
from penstock.stores.weaviate.naming import class_of, described, layout_of
from penstock.stores.weaviate.translate import translated

TIMEOUT_S = 60

SINCE = (1, 33)
"""The version that has `Not` in filters."""

MOST = 10_000
"""What one query gives at most, where the server's `QUERY_MAXIMUM_RESULTS` is not raised."""

SENT_AT_ONCE = 1_000

READ_AT_ONCE = 500


class WeaviateEngine:
    """The collections of one server. See `Engine`.

    Every read by id and every write asks a quorum of the replicas, so that a read sees the last write. Weaviate has no
    condition for an import: *below* is not looked at.
    """

    shared = True
    builds_index = False
    exact_below = 0
    id_of = staticmethod(point_id)

    def __init__(self, address: Address) -> None:
        self.address = address
        self._client: WeaviateAsyncClient | None = None
        self._connecting = asyncio.Lock()
        self._closed = False
        self._layouts: dict[str, Layout] = {}
        self._numbers: defaultdict[str, set[str]] = defaultdict(set)
        """The properties of numbers that each collection is known to have."""

    def turn(self, name: str) -> int | None:  # noqa: ARG002 - others write whenever they like
        """See `Engine.turn`."""
        return None

    async def open(self) -> None:
        """See `Engine.open`."""
        with translated(str(self.address)):
            version = str((await (await self._connected()).get_meta())["version"])
        if tuple(int(part) for part in version.split(".")[:2]) < SINCE:
            raise StoreUnavailable(
                f"{self.address}: it is Weaviate {version}; upgrade it to 1.33, whose filters have Not"
            )

    async def check(self) -> None:
        """See `Engine.check`."""
        with translated(str(self.address)):
            await (await self._connected()).get_meta()

    async def close(self) -> None:
        """See `Engine.close`."""
        self._closed = True
        async with self._connecting:
            client, self._client = self._client, None
            if client is not None:
                await client.close()

    async def names(self) -> Sequence[str]:
        """See `Engine.names`."""
        with translated(str(self.address)):
            found = await (await self._connected()).collections.list_all(simple=True)
        return [ours[0] for each in found.values() if (ours := described(each.description)) is not None]

    async def layout(self, name: str) -> Layout:
        """See `Engine.layout`."""
        self._forget(name)
        with self._translated(name):
            config = await (await self._connected()).collections.use(class_of(name)).config.get(simple=True)
        self._layouts[name] = layout_of(name, config.description)
        self._numbers[name] = {each.name for each in config.properties}
        return self._layouts[name]

    def _forget(self, name: str) -> None:
        self._layouts.pop(name, None)
        self._numbers.pop(name, None)

    async def create(self, name: str, layout: Layout) -> None:
        """See `Engine.create`."""
        async with self._asked(name) as client:
            if not await client.collections.exists(class_of(name)):
                try:
                    await client.collections.create_from_dict(objects.to_class(name, layout))
                except UnexpectedStatusCodeError:
                    if not await client.collections.exists(class_of(name)):  # else somebody was sooner
                        raise

    async def drop(self, name: str) -> bool:
        """See `Engine.drop`."""
        self._forget(name)
        async with self._asked(name) as client:
            was_there: bool = await client.collections.exists(class_of(name))
            if was_there:
                await client.collections.delete(class_of(name))
        return was_there

    async def versions(self, name: str, ids: Sequence[str]) -> Mapping[str, int]:
        """See `Engine.versions`."""
        known = self._layouts.get(name)
        # An import would make anew what somebody has dropped, by auto-schema.
        if known not in {None, await self.layout(name)}:
            raise Missing(f"{self.address}, collection {name}: somebody has made it anew, with another layout")
        found = await self._read(name, ids, [objects.AT], with_vector=False)
        return {str(each.uuid): int(each.properties[objects.AT]) for each in found}

    async def upsert(self, name: str, points: Sequence[Point], below: int | None) -> None:  # noqa: ARG002 - it has no conditions
        """See `Engine.upsert`. Not one step: 1,000 objects go at once, and some of them may fail alone."""
        layout = await self._layout_of(name)
        await self._add_numbers(name, {each for point in points for each, _ in objects.numbers_of(point)})
        for at in range(0, len(points), SENT_AT_ONCE):
            some = [objects.to_object(each, layout) for each in points[at : at + SENT_AT_ONCE]]
            async with self._collection(name) as collection:
                try:
                    result = await collection.data.insert_many(some)
                except WeaviateInsertManyAllFailedError as exc:
                    # Of one alone it is the object that is at fault; of all, more likely the server.
                    kind = StoreRejected if len(some) == 1 else StoreUnavailable
                    raise kind(f"{self.address}, collection {name}: it took none of {len(some)} objects") from exc
            if result.errors:
                words = next(iter(result.errors.values())).message.splitlines()[0][:200]
                raise StoreRejected(
                    f"{self.address}, collection {name}: it took all but {len(result.errors)} of {len(some)} objects: "
                    f"{words}"
                )

    async def _add_numbers(self, name: str, numbers: set[str]) -> None:
        """Make the properties that a filter compares, where they are new. Each costs a request, once."""
        for number in sorted(numbers - self._numbers[name]):
            added = Property(name=number, data_type=DataType.NUMBER, index_filterable=True, index_range_filters=True)
            async with self._collection(name) as collection:
                try:
                    await collection.config.add_property(added)
                except (WeaviateInvalidInputError, UnexpectedStatusCodeError):
                    await self.layout(name)
                    if number not in self._numbers[name]:  # else somebody was sooner
                        raise
            self._numbers[name].add(number)

    async def points(self, name: str, ids: Sequence[str]) -> Sequence[Point]:
        """See `Engine.points`."""
        layout = await self._layout_of(name)
        found = await self._read(name, ids, list(objects.WHOLE), with_vector=True)
        return [objects.from_object(each, layout) for each in found]

    async def nearest(self, name: str, using: str, vector: bytes, limit: int, where: Wanted | None) -> Sequence[Near]:  # noqa: ARG002 - it has one vector only
        """See `Engine.nearest`.

        Raises:
            Unsupported: More are wanted than a query gives, and there are more.
        """
        layout = await self._layout_of(name)
        filters = None if where is None else await self._filter(name, where)
        async with self._collection(name) as collection:
            found = await collection.query.near_vector(
                near_vector=floats_of(vector).tolist(),
                target_vector=objects.VECTOR,
                limit=min(limit, MOST),
                filters=filters,
                return_metadata=MetadataQuery(distance=True),
                return_properties=list(SHOWN),
            )
        if len(found.objects) == MOST and limit > MOST + 1:
            raise Unsupported(f"top_k is {limit - 1:,}; Weaviate gives the best {MOST:,} in one answer: ask for fewer")
        return [
            Near(objects.to_payload(each.properties), _score(each.metadata.distance or 0.0, layout))
            for each in found.objects
        ]

    async def keys(self, name: str, after: str | None, limit: int) -> tuple[Sequence[str], str | None]:
        """See `Engine.keys`."""
        async with self._collection(name) as collection:
            found = await collection.query.fetch_objects(limit=min(limit, MOST), after=after, return_properties=["key"])
        keys = [str(each.properties["key"]) for each in found.objects]
        return keys, str(found.objects[-1].uuid) if len(keys) == min(limit, MOST) else None

    async def count(self, name: str, where: Wanted | None = None) -> int:
        """See `Engine.count`."""
        filters = None if where is None else await self._filter(name, where)
        async with self._collection(name) as collection:
            found = await collection.aggregate.over_all(total_count=True, filters=filters)
        return found.total_count or 0

    async def remove(self, name: str, where: Wanted) -> None:
        """See `Engine.remove`. Weaviate removes so many at once as one query gives."""
        filters = await self._filter(name, where)
        while True:
            async with self._collection(name) as collection:
                done = await collection.data.delete_many(filters)
            if done.failed:
                raise StoreUnavailable(f"{self.address}, collection {name}: {done.failed} objects were not removed")
            if done.successful == 0:
                return

    async def standing(self, name: str) -> Standing:
        """See `Engine.standing`. Its pieces are its own affair, and it indexes every vector."""
        count = await self.count(name)
        return Standing(count, None, count)

    async def optimise(self, name: str) -> bool:
        """See `Engine.optimise`. Weaviate does it by itself."""
        await self.layout(name)
        return False

    async def _layout_of(self, name: str) -> Layout:
        return self._layouts.get(name) or await self.layout(name)

    async def _filter(self, name: str, where: Wanted) -> Where:
        if numbers_in(where) - self._numbers[name]:
            await self.layout(name)  # another writer may have added some
        return to_filter(where, self._numbers[name])

    async def _read(self, name: str, ids: Sequence[str], properties: list[str], *, with_vector: bool) -> list[Any]:
        found: list[Any] = []
        for at in range(0, len(ids), READ_AT_ONCE):
            some = ids[at : at + READ_AT_ONCE]
            async with self._collection(name) as collection:
                part = await collection.query.fetch_objects_by_ids(
                    some, limit=len(some), include_vector=with_vector, return_properties=properties
                )
            found += part.objects
        return found

    @contextlib.asynccontextmanager
    async def _collection(self, name: str) -> AsyncIterator[Any]:
        async with self._asked(name) as client:
            yield client.collections.use(class_of(name)).with_consistency_level(ConsistencyLevel.QUORUM)

    @contextlib.asynccontextmanager
    async def _asked(self, name: str) -> AsyncIterator[WeaviateAsyncClient]:
        with self._translated(name):
            client = await self._connected()
            try:
                yield client
            except WeaviateQueryError as exc:
                # It says by words only that there is no such collection.
                if await client.collections.exists(class_of(name)):
                    raise
                self._forget(name)
                raise Missing(f"{self.address}, collection {name}: not found") from exc

    async def _connected(self) -> WeaviateAsyncClient:
        async with self._connecting:
            if self._closed:
                raise StoreUnavailable(f"the store of {self.address} is closed")
            if self._client is None:
                self._client = await _connect(self.address)
            return self._client

    def _translated(self, name: str) -> contextlib.AbstractContextManager[None]:
        return translated(f"{self.address}, collection {name}")


async def _connect(address: Address) -> WeaviateAsyncClient:
    client = use_async_with_custom(
        http_host=address.host,
        http_port=address.port,
        http_secure=address.https,
        grpc_host=address.grpc_host,
        grpc_port=address.grpc_port,
        grpc_secure=address.https,
        auth_credentials=Auth.api_key(address.api_key) if address.api_key else None,
        additional_config=AdditionalConfig(timeout=Timeout(init=TIMEOUT_S, query=TIMEOUT_S, insert=TIMEOUT_S)),
        skip_init_checks=True,  # one of them asks PyPI for a newer client
    )
    try:
        await client.connect()
    except BaseException:
        await client.close()
        raise
    return client


def _score(distance: float, layout: Layout) -> float:
    """As Qdrant has it: the product, or by Euclid the distance, lower where it is nearer."""
    return math.sqrt(max(0.0, distance)) if layout.metric == "l2" else 0.0 - distance
