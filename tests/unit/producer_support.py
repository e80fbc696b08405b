"""A queue that does what a script says, and a sender on it."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any

from penstock.producer.buffer import Buffer
from penstock.producer.overflow import Drops, RaiseWhenFull
from penstock.producer.receipt import Ticket, at_level
from penstock.producer.sender import Sender
from penstock.producer.settings import ProducerSettings
from penstock.wire.entries import Confirmed, Push, Pushed
from penstock.wire.errors import PushLost, QueueFull, QueueUnavailable
from penstock.wire.frames import decode_frame, encode
from penstock.wire.ids import new_id
from penstock.wire.keys import Partition
from penstock.wire.levels import FAST, FSYNC, REPLICATED
from penstock.wire.records import Message

AT_ONCE = ProducerSettings(linger_ms=0, retry_base_ms=0, retry_cap_ms=0)


class FakeLog:
    """Keeps what is pushed. Each push takes one step of the script; after the script all is well.

    Steps: `ok`; `away`, nothing is appended; `lost`, all is appended but the answer is not heard; `loading`,
    the server answers each call that it is not ready; or the partitions that are full.
    """

    def __init__(self, script: Iterable[str | set[int]] = (), opens: Iterable[Exception] = ()) -> None:
        self.partitions = 2
        self.script = deque(script)
        self.opens = deque(opens)
        self.pushes: list[list[Push]] = []
        self.rings: list[tuple[Partition, int]] = []
        self.held: defaultdict[Partition, list[Message]] = defaultdict(list)
        self._seen: defaultdict[Partition, int] = defaultdict(int)
        self._busy = False
        self.numbers: defaultdict[Partition, list[int]] = defaultdict(list)
        self.synced = asyncio.Event()
        self.synced.set()
        self.confirms: deque[int | Exception] = deque()
        self.confirmed: list[int] = []

    async def open(self, partitions: int | None = None) -> None:
        if self.opens:
            raise self.opens.popleft()

    async def push(self, pushes: Sequence[Push], backlog_records: int) -> list[Pushed | Exception]:
        assert not self._busy, "two pushes on their way"
        self.pushes.append(list(pushes))
        step = self.script.popleft() if self.script else "ok"
        self._busy = True
        await asyncio.sleep(0)
        self._busy = False
        if step == "loading":
            return [QueueUnavailable("LOADING") for _ in pushes]
        if step == "away":
            raise QueueUnavailable("the queue is away")
        full = step if isinstance(step, set) else set()
        replies = [self._append(push, full) for push in pushes]
        if step == "lost":
            raise QueueUnavailable("the answer was lost")
        return replies

    def _append(self, push: Push, full: set[int]) -> Pushed | Exception:
        where = push.partition
        if where.number in full:
            return QueueFull("full")
        if push.number <= self._seen[where]:
            return Pushed(0, f"{push.number}-0")
        if push.after > self._seen[where]:
            return PushLost(self._seen[where])
        self._seen[where] = push.number
        for frame in push.frames:
            self.held[where].extend(record for record in decode_frame(frame.body) if isinstance(record, Message))
        self.numbers[where] += [push.number] * (len(self.held[where]) - len(self.numbers[where]))
        return Pushed(int(push.number == 1), f"{push.number}-0")

    async def confirm(self, producers: Mapping[Partition, str], levels: int) -> Confirmed:
        """Waits for `synced` to be set, and takes a step of `confirms`: what is done, or an error."""
        await self.synced.wait()
        step = self.confirms.popleft() if self.confirms else levels
        if isinstance(step, Exception):
            raise step
        self.confirmed.append(levels)
        missing = "" if step == levels else "it takes long"
        seen = {where: self._seen[where] for where in producers}
        return Confirmed(
            seen, {bit: seen if step & bit else {} for bit in (FSYNC, REPLICATED) if levels & bit}, missing
        )

    def crash(self, where: Partition, upto: int) -> None:
        """Lose what was pushed to a partition after that number."""
        self.numbers[where] = [number for number in self.numbers[where] if number <= upto]
        del self.held[where][len(self.numbers[where]) :]
        self._seen[where] = upto

    async def ring(self, rings: Sequence[tuple[Partition, int]]) -> None:
        self.rings.extend(rings)

    def contents(self, session: str) -> list[str | None]:
        return [record.content for held in self.held.values() for record in held if record.session_id == session]


def roomy(max_records: int = 10**6, max_bytes: int = 10**9) -> Buffer:
    buffer = Buffer(max_records, max_bytes, RaiseWhenFull(Drops()))
    buffer.open()
    return buffer


def ticket(session: str = "s", content: str = "hello", level: int = FAST) -> Ticket:
    record = Message(new_id(), 1, session, "user", content)
    kind: type[Ticket] = at_level(Ticket, level)
    return kind(record.id, "messages", session, encode(record))


@contextlib.asynccontextmanager
async def sending(
    log: FakeLog, buffer: Buffer, settings: ProducerSettings = AT_ONCE, **known: Any
) -> AsyncIterator[Sender]:
    sender = Sender(log, buffer, settings, "p", rng=random.Random(1), **known)
    buffer.ring = sender.ring
    task = asyncio.create_task(sender.run())
    try:
        yield sender
    finally:
        task.cancel()
        await asyncio.wait((task,))
