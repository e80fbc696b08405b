"""A stand-in of Pinecone: its REST interface as far as a store asks it, with its limits, as its documentation has them.

What is written is shown only after a query has told that it is not yet. `$ne` and `$nin` of a field that a record has
not are false, though the documentation does not say: a store must not lean on either. What it cannot show: an index
that is approximate, quotas, what several of Pinecone's machines do, and whether the documentation is right.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import orjson

from tests.conformance.http_answers import Answer, Request, answering

Records: TypeAlias = dict[str, dict[str, Any]]
Filter: TypeAlias = Mapping[str, Any]

_RECORDS, _BYTES, _METADATA, _RESULT, _TOP_K, _FETCHED, _LISTED = (
    1_000,
    2_000_000,
    40_960,
    4_000_000,
    10_000,
    1_000,
    100,
)
_URL_CHARS = 64_000


@dataclass
class Namespace:
    """What was written, and as much of it as is shown."""

    taken: Records = field(default_factory=dict)
    shown: Records = field(default_factory=dict)
    lsn: int = 0
    shown_lsn: int = 0

    def write(self, change: Callable[[Records], None]) -> int:
        self.taken = dict(self.taken)
        change(self.taken)
        self.lsn += 1
        return self.lsn

    def catch_up(self) -> None:
        self.shown, self.shown_lsn = self.taken, self.lsn


@dataclass
class Index:
    dimension: int
    metric: str
    namespaces: dict[str, Namespace] = field(default_factory=dict)


class Refused(Exception):
    def __init__(self, status: int, words: str) -> None:
        self.answer = Answer(status, {"code": status, "message": words})


class Pinecone:
    """A project. *before* is called with each request, before it is carried out."""

    def __init__(self, api_key: str = "key") -> None:
        self.api_key = api_key
        self.indexes: dict[str, Index] = {}
        self.port = 0
        self.requests: list[Request] = []
        self.before: Callable[[Request], None] = lambda _: None
        self.most_matches = _TOP_K

    def answer(self, request: Request) -> Answer:
        self.requests.append(request)
        try:
            self.before(request)
            _require(request.headers.get("api-key") == self.api_key, 401, "Invalid API Key")
            _require(len(request.path) < _URL_CHARS, 414, "URI too long")
            if request.segments[0] == "indexes":
                return self._control(request)
            return _Data(self, request).answer()
        except Refused as refused:
            return refused.answer

    def _control(self, request: Request) -> Answer:
        match request.method, request.segments:
            case "GET", ["indexes"]:
                return Answer(200, {"indexes": [self._described(name) for name in self.indexes]})
            case "GET", ["indexes", name]:
                _require(name in self.indexes, 404, f"Resource {name} not found")
                return Answer(200, self._described(name))
            case "POST", ["indexes"]:
                asked = request.json()
                _require(asked["name"] not in self.indexes, 409, "Resource already exists")
                _require(len(asked["name"]) <= 45, 400, "name is too long")
                ((_, values),) = asked["schema"]["fields"].items()
                assert values["type"] == "dense_vector"
                self.indexes[asked["name"]] = Index(values["dimension"], values["metric"])
                return Answer(201, self._described(asked["name"]))
        raise Refused(404, f"{request.method} {request.path}")

    def _described(self, name: str) -> dict[str, Any]:
        index = self.indexes[name]
        values = {"type": "dense_vector", "dimension": index.dimension, "metric": index.metric}
        return {
            "name": name,
            "host": f"http://127.0.0.1:{self.port}/of/{name}",
            "status": {"ready": True, "state": "Ready"},
            "schema": {"fields": {"_values": values}},
            "deployment": {"deployment_type": "managed", "cloud": "aws", "region": "us-east-1"},
            "deletion_protection": "disabled",
        }


class _Data:
    """One request to one index."""

    def __init__(self, project: Pinecone, request: Request) -> None:
        _, name, *self._path = request.segments
        self._project, self._request, self._index = project, request, project.indexes[name]

    def answer(self) -> Answer:
        handlers: dict[tuple[str, str], Callable[[], Answer]] = {
            ("POST", "vectors/upsert"): self._upsert,
            ("GET", "vectors/fetch"): self._fetch,
            ("POST", "vectors/fetch_by_metadata"): self._fetch_by_metadata,
            ("GET", "vectors/list"): self._list,
            ("POST", "vectors/delete"): self._delete,
            ("POST", "query"): self._query,
            ("POST", "namespaces"): self._create_namespace,
            ("GET", "namespaces"): self._list_namespaces,
        }
        method = self._request.method
        if self._path[0] == "namespaces" and len(self._path) == 2:
            return {"GET": self._describe_namespace, "DELETE": self._delete_namespace}[method]()
        return handlers[method, "/".join(self._path)]()

    def _upsert(self) -> Answer:
        asked = self._request.json()
        _require(len(self._request.body) <= _BYTES, 400, "Request size exceeds the maximum supported size of 2 MB")
        _require(0 < len(asked["vectors"]) <= _RECORDS, 400, "Batch size exceeds 1000")
        records = {each["id"]: self._checked(each) for each in asked["vectors"]}
        namespace = self._index.namespaces.setdefault(asked["namespace"], Namespace())
        lsn = namespace.write(lambda taken: taken.update(records))
        return Answer(200, {"upsertedCount": len(records)}, {"x-pinecone-request-lsn": str(lsn)})

    def _checked(self, vector: dict[str, Any]) -> dict[str, Any]:
        _require(vector["id"].isascii() and 0 < len(vector["id"]) <= 512, 400, "Vector ID must be ASCII, 512 at most")
        self._check_values(vector["values"])
        metadata = vector["metadata"]
        _require(len(orjson.dumps(metadata)) <= _METADATA, 400, "metadata size is more than 40960 bytes per vector")
        for name, value in metadata.items():
            is_list = isinstance(value, list) and all(isinstance(each, str) for each in value)
            is_fine = is_list or isinstance(value, str | int | float | bool)
            _require(is_fine and not name.startswith("$"), 400, f"Metadata value must be a string, number, ...: {name}")
        return {"id": vector["id"], "values": np.array(vector["values"], "<f4"), "metadata": kept(metadata)}

    def _check_values(self, values: list[float]) -> None:
        words = f"Vector dimension {len(values)} does not match the dimension of the index {self._index.dimension}"
        _require(len(values) == self._index.dimension, 400, words)
        _require(any(values), 400, "Dense vectors must contain at least one non-zero value.")

    def _fetch(self) -> Answer:
        ids = self._request.query["ids"]
        _require(len(ids) <= _FETCHED, 400, "too many ids")
        shown = self._shown(self._request.query["namespace"][0])
        return Answer(200, {"vectors": {each: _sent(shown[each]) for each in ids if each in shown}})

    def _fetch_by_metadata(self) -> Answer:
        asked = self._request.json()
        holds = predicate_of(asked["filter"])
        found = [each for _, each in sorted(self._shown(asked["namespace"]).items()) if holds(each["metadata"])]
        page, pagination = _page(found, asked.get("paginationToken"), asked["limit"])
        return Answer(200, {"vectors": {each["id"]: _sent(each) for each in page}, **pagination})

    def _list(self) -> Answer:
        query = self._request.query
        limit = int(query["limit"][0])
        _require(0 < limit <= _LISTED, 400, "limit is 100 at most")
        ids = sorted(self._shown(query["namespace"][0]))
        page, pagination = _page(ids, query.get("paginationToken", [None])[0], limit)
        return Answer(200, {"vectors": [{"id": each} for each in page], **pagination})

    def _delete(self) -> Answer:
        asked = self._request.json()
        _require(asked["namespace"] in self._index.namespaces, 404, "Namespace not found")
        holds = predicate_of(asked["filter"])

        def delete(taken: Records) -> None:
            for each in [each for each in taken.values() if holds(each["metadata"])]:
                del taken[each["id"]]

        lsn = self._index.namespaces[asked["namespace"]].write(delete)
        return Answer(200, {}, {"x-pinecone-request-lsn": str(lsn)})

    def _query(self) -> Answer:
        asked = self._request.json()
        top_k = asked["topK"]
        _require(0 < top_k <= _TOP_K, 400, "topK is 10000 at most")
        self._check_values(asked["vector"])
        holds = predicate_of(asked.get("filter", {}))
        records = [each for each in self._shown(asked["namespace"]).values() if holds(each["metadata"])]
        scores = _scores(self._index.metric, asked["vector"], records)
        order = np.argsort(scores if self._index.metric == "euclidean" else -scores, kind="stable")
        order = order[: min(top_k, self._project.most_matches)]
        shown = asked["includeMetadata"]
        matches = [
            {"id": records[at]["id"], "score": float(scores[at])}
            | ({"metadata": records[at]["metadata"]} if shown else {})
            for at in order
        ]
        _require(len(orjson.dumps(matches)) <= _RESULT, 400, "query result is more than 4 MB")
        namespace = self._index.namespaces.get(asked["namespace"], Namespace())
        headers = {"x-pinecone-max-indexed-lsn": str(namespace.shown_lsn)}
        namespace.catch_up()
        return Answer(200, {"matches": matches, "namespace": asked["namespace"]}, headers)

    def _create_namespace(self) -> Answer:
        name = self._request.json()["name"]
        _require(name not in self._index.namespaces, 409, "Namespace already exists")
        self._index.namespaces[name] = Namespace()
        return Answer(200, {"name": name, "record_count": "0"})

    def _list_namespaces(self) -> Answer:
        query = self._request.query
        prefix = query.get("prefix", [""])[0]
        names = sorted(each for each in self._index.namespaces if each.startswith(prefix))
        page, pagination = _page(names, query.get("paginationToken", [None])[0], int(query["limit"][0]))
        return Answer(200, {"namespaces": [{"name": each, "record_count": "0"} for each in page], **pagination})

    def _describe_namespace(self) -> Answer:
        name = self._path[1]
        _require(name in self._index.namespaces, 404, "Namespace not found")
        return Answer(200, {"name": name, "record_count": str(len(self._index.namespaces[name].shown))})

    def _delete_namespace(self) -> Answer:
        _require(self._index.namespaces.pop(self._path[1], None) is not None, 404, "Namespace not found")
        return Answer(200, {})

    def _shown(self, namespace: str) -> Records:
        return self._index.namespaces.get(namespace, Namespace()).shown


def _require(holds: bool, status: int, words: str) -> None:
    if not holds:
        raise Refused(status, words)


def kept(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """As Pinecone keeps it: every number is a float."""
    return {name: float(each) if type(each) is int else each for name, each in metadata.items()}


def _sent(record: Mapping[str, Any]) -> dict[str, Any]:
    return {**record, "values": record["values"].tolist()}


def _page(rows: list[Any], token: str | None, limit: int) -> tuple[list[Any], dict[str, Any]]:
    start = int(token or 0)
    further = {"pagination": {"next": str(start + limit)}} if start + limit < len(rows) else {}
    return rows[start : start + limit], further


def _scores(metric: str, wanted: list[float], records: list[dict[str, Any]]) -> Any:
    if not records:
        return np.zeros(0)
    query = np.array(wanted, "<f4").astype(float)
    rows = np.stack([each["values"] for each in records]).astype(float)
    if metric == "euclidean":
        return np.square(rows - query).sum(axis=1)
    dots = rows @ query
    return dots if metric == "dotproduct" else dots / np.linalg.norm(rows, axis=1) / np.linalg.norm(query)


_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "$gt": lambda found, value: found > value,
    "$gte": lambda found, value: found >= value,
    "$lt": lambda found, value: found < value,
    "$lte": lambda found, value: found <= value,
}


def predicate_of(where: Filter) -> Callable[[Mapping[str, Any]], bool]:
    parts = list(_parts(where))
    return lambda metadata: all(part(metadata) for part in parts)


def _parts(where: Filter) -> Iterator[Callable[[Mapping[str, Any]], bool]]:
    for key, value in where.items():
        if key in {"$and", "$or"}:
            _require(isinstance(value, list) and bool(value), 400, f"{key} takes a list")
            inner = [predicate_of(each) for each in value]
            every = all if key == "$and" else any
            yield lambda metadata, inner=inner, every=every: every(part(metadata) for part in inner)  # type: ignore[misc]
        else:
            ((op, wanted),) = value.items()
            yield lambda metadata, key=key, op=op, wanted=wanted: _holds(metadata.get(key), op, wanted)  # type: ignore[misc]


def _holds(found: Any, op: str, wanted: Any) -> bool:
    if op == "$exists":
        return bool((found is not None) == wanted)
    if op in {"$ne", "$nin"}:
        # Of a field that is not there the documentation tells nothing. An `$exists` beside it may settle it.
        return found is not None and not _holds(found, {"$ne": "$eq", "$nin": "$in"}[op], wanted)
    if op in _COMPARISONS:
        return isinstance(found, float) and _COMPARISONS[op](found, wanted)
    values = found if isinstance(found, list) else [found]
    choices = wanted if op == "$in" else [wanted]
    assert op in {"$in", "$eq"}, op
    return any(type(each) is type(choice) and each == choice for each in values for choice in choices)


@asynccontextmanager
async def serving(project: Pinecone) -> AsyncIterator[int]:
    """The port where *project* answers."""
    async with answering(project.answer) as port:
        project.port = port
        yield port
