"""A stand-in of Weaviate: schema over REST, objects and searches over gRPC with the client's own messages.

It keeps to the documentation: texts of a `field` index lose the spaces round them, a property that is not in the schema
cannot be filtered by, an import of an unknown collection makes one (auto-schema), a query gives 10,000 at most, and
`Not` is everything else. What it cannot show: an index that is approximate, shards and replicas, asynchronous indexing.
"""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import grpc
import numpy as np
from weaviate.proto.v1 import (
    aggregate_pb2,
    base_pb2,
    batch_delete_pb2,
    batch_pb2,
    properties_pb2,
    search_get_pb2,
    weaviate_pb2_grpc,
)

from tests.conformance.http_answers import Answer, Request, answering

Holds = Callable[["Stored"], bool]

_OPERATORS = base_pb2.Filters.Operator


@dataclass
class Stored:
    """An object."""

    uuid: str
    properties: dict[str, Any]
    vector: bytes | None


@dataclass
class Class:
    schema: dict[str, Any]
    objects: dict[str, Stored] = field(default_factory=dict)

    @property
    def properties(self) -> dict[str, dict[str, Any]]:
        return {each["name"]: each for each in self.schema["properties"]}


class _Refused(Exception):
    def __init__(self, words: str) -> None:
        self.words = words


