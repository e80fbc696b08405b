"""One slice of one partition: read a prefix, write it to the store, settle it in the queue; again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

import structlog

from penstock.embedding.store import EmbeddingStore, Write
from penstock.stores.contract import Store
from penstock.stores.errors import SchemaTooOld, StaleOwner, StoreRejected, StoreUnavailable
from penstock.stores.preparing import Preparing
from penstock.wire.backoff import next_delay_s
from penstock.wire.caching import AnswerCache, subjects_of
from penstock.wire.entries import Commit, Lease
from penstock.wire.errors import FrameTooNew, PenstockError, QueueUnavailable
from penstock.wire.ids import new_id
from penstock.wire.keys import Partition
from penstock.wire.records import Record, StreamChunk
from penstock.wire.tasks import end_task
from penstock.worker.batch import Batch, LogReader, decode
from penstock.worker.breaker import Tripped
from penstock.worker.lanes import AGAIN_S, LanePaused
from penstock.worker.lease import HeldLease, kept
from penstock.worker.letters import LetterWriter
from penstock.worker.poison import Refused, write_or_refuse
from penstock.worker.sandbox import Sandbox
from penstock.worker.settings import WorkerConfig
from penstock.worker.sifting import Sifted
from penstock.worker.site import Site
from penstock.worker.steps import Step
from penstock.worker.streams import Settlement, StreamDesk
from penstock.worker.traces import Traces, trace_of_entry

_SUSPECT_STALLS = 2
"""So many owners died on one head before its batch is written in a child process."""

_CANARY_RECORDS = 100
"""Most records of the batch that is sent ahead to a store that answers again."""

_EPOCH_TRIES = 3
"""A drain asks so many times for an epoch above what the store has seen. Then two fleets write to one namespace."""

_COMMIT_PAUSE_S = 0.05

STREAM_LANE = "messages"

_CACHED_LANES = ("messages", "state")
"""Readers may keep answers about what these carry."""

_log = structlog.get_logger("penstock.worker")


class LaneWaits(PenstockError):
    """A partition holds what its store fails on while it takes others, or what only a newer worker can read.

    Try again in `delay_s`.
    """

    def __init__(self, partition: Partition, failures: int, delay_s: float, reason: str) -> None:
        super().__init__(f"{partition} waits {delay_s:.1f} s after failure {failures}: {reason}")
        self.failures = failures
        self.delay_s = delay_s
        self.reason = reason


class _NotReady(StoreUnavailable):
    """The store could not be set up: nothing of the lane can be written."""


class LeaseLost(PenstockError):
    """Another worker owns the partition now. What was not committed will be delivered to it."""


@dataclass(slots=True, kw_only=True)
class Slice:
    """What one slice moved."""

    records: int = 0
    stored: int = 0
    skipped: int = 0
    dead: int = 0
    batches: int = 0
    generation: int = 0
    """Above 0 when records are left: ring it."""


async def drain(site: Site, partition: Partition) -> Slice | None:
    """Drain *partition* for one slice. None when somebody else holds it.

    Raises:
        Busy: This worker may take no more partitions now.
        LanePaused: The lane's store is away, or the lane is halted. Nothing is counted.
        LaneWaits: This partition alone cannot go on; the lease is given back, the failure is counted.
        QueueUnavailable: The lease runs out by itself.
    """
    await site.lanes.admit(partition.lane)
    return await _drained(site, partition, canary=False)


async def send_canary(site: Site, partition: Partition) -> Slice | None:
    """Drain one small batch of *partition*, past the lane's gate. Otherwise as `drain`."""
    return await _drained(site, partition, canary=True)


async def _drained(site: Site, partition: Partition, *, canary: bool) -> Slice | None:
    with site.fleet.taking(partition.lane):
        floor = 0
        for tries_left in reversed(range(_EPOCH_TRIES)):
            began = asyncio.get_running_loop().time()
            lease = await site.queue.acquire(partition, site.config.lease_ms, floor)
            if lease is None:
                return None
            try:
                return await _owned(site, lease, began, canary=canary)
            except StaleOwner as exc:
                # Either a newer owner exists, or the queue server lost epochs in a failover and ours is too low.
                if not tries_left:
                    raise await _give_up(site, lease, exc) from exc
                floor = exc.seen
                if (await site.queue.release(lease, waiting=True))[0] < 0:
                    return None
    return None


