"""A lease, kept while its owner works."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from penstock.wire.entries import Lease
from penstock.wire.errors import QueueUnavailable
from penstock.wire.queue import Queue
from penstock.wire.tasks import end_task


class HeldLease:
    """A lease that a task in the background prolongs. `lost` says that it is no longer ours."""

    __slots__ = ("_deadline", "_loop", "_ttl_ms", "lease", "lost")

    def __init__(self, lease: Lease, ttl_ms: int, began: float) -> None:
        self.lease = lease
        self.lost = False
        self._ttl_ms = ttl_ms
        self._loop = asyncio.get_running_loop()
        self._deadline = began + ttl_ms / 1000

    @property
    def is_ours(self) -> bool:
        """Whether the lease can still be ours. A process that was paused past its lease sees False at once."""
        return not self.lost and self._loop.time() < self._deadline

    def renewed(self, began: float) -> None:
        """Count the lease's life from *began*, before the server was asked: its clock started later than ours."""
        self._deadline = began + self._ttl_ms / 1000


@contextlib.asynccontextmanager
async def kept(queue: Queue, lease: Lease, ttl_ms: int, began: float) -> AsyncIterator[HeldLease]:
    """Prolong *lease*, asked for at *began*, every third of its life until the block ends. Releases nothing."""
    held = HeldLease(lease, ttl_ms, began)
    keeper = asyncio.create_task(_keep(queue, held, ttl_ms))
    try:
        yield held
    finally:
        await end_task(keeper)


async def _keep(queue: Queue, held: HeldLease, ttl_ms: int) -> None:
    while not held.lost:
        await asyncio.sleep(ttl_ms / 3000)
        # A queue that is away for a moment costs nothing yet: the deadline decides.
        with contextlib.suppress(QueueUnavailable):
            began = asyncio.get_running_loop().time()
            if await queue.renew(held.lease, ttl_ms):
                held.renewed(began)
            else:
                held.lost = True
