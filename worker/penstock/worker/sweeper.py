"""Finds partitions with work that nobody is about to do, and gives each a new generation to ring.

Rings, arq's jobs and even all of arq's keys are therefore only a matter of latency.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from penstock.wire.keys import Partition
from penstock.wire.records import LANES
from penstock.worker.site import Site

IsQueued = Callable[[Partition, int], Awaitable[bool]]
"""Whether the drain of that partition and generation waits to run: now, or deferred by a back-off."""


async def forgotten(site: Site, is_queued: IsQueued) -> list[tuple[Partition, int]]:
    """Partitions to ring, with their new generations. A drain that waits out a back-off is left alone, and so is a
    lane that is halted."""
    silent_since = site.now_ms() - site.config.stream_timeout_ms
    open_lanes = {lane for lane in LANES if await site.lanes.halted(lane) is None}
    partitions = [where for where in site.queue.all_partitions() if where.lane in open_lanes]
    found = []
    for partition, generation in await site.queue.needing(partitions, silent_since):
        if generation and await is_queued(partition, generation):
            continue
        fresh = await site.queue.rearm(partition, generation)
        if fresh:
            found.append((partition, fresh))
    return found
