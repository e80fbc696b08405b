"""The workers of a namespace: who lives, and what this one's fair share is."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Iterator

from penstock.wire.errors import PenstockError, QueueUnavailable
from penstock.wire.queue import Queue

HEARTBEAT_TTL_MS = 15_000
"""A worker that died is counted for this long. Only the shares of the others depend on it."""


class Busy(PenstockError):
    """No further partition may be taken another partition now; another worker will, or this one later."""


class Fleet:
    """One worker's place among all workers, and the partitions it holds."""

    def __init__(self, queue: Queue, worker_id: str) -> None:
        self.worker_id = worker_id
        self.stopping = asyncio.Event()
        self._queue = queue
        self._alive = 1
        self._held = 0

    @property
    def share(self) -> int:
        """How many partitions this worker may hold at once."""
        return math.ceil(len(self._queue.all_partitions()) / self._alive) + 1

    @contextlib.contextmanager
    def taking(self) -> Iterator[None]:
        """Hold one partition more.

        Raises:
            Busy: The share is used up, or the worker is stopping.
        """
        if self.stopping.is_set() or self._held >= self.share:
            raise Busy("stopping" if self.stopping.is_set() else f"holds {self._held} of {self.share} partitions")
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1

    async def beat(self) -> None:
        """Say once that this worker lives."""
        self._alive = max(1, await self._queue.heartbeat(self.worker_id, HEARTBEAT_TTL_MS))

    async def keep_beating(self) -> None:
        """Say so until cancelled."""
        while True:
            with contextlib.suppress(QueueUnavailable):
                await self.beat()
            await asyncio.sleep(HEARTBEAT_TTL_MS / 3000)

    async def leave(self) -> None:
        """Say goodbye, so that the others' shares grow at once."""
        with contextlib.suppress(QueueUnavailable):
            await self._queue.heartbeat(self.worker_id, 0)
