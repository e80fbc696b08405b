"""What the counters of a namespace say: how far the stores are behind, and whether nothing is missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from penstock.cli.display import moment
from penstock.wire.entries import Counts
from penstock.wire.ids import from_us
from penstock.wire.keys import Partition
from penstock.wire.queue import Queue
from penstock.wire.records import LANES


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """A namespace as it is now, by the queue server's clock."""

    at_ms: int
    workers: tuple[str, ...]
    lanes: Mapping[str, Counts]

    @classmethod
    async def of(cls, queue: Queue) -> Status:
        """The state of an opened *queue*. Raises `QueueUnavailable`."""
        with queue.scripts.translated():
            seconds, microseconds = await queue.client.time()
        workers = tuple(await queue.workers())
        lanes = {lane: _sum(parts) for lane, parts in by_lane(await queue.counts()).items()}
        return cls(at_ms=seconds * 1000 + microseconds // 1000, workers=workers, lanes=lanes)

    @property
    def at(self) -> datetime:
        """When this was seen."""
        return from_us(self.at_ms * 1000)

    @property
    def stored_up_to(self) -> datetime:
        """Everything accepted before is settled, but for dead letters and chunks of open streams."""
        oldest = [counts.oldest_ms for counts in self.lanes.values() if counts.oldest_ms is not None]
        return from_us(min(oldest, default=self.at_ms) * 1000)

    def total(self, name: str) -> int:
        """The sum of one counter over all lanes."""
        return sum(getattr(counts, name) for counts in self.lanes.values())

    def oldest_age_s(self, lane: str) -> float | None:
        """How long the oldest record in the log of *lane* has waited; None when none waits."""
        oldest = self.lanes[lane].oldest_ms
        return None if oldest is None else max(0, self.at_ms - oldest) / 1000

    def sentence(self) -> str:
        """The one thing to know."""
        if not self.total("accepted"):
            return "Nothing was accepted yet."
        dead, streams = self.total("dead"), self.total("open_streams")
        but = [f"{dead:,} dead letter{_s(dead)} (penstock dlq list)"] if dead else []
        but += [f"{streams:,} open stream{_s(streams)}"] if streams else []
        beside = f", but for {' and '.join(but)}" if but else ""
        return f"Everything up to {moment(self.stored_up_to)} UTC is stored{beside}."


@dataclass(frozen=True, slots=True)
class Audit:
    """The counters of every partition, and whether they add up."""

    partitions: Mapping[Partition, Counts]

    @classmethod
    async def of(cls, queue: Queue) -> Audit:
        """The audit of an opened *queue*. Raises `QueueUnavailable`."""
        return cls(await queue.counts())

    @property
    def balanced(self) -> bool:
        """Whether every partition adds up. Errors of two partitions do not make up for each other."""
        return all(counts.balanced for counts in self.partitions.values())

    def lanes(self) -> dict[str, dict[str, int]]:
        """For each lane its counters; `dead` includes the purged, so accepted = stored + skipped + pending + dead."""
        return {
            lane: {
                "accepted": total.accepted,
                "stored": total.stored,
                "skipped": total.skipped,
                "pending": total.pending,
                "dead": total.dead + total.purged,
                "purged": total.purged,
            }
            for lane, parts in by_lane(self.partitions).items()
            for total in [_sum(parts)]
        }

    def faults(self) -> list[str]:
        """One line for each partition that does not add up."""
        return [f"{where}: {_fault(counts)}" for where, counts in self.partitions.items() if not counts.balanced]


def by_lane(partitions: Mapping[Partition, Counts]) -> dict[str, list[Counts]]:
    """The partitions' counters under their lanes, in the order of the lanes."""
    return {lane: [counts for where, counts in partitions.items() if where.lane == lane] for lane in LANES}


def _sum(parts: list[Counts]) -> Counts:
    return sum(parts, Counts())


def _fault(counts: Counts) -> str:
    dead = counts.dead + counts.purged
    found = counts.stored + counts.skipped + counts.pending + dead
    if counts.accepted != found:
        return (
            f"accepted {counts.accepted:,}, but {counts.stored:,} stored + {counts.skipped:,} skipped "
            f"+ {counts.pending:,} pending + {dead:,} dead = {found:,}"
        )
    return f"the log holds {counts.counted:,} records, its counter says {counts.pending - counts.buffered:,}"


def _s(number: int) -> str:
    return "" if number == 1 else "s"
