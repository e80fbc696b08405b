"""What goes into the queue and comes out of it: pushes, entries, leases, letters, commits, counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from penstock.wire.frames import Frame
from penstock.wire.keys import Partition
from penstock.wire.levels import BITS
from penstock.wire.marks import Mark


class Push(NamedTuple):
    """Frames of one partition, appended together."""

    partition: Partition
    producer_id: str
    number: int
    """Rises with every push of this producer to this partition; a repeated one appends nothing."""
    frames: Sequence[Frame]
    marks: Sequence[Mark] = ()
    """What the frames' key-values do to their markers."""
    after: int = 0
    """The number of an earlier push that must still be there, or this one is refused; 0 for none."""


class Pushed(NamedTuple):
    """What a push returns."""

    generation: int
    """Above 0 when the partition was idle: ring it."""
    entry_id: str
    """Where the last frame lies."""


class Confirmed(NamedTuple):
    """What a server has of a producer's pushes, and what it has done to keep them."""

    seen: Mapping[Partition, int]
    """The last push that each partition has; 0 for none."""
    kept: Mapping[int, Mapping[Partition, int]]
    """For each level that was asked for, the last push of each partition up to which it holds."""
    missing: str
    """Why a level does not hold; empty where that is only a matter of time."""

    def upto(self, where: Partition, level: int) -> int:
        """The last push of a partition up to which all of *level* holds."""
        return min((self.kept.get(bit, {}).get(where, 0) for bit in BITS if level & bit), default=0)


class Holder(NamedTuple):
    """Why a claim was not appended."""

    stamp: bytes
    """Of the last write of the key."""
    live: bool
    """Whether the key is held. Else it is free, but only for a stamp above this one."""


class Entry(NamedTuple):
    """One frame as it lies in the log."""

    id: str
    frame: bytes
    records: int
    past: bytes = b""
    """What a replayed record brings with it (`letters.Past`)."""
    trace: str = ""
    """Of the letter that it replays; empty for all else."""


class Lease(NamedTuple):
    """The right to drain a partition."""

    partition: Partition
    epoch: int
    stall: int
    """How many owners in a row died without committing what is the head now."""
    fails: int
    """How often in a row the store was away."""


class Letter(NamedTuple):
    """A dead letter on its way in."""

    record_id: str
    records: int
    record: bytes
    envelope: bytes


class DeadEntry(NamedTuple):
    """A dead letter as it lies in its stream."""

    partition: Partition
    entry_id: str
    letter: Letter
    mark: str = ""
    """By which an import knows it; empty for one that was buried here and never edited."""
    origin: str = ""
    """The entry id that it had where it was buried; empty for one that was buried here."""


class Replay(NamedTuple):
    """A letter on its way back into the log."""

    entry: DeadEntry
    frame: Frame
    past: bytes = b""
    """What the record carries on."""
    note: bytes = b""
    """What is remembered of the replay; empty for nothing."""


class Purge(NamedTuple):
    """A letter on its way out."""

    entry: DeadEntry
    note: bytes = b""
    """What became of its last replay; empty where it had none."""


class ReplayNote(NamedTuple):
    """What is remembered of a replay, or of a purge of a letter that was replayed before."""

    id: str
    record_id: str
    replayed_as: str
    """Where the record lies in the log, or lay; empty for a purge."""
    note: bytes


class StreamChange(NamedTuple):
    """What a commit does with one stream's buffer."""

    stream_id: bytes
    op: int
    chunks: Sequence[bytes] = ()


FORGET, APPEND, APPEND_ENDED, PARK = 0, 1, 2, 3
"""`StreamChange.op`: the stream is settled · it goes on · its end is here, but chunks before it are missing · they are
missing, and it fell silent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """A prefix of a log, and what became of it. Applied whole or not at all."""

    lease: Lease
    token: str
    """Unique for each commit, the same when one is repeated."""
    last_id: str = ""
    """Last entry of the prefix; empty when only streams are settled."""
    last_frame: bytes = b""
    """That entry's frame as it was read: after a failover another one may lie there."""
    records: int = 0
    stored: int = 0
    skipped: int = 0
    """Records that the strategy leaves out."""
    dead: int = 0
    buffered: int = 0
    """Change of the chunks that wait in stream buffers."""
    letters: Sequence[Letter] = ()
    traces: Sequence[str] = ()
    """Of the letters, in their order: how receipts find them."""
    replayed: Sequence[str] = ()
    """Traces of the replayed letters in the prefix."""
    streams: Sequence[StreamChange] = ()

    def __post_init__(self) -> None:
        if self.records != self.stored + self.skipped + self.dead + self.buffered:
            raise ValueError(
                f"a commit of {self.records} records accounts for {self.stored} stored, {self.skipped} skipped, "
                f"{self.dead} dead and {self.buffered} buffered"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """The counters of a partition or the sum of several, in one instant each."""

    accepted: int = 0
    stored: int = 0
    skipped: int = 0
    """Records that the worker's strategy left out."""
    dead: int = 0
    """Dead letters that wait."""
    purged: int = 0
    """Dead letters that were removed by hand."""
    pending: int = 0
    """Records in the log and chunks in the buffers of open streams."""
    buffered: int = 0
    """The part of `pending` that is chunks of open streams."""
    entries: int = 0
    counted: int | None = field(default=0)
    """Records in the log, counted entry by entry; None where the log was too long to walk."""
    open_streams: int = 0
    leased: int = 0
    oldest_ms: int | None = None
    """When the oldest record of the log was appended, by the server's clock."""

    @property
    def balanced(self) -> bool:
        """Whether accepted = stored + skipped + pending + dead, and the log holds what its counter says."""
        adds_up = self.accepted == self.stored + self.skipped + self.pending + self.dead + self.purged
        return adds_up and (self.counted is None or self.counted == self.pending - self.buffered)

    def __add__(self, other: Counts) -> Counts:
        names = (
            "accepted",
            "stored",
            "skipped",
            "dead",
            "purged",
            "pending",
            "buffered",
            "entries",
            "open_streams",
            "leased",
        )
        ages = [age for age in (self.oldest_ms, other.oldest_ms) if age is not None]
        walked = self.counted is not None and other.counted is not None
        return Counts(
            **{name: getattr(self, name) + getattr(other, name) for name in names},
            counted=(self.counted or 0) + (other.counted or 0) if walked else None,
            oldest_ms=min(ages, default=None),
        )


def position(entry_id: str) -> tuple[int, int]:
    """An entry id as something that compares in the log's order."""
    milliseconds, _, number = entry_id.partition("-")
    return int(milliseconds), int(number)
