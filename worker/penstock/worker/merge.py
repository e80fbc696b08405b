"""Chunks of a stream folded to a message. Pure: decides, touches nothing.

A stored message of a stream has version `3 * chunks + rank`, rank 0 while streaming, 1 when
interrupted, 2 when complete: more chunks are newer, and with equal chunks an end is newer.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import NamedTuple

from penstock.wire.building import message_of_stream
from penstock.wire.records import Message, StreamChunk

BASE_ID = bytes(16)
"""Id of a chunk that stands for text which the store had already. It was never accepted as a record."""

_RANKS = {"streaming": 0, "interrupted": 1, None: 2}
_STATES = 3


class Folded(NamedTuple):
    """What the chunks of one stream, in any order and however often repeated, amount to."""

    example: StreamChunk
    """Any of them: all carry the stream's id, session, role and time."""
    fields: bytes | None
    """The message's other fields, if a chunk that carries them is here."""
    text: str
    whole: str
    """The text of the chunks without a gap."""
    reached: int
    """Chunks from the first one on without a gap."""
    covered: int
    """The number after the last chunk that is here."""
    end: str | None
    """None while the stream is open."""
    normalised: bool

    @property
    def has_gap(self) -> bool:
        """Whether chunks are missing before one that is here."""
        return self.reached < self.covered

    @property
    def is_complete(self) -> bool:
        """Whether the end is here, and every chunk before it."""
        return self.end is not None and not self.has_gap


def fold(chunks: Sequence[StreamChunk]) -> Folded:
    """Put *chunks* (at least one, of one stream) in order and join them. Repeated ones count once.

    A run leaves its producer once and never changes, so of two runs with one sequence number one is a repeat.
    That holds within one opening of the stream: a program that repeats its work under the same id opens it
    again and cuts its runs elsewhere, so only the chunks of the latest opening count.
    """
    chunks = _latest_opening(chunks)
    parts: list[str] = []
    reached = covered = unbroken = 0
    end: str | None = None
    for chunk in chunks:
        after = chunk.seq + chunk.chunks
        end = chunk.end or end
        if after > covered:
            parts.append(chunk.text)
            covered = after
            if chunk.seq <= reached:
                reached, unbroken = after, len(parts)
    fields = next((chunk.fields for chunk in chunks if chunk.fields is not None), None)
    dirty = any(chunk.normalised for chunk in chunks)
    text, whole = "".join(parts), "".join(parts[:unbroken])
    return Folded(chunks[0], fields, text, whole, reached, covered, end, dirty)


def earlier_whole(chunks: Sequence[StreamChunk]) -> Folded | None:
    """The latest opening of their stream before the last one that has its end and every chunk before it."""
    for opened_us in sorted({chunk.created_at_us for chunk in chunks}, reverse=True)[1:]:
        folded = fold([chunk for chunk in chunks if chunk.created_at_us == opened_us])
        if folded.is_complete and folded.end == "complete":
            return folded
    return None


class Severed(NamedTuple):
    """Chunks of a stream that follow one another, behind a gap."""

    chunk: StreamChunk
    """All of them as one."""
    records: int
    """How many were accepted as records, repeats among them."""


def severed(chunks: Sequence[StreamChunk]) -> list[Severed]:
    """What of *chunks* lies behind the first gap, a piece for each run without another one."""
    reached = fold(chunks).reached
    pieces: list[list[StreamChunk]] = []
    covered = -1
    for chunk in _latest_opening(chunks):
        if chunk.seq + chunk.chunks <= reached:
            continue
        if chunk.seq > covered:
            pieces.append([])
        pieces[-1].append(chunk)
        covered = max(covered, chunk.seq + chunk.chunks)
    return [Severed(_joined(piece), len(piece)) for piece in pieces]


def _joined(piece: Sequence[StreamChunk]) -> StreamChunk:
    """One chunk in the place of those of *piece*, which are in order and without a gap."""
    first, parts, covered = piece[0], [], piece[0].seq
    for chunk in piece:
        if chunk.seq + chunk.chunks > covered:
            parts.append(chunk.text)
            covered = chunk.seq + chunk.chunks
    return first._replace(
        chunks=covered - first.seq,
        text="".join(parts),
        end=next((chunk.end for chunk in piece if chunk.end), None),
        fields=next((chunk.fields for chunk in piece if chunk.fields is not None), None),
        normalised=any(chunk.normalised for chunk in piece),
    )


def _latest_opening(chunks: Sequence[StreamChunk]) -> list[StreamChunk]:
    """The chunks of the latest opening of their stream, in order."""
    opened_us = max(chunk.created_at_us for chunk in chunks)
    return sorted((chunk for chunk in chunks if chunk.created_at_us == opened_us), key=attrgetter("seq"))


def to_message(folded: Folded, state: str | None, *, above: int = -1) -> Message:
    """The message of a stream with *state* `streaming`, `interrupted`, or None for complete.

    It has the text up to the first gap, so that its version says what it holds and the row is mended when the
    gap fills. Its version is higher than *above*.
    """
    version = max(_STATES * folded.reached + _RANKS[state], above + 1)
    example = folded.example._replace(normalised=folded.normalised)
    return message_of_stream(example, folded.fields, folded.whole, state, version)


def chunks_in(version: int) -> int:
    """How many chunks a stored message of that version holds."""
    return version // _STATES


def is_whole(version: int) -> bool:
    """Whether a stored message of that version is a complete stream."""
    return version % _STATES == _RANKS[None]


def base_chunk(example: StreamChunk, content: str, version: int) -> StreamChunk:
    """A chunk that stands for what the store holds of *example*'s stream already."""
    return example._replace(id=BASE_ID, seq=0, chunks=chunks_in(version), text=content, end=None, normalised=False)
