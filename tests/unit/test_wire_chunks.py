"""Entries of a stream's buffer: what was put in comes out, by whomever it was written."""

from __future__ import annotations

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.wire.chunks import chunks_of, entries_of
from penstock.wire.errors import FrameTooNew
from penstock.wire.frames import VERSION, encode, frames_of
from penstock.wire.records import StreamChunk

IDS = st.binary(min_size=16, max_size=16)

CHUNKS = st.builds(
    StreamChunk,
    IDS,
    st.integers(0, 2**63 - 1),
    st.text(max_size=8),
    st.text(max_size=8),
    IDS,
    st.integers(0, 2**31),
    st.integers(0, 2**31),
    st.text(max_size=50) | st.integers(1, 300_000).map("ä".__mul__),
    st.sampled_from([None, "complete", "interrupted"]),
    st.none() | st.binary(max_size=20),
    st.booleans(),
)


def chunk(seq: int = 0) -> StreamChunk:
    return StreamChunk(bytes(16), 1, "s", "assistant", bytes(16), seq, 1, "text")


@given(st.lists(CHUNKS, min_size=1, max_size=8))
def test_chunks_come_out_as_they_went_in(chunks: list[StreamChunk]) -> None:
    assert [one for entry in entries_of(chunks) for one in chunks_of(entry)] == chunks


def test_many_small_chunks_are_one_entry_and_no_entry_grows_far_beyond_a_frame() -> None:
    large = [chunk(seq)._replace(text="x" * 100_000) for seq in range(10)]

    assert len(entries_of([chunk(seq) for seq in range(500)])) == 1
    assert max(map(len, entries_of(large))) < 300_000
    assert [one for entry in entries_of([chunk(seq) for seq in range(70_000)]) for one in chunks_of(entry)][
        -1
    ].seq == 69_999


@pytest.mark.parametrize("entry", [encode(chunk()), frames_of([encode(chunk())])[0].body], ids=["alone", "frame"])
def test_entries_without_the_fields_that_hold_their_defaults_are_read(entry: bytes) -> None:
    assert chunks_of(entry) == [chunk()]


def test_an_entry_of_a_newer_worker_is_left_to_it() -> None:
    newer = msgpack.packb([(2, *chunk(), "a new field")])

    with pytest.raises(FrameTooNew):
        chunks_of(bytes([VERSION]) + newer)
