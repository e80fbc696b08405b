"""A Qdrant server, over gRPC."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc as grpcio
from qdrant_client import AsyncQdrantClient, grpc
from qdrant_client.common.client_exceptions import QdrantException

from penstock.stores.errors import StoreError, StoreRejected, StoreUnavailable
from penstock.stores.metrics import own_metric, url_options
from penstock.stores.points.addresses import server_address
from penstock.stores.points.encoding import point_id
from penstock.stores.points.engine import (
    BREADTH,
    EXACT_BELOW,
    SELECTIVE,
    SHOWN,
    TERMS,
    VERSION,
    Layout,
    Missing,
    Near,
    Point,
    Standing,
    Wanted,
    layout_of,
    ours,
)
from penstock.stores.points.store import PointStore
from penstock.stores.qdrant import messages
from penstock.wire.logs import logger

PORT = 6334
"""Of gRPC. Qdrant's other one, 6333, speaks HTTP only."""

TIMEOUT_S = 60.0
"""How long an answer may take: the making of an index of millions of points among them."""

CONDITIONS_SINCE = (1, 16)
"""The version of Qdrant since which an upsert may have a condition."""

_LOGGER = "penstock.stores.qdrant"

_REFUSALS = (grpcio.StatusCode.INVALID_ARGUMENT, grpcio.StatusCode.OUT_OF_RANGE)

