"""Streams with chunks that come late or never: bounded, stored up to the gap, mended, and never joined over a hole."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from penstock.dlq import list_letters, replay
from penstock.wire.entries import Counts
from penstock.wire.queue import Queue
from penstock.wire.records import StreamChunk
from penstock.wire.stream_calls import GAP_PATIENCE_MS
from penstock.worker.drain import drain
from penstock.worker.site import Site
from penstock.worker.streams import GAP
from tests.system.drain_support import MESSAGES, ListStore, Sender, site_of, total

TIMEOUT_MS = 60_000


class Clock:
    """The worker's, which can be moved ahead."""

    def __init__(self, site: Site) -> None:
        self._real: Callable[[], int] = site.now_ms
        self.ahead_ms = 0
        site.now_ms = self.now_ms

    def now_ms(self) -> int:
        return self._real() + self.ahead_ms


def shown(store: ListStore) -> list[tuple[str | None, str | None]]:
    return [(message.content, message.state) for message in store.messages()]


async def settled(queue: Queue) -> Counts:
    counts = await total(queue)
    assert counts.balanced
    return counts


async def stuck(queue: Queue) -> int:
    return int(await queue.client.zcard(queue.keys.stuck(MESSAGES)))


async def opened(queue: Queue) -> int:
    return int(await queue.client.zcard(queue.keys.open(MESSAGES)))


def without(chunks: Sequence[StreamChunk], *seqs: int) -> list[StreamChunk]:
    return [chunk for chunk in chunks if chunk.seq not in seqs]


async def test_a_chunk_that_is_lost_leaves_the_text_before_it_and_the_rest_where_it_is(queue: Queue) -> None:
    store, sender = ListStore(), Sender(queue)
    site = site_of(queue, store, stream_timeout_ms=TIMEOUT_MS)
    clock = Clock(site)
    chunks = sender.chunks(["a", "b", "c"])
    await sender.push(*without(chunks, 1))
    await drain(site, MESSAGES)

    clock.ahead_ms = TIMEOUT_MS + 1
    await drain(site, MESSAGES)

    assert shown(store) == [("a", "interrupted")]
    assert ((await settled(queue)).buffered, await stuck(queue), await opened(queue)) == (3, 1, 0)
    writes = len(store.writes)
    for _ in range(3):
        clock.ahead_ms += TIMEOUT_MS + 1
        await drain(site, MESSAGES)
    assert len(store.writes) == writes, "it is put aside, and not taken up again and again"


async def test_a_late_chunk_mends_what_was_put_aside(queue: Queue) -> None:
    store, sender = ListStore(), Sender(queue)
    site = site_of(queue, store, stream_timeout_ms=TIMEOUT_MS)
    clock = Clock(site)
    chunks = sender.chunks(["a", "b", "c"])
    await sender.push(*without(chunks, 1))
    await drain(site, MESSAGES)
    clock.ahead_ms = TIMEOUT_MS + 1
    await drain(site, MESSAGES)

    await sender.push(chunks[1])
    await drain(site, MESSAGES)

    assert shown(store) == [("abc", None)]
    assert ((await settled(queue)).pending, await stuck(queue)) == (0, 0)


async def test_what_waited_for_a_day_is_a_dead_letter_and_not_joined_over_the_hole(queue: Queue) -> None:
    store, sender = ListStore(), Sender(queue)
    site = site_of(queue, store, stream_timeout_ms=TIMEOUT_MS)
    clock = Clock(site)
    chunks = sender.chunks(["a", "b", "c", "d"])
    await sender.push(*without(chunks, 1))
    await drain(site, MESSAGES)
    clock.ahead_ms = TIMEOUT_MS + 1
    await drain(site, MESSAGES)

    clock.ahead_ms = GAP_PATIENCE_MS + 2 * TIMEOUT_MS
    await drain(site, MESSAGES)

    assert shown(store) == [("a", "interrupted")]
    (letter,) = [each async for each in list_letters(queue)]
    assert (letter.error_kind, letter.record_kind, letter.records) == (GAP, "stream_chunk", 3)
    assert (letter.record["seq"], letter.record["text"], letter.record["end"]) == (2, "cd", "complete")
    assert "chunk 1 of stream" in letter.reason
    counts = await settled(queue)
    assert (counts.stored, counts.dead, counts.pending, counts.open_streams) == (1, 3, 0, 0)


