"""A stream that is whole, and that is opened again under its id by a program which dies before the end."""

from __future__ import annotations

import pytest

from penstock.query import Reader
from penstock.stores.sqlite import SqliteStore
from penstock.wire.ids import format_id
from penstock.wire.queue import Queue
from penstock.wire.records import StreamChunk
from penstock.wire.stream_calls import GAP_PATIENCE_MS
from penstock.worker.drain import drain
from tests.system.drain_support import MESSAGES, Sender, site_of, total


def begun_again(sender: Sender, stream_id: bytes, texts: str) -> list[StreamChunk]:
    return [chunk._replace(stream_id=stream_id) for chunk in sender.chunks(list(texts), end=None)]


async def seen(store: SqliteStore, stream_id: bytes) -> tuple[str | None, str | None] | None:
    message = await Reader(store, None).message(format_id(stream_id))
    return None if message is None else (message.content, message.state)


@pytest.mark.parametrize("policy", ["complete_only", "snapshots"])
@pytest.mark.parametrize("lost", [None, 1, 4], ids=["all there", "with a gap", "with a gap behind as much"])
@pytest.mark.parametrize("order", ["one after the other", "together"])
async def test_its_part_takes_nothing_from_the_whole(
    queue: Queue, store: SqliteStore, order: str, lost: int | None, policy: str
) -> None:
    """Its chunks are smaller: more of them than the whole has."""
    sender = Sender(queue)
    site = site_of(queue, store, stream_timeout_ms=1_000, stream_policy=policy, stream_snapshot_ms=1)
    whole = sender.chunks(["0123", "4567", "89"])
    stream_id = whole[0].stream_id
    part = [chunk for chunk in begun_again(sender, stream_id, "012345") if chunk.seq != lost]
    await sender.push(*whole)
    if order == "one after the other":
        await drain(site, MESSAGES)
    for chunk in part:
        await sender.push(chunk)
    await drain(site, MESSAGES)
    real_now = site.now_ms
    for ahead_ms in (2_000, GAP_PATIENCE_MS + 4_000):
        site.now_ms = lambda ahead_ms=ahead_ms: real_now() + ahead_ms  # type: ignore[misc] # mypy infers no lambda's default
        await drain(site, MESSAGES)

    assert await seen(store, stream_id) == ("0123456789", "complete")
    counts = await total(queue)
    assert (counts.pending, counts.open_streams, counts.balanced) == (0, 0, True)
