"""Drains on when the queue server has no memory left.

arq's own bookkeeping needs memory, so it can start no job then; reading, trimming and the lease scripts do not.
Without this a full server would never be emptied again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence

import structlog

from penstock.wire.errors import PenstockError, QueueFull, QueueUnavailable
from penstock.wire.keys import Partition
from penstock.worker.drain import LaneWaits, Slice, drain
from penstock.worker.lanes import LanePaused
from penstock.worker.site import Site

_log = structlog.get_logger("penstock.worker")

_LOOK_S = 1.0
_AT_ONCE = 4
"""Partitions drained together; the stores are no faster with more."""


class FullServerDrains:
    """Watches whether the server takes writes; while it does not, drains what nobody holds, without arq."""

    def __init__(self, site: Site, tell: Callable[[Partition, Slice, float], None]) -> None:
        self._site = site
        self._tell = tell
        self._waits: dict[Partition, float] = {}

    async def keep_watch(self) -> None:
        """Until cancelled. A drain that runs is finished first only where the worker stops in order."""
        while True:
            await asyncio.sleep(_LOOK_S)
            with contextlib.suppress(QueueUnavailable):
                if await self._is_full():
                    _log.warning("queue server is full", remedy="start more workers or raise maxmemory")
                    await self._drain_all()

    async def _is_full(self) -> bool:
        try:
            await self._site.queue.probe()
        except QueueFull:
            return True
        return False

    async def _drain_all(self) -> None:
        queue, now = self._site.queue, asyncio.get_running_loop().time()
        silent_since = self._site.now_ms() - self._site.config.stream_timeout_ms
        needing = [where for where, _ in await queue.needing(queue.all_partitions(), silent_since)]
        ready = [where for where in needing if self._waits.get(where, 0) <= now]
        for at in range(0, len(ready), _AT_ONCE):
            await self._drain(ready[at : at + _AT_ONCE])

    async def _drain(self, partitions: Sequence[Partition]) -> None:
        async with asyncio.TaskGroup() as group:
            for partition in partitions:
                group.create_task(self._drain_one(partition))

    async def _drain_one(self, partition: Partition) -> None:
        clock = asyncio.get_running_loop().time
        started = clock()
        try:
            moved = await drain(self._site, partition)
        except LaneWaits as exc:
            self._waits[partition] = clock() + exc.delay_s
            _log.warning("lane waits", partition=str(partition), failures=exc.failures, reason=exc.reason)
        except LanePaused:
            pass  # the next look comes as soon as any
        except PenstockError as exc:
            _log.warning("drain put off", partition=str(partition), reason=str(exc))
        else:
            if moved is not None:
                self._tell(partition, moved, clock() - started)
