"""Whether a lane may be drained: by this worker's gate, by its breaker, by what the queue says for all workers."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from importlib.metadata import version

import structlog

from penstock.wire.errors import PenstockError, QueueFull, QueueUnavailable
from penstock.wire.pauses import BREAKER, Halt, Pauses, Standing
from penstock.wire.queue import Queue
from penstock.wire.records import LANES
from penstock.worker.breaker import Breaker, Tripped
from penstock.worker.gate import Gate
from penstock.worker.settings import WorkerConfig

VERSION = version("penstock")

_FRESH_S = 1.0
"""What the queue said is believed for this long. All workers stop within it, and the batch that is under way."""

AGAIN_S = 1.0
"""A drain that met a shut gate is tried again after this: not for this worker's sake, which rings when the gate opens,
but for others, whose store may be there."""

_log = structlog.get_logger("penstock.worker")


class LanePaused(PenstockError):
    """No drain of the lane may begin. Nothing was taken, and nothing is counted."""

    def __init__(self, lane: str, reason: str, delay_s: float | None) -> None:
        super().__init__(f"{lane} is paused: {reason}")
        self.reason = reason
        self.delay_s = delay_s
        """Try again after this; None where the sweep sees to it."""


@dataclass(slots=True)
class Lane:
    """One lane at this worker."""

    gate: Gate
    breaker: Breaker
    standing: Standing = field(default_factory=Standing)
    unsaid: Halt | None = None
    """A halt that the queue has not heard of yet."""


class Lanes:
    """All lanes at one worker."""

    def __init__(
        self, config: WorkerConfig, queue: Queue, worker_id: str, rng: random.Random, now_ms: Callable[[], int]
    ) -> None:
        self.pauses = Pauses(queue)
        self.worker_id = worker_id
        self._now_ms = now_ms
        self._lanes = {
            lane: Lane(
                Gate(lane, config.probe_cap_ms, rng, now_ms),
                Breaker(config.breaker_run, config.breaker_ratio, config.breaker_window),
            )
            for lane in LANES
        }
        self._heard_at: float | None = None
        self._hearing = asyncio.Lock()

    def __getitem__(self, lane: str) -> Lane:
        return self._lanes[lane]

    async def admit(self, lane: str) -> None:
        """Return where a drain of *lane* may begin.

        Raises:
            LanePaused: It may not.
            QueueUnavailable: It cannot be said.
        """
        if halt := await self.halted(lane):
            raise LanePaused(lane, halt.reason, None)
        gate = self[lane].gate
        if gate.is_shut.is_set():
            raise LanePaused(lane, gate.reason, AGAIN_S)

    async def is_paused(self, lane: str) -> bool:
        """Whether a drain that runs should end. A queue that does not answer is no reason."""
        with contextlib.suppress(QueueUnavailable):
            return self[lane].gate.is_shut.is_set() or await self.halted(lane) is not None
        return False

    async def halted(self, lane: str) -> Halt | None:
        """Why nobody may drain *lane*, as of the last second. Raises `QueueUnavailable`."""
        async with self._hearing:
            clock = asyncio.get_running_loop().time
            if self._heard_at is None or clock() - self._heard_at >= _FRESH_S:
                # Not asked again at once where there is no answer: everybody who waits here would wait for it in turn.
                if self._heard_at is not None:
                    self._heard_at = clock()
                for name, standing in (await self.pauses.standings()).items():
                    self._hear(name, standing)
                self._heard_at = clock()
                await self._say_unsaid()
        return self[lane].unsaid or self[lane].standing.halt

    async def halt(self, lane: str, tripped: Tripped) -> None:
        """Halt *lane* for all workers: its breaker has tripped."""
        here = self[lane]
        if here.unsaid or here.standing.halt:
            return  # drains of other partitions were under way
        here.unsaid = Halt(
            lane,
            BREAKER,
            tripped.reason,
            self._now_ms(),
            self.worker_id,
            VERSION,
            tripped.refused,
            tripped.seen,
        )
        _log.error("lane halted", lane=lane, reason=str(tripped), remedy=f"penstock lanes resume {lane}")
        with contextlib.suppress(QueueUnavailable):
            async with self._hearing:  # what was asked before it was said must not be heard after
                await self._say_unsaid()

    async def refused(self, lane: str, reason: str) -> None:
        """Count a record that was refused.

        Raises:
            Tripped: It was one too many.
            LanePaused: Another worker found so.
        """
        self[lane].breaker.refused(reason)
        with contextlib.suppress(QueueUnavailable):
            if halt := await self.halted(lane):
                raise LanePaused(lane, halt.reason, None)

    @contextlib.asynccontextmanager
    async def sparing(self, lane: str, records: int) -> AsyncIterator[None]:
        """Let the breaker spare as many of *records* as the allowance of `penstock lanes resume --bury` has left."""
        here = self[lane]
        taken = await self.pauses.spare(lane, records) if here.standing.bury > 0 else 0
        here.breaker.spared += taken
        try:
            yield
        finally:
            back = min(taken, here.breaker.spared)
            here.breaker.spared -= back
            if back:
                with contextlib.suppress(QueueUnavailable, QueueFull):
                    await self.pauses.give_back(lane, back)

    def _hear(self, lane: str, standing: Standing) -> None:
        here = self[lane]
        if standing.halt and not here.standing.halt:
            remedy = f"penstock lanes resume {lane}"
            _log.warning("lane halted", lane=lane, by=standing.halt.by, reason=standing.halt.reason, remedy=remedy)
        elif here.standing.halt and not standing.halt:
            _log.info("lane resumed", lane=lane, bury=standing.bury)
        if standing.resumed != here.standing.resumed:
            here.breaker.reset()
        here.standing = standing

    async def _say_unsaid(self) -> None:
        for here in self._lanes.values():
            if here.unsaid is not None:
                with contextlib.suppress(QueueFull):  # an old server with no memory left: this worker knows
                    if await self.pauses.halt(here.unsaid, here.standing.resumed):
                        here.standing = here.standing._replace(halt=here.unsaid)
                    else:
                        here.breaker.reset()
                    here.unsaid = None
