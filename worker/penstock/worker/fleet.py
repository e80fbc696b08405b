"""The workers of a namespace: who lives, and what this one's fair share is."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import Counter
from collections.abc import Iterator

from penstock.wire.errors import PenstockError, QueueUnavailable
from penstock.wire.queue import Queue

HEARTBEAT_TTL_MS = 5_000
"""A worker that died is counted for this long. Only the shares of the others depend on it."""

_BEATS = 5
"""Heartbeats in the life of one. A new worker is noticed within the time between two."""

_LOOK_AGAIN_S = 0.2


class Busy(PenstockError):
    """No further partition may be taken now; another worker will take it, or this one later."""


class Fleet:
    """One worker's place among all workers, and the partitions it holds."""

    def __init__(self, queue: Queue, worker_id: str, lease_ms: int = 2 * HEARTBEAT_TTL_MS) -> None:
        """Where leases are short, a worker that died is forgotten before they end: what it held is somebody's share."""
        self.worker_id = worker_id
        self._ttl_ms = min(HEARTBEAT_TTL_MS, max(1, lease_ms // 2))
        self._looked_at = -math.inf
        self.stopping = asyncio.Event()
        self.idle = asyncio.Event()
        """Set while this worker holds no partition."""
        self.idle.set()
        self._queue = queue
        self._alive = 1
        self._held: Counter[str] = Counter()

    @property
    def workers(self) -> int:
        """How many live, this one among them, as far as it knows."""
        return self._alive

    @property
    def share(self) -> int:
        """How many partitions of each lane this worker may hold at once. By lane, since one is often the busy one."""
        return math.ceil(self._queue.partitions / self._alive) + 1

    @property
    def is_draining(self) -> bool:
        """Whether this worker holds any partition."""
        return not self.idle.is_set()

    def holding(self, lane: str) -> int:
        """How many partitions of *lane* this worker holds."""
        return self._held[lane]

    @contextlib.contextmanager
    def taking(self, lane: str) -> Iterator[None]:
        """Hold one partition of *lane* more.

        Raises:
            Busy: The share is used up, or the worker is stopping.
        """
        if self.stopping.is_set():
            raise Busy("the worker is stopping")
        if self._held[lane] >= self.share:
            raise Busy(f"the worker holds {self._held[lane]} partitions of {lane}, its share is {self.share}")
        self._held[lane] += 1
        self.idle.clear()
        try:
            yield
        finally:
            self._held[lane] -= 1
            if not any(self._held.values()):
                self.idle.set()

    async def beat(self) -> None:
        """Say once that this worker lives."""
        self._alive = max(1, await self._queue.heartbeat(self.worker_id, self._ttl_ms))
        self._looked_at = asyncio.get_running_loop().time()

    async def keep_beating(self) -> None:
        """Say so until the worker stops; then say goodbye, since it takes no more."""
        while not self.stopping.is_set():
            with contextlib.suppress(QueueUnavailable):
                await self.beat()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._ttl_ms / 1000 / _BEATS):
                    await self.stopping.wait()
        await self.leave()

    async def look_again(self) -> None:
        """Count the workers, after a partition was refused: one of them may have left what this one could take."""
        if asyncio.get_running_loop().time() - self._looked_at >= _LOOK_AGAIN_S and not self.stopping.is_set():
            with contextlib.suppress(QueueUnavailable):
                await self.beat()

    async def leave(self) -> None:
        """Say goodbye, so that the others' shares grow at once."""
        with contextlib.suppress(QueueUnavailable):
            await self._queue.heartbeat(self.worker_id, 0)
