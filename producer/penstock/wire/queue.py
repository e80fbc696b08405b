"""The queue: partition logs in a Redis-protocol server. The only caller of the Lua scripts.

`docs/design.md` tells the protocol. Every call here may be repeated after a lost answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import msgpack

from penstock.wire.dead_letters import DeadLetterCalls
from penstock.wire.entries import Commit, Counts, Entry, Holder, Lease, Push, Pushed
from penstock.wire.errors import ConfigMismatch
from penstock.wire.ids import format_id, wall_clock_us
from penstock.wire.inquiry import Answer, Inquiry, ask, ask_upto
from penstock.wire.keys import Keys, Partition
from penstock.wire.marks import GRACE_MS
from penstock.wire.records import LANES
from penstock.wire.scripts import Call, Scripts, text_of
from penstock.wire.server_clock import ServerClock
from penstock.wire.stream_calls import GAP_PATIENCE_MS, StreamCalls

DEFAULT_PARTITIONS = 8
"""Partitions of each lane in a new namespace. More allow more workers; each costs a script a second."""

MAX_PARTITIONS = 256

SEEN_TTL_MS = 6 * 3600 * 1000
"""How long a push can be recognised as repeated. After a longer outage `accepted` may count records twice."""

_PROBE_TTL_MS = 5_000

_TELLING_BYTES = 64
"""Of a frame: its header and its first record's id."""

WALKED_ENTRIES = 4
"""`counts` counts this many log entries one by one: 1 MB for the server to copy, or 32 where each is a large record."""


