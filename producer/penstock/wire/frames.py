"""The wire format: records as MessagePack arrays, joined to frames.

A frame is one entry of a partition's log:

    byte 0        the version, 1
    the rest      a MessagePack array of records

Version 2 is one of these compressed (`compression`).

A record is the array `[kind code, *fields]` in the order of `records`, without the trailing fields
that hold their defaults. Golden frames lie in `tests/unit/golden/`.
"""

from __future__ import annotations

import bisect
import itertools
import struct
import typing
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, cast

import msgpack

from penstock.wire import compression
from penstock.wire.errors import FrameCorrupt, FrameTooNew, RecordTooLarge
from penstock.wire.records import KINDS, MAX_RECORD_BYTES, Kind, Record, kind_of

VERSION = 1

MAX_FRAME_BYTES = 256 * 1024
"""A frame grows no further than this, unless it holds one record alone that is larger.

Redis allocates and copies an entry as one piece; beyond 256 KB latency of other clients suffers.
"""

MAX_FRAME_RECORDS = 0xFFFF

_MAX_HEADER_BYTES = 4

MAX_OPENED_BYTES = 1 + _MAX_HEADER_BYTES + MAX_RECORD_BYTES
"""What a compressed frame may become: a producer's holds no more than one record of the largest size."""

_ID_BYTES = 16

_MANY = 16
"""A frame of so many records is worth a look at whether all are of one make."""

_VERSION_BYTE = bytes([VERSION])
_COMPRESSED_BYTE = bytes([compression.VERSION])


class _Shape(NamedTuple):
    """What an encoded record of one kind must look like."""

    code: int
    record: type[Any]
    types: tuple[frozenset[type], ...]
    required: int
    usual: int
    """Most records have no more fields than this; two after the required ones."""
    ids: tuple[int, ...]
    """Places of the required fields that are 16 bytes."""
    tails: tuple[tuple[Any, ...], ...]
    """The defaults that follow that many fields."""
    signatures: set[tuple[type, ...]]
    """Types of fields that were checked before, so that a record of a usual make is checked by one look."""


_MAX_SIGNATURES = 1_000
"""For each kind; beyond, records are checked field by field."""


def _shape(kind: Kind) -> _Shape:
    record: type[Any] = kind.record
    hints = typing.get_type_hints(record)
    types = tuple(frozenset(typing.get_args(hints[name]) or (hints[name],)) for name in record._fields)
    required = len(types) - len(record._field_defaults)
    ids = tuple(at for at, name in enumerate(record._fields[:required]) if name in ("id", "stream_id", "stamp"))
    tails = tuple(
        tuple(record._field_defaults.get(name) for name in record._fields[at:]) for at in range(len(types) + 1)
    )
    return _Shape(kind.code, record, types, required, min(required + 2, len(types)), ids, tails, set())


_SHAPES = {kind.code: _shape(kind) for kind in KINDS}
_SHAPES_BY_CLASS = {shape.record: shape for shape in _SHAPES.values()}

_make = tuple.__new__  # a NamedTuple's own constructor takes its fields one by one, at three times the cost
_pack = msgpack.Packer(autoreset=True, use_bin_type=True).pack


class Frame(NamedTuple):
    """One entry of a log, ready to be pushed."""

    body: bytes
    records: int
    """How many records the frame counts for in the audit."""


def encode(record: Record, limit_bytes: int | None = MAX_RECORD_BYTES) -> bytes:
    """One record as MessagePack. No limit for what was accepted already, in parts: the message of a stream.

    Raises:
        RecordTooLarge: Above *limit_bytes*.
    """
    return encode_array(array_of(record), limit_bytes)


def array_of(record: Record) -> tuple[Any, ...]:
    """The array that a record is on the wire."""
    shape = _SHAPES_BY_CLASS[type(record)]
    end, least = shape.usual, shape.required
    if record[end:] != shape.tails[end]:
        end = len(shape.types)
    while end > least and record[end - 1] == shape.tails[end - 1][0]:
        end -= 1
    return (shape.code, *record[:end])


def trimmed(array: tuple[Any, ...]) -> tuple[Any, ...]:
    """*array* without the defaults at its end, where each of them is None."""
    while array[-1] is None:
        array = array[:-1]
    return array


def record_of(array: tuple[Any, ...]) -> Record:
    """The record that `array_of` made an array of, or a builder."""
    shape = _SHAPES[array[0]]
    return cast("Record", _make(shape.record, array[1:] + shape.tails[len(array) - 1]))


def encode_array(array: tuple[Any, ...], limit_bytes: int | None = MAX_RECORD_BYTES) -> bytes:
    """See `encode`."""
    packed: bytes = _pack(array)
    if limit_bytes is not None and len(packed) > limit_bytes:
        raise RecordTooLarge(kind_of(record_of(array)).name, len(packed), limit_bytes)
    return packed


