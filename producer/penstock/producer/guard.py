"""Stands between a producer and its queue server: turns away from one that is unfit, and holds back from one that is
nearly full."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from penstock.producer.overflow import producer_log
from penstock.producer.settings import ProducerSettings
from penstock.wire.compression import Press
from penstock.wire.durability import Confirmer, refuse_unsyncing
from penstock.wire.entries import Confirmed, Holder, Push, Pushed
from penstock.wire.errors import QueueFull
from penstock.wire.keys import Partition
from penstock.wire.levels import FAST, LEVELS
from penstock.wire.queue import Queue
from penstock.wire.server import Memory, check_server, memory_of

_SOONEST_S, _LATEST_S = 1.0, 10.0
"""Between two looks at the server's memory: where 256 producers looked each second, a sixth of its time went there."""

_FASTEST_BYTES = 80_000_000
"""What one producer can add in a second: 236,000 messages of 338 bytes (benchmarks/enqueue.py)."""

_HYSTERESIS = 0.05
"""The gate opens this share below where it closes, so that it does not flutter."""


class MemoryGate:
    """Closed while the server uses more of its memory than it should: what is left is for those who empty it."""

    def __init__(self, share: float) -> None:
        self.closed: QueueFull | None = None
        """Why nothing is sent."""
        self.look_in_s = 0.0
        """How long a producer at its fastest takes to the mark: until then nobody need look again."""
        self._share = share

    def note(self, memory: Memory) -> None:
        """Open or close it by what the server uses now."""
        self.look_in_s = self._time_left_s(memory)
        used = memory.used / memory.limit if memory.limit else 0.0
        was_closed = self.closed is not None
        if used <= self._share - (_HYSTERESIS if was_closed else 0) or not used:
            self.closed = None
            if was_closed:
                producer_log().info("memory gate opens; sending again", used=round(used, 3))
            return
        self.closed = QueueFull(
            f"the queue server uses {memory.used:,} of {memory.limit:,} bytes, above memory_gate ({self._share:g}); "
            f"start more workers or raise maxmemory"
        )
        if not was_closed:
            producer_log().warning("memory gate closes; records wait", reason=str(self.closed))

    def _time_left_s(self, memory: Memory) -> float:
        if not memory.limit:
            return _LATEST_S
        left_s = (self._share * memory.limit - memory.used) / _FASTEST_BYTES
        return min(max(left_s, _SOONEST_S), _LATEST_S)


class Guard:
    """The queue, as a producer's sender and its claims see it."""

    def __init__(self, queue: Queue, settings: ProducerSettings, now_s: Callable[[], float] = time.monotonic) -> None:
        self.memory_gate = MemoryGate(settings.memory_gate)
        self._queue = queue
        self._settings = settings
        self._confirmer = self.confirmer()
        self._press = Press() if settings.compression == "zstd" else None
        self._now_s = now_s
        self._look_at_s = 0.0
        self._able = FAST

    @property
    def partitions(self) -> int:
        """See `Queue.partitions`."""
        return self._queue.partitions

    async def open(self, partitions: int | None = None) -> None:
        """Connect, and look what kind of server it is. See `Queue.open`.

        Raises:
            ConfigMismatch: It evicts, keeps nothing on disk, or cannot do what `durability` needs.
        """
        await self._queue.open(partitions)
        await check_server(self._queue.scripts, self._settings.server_check)
        await self._look_whether_it_can(LEVELS[self._settings.durability])

    async def push(self, pushes: Sequence[Push], backlog_records: int) -> list[Pushed | Exception]:
        """See `Queue.push`.

        Raises:
            QueueFull: The memory gate is closed; nothing was sent.
        """
        await self._pass_gate()
        if self._press is not None:
            pushes = [await _pressed(push, self._press) for push in pushes]
        return await self._queue.push(pushes, backlog_records)

    async def claim(self, push: Push, backlog_records: int) -> Pushed | Holder:
        """See `Queue.claim`. At a closed memory gate it raises `QueueFull`, too."""
        await self._pass_gate()
        if self._press is not None:
            push = await _pressed(push, self._press)
        return await self._queue.claim(push, backlog_records)

    async def ring(self, rings: Sequence[tuple[Partition, int]]) -> None:
        """See `Queue.ring`."""
        await self._queue.ring(rings)

    async def confirm(self, producers: Mapping[Partition, str], levels: int) -> Confirmed:
        """See `Confirmer.confirm`. Raises `ConfigMismatch` where the server cannot do it, as it is set up."""
        await self._look_whether_it_can(levels)
        return await self._confirmer.confirm(producers, levels)

    def confirmer(self) -> Confirmer:
        """Somebody to ask whether what is pushed is durable, who remembers what he was told."""
        return Confirmer(self._queue, self._settings.replicas)

    async def _look_whether_it_can(self, levels: int) -> None:
        if levels & ~self._able:
            await refuse_unsyncing(self._queue, levels)
            self._able |= levels

    async def _pass_gate(self) -> None:
        """Look at the server's memory, the more often the less is left, and only when something is to be sent."""
        gate = self.memory_gate
        if self._settings.memory_gate and self._now_s() >= self._look_at_s:
            gate.note(await memory_of(self._queue.scripts))
            self._look_at_s = self._now_s() + gate.look_in_s
        if gate.closed is not None:
            raise gate.closed


async def _pressed(push: Push, press: Press) -> Push:
    return push._replace(frames=[frame._replace(body=await press.press(frame.body)) for frame in push.frames])
