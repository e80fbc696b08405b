"""Why a lane is not drained: its store is away for a worker, or it is halted for all of them.

The only caller of the scripts that halt and resume. Calls may be repeated after a lost answer; an allowance may then be
off by what one call took of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, TypeVar

import msgpack

from penstock.wire.queue import Queue
from penstock.wire.records import LANES
from penstock.wire.scripts import text_of

BREAKER, HAND = "breaker", "hand"
"""`Halt.by`: too much was refused · somebody wanted it so."""


_MAX_REASON_CHARS = 500

_Told = TypeVar("_Told", bound="Outage | Halt")


class Outage(NamedTuple):
    """A lane's store is away, as one worker sees it."""

    lane: str
    worker: str
    version: str
    """The release that the worker runs."""
    since_ms: int
    next_probe_ms: int
    reason: str


class Halt(NamedTuple):
    """No worker drains a lane until a person resumes it."""

    lane: str
    by: str
    reason: str
    """What the person said, or why the first of the records was refused."""
    since_ms: int
    worker: str = ""
    version: str = ""
    refused: int = 0
    """For the breaker: so many of `seen` records were refused, in a row where that is the same number."""
    seen: int = 0


class Standing(NamedTuple):
    """What the queue says of a lane."""

    halt: Halt | None = None
    resumed: int = 0
    """How often it was resumed. What was counted before that counts no longer."""
    bury: int = 0
    """So many refused records may be buried before any count again."""


class Pauses:
    """The pauses of one namespace."""

    __slots__ = ("_queue",)

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    async def tell(self, outage: Outage, ttl_ms: int) -> None:
        """Let everybody see *outage* for *ttl_ms*.

        Raises:
            QueueUnavailable, QueueFull: Nobody sees it, or an older one.
        """
        name = self._queue.keys.outage(outage.lane, outage.worker)
        with self._queue.scripts.translated():
            await self._queue.client.set(name, _packed(outage), px=ttl_ms)

    async def is_over(self, lane: str, worker: str) -> None:
        """Forget that worker's outage of *lane*."""
        with self._queue.scripts.translated():
            await self._queue.client.delete(self._queue.keys.outage(lane, worker))

    async def outages(self, workers: Iterable[str]) -> list[Outage]:
        """What those workers find away, lane by lane."""
        names = [self._queue.keys.outage(lane, worker) for lane in LANES for worker in sorted(workers)]
        if not names:
            return []
        with self._queue.scripts.translated():
            replies = await self._queue.client.mget(names)
        return [_unpacked(Outage, reply) for reply in replies if reply is not None]

    async def standings(self) -> dict[str, Standing]:
        """What the queue says of every lane."""
        with self._queue.scripts.translated():
            found = await self._queue.client.hgetall(self._queue.keys.lanes())
        said = {text_of(name): value for name, value in found.items()}
        return {lane: _standing(lane, said) for lane in LANES}

    async def halt(self, halt: Halt, resumed: int | None = None) -> bool:
        """Halt a lane, if it is not. False when it was resumed since it had been *resumed* so often."""
        args = [halt.lane, "" if resumed is None else resumed, _packed(halt)]
        return bool(await self._queue.scripts.run("halt", [self._queue.keys.lanes()], args))

    async def resume(self, lane: str, bury: int = 0) -> Halt | None:
        """Let *lane* be drained again, and so many refused records be buried uncounted. None when it was not halted."""
        reply = await self._queue.scripts.run("resume", [self._queue.keys.lanes()], [lane, bury])
        return _unpacked(Halt, reply) if reply else None

    async def spare(self, lane: str, at_most: int) -> int:
        """Take of the allowance that `resume` gave: so many may be buried by whoever took them."""
        return int(await self._queue.scripts.run("spare", [self._queue.keys.lanes()], [lane, at_most]))

    async def give_back(self, lane: str, count: int) -> None:
        """Give back what was taken and not needed. A worker that dies between costs that much of the allowance."""
        with self._queue.scripts.translated():
            await self._queue.client.hincrby(self._queue.keys.lanes(), f"{lane}:bury", count)


def _standing(lane: str, said: Mapping[str, bytes]) -> Standing:
    halt = said.get(f"{lane}:halt")
    resumed, bury = (int(said.get(f"{lane}:{name}", 0)) for name in ("resumed", "bury"))
    return Standing(_unpacked(Halt, halt) if halt else None, resumed, bury)


def _packed(told: Outage | Halt) -> bytes:
    packed: bytes = msgpack.packb(told._replace(reason=told.reason[:_MAX_REASON_CHARS]))
    return packed


def _unpacked(kind: type[_Told], packed: bytes) -> _Told:
    """What a newer release tells beyond our fields stays untold."""
    return kind(*msgpack.unpackb(packed)[: len(kind._fields)])