async def test_what_was_given_up_is_whole_when_it_is_replayed_beside_the_missing_chunk(queue: Queue) -> None:
    store, sender = ListStore(), Sender(queue)
    site = site_of(queue, store, stream_timeout_ms=TIMEOUT_MS)
    clock = Clock(site)
    chunks = sender.chunks(["a", "b", "c", "d", "e"])
    await sender.push(*without(chunks, 1, 3))
    await drain(site, MESSAGES)
    for ahead_ms in (TIMEOUT_MS + 1, GAP_PATIENCE_MS + 2 * TIMEOUT_MS):
        clock.ahead_ms = ahead_ms
        await drain(site, MESSAGES)
    assert (await settled(queue)).dead == 3
    clock.ahead_ms = 0

    assert (await replay(queue)).letters == 2
    await drain(site, MESSAGES)
    await sender.push(chunks[3], chunks[1])
    await drain(site, MESSAGES)

    assert shown(store) == [("abcde", None)]
    counts = await settled(queue)
    assert (counts.stored, counts.dead, counts.pending) == (6, 0, 0)


async def test_a_stream_whose_beginning_is_lost_shows_that_there_was_one(queue: Queue) -> None:
    store, sender = ListStore(), Sender(queue)
    site = site_of(queue, store, stream_timeout_ms=TIMEOUT_MS)
    clock = Clock(site)
    chunks = sender.chunks(["a", "b"])
    await sender.push(*chunks[1:])
    await drain(site, MESSAGES)

    clock.ahead_ms = TIMEOUT_MS + 1
    await drain(site, MESSAGES)
    assert shown(store) == [("", "interrupted")]
    await sender.push(chunks[0])
    await drain(site, MESSAGES)

    assert shown(store) == [("ab", None)]
    assert (await settled(queue)).pending == 0


async def test_more_streams_with_gaps_than_the_bound_lose_no_text(queue: Queue) -> None:
    """With 8 partitions and a bound of 40 this one keeps 5 open and 5 put aside; 30 streams lack a chunk each."""
    store, sender = ListStore(), Sender(queue)
    site = site_of(queue, store, stream_open_max=40)
    streams = [sender.chunks([f"{n}-{part} " for part in range(3)]) for n in range(30)]
    for chunks in streams:
        await sender.push(*without(chunks, 1))
    await drain(site, MESSAGES)

    assert ((await opened(queue)), (await stuck(queue))) == (5, 5)
    assert {content for content, _ in shown(store)} == {f"{n}-0 " for n in range(25)}
    counts = await settled(queue)
    assert (counts.dead, counts.buffered) == (20 * 2, 10 * 3)

    roomy = site_of(queue, store, stream_open_max=4_000)
    await replay(queue)
    await drain(roomy, MESSAGES)
    await sender.push(*(chunks[1] for chunks in streams))
    await drain(roomy, MESSAGES)

    assert shown(store) == [(f"{n}-0 {n}-1 {n}-2 ", None) for n in range(30)]
    counts = await settled(queue)
    assert (counts.accepted, counts.stored, counts.dead, counts.pending) == (30 * 4, 30 * 4, 0, 0)


@pytest.mark.parametrize("batch_bytes", [10, 16_000_000])
async def test_a_bound_is_kept_when_the_log_is_empty_however_many_come_at_once(queue: Queue, batch_bytes: int) -> None:
    store, sender = ListStore(), Sender(queue)
    site = site_of(queue, store, stream_open_max=40, batch_records=300, batch_bytes=batch_bytes)
    streams = [sender.chunks([f"{n} ", "end"]) for n in range(400)]
    await sender.push(*(chunks[0] for chunks in streams))

    await drain(site, MESSAGES)

    assert await opened(queue) == 5
    await sender.push(*(chunk for chunks in streams for chunk in chunks[1:]))
    await drain(site, MESSAGES)
    assert shown(store) == [(f"{n} end", None) for n in range(400)]
    assert (await settled(queue)).pending == 0