class Queue(DeadLetterCalls, StreamCalls):
    """One namespace of a queue server."""

    def __init__(self, url: str, namespace: str = "penstock") -> None:
        self.keys = Keys(namespace)
        self.scripts = Scripts(url)
        self.clock = ServerClock()
        """Set by each heartbeat."""
        self.partitions = 0
        """Partitions of each lane; 0 until `open` has returned."""

    async def open(self, partitions: int | None = None, *, create: bool = True) -> Self:
        """Connect, and agree on the number of partitions: the first process of a namespace fixes it.

        Without *create* a namespace that does not exist yet is left so: for those who only look.

        Raises:
            QueueUnavailable: No answer.
            ConfigMismatch: *partitions* is not what the namespace was created with.
        """
        if partitions is not None and not 1 <= partitions <= MAX_PARTITIONS:
            raise ConfigMismatch(f"partitions is {partitions}; 1 to {MAX_PARTITIONS} are accepted")
        await self.scripts.open()
        with self.scripts.translated():
            # A full server refuses to write even what is there; those who empty it must come in.
            if create and not await self.client.hexists(self.keys.config(), "partitions"):
                await self.client.hsetnx(self.keys.config(), "partitions", partitions or DEFAULT_PARTITIONS)
            known = int(await self.client.hget(self.keys.config(), "partitions") or DEFAULT_PARTITIONS)
        if partitions is not None and partitions != known:
            raise ConfigMismatch(
                f"partitions is {partitions} here, but namespace {self.keys.namespace!r} was created with {known}; "
                f"use {known} (or none), or another namespace"
            )
        self.partitions = known
        return self

    async def close(self) -> None:
        """Close every connection."""
        await self.scripts.close()

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def all_partitions(self) -> list[Partition]:
        """Every partition of every lane."""
        return [Partition(lane, number) for lane in LANES for number in range(self.partitions)]

    # -- the producer's side --------------------------------------------------------------------

    async def push(self, pushes: Sequence[Push], backlog_records: int) -> list[Pushed | Exception]:
        """Append frames to several partitions in one round trip, each partition's all or none.

        Returns for each push where it lies, or the `QueueFull`, `PushLost` or `QueueUnavailable` that kept it out.

        Raises:
            QueueUnavailable: No answer; each push may or may not be appended. Repeat it with its number.
        """
        replies = await self.scripts.run_all([self._push_call(push, backlog_records) for push in pushes])
        return [reply if isinstance(reply, Exception) else Pushed(reply[0], text_of(reply[1])) for reply in replies]

    async def claim(self, push: Push, backlog_records: int) -> Pushed | Holder:
        """Append a push of one mark if nobody holds its key, and hold it: decided and done in one step.

        Repeated with its number after it was appended, it tells where it lies, whoever holds the key by then.

        Raises:
            QueueUnavailable: No answer; it may or may not be appended. Repeat it with its number.
            QueueFull: This call did not append it.
        """
        reply = await self.scripts.run(*self._push_call(push, backlog_records, GRACE_MS))
        if reply[0] < 0:
            return Holder(reply[1], bool(reply[2]))
        return Pushed(reply[0], text_of(reply[1]))

    def _push_call(self, push: Push, backlog_records: int, grace_ms: int | None = None) -> Call:
        where = push.partition
        keys = [self.keys.log(where), self.keys.meta(where), self.keys.seen(where, push.producer_id)]
        args: list[Any] = [backlog_records, push.number, push.after, SEEN_TTL_MS]
        if push.marks:
            now_us = wall_clock_us()
            args.append("" if grace_ms is None else grace_ms)
            for mark in push.marks:
                life_ms = mark.life_ms(now_us)
                keys.append(self.keys.mark(where, mark.namespace, mark.key))
                args += [mark.stamp, "" if life_ms is None else life_ms]
        args += [part for frame in push.frames for part in (frame.records, frame.body)]
        return Call("push", keys, args)

    async def ring(self, rings: Sequence[tuple[Partition, int]]) -> None:
        """Tell the workers that partitions woke up. A lost ring costs a second: they also sweep."""
        with self.scripts.translated():
            await self.client.rpush(self.keys.bell(), *(f"{where}:{generation}" for where, generation in rings))

    async def settled_upto(self, partitions: Sequence[Partition]) -> dict[Partition, str]:
        """The last entry of each partition that is settled. Cheaper than `settled`, and no answer about a record."""
        return await ask_upto(self.scripts, self.keys, partitions)

    async def settled(self, wanted: Mapping[Partition, Sequence[Inquiry]]) -> dict[Partition, Answer]:
        """For each partition how far it is settled, and what became of the records that are asked for."""
        return await ask(self.scripts, self.keys, wanted)

    # -- the worker's side ----------------------------------------------------------------------

    async def heard(self, timeout_s: float) -> tuple[Partition, int] | None:
        """Wait for a ring: the partition and its generation, or None after *timeout_s*."""
        with self.scripts.translated():
            reply = await self.client.blpop([self.keys.bell()], timeout=timeout_s)
        if reply is None:
            return None
        where, _, generation = text_of(reply[1]).rpartition(":")
        return Partition.parse(where), int(generation)

    async def acquire(self, partition: Partition, ttl_ms: int, floor: int = 0) -> Lease | None:
        """The lease of a partition with a new epoch above *floor*, or None when somebody has it."""
        keys = [self.keys.lease(partition), self.keys.meta(partition), self.keys.log(partition)]
        epoch, stall, fails = await self.scripts.run("acquire", keys, [ttl_ms, floor])
        return Lease(partition, epoch, stall, fails) if epoch else None

    async def renew(self, lease: Lease, ttl_ms: int) -> bool:
        """Prolong a lease; False when it is no longer ours."""
        return bool(await self.scripts.run("renew", [self.keys.lease(lease.partition)], [lease.epoch, ttl_ms]))

    async def release(self, lease: Lease, *, failed: bool = False, waiting: bool = False) -> tuple[int, int]:
        """Give a lease back: (generation to ring, or 0; failures in a row). (-1, 0) when it was lost already.

        With *failed* the failure is counted, and with either nothing is rung: the caller sees to the next try.
        """
        where = lease.partition
        keys = [self.keys.lease(where), self.keys.meta(where), self.keys.log(where)]
        what = "retry" if failed else "wait" if waiting else "done"
        generation, fails = await self.scripts.run("release", keys, [lease.epoch, what])
        return generation, fails

    async def read(self, partition: Partition, count: int, after: str = "0-0") -> list[Entry]:
        """At most *count* entries of the log after entry id *after*."""
        with self.scripts.translated():
            reply = await self.client.xrange(self.keys.log(partition), min=f"({after}", count=count)
        return [_entry(at, fields) for at, fields in reply]

    async def wait(self, partition: Partition, after: str, timeout_ms: int) -> bool:
        """Wait until the log holds an entry after id *after*; False after *timeout_ms*. Holds a connection."""
        with self.scripts.translated():
            return bool(await self.client.xread({self.keys.log(partition): after}, count=1, block=timeout_ms))

    async def commit(self, commit: Commit) -> bool:
        """Apply *commit*; False when the lease was lost or the log holds something else: then nothing was done."""
        where, keys = commit.lease.partition, self.keys
        names = [keys.lease(where), keys.meta(where), keys.log(where), keys.dead(where)]
        names += [keys.dead_index(where), keys.open(where), keys.gaps(where), keys.stuck(where)]
        names += [keys.buffer(where, change.stream_id) for change in commit.streams]
        counters = [commit.records, commit.stored, commit.skipped, commit.dead, commit.buffered]
        changes = [[format_id(change.stream_id), change.op, *change.chunks] for change in commit.streams]
        # The server's cmsgpack reads the format from before `bin`.
        packed = [msgpack.packb(part, use_bin_type=False) for part in (list(commit.letters), changes)]
        traces = [msgpack.packb(list(part)) for part in (commit.traces, commit.replayed)]
        upto = _next_id(commit.last_id) if commit.last_id else ""
        last = [len(commit.last_frame), commit.last_frame[:_TELLING_BYTES]]
        args = [commit.lease.epoch, commit.token, commit.last_id, upto, self.clock.now_ms(), *counters, *packed, *last]
        args += traces
        return bool(await self.scripts.run("commit", names, args))

    async def needing(self, partitions: Sequence[Partition], silent_since_ms: int) -> list[tuple[Partition, int]]:
        """Partitions with work that nobody holds, each with its generation."""
        stuck_since_ms = self.clock.now_ms() - GAP_PATIENCE_MS
        calls = []
        for where in partitions:
            keys = [
                self.keys.lease(where),
                self.keys.meta(where),
                self.keys.log(where),
                self.keys.open(where),
                self.keys.stuck(where),
            ]
            calls.append(Call("inspect", keys, [silent_since_ms, stuck_since_ms]))
        found = []
        for where, reply in zip(partitions, await self.scripts.run_all(calls), strict=True):
            if isinstance(reply, Exception):
                raise reply
            if reply[0]:
                found.append((where, reply[1]))
        return found

    async def rearm(self, partition: Partition, generation: int) -> int:
        """The next generation to ring, or 0 when somebody else took it."""
        keys = [self.keys.lease(partition), self.keys.meta(partition)]
        return int(await self.scripts.run("rearm", keys, [generation]))

    async def probe(self) -> None:
        """Ask whether the server takes writes.

        Raises:
            QueueFull: It has no memory left.
        """
        with self.scripts.translated():
            await self.client.set(self.keys.probe(), "1", px=_PROBE_TTL_MS)

    async def heartbeat(self, worker_id: str, ttl_ms: int) -> int:
        """Say that a worker lives for *ttl_ms*; returns how many do. A *ttl_ms* of 0 says goodbye."""
        living, now_ms = await self.scripts.run("heartbeat", [self.keys.workers()], [worker_id, ttl_ms])
        self.clock.heard(now_ms)
        return int(living)

    async def workers(self) -> list[str]:
        """Ids of the workers that live."""
        with self.scripts.translated():
            seconds, microseconds = await self.client.time()
            now_ms = seconds * 1000 + microseconds // 1000
            return [text_of(one) for one in await self.client.zrangebyscore(self.keys.workers(), now_ms, "+inf")]

    async def claim_upkeep(self, worker_id: str, ttl_ms: int) -> bool:
        """Whether it is this worker's turn at upkeep. For *ttl_ms* it is then nobody else's.

        Raises:
            QueueUnavailable: No answer; it may be nobody's turn for *ttl_ms*.
            QueueFull: The server takes no writes.
        """
        return await self._claim_turn(self.keys.upkeep(), worker_id, ttl_ms)

    async def claim_sweep(self, worker_id: str, ttl_ms: int) -> bool:
        """Whether it is this worker's turn to sweep. Raises as `claim_upkeep` does."""
        return await self._claim_turn(self.keys.sweep(), worker_id, ttl_ms)

    async def _claim_turn(self, key: str, worker_id: str, ttl_ms: int) -> bool:
        with self.scripts.translated():
            return bool(await self.client.set(key, worker_id, nx=True, px=ttl_ms))

    # -- everybody's ----------------------------------------------------------------------------

    async def counts(self) -> dict[Partition, Counts]:
        """The counters of every partition; each partition's are of one instant."""
        calls = []
        for where in self.all_partitions():
            keys = [
                self.keys.meta(where),
                self.keys.log(where),
                self.keys.open(where),
                self.keys.lease(where),
                self.keys.stuck(where),
            ]
            calls.append(Call("count", keys, [WALKED_ENTRIES]))
        result = {}
        for where, reply in zip(self.all_partitions(), await self.scripts.run_all(calls), strict=True):
            if isinstance(reply, Exception):
                raise reply
            result[where] = _counts(reply)
        return result


def _counts(reply: list[Any]) -> Counts:
    accepted, stored, skipped, dead, purged, log_records, buffered, entries, counted, first, streams, leased = reply
    return Counts(
        accepted=accepted,
        stored=stored,
        skipped=skipped,
        dead=dead,
        purged=purged,
        pending=log_records + buffered,
        buffered=buffered,
        entries=entries,
        counted=None if counted < 0 else counted,
        open_streams=streams,
        leased=leased,
        oldest_ms=int(text_of(first).partition("-")[0]) if first else None,
    )


def _entry(at: bytes, fields: Mapping[bytes, bytes]) -> Entry:
    return Entry(text_of(at), fields[b"f"], int(fields[b"n"]), fields.get(b"h", b""), text_of(fields.get(b"p", b"")))


def _next_id(entry_id: str) -> str:
    milliseconds, _, number = entry_id.partition("-")
    return f"{milliseconds}-{int(number) + 1}"
