"""Everything behind the calls: one buffer, its sender and its tracker, on one event loop."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from penstock.producer.barriers import all_sent
from penstock.producer.buffer import HIGH_MARK, LOW_MARK, Buffer
from penstock.producer.claims import Claims
from penstock.producer.errors import DeadLettered, NotQueued, NotStored, ProducerClosed, RecordDropped
from penstock.producer.guard import Guard
from penstock.producer.overflow import buffer_full
from penstock.producer.receipt import Placed, Ticket
from penstock.producer.sender import Sender
from penstock.producer.settings import ProducerSettings
from penstock.producer.tracker import Tracker
from penstock.producer.whereabouts import Settled, why_not_all_stored, why_not_stored
from penstock.wire.ids import from_us
from penstock.wire.inquiry import Buried
from penstock.wire.keys import Partition, partition_of
from penstock.wire.queue import Queue
from penstock.wire.tasks import end_task, see_through

if TYPE_CHECKING:
    from penstock.producer.spiller import Spiller
    from penstock.producer.spool import Spool

_FIRST_TRY_S = 1.0
"""Starting waits this long to hear of a wrong setting; a queue that is away does not hold it up longer."""

Until = Literal["queued", "stored"]


class Outbox:
    """Takes what the calls leave in the buffer to the queue. Everything here runs on one loop."""

    def __init__(self, settings: ProducerSettings, buffer: Buffer, producer_id: str) -> None:
        self._settings = settings
        self._buffer = buffer
        self._queue = Queue(settings.redis_url, settings.namespace)
        guard = Guard(self._queue, settings)
        self._spool = _spool_of(settings)
        self.sender = Sender(guard, buffer, settings, producer_id, spool=self._spool)
        self.claims = Claims(guard, self.sender, settings, producer_id)
        self._tracker = Tracker(self._queue)
        self._spiller = _spiller_of(self.sender, self._spool, buffer, settings)
        self._task: asyncio.Task[None] | None = None
        self._spilling: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None
        self._room = asyncio.Event()

    def start(self) -> None:
        """Start sending, once. To be called on the loop.

        Raises:
            ProducerClosed: It was started before.
        """
        if self._task is not None or self._ending is not None:
            raise ProducerClosed("the producer was started before; make a new one")
        loop = asyncio.get_running_loop()
        self._task = loop.create_task(self.sender.run(), name="penstock-sender")
        if self._spiller is not None:
            self._spilling = loop.create_task(self._spiller.run(), name="penstock-spiller")

    async def first_try(self) -> None:
        """Wait, not for long, until the queue was asked once. A queue that is away is no error.

        Cancelled, the outbox is closed: nobody is told that it was started.

        Raises:
            ConfigMismatch: The namespace and the settings disagree. The outbox is closed.
        """
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_FIRST_TRY_S):
                    await self.sender.tried.wait()
        except asyncio.CancelledError:
            self._buffer.close()
            await self._stop()
            raise
        if self.sender.mismatch is not None:
            self._buffer.close()
            await self._stop()
            raise self.sender.mismatch

    # -- waiting --------------------------------------------------------------------------------

    async def ready(self, timeout_s: float | None, session_id: str | None = None) -> None:
        """See `Producer.ready`."""
        where = self._partition_of(session_id)
        if self._buffer.fill() < HIGH_MARK and self._has_share(where):
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while (self._buffer.fill() > LOW_MARK or not self._has_share(where)) and not self._buffer.closed:
                    self._room.clear()
                    await self._room.wait()
        if self._buffer.closed:
            raise ProducerClosed("the producer closed before the buffer had room")
        if self._buffer.fill() > LOW_MARK or not self._has_share(where):
            raise buffer_full(self._buffer, 0, f"waited {timeout_s:g} s; {self.sender.reason}", where)

    def _partition_of(self, session_id: str | None) -> Partition | None:
        if session_id is None or not self.sender.opened.is_set():
            return None
        return Partition("messages", partition_of(session_id, self.sender.partitions))

    def _has_share(self, where: Partition | None) -> bool:
        return where is None or self._buffer.shares.has_room(where, 0)

    def note_room(self) -> None:
        """Wake those who wait for room."""
        self._room.set()

    def alarm(self) -> None:
        """The buffer is half full. For the thread of the loop."""
        if self._spiller is not None:
            self._spiller.alarm()

    async def until_queued(self, ticket: Ticket, timeout_s: float | None) -> None:
        """See `Receipt.queued`."""
        try:
            async with asyncio.timeout(timeout_s) as limit:
                await _placed(ticket)
        except TimeoutError:
            if not limit.expired():
                raise
            raise NotQueued(self._unsent(ticket)) from None

    async def until_stored(self, ticket: Ticket, timeout_s: float | None) -> None:
        """See `Receipt.stored`."""
        if isinstance(ticket.fate, Placed) and ticket.fate.stored:
            return
        try:
            buried = await self._settled(ticket, timeout_s)
        except (ProducerClosed, NotQueued) as exc:
            raise NotStored(f"{self._known(ticket)} ({exc})") from exc
        if buried is not None:
            kind, reason = (str(buried.envelope.get(name)) for name in ("kind", "reason"))
            raise DeadLettered(ticket.id, kind, reason, buried.letter_id)
        if isinstance(ticket.fate, Placed):
            ticket.fate = ticket.fate._replace(stored=True)

    async def _settled(self, ticket: Ticket, timeout_s: float | None) -> Buried | None:
        """The letter of the record once it is settled, None if it is stored."""
        try:
            async with asyncio.timeout(timeout_s) as limit:
                return await self._tracker.settled(await _placed(ticket), ticket.id)
        except TimeoutError:
            if not limit.expired():
                raise
        known = self._known(ticket)
        if isinstance(ticket.fate, Placed):
            try:
                known = f"{known}: {await why_not_stored(self._queue, ticket.fate, ticket.id)}"
            except Settled as settled:
                return settled.buried
        raise NotStored(known)

    def _known(self, ticket: Ticket) -> str:
        if isinstance(ticket.fate, Placed):
            return f"record {ticket.id} was queued at {from_us(ticket.fate.at_us).isoformat()}, not stored yet"
        return self._unsent(ticket)

    def _unsent(self, ticket: Ticket) -> str:
        return f"record {ticket.id} is still {ticket.whereabouts()}; {self.sender.reason}"

    async def flush(self, until: Until, timeout_s: float | None) -> None:
        """See `Producer.flush`."""
        if until not in ("queued", "stored"):
            raise ValueError(f"until is {until!r}; queued or stored is needed")
        if self._ending is not None:
            raise ProducerClosed("the producer is closed; flush inside its `with` block")
        try:
            async with asyncio.timeout(timeout_s) as limit:
                await all_sent(self.sender)
                if until == "stored":
                    await self._all_settled()
        except TimeoutError:
            if not limit.expired():
                raise
            late = NotQueued if until == "queued" else NotStored
            raise late(await self._unflushed()) from None

    async def _all_settled(self) -> None:
        """Wait until workers have settled all that was sent, and the streams that ended."""
        places = [*self.sender.lines.last_placed(), *self.claims.last_placed()]
        ended = {ticket: ticket.fate for ticket in list(self._buffer.ended) if isinstance(ticket.fate, Placed)}
        await self._tracker.all_settled(
            [*((placed, None) for placed in places), *((fate, ticket.id) for ticket, fate in ended.items())]
        )
        self._buffer.forget_ended(ended)

    async def _unflushed(self) -> str:
        if not self.sender.lines.unsent():
            lanes = [placed.partition.lane for placed in self.sender.lines.last_placed()]
            why = await why_not_all_stored(self._queue, lanes)
            return f"everything is queued, but not everything is stored yet: {why}"
        spool = self._spool
        beside = f" and {spool.records:,} in the spool at {spool.path}" if spool is not None and spool.records else ""
        return f"{self._buffer.records:,} records are still in the buffer{beside}; {self.sender.reason}"

    # -- closing --------------------------------------------------------------------------------

    async def close(self) -> None:
        """Stop taking, send what is there within `close_timeout_s`, settle what is left, close. May be repeated.

        With a spool what is left goes there, at once where the queue is away. Cancelled, it waits no longer for the
        queue, and does the rest before it ends.

        Raises:
            Exception: An error that nobody foresaw kept records from being sent. They are in the spool, or dropped.
        """
        if self._ending is not None:
            await see_through(self._ending)
            return
        self._buffer.close()
        self._room.set()
        try:
            await self._flush_at_last()
        finally:
            await self._stop()
        if self.sender.failure is not None:
            raise self.sender.failure

    async def _flush_at_last(self) -> None:
        loop = asyncio.get_running_loop()
        flush = loop.create_task(self.flush("queued", self._settings.close_timeout_s))
        tasks: list[asyncio.Task[Any]] = [flush]
        if self._spool is not None:
            tasks.append(loop.create_task(self.sender.gone.wait()))
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                await end_task(task)
        if not flush.cancelled():
            with contextlib.suppress(NotQueued):
                flush.result()

    async def _stop(self) -> None:
        if self._ending is None:
            self._ending = asyncio.get_running_loop().create_task(self._end_all(), name="penstock-closing")
        await see_through(self._ending)

    async def _end_all(self) -> None:
        await self.claims.close()
        if self._task is not None:
            await end_task(self._task)
        if self._spiller is not None and self._spilling is not None:
            await self._spiller.finish()
            await self._spilling
        left = self.sender.give_up(self._end())
        self._buffer.overflow.leave(left, self.sender.reason)
        self._buffer.overflow.drops.report(at_once=True)
        if self._spool is not None:
            await self._spool.close()
        await self._tracker.close()
        await self._queue.close()

    def _end(self) -> Exception:
        if self._spool is None or self._buffer.records:
            return RecordDropped(f"the producer closed before the queue confirmed everything: {self.sender.reason}")
        return NotQueued(f"the producer closed; what was left waits in the spool at {self._spool.path}")

    def disown(self, fate: Exception) -> None:
        """In a forked child: leave everything to the parent. *fate* is what copies of its receipts say."""
        for entry in self.sender.lines.outstanding():
            entry.fate = fate
        if self._spool is not None:
            self._spool.disown(fate)


def _spool_of(settings: ProducerSettings) -> Spool | None:
    if not settings.spool_dir:
        return None
    from penstock.producer.spool import Spool  # noqa: PLC0415 - sqlite3, for those who want it

    return Spool(Path(settings.spool_dir), settings.namespace, settings.spool_bytes)


def _spiller_of(sender: Sender, spool: Spool | None, buffer: Buffer, settings: ProducerSettings) -> Spiller | None:
    if spool is None:
        return None
    from penstock.producer.spiller import Spiller  # noqa: PLC0415 - sqlite3, for those who want it

    return Spiller(sender, spool, buffer, settings.spool_after_ms / 1000)


async def _placed(ticket: Ticket) -> Placed:
    fate = await ticket.decided()
    if isinstance(fate, Exception):
        raise fate
    return fate
