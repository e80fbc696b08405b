"""Compressed frames: what goes in comes out, and what is none says so before it takes memory."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import tracemalloc

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from penstock.producer import ProducerSettings
from penstock.wire import compression
from penstock.wire.compression import HEAD_BYTES, Press
from penstock.wire.errors import FrameCorrupt, FrameError, FrameTooNew
from penstock.wire.frames import MAX_OPENED_BYTES, decode_frame, encode, frame_of, opened_bytes
from penstock.wire.records import MAX_RECORD_BYTES, Record
from penstock.wire.settings import InvalidSetting
from tests.unit.golden.make import COMPRESSED, MANY
from tests.unit.golden.samples import PLAIN_MESSAGE
from tests.unit.test_wire_frames import records

WORDS = "the reservoir lets out at the rate that turbines can take "


def pressed(body: bytes) -> bytes:
    return asyncio.run(Press().press(body))


def zstd(rest: bytes, *, sized: bool = True) -> bytes:
    return zstandard.ZstdCompressor(write_content_size=sized, write_checksum=True).compress(rest)


LONG = frame_of([encode(PLAIN_MESSAGE._replace(content=WORDS * 20)) for _ in range(10)]).body
SMALL = pressed(LONG)


@given(st.lists(records, min_size=8, max_size=40), st.text(min_size=1_100, max_size=1_200))
def test_any_records_return_equal_and_in_order(sent: list[Record], text: str) -> None:
    sent.append(PLAIN_MESSAGE._replace(content=text * 3))
    body = frame_of([encode(record) for record in sent]).body

    packed = pressed(body)

    assert packed[0] == compression.VERSION
    assert decode_frame(packed) == sent
    assert opened_bytes(packed) == len(body)


def test_a_compressed_frame_is_smaller_and_begins_as_it_did() -> None:
    """A commit knows a frame by its length and its first 64 bytes, in which its first record's id is."""
    assert len(SMALL) < len(LONG) / 10
    assert SMALL[1:HEAD_BYTES] == LONG[1:HEAD_BYTES]
    assert PLAIN_MESSAGE.id in SMALL[:HEAD_BYTES]


def test_what_would_not_become_smaller_stays_as_it_is() -> None:
    noise = random.Random(1).randbytes(100_000)
    for body in (frame_of([encode(PLAIN_MESSAGE)]).body, frame_of([b"\xc5\xff\xff" + noise]).body, SMALL):
        assert pressed(body) is body


def test_a_record_of_the_largest_size_is_compressed_and_read() -> None:
    bare = len(encode(PLAIN_MESSAGE._replace(content="x" * 70_000))) - 70_000
    large = PLAIN_MESSAGE._replace(content="x" * (MAX_RECORD_BYTES - bare))
    body = frame_of([encode(large)]).body

    packed = pressed(body)

    assert len(packed) < len(body) / 100
    assert len(body) <= opened_bytes(packed) <= MAX_OPENED_BYTES
    assert decode_frame(packed) == [large]


async def test_the_loop_has_its_turn_while_a_large_frame_is_compressed() -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    press = Press()
    await press.press(b"\x01" + WORDS.encode() * 40_000)  # 2.3 MB
    large, turns = turns, 0
    for _ in range(100):
        await press.press(LONG)  # 12 KB each: 1.2 MB
    task.cancel()

    assert large >= 8
    assert turns >= 4


async def test_what_is_compressed_at_the_same_time_does_not_mix() -> None:
    """A producer's claims are pushed beside what its sender pushes."""
    press = Press()
    large = frame_of([encode(PLAIN_MESSAGE._replace(content=WORDS * 20_000))]).body  # 1.2 MB, in steps

    packed = await asyncio.gather(*(press.press(body) for body in (large, LONG, large, LONG)))

    assert [decode_frame(each) for each in packed] == [decode_frame(body) for body in (large, LONG, large, LONG)]


BROKEN = {
    "no zstd": b"\x02" + LONG[1:],
    "nothing but a head": SMALL[:HEAD_BYTES],
    "not even a head": SMALL[:10],
    "cut short": SMALL[:-5],
    "a byte too many": SMALL + b"\0",
    "two frames": SMALL + SMALL[HEAD_BYTES:],
    "a wrong checksum": SMALL[:-1] + bytes([SMALL[-1] ^ 1]),
    "no size": SMALL[:HEAD_BYTES] + zstd(LONG[HEAD_BYTES:], sized=False),
    "no array inside": SMALL[:HEAD_BYTES] + zstd(b"\xc1" * 100),
    "more than a frame may hold": SMALL[:HEAD_BYTES] + zstd(bytes(MAX_OPENED_BYTES)),
    "a frame within a frame": b"\x02" + pressed(LONG * 2)[1:HEAD_BYTES] + zstd(SMALL),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_no_compressed_frame_is_corrupt(case: str) -> None:
    with pytest.raises(FrameCorrupt):
        decode_frame(BROKEN[case])


@given(st.data())
def test_a_damaged_frame_is_read_or_refused_in_one_of_two_ways(data: st.DataObject) -> None:
    body = bytearray(SMALL)
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(1, len(body) - 1))] = data.draw(st.integers(0, 255))

    assert opened_bytes(bytes(body)) >= 0
    try:
        decode_frame(bytes(body))
    except FrameError:
        return
    assert bytes(body[HEAD_BYTES:]) == SMALL[HEAD_BYTES:]


def test_a_bomb_takes_no_memory() -> None:
    """256 MB of zeros are 8 KB: what says so is refused, and what lies about it is cut off."""
    size = 2**28
    stream = zstandard.ZstdCompressor(level=1).compressobj(size=size)
    block = bytes(2**24)
    rest = b"".join([*(stream.compress(block) for _ in range(size // len(block))), stream.flush()])
    honest = SMALL[:HEAD_BYTES] + rest
    lying = SMALL[:HEAD_BYTES] + rest.replace(size.to_bytes(4, "little"), (4096).to_bytes(4, "little"), 1)
    assert honest != lying
    tracemalloc.start()
    try:
        for bomb in (honest, lying):
            with pytest.raises(FrameCorrupt):
                decode_frame(bomb)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 2**20


def test_golden_compressed_frame_is_read_to_exact_values() -> None:
    """Queues hold such frames when a worker is upgraded."""
    assert COMPRESSED.read_bytes()[0] == compression.VERSION
    assert decode_frame(COMPRESSED.read_bytes()) == MANY


def test_without_the_library_frames_wait_and_producers_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compression, "_library", lambda: None)

    with pytest.raises(FrameTooNew, match=r"pip install 'penstock\[zstd\]'"):
        decode_frame(SMALL)
    with pytest.raises(InvalidSetting, match=r"compression is zstd.*pip install 'penstock\[zstd\]'"):
        ProducerSettings(compression="zstd")
    assert opened_bytes(SMALL) == len(SMALL)


def test_who_compresses_nothing_does_not_load_the_library() -> None:
    code = (
        "import json, sys; from penstock.producer import Producer; from penstock.wire.frames import decode_frame; "
        "Producer(); decode_frame(b'\\x01\\x90'); print(json.dumps('zstandard' in sys.modules))"
    )

    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert json.loads(shown.stdout) is False
