"""Qdrant's engine in this process: a folder of shards, one a collection, with which processes take turns.

The engine runs threads of its own and does not survive a fork: start other processes with `spawn`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import qdrant_edge as qdrant

from penstock.stores.errors import BadStoreURL, StoreError, StoreRejected, StoreUnavailable
from penstock.stores.metrics import floats_of, own_metric, url_options
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
    Number,
    Point,
    Standing,
    Wanted,
    layout_of,
)
from penstock.stores.points.store import PointStore
from penstock.stores.qdrant import edge_models as models
from penstock.stores.qdrant.edge_shards import CONFIG, KEEP_S, LOOK_S, Busy, Shard
from penstock.stores.syncing import sync

_NEW, _GONE = ".new-", ".gone-"
"""What folders are called that are not collections yet, or not any more. No collection's name begins with a dot."""

_MAKING_S = 600.0
"""Somebody may be making a folder that is not older."""

IDLE_S = 1.0
"""How long a shard stays open that is not used. To open it takes 20 ms and more."""

PATIENCE_S = 30.0
"""How long a call waits for its turn with a shard; an index of 100,000 vectors takes longer."""

_T = TypeVar("_T")


def open_vector(url: str) -> PointStore:
    """The store of `qdrant-edge:///relative/folder` or `qdrant-edge:////absolute/folder`; nothing is opened yet.

    Raises:
        BadStoreURL: No folder, a host, or an option that is not known.
    """
    parts = urlsplit(url)
    folder = unquote(parts.path[1:])
    if parts.netloc or not folder:
        raise BadStoreURL(
            "qdrant-edge:// needs a folder: qdrant-edge:///relative/folder or qdrant-edge:////absolute/folder"
        )
    return PointStore(EdgeEngine(Path(folder)), own_metric(url_options(url, "metric")))


