"""Finds out, for those who wait, what the workers have settled."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Protocol

from penstock.producer.errors import ProducerClosed
from penstock.producer.overflow import producer_log
from penstock.producer.pace import Pace
from penstock.producer.receipt import Placed
from penstock.wire.entries import position
from penstock.wire.errors import PenstockError
from penstock.wire.inquiry import Answer, Buried, Inquiry
from penstock.wire.keys import Partition
from penstock.wire.tasks import end_task

_ASKED_AT_ONCE = 256
"""Records of one partition asked for by one call."""


class Settled(Protocol):
    """What the tracker needs of the queue."""

    async def settled_upto(self, partitions: Sequence[Partition]) -> Mapping[Partition, str]:
        """See `Queue.settled_upto`."""
        ...

    async def settled(self, wanted: Mapping[Partition, Sequence[Inquiry]]) -> Mapping[Partition, Answer]:
        """See `Queue.settled`."""
        ...


@dataclass(slots=True, eq=False)
class _Wait:
    place: tuple[int, int]
    inquiry: Inquiry | None
    """None where nothing but the place counts."""
    future: asyncio.Future[Buried | None]
    turn: int = 0
    """How often the answer was that it is held back. Others are asked for before it."""


class Tracker:
    """One poll for all who wait, and none when nobody does."""

    def __init__(self, queue: Settled) -> None:
        self._queue = queue
        self._waits: dict[Partition, list[_Wait]] = {}
        self._task: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self._is_sorted = True
        self._closed = False

    async def settled(self, placed: Placed, record_id: str | None) -> Buried | None:
        """Wait until workers have settled the record at *placed*: its letter if it is dead, else None.

        Without a *record_id* wait until they have settled the log up to there, whatever became of what it held.

        Raises:
            ProducerClosed: Nobody asks any more.
        """
        return await self._watch(placed, record_id)

    async def all_settled(self, wanted: Iterable[tuple[Placed, str | None]]) -> None:
        """Wait until all of these are settled, each as `settled` says, whatever became of them. Raises as `settled`."""
        futures = [self._watch(placed, record_id) for placed, record_id in wanted]
        try:
            for future in futures:
                await future
        finally:
            for future in futures:
                future.cancel()

    def _watch(self, placed: Placed, record_id: str | None) -> asyncio.Future[Buried | None]:
        if self._closed:
            raise ProducerClosed("the producer is closed")
        future: asyncio.Future[Buried | None] = asyncio.get_running_loop().create_future()
        inquiry = Inquiry(record_id, placed.entry_id, placed.opened_us) if record_id else None
        self._waits.setdefault(placed.partition, []).append(_Wait(position(placed.entry_id), inquiry, future))
        future.add_done_callback(self._note_end)
        self._is_sorted = False
        self._news.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._poll_while_awaited())
        return future

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
        pace = Pace()
        while self._prune():
            is_new = self._news.is_set()
            self._news.clear()
            try:
                moved = await self._poll()
            except Exception as exc:  # noqa: BLE001 - asked again; who waits has a deadline of his own
                if not isinstance(exc, PenstockError):
                    producer_log().error("cannot ask what is stored", exc_info=exc)
                pace.failed()
            else:
                pace.answered(has_news=moved or is_new, waiting=sum(map(len, self._waits.values())))
            await self._pause(pace)

    async def _pause(self, pace: Pace) -> None:
        """Sleep for as long as *pace* says, or only the shortest time when somebody new waits."""
        await asyncio.sleep(pace.soonest_s)
        if pace.delay_s > pace.soonest_s:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pace.delay_s - pace.soonest_s):
                    await self._news.wait()

    def _note_end(self, _: object) -> None:
        self._is_sorted = False

    def _prune(self) -> bool:
        """Forget those who wait no more, sort the others by place; whether anybody is left."""
        if self._is_sorted:  # thousands may wait
            return bool(self._waits)
        self._is_sorted = True
        for where, waits in list(self._waits.items()):
            left = sorted((wait for wait in waits if not wait.future.done()), key=attrgetter("turn", "place"))
            if left:
                self._waits[where] = left
            else:
                del self._waits[where]
        return bool(self._waits)

    async def _poll(self) -> bool:
        """Ask once; whether anybody's wait ended. Records are asked for once workers have come as far as they lie."""
        moved = False
        asked: dict[Partition, list[_Wait]] = {}
        for where, upto in (await self._queue.settled_upto(list(self._waits))).items():
            reached = _reached(self._waits[where], upto)
            for one in reached:
                if one.inquiry is None:
                    one.future.set_result(None)
                    moved = True
            if records := [one for one in reached if one.inquiry][:_ASKED_AT_ONCE]:
                asked[where] = records
        return await self._ask(asked) or moved if asked else moved

    async def _ask(self, asked: Mapping[Partition, Sequence[_Wait]]) -> bool:
        wanted = {where: [one.inquiry for one in waits if one.inquiry] for where, waits in asked.items()}
        moved = False
        for where, answer in (await self._queue.settled(wanted)).items():
            upto = position(answer.upto)
            for number, one in enumerate(asked[where]):
                if one.place > upto or one.future.done():
                    continue
                if number in answer.held:
                    one.turn += 1
                    self._is_sorted = False
                    continue
                one.future.set_result(answer.buried.get(number))
                moved = True
        return moved


def _reached(waits: Iterable[_Wait], upto: str) -> list[_Wait]:
    place = position(upto)
    return [one for one in waits if one.place <= place and not one.future.done()]
