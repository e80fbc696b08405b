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

_BEAT_S = 1.0
"""A new worker is noticed within this."""


class Busy(PenstockError):
    """No further partition may be taken now; another worker will take it, or this one later."""


class Fleet:
    """One worker's place among all workers, and the partitions it holds."""

    def __init__(self, queue: Queue, worker_id: str) -> None:
        self.worker_id = worker_id
        self.stopping = asyncio.Event()
        self.idle = asyncio.Event()
        """Set while this worker holds no partition."""
        self.idle.set()
        self._queue = queue
        self._alive = 1
        self._held: Counter[str] = Counter()

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
        self._alive = max(1, await self._queue.heartbeat(self.worker_id, HEARTBEAT_TTL_MS))

    async def keep_beating(self) -> None:
        """Say so until cancelled."""
        while True:
            with contextlib.suppress(QueueUnavailable):
                await self.beat()
            await asyncio.sleep(_BEAT_S)

    async def leave(self) -> None:
        """Say goodbye, so that the others' shares grow at once."""
        with contextlib.suppress(QueueUnavailable):
            await self._queue.heartbeat(self.worker_id, 0)
