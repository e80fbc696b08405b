"""What one worker process works with: its settings, the queue, the stores."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import structlog

from penstock.embedding import open_embedder
from penstock.embedding.store import EmbeddingStore
from penstock.stores.contract import Fence, SqlStore, Store
from penstock.stores.divided import DividedStore
from penstock.stores.errors import SchemaTooOld, StoreRejected, StoreUnavailable
from penstock.stores.key_value_contract import KeyValueStore
from penstock.stores.registry import key_value_store, sql_store, vector_store
from penstock.stores.vector_contract import VectorStore
from penstock.wire.keys import Partition
from penstock.wire.queue import Queue
from penstock.worker.fleet import Fleet
from penstock.worker.lanes import Lanes
from penstock.worker.settings import WorkerConfig
from penstock.worker.sifting import Sieve
from penstock.worker.steps import Reached, go_on

_AnyStore = TypeVar("_AnyStore", bound=Store)

_log = structlog.get_logger("penstock.worker")


def wall_clock_ms() -> int:
    """Milliseconds since 1970 UTC."""
    return time.time_ns() // 1_000_000


class Stores:
    """The store of each lane, set up when it is first needed, so that one that is away stops only its lane."""

    def __init__(self, config: WorkerConfig) -> None:
        self._sql = sql_store(config.sql_url)
        self._kept = vector_store(config.vector_url)
        self._vectors: Store = self._kept
        if config.embedder:
            self._vectors = EmbeddingStore(self._kept, open_embedder(config.embedder, config.embedder_key))
        self._key_values: KeyValueStore | None = None
        self._state: Store = self._sql
        if config.key_value_url and config.key_value_url != config.sql_url:
            self._key_values = key_value_store(config.key_value_url)
            self._state = DividedStore(self._sql, self._key_values)
        self._migrate = config.migrate
        self._setups: dict[Store, asyncio.Task[None]] = {}

    async def of(self, lane: str) -> Store:
        """The store of *lane*, ready to be written to. Raises as `Store.setup` does."""
        if lane != "state" or self._key_values is None:
            return await self._ready(self._vectors if lane == "embeddings" else self._sql)
        await self._ready(self._sql)
        await self._ready(self._key_values)
        return self._state

    async def sql(self) -> SqlStore:
        """The store of all lanes but the embeddings', ready. Raises as `Store.setup` does."""
        return await self._ready(self._sql)

    async def vectors(self) -> VectorStore:
        """The store of the embeddings itself, ready. Raises as `Store.setup` does."""
        return await self._ready(self._kept)

    async def _ready(self, store: _AnyStore) -> _AnyStore:
        setup = self._setups.get(store)
        if setup is None or (setup.done() and (setup.cancelled() or setup.exception())):
            setup = self._setups[store] = asyncio.create_task(store.setup(migrate=self._migrate))
        # Shared by all drains that wait for it, and not cancelled with one of them.
        await asyncio.shield(setup)
        return store

    async def refuse_unfit_schema(self) -> None:
        """Refuse a SQL store whose schema this release cannot run on, where nobody here may migrate it.

        A store that is away is no reason: its lanes wait for it, as at any other time.

        Raises:
            SchemaTooOld, StoreRejected: See `Store.setup`. The stores are closed.
        """
        if self._migrate:
            return
        try:
            await self._sql.setup(migrate=False)
        except (SchemaTooOld, StoreRejected):
            await self.close()
            raise
        except StoreUnavailable as exc:
            _log.warning("store away", reason=str(exc))

    async def close(self) -> None:
        """Close all."""
        await self._sql.close()
        if self._key_values is not None:
            await self._key_values.close()
        await self._vectors.close()


@dataclass(slots=True, kw_only=True)
class Site:
    """One worker process. Built at its start, handed to every drain."""

    config: WorkerConfig
    queue: Queue
    stores: Stores
    fleet: Fleet
    sieve: Sieve | None = field(init=False)
    lanes: Lanes = field(init=False)
    now_ms: Callable[[], int] = wall_clock_ms
    """A worker's is the queue server's clock: one by its own would find no stream silent, or all."""
    rng: random.Random = field(default_factory=random.Random)
    reached: Reached = go_on
    snapshots: dict[bytes, int] = field(default_factory=dict)
    """When each open stream's row was last refreshed, in milliseconds. Lost with the process, harmlessly."""
    unlooked: dict[Partition, int] = field(default_factory=dict)
    """Since when nobody here has looked for silent streams of a partition that is drained, in milliseconds."""

    def __post_init__(self) -> None:
        self.sieve = Sieve.of(self.config)
        self.lanes = Lanes(self.config, self.queue, self.fleet.worker_id, self.rng, self.now_ms)

    def fence(self, partition: Partition, epoch: int) -> Fence:
        """What the store checks before it takes this owner's writes."""
        return Fence(f"{self.config.namespace}/{partition}", epoch)
