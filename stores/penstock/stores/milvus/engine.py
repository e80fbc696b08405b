"""Milvus as an engine of points. The client blocks, so each call is a thread's."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
from pymilvus import DataType, MilvusClient
from pymilvus.exceptions import MilvusException

from penstock.stores.errors import StoreRejected, Unsupported
from penstock.stores.metrics import METRICS, Metric
from penstock.stores.milvus import rows
from penstock.stores.milvus.filtering import to_text
from penstock.stores.milvus.names import collection_of, milvus_name
from penstock.stores.milvus.translate import NOT_LOADED, translated
from penstock.stores.points import homes
from penstock.stores.points.encoding import point_id
from penstock.stores.points.engine import BREADTH, TERMS, VERSION, Layout, Near, Point, Standing, Wanted, ours
from penstock.stores.points.filtering import NUMBERS
from penstock.stores.threads import Threads

LINKS = 16
"""Neighbours of a vector in the index."""

MOST = 16_384
"""Rows that Milvus answers with at most."""

ID_BYTES = 36
KEY_BYTES = 1_024
TERM_BYTES = 1_024
"""Of 8 names of 63 characters and a text of 64, there are 824 at most."""

MOST_TERMS = 4_096
TEXT_BYTES = 65_535
"""What Milvus holds of elements in a list, and of bytes in a text."""

_AT_ONCE = 1_000

_T = TypeVar("_T")


class Home(homes.Home[MilvusClient], Protocol):
    """Where a Milvus is."""

    @property
    def exact_below(self) -> int:
        """See `Engine.exact_below`."""


class MilvusEngine:
    """The collections of one Milvus. See `Engine`.

    An upsert takes no condition here: of two that write one key at the same moment the older may win, if its write is
    behind the look that the newer one takes after its own. In process there is one writer; at a server only a worker
    whose lease has run out, and who writes on, can be the second of a lane.
    """

    builds_index = False
    id_of = staticmethod(point_id)  # the client puts ids into the text of a query as they are (3.0.2)

    def __init__(self, home: Home) -> None:
        self.home = home
        self.shared = not home.alone
        self.exact_below = home.exact_below
        self._threads = Threads(str(home))
        self._connection = homes.Connection(home)
        self._layouts: dict[str, Layout] = {}

    def turn(self, name: str) -> int | None:  # noqa: ARG002 - a file is one's own for as long as it is open
        """See `Engine.turn`."""
        return 0 if self.home.alone else None

    async def open(self) -> None:
        """See `Engine.open`."""

        def connect(_: MilvusClient) -> None:
            pass

        await self._run(connect, make=True)

    async def check(self) -> None:
        """See `Engine.check`."""
        await self._run(lambda client: client.has_collection(milvus_name("check")))

    async def close(self) -> None:
        """See `Engine.close`."""
        await self._threads.close(self._connection.close)

    async def names(self) -> Sequence[str]:
        """See `Engine.names`."""
        listed = await self._run(lambda client: client.list_collections())
        return await ours(self, [name for each in listed if (name := collection_of(each)) is not None])

    async def layout(self, name: str) -> Layout:
        """See `Engine.layout`."""
        self._layouts.pop(name, None)
        found = await self._run(lambda client: client.describe_collection(milvus_name(name)), name)
        for field in found["fields"]:
            for metric in METRICS:
                if field["name"] == rows.vector_field(metric):
                    self._layouts[name] = Layout(int(field["params"]["dim"]), metric)
                    return self._layouts[name]
        raise StoreRejected(f"collection {name} was not made by Penstock; give it another name, or Milvus another home")

    async def create(self, name: str, layout: Layout) -> None:
        """See `Engine.create`. Index and loading are asked for also where it is there: who made it may have died."""
        await self._run(lambda client: self._create(client, milvus_name(name), layout), name)

    def _create(self, client: MilvusClient, name: str, layout: Layout) -> None:
        with contextlib.suppress(MilvusException):  # it is there; and where it is not, the next call tells
            client.create_collection(name, schema=_schema(layout), consistency_level="Strong")
        index = client.prepare_index_params()
        index.add_index(
            rows.vector_field(layout.metric),
            index_type="FLAT" if self.home.alone else "HNSW",
            metric_type="L2" if layout.metric == "l2" else "IP",
            params={} if self.home.alone else {"M": LINKS, "efConstruction": BREADTH},
        )
        # Lite has both at once; to wait is to sleep half a second.
        if not client.list_indexes(name):
            client.create_index(name, index, sync=not self.home.alone)
        client.load_collection(name, _async=self.home.alone)

    async def drop(self, name: str) -> bool:
        """See `Engine.drop`."""

        def drop(client: MilvusClient) -> bool:
            there = bool(client.has_collection(milvus_name(name)))
            if there:
                client.drop_collection(milvus_name(name))
            return there

        return await self._run(drop, name)

    async def versions(self, name: str, ids: Sequence[str]) -> Mapping[str, int]:
        """See `Engine.versions`."""
        found = await self._get(name, ids, [rows.ID, VERSION])
        return {each[rows.ID]: each[VERSION] for each in found}

    async def upsert(self, name: str, points: Sequence[Point], below: int | None) -> None:  # noqa: ARG002 - no condition
        """See `Engine.upsert`."""
        layout = self._layouts.get(name) or await self.layout(name)
        if any(len(each.payload.get(TERMS, ())) > MOST_TERMS // 2 for each in points):
            raise StoreRejected(f"embedding: its metadata has more than {MOST_TERMS // 2} fields and elements in all")

        def upsert(client: MilvusClient) -> None:
            client.upsert(milvus_name(name), [rows.to_row(each, layout) for each in points])

        await self._run(upsert, name)

    async def points(self, name: str, ids: Sequence[str]) -> Sequence[Point]:
        """See `Engine.points`."""
        found = await self._get(name, ids, ["*"])
        return list(map(rows.to_point, found))

    async def _get(self, name: str, ids: Sequence[str], fields: list[str]) -> list[Any]:
        def get(client: MilvusClient) -> list[Any]:
            return [
                row
                for at in range(0, len(ids), _AT_ONCE)
                for row in client.get(milvus_name(name), list(ids[at : at + _AT_ONCE]), fields)
            ]

        return await self._run(get, name)

    async def nearest(self, name: str, using: str, vector: bytes, limit: int, where: Wanted | None) -> Sequence[Near]:  # noqa: ARG002 - a row has one vector
        """See `Engine.nearest`.

        Raises:
            Unsupported: There may be more than Milvus answers with.
        """
        metric = (self._layouts.get(name) or await self.layout(name)).metric
        seen = f"{rows.HIDDEN} == false"

        def search(client: MilvusClient) -> list[Near]:
            (found,) = client.search(
                milvus_name(name),
                data=[np.frombuffer(vector, "<f4")],
                limit=min(limit, MOST),
                filter=seen if where is None else f"{seen} and {to_text(where)}",
                output_fields=[rows.KEY, rows.RECORD],
                anns_field=rows.vector_field(metric),
                search_params={"params": {} if self.home.alone else {"ef": min(max(BREADTH, limit), MOST)}},
            )
            if len(found) == MOST < limit - 1:
                raise Unsupported(f"top_k is {limit - 1}; Milvus answers with at most {MOST}")
            return [Near(rows.to_payload(each["entity"]), _score(each["distance"], metric)) for each in found]

        return await self._run(search, name)

    async def keys(self, name: str, after: str | None, limit: int) -> tuple[Sequence[str], str | None]:  # noqa: ARG002 - all at once
        """See `Engine.keys`. All of them: where Milvus goes on, only its iterator knows."""

        def read(client: MilvusClient) -> list[str]:
            keys: list[str] = []
            pages = client.query_iterator(milvus_name(name), batch_size=_AT_ONCE, output_fields=[rows.KEY])
            while page := pages.next():
                keys += [each[rows.KEY] for each in page]
            pages.close()
            return keys

        return await self._run(read, name), None

    async def count(self, name: str, where: Wanted | None = None) -> int:
        """See `Engine.count`."""
        text = "" if where is None else to_text(where)
        found = await self._run(
            lambda client: client.query(milvus_name(name), filter=text, output_fields=["count(*)"]), name
        )
        return int(found[0]["count(*)"])

    async def remove(self, name: str, where: Wanted) -> None:
        """See `Engine.remove`."""
        await self._run(lambda client: client.delete(milvus_name(name), filter=to_text(where)), name)

    async def standing(self, name: str) -> Standing:
        """See `Engine.standing`. What of it is in an index only the server knows."""
        count = await self.count(name)
        return Standing(count, None, count)

    async def optimise(self, name: str) -> bool:
        """See `Engine.optimise`. A server does it by itself, and Lite needs none."""
        await self.layout(name)
        return False

    async def _run(self, work: Callable[[MilvusClient], _T], name: str | None = None, *, make: bool = False) -> _T:
        def translating() -> _T:
            with translated(f"{self.home}, collection {name}" if name else str(self.home)):
                if make:
                    self.home.make()
                client = self._connection.client()
                try:
                    return work(client)
                except MilvusException as exc:
                    if exc.code != NOT_LOADED or name is None:
                        raise
                    # Lite loads nothing by itself when it is opened again; a server's may have been released.
                    client.load_collection(milvus_name(name), _async=self.home.alone)
                    return work(client)

        return await self._threads.run(translating)


def _schema(layout: Layout) -> Any:
    schema = MilvusClient.create_schema(auto_id=False)
    schema.add_field(rows.ID, DataType.VARCHAR, is_primary=True, max_length=ID_BYTES)
    schema.add_field(rows.KEY, DataType.VARCHAR, max_length=KEY_BYTES)
    schema.add_field(rows.vector_field(layout.metric), DataType.FLOAT_VECTOR, dim=layout.dimension)
    schema.add_field(VERSION, DataType.INT64)
    schema.add_field(rows.HIDDEN, DataType.BOOL)
    schema.add_field(NUMBERS, DataType.JSON)
    _add_texts(schema, TERMS, TERM_BYTES)
    _add_texts(schema, rows.RECORD, TEXT_BYTES)
    return schema


def _add_texts(schema: Any, name: str, max_length: int) -> None:
    text = DataType.VARCHAR
    schema.add_field(name, DataType.ARRAY, element_type=text, max_capacity=MOST_TERMS, max_length=max_length)


def _score(distance: float, metric: Metric) -> float:
    """Milvus squares the Euclidean distance."""
    return math.sqrt(max(0.0, distance)) if metric == "l2" else distance
