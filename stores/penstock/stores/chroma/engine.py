"""Chroma as an engine of points. The client blocks, so each call is a thread's."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from chromadb.errors import NotFoundError, UniqueConstraintError

from penstock.stores.chroma import rows
from penstock.stores.chroma.filtering import to_where
from penstock.stores.chroma.names import chroma_name
from penstock.stores.chroma.translate import translated
from penstock.stores.errors import StoreRejected
from penstock.stores.metrics import METRICS, floats_of
from penstock.stores.points import homes
from penstock.stores.points.engine import VERSION, Layout, Missing, Near, Point, Standing, Wanted
from penstock.stores.threads import Threads

BREADTH = 128
"""How many candidates the index weighs, when it is built and when it is searched. So many vectors it sees whole."""

LINKS = 16
"""Neighbours of a vector in the index."""

_SPACES = {"cosine": "ip", "dot": "ip", "l2": "l2"}
"""By cosine vectors have length 1 (`Layout.searched`): Chroma's own would keep nothing else of them."""

_AT_ONCE = 1_000
"""Rows that one request asks for."""

_T = TypeVar("_T")


class Home(homes.Home[Any], Protocol):
    """Where a Chroma is."""

    def clear(self) -> None:
        """Remove what dropped collections have left."""


class _Opened(NamedTuple):
    rows: Any
    """Chroma's collection."""
    layout: Layout


