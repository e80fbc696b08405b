"""Streams end as they were written, in SQLite, whatever comes between: reordered, repeated, crashed, crowded out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.dlq import replay
from penstock.stores.contract import Fence
from penstock.stores.errors import StoreUnavailable
from penstock.stores.sqlite import SqliteStore
from penstock.wire.queue import Queue
from penstock.wire.records import Record, StreamChunk
from penstock.worker.drain import LeaseLost, drain
from penstock.worker.lanes import LanePaused
from penstock.worker.site import Site
from penstock.worker.steps import Step, go_on
from tests.system.drain_support import MESSAGES, ListStore, Sender, site_of, total


async def drain_and_die(site: Site, at: Step | None) -> None:
    """Drain, but for what follows the first *at*; the lease of the dead runs out."""

    def reached(step: Step) -> None:
        if step is at:
            raise LeaseLost(f"died at {step}")

    site.reached = reached
    assert await drain(site, MESSAGES) is not None
    await site.queue.client.delete(site.queue.keys.lease(MESSAGES))
    # Or the third owner would write in a child process, which is a subject of its own.
    await site.queue.client.hset(site.queue.keys.meta(MESSAGES), "stall", 0)
    site.reached = go_on


async def stored(store: SqliteStore, chunks: Sequence[StreamChunk]) -> tuple[str | None, str | None]:
    row = await store.message(chunks[0].stream_id)
    assert row is not None
    return row.content, row.state


policies = st.sampled_from(["complete_only", "snapshots", "all_chunks"])
deaths = st.sampled_from([None, None, Step.MERGE, Step.BEFORE_STORE, Step.AFTER_STORE, Step.AFTER_TRIM])


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(st.lists(st.text(alphabet="ab é😀\n", max_size=4), max_size=5), min_size=1, max_size=4),
    config=st.fixed_dictionaries({"stream_policy": policies, "stream_open_max": st.sampled_from([8, 1_000])}),
    data=st.data(),
)
async def test_any_delivery_ends_as_what_was_written(
    queue: Queue, store: SqliteStore, texts: list[list[str]], config: dict[str, Any], data: st.DataObject
) -> None:
    """With room for 8 streams in 8 partitions one stays open here; the others are stored early, again and again."""
    sender = Sender(queue)
    site = site_of(queue, store, stream_snapshot_ms=0, batch_records=7, lease_ms=60_000, **config)
    streams = [sender.chunks(parts) for parts in texts]
    chunks = [chunk for stream in streams for chunk in stream]
    repeats = data.draw(st.lists(st.sampled_from(chunks), max_size=4))
    order = data.draw(st.permutations(chunks + repeats))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(order)), max_size=4)))
    for begin, end in zip([0, *cuts], [*cuts, len(order)], strict=True):
        if order[begin:end]:
            await sender.push(*order[begin:end])
        await drain_and_die(site, data.draw(deaths))
    assert await drain(site, MESSAGES) is not None
    assert (await total(queue)).balanced

    # What was crowded out in the middle of a gap is a dead letter by now.
    await replay(queue)
    assert await drain(site_of(queue, store), MESSAGES) is not None

    assert [await stored(store, stream) for stream in streams] == [("".join(parts), "complete") for parts in texts]
    counts = await total(queue)
    assert (counts.dead, counts.balanced) == (0, True)


async def test_an_end_without_chunks_is_an_empty_message(queue: Queue, store: SqliteStore) -> None:
    sender = Sender(queue)
    chunks = sender.chunks([])
    await sender.push(*chunks)

    await drain(site_of(queue, store), MESSAGES)

    assert await stored(store, chunks) == ("", "complete")


async def test_views_of_a_stream_wait_for_a_store_that_is_away_and_go_on_from_there(queue: Queue) -> None:
    away = False

    def refuse(_: Sequence[Record]) -> None:
        if away:
            raise StoreUnavailable("away")

    store, sender = ListStore(before=refuse), Sender(queue)
    site = site_of(queue, store, stream_policy="snapshots", stream_snapshot_ms=0)
    chunks = sender.chunks(["a", "b", "c"])
    await sender.push(chunks[0])
    assert await drain(site, MESSAGES) is not None
    away = True
    await sender.push(chunks[1])
    with pytest.raises(LanePaused):
        assert await drain(site, MESSAGES) is not None
    assert [(row.content, row.state) for row in store.messages()] == [("a", "streaming")]
    assert (await total(queue)).balanced

    away = False
    again = site_of(queue, store, stream_policy="snapshots", stream_snapshot_ms=0)
    await drain(again, MESSAGES)
    assert [(row.content, row.state) for row in store.messages()] == [("ab", "streaming")]
    await sender.push(*chunks[2:])
    await drain(again, MESSAGES)

    assert [(row.content, row.state) for row in store.messages()] == [("abc", None)]
    counts = await total(queue)
    assert (counts.stored, counts.pending, counts.dead, counts.balanced) == (4, 0, 0, True)


async def test_a_worker_that_loses_its_lease_in_a_stream_leaves_it_to_the_next(
    queue: Queue, store: SqliteStore
) -> None:
    """The first has written and not committed; the second does both; the first comes back too late."""
    sender = Sender(queue)
    chunks = sender.chunks(["a", "b"])
    await sender.push(*chunks)
    written, go_on = asyncio.Event(), asyncio.Event()
    slow = SlowStore(store, written, go_on)
    first = asyncio.create_task(drain(site_of(queue, slow, lease_ms=1_000), MESSAGES))
    await written.wait()
    await queue.client.delete(queue.keys.lease(MESSAGES))

    await drain(site_of(queue, store), MESSAGES)
    go_on.set()
    await first

    assert await stored(store, chunks) == ("ab", "complete")
    counts = await total(queue)
    assert (counts.accepted, counts.stored, counts.pending, counts.balanced) == (3, 3, 0, True)


class SlowStore(ListStore):
    """Writes to another store, and returns when it may."""

    def __init__(self, store: SqliteStore, written: asyncio.Event, go_on: asyncio.Event) -> None:
        super().__init__()
        self._store, self._written, self._go_on = store, written, go_on

    async def write(self, records: Sequence[Record], fence: Fence | None = None) -> int:
        count = await self._store.write(records, fence)
        self._written.set()
        await self._go_on.wait()
        return count
