"""Finds out, for those who wait, what the workers have settled."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from penstock.producer.errors import ProducerClosed
from penstock.producer.overflow import producer_log
from penstock.producer.receipt import Placed
from penstock.wire.entries import position
from penstock.wire.errors import PenstockError
from penstock.wire.keys import Partition
from penstock.wire.tasks import end_task

FIRST_POLL_S, LONGEST_POLL_S = 0.003, 0.05
"""The poll slows down by half again each time that nothing has changed."""

_ASKED_AT_ONCE = 256
"""Records of one partition looked up in the dead letters by one call."""

Envelope = dict[str, Any]
"""What a worker wrote beside a dead letter."""


class Settled(Protocol):
    """What the tracker needs of the queue."""

    async def settled(
        self, wanted: Mapping[Partition, Sequence[str]]
    ) -> Mapping[Partition, tuple[str, Mapping[str, Envelope]]]:
        """See `Queue.settled`."""
        ...


class _Wait(NamedTuple):
    place: tuple[int, int]
    number: int
    record_id: str | None
    future: asyncio.Future[Envelope | None]


class Tracker:
    """One poll for all who wait, and none when nobody does."""

    def __init__(self, queue: Settled) -> None:
        self._queue = queue
        self._waits: dict[Partition, list[_Wait]] = {}
        self._numbers = itertools.count()
        self._task: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self._closed = False

    async def settled(self, placed: Placed, record_id: str | None) -> Envelope | None:
        """Wait until a worker has settled the log up to *placed*: the envelope if *record_id* is dead, else None.

        Raises:
            ProducerClosed: Nobody asks any more.
        """
        if self._closed:
            raise ProducerClosed("the producer is closed")
        future: asyncio.Future[Envelope | None] = asyncio.get_running_loop().create_future()
        wait = _Wait(position(placed.entry_id), next(self._numbers), record_id, future)
        self._waits.setdefault(placed.partition, []).append(wait)
        self._news.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._poll_while_awaited())
        return await future

    async def close(self) -> None:
        """Stop asking. Those who still wait get `ProducerClosed`."""
        self._closed = True
        if self._task is not None:
            await end_task(self._task)
        for wait in itertools.chain.from_iterable(self._waits.values()):
            if not wait.future.done():
                wait.future.set_exception(ProducerClosed("the producer closed"))
        self._waits.clear()

    async def _poll_while_awaited(self) -> None:
        delay_s = FIRST_POLL_S
        while self._prune():
            self._news.clear()
            try:
                moved = await self._poll()
            except Exception as exc:  # noqa: BLE001 - asked again; who waits has a deadline of his own
                if not isinstance(exc, PenstockError):
                    producer_log().error("cannot ask what is stored", exc_info=exc)
                moved, delay_s = False, LONGEST_POLL_S
            delay_s = FIRST_POLL_S if moved else min(delay_s * 1.5, LONGEST_POLL_S)
            await self._pause(delay_s)

    async def _pause(self, delay_s: float) -> None:
        """Sleep *delay_s*, or only the shortest time when somebody new waits."""
        await asyncio.sleep(FIRST_POLL_S)
        if delay_s > FIRST_POLL_S:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay_s - FIRST_POLL_S):
                    await self._news.wait()

    def _prune(self) -> bool:
        """Forget those who wait no more, sort the others by place; whether anybody is left."""
        for where, waits in list(self._waits.items()):
            left = sorted(wait for wait in waits if not wait.future.done())
            if left:
                self._waits[where] = left
            else:
                del self._waits[where]
        return bool(self._waits)

    async def _poll(self) -> bool:
        """Ask once; whether anybody's wait ended."""
        asked = {where: waits[:_ASKED_AT_ONCE] for where, waits in self._waits.items()}
        wanted = {where: [one.record_id for one in waits if one.record_id] for where, waits in asked.items()}
        answers = await self._queue.settled(wanted)
        moved = False
        for where, (done, dead) in answers.items():
            upto = position(done)
            for one in asked[where]:
                if one.place <= upto and not one.future.done():
                    one.future.set_result(dead.get(one.record_id or ""))
                    moved = True
        return moved
