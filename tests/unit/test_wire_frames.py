"""Frames: what goes in comes out, and bytes that are no frame say so in one of two ways."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from penstock.wire import compression
from penstock.wire.errors import FrameCorrupt, FrameError, FrameTooNew, RecordTooLarge
from penstock.wire.frames import (
    MAX_FRAME_BYTES,
    MAX_FRAME_RECORDS,
    VERSION,
    Frame,
    decode,
    decode_frame,
    encode,
    frame_of,
    frames_of,
)
from penstock.wire.records import (
    KINDS,
    MAX_RECORD_BYTES,
    AgentState,
    Context,
    Embedding,
    EmbeddingDeletion,
    KeyValue,
    Kind,
    LogEvent,
    Message,
    MessageDeletion,
    Record,
    StreamChunk,
    Task,
    TaskStatus,
)
from tests.unit.golden.make import FOLDER, described
from tests.unit.golden.samples import FRAMES, PLAIN_MESSAGE

ids = st.binary(min_size=16, max_size=16)
texts = st.text(max_size=30)
maybe = st.none() | texts
blobs = st.none() | st.binary(max_size=30)
times = st.integers(0, 253_402_300_799_999_999)
maybe_times = st.none() | times
numbers = st.integers(-(2**63), 2**63 - 1)

records: st.SearchStrategy[Record] = st.one_of(
    st.builds(Message, ids, times, texts, texts, maybe, blobs, *[maybe] * 13, st.none() | times, st.none() | times,
              maybe, numbers, st.booleans()),
    st.builds(StreamChunk, ids, times, texts, texts, ids, numbers, numbers, texts, maybe, blobs, st.booleans()),
    st.builds(LogEvent, ids, times, numbers, texts, maybe, maybe, maybe, blobs, st.booleans()),
    st.builds(Embedding, ids, times, texts, texts, st.binary(), maybe, blobs, st.booleans()),
    st.builds(Task, ids, times, ids, texts, texts, maybe, maybe, maybe, st.booleans(), maybe, blobs, *[maybe_times] * 4,
              st.none() | st.floats(0, 1e9), blobs, maybe, maybe_times, st.booleans(), maybe_times, st.none() | ids),
    st.builds(TaskStatus, ids, times, ids, texts, texts, *[maybe_times] * 4, st.none() | st.floats(0, 1e9), blobs,
              maybe, st.booleans()),
    st.builds(AgentState, ids, times, ids, texts, texts, *[maybe] * 4, blobs, maybe_times, st.booleans(), maybe_times),
    st.builds(Context, ids, times, ids, texts, blobs, maybe, maybe, maybe_times, maybe_times, st.booleans(),
              maybe_times),
    st.builds(KeyValue, ids, times, ids, texts, texts, blobs, maybe_times, maybe_times, st.booleans(), maybe_times),
    st.builds(MessageDeletion, ids, times, texts, st.none() | ids),
    st.builds(EmbeddingDeletion, ids, times, texts, texts),
)  # fmt: skip

raw_values = st.recursive(
    st.none() | st.booleans() | numbers | st.floats(allow_nan=False) | st.text(max_size=5) | st.binary(max_size=18),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=2) | numbers, inner, max_size=3),
    max_leaves=20,
)


def raw_frame(*items: Any) -> bytes:
    """A frame of anything, as a foreign or newer producer would write it."""
    body: bytes = msgpack.packb(items)
    return bytes([VERSION]) + body


def padded(size: int) -> bytes:
    """An encoded record of exactly *size* bytes."""
    bare = len(encode(PLAIN_MESSAGE._replace(content="x" * 70_000))) - 70_000
    packed = encode(PLAIN_MESSAGE._replace(content="x" * (size - bare)))
    assert len(packed) == size
    return packed


@given(st.lists(records, max_size=20))
def test_every_record_returns_equal_and_in_order(sent: list[Record]) -> None:
    frame = frame_of([encode(record) for record in sent])

    read = decode_frame(frame.body)

    assert read == sent
    assert [type(one) for one in read] == [type(one) for one in sent]
    assert frame.records == len(sent)


@given(records, st.integers(16, 40))
def test_many_records_of_one_make_return_equal(record: Record, count: int) -> None:
    read = decode_frame(frame_of([encode(record)] * count).body)

    assert read == [record] * count
    assert {type(one) for one in read} == {type(record)}


@given(records)
def test_one_record_returns_equal(record: Record) -> None:
    assert decode(encode(record)) == record


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_trailing_defaults_are_not_sent(kind: Kind) -> None:
    samples = [one for each in FRAMES.values() for one in each if type(one) is kind.record]
    shortest = min((msgpack.unpackb(encode(one)) for one in samples), key=len)
    required = len(kind.record._fields) - len(kind.record._field_defaults)

    if kind.record._field_defaults:
        assert required <= len(shortest) - 1 < len(kind.record._fields)
    else:
        assert len(shortest) - 1 == required


def test_default_between_other_values_is_sent() -> None:
    record = PLAIN_MESSAGE._replace(content=None, normalised=True)

    assert len(msgpack.unpackb(encode(record))) == 1 + len(Message._fields)
    assert decode(encode(record)) == record


@given(st.lists(st.integers(100, MAX_FRAME_BYTES * 2), max_size=12))
def test_frames_stay_below_their_limit_unless_one_record_is_larger(sizes: list[int]) -> None:
    sent = [bytes(size) for size in sizes]

    frames = frames_of(sent)

    assert sum(frame.records for frame in frames) == len(sent)
    assert all(len(frame.body) <= MAX_FRAME_BYTES or frame.records == 1 for frame in frames)
    assert b"".join(frame.body[2:] for frame in frames) == b"".join(sent)  # fewer than 16 records: 2 header bytes


@given(st.lists(st.integers(100, MAX_FRAME_BYTES), min_size=2, max_size=12))
def test_no_two_neighbouring_frames_would_fit_in_one(sizes: list[int]) -> None:
    frames = frames_of([bytes(size) for size in sizes])

    together = [len(one.body) + len(two.body) for one, two in itertools.pairwise(frames)]
    assert all(size > MAX_FRAME_BYTES - 8 for size in together)


def test_no_record_is_no_frame() -> None:
    assert frames_of([]) == []


def test_more_records_than_a_header_can_count_become_two_frames() -> None:
    frames = frames_of([b"\xc0"] * (MAX_FRAME_RECORDS + 1))

    assert [frame.records for frame in frames] == [MAX_FRAME_RECORDS, 1]


@pytest.mark.parametrize("count", [1, 15, 16, 17, 500])
def test_frame_of_any_number_of_records_is_read(count: int) -> None:
    assert decode_frame(frame_of([encode(PLAIN_MESSAGE)] * count).body) == [PLAIN_MESSAGE] * count


def test_replayed_letter_counts_for_what_it_counted_for() -> None:
    assert frame_of([encode(PLAIN_MESSAGE)], count=7) == Frame(frame_of([encode(PLAIN_MESSAGE)]).body, 7)


def test_record_of_eight_megabytes_is_the_largest() -> None:
    assert len(padded(MAX_RECORD_BYTES)) == MAX_RECORD_BYTES

    with pytest.raises(RecordTooLarge, match=r"message: .* 8,388,609 bytes, at most 8,388,608 .* reference") as caught:
        padded(MAX_RECORD_BYTES + 1)
    assert (caught.value.field, caught.value.value) == ("message", MAX_RECORD_BYTES + 1)


def test_large_record_is_framed_alone_and_read() -> None:
    large = PLAIN_MESSAGE._replace(content="y" * 1_000_000)
    small = encode(PLAIN_MESSAGE)

    frames = frames_of([small, encode(large), small])

    assert [frame.records for frame in frames] == [1, 1, 1]
    assert decode_frame(frames[1].body) == [large]


WRONG: dict[str, bytes] = {
    "nothing": b"",
    "version zero": b"\x00\x90",
    "no array": b"\x01",
    "a number": b"\x01\x05",
    "a map": b"\x01\x80",
    "a map with a map as key": b"\x01\x81\x80\xc0",
    "cut short": frame_of([encode(PLAIN_MESSAGE)]).body[:-1],
    "one byte more": frame_of([encode(PLAIN_MESSAGE)]).body + b"\xc0",
    "a length beyond the end": b"\x01\xdd\xff\xff\xff\xff",
    "text that is no UTF-8": b"\x01\x91\xa1\xff",
    "nested without end": b"\x01" + b"\x91" * 10_000,
    "a record that is a number": raw_frame(5),
    "a record that is text": raw_frame("abc"),
    "a record that is bytes": raw_frame(b"\x01abcdefgh"),
    "a record that is a map": raw_frame({}),
    "a record that is empty": raw_frame([]),
    "a kind that is text": raw_frame(["message"]),
    "a kind that is a list": raw_frame([[1]]),
    "a kind that is a map": raw_frame([{}]),
    "a kind that is true": raw_frame([True, *PLAIN_MESSAGE]),
    "a kind that is a float": raw_frame([1.0, *PLAIN_MESSAGE]),
    "a kind below 1": raw_frame([0, *PLAIN_MESSAGE]),
    "fields missing": raw_frame([1, bytes(16), 5, "s"]),
    "fields of wrong types": raw_frame([1, bytes(16), 5, "s", b"user"]),
    "None where a value is needed": raw_frame([1, bytes(16), None, "s", "user"]),
    "an id of 15 bytes": raw_frame([1, bytes(15), 5, "s", "user"]),
    "a stream id of 15 bytes": raw_frame([2, bytes(16), 5, "s", "user", bytes(15), 0, 1, "t"]),
}


@pytest.mark.parametrize("case", WRONG)
def test_bytes_that_are_no_frame_are_corrupt(case: str) -> None:
    with pytest.raises(FrameCorrupt):
        decode_frame(WRONG[case])


@pytest.mark.parametrize("case", [case for case, body in WRONG.items() if body[1:2] == b"\x91"])
def test_a_wrong_record_is_corrupt_among_many(case: str) -> None:
    wrong = WRONG[case][2:]

    for packed in ([wrong] * 20, [*[encode(PLAIN_MESSAGE)] * 20, wrong]):
        with pytest.raises(FrameCorrupt):
            decode_frame(frame_of(packed).body)


@given(st.binary(max_size=200))
def test_random_bytes_are_refused_in_one_of_two_ways(body: bytes) -> None:
    _decodes_or_refuses(body)


@given(raw_values)
@example([[2, b"0" * 16, 5, "s", "r", "0" * 16, 0, 1, "t"]])
def test_any_messagepack_is_refused_in_one_of_two_ways(value: Any) -> None:
    _decodes_or_refuses(bytes([VERSION]) + msgpack.packb(value))


@given(records, st.data())
def test_mutated_frame_is_read_as_records_or_refused_in_one_of_two_ways(record: Record, data: st.DataObject) -> None:
    body = bytearray(frame_of([encode(record)]).body)
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))

    _decodes_or_refuses(bytes(body))


def _decodes_or_refuses(body: bytes) -> None:
    """What is decoded is of the right shape: it can be framed and read again."""
    try:
        read = decode_frame(body)
    except FrameError:
        return
    assert decode_frame(frame_of([encode(record) for record in read]).body) == read


TOO_NEW: dict[str, bytes] = {
    "the next version": bytes([compression.VERSION + 1]) + frame_of([encode(PLAIN_MESSAGE)]).body[1:],
    "the last version": b"\xff",
    "a new kind": raw_frame([1, *PLAIN_MESSAGE], [max(kind.code for kind in KINDS) + 1, "anything"]),
    **{f"a {kind.name} with a new field": raw_frame([kind.code, *[None] * len(kind.record._fields), 1])
       for kind in KINDS},
}  # fmt: skip


@pytest.mark.parametrize("case", TOO_NEW)
def test_frame_of_a_newer_producer_is_kept_for_a_newer_worker(case: str) -> None:
    with pytest.raises(FrameTooNew, match="upgrade"):
        decode_frame(TOO_NEW[case])


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_frame_of_an_older_producer_is_read_with_defaults(kind: Kind) -> None:
    full = next(one for one in reversed([*FRAMES[kind.name]]) if type(one) is kind.record)
    required = len(kind.record._fields) - len(kind.record._field_defaults)

    for known in range(required, len(kind.record._fields) + 1):
        (read,) = decode_frame(raw_frame([kind.code, *full[:known]]))

        assert read[:known] == full[:known]
        assert read[known:] == tuple(kind.record._field_defaults[name] for name in kind.record._fields[known:])


@pytest.mark.parametrize("name", FRAMES)
def test_golden_frame_is_read_to_exact_values(name: str) -> None:
    """Queues hold such frames when a worker is upgraded."""
    body = (FOLDER / f"{name}.bin").read_bytes()

    assert decode_frame(body) == FRAMES[name]
    assert json.loads((FOLDER / f"{name}.json").read_text()) == described(FRAMES[name])


@pytest.mark.parametrize("name", FRAMES)
def test_golden_frame_is_written_byte_by_byte(name: str) -> None:
    """An older worker reads what a newer producer sends, as long as nothing new is used."""
    body = (FOLDER / f"{name}.bin").read_bytes()

    assert frame_of([encode(record) for record in FRAMES[name]]).body == body


def test_every_golden_file_has_a_test() -> None:
    assert {path.stem for path in FOLDER.glob("*.bin")} == set(FRAMES)


@pytest.mark.parametrize("reading", [decode, decode_frame])
def test_errors_never_show_the_content(reading: Callable[[bytes], object]) -> None:
    secret = msgpack.packb([1, bytes(16), 5, "secret-session", b"secret"])
    body = frame_of([secret]).body if reading is decode_frame else secret

    with pytest.raises(FrameCorrupt) as caught:
        reading(body)

    assert "secret" not in str(caught.value)