async def _owned(site: Site, lease: Lease, began: float, *, canary: bool) -> Slice:
    moved = Slice()
    async with kept(site.queue, lease, site.config.lease_ms, began) as held:
        try:
            store = await _store_of(site, lease.partition.lane)
            await _SliceRun(site, store, held, moved, canary=canary).run()
        except LeaseLost:
            # It may be ours still: by the server's clock, or where a failover has put something else into the log.
            await site.queue.release(lease, waiting=True)
            return moved
        except LanePaused:
            await site.queue.release(lease, waiting=True)
            raise
        except Tripped as exc:
            await site.lanes.halt(lease.partition.lane, exc)
            await site.queue.release(lease, waiting=True)
            raise LanePaused(lease.partition.lane, str(exc), None) from exc
        except (StoreUnavailable, StoreRejected, FrameTooNew) as exc:
            if _is_away(site, lease.partition, exc, canary=canary):
                raise await _shut(site, lease, exc) from exc
            raise await _give_up(site, lease, exc) from exc
        except (StaleOwner, QueueUnavailable):
            raise
        except Exception as exc:
            # A bug, or a record that only a foreign producer sends. Retried, it blocks its partition alone.
            _log.exception("drain failed", partition=str(lease.partition))
            raise await _give_up(site, lease, exc) from exc
        moved.generation = max(0, (await site.queue.release(lease))[0])
        return moved


async def _store_of(site: Site, lane: str) -> Store:
    try:
        return await site.stores.of(lane)
    except (StoreUnavailable, StoreRejected) as exc:
        raise _NotReady(str(exc)) from exc


def _is_away(site: Site, partition: Partition, exc: Exception, *, canary: bool) -> bool:
    """Whether *exc* means that the store takes nothing of the lane. Else it is only about what *partition* holds."""
    if not isinstance(exc, StoreUnavailable) or isinstance(exc, SchemaTooOld):
        return False
    # A canary is sent to find out just this.
    return canary or isinstance(exc, _NotReady) or not site.lanes[partition.lane].gate.is_alone(partition)


async def _shut(site: Site, lease: Lease, exc: Exception) -> LanePaused:
    site.lanes[lease.partition.lane].gate.shut(lease.partition, str(exc))
    await site.queue.release(lease, waiting=True)
    return LanePaused(lease.partition.lane, str(exc), AGAIN_S)


async def _give_up(site: Site, lease: Lease, exc: Exception) -> LaneWaits:
    _, failures = await site.queue.release(lease, failed=True)
    delay_s = next_delay_s(failures, site.config.backoff_base_ms, site.config.backoff_cap_ms, site.rng)
    return LaneWaits(lease.partition, failures, delay_s, str(exc))