class EdgeEngine:
    """Shards below *folder*, each opened when it is used. See `Engine`.

    The engine lets one process have a shard open. Processes take turns (`edge_shards`), which costs each of them the
    opening: where one works alone, it keeps the shard until it has not used it for `IDLE_S`.
    """

    builds_index = True
    shared = True
    exact_below = EXACT_BELOW
    id_of = staticmethod(point_id)

    def __init__(self, folder: Path, *, patience_s: float = PATIENCE_S) -> None:
        self.folder = folder
        self._patience_s = patience_s
        self._shards: dict[str, Shard] = {}
        self._looking: dict[str, asyncio.TimerHandle] = {}
        self._running: set[asyncio.Task[Any]] = set()
        self._closed = False

    async def open(self) -> None:
        """See `Engine.open`. Makes the folder, and removes what a crash has left half made or half removed."""
        await self._run(self._make_folder)

    async def check(self) -> None:
        """See `Engine.check`."""
        await self._run(lambda: next(self.folder.iterdir(), None))

    async def close(self) -> None:
        """See `Engine.close`."""
        self._closed = True
        while self._running:
            await asyncio.wait(self._running)
        for timer in self._looking.values():
            timer.cancel()
        shards, self._shards = self._shards, {}
        for shard in shards.values():
            with translated(f"folder {self.folder}"):
                await asyncio.to_thread(shard.forget)

    def turn(self, name: str) -> int | None:
        """See `Engine.turn`."""
        return self._shard(name).turn

    async def names(self) -> Sequence[str]:
        """See `Engine.names`."""
        return await self._run(self._names)

    async def layout(self, name: str) -> Layout:
        """See `Engine.layout`."""
        return await self._run(self._layout, name)

    async def create(self, name: str, layout: Layout) -> None:
        """See `Engine.create`."""
        await self._run(self._create, name, layout)

    async def drop(self, name: str) -> bool:
        """See `Engine.drop`."""
        gone = self.folder / f"{_GONE}{secrets.token_hex(8)}"
        try:
            await self._in_turn(name, lambda shard: shard.move(gone))
        except Missing:
            return False
        await self._run(self._remove, gone)
        return True

    async def versions(self, name: str, ids: Sequence[str]) -> Mapping[str, int]:
        """See `Engine.versions`."""
        found = await self._ask(
            name, lambda shard: shard.retrieve(list(ids), with_payload=[VERSION], with_vector=False)
        )
        return {str(each.id): each.payload[VERSION] for each in found}

    async def upsert(self, name: str, points: Sequence[Point], below: int | None) -> None:
        """See `Engine.upsert`. The log makes it one step, and the flush has it on disk."""

        def upsert(shard: Any) -> None:
            older = None if below is None else models.to_filter(Number(VERSION, "<", below))
            shard.update(qdrant.UpdateOperation.upsert_points([models.to_point(each) for each in points], older))
            shard.flush()

        await self._ask(name, upsert)

    async def points(self, name: str, ids: Sequence[str]) -> Sequence[Point]:
        """See `Engine.points`."""
        found = await self._ask(name, lambda shard: shard.retrieve(list(ids), with_payload=True, with_vector=True))
        return [models.from_record(each) for each in found]

    async def nearest(self, name: str, using: str, vector: bytes, limit: int, where: Wanted | None) -> Sequence[Near]:
        """See `Engine.nearest`."""
        request = qdrant.QueryRequest(
            limit=limit,
            query=qdrant.Query.Nearest(floats_of(vector).tolist(), using=using),
            with_payload=list(SHOWN),
            filter=None if where is None else models.to_filter(where),
            params=qdrant.SearchParams(
                hnsw_ef=max(BREADTH, limit),
                acorn=None if where is None else qdrant.AcornSearchParams(enable=True, max_selectivity=SELECTIVE),
            ),
        )
        found = await self._ask(name, lambda shard: shard.query(request))
        return [Near(each.payload, each.score) for each in found]

    async def keys(self, name: str, after: str | None, limit: int) -> tuple[Sequence[str], str | None]:
        """See `Engine.keys`."""
        request = qdrant.ScrollRequest(offset=after, limit=limit, with_payload=["key"], with_vector=False)
        found, further = await self._ask(name, lambda shard: shard.scroll(request))
        return [each.payload["key"] for each in found], None if further is None else str(further)

    async def count(self, name: str, where: Wanted | None = None) -> int:
        """See `Engine.count`."""
        request = qdrant.CountRequest(exact=True, filter=None if where is None else models.to_filter(where))
        return int(await self._ask(name, lambda shard: shard.count(request)))

    async def remove(self, name: str, where: Wanted) -> None:
        """See `Engine.remove`."""

        def remove(shard: Any) -> None:
            shard.update(qdrant.UpdateOperation.delete_points_by_filter(models.to_filter(where)))
            shard.flush()

        await self._ask(name, remove)

    async def standing(self, name: str) -> Standing:
        """See `Engine.standing`."""
        info = await self._ask(name, lambda shard: shard.info())
        return Standing(info.points_count, info.segments_count, info.indexed_vectors_count)

    async def optimise(self, name: str) -> bool:
        """See `Engine.optimise`."""

        def optimise(shard: Shard) -> bool:
            with shard.used(at_length=True) as handle:
                return bool(handle.optimize())

        return await self._in_turn(name, optimise)

    async def _ask(self, name: str, work: Callable[[Any], _T]) -> _T:
        """What comes of *work* with the shard."""

        def use(shard: Shard) -> _T:
            with shard.used() as handle:
                return work(handle)

        return await self._in_turn(name, use)

    async def _in_turn(self, name: str, work: Callable[[Shard], _T]) -> _T:
        """What comes of *work*, which is begun again while somebody else has the shard."""
        shard = self._shard(name)
        deadline = time.monotonic() + self._patience_s
        with contextlib.ExitStack() as asking:
            while True:
                try:
                    return await self._run(work, shard)
                except Busy:
                    self._be_patient(shard, deadline)
                finally:
                    self._look_after(name)
                if not shard.waiting:
                    asking.enter_context(shard.wanted())
                await asyncio.sleep(LOOK_S)

    def _be_patient(self, shard: Shard, deadline: float) -> None:
        if time.monotonic() > deadline:
            raise StoreUnavailable(
                f"another process has had {shard.folder} open for {self._patience_s:g} s; see which: "
                f"fuser {shard.folder / 'wal'}/*"
            ) from None

    def _shard(self, name: str) -> Shard:
        return self._shards.setdefault(name, Shard(self.folder / name))

    def _look_after(self, name: str) -> None:
        """See to it that the shard is closed when somebody else waits for it, or nobody uses it."""
        if name not in self._looking and not self._closed:
            self._looking[name] = asyncio.get_running_loop().call_later(KEEP_S, self._look, name)

    def _look(self, name: str) -> None:
        self._start(self._shards[name].close_if_idle, IDLE_S).add_done_callback(lambda task: self._looked(name, task))

    def _looked(self, name: str, task: asyncio.Task[bool]) -> None:
        del self._looking[name]
        if not task.cancelled() and task.exception() is None and not task.result():
            self._look_after(name)

    async def _run(self, work: Callable[..., _T], *arguments: Any) -> _T:
        """*work* in a thread. It runs to its end though the caller be cancelled, and `close` waits for it."""
        if self._closed:
            raise StoreUnavailable(f"the store of {self.folder} is closed")
        return await asyncio.shield(self._start(work, *arguments))

    def _start(self, work: Callable[..., _T], *arguments: Any) -> asyncio.Task[_T]:
        task = asyncio.create_task(asyncio.to_thread(self._translated, work, *arguments))
        self._running.add(task)
        task.add_done_callback(self._settle)
        return task

    def _settle(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # of a call whose caller was cancelled nobody else asks

    def _translated(self, work: Callable[..., _T], *arguments: Any) -> _T:
        with translated(f"folder {self.folder}"):
            return work(*arguments)

    def _make_folder(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        old = time.time() - _MAKING_S
        half_made = (path for path in self.folder.glob(f"{_NEW}*") if path.stat().st_mtime < old)
        for left in (*half_made, *self.folder.glob(f"{_GONE}*")):
            shutil.rmtree(left, ignore_errors=True)

    def _names(self) -> list[str]:
        found = sorted(path.parent.name for path in self.folder.glob(f"[!.]*/{CONFIG}"))
        return [name for name in found if self._is_ours(name)]

    def _is_ours(self, name: str) -> bool:
        try:
            self._layout(name)
        except (StoreRejected, Missing):
            return False
        return True

    def _layout(self, name: str) -> Layout:
        try:
            config = json.loads((self.folder / name / CONFIG).read_bytes())
        except FileNotFoundError:
            raise Missing(f"collection {name} is not in folder {self.folder}") from None
        return layout_of(name, {of: (each["size"], each["distance"]) for of, each in config["vectors"].items()})

    def _create(self, name: str, layout: Layout) -> None:
        """The shard appears whole, under its name, or not at all."""
        if (self.folder / name).exists():
            return
        if not self.folder.is_dir():  # the engine would make it
            raise StoreUnavailable(f"folder {self.folder} is not there; was the store set up?")
        new = self.folder / f"{_NEW}{secrets.token_hex(8)}"
        shard = qdrant.EdgeShard.create(str(new), models.to_config(layout))
        shard.update(qdrant.UpdateOperation.create_field_index(TERMS, qdrant.PayloadSchemaType.Keyword))
        shard.flush()
        shard.close()
        try:
            new.rename(self.folder / name)
        except OSError:
            if not (self.folder / name).exists():
                raise
            shutil.rmtree(new)  # somebody else was sooner
        sync(self.folder)

    def _remove(self, gone: Path) -> None:
        sync(self.folder)
        shutil.rmtree(gone, ignore_errors=True)


@contextlib.contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn the engine's errors into store errors that begin with *what*, the cause attached.

    It raises bare `Exception`s; their words are all there is to tell them apart (0.9). What is not known to be a
    refusal counts as unavailable: trying again loses nothing, a dead letter needs a person.
    """
    try:
        yield
    except (StoreError, Busy):
        raise
    except (TypeError, ValueError, OverflowError):
        # Its text quotes the value, and so would a traceback.
        raise StoreRejected(f"{what}: a value is of a type that the engine does not hold") from None
    except BaseException as exc:
        if not isinstance(exc, Exception) and type(exc).__name__ != "PanicException":
            raise
        text = (str(exc).splitlines() or [type(exc).__name__])[0]
        kind = StoreRejected if "Vector dimension error" in text or "Wrong input" in text else StoreUnavailable
        raise kind(f"{what}: {text}") from exc
