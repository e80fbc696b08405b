"""Open streams: which chunks go to a buffer in the queue server, and which streams become messages.

The buffer is the only copy that counts. It grows in the commit that trims the chunks from the log,
so a crash loses nothing and an open stream never pins the log.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from penstock.stores.contract import Partial, Store
from penstock.wire.chunks import chunks_of, entries_of
from penstock.wire.entries import APPEND, APPEND_ENDED, FORGET, PARK, StreamChange
from penstock.wire.ids import format_id
from penstock.wire.inquiry import trace_of_stream
from penstock.wire.keys import Partition
from penstock.wire.records import Message, StreamChunk
from penstock.wire.stream_calls import GAP_PATIENCE_MS
from penstock.worker.merge import (
    BASE_ID,
    Folded,
    base_chunk,
    chunks_in,
    earlier_whole,
    fold,
    is_whole,
    severed,
    to_message,
)
from penstock.worker.poison import Refused
from penstock.worker.site import Site

_LOOK_MS = 1_000
"""Where batches without chunks follow one another, it is looked for streams that are due so often."""

_READ_AT_ONCE = 50
"""Buffers of streams that are due, read at once. A stream has at most some MB, most have a few hundred bytes."""

GAP = "gap"
"""Error kind: the chunks lie behind others of their stream that never came."""


@dataclass(slots=True)
class Settlement:
    """What becomes of the streams that a batch touches."""

    messages: list[Message] = field(default_factory=list)
    weights: dict[bytes, int] = field(default_factory=dict)
    """For each message, how many accepted chunk records it settles."""
    severed: list[tuple[Refused, int, str]] = field(default_factory=list)
    """Chunks behind a gap that is not waited for any longer, for how many records each counts, and its trace."""
    changes: list[StreamChange] = field(default_factory=list)
    buffered: int = 0
    """Change of the records that wait in buffers."""
    size: int = 0
    """Characters read of streams that are due."""
    is_behind: bool = False
    """Streams may be due beyond those settled here: look again, though the log be empty."""

    def store(self, message: Message, weight: int) -> None:
        """Have *message* written; its success settles *weight* records."""
        self.messages.append(message)
        self.weights[message.id] = weight


class StreamDesk:
    """Settles the streams of one partition, for its owner."""

    __slots__ = ("_config", "_partition", "_queue", "_site", "_store")

    def __init__(self, site: Site, store: Store, partition: Partition) -> None:
        self._site = site
        self._config = site.config
        self._queue = site.queue
        self._store = store
        self._partition = partition

    async def settle(self, chunks: Sequence[StreamChunk], *, is_last: bool = True) -> Settlement:
        """Decide over the streams of *chunks*, and over those that have been silent for too long or are too many.

        Where others come behind it, a batch without chunks is not kept waiting for a look at what is silent.
        """
        settlement = Settlement()
        arrived = _by_stream(chunks)
        if arrived:
            await self._settle_arrived(arrived, settlement)
        if arrived or is_last or self._is_long_unlooked():
            self._site.unlooked.pop(self._partition, None)
            await self._settle_due(arrived, settlement)
        return settlement

    def _is_long_unlooked(self) -> bool:
        """Of slices too that ended before their log: however short they are, silent streams are found in time."""
        now_ms = self._site.now_ms()
        since_ms = self._site.unlooked.setdefault(self._partition, now_ms)
        return not 0 <= now_ms - since_ms < _LOOK_MS  # a clock may go back

    async def _settle_arrived(self, arrived: Mapping[bytes, list[StreamChunk]], settlement: Settlement) -> None:
        states = await self._queue.stream_states(self._partition, list(arrived))
        waiting = {stream for stream, state in states.items() if state.buffered}
        wanted = [stream for stream in waiting if self._is_due(stream, arrived[stream], ended=states[stream].ended)]
        buffers = await self._read(wanted)
        folding = [stream for stream in arrived if stream not in waiting or stream in buffers]
        known = await self._known(folding)
        for stream, new in arrived.items():
            if stream in waiting and stream not in buffers:
                settlement.changes.append(StreamChange(stream, APPEND, entries_of(new)))
                settlement.buffered += len(new)
            else:
                self._fold_arrived(new, buffers.get(stream, []), known.get(stream), settlement)

    def _is_due(self, stream: bytes, new: Iterable[StreamChunk], *, ended: bool) -> bool:
        """Whether a stream with a buffer must be looked at as a whole."""
        return ended or any(chunk.end is not None for chunk in new) or self._snapshot_is_due(stream)

    def _fold_arrived(
        self, new: list[StreamChunk], old: list[StreamChunk], known: Partial | None, settlement: Settlement
    ) -> None:
        stream, kept, base = new[0].stream_id, _accepted(old), _base(known, [*old, *new])
        folded = fold([*base, *old, *new])
        is_stored = known is not None and is_whole(known.version)
        if known is not None and is_stored:
            if folded.reached == 0 and chunks_in(known.version) >= folded.covered:
                # Delivered again after a crash between store and commit; their beginning had come from the store.
                self._drop(stream, kept, settlement)
                return
            known = None
        if folded.is_complete:
            # A whole text replaces whatever part of it was stored before, be that longer: it may be of an earlier try.
            above = known.version if known is not None and folded.end == "complete" else -1
            self._forget(stream, to_message(folded, _end_state(folded), above=above), kept + len(new), settlement)
            settlement.buffered += len(new)
            return
        # Text that the store alone had goes into the buffer with the first news, which then has all of it.
        op = APPEND if folded.end is None else APPEND_ENDED
        settlement.changes.append(StreamChange(stream, op, entries_of([*base, *new])))
        settlement.buffered += len(new)
        if is_stored:
            return
        if (earlier := earlier_whole([*old, *new])) is not None:
            # Opened again since, by a program that may die before the end: who wrote the whole is told it is stored.
            settlement.store(to_message(earlier, None), 0)
        elif self._snapshot_is_due(stream):
            self._site.snapshots[stream] = self._site.now_ms()
            settlement.store(to_message(folded, "streaming"), 0)

    def _snapshot_is_due(self, stream: bytes) -> bool:
        if self._config.stream_policy != "snapshots":
            return False
        return self._site.now_ms() - self._site.snapshots.get(stream, 0) >= self._config.stream_snapshot_ms

    async def _known(self, streams: Sequence[bytes]) -> Mapping[bytes, Partial]:
        """What the store has of streams."""
        return await self._store.partials(streams) if streams else {}

    async def _settle_due(self, arrived: Mapping[bytes, object], settlement: Settlement) -> None:
        """At most as many as a batch brings, so that those beyond the bound go as fast as others come."""
        config, now_ms = self._config, self._site.now_ms()
        keep = max(1, config.stream_open_max // self._queue.partitions)
        due = await self._queue.due_streams(
            self._partition, now_ms - config.stream_timeout_ms, now_ms - GAP_PATIENCE_MS, keep, config.batch_records
        )
        settlement.is_behind = due.more
        for streams, settle in ((due.silent, self._interrupt), (due.stuck, self._give_up)):
            chosen = [stream for stream in streams if stream not in arrived]
            for at in range(0, len(chosen), _READ_AT_ONCE):
                if settlement.size > config.batch_bytes:
                    settlement.is_behind = True
                    return
                some = chosen[at : at + _READ_AT_ONCE]
                known = await self._known(some)
                for stream, chunks in (await self._read(some)).items():
                    settlement.size += sum(len(chunk.text) for chunk in chunks)
                    settle(stream, chunks, known.get(stream), settlement)

    def _interrupt(
        self, stream: bytes, chunks: list[StreamChunk], known: Partial | None, settlement: Settlement
    ) -> None:
        """Store what there is of a stream up to the first gap. Only without a gap its buffer is free."""
        if not chunks:
            settlement.changes.append(StreamChange(stream, FORGET))
            return
        folded = fold([*_base(known, chunks), *chunks])
        if not folded.is_complete:
            if known is not None and is_whole(known.version):
                # Opened again and left off, or come twice in part. A part takes the place of no whole.
                self._drop(stream, _accepted(chunks), settlement)
                return
            folded = earlier_whole(chunks) or folded
        if folded.has_gap:
            settlement.store(to_message(folded, "interrupted"), 0)
            settlement.changes.append(StreamChange(stream, PARK))
            settlement.is_behind = True  # there may be too many of these now
            return
        # The end may be here: what was missing before it has come to the store past the queue, as a replayed letter.
        state = _end_state(folded) if folded.is_complete else "interrupted"
        self._forget(stream, to_message(folded, state), _accepted(chunks), settlement)

    def _give_up(self, stream: bytes, chunks: list[StreamChunk], known: Partial | None, settlement: Settlement) -> None:
        """Bury what lies behind a gap: joined to what lies before, it would look whole."""
        whole = [*_base(known, chunks), *chunks]
        pieces = severed(whole) if chunks else []
        if not pieces or (known is not None and is_whole(known.version)) or earlier_whole(chunks):
            self._interrupt(stream, chunks, known, settlement)
            return
        folded = fold(whole)
        reason = f"chunk {folded.reached} of stream {format_id(stream)} never came; the text before it is stored"
        trace = trace_of_stream(folded.example.created_at_us, format_id(stream))
        settlement.severed += [(Refused(piece.chunk, reason, GAP), piece.records, trace) for piece in pieces]
        before = _accepted(chunks) - sum(piece.records for piece in pieces)
        self._forget(stream, to_message(folded, "interrupted"), before, settlement)
        settlement.buffered -= _accepted(chunks) - before

    def _forget(self, stream: bytes, message: Message, records: int, settlement: Settlement) -> None:
        settlement.store(message, records)
        self._drop(stream, records, settlement)

    def _drop(self, stream: bytes, records: int, settlement: Settlement) -> None:
        settlement.changes.append(StreamChange(stream, FORGET))
        settlement.buffered -= records
        self._site.snapshots.pop(stream, None)

    async def _read(self, streams: Sequence[bytes]) -> dict[bytes, list[StreamChunk]]:
        if not streams:
            return {}
        packed = await self._queue.stream_chunks(self._partition, streams)
        return {stream: [chunk for one in ones for chunk in chunks_of(one)] for stream, ones in packed.items()}


def _by_stream(chunks: Iterable[StreamChunk]) -> dict[bytes, list[StreamChunk]]:
    groups: defaultdict[bytes, list[StreamChunk]] = defaultdict(list)
    for chunk in chunks:
        groups[chunk.stream_id].append(chunk)
    return dict(groups)


def _base(known: Partial | None, chunks: Sequence[StreamChunk]) -> list[StreamChunk]:
    """The beginning that the store alone has, if *chunks* lack theirs."""
    if known is None or is_whole(known.version) or min(chunk.seq for chunk in chunks) == 0:
        return []
    return [base_chunk(chunks[0], known.content, known.version)]


def _accepted(chunks: Iterable[StreamChunk]) -> int:
    """How many of *chunks* were accepted as records."""
    return sum(chunk.id != BASE_ID for chunk in chunks)


def _end_state(folded: Folded) -> str | None:
    return None if folded.end == "complete" else folded.end