class _SliceRun:
    """The loop of one slice, for one owner."""

    def __init__(self, site: Site, store: Store, held: HeldLease, moved: Slice, *, canary: bool) -> None:
        self._site = site
        self._canary = canary
        self._store = store
        # A strategy changes what is written, and may go by what was stored of the batch before.
        self._preparing = store if isinstance(store, Preparing) and site.sieve is None else None
        self._held = held
        self._moved = moved
        self._is_behind = False
        self._partition = held.lease.partition
        self._desk = StreamDesk(site, store, self._partition) if self._partition.lane == STREAM_LANE else None
        self._lane = site.lanes[self._partition.lane]
        self._deaths = held.lease.stall
        self._log = LogReader(site.queue, self._partition, self._limits())
        self._answers = AnswerCache(site.queue.scripts, site.queue.keys)

    @property
    def _is_suspect(self) -> bool:
        return self._deaths >= _SUSPECT_STALLS

    def _limits(self) -> WorkerConfig:
        if self._is_suspect:  # a frame at a time, so that each commit keeps what the search for the killer has found
            return replace(self._site.config, batch_records=1)
        if self._canary:
            return replace(self._site.config, batch_records=min(_CANARY_RECORDS, self._site.config.batch_records))
        return self._site.config

    async def run(self) -> None:
        """Settle batch after batch until the slice is over or the log stays empty."""
        clock = asyncio.get_running_loop().time
        end = clock() + self._site.config.slice_ms / 1000
        batch = await self._next()
        while True:
            ahead = self._ahead_of(batch)
            try:
                await self._settle(batch)
                if self._canary or clock() >= end or await self._is_to_stop():
                    return
                following = await (ahead or self._next())
            finally:
                if ahead is not None:
                    await _abandon(ahead)
            if not (batch.last_id or following.last_id or self._is_behind):
                return
            batch = following

    async def _is_to_stop(self) -> bool:
        return self._site.fleet.stopping.is_set() or await self._site.lanes.is_paused(self._partition.lane)

    def _ahead_of(self, batch: Batch) -> asyncio.Task[Batch] | None:
        """Begin to get what follows *batch*, where something waits for it or will be waited for.

        At the log's end it is better read once *batch* is settled: what comes meanwhile is then in the next commit, and
        not in the one after. At half load that is 1.5 commits from the call to stored, not 2.5.
        """
        if not batch.last_id:
            return asyncio.create_task(self._awaited())
        return asyncio.create_task(self._next()) if self._log.has_more else None

    async def _next(self) -> Batch:
        batch = decode(await self._log.next_prefix())
        if self._preparing is not None and batch.items and not self._is_suspect:  # that is the child's to look at
            batch.items = await self._preparing.prepare(batch.items)
        return batch

    async def _awaited(self) -> Batch:
        """The next batch, waited for as long as a drain lingers."""
        await self._site.queue.wait(self._partition, self._log.position, self._site.config.drain_linger_ms)
        return await self._next()

    async def _settle(self, batch: Batch) -> None:
        self._site.reached(Step.MERGE)
        streams = await self._settle_streams(batch)
        self._is_behind = streams.is_behind
        if not (batch.last_id or streams.changes):
            return
        sifted = await self._sift(batch, streams)
        self._site.reached(Step.BEFORE_STORE)
        async with self._site.lanes.sparing(self._partition.lane, len(batch.corrupt) + len(sifted)):
            await self._count(batch, sifted)
            refused = [*sifted.failed, *await write_or_refuse(sifted.records, self._writer(batch), self._site.reached)]
        self._lane.gate.wrote(self._partition)
        # Before the trim, after which a receipt says `stored`: its reader must not be given an answer from before.
        # test_a_reader_sees_what_a_worker_has_stored_since fails without.
        await self._forget_answers(sifted.records)
        if self._site.sieve:
            await self._site.sieve.tell_stored(sifted.records, refused)
        # Write first, trim second. A crash between the two delivers again what is stored, and ids make that
        # harmless; trimming first would lose it. test_crash_between_write_and_commit_loses_nothing fails if swapped.
        self._site.reached(Step.AFTER_STORE)
        await self._commit(self._commit_of(batch, streams, sifted.skipped, refused))
        self._site.reached(Step.AFTER_TRIM)
        self._deaths = 0

    async def _forget_answers(self, records: Sequence[Record]) -> None:
        if records and self._partition.lane in _CACHED_LANES and await self._answers.is_used():
            await self._answers.forget(subjects_of(records))

    async def _settle_streams(self, batch: Batch) -> Settlement:
        # The empty batch at the log's end comes behind every other one, but a canary's.
        is_last = self._canary or not batch.last_id
        return await self._desk.settle(batch.chunks, is_last=is_last) if self._desk else Settlement()

    async def _sift(self, batch: Batch, streams: Settlement) -> Sifted:
        """What the strategy makes of the records to store. It sees the messages of streams, which have all the text."""
        sieve = self._site.sieve
        if sieve is None and not (streams.messages or batch.chunks):
            return Sifted(batch.items)  # as the store has prepared them
        records: list[Record] = [*batch.items, *streams.messages]
        if self._site.config.stream_policy == "all_chunks" and (sieve is None or sieve.takes_chunks):
            records.extend(batch.chunks)
        return Sifted(records) if sieve is None else await sieve.sift(records)

    def _writer(self, batch: Batch) -> Callable[[Sequence[Record]], Awaitable[object]]:
        fence = self._site.fence(self._partition, self._held.lease.epoch)
        write: Write = self._store.write
        if self._is_suspect and (child := Sandbox.of(self._site.config, self._partition.lane)):
            write = self._store.through(child.write) if isinstance(self._store, EmbeddingStore) else child.write

        async def write_if_ours(records: Sequence[Record]) -> object:
            if not self._held.is_ours:
                raise LeaseLost(f"the lease of {self._partition} ran out before a write")
            try:
                written = await write(records, fence)
            except StoreRejected as exc:
                if len(records) == 1 and records[0].id not in batch.came:
                    await self._site.lanes.refused(self._partition.lane, str(exc))
                raise
            self._lane.breaker.stored(len(records))
            return written

        return write_if_ours

    async def _count(self, batch: Batch, sifted: Sifted) -> None:
        """Have the breaker count what no store is asked about. Among others that are fine it is no run.

        What a replay brings was refused before, and tells nothing new.
        """
        breaker, mixed = self._lane.breaker, bool(batch.chunks or sifted.records or sifted.skipped)
        if sifted.skipped:
            breaker.stored(len(sifted.skipped))
        reasons = [reason for entry, reason in batch.corrupt if not entry.past]
        reasons += [one.reason for one in sifted.failed if one.record.id not in batch.came]
        for reason in reasons:
            await self._site.lanes.refused(self._partition.lane, reason)
            if mixed:
                breaker.stored(0)

    def _commit_of(
        self, batch: Batch, streams: Settlement, left_out: Sequence[Record], refused: Sequence[Refused]
    ) -> Commit:
        lease = self._held.lease
        letters = LetterWriter(self._partition, self._site.fleet.worker_id, 1 + self._deaths, self._site.now_ms())
        buried = [(letters.undecodable(entry, reason), trace_of_entry(entry)) for entry, reason in batch.corrupt]
        buried += [(letters.refused(one, records), trace) for one, records, trace in streams.severed]
        traces = Traces(batch.brought if refused else (), streams.weights)
        for one in refused:
            if weight := _weight(one.record, batch, streams):
                letter = letters.refused(one, weight, batch.came.get(one.record.id))
                buried.append((letter, traces.of(one.record)))
            else:  # a view of a stream that goes on: its text is in the buffer, and its message comes
                _log.warning("stream view refused", partition=str(self._partition), reason=one.reason)
        dead = sum(letter.records for letter, _ in buried)
        skipped = sum(_weight(record, batch, streams) for record in left_out)
        self._moved.batches += 1
        return Commit(
            lease=lease,
            token=new_id().hex(),
            last_id=batch.last_id,
            last_frame=batch.last_frame,
            records=batch.records,
            stored=batch.records - skipped - dead - streams.buffered,
            skipped=skipped,
            dead=dead,
            buffered=streams.buffered,
            letters=[letter for letter, _ in buried],
            traces=[trace for _, trace in buried],
            replayed=batch.replayed,
            streams=streams.changes,
        )

    async def _commit(self, commit: Commit) -> None:
        while True:
            try:
                done = await self._site.queue.commit(commit)
                break
            except QueueUnavailable:
                # The same token makes a repeated commit harmless, and repeating it spares a redelivery.
                if not self._held.is_ours:
                    raise
                await asyncio.sleep(_COMMIT_PAUSE_S)
        if not done:
            raise LeaseLost(f"the lease of {self._partition} ran out before a commit")
        self._moved.records += commit.records
        self._moved.stored += commit.stored
        self._moved.skipped += commit.skipped
        self._moved.dead += commit.dead


async def _abandon(ahead: asyncio.Task[Batch]) -> None:
    """End the task. What it has read lies in the log still, and an error in it will be met again."""
    await end_task(ahead)
    if not ahead.cancelled():
        ahead.exception()


def _weight(record: Record, batch: Batch, streams: Settlement) -> int:
    """For how many accepted records one counts that is refused or left out."""
    if isinstance(record, StreamChunk):
        return 0  # kept beside the message that its stream makes, which is what counts
    return streams.weights.get(record.id, batch.weights.get(record.id, 1))