class ChromaEngine:
    """The collections of one Chroma. See `Engine`.

    An upsert takes no condition here: of two that write one key at the same moment the older may win, if its write is
    behind the look that the newer one takes after its own. In process there is one writer; at a server only a worker
    whose lease has run out, and who writes on, can be the second of a lane.
    """

    builds_index = False
    exact_below = BREADTH

    def __init__(self, home: Home) -> None:
        self.home = home
        self.shared = not home.alone
        self._threads = Threads(str(home))
        self._connection = homes.Connection(home)
        self._opened: dict[str, _Opened] = {}
        self._fields: dict[str, dict[str, set[str]]] = {}
        """By collection and key, what a row's metadata had when its version was read."""

    def id_of(self, key: str) -> str:
        """See `Engine.id_of`."""
        return key

    def turn(self, name: str) -> int | None:  # noqa: ARG002 - a folder is one's own for as long as it is open
        """See `Engine.turn`."""
        return 0 if self.home.alone else None

    async def open(self) -> None:
        """See `Engine.open`."""

        def connect() -> None:
            self.home.make()
            self._connection.client()

        await self._run(connect)

    async def check(self) -> None:
        """See `Engine.check`."""
        await self._run(lambda: self._connection.client().count_collections())

    async def close(self) -> None:
        """See `Engine.close`."""
        await self._threads.close(self._let_go)

    async def names(self) -> Sequence[str]:
        """See `Engine.names`."""
        return await self._run(self._names)

    async def layout(self, name: str) -> Layout:
        """See `Engine.layout`."""

        def look() -> Layout:
            self._opened.pop(name, None)
            return self._open(name).layout

        return await self._run(look)

    async def create(self, name: str, layout: Layout) -> None:
        """See `Engine.create`."""
        searched = {"space": _SPACES[layout.metric], "ef_construction": BREADTH, "ef_search": BREADTH}

        def create() -> None:
            with contextlib.suppress(UniqueConstraintError):
                self._connection.client().create_collection(
                    chroma_name(name),
                    configuration={"hnsw": {**searched, "max_neighbors": LINKS}},
                    metadata={"penstock": name, "metric": layout.metric, "dimension": layout.dimension},
                    embedding_function=None,
                    get_or_create=True,
                )

        await self._run(create)

    async def drop(self, name: str) -> bool:
        """See `Engine.drop`."""

        def drop() -> bool:
            self._opened.pop(name, None)
            try:
                self._connection.client().delete_collection(chroma_name(name))
            except NotFoundError:
                return False
            self.home.clear()
            return True

        return await self._run(drop)

    async def versions(self, name: str, ids: Sequence[str]) -> Mapping[str, int]:
        """See `Engine.versions`."""

        def read(opened: _Opened) -> dict[str, int]:
            found = _metadata(opened, ids)
            self._fields[name] = {key: set(each) for key, each in found.items()}
            return {key: each[VERSION] for key, each in found.items()}

        return await self._ask(name, read)

    async def upsert(self, name: str, points: Sequence[Point], below: int | None) -> None:  # noqa: ARG002 - Chroma knows no condition
        """See `Engine.upsert`. Above Chroma's limit (5,461 rows in process) it is several steps."""

        def upsert(opened: _Opened) -> None:
            fields = self._fields.get(name, {})
            made = [rows.to_row(each, opened.layout, fields.get(each.id, set())) for each in points]
            most = self._connection.client().get_max_batch_size()
            for at in range(0, len(made), most):
                ids, vectors, metadata = zip(*made[at : at + most], strict=True)
                opened.rows.upsert(ids=list(ids), embeddings=list(vectors), metadatas=list(metadata))

        await self._ask(name, upsert)

    async def points(self, name: str, ids: Sequence[str]) -> Sequence[Point]:
        """See `Engine.points`."""
        if not ids:
            return []

        def read(opened: _Opened) -> list[Point]:
            found = opened.rows.get(ids=list(ids), include=["metadatas", "embeddings"])
            return [
                rows.to_point(*each) for each in zip(found["ids"], found["embeddings"], found["metadatas"], strict=True)
            ]

        return await self._ask(name, read)

    async def nearest(self, name: str, using: str, vector: bytes, limit: int, where: Wanted | None) -> Sequence[Near]:  # noqa: ARG002 - a row has one vector
        """See `Engine.nearest`. Rows that have nothing to search by lie among the others: it asks for more until enough
        are none."""
        asked: dict[str, Any] = {
            "query_embeddings": [floats_of(vector).tolist()],
            "include": ["metadatas", "distances"],
        }
        if where is not None:
            asked["where"] = to_where(where)

        def search(opened: _Opened) -> list[Near]:
            wanted = limit
            while True:
                found = opened.rows.query(n_results=wanted, **asked)
                ids = found["ids"][0]
                near = [
                    Near({**metadata, "key": key}, rows.score(distance, opened.layout))
                    for key, metadata, distance in zip(ids, found["metadatas"][0], found["distances"][0], strict=True)
                    if rows.HIDDEN not in metadata
                ]
                if len(near) >= limit or len(ids) < wanted:
                    return near[:limit]
                wanted *= 4

        return await self._ask(name, search)

    async def keys(self, name: str, after: str | None, limit: int) -> tuple[Sequence[str], str | None]:  # noqa: ARG002 - all at once
        """See `Engine.keys`. All of them: Chroma goes on by a count of rows, which is another one after a deletion."""
        return await self._ask(name, lambda opened: opened.rows.get(include=[])["ids"]), None

    async def count(self, name: str, where: Wanted | None = None) -> int:
        """See `Engine.count`."""
        if where is None:
            return int(await self._ask(name, lambda opened: opened.rows.count()))
        return await self._ask(name, lambda opened: len(opened.rows.get(where=to_where(where), include=[])["ids"]))

    async def remove(self, name: str, where: Wanted) -> None:
        """See `Engine.remove`."""
        await self._ask(name, lambda opened: opened.rows.delete(where=to_where(where)))

    async def standing(self, name: str) -> Standing:
        """See `Engine.standing`. Every vector is in the index from the first."""
        count = await self.count(name)
        return Standing(count, None, count)

    async def optimise(self, name: str) -> bool:
        """See `Engine.optimise`. The index grows with each write."""
        await self.layout(name)
        return False

    async def _ask(self, name: str, work: Callable[[_Opened], _T]) -> _T:
        def ask() -> _T:
            try:
                return work(self._open(name))
            except NotFoundError as exc:
                self._opened.pop(name, None)
                raise Missing(f"{self.home}, collection {name}: not found") from exc

        return await self._run(ask)

    async def _run(self, work: Callable[[], _T]) -> _T:
        def translating() -> _T:
            with translated(str(self.home)):
                return work()

        return await self._threads.run(translating)

    def _let_go(self) -> None:
        self._opened.clear()
        self._connection.close()

    def _names(self) -> list[str]:
        names: list[str] = []
        while True:
            page = self._connection.client().list_collections(limit=_AT_ONCE, offset=len(names))
            names += [(each.metadata or {}).get("penstock", "") for each in page]
            if len(page) < _AT_ONCE:
                return [name for name in names if name]

    def _open(self, name: str) -> _Opened:
        found = self._opened.get(name)
        if found is None:
            found_rows = self._connection.client().get_collection(chroma_name(name), embedding_function=None)
            found = self._opened[name] = _Opened(found_rows, _layout_of(name, found_rows.metadata or {}))
        return found


def _metadata(opened: _Opened, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for at in range(0, len(ids), _AT_ONCE):
        page = opened.rows.get(ids=list(ids[at : at + _AT_ONCE]), include=["metadatas"])
        found.update(zip(page["ids"], page["metadatas"], strict=True))
    return found


def _layout_of(name: str, metadata: Mapping[str, Any]) -> Layout:
    for metric in METRICS:
        if metadata.get("metric") == metric and metadata.get("penstock") == name:
            return Layout(metadata["dimension"], metric)
    raise StoreRejected(f"collection {name} was not made by Penstock; give it another name, or Chroma another home")
