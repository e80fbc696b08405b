"""Streams on a real queue server: content equal to what was written, whatever happens on the way."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.stores.errors import StoreRejected
from penstock.wire.queue import Queue
from penstock.wire.records import MAX_RECORD_BYTES, Record, StreamChunk
from penstock.worker.drain import drain
from penstock.worker.merge import fold, to_message
from tests.system.drain_support import MESSAGES, ListStore, Sender, site_of, total


async def test_a_stream_in_one_batch_never_touches_a_buffer(queue: Queue) -> None:
    store, sender = ListStore(), Sender(queue)
    await sender.push(*sender.chunks(["Hel", "lo"]))

    await drain(site_of(queue, store), MESSAGES)

    assert [(message.content, message.state) for message in store.messages()] == [("Hello", None)]
    counts = await total(queue)
    assert (counts.accepted, counts.stored, counts.pending, counts.balanced) == (3, 3, 0, True)


async def test_a_refused_stream_above_the_record_limit_is_buried_whole(queue: Queue) -> None:
    """Each part was accepted; only their sum is larger than a record may be."""

    def refuse(_: Sequence[Record]) -> None:
        raise StoreRejected("too long for this store")

    store, sender = ListStore(before=refuse), Sender(queue)
    texts = ["x" * 5_000_000, "y" * 5_000_000]
    for chunk in sender.chunks(texts):
        await sender.push(chunk)

    await drain(site_of(queue, store), MESSAGES)

    (letter,) = await queue.client.xrange(queue.keys.dead(MESSAGES))
    assert len(letter[1][b"r"]) > MAX_RECORD_BYTES
    counts = await total(queue)
    assert (counts.dead, counts.pending, counts.balanced) == (3, 0, True)


async def test_an_open_stream_waits_in_the_queue_server_and_does_not_pin_the_log(queue: Queue) -> None:
    store, sender = ListStore(), Sender(queue)
    chunks = sender.chunks(["a", "b", "c"])
    await sender.push(*chunks[:2])

    await drain(site_of(queue, store), MESSAGES)
    counts = await total(queue)
    assert (store.rows, counts.entries, counts.pending, counts.buffered, counts.open_streams) == ({}, 0, 2, 2, 1)
    assert counts.balanced
    await sender.push(*chunks[2:])
    await drain(site_of(queue, store), MESSAGES)

    assert [message.content for message in store.messages()] == ["abc"]
    counts = await total(queue)
    assert (counts.stored, counts.pending, counts.open_streams, counts.balanced) == (4, 0, 0, True)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(alphabet="abcé😀", max_size=4), max_size=8), st.data())
async def test_any_delivery_gives_the_written_text(queue: Queue, texts: list[str], data: st.DataObject) -> None:
    """Chunks reordered, repeated and cut into slices anywhere."""
    store, sender = ListStore(), Sender(queue)
    sender._number = data.draw(st.just(int((await total(queue)).accepted) + 1))
    chunks = sender.chunks(texts)
    order = data.draw(st.permutations(chunks + data.draw(st.lists(st.sampled_from(chunks), max_size=3))))
    cuts = data.draw(st.lists(st.integers(0, len(order)), max_size=3).map(sorted))
    site = site_of(queue, store)
    for begin, end in zip([0, *cuts], [*cuts, len(order)], strict=True):
        if order[begin:end]:
            await sender.push(*order[begin:end])
            await drain(site, MESSAGES)

    assert [message.content for message in store.messages() if message.state is None] == ["".join(texts)]
    assert (await total(queue)).balanced


async def test_a_silent_stream_is_found_though_no_slice_comes_to_the_end_of_its_log(queue: Queue) -> None:
    store, sender = ListStore(), Sender(queue)
    site = site_of(queue, store, slice_ms=1, batch_records=1)
    await sender.push(*sender.chunks(["Hel"], end=None))
    await drain(site, MESSAGES)
    for _ in range(40):
        await sender.push(sender.message("noise"))

    now_ms = [site.now_ms() + site.config.stream_timeout_ms + 1]
    site.now_ms = lambda: now_ms[0]
    for _ in range(3):
        await drain(site, MESSAGES)
        now_ms[0] += 600

    assert (await total(queue)).entries > 0
    assert "Hel" in {message.content for message in store.messages()}


async def test_a_silent_stream_is_stored_as_interrupted_and_a_late_chunk_mends_it(queue: Queue) -> None:
    store, sender = ListStore(), Sender(queue)
    chunks = sender.chunks(["a", "b", "c"])
    site = site_of(queue, store, stream_timeout_ms=60_000)
    await sender.push(*chunks[:2])
    await drain(site, MESSAGES)

    real_now = site.now_ms
    site.now_ms = lambda: real_now() + 60_001
    await drain(site, MESSAGES)
    assert [(m.content, m.state) for m in store.messages()] == [("ab", "interrupted")]
    assert (await total(queue)).open_streams == 0
    site.now_ms = real_now
    await sender.push(chunks[2])
    await drain(site, MESSAGES)
    await sender.push(chunks[3])
    await drain(site, MESSAGES)

    assert [(m.content, m.state) for m in store.messages()] == [("abc", None)]
    counts = await total(queue)
    assert (counts.pending, counts.balanced) == (0, True)


async def test_a_producers_interrupted_end_is_kept_as_such(queue: Queue) -> None:
    store, sender = ListStore(), Sender(queue)
    await sender.push(*sender.chunks(["half an ans"], end="interrupted"))

    await drain(site_of(queue, store), MESSAGES)

    assert [(m.content, m.state) for m in store.messages()] == [("half an ans", "interrupted")]


async def test_more_streams_than_the_bound_lose_no_text(queue: Queue) -> None:
    """With 8 partitions and a bound of 40, this partition keeps 5 open; 30 streams are written in turns."""
    store, sender = ListStore(), Sender(queue)
    site = site_of(queue, store, stream_open_max=40)
    streams = [sender.chunks([f"{n}-{part} " for part in range(4)]) for n in range(30)]
    for part in range(5):
        for stream in streams:
            await sender.push(stream[part])
        await drain(site, MESSAGES)
        assert (await total(queue)).open_streams <= 5 + 30, "the bound is applied by the next batch"

    await drain(site, MESSAGES)

    expected = [(f"{n}-0 {n}-1 {n}-2 {n}-3 ", None) for n in range(30)]
    assert [(m.content, m.state) for m in store.messages()] == expected
    counts = await total(queue)
    assert (counts.pending, counts.open_streams, counts.balanced) == (0, 0, True)


async def test_a_stream_opened_again_under_its_id_is_stored_as_its_last_opening(queue: Queue) -> None:
    """A program that dies in the middle of its work and repeats it cuts its chunks elsewhere."""
    store, sender = ListStore(), Sender(queue)
    first = sender.chunks(["0 1 2 3 4 "], end=None)
    second = [chunk._replace(stream_id=first[0].stream_id) for chunk in sender.chunks(["0 1 ", "2 3 4 5 ", "6 7 "])]
    site = site_of(queue, store)
    await sender.push(*first)
    await drain(site, MESSAGES)
    await sender.push(*second)
    await drain(site, MESSAGES)

    assert [(m.content, m.state) for m in store.messages()] == [("0 1 2 3 4 5 6 7 ", None)]
    counts = await total(queue)
    assert (counts.stored, counts.pending, counts.balanced) == (5, 0, True)


async def test_a_whole_repeat_replaces_a_longer_part(queue: Queue) -> None:
    store, sender = ListStore(), Sender(queue)
    first = sender.chunks(list("abcdefghij"), end="interrupted")
    second = [chunk._replace(stream_id=first[0].stream_id) for chunk in sender.chunks(["abc", "def", "ghijkl"])]
    site = site_of(queue, store)
    await sender.push(*first)
    await drain(site, MESSAGES)
    await sender.push(*second)
    await drain(site, MESSAGES)

    assert [(m.content, m.state) for m in store.messages()] == [("abcdefghijkl", None)]


async def test_a_long_stream_that_was_interrupted_goes_on(queue: Queue) -> None:
    """The text that the store has is one chunk in the buffer, and may be larger than a record."""
    store, sender = ListStore(), Sender(queue)
    texts = ["x" * 5_000_000, "y" * 5_000_000, "z", "!"]
    chunks = sender.chunks(texts)
    site = site_of(queue, store)
    real_now = site.now_ms
    for chunk in chunks[:2]:
        await sender.push(chunk)
    await drain(site, MESSAGES)
    site.now_ms = lambda: real_now() + site.config.stream_timeout_ms + 1
    await drain(site, MESSAGES)
    site.now_ms = real_now
    for chunk in chunks[2:]:
        await sender.push(chunk)
        await drain(site, MESSAGES)

    assert [(m.content, m.state) for m in store.messages()] == [("".join(texts), None)]


async def test_a_refused_view_of_an_open_stream_is_no_dead_letter(queue: Queue) -> None:
    """Its text is in the buffer still; the message that comes is what may be refused."""

    def refuse_views(records: Sequence[Record]) -> None:
        if any(getattr(record, "state", None) == "streaming" for record in records):
            raise StoreRejected("no views here")

    store, sender = ListStore(before=refuse_views), Sender(queue)
    site = site_of(queue, store, stream_policy="snapshots", stream_snapshot_ms=0)
    for chunk in sender.chunks(["a", "b"]):
        await sender.push(chunk)
        await drain(site, MESSAGES)

    assert [(m.content, m.state) for m in store.messages()] == [("ab", None)]
    counts = await total(queue)
    assert (counts.stored, counts.dead, counts.pending, counts.balanced) == (3, 0, 0, True)


async def test_a_beginning_that_comes_back_from_the_dead_is_put_before_its_end(queue: Queue) -> None:
    """The interrupted head was refused and is replayed after the tail has come."""
    store, sender = ListStore(), Sender(queue)
    chunks = sender.chunks(["a", "b"])
    site = site_of(queue, store)
    await sender.push(*chunks[1:])
    await drain(site, MESSAGES)
    head = to_message(fold(chunks[:1]), "interrupted")
    await store.write([head])
    real_now = site.now_ms
    site.now_ms = lambda: real_now() + 25 * 3600 * 1000
    await drain(site, MESSAGES)

    assert [m.content for m in store.messages()] == ["ab"]


async def test_snapshots_show_the_text_so_far(queue: Queue) -> None:
    store, sender = ListStore(), Sender(queue)
    site = site_of(queue, store, stream_policy="snapshots", stream_snapshot_ms=0)
    chunks = sender.chunks(["a", "b"])
    seen = []
    for chunk in chunks:
        await sender.push(chunk)
        await drain(site, MESSAGES)
        seen.append([(m.content, m.state) for m in store.messages()])

    assert seen == [[("a", "streaming")], [("ab", "streaming")], [("ab", None)]]
    assert (await total(queue)).balanced


async def test_all_chunks_keeps_each_chunk_beside_the_message(queue: Queue) -> None:
    store, sender = ListStore(), Sender(queue)
    await sender.push(*sender.chunks(["a", "b"]))

    await drain(site_of(queue, store, stream_policy="all_chunks"), MESSAGES)

    assert [record.text for record in store.writes[0] if isinstance(record, StreamChunk)] == ["a", "b", ""]
    assert (await total(queue)).balanced


@pytest.mark.parametrize("end", ["complete", "interrupted"])
async def test_a_gap_holds_the_end_back_until_it_is_filled(queue: Queue, end: str) -> None:
    store, sender = ListStore(), Sender(queue)
    chunks = sender.chunks(["a", "b", "c"], end=end)
    await sender.push(chunks[0], chunks[2], chunks[3])
    await drain(site_of(queue, store), MESSAGES)
    assert store.rows == {}

    await sender.push(chunks[1])
    await drain(site_of(queue, store), MESSAGES)

    assert [m.content for m in store.messages()] == ["abc"]
    assert (await total(queue)).balanced
