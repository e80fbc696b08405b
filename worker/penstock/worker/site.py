"""What one worker process works with: its settings, the queue, the stores."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from penstock.embedding import open_embedder
from penstock.embedding.store import EmbeddingStore
from penstock.stores.contract import Fence, SqlStore, Store
from penstock.stores.divided import DividedStore
from penstock.stores.errors import SchemaTooOld, StoreRejected, StoreUnavailable
from penstock.stores.key_value_contract import KeyValueStore
from penstock.stores.registry import key_value_store, sql_store, vector_opener
from penstock.stores.vector_contract import VectorStore
from penstock.wire.keys import Partition
from penstock.wire.queue import Queue
from penstock.worker.fleet import Fleet
from penstock.worker.lanes import Lanes
from penstock.worker.opening import Opening
from penstock.worker.settings import WorkerConfig
from penstock.worker.sifting import Sieve
from penstock.worker.steps import Reached, go_on

_log = structlog.get_logger("penstock.worker")


def wall_clock_ms() -> int:
    """Milliseconds since 1970 UTC."""
    return time.time_ns() // 1_000_000


class Stores:
    """The store of each lane, set up when it is first needed, so that one that is away stops only its lane.

    The driver of vectors is not even loaded before that: Lance's takes more time and memory than all else of a worker.
    """

    def __init__(self, config: WorkerConfig) -> None:
        """Raises as `sql_store` does, and as `open_embedder`."""
        self._migrate = config.migrate
        sql = sql_store(config.sql_url)
        self._sql = Opening[SqlStore](lambda: sql, migrate=config.migrate)
        self._vectors = Opening(vector_opener(config.vector_url), migrate=config.migrate)
        self._embedder = open_embedder(config.embedder, config.embedder_key) if config.embedder else None
        self._embedding: EmbeddingStore | None = None
        self._key_values: Opening[KeyValueStore] | None = None
        if config.key_value_url and config.key_value_url != config.sql_url:
            values = key_value_store(config.key_value_url)
            self._key_values = Opening[KeyValueStore](lambda: values, migrate=config.migrate)
        self._state: DividedStore | None = None

    async def of(self, lane: str) -> Store:
        """The store of *lane*, ready to be written to. Raises as `Store.setup` does."""
        if lane == "embeddings":
            return self._with_texts(await self.vectors())
        sql = await self.sql()
        if lane != "state" or self._key_values is None:
            return sql
        values = await self._key_values.ready()
        self._state = self._state or DividedStore(sql, values)
        return self._state

    def _with_texts(self, vectors: VectorStore) -> Store:
        if self._embedder is None:
            return vectors
        self._embedding = self._embedding or EmbeddingStore(vectors, self._embedder)
        return self._embedding

    async def sql(self) -> SqlStore:
        """The store of all lanes but the embeddings', ready. Raises as `Store.setup` does."""
        return await self._sql.ready()

    async def vectors(self) -> VectorStore:
        """The store of the embeddings itself, ready. Raises as `Store.setup` does."""
        return await self._vectors.ready()

    async def refuse_unfit_schema(self) -> None:
        """Refuse a SQL store whose schema this release cannot run on, where nobody here may migrate it.

        A store that is away is no reason: its lanes wait for it, as at any other time.

        Raises:
            SchemaTooOld, StoreRejected: See `Store.setup`. The stores are closed.
        """
        if self._migrate:
            return
        try:
            await self.sql()
        except (SchemaTooOld, StoreRejected):
            await self.close()
            raise
        except StoreUnavailable as exc:
            _log.warning("store away", reason=str(exc))

    async def close(self) -> None:
        """Close all that were opened."""
        await self._sql.close()
        if self._key_values is not None:
            await self._key_values.close()
        try:
            if self._embedder is not None:
                await self._embedder.close()
        finally:
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

    async def has_vectors(self) -> bool:
        """Whether an embedding was ever handed over in the namespace. Raises `QueueUnavailable`."""
        counts = await self.queue.counts()
        return any(count.accepted for where, count in counts.items() if where.lane == "embeddings")

    def fence(self, partition: Partition, epoch: int) -> Fence:
        """What the store checks before it takes this owner's writes."""
        return Fence(f"{self.config.namespace}/{partition}", epoch)