def frame_of(packed: Sequence[bytes], count: int | None = None) -> Frame:
    """A frame of encoded records. *count* differs from their number only for a replayed letter."""
    size = len(packed)
    header = bytes([0x90 | size]) if size < 16 else b"\xdc" + struct.pack(">H", size)
    return Frame(b"".join((_VERSION_BYTE, header, *packed)), size if count is None else count)


def frames_of(packed: Iterable[bytes]) -> list[Frame]:
    """Encoded records in as few frames as `MAX_FRAME_BYTES` allows, in their order."""
    frames: list[Frame] = []
    records = list(packed)
    ends = list(itertools.accumulate(map(len, records)))  # looked up, not walked: 60 ns a record less
    first = before = 0
    while first < len(records):
        fits = bisect.bisect_right(ends, before + MAX_FRAME_BYTES - _MAX_HEADER_BYTES, first)
        last = min(max(fits, first + 1), first + MAX_FRAME_RECORDS)
        frames.append(frame_of(records[first:last]))
        first, before = last, ends[last - 1]
    return frames


def decode_frame(body: bytes) -> list[Record]:
    """The records of a frame, in order.

    Raises:
        FrameTooNew: The version or a record kind is newer than this code, or what reads a compressed one is missing.
        FrameCorrupt: Anything else that is no frame.
    """
    if not body:
        raise FrameCorrupt("the frame is empty")
    if body[0] == compression.VERSION:
        body = compression.opened(body, MAX_OPENED_BYTES)
    if body[0] > VERSION:
        raise FrameTooNew(f"the frame has version {body[0]}, which is newer than this worker; upgrade the worker")
    if body[0] < VERSION:
        raise FrameCorrupt(f"the frame has version {body[0]}, which never was")
    try:
        items = msgpack.unpackb(memoryview(body)[1:], use_list=False, strict_map_key=False)
    except (ValueError, TypeError, msgpack.UnpackException) as exc:  # TypeError: a map as the key of a map
        raise FrameCorrupt(f"the frame of {len(body)} bytes is not MessagePack: {type(exc).__name__}") from exc
    if not isinstance(items, tuple):
        raise FrameCorrupt(f"the frame holds {type(items).__name__}, not an array of records")
    alike = _alike(items) if len(items) >= _MANY else None
    return [_record(item) for item in items] if alike is None else alike


def opened_bytes(body: bytes) -> int:
    """Bytes that a frame has once it is not compressed any more."""
    return compression.opened_bytes(body) if body[:1] == _COMPRESSED_BYTE else len(body)


def decode(packed: bytes) -> Record:
    """The record that `encode` wrote. Raises as `decode_frame` does."""
    return decode_frame(frame_of([packed]).body)[0]


def _alike(items: tuple[Any, ...]) -> list[Record] | None:
    """The records of *items* if all are of one kind, as long as one another, and what they must be; else None.

    Looked at column by column they cost half of what they cost one by one.
    """
    if set(map(type, items)) != {tuple} or len(set(map(len, items))) > 1:
        return None
    columns = list(zip(*items, strict=True))
    if not columns or set(map(type, columns[0])) != {int} or len(set(columns[0])) > 1:
        return None
    shape, fields = _SHAPES.get(columns[0][0]), columns[1:]
    if shape is None or not shape.required <= len(fields) <= len(shape.types):
        return None
    if not all(allowed.issuperset(map(type, column)) for allowed, column in zip(shape.types, fields, strict=False)):
        return None
    if any(set(map(len, fields[at])) != {_ID_BYTES} for at in shape.ids):
        return None
    rest = map(itertools.repeat, shape.tails[len(fields)])
    return list(map(_make, itertools.repeat(shape.record), zip(*fields, *rest, strict=False)))


def _record(item: Any) -> Record:
    if not isinstance(item, tuple) or not item or type(item[0]) is not int or item[0] < 1:
        raise FrameCorrupt(f"a record is {type(item).__name__}, not an array that begins with its kind")
    shape, fields = _SHAPES.get(item[0]), item[1:]
    if shape is None:
        raise FrameTooNew(f"record kind {item[0]} is not known; upgrade the worker")
    signature = tuple(map(type, fields))
    if signature not in shape.signatures:
        _check(shape, fields)
        if len(shape.signatures) < _MAX_SIGNATURES:
            shape.signatures.add(signature)
    for at in shape.ids:
        if len(fields[at]) != _ID_BYTES:
            raise FrameCorrupt(f"a {shape.record.__name__} has an id that is not {_ID_BYTES} bytes")
    return cast("Record", _make(shape.record, fields + shape.tails[len(fields)]))


def _check(shape: _Shape, fields: tuple[Any, ...]) -> None:
    if len(fields) > len(shape.types):
        raise FrameTooNew(f"a record has {len(fields)} fields, more than this worker knows; upgrade it")
    if len(fields) < shape.required or not all(map(isinstance, fields, map(tuple, shape.types))):
        raise FrameCorrupt(f"a {shape.record.__name__} with {len(fields)} fields lacks one or has one of a wrong type")