_LOCKED = (grpcio.StatusCode.UNAUTHENTICATED, grpcio.StatusCode.PERMISSION_DENIED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a server is, and how it is talked to."""

    host: str
    port: int = PORT
    https: bool = False
    api_key: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return f"Qdrant at {self.host}:{self.port}"


def open_vector(url: str) -> PointStore:
    """The store of `qdrant://host:6334/?api_key=&https=&metric=`; nothing is connected yet.

    Raises:
        BadStoreURL: No host, a path, or an option that is not known. The key is not in its words.
    """
    options = url_options(url, "api_key", "https", "metric")
    return PointStore(ServerEngine(_address(url, options)), own_metric(options))


def _address(url: str, options: Mapping[str, str]) -> Address:
    at = server_address(url, options, port=PORT, key="api_key", tls="https")
    return Address(host=at.host, port=at.port, https=at.tls, api_key=at.key)


class ServerEngine:
    """The collections of one server. See `Engine`.

    Durable is what the server's write-ahead log has when it answers: it is asked to answer once a write is applied.
    """

    builds_index = False
    shared = True
    exact_below = EXACT_BELOW
    id_of = staticmethod(point_id)

    def __init__(self, address: Address) -> None:
        self.address = address
        self._client: AsyncQdrantClient | None = None
        self._closed = False
        self._calls = 0
        self._answered = asyncio.Event()

    async def open(self) -> None:
        """See `Engine.open`."""
        with self._translated():
            version = (await self._connected().info()).version
        if tuple(int(part) for part in version.split(".")[:2]) < CONDITIONS_SINCE:
            logger(_LOGGER).warning(
                "qdrant_without_conditions",
                server=str(self.address),
                version=version,
                remedy="upgrade it to 1.16: until then of two workers that write one collection the older may win",
            )

    async def check(self) -> None:
        """See `Engine.check`."""
        with self._translated():
            await self._collections.List(grpc.ListCollectionsRequest(), timeout=TIMEOUT_S)

    async def close(self) -> None:
        """See `Engine.close`."""
        self._closed = True
        while self._calls:  # a channel that is closed would cancel their tasks
            self._answered.clear()
            await self._answered.wait()
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    def turn(self, name: str) -> int | None:  # noqa: ARG002 - others write whenever they like
        """See `Engine.turn`."""
        return None

    async def names(self) -> Sequence[str]:
        """See `Engine.names`. Asks for each, since a list tells names only."""
        with self._translated():
            listed = await self._collections.List(grpc.ListCollectionsRequest(), timeout=TIMEOUT_S)
        return await ours(self, [each.name for each in listed.collections])

    async def layout(self, name: str) -> Layout:
        """See `Engine.layout`."""
        return layout_of(name, messages.from_collection(await self._info(name)))

    async def _info(self, name: str) -> Any:
        with self._translated(name):
            request = grpc.GetCollectionInfoRequest(collection_name=name)
            return (await self._collections.Get(request, timeout=TIMEOUT_S)).result

    async def create(self, name: str, layout: Layout) -> None:
        """See `Engine.create`. The index of terms is made whether the collection was there or not: who made it may
        have died in between."""
        with self._translated(name), _passing_what_exists():
            await self._collections.Create(messages.to_collection(name, layout), timeout=TIMEOUT_S)
        with self._translated(name):
            request = grpc.CreateFieldIndexCollection(
                collection_name=name, field_name=TERMS, field_type=grpc.FieldType.FieldTypeKeyword, wait=True
            )
            await self._points.CreateFieldIndex(request, timeout=TIMEOUT_S)

    async def drop(self, name: str) -> bool:
        """See `Engine.drop`."""
        with self._translated(name):
            request = grpc.DeleteCollection(collection_name=name)
            return bool((await self._collections.Delete(request, timeout=TIMEOUT_S)).result)

    async def versions(self, name: str, ids: Sequence[str]) -> Mapping[str, int]:
        """See `Engine.versions`."""
        request = grpc.GetPoints(
            collection_name=name, ids=messages.to_ids(ids), with_payload=_include([VERSION]), with_vectors=_no_vectors()
        )
        with self._translated(name):
            found = await self._points.Get(request, timeout=TIMEOUT_S)
        return {each.id.uuid: each.payload[VERSION].integer_value for each in found.result}

    async def upsert(self, name: str, points: Sequence[Point], below: int | None) -> None:
        """See `Engine.upsert`."""
        request = await asyncio.to_thread(messages.to_upsert, name, points, below)
        with self._translated(name):
            await self._points.Upsert(request, timeout=TIMEOUT_S)

    async def points(self, name: str, ids: Sequence[str]) -> Sequence[Point]:
        """See `Engine.points`."""
        request = grpc.GetPoints(
            collection_name=name,
            ids=messages.to_ids(ids),
            with_payload=grpc.WithPayloadSelector(enable=True),
            with_vectors=grpc.WithVectorsSelector(enable=True),
        )
        with self._translated(name):
            found = await self._points.Get(request, timeout=TIMEOUT_S)
        return [messages.from_point(each) for each in found.result]

    async def nearest(self, name: str, using: str, vector: bytes, limit: int, where: Wanted | None) -> Sequence[Near]:
        """See `Engine.nearest`."""
        request = grpc.QueryPoints(
            collection_name=name,
            query=grpc.Query(nearest=grpc.VectorInput(dense=messages.to_dense(vector))),
            using=using,
            filter=None if where is None else messages.to_filter(where),
            params=grpc.SearchParams(
                hnsw_ef=max(BREADTH, limit),
                acorn=None if where is None else grpc.AcornSearchParams(enable=True, max_selectivity=SELECTIVE),
            ),
            limit=limit,
            with_payload=_include(SHOWN),
        )
        with self._translated(name):
            found = await self._points.Query(request, timeout=TIMEOUT_S)
        return [Near(messages.from_payload(each.payload), each.score) for each in found.result]

    async def keys(self, name: str, after: str | None, limit: int) -> tuple[Sequence[str], str | None]:
        """See `Engine.keys`."""
        request = grpc.ScrollPoints(
            collection_name=name,
            offset=None if after is None else grpc.PointId(uuid=after),
            limit=limit,
            with_payload=_include(["key"]),
            with_vectors=_no_vectors(),
        )
        with self._translated(name):
            found = await self._points.Scroll(request, timeout=TIMEOUT_S)
        further = found.next_page_offset.uuid if found.HasField("next_page_offset") else None
        return [each.payload["key"].string_value for each in found.result], further

    async def count(self, name: str, where: Wanted | None = None) -> int:
        """See `Engine.count`."""
        request = grpc.CountPoints(
            collection_name=name, filter=None if where is None else messages.to_filter(where), exact=True
        )
        with self._translated(name):
            return int((await self._points.Count(request, timeout=TIMEOUT_S)).result.count)

    async def remove(self, name: str, where: Wanted) -> None:
        """See `Engine.remove`."""
        request = grpc.DeletePoints(
            collection_name=name, wait=True, points=grpc.PointsSelector(filter=messages.to_filter(where))
        )
        with self._translated(name):
            await self._points.Delete(request, timeout=TIMEOUT_S)

    async def standing(self, name: str) -> Standing:
        """See `Engine.standing`."""
        info = await self._info(name)
        return Standing(info.points_count, info.segments_count, info.indexed_vectors_count)

    async def optimise(self, name: str) -> bool:
        """See `Engine.optimise`. The server does it by itself."""
        await self.layout(name)
        return False

    @property
    def _points(self) -> Any:
        return self._connected().grpc_points

    @property
    def _collections(self) -> Any:
        return self._connected().grpc_collections

    def _connected(self) -> AsyncQdrantClient:
        if self._closed:
            raise StoreUnavailable(f"the store of {self.address} is closed")
        if self._client is None:
            address = self.address
            self._client = AsyncQdrantClient(
                host=address.host,
                grpc_port=address.port,
                prefer_grpc=True,
                https=address.https,
                timeout=int(TIMEOUT_S),
                # As a header: the client warns of keys without https by itself, where nobody can hear it.
                headers={"api-key": address.api_key} if address.api_key else None,
                check_compatibility=False,
                # Without https there are no certificates to look at, and to read the system's takes 25 ms.
                verify=address.https,
            )
        return self._client

    @contextlib.contextmanager
    def _translated(self, name: str | None = None) -> Iterator[None]:
        self._calls += 1
        try:
            with translated(f"{self.address}, collection {name}" if name else str(self.address)):
                yield
        finally:
            self._calls -= 1
            self._answered.set()


def _include(names: Sequence[str]) -> Any:
    return grpc.WithPayloadSelector(include=grpc.PayloadIncludeSelector(fields=names))


def _no_vectors() -> Any:
    return grpc.WithVectorsSelector(enable=False)


@contextlib.contextmanager
def _passing_what_exists() -> Iterator[None]:
    try:
        yield
    except grpcio.RpcError as exc:
        if "already exists" not in _details(exc):
            raise


@contextlib.contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn the client's errors into store errors that begin with *what*, the cause attached.

    What is not known to be a refusal counts as unavailable, a wrong key among them: no record is to blame for it.
    """
    try:
        yield
    except StoreError:
        raise
    except grpcio.RpcError as exc:
        code, details = exc.code(), _details(exc)
        if code is grpcio.StatusCode.NOT_FOUND:
            raise Missing(f"{what}: not found") from exc
        if code in _LOCKED:
            raise StoreUnavailable(f"{what}: {details or code.name}; look at api_key in PENSTOCK_VECTOR_URL") from exc
        kind = StoreRejected if code in _REFUSALS else StoreUnavailable
        raise kind(f"{what}: {code.name}: {details}") from exc
    except QdrantException as exc:  # it asks for less
        raise StoreUnavailable(f"{what}: {exc}") from exc
    except (TypeError, ValueError, OverflowError):
        # Its text quotes the value, and so would a traceback.
        raise StoreRejected(f"{what}: a value is of a type that no message holds") from None


def _details(exc: Any) -> str:
    return next(iter((exc.details() or "").splitlines()), "")[:200]
