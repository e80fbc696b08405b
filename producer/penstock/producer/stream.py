"""A message that comes in chunks: written one by one, sent as joined runs."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Generic, NamedTuple, Self, TypeVar

from penstock.producer.buffer import Buffer, SharedBuffer
from penstock.producer.errors import ProducerClosed, RecordDropped, StreamEnded
from penstock.producer.receipt import Entry, Placed, Ticket, at_level
from penstock.wire import building
from penstock.wire.errors import RecordTooLarge
from penstock.wire.frames import encode
from penstock.wire.ids import RisingClock, new_id, parse_id
from penstock.wire.records import MAX_RECORD_BYTES, StreamChunk
from penstock.wire.text import clean_id, clean_text

MAX_RUN_BYTES = 64 * 1024
"""Chunks are joined up to this size; a larger chunk is a run of its own."""

MAX_STREAM_BYTES = MAX_RECORD_BYTES
"""The text of a stream, as UTF-8: it becomes one record."""

_RUN_OVERHEAD_BYTES = 256
"""About what a run's ids and numbers take; exact only for the bounds of the buffer."""

_MAX_FIELDS_BYTES = MAX_RECORD_BYTES - 2 * MAX_RUN_BYTES
"""The first and the last run carry the fields beside their text."""

R = TypeVar("R", bound=Ticket)


class StreamHead(NamedTuple):
    """What all chunks of a stream share."""

    created_at_us: int
    session_id: str
    role: str
    stream_id: bytes
    fields: bytes | None
    normalised: bool


def open_head(
    clock: RisingClock, *, session_id: str, role: str, metadata: Any, stream_id: Any, fields: dict[str, Any]
) -> StreamHead:
    """The head of a stream that opens now. Raises `InvalidRecord` or `RecordTooLarge`."""
    session, actor = clean_id("session_id", session_id), clean_id("role", role)
    encoded, dirty = building.stream_fields(metadata, fields)
    if encoded is not None and len(encoded) > _MAX_FIELDS_BYTES:
        raise RecordTooLarge("stream fields", len(encoded), _MAX_FIELDS_BYTES)
    raw_id = new_id() if stream_id is None else parse_id(stream_id)
    dirty = dirty or session is not session_id or actor is not role
    return StreamHead(clock.now_us(), session, actor, raw_id, encoded, dirty)


class Run(Entry):
    """Consecutive chunks of one stream, joined; grows until the sender takes it."""

    __slots__ = ("end", "head", "normalised", "parts", "receipt", "sealed", "seq", "size")

    is_plain = False

    def __init__(self, head: StreamHead, seq: int, parts: list[str], size: int, *, normalised: bool) -> None:
        super().__init__("messages", head.session_id, b"")
        self.head = head
        self.seq = seq
        self.parts = parts
        self.normalised = normalised
        self.end: str | None = None
        self.sealed = False
        self.receipt: Ticket | None = None
        """The stream's, in its last run: its fate is the stream's."""
        self.size: int = size + _RUN_OVERHEAD_BYTES + (len(head.fields or b"") if seq == 0 else 0)

    def seal(self) -> None:
        """Encode it. It grows no more."""
        if self.sealed:
            return
        head = self.head
        fields = head.fields if self.seq == 0 or self.end else None
        text = "".join(self.parts)
        shared = (new_id(), head.created_at_us, head.session_id, head.role, head.stream_id)
        self.packed = encode(
            StreamChunk(*shared, self.seq, len(self.parts), text, self.end, fields, head.normalised or self.normalised)
        )
        self.sealed = True

    def watched(self) -> tuple[Entry, int] | None:
        """See `Entry.watched`. Nobody holds a run, but perhaps the stream's receipt."""
        return None if self.receipt is None else (self.receipt, self.head.created_at_us)

    def settle(self, fate: Placed | Exception) -> None:
        """See `Entry.settle`."""
        super().settle(fate)
        if self.receipt is not None and self.receipt.fate is None:
            self.receipt.settle(fate._replace(opened_us=self.head.created_at_us) if isinstance(fate, Placed) else fate)


