"""What the buffer holds, and what the caller holds of it: the receipt."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, TypeVar, cast

from penstock.producer.errors import NotQueued
from penstock.wire.ids import format_id
from penstock.wire.levels import FAST

if TYPE_CHECKING:
    from penstock.wire.keys import Partition


class Placed(NamedTuple):
    """Where the queue keeps a record."""

    partition: Partition
    entry_id: str
    """The entry that holds the record."""
    at_us: int
    """When the queue's answer came, by this process's clock."""
    opened_us: int = 0
    """Of a stream: when it was opened. 0 for all else."""
    stored: bool = False
    """Somebody waited for it, and it was."""


class Entry:
    """One record on its way to the queue."""

    # Each reference costs a collection of garbage a look: a number more, and full speed is 3 % slower.
    __slots__ = ("__weakref__", "fate", "key", "lane", "packed", "path", "waiter")

    path: Path
    """The spool that keeps it; there only when one does, so that no call pays for it."""

    is_plain: ClassVar[bool] = True
    """Its size is that of its record, and nothing but itself is to be settled with it."""

    level: ClassVar[int] = FAST
    """How durable the record must be; see `at_level`."""

    def __init__(self, lane: str, key: str, packed: bytes) -> None:
        self.lane = lane
        self.key = key
        """Ordering key: entries of one key leave in their order."""
        self.packed = packed
        """The encoded record; empty when its fate is known, in the spool, and while a run of chunks still grows."""
        self.fate: Placed | Exception | None = None
        """None while nothing is known."""
        self.waiter: asyncio.Future[None] | None = None
        """Made only when somebody waits."""

    @property
    def size(self) -> int:
        """Bytes it counts for in the buffer, as long as its record is here."""
        return len(self.packed)

    def settle(self, fate: Placed | Exception) -> None:
        """Note what became of the record, and tell those who wait."""
        self.fate = fate
        self.packed = b""
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    def watched(self) -> tuple[Entry, int] | None:
        """What somebody may hold of it, and the `Placed.opened_us` of its fate."""
        return self, 0

    def note_spooled(self, path: Path) -> None:
        """Leave the record itself to the spool at *path*."""
        self.path = path
        self.packed = b""

    def whereabouts(self) -> str:
        """For people: where the record is, as long as its fate is not known."""
        path = getattr(self, "path", None)
        return "in the buffer" if path is None else f"in the spool at {path}"

    async def decided(self) -> Placed | Exception:
        """Wait for the record's fate. Any number of tasks of one loop may wait."""
        while self.fate is None:
            if self.waiter is None:
                self.waiter = asyncio.get_running_loop().create_future()
            # `wait` leaves the shared future alone when one of several waiters is cancelled.
            await asyncio.wait((self.waiter,))
        return self.fate


def settle_plain(entries: Iterable[Entry], fate: Placed) -> None:
    """`Entry.settle` each of them, where all are plain."""
    for entry in entries:
        # In place, where nobody is to be told: a call for each would double what settling costs.
        if entry.waiter is None:
            entry.fate = fate
            entry.packed = b""
        else:
            entry.settle(fate)


E = TypeVar("E", bound=Entry)


def at_level(kind: type[E], level: int) -> type[E]:
    """*kind* for records that need *level*. A class of its own, so that no entry pays for a field."""
    found: Any = kind
    return kind if level == kind.level else cast("type[E]", _at_level(found, level))


@cache
def _at_level(kind: Any, level: int) -> Any:
    return type(kind.__name__, (kind,), {"__slots__": (), "__doc__": kind.__doc__, "level": level})


class Ticket(Entry):
    """An entry that the caller knows, by its id."""

    __slots__ = ("record_id",)

    def __init__(self, record_id: bytes, lane: str, key: str, packed: bytes) -> None:
        super().__init__(lane, key, packed)
        self.record_id = record_id

    @property
    def id(self) -> str:
        """The record's id: 36 characters. A stream's is the id of the message it becomes."""
        return format_id(self.record_id)

    def __repr__(self) -> str:
        if self.fate is None or isinstance(self.fate, NotQueued):
            known = self.whereabouts()
        else:
            known = _queued_or_stored(self.fate) if isinstance(self.fate, Placed) else "dropped"
        return f"<{type(self).__name__} {self.id} {known}>"


def _queued_or_stored(placed: Placed) -> str:
    return "stored" if placed.stored else "queued"


class Desk(Protocol):
    """Answers for receipts."""

    async def until_queued(self, ticket: Ticket, timeout_s: float | None) -> None:
        """See `Receipt.queued`."""
        ...

    async def until_stored(self, ticket: Ticket, timeout_s: float | None) -> None:
        """See `Receipt.stored`."""
        ...


class Receipt(Ticket):
    """What a producer's call returns. Costs nothing until it is awaited; may be thrown away."""

    __slots__ = ("desk",)

    desk: Desk
    """Whom it asks. `Producer` fills its receipts in itself."""

    async def queued(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - the public word for it
        """Wait until the queue holds the record: from here on no crash of this process loses it.

        A stream's record is its end: its receipt waits for the block to be left.

        Raises:
            NotQueued: Not within *timeout* seconds. The producer goes on trying.
            RecordDropped: It never will be.
        """
        await self.desk.until_queued(self, timeout)

    async def stored(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - the public word for it
        """Wait until the store holds the record; of a stream, until it holds the whole message.

        What a worker's strategy leaves out counts as stored. While a dead letter is replayed, the wait goes on.

        Raises:
            DeadLettered: The store refused it; says why.
            NotStored: Not within *timeout* seconds; says what is known.
            RecordDropped: It never will be.
        """
        await self.desk.until_stored(self, timeout)
