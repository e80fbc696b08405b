"""What the buffer of an open stream holds: entries of one chunk, or frames of many that came together.

In such a frame every chunk has all its fields: so they are written and read as one array, at a third of the cost. A
worker of 0.1 made an entry of each chunk.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import msgpack

from penstock.wire.frames import MAX_FRAME_BYTES, VERSION, decode, decode_frame, encode, frames_of
from penstock.wire.records import KINDS, StreamChunk

_CODE = next(kind.code for kind in KINDS if kind.record is StreamChunk)
_LENGTH = 1 + len(StreamChunk._fields)

_MOST_CHARACTERS = MAX_FRAME_BYTES // 8
"""Of the text in a frame that is written as one array. UTF-8 may take four bytes for each, and there are the fields."""

_MOST_CHUNKS = 512

_make = tuple.__new__  # a NamedTuple's own constructor takes its fields one by one, at three times the cost
_pack = msgpack.Packer(autoreset=True, use_bin_type=True).pack


def entries_of(chunks: Sequence[StreamChunk]) -> list[bytes]:
    """*chunks* of one stream as entries of its buffer."""
    if len(chunks) == 1 or len(chunks) > _MOST_CHUNKS or sum(len(chunk.text) for chunk in chunks) > _MOST_CHARACTERS:
        # No limit: the text that a store had of a long stream is one chunk here.
        packed = [encode(chunk, limit_bytes=None) for chunk in chunks]
        return packed if len(packed) == 1 else [frame.body for frame in frames_of(packed)]
    return [bytes([VERSION]) + _pack([(_CODE, *chunk) for chunk in chunks])]


def chunks_of(entry: bytes) -> list[StreamChunk]:
    """The chunks of an entry. Raises as `frames.decode_frame` does."""
    if entry[0] != VERSION:
        return [cast("StreamChunk", decode(entry))]
    arrays = msgpack.unpackb(memoryview(entry)[1:], use_list=False)
    if any(len(array) != _LENGTH for array in arrays):
        return cast("list[StreamChunk]", decode_frame(entry))
    return [_make(StreamChunk, array[1:]) for array in arrays]
