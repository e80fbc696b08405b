"""A stream whose beginning the store alone has, and whose rest is delivered again after its message is whole."""

from __future__ import annotations

import pytest

from penstock.query import Reader
from penstock.stores.sqlite import SqliteStore
from penstock.wire.ids import format_id
from penstock.wire.queue import Queue
from penstock.wire.records import StreamChunk
from penstock.worker.drain import drain
from penstock.worker.steps import Step
from tests.system.drain_support import MESSAGES, Sender, site_of, total


class Died(BaseException):
    """The worker is gone, without a chance to release anything."""


def die(step: Step) -> None:
    if step is Step.AFTER_STORE:
        raise Died


async def stored_early(queue: Queue, store: SqliteStore, sender: Sender, chunks: list[StreamChunk]) -> None:
    """Have *chunks* stored as an interrupted stream; the queue forgets them."""
    await sender.push(*chunks)
    site = site_of(queue, store, stream_timeout_ms=1)
    await drain(site, MESSAGES)
    site.now_ms = lambda: 10**13
    await drain(site, MESSAGES)


@pytest.mark.parametrize("again", ["at once", "in two parts"])
async def test_it_is_a_repeat_and_waits_for_no_beginning(queue: Queue, store: SqliteStore, again: str) -> None:
    sender = Sender(queue)
    chunks = sender.chunks(["one ", "two ", "three ", "four"])
    await stored_early(queue, store, sender, chunks[:2])
    for chunk in chunks[2:]:
        await sender.push(chunk)
    site = site_of(queue, store)
    site.reached = die
    with pytest.raises(Died):
        await drain(site, MESSAGES)
    await queue.client.delete(queue.keys.lease(MESSAGES))

    settings = {"batch_records": 1} if again == "in two parts" else {}
    await drain(site_of(queue, store, **settings), MESSAGES)

    counts = await total(queue)
    assert (counts.accepted, counts.stored, counts.pending, counts.dead, counts.balanced) == (5, 5, 0, 0, True)
    assert await queue.client.exists(queue.keys.gaps(MESSAGES)) == 0
    message = await Reader(store, None).message(format_id(chunks[0].stream_id))
    assert message is not None
    assert (message.content, message.state) == ("one two three four", "complete")
