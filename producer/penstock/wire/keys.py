"""Every key of the queue server, in one place.

The braces are a hash tag: all keys of one partition share a slot, so one script may touch them all.
"""

from __future__ import annotations

import zlib
from typing import NamedTuple

from penstock.wire.ids import format_id


class Partition(NamedTuple):
    """One ordered log of a lane."""

    lane: str
    number: int

    def __str__(self) -> str:
        return f"{self.lane}:{self.number}"

    @classmethod
    def parse(cls, text: str) -> Partition:
        """The partition whose `str` is *text*."""
        lane, _, number = text.rpartition(":")
        return cls(lane, int(number))


def partition_of(ordering_key: str, partitions: int) -> int:
    """The partition number of a record: everything with one ordering key stays in one ordered log."""
    return zlib.crc32(ordering_key.encode()) % partitions


class Keys:
    """The keys of one namespace."""

    __slots__ = ("namespace",)

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace

    def config(self) -> str:
        """Hash: `partitions`, fixed for the life of the namespace."""
        return f"{self.namespace}:config"

    def bell(self) -> str:
        """List of `lane:p:gen`: a partition was idle and now has records. Losing it costs a second."""
        return f"{self.namespace}:bell"

    def workers(self) -> str:
        """Sorted set: worker id, scored by the millisecond its heartbeat ends."""
        return f"{self.namespace}:workers"

    def probe(self) -> str:
        """Written now and then to learn whether the server takes writes."""
        return f"{self.namespace}:probe"

    def sweep(self) -> str:
        """String with a TTL: the worker that swept last. Losing it has another one sweep, too."""
        return f"{self.namespace}:sweep"

    def upkeep(self) -> str:
        """String with a TTL: the worker whose turn at upkeep it is, or was. Losing it has another one take a turn."""
        return f"{self.namespace}:upkeep"

    def lanes(self) -> str:
        """Hash, for each lane: `<lane>:halt` why no worker drains it, `:resumed` how often it was let go on again,
        `:bury` how many refused records do not count before the breaker counts again."""
        return f"{self.namespace}:lanes"

    def outage(self, lane: str, worker_id: str) -> str:
        """String with a TTL: since when and why a worker has paused a lane whose store is away. Losing it hides it."""
        return f"{self.namespace}:outage:{lane}:{worker_id}"

    def caching(self) -> str:
        """String with a TTL: some reader keeps answers. Without it, nobody has to forget any."""
        return f"{self.namespace}:caching"

    def cached(self, kind: str, subject: str = "") -> str:
        """Hash with a TTL: answers about one subject, by question. Losing it costs a question to the store."""
        return f"{self.namespace}:cache:{kind}:{subject}"

    def cache_counts(self) -> str:
        """Hash: `hits` and `misses` of all readers."""
        return f"{self.namespace}:cachecounts"

    def jobs(self) -> str:
        """arq's queue. Holds no data of ours; may be deleted at any time."""
        return f"{self.namespace}:arq"

    def _of(self, partition: Partition, what: str) -> str:
        return f"{self.namespace}:{{{partition}}}:{what}"

    def log(self, partition: Partition) -> str:
        """Stream of frames: `f` the frame, `n` how many records it counts for; of a replayed one `h`, what it carries
        on."""
        return self._of(partition, "log")

    def lease(self, partition: Partition) -> str:
        """String with a TTL: the epoch of the owner."""
        return self._of(partition, "lease")

    def meta(self, partition: Partition) -> str:
        """Hash: armed, gen, epoch, head, stall, fails, done, token, and the audit's counters."""
        return self._of(partition, "meta")

    def dead(self, partition: Partition) -> str:
        """Stream of dead letters: `r` the record, `e` the envelope, `n` its count, `i` its id, `p` its trace; of an
        imported or edited one `d`, its mark in `imported`, and `o`, its entry id where it was buried."""
        return self._of(partition, "dead")

    def dead_index(self, partition: Partition) -> str:
        """Hash: record id and trace to the dead letter's entry id; of a replayed one its trace to `>` and where."""
        return self._of(partition, "deadix")

    def imported(self, partition: Partition) -> str:
        """Hash: what tells an imported or edited letter, as it was before, to the entry id that it has here."""
        return self._of(partition, "imported")

    def replays(self, partition: Partition) -> str:
        """Stream, capped: what was replayed. `i` the record id, `l` where it lies in the log, `e` a note."""
        return self._of(partition, "replays")

    def open(self, partition: Partition) -> str:
        """Sorted set: stream id, scored by the millisecond of its last news."""
        return self._of(partition, "open")

    def gaps(self, partition: Partition) -> str:
        """Set of stream ids that ended, but with chunks missing before the end."""
        return self._of(partition, "gaps")

    def stuck(self, partition: Partition) -> str:
        """Sorted set: streams with chunks missing that fell silent, scored by the millisecond when that was seen."""
        return self._of(partition, "stuck")

    def buffer(self, partition: Partition, stream_id: bytes) -> str:
        """List of an open stream's chunks, in the order they came."""
        return self._of(partition, f"buf:{format_id(stream_id)}")

    def seen(self, partition: Partition, producer_id: str) -> str:
        """String with a TTL: the last push of that producer, so that a repeated one is recognised."""
        return self._of(partition, f"seen:{producer_id}")

    def mark(self, partition: Partition, namespace: str, key: str) -> str:
        """String: the stamp of a key-value's last write; with a TTL where the key expires or is deleted."""
        # With its length, or namespace `a:b` with key `c` would share a marker with `a` and `b:c`.
        return self._of(partition, f"kv:{len(namespace)}:{namespace}:{key}")