class Weaviate(weaviate_pb2_grpc.WeaviateServicer):
    """A server.

    *before* is called with each message and each new property, before it is carried out; *refuse* says of objects, by
    key, why it does not take them.
    """

    def __init__(self, api_key: str | None = None) -> None:
        self.api_key = api_key
        self.version = "1.33.0"
        self.classes: dict[str, Class] = {}
        self.most = 10_000
        self.before: Callable[[Any], None] = lambda _: None
        self.refuse: dict[str, str] = {}
        self.messages: list[Any] = []

    def answer(self, request: Request) -> Answer:  # noqa: PLR0911 - one for each thing that is asked
        """What REST is told."""
        if self.api_key is not None and request.headers.get("authorization") != f"Bearer {self.api_key}":
            return Answer(401, {"error": [{"message": "anonymous access not enabled"}]})
        match request.method, request.segments[1:]:
            case "GET", ["meta"]:
                return Answer(200, {"version": self.version, "hostname": "http://[::]:8080", "modules": {}})
            case "GET", ["schema"]:
                return Answer(200, {"classes": [each.schema for each in self.classes.values()]})
            case "POST", ["schema"]:
                return self._create(request.json())
            case "GET", ["schema", name] if name in self.classes:
                return Answer(200, self.classes[name].schema)
            case "DELETE", ["schema", name]:
                return Answer(200 if self.classes.pop(name, None) else 400)
            case "POST", ["schema", name, "properties"] if name in self.classes:
                return self._add_property(self.classes[name], request.json())
        return Answer(404, {"error": [{"message": f"{request.method} {request.path}"}]})

    def _create(self, schema: dict[str, Any]) -> Answer:
        if schema["class"].lower() in {each.lower() for each in self.classes}:
            return Answer(422, {"error": [{"message": f"class name {schema['class']} already exists"}]})
        assert schema["class"][0].isupper()
        schema["properties"] = [with_defaults(each) for each in schema["properties"]]
        for each in schema["vectorConfig"].values():
            each["vectorIndexConfig"] = _HNSW | each["vectorIndexConfig"]
        self.classes[schema["class"]] = Class(schema)
        return Answer(200, schema)

    def _add_property(self, found: Class, sent: dict[str, Any]) -> Answer:
        self.before(sent)
        if sent["name"] in found.properties:
            return Answer(422, {"error": [{"message": f"property {sent['name']} already exists"}]})
        found.schema["properties"].append(with_defaults(sent))
        return Answer(200, sent)

    async def Search(self, request: Any, context: Any) -> Any:  # noqa: N802 - the interface's name
        found = await self._class(request, context)
        try:
            objects = list(self._matching(found, request))
        except _Refused as refused:
            await context.abort(grpc.StatusCode.UNKNOWN, refused.words)
        distances: dict[str, float] = {}
        if request.HasField("near_vector"):
            distances = _distances(found, objects, request.near_vector)
            objects = sorted(
                (each for each in objects if each.uuid in distances), key=lambda each: distances[each.uuid]
            )
        else:
            objects.sort(key=lambda each: each.uuid)
        shown = objects[: min(request.limit or 10, self.most)]
        return search_get_pb2.SearchReply(
            results=[_result(each, request, found, distances.get(each.uuid)) for each in shown]
        )

    def _matching(self, found: Class, request: Any) -> Iterator[Stored]:
        holds = predicate_of(request.filters, found) if request.HasField("filters") else lambda _: True
        return (each for each in found.objects.values() if holds(each) and each.uuid > request.after)

    async def BatchObjects(self, request: Any, context: Any) -> Any:  # noqa: N802
        await self._admit(request, context)
        errors = []
        for index, each in enumerate(request.objects):
            try:
                self._import(each)
            except _Refused as refused:
                errors.append(batch_pb2.BatchObjectsReply.BatchError(index=index, error=refused.words))
        return batch_pb2.BatchObjectsReply(errors=errors)

    def _import(self, sent: Any) -> None:
        found = self.classes.setdefault(sent.collection, Class({"class": sent.collection, "properties": []}))
        properties = dict(sent.properties.non_ref_properties.items())
        properties |= {each.prop_name: list(each.values) for each in sent.properties.text_array_properties}
        properties |= {each: [] for each in sent.properties.empty_list_props}
        if properties["key"] in self.refuse:
            raise _Refused(self.refuse[properties["key"]])
        unknown = properties.keys() - found.properties.keys()
        assert not unknown, f"auto-schema would make {unknown}"
        vectors = {each.name: each.vector_bytes for each in sent.vectors}
        others = {len(each.vector) for each in found.objects.values() if each.vector}
        if vectors and others - {len(vectors["default"])}:
            raise _Refused("new node has a vector with another length")
        found.objects[sent.uuid] = Stored(sent.uuid, properties, vectors.get("default"))

    async def BatchDelete(self, request: Any, context: Any) -> Any:  # noqa: N802
        found = await self._class(request, context)
        holds = predicate_of(request.filters, found)
        gone = [each.uuid for each in found.objects.values() if holds(each)][: self.most]
        for each in gone:
            del found.objects[each]
        return batch_delete_pb2.BatchDeleteReply(matches=len(gone), successful=len(gone))

    async def Aggregate(self, request: Any, context: Any) -> Any:  # noqa: N802
        found = await self._class(request, context)
        holds = predicate_of(request.filters, found) if request.HasField("filters") else lambda _: True
        count = sum(map(holds, found.objects.values()))
        return aggregate_pb2.AggregateReply(single_result=aggregate_pb2.AggregateReply.Single(objects_count=count))

    async def _class(self, request: Any, context: Any) -> Class:
        await self._admit(request, context)
        if request.collection not in self.classes:
            words = f"could not find class {request.collection} in schema"
            await context.abort(grpc.StatusCode.UNKNOWN, words)
        return self.classes[request.collection]

    async def _admit(self, request: Any, context: Any) -> None:
        self.messages.append(request)
        self.before(request)
        sent = dict(context.invocation_metadata()).get("authorization")
        if self.api_key is not None and sent != f"Bearer {self.api_key}":
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "unauthorized")


_HNSW = {
    "cleanupIntervalSeconds": 300,
    "dynamicEfFactor": 8,
    "dynamicEfMax": 500,
    "dynamicEfMin": 100,
    "ef": -1,
    "efConstruction": 128,
    "flatSearchCutoff": 40_000,
    "maxConnections": 32,
    "skip": False,
    "vectorCacheMaxObjects": 10**12,
}
"""What a server fills in."""


def with_defaults(sent: Mapping[str, Any]) -> dict[str, Any]:
    return {"indexFilterable": True, "indexSearchable": False, **{k: v for k, v in sent.items() if v is not None}}