class StreamWriter(Generic[R]):
    """One open stream. `write` touches memory only."""

    def __init__(self, buffer: Buffer, head: StreamHead, receipt: R) -> None:
        self.receipt = receipt
        """The stream's one receipt: of the message that it becomes."""
        self._buffer = buffer
        self._head = head
        self._run: Run | None = None
        self._run_kind = at_level(Run, receipt.level)
        self._chunks = 0
        self._size = 0
        self._open = False

    @property
    def id(self) -> str:
        """The id of the message that the stream becomes."""
        return self.receipt.id

    def write(self, text: str) -> R:
        """Take one chunk; returns the stream's receipt. Empty text is nothing.

        Where the overflow policy drops a chunk, it drops the rest too: the stream ends as interrupted, whole
        up to there, and its receipt raises `RecordDropped`.

        Raises:
            RecordTooLarge: With this chunk the text would be above 8 MB. It was not taken; the stream goes on.
            BufferFull: This chunk was not taken. Written again, it loses nothing.
            StreamEnded: The block is not entered yet, or left.
        """
        clean = clean_text("text", text)
        if not self._open:
            raise StreamEnded(f"stream {self.id} is not open; write inside its `with` block")
        if self.receipt.fate is not None:
            self._buffer.overflow.drops.count("stream_cut")
        elif clean:
            size = len(clean) if clean.isascii() else len(clean.encode())
            if self._size + size > MAX_STREAM_BYTES:
                raise RecordTooLarge("stream text", self._size + size, MAX_STREAM_BYTES)
            run = self._run
            if run is None or run.sealed or run.size + size > MAX_RUN_BYTES or not self._buffer.extend(run, size):
                self._begin(clean, size, dirty=clean is not text)
            else:
                run.parts.append(clean)
                run.normalised = run.normalised or clean is not text
                self._chunks += 1
                self._size += size
        return self.receipt

    def _begin(self, text: str, size: int, *, dirty: bool) -> None:
        run = self._run_kind(self._head, self._chunks, [text], size, normalised=dirty)
        if size > MAX_RUN_BYTES:
            run.seal()
        if not self._buffer.add(run):
            # A text with a hole would look whole: the stream keeps what it has, and ends there.
            self.receipt.settle(RecordDropped(f"stream {self.id} was cut after {self._chunks} chunks: no room"))
            return
        if not run.sealed:
            self._buffer.append_growing(run)
        self._run = run
        self._chunks += 1
        self._size += size

    def end(self, state: str) -> None:
        """End it as `complete` or `interrupted`. Taken even without room. May be repeated; the first counts."""
        if not self._open:
            return
        self._open = False
        if self._buffer.closed:
            self.receipt.settle(ProducerClosed(f"the producer closed before stream {self.id} ended"))
            return
        run = self._run
        if run is None or run.sealed:
            run = self._run_kind(self._head, self._chunks, [], 0, normalised=False)
            self._buffer.append(run)
            self._buffer.append_growing(run)
        # One that was cut has its own fate already, and says so.
        run.end = state if self.receipt.fate is None else "interrupted"
        run.receipt = self.receipt
        self._buffer.grow(run, len(self._head.fields or b""))
        if self.receipt.fate is None:
            self._buffer.note_ended(self.receipt)

    def abandon(self) -> None:
        """Take nothing more and send no end: in a forked child the stream belongs to the parent."""
        self._open = False


class Stream(StreamWriter[R]):
    """An open stream as an asynchronous context: leaving it ends the stream, as interrupted after an exception."""

    async def __aenter__(self) -> Self:
        self._open = True
        return self

    async def __aexit__(self, kind: type[BaseException] | None, exc: object, trace: TracebackType | None) -> None:
        self.end("complete" if kind is None else "interrupted")


class BlockingStream(StreamWriter[R]):
    """The same as a plain context, for threads."""

    _buffer: SharedBuffer

    def write(self, text: str) -> R:
        """See `StreamWriter.write`. With `overflow` block it waits for room."""
        with self._buffer.lock:
            return super().write(text)

    def end(self, state: str) -> None:
        """See `StreamWriter.end`."""
        with self._buffer.lock:
            super().end(state)

    def __enter__(self) -> Self:
        self._open = True
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: object, trace: TracebackType | None) -> None:
        self.end("complete" if kind is None else "interrupted")
