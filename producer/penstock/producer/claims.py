"""Keys that are set if nobody has set them: decided by the queue server, now, and stored behind as any record is."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Protocol

from penstock.producer.barriers import caught_up
from penstock.producer.claim import Claim
from penstock.producer.errors import ProducerClosed
from penstock.producer.receipt import Placed
from penstock.producer.sender import Sender
from penstock.producer.settings import ProducerSettings
from penstock.producer.syncing import LOOK_AGAIN_S
from penstock.wire.backoff import next_delay_s
from penstock.wire.entries import Confirmed, Holder, Push, Pushed
from penstock.wire.errors import PenstockError, QueueFull, QueueUnavailable
from penstock.wire.frames import frame_of
from penstock.wire.ids import wall_clock_us
from penstock.wire.keys import Partition, partition_of
from penstock.wire.levels import FAST
from penstock.wire.marks import marks_of
from penstock.wire.tasks import end_task


class Confirming(Protocol):
    """See `Confirmer`."""

    async def confirm(self, producers: Mapping[Partition, str], levels: int) -> Confirmed:
        """See `Confirmer.confirm`."""
        ...


class Desk(Protocol):
    """What claims need of the queue."""

    @property
    def partitions(self) -> int:
        """See `Queue.partitions`."""
        ...

    async def claim(self, push: Push, backlog_records: int) -> Pushed | Holder:
        """See `Queue.claim`."""
        ...

    def confirmer(self) -> Confirming:
        """Somebody to ask whether what is pushed is durable."""
        ...

    async def ring(self, rings: Sequence[tuple[Partition, int]]) -> None:
        """See `Queue.ring`."""
        ...


class _Turn:
    """One partition's claims, one after the other: an unanswered one is repeated under its number before the next."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.number = 0
        self.last: Placed | None = None
        """Where the last one lies that set its key."""


class Claims:
    """Asks the queue, for one producer. Everything here runs on its loop."""

    def __init__(self, queue: Desk, sender: Sender, settings: ProducerSettings, producer_id: str) -> None:
        self._queue = queue
        self._sender = sender
        self._settings = settings
        # Not the sender's: claims have numbers of their own, so that neither waits for the other's answer.
        self._producer_id = f"{producer_id}:claims"
        self._rng = random.Random()  # noqa: S311 - jitter
        self._turns: defaultdict[Partition, _Turn] = defaultdict(_Turn)
        self._running: set[asyncio.Task[bool]] = set()

    async def decide(self, claim: Claim, timeout_s: float | None) -> bool:
        """See `Producer.set_if_absent`."""
        task = asyncio.get_running_loop().create_task(self._decide(claim))
        self._running.add(task)
        try:
            await asyncio.wait((task,), timeout=timeout_s)
            late = not task.done()
        finally:
            await end_task(task)
            self._running.discard(task)
        if claim.answer is not None:
            return claim.answer
        if not task.cancelled():
            return task.result()
        if late:
            raise QueueUnavailable(f"waited {timeout_s:g} s; {claim.known(self._sender.reason)}")
        raise ProducerClosed(f"the producer closed; {claim.known(self._sender.reason)}")

    def last_placed(self) -> list[Placed]:
        """For each partition where its last claim lies that set its key."""
        return [turn.last for turn in self._turns.values() if turn.last is not None]

    async def close(self) -> None:
        """End what is running; its callers get `ProducerClosed`."""
        running = list(self._running)
        for task in running:
            task.cancel()  # all before any ends, or the next in turn would still ask
        for task in running:
            await end_task(task)

    async def _decide(self, claim: Claim) -> bool:
        await self._sender.opened.wait()
        where = Partition("state", partition_of(claim.order, self._queue.partitions))
        turn = self._turns[where]
        async with turn.lock:
            await caught_up(self._sender, where)
            while claim.answer is None:
                turn.number += 1
                push = Push(where, self._producer_id, turn.number, [frame_of([claim.packed])], marks_of([claim.packed]))
                reply = await self._ask(claim, push)
                if isinstance(reply, Pushed):
                    await self._ring(where, reply)
                    if claim.level != FAST:
                        reply = await self._kept(claim, push, reply)
                if isinstance(reply, Pushed):
                    claim.answer = True
                    turn.last = claim.placed = Placed(where, reply.entry_id, wall_clock_us())
                elif reply.live:
                    claim.stamps.observe(reply.stamp)
                    claim.answer = False
                else:
                    claim.outrank(reply.stamp)
        return claim.answer

    async def _ring(self, where: Partition, pushed: Pushed) -> None:
        if pushed.generation:
            # A lost ring costs a second: workers also sweep.
            with contextlib.suppress(PenstockError):
                await self._queue.ring([(where, pushed.generation)])

    async def _kept(self, claim: Claim, push: Push, reply: Pushed | Holder) -> Pushed | Holder:
        """The queue's answer once that is durable. Lost in a crash, the claim is made again, and may be refused."""
        confirmer = self._queue.confirmer()
        while isinstance(reply, Pushed):
            try:
                confirmed = await confirmer.confirm({push.partition: self._producer_id}, claim.level)
            except QueueUnavailable as exc:
                claim.reason = str(exc)
            else:
                if confirmed.upto(push.partition, claim.level) >= push.number:
                    break
                claim.reason = confirmed.missing
                if confirmed.seen[push.partition] < push.number:
                    reply = await self._ask(claim, push)
            await asyncio.sleep(LOOK_AGAIN_S)
        return reply

    async def _ask(self, claim: Claim, push: Push) -> Pushed | Holder:
        """The queue's answer, however often it must be asked."""
        failures = 0
        while True:
            claim.asked = True
            try:
                return await self._queue.claim(push, self._settings.backlog_records)
            except (QueueUnavailable, QueueFull) as exc:
                # Full is an answer, but not after a lost one: a server without memory does not look what it has.
                if isinstance(exc, QueueFull) and not failures:
                    claim.asked = False
                    raise
                failures += 1
                claim.reason = str(exc)
            base_ms, cap_ms = self._settings.retry_base_ms, self._settings.retry_cap_ms
            await asyncio.sleep(next_delay_s(failures, base_ms, cap_ms, self._rng))
