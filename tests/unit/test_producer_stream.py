"""Chunks of a stream joined to runs."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.producer import BufferFull, RecordDropped
from penstock.producer.buffer import Buffer
from penstock.producer.errors import StreamEnded
from penstock.producer.overflow import Drops, DropWhenFull
from penstock.producer.receipt import Ticket
from penstock.producer.stream import MAX_RUN_BYTES, MAX_STREAM_BYTES, Stream, open_head
from penstock.wire.errors import InvalidRecord, RecordTooLarge
from penstock.wire.frames import decode
from penstock.wire.ids import RisingClock
from penstock.wire.records import StreamChunk
from tests.unit.producer_support import roomy


def stream_on(buffer: Buffer, metadata: Any = None, **fields: Any) -> Stream[Ticket]:
    head = open_head(RisingClock(), session_id="s", role="assistant", metadata=metadata, stream_id=None, fields=fields)
    return Stream(buffer, head, Ticket(head.stream_id, "messages", "s", b""))


def runs_of(buffer: Buffer) -> list[StreamChunk]:
    chunks = [decode(entry.packed) for entry in buffer.take()]
    return [chunk for chunk in chunks if isinstance(chunk, StreamChunk)]


# Sizes around the bound of a run, and beyond ASCII.
TEXTS = st.one_of(st.text(max_size=8), st.sampled_from(["é" * 20_000, "x" * 70_000, "y" * MAX_RUN_BYTES]))


@given(windows=st.lists(st.lists(TEXTS, max_size=6), max_size=6))
def test_any_split_of_writes_over_windows_covers_every_chunk_once(windows: list[list[str]]) -> None:
    buffer = roomy()
    runs: list[StreamChunk] = []

    async def write() -> None:
        async with stream_on(buffer) as stream:
            for window in windows:
                for text in window:
                    stream.write(text)
                runs.extend(runs_of(buffer))

    asyncio.run(write())
    runs.extend(runs_of(buffer))

    written = [text for window in windows for text in window if text]
    covered = [number for run in runs for number in range(run.seq, run.seq + run.chunks)]
    assert covered == list(range(len(written)))
    assert "".join(run.text for run in runs) == "".join(text.replace("\0", "�") for text in written)
    assert [run.end for run in runs] == [None] * (len(runs) - 1) + ["complete"]
    assert runs[-1].seq + runs[-1].chunks == len(written)
    assert all(run.chunks == 1 or len(run.text.encode()) <= MAX_RUN_BYTES for run in runs)
    assert len({run.id for run in runs}) == len(runs)
    assert len({(run.stream_id, run.created_at_us) for run in runs}) == 1


async def test_a_stream_has_the_size_of_one_record_and_goes_on_after_what_is_too_much() -> None:
    buffer = roomy()
    async with stream_on(buffer) as stream:
        for _ in range(8):
            stream.write("é" * (MAX_STREAM_BYTES // 16))
            buffer.take()
        with pytest.raises(RecordTooLarge, match="stream text") as raised:
            stream.write("x")
        assert raised.value.value == MAX_STREAM_BYTES + 1

    (end,) = runs_of(buffer)
    assert (end.seq, end.text, end.end) == (8, "", "complete")


async def test_chunks_of_one_window_leave_as_one_run_that_is_also_the_end() -> None:
    buffer = roomy()
    async with stream_on(buffer) as stream:
        for text in "abc":
            stream.write(text)

    (run,) = runs_of(buffer)
    assert (run.seq, run.chunks, run.text, run.end) == (0, 3, "abc", "complete")


async def test_an_end_alone_carries_the_number_of_chunks() -> None:
    buffer = roomy()
    async with stream_on(buffer) as stream:
        stream.write("a")
        stream.write("b")
        buffer.take()

    (end,) = runs_of(buffer)
    assert (end.seq, end.chunks, end.text, end.end) == (2, 0, "", "complete")


async def test_the_first_and_the_last_run_carry_the_fields() -> None:
    buffer, runs = roomy(), list[StreamChunk]()
    async with stream_on(buffer, metadata={"a": 1}, user_id="u") as stream:
        for text in "abc":
            stream.write(text)
            runs += runs_of(buffer)
    runs += runs_of(buffer)

    known = [None if run.fields is None else orjson.loads(run.fields) for run in runs]
    assert known == [{"user_id": "u", "metadata": {"a": 1}}, None, None, {"user_id": "u", "metadata": {"a": 1}}]


@pytest.mark.parametrize("error", [ValueError("no"), asyncio.CancelledError()])
async def test_an_exception_inside_ends_the_stream_as_interrupted_and_goes_on(error: BaseException) -> None:
    buffer = roomy()

    async def fail() -> None:
        async with stream_on(buffer) as stream:
            stream.write("half")
            raise error

    with pytest.raises(type(error)):
        await fail()
    assert [(run.text, run.end) for run in runs_of(buffer)] == [("half", "interrupted")]


async def test_a_chunk_that_is_too_large_is_refused_at_the_call_and_the_stream_goes_on() -> None:
    buffer = roomy()
    async with stream_on(buffer) as stream:
        stream.write("a")
        with pytest.raises(RecordTooLarge):
            stream.write("x" * (8 * 1024 * 1024 + 1))
        stream.write("b")

    assert [(run.seq, run.text) for run in runs_of(buffer)] == [(0, "ab")]


def test_fields_that_are_too_large_are_refused_when_the_stream_opens() -> None:
    with pytest.raises(RecordTooLarge):
        stream_on(roomy(), metadata={"a": "x" * (8 * 1024 * 1024)})


def test_an_unknown_field_is_refused_when_the_stream_opens() -> None:
    with pytest.raises(InvalidRecord, match="did you mean user_id"):
        stream_on(roomy(), user="u")


async def test_writing_outside_the_block_is_refused() -> None:
    stream = stream_on(roomy())
    with pytest.raises(StreamEnded):
        stream.write("a")
    async with stream:
        stream.write("b")

    with pytest.raises(StreamEnded):
        stream.write("c")


async def test_bad_text_is_replaced_and_the_run_says_so() -> None:
    buffer = roomy()
    async with stream_on(buffer) as stream:
        stream.write("a\0b")

    assert [(run.text, run.normalised) for run in runs_of(buffer)] == [("a�b", True)]


async def test_a_refused_chunk_written_again_loses_nothing() -> None:
    buffer = roomy(max_records=1)
    async with stream_on(buffer) as stream:
        stream.write("a")
        taken = runs_of(buffer)
        with pytest.raises(BufferFull):
            stream.write("b")
        buffer.release(1, buffer.bytes)
        stream.write("b")

    assert [(run.seq, run.text, run.end) for run in [*taken, *runs_of(buffer)]] == [
        (0, "a", None),
        (1, "b", "complete"),
    ]


async def test_a_dropped_chunk_cuts_the_stream_which_ends_as_interrupted() -> None:
    """A text with a hole in its middle would look whole."""
    drops = Drops()
    buffer = Buffer(1, 10**6, DropWhenFull(drops))
    buffer.open()
    async with stream_on(buffer) as stream:
        stream.write("a")
        taken = runs_of(buffer)
        stream.write("b")
        buffer.release(1, buffer.bytes)
        stream.write("c")

    assert [(run.seq, run.text, run.end) for run in [*taken, *runs_of(buffer)]] == [
        (0, "a", None),
        (1, "", "interrupted"),
    ]
    assert isinstance(stream.receipt.fate, RecordDropped)
    assert drops.counts == {"buffer_full": 1, "stream_cut": 1}


async def test_the_end_is_taken_though_there_is_no_room() -> None:
    buffer = roomy(max_records=1)
    async with stream_on(buffer) as stream:
        stream.write("a")
        buffer.take()

    assert [run.end for run in runs_of(buffer)] == ["complete"]


async def test_every_byte_of_a_stream_is_released_again() -> None:
    buffer = roomy()
    async with stream_on(buffer, user_id="u") as stream:
        for text in ("a", "é" * 50_000, "x" * 70_000, "b"):
            stream.write(text)
    entries = buffer.take()

    buffer.release(len(entries), sum(entry.size for entry in entries))

    assert buffer.records == buffer.bytes == 0
