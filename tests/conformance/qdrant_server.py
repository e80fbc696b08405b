"""A server that speaks Qdrant's gRPC interface and answers from Qdrant's own engine, one shard a collection.

What it cannot show is what a real server adds to its engine: its own optimisers, replicas, limits and log.
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc as grpcio
import qdrant_edge as edge
from qdrant_client import grpc
from qdrant_client.grpc import collections_service_pb2_grpc as collections
from qdrant_client.grpc import points_service_pb2_grpc as points
from qdrant_client.grpc import qdrant_pb2_grpc as root

_DISTANCES = {1: edge.Distance.Cosine, 2: edge.Distance.Euclid, 3: edge.Distance.Dot}


class Answers(points.PointsServicer, collections.CollectionsServicer, root.QdrantServicer):
    """What is asked of the server. *before_upsert* is called with each request, before it is carried out."""

    def __init__(self, folder: Path, api_key: str | None = None) -> None:
        self.folder = folder
        self.api_key = api_key
        self.version = "1.16.0"
        self.before_upsert: Callable[[Any], None] = lambda _: None
        self.requests: list[Any] = []
        self.shards: dict[str, Any] = {}
        self._made: dict[str, Any] = {}

    async def shard(self, request: Any, context: Any) -> Any:
        await self.admit(request, context)
        if request.collection_name not in self.shards:
            words = f"Not found: Collection `{request.collection_name}` doesn't exist!"
            await context.abort(grpcio.StatusCode.NOT_FOUND, words)
        return self.shards[request.collection_name]

    async def admit(self, request: Any, context: Any) -> None:
        self.requests.append(request)
        if self.api_key is not None and ("api-key", self.api_key) not in context.invocation_metadata():
            await context.abort(grpcio.StatusCode.UNAUTHENTICATED, "Invalid API key or JWT")

    async def HealthCheck(self, request: Any, context: Any) -> Any:  # noqa: N802 - the interface's name
        await self.admit(request, context)
        return grpc.HealthCheckReply(title="qdrant", version=self.version)

    async def List(self, request: Any, context: Any) -> Any:  # noqa: N802
        await self.admit(request, context)
        return grpc.ListCollectionsResponse(collections=[grpc.CollectionDescription(name=each) for each in self.shards])

    async def Get(self, request: Any, context: Any) -> Any:  # noqa: N802 - of collections and of points
        shard = await self.shard(request, context)
        if isinstance(request, grpc.GetCollectionInfoRequest):
            params = grpc.CollectionParams(vectors_config=self._made[request.collection_name].vectors_config)
            info = shard.info()
            return grpc.GetCollectionInfoResponse(
                result=grpc.CollectionInfo(
                    config=grpc.CollectionConfig(params=params),
                    points_count=info.points_count,
                    segments_count=info.segments_count,
                    indexed_vectors_count=info.indexed_vectors_count,
                )
            )
        payload, vectors = _payload_of(request), request.with_vectors.enable
        found = shard.retrieve([each.uuid for each in request.ids], with_payload=payload, with_vector=vectors)
        return grpc.GetResponse(result=map(_retrieved, found))

    async def Create(self, request: Any, context: Any) -> Any:  # noqa: N802
        await self.admit(request, context)
        name = request.collection_name
        if name in self.shards:
            words = f"Wrong input: Collection `{name}` already exists!"
            await context.abort(grpcio.StatusCode.INVALID_ARGUMENT, words)
        hnsw = edge.HnswIndexConfig(16, request.hnsw_config.ef_construct, request.hnsw_config.full_scan_threshold)
        vectors = {
            of: edge.EdgeVectorParams(each.size, _DISTANCES[each.distance])
            for of, each in request.vectors_config.params_map.map.items()
        }
        optimizers = edge.EdgeOptimizersConfig(indexing_threshold=request.optimizers_config.indexing_threshold)
        config = edge.EdgeConfig(vectors=vectors, hnsw_config=hnsw, optimizers=optimizers)
        self.shards[name] = edge.EdgeShard.create(str(self.folder / name), config)
        self._made[name] = request
        return grpc.CollectionOperationResponse(result=True)

    async def Delete(self, request: Any, context: Any) -> Any:  # noqa: N802 - of collections and of points
        if isinstance(request, grpc.DeleteCollection):
            await self.admit(request, context)
            shard = self.shards.pop(request.collection_name, None)
            if shard is not None:
                shard.close()
                shutil.rmtree(self.folder / request.collection_name)
            return grpc.CollectionOperationResponse(result=shard is not None)
        shard = await self.shard(request, context)
        shard.update(edge.UpdateOperation.delete_points_by_filter(to_edge_filter(request.points.filter)))
        return grpc.PointsOperationResponse()

    async def CreateFieldIndex(self, request: Any, context: Any) -> Any:  # noqa: N802
        shard = await self.shard(request, context)
        assert request.field_type == grpc.FieldType.FieldTypeKeyword
        shard.update(edge.UpdateOperation.create_field_index(request.field_name, edge.PayloadSchemaType.Keyword))
        return grpc.PointsOperationResponse()

    async def Upsert(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.before_upsert(request)
        shard = await self.shard(request, context)
        assert request.wait
        condition = to_edge_filter(request.update_filter) if request.HasField("update_filter") else None
        try:
            shard.update(edge.UpdateOperation.upsert_points(list(map(_point, request.points)), condition))
        except Exception as exc:  # noqa: BLE001 - the engine raises nothing else
            await context.abort(grpcio.StatusCode.INVALID_ARGUMENT, f"Wrong input: {exc}")
        shard.flush()
        return grpc.PointsOperationResponse()

    async def Query(self, request: Any, context: Any) -> Any:  # noqa: N802
        shard = await self.shard(request, context)
        vector = list(request.query.nearest.dense.data)
        found = shard.query(
            edge.QueryRequest(
                limit=request.limit,
                query=edge.Query.Nearest(vector, using=request.using),
                with_payload=_payload_of(request),
                filter=to_edge_filter(request.filter) if request.HasField("filter") else None,
                params=edge.SearchParams(
                    hnsw_ef=request.params.hnsw_ef,
                    acorn=edge.AcornSearchParams(request.params.acorn.enable, request.params.acorn.max_selectivity),
                ),
            )
        )
        scored = [
            grpc.ScoredPoint(id=grpc.PointId(uuid=str(each.id)), score=each.score, payload=_values(each.payload))
            for each in found
        ]
        return grpc.QueryResponse(result=scored)

    async def Scroll(self, request: Any, context: Any) -> Any:  # noqa: N802
        shard = await self.shard(request, context)
        offset = request.offset.uuid or None
        asked = edge.ScrollRequest(
            offset=offset, limit=request.limit, with_payload=_payload_of(request), with_vector=False
        )
        found, further = shard.scroll(asked)
        at = None if further is None else grpc.PointId(uuid=str(further))
        return grpc.ScrollResponse(result=map(_retrieved, found), next_page_offset=at)

    async def Count(self, request: Any, context: Any) -> Any:  # noqa: N802
        shard = await self.shard(request, context)
        wanted = to_edge_filter(request.filter) if request.HasField("filter") else None
        count = shard.count(edge.CountRequest(exact=request.exact, filter=wanted))
        return grpc.CountResponse(result=grpc.CountResult(count=count))


@asynccontextmanager
async def serving(answers: Answers) -> AsyncIterator[int]:
    """The port where *answers* are given."""
    server = grpcio.aio.server(options=[("grpc.max_receive_message_length", -1)])
    register: Any
    for register in (
        collections.add_CollectionsServicer_to_server,
        points.add_PointsServicer_to_server,
        root.add_QdrantServicer_to_server,
    ):
        register(answers, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield port
    finally:
        await server.stop(None)
        for shard in answers.shards.values():
            shard.close()


def _payload_of(request: Any) -> Any:
    include = list(request.with_payload.include.fields)
    return include or request.with_payload.enable


def _point(point: Any) -> Any:
    vectors: Any = {name: list(each.dense.data) for name, each in point.vectors.vectors.vectors.items()}
    return edge.Point(point.id.uuid, vectors, {name: _plain(each) for name, each in point.payload.items()})


def _retrieved(point: Any) -> Any:
    vectors = {
        name: grpc.VectorOutput(dense=grpc.DenseVector(data=each)) for name, each in (point.vector or {}).items()
    }
    return grpc.RetrievedPoint(
        id=grpc.PointId(uuid=str(point.id)),
        payload=_values(point.payload),
        vectors=grpc.VectorsOutput(vectors=grpc.NamedVectorsOutput(vectors=vectors)),
    )


def _plain(value: Any) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "list_value":
        return [_plain(each) for each in value.list_value.values]
    if kind == "struct_value":
        return {name: _plain(each) for name, each in value.struct_value.fields.items()}
    return getattr(value, kind)


def _values(payload: dict[str, Any]) -> dict[str, Any]:
    return {name: _value(each) for name, each in payload.items()}


def _value(value: Any) -> Any:
    if isinstance(value, list):
        return grpc.Value(list_value=grpc.ListValue(values=map(_value, value)))
    if isinstance(value, dict):
        return grpc.Value(struct_value=grpc.Struct(fields=_values(value)))
    kind = {str: "string_value", int: "integer_value", float: "double_value"}[type(value)]
    return grpc.Value(**{kind: value})


def to_edge_filter(wanted: Any) -> Any:
    """A filter of a message, as the engine takes it."""
    return edge.Filter(
        must=_conditions(wanted.must), should=_conditions(wanted.should), must_not=_conditions(wanted.must_not)
    )


def _conditions(conditions: Iterable[Any]) -> list[Any] | None:
    return [_condition(each) for each in conditions] or None


def _condition(condition: Any) -> Any:
    if condition.HasField("filter"):
        return to_edge_filter(condition.filter)
    field = condition.field
    if field.HasField("match"):
        return edge.FieldCondition(field.key, match=edge.MatchAny(list(field.match.keywords.strings)))
    bounds = {name: getattr(field.range, name) for name in ("gt", "gte", "lt", "lte") if field.range.HasField(name)}
    return edge.FieldCondition(field.key, range=edge.RangeFloat(**bounds))
