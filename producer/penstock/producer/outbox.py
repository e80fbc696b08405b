"""Everything behind the calls: one buffer, its sender and its tracker, on one event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Literal

from penstock.producer.buffer import HIGH_MARK, LOW_MARK, Buffer
from penstock.producer.claims import Claims
from penstock.producer.errors import DeadLettered, NotQueued, NotStored, ProducerClosed
from penstock.producer.guard import Guard
from penstock.producer.overflow import buffer_full
from penstock.producer.receipt import Entry, Placed, Ticket
from penstock.producer.sender import Sender
from penstock.producer.settings import ProducerSettings
from penstock.producer.tracker import Tracker
from penstock.wire.ids import from_us
from penstock.wire.queue import Queue
from penstock.wire.tasks import end_task

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
        self.sender = Sender(guard, buffer, settings, producer_id)
        self.claims = Claims(guard, self.sender, settings, producer_id)
        self._tracker = Tracker(self._queue)
        self._task: asyncio.Task[None] | None = None
        self._stopped = False
        self._room = asyncio.Event()

    def start(self) -> None:
        """Start sending, once. To be called on the loop.

        Raises:
            ProducerClosed: It was started before.
        """
        if self._task is not None or self._stopped:
            raise ProducerClosed("the producer was started before; make a new one")
        self._task = asyncio.get_running_loop().create_task(self.sender.run(), name="penstock-sender")

    async def first_try(self) -> None:
        """Wait, not for long, until the queue was asked once. A queue that is away is no error.

        Raises:
            ConfigMismatch: The namespace and the settings disagree. The outbox is closed.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FIRST_TRY_S):
                await self.sender.tried.wait()
        if self.sender.mismatch is not None:
            self._buffer.close()
            await self._stop()
            raise self.sender.mismatch

    # -- waiting --------------------------------------------------------------------------------

    async def ready(self, timeout_s: float | None) -> None:
        """See `Producer.ready`."""
        if self._buffer.fill() < HIGH_MARK:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self._buffer.fill() > LOW_MARK and not self._buffer.closed:
                    self._room.clear()
                    await self._room.wait()
        if self._buffer.closed:
            raise ProducerClosed("the producer closed before the buffer had room")
        if self._buffer.fill() > LOW_MARK:
            raise buffer_full(self._buffer, 0, f"waited {timeout_s:g} s; {self.sender.reason}")

    def note_room(self) -> None:
        """Wake those who wait for room."""
        self._room.set()

    async def until_queued(self, ticket: Ticket, timeout_s: float | None) -> None:
        """See `Receipt.queued`."""
        async with _deadline(timeout_s, lambda: NotQueued(self._known(ticket))):
            await _placed(ticket)

    async def until_stored(self, ticket: Ticket, timeout_s: float | None) -> None:
        """See `Receipt.stored`."""
        try:
            async with _deadline(timeout_s, lambda: NotStored(self._known(ticket))):
                buried = await self._tracker.settled(await _placed(ticket), ticket.id)
        except ProducerClosed as exc:
            raise NotStored(f"{self._known(ticket)} ({exc})") from exc
        if buried is not None:
            kind, reason = (str(buried.envelope.get(name)) for name in ("kind", "reason"))
            raise DeadLettered(ticket.id, kind, reason, buried.letter_id)

    def _known(self, ticket: Ticket) -> str:
        if isinstance(ticket.fate, Placed):
            at = from_us(ticket.fate.at_us).isoformat()
            return f"record {ticket.id} was queued at {at}, not stored yet; do workers run?"
        return f"record {ticket.id} is still in the buffer; {self.sender.reason}"

    async def flush(self, until: Until, timeout_s: float | None) -> None:
        """See `Producer.flush`."""
        if until not in ("queued", "stored"):
            raise ValueError(f"until is {until!r}; queued or stored is needed")
        if self._stopped:
            raise ProducerClosed("the producer is closed; flush inside its `with` block")
        entries = self.sender.outstanding()
        late = NotQueued if until == "queued" else NotStored
        self.sender.hurry()
        async with _deadline(timeout_s, lambda: late(self._unflushed(entries))):
            for entry in entries:
                if entry.fate is None:
                    await entry.decided()
                if isinstance(entry.fate, Exception):
                    raise entry.fate
            if until == "stored":
                for placed in [*self.sender.last_placed(), *self.claims.last_placed()]:
                    await self._tracker.settled(placed, None)

    def _unflushed(self, entries: Sequence[Entry]) -> str:
        left = sum(entry.fate is None for entry in entries)
        if left:
            return f"{left:,} records are still in the buffer; {self.sender.reason}"
        return "everything is queued, but not everything is stored yet; do workers run?"

    # -- closing --------------------------------------------------------------------------------

    async def close(self) -> None:
        """Stop taking, send what is there within `close_timeout_s`, settle what is left, close. May be repeated.

        Raises:
            Exception: An error that nobody foresaw kept records from being sent. They are counted as dropped.
        """
        if self._stopped:
            return
        self._buffer.close()
        self._room.set()
        try:
            with contextlib.suppress(NotQueued):
                await self.flush("queued", self._settings.close_timeout_s)
        finally:
            await self._stop()
        if self.sender.failure is not None:
            raise self.sender.failure

    async def _stop(self) -> None:
        self._stopped = True
        await self.claims.close()
        if self._task is not None:
            await end_task(self._task)
        left = self.sender.give_up()
        self._buffer.overflow.leave(left, self.sender.reason)
        self._buffer.overflow.drops.report(at_once=True)
        await self._tracker.close()
        await self._queue.close()


async def _placed(ticket: Ticket) -> Placed:
    fate = await ticket.decided()
    if isinstance(fate, Exception):
        raise fate
    return fate


@contextlib.asynccontextmanager
async def _deadline(timeout_s: float | None, late: Callable[[], Exception]) -> AsyncIterator[None]:
    """Raise *late()* where the block takes longer."""
    try:
        async with asyncio.timeout(timeout_s) as limit:
            yield
    except TimeoutError:
        if not limit.expired():
            raise
        raise late() from None
