"""Opens a lane's gate again: asks the store with growing pauses, then sends one batch ahead."""

from __future__ import annotations

import asyncio
import contextlib

import structlog

from penstock.stores.errors import StoreRejected, StoreUnavailable
from penstock.wire.errors import QueueFull, QueueUnavailable
from penstock.wire.keys import Partition
from penstock.wire.pauses import Outage
from penstock.worker.drain import LaneWaits, send_canary
from penstock.worker.fleet import Busy
from penstock.worker.lanes import VERSION, LanePaused
from penstock.worker.site import Site

_CHECK_S = 5.0
"""A store that takes longer to answer is away, whatever its own limits."""

_TOLD_MS = 60_000
"""Others see the outage for this long after a probe. Those of a worker that died they do not look at."""

_FIRST_WORD_MS = 1_000

_log = structlog.get_logger("penstock.worker")


class Gatekeeper:
    """One lane's, at one worker."""

    def __init__(self, site: Site, lane: str) -> None:
        self._site = site
        self._lane = lane
        self._lanes = site.lanes
        self._gate = site.lanes[lane].gate
        self._tell_after_ms = _FIRST_WORD_MS

    async def keep(self) -> None:
        """Until cancelled. What a worker with this name said before is forgotten first."""
        with contextlib.suppress(QueueUnavailable):
            await self._lanes.pauses.is_over(self._lane, self._lanes.worker_id)
        while True:
            await self._gate.is_shut.wait()
            self._say("lane paused", reason=self._gate.reason)
            self._tell_after_ms = _FIRST_WORD_MS
            while self._gate.is_shut.is_set():
                delay_s = self._gate.next_delay_s()
                await self._tell(delay_s)
                await asyncio.sleep(delay_s)
                with contextlib.suppress(QueueUnavailable):
                    await self.probe()

    async def probe(self) -> None:
        """Ask the store; where it answers, send a canary, and open the gate when that is written."""
        try:
            async with asyncio.timeout(_CHECK_S):
                store = await self._site.stores.of(self._lane)
                await store.check()
        except TimeoutError:
            self._gate.failed(f"no answer within {_CHECK_S:g} s")
        except (StoreUnavailable, StoreRejected) as exc:
            self._gate.failed(str(exc))
        else:
            await self._try_a_batch()

    async def _try_a_batch(self) -> None:
        canary = self._gate.canary_of([where for where, _ in await self._needing()])
        if canary is None:
            # Drains that began before the gate was shut may hold all there is; they will tell.
            if not self._site.fleet.holding(self._lane):
                await self._open()
            return
        if await self._lanes.halted(self._lane):
            await self._open()
            return
        try:
            moved = await send_canary(self._site, canary)
        except (LanePaused, LaneWaits) as exc:
            self._gate.missed(canary, exc.reason)  # by a fault of its own, perhaps: another one is tried next
        except Busy:
            return  # the worker stops
        else:
            if moved is not None:  # else somebody else has just taken it
                await self._open(canary)

    async def _open(self, written: Partition | None = None) -> None:
        """Open the gate, and have everything drained that waits: deferred jobs would come up to a second later."""
        probes, lasted_ms = self._gate.probes, self._gate.open(written)
        self._say("lane goes on", paused_s=lasted_ms / 1000, probes=probes + 1)
        with contextlib.suppress(QueueUnavailable, QueueFull):
            await self._lanes.pauses.is_over(self._lane, self._lanes.worker_id)
            queue = self._site.queue
            rings = [(where, await queue.rearm(where, generation)) for where, generation in await self._needing()]
            if fresh := [ring for ring in rings if ring[1]]:
                await queue.ring(fresh)

    async def _needing(self) -> list[tuple[Partition, int]]:
        silent_since = self._site.now_ms() - self._site.config.stream_timeout_ms
        ours = [where for where in self._site.queue.all_partitions() if where.lane == self._lane]
        return await self._site.queue.needing(ours, silent_since)

    def _say(self, event: str, **told: object) -> None:
        """A line; where the lane pauses again and again, at each doubling of how often."""
        relapses = self._gate.relapses
        say = _log.debug if relapses & (relapses - 1) else _log.warning
        say(event, lane=self._lane, **told)

    async def _tell(self, delay_s: float) -> None:
        """Say what the matter is: to everybody who looks, and to the log whenever it has lasted twice as long."""
        gate = self._gate
        if gate.lasted_ms >= self._tell_after_ms:
            _log.warning("lane still paused", lane=self._lane, for_s=gate.lasted_ms / 1000, reason=gate.reason)
            self._tell_after_ms = 2 * gate.lasted_ms
        next_probe_ms = self._site.now_ms() + round(delay_s * 1000)
        outage = Outage(self._lane, self._lanes.worker_id, VERSION, gate.since_ms, next_probe_ms, gate.reason)
        with contextlib.suppress(QueueUnavailable, QueueFull):
            await self._lanes.pauses.tell(outage, _TOLD_MS)