def predicate_of(where: Any, found: Class) -> Holds:
    op = where.operator
    if op in {_OPERATORS.OPERATOR_AND, _OPERATORS.OPERATOR_OR, _OPERATORS.OPERATOR_NOT}:
        parts = [predicate_of(each, found) for each in where.filters]
        assert parts
        if op == _OPERATORS.OPERATOR_NOT:
            (part,) = parts
            return lambda stored: not part(stored)
        every = all if op == _OPERATORS.OPERATOR_AND else any
        return lambda stored: every(part(stored) for part in parts)
    name = where.target.property or where.on[0]
    if name in {"_id", "id"}:
        wanted_ids = {where.value_text, *where.value_text_array.values}
        return lambda stored: stored.uuid in wanted_ids
    if not found.properties.get(name, {}).get("indexFilterable"):
        raise _Refused(f"no such prop with name '{name}' found in class, or it has no index")
    if op == _OPERATORS.OPERATOR_CONTAINS_ANY:
        assert found.properties[name]["tokenization"] == "field"
        wanted = {each.strip() for each in where.value_text_array.values}
        return lambda stored: any(each.strip() in wanted for each in stored.properties[name])
    compare = _COMPARISONS[op]
    assert where.HasField("value_number")
    return lambda stored: name in stored.properties and compare(stored.properties[name], where.value_number)


_COMPARISONS: dict[int, Callable[[float, float], bool]] = {
    _OPERATORS.OPERATOR_EQUAL: lambda found, value: found == value,
    _OPERATORS.OPERATOR_GREATER_THAN: lambda found, value: found > value,
    _OPERATORS.OPERATOR_GREATER_THAN_EQUAL: lambda found, value: found >= value,
    _OPERATORS.OPERATOR_LESS_THAN: lambda found, value: found < value,
    _OPERATORS.OPERATOR_LESS_THAN_EQUAL: lambda found, value: found <= value,
}


def _distances(found: Class, objects: list[Stored], near: Any) -> dict[str, float]:
    ((asked,),) = [
        [each.vector_bytes for each in near.vectors] or [near.vector_bytes or near.vector_for_targets[0].vector_bytes]
    ]
    query = np.frombuffer(asked, "<f4").astype(float)
    metric = found.schema["vectorConfig"]["default"]["vectorIndexConfig"]["distance"]
    distances = {}
    for each in objects:
        if each.vector is not None:
            row = np.frombuffer(each.vector, "<f4").astype(float)
            distances[each.uuid] = float(np.square(row - query).sum() if metric == "l2-squared" else -(row @ query))
    return distances


def _result(stored: Stored, request: Any, found: Class, distance: float | None) -> Any:
    metadata = search_get_pb2.MetadataResult(id=stored.uuid, id_as_bytes=UUID(stored.uuid).bytes)
    if distance is not None:
        metadata.distance, metadata.distance_present = distance, True
    if (request.metadata.vector or request.metadata.vectors) and stored.vector is not None:
        single = base_pb2.Vectors.VECTOR_TYPE_SINGLE_FP32
        metadata.vectors.append(base_pb2.Vectors(name="default", vector_bytes=stored.vector, type=single))
    fields = {}
    for name in request.properties.non_ref_properties:
        assert name in found.properties, name
        value = stored.properties.get(name)
        if value is None:
            fields[name] = properties_pb2.Value(null_value=0)
        elif isinstance(value, bool):
            fields[name] = properties_pb2.Value(bool_value=value)
        else:
            fields[name] = properties_pb2.Value(text_value=value)
    properties = search_get_pb2.PropertiesResult(non_ref_props=properties_pb2.Properties(fields=fields))
    return search_get_pb2.SearchResult(metadata=metadata, properties=properties)


def numbers(vector: bytes) -> list[float]:
    return list(struct.unpack(f"<{len(vector) // 4}f", vector))


@asynccontextmanager
async def serving(server: Weaviate) -> AsyncIterator[tuple[int, int]]:
    """The ports of REST and gRPC where *server* answers."""
    grpcs = grpc.aio.server(options=[("grpc.max_receive_message_length", -1)])
    weaviate_pb2_grpc.add_WeaviateServicer_to_server(server, grpcs)  # type: ignore[no-untyped-call]
    port = grpcs.add_insecure_port("127.0.0.1:0")
    await grpcs.start()
    async with answering(server.answer) as rest:
        try:
            yield rest, port
        finally:
            await grpcs.stop(None)
