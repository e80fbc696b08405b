"""Commits: a prefix and what became of it, applied whole by its owner or not at all."""

from __future__ import annotations

import asyncio

import pytest

from penstock.wire.entries import APPEND, APPEND_ENDED, FORGET, PARK, Commit, Counts, Entry, Lease, StreamChange
from penstock.wire.ids import format_id
from penstock.wire.queue import Queue
from tests.system.queue_support import WHERE, Sender, everything, expire, letter, meta, owned, settling

STREAM, OTHER = b"s" * 16, b"o" * 16


async def counts(queue: Queue) -> Counts:
    return (await queue.counts())[WHERE]


@pytest.mark.parametrize("taken", [1, 2, 3])
async def test_commit_trims_exactly_its_prefix(queue: Queue, taken: int) -> None:
    await Sender(queue).push(1, 2, 3)
    await Sender(queue, producer_id="p2").push(4)
    entries = await queue.read(WHERE, 10)
    lease = await owned(queue)

    assert await queue.commit(settling(lease, entries[:taken]))

    assert await queue.read(WHERE, 10) == entries[taken:]
    seen = await counts(queue)
    stored = sum(entry.records for entry in entries[:taken])
    assert (seen.accepted, seen.stored, seen.pending, seen.counted) == (10, stored, 10 - stored, 10 - stored)
    assert seen.balanced


async def test_entries_pushed_while_a_batch_was_written_stay(queue: Queue) -> None:
    sender = Sender(queue)
    await sender.push(1)
    lease = await owned(queue)
    batch = await queue.read(WHERE, 10)
    late = await sender.push(1)

    await queue.commit(settling(lease, batch))

    assert [entry.id for entry in await queue.read(WHERE, 10)] == [late.entry_id]


@pytest.mark.parametrize("taken_over", [False, True])
async def test_commit_of_a_lost_lease_does_nothing_at_all(queue: Queue, taken_over: bool) -> None:
    await Sender(queue).push(2, 1)
    lost = await owned(queue)
    entries = await queue.read(WHERE, 10)
    await expire(queue)
    if taken_over:
        await owned(queue)
    before = await everything(queue)

    applied = await queue.commit(
        settling(
            lost,
            entries,
            dead=1,
            buffered=1,
            letters=[letter("id-1")],
            streams=[StreamChange(STREAM, APPEND, [b"chunk"])],
        )
    )

    assert not applied
    assert await everything(queue) == before


@pytest.mark.parametrize(
    "read", [Entry("1-1", b"p1/1/0", 1), Entry("", b"p2/1/0", 1), Entry("", b"p1/1/0 and more", 1)]
)
async def test_commit_of_what_the_log_does_not_hold_does_nothing_at_all(queue: Queue, read: Entry) -> None:
    """As after a failover: the entry is not there, or another one has its id."""
    await Sender(queue).push(1)
    lease = await owned(queue)
    (held,) = await queue.read(WHERE, 10)
    before = await everything(queue)

    assert not await queue.commit(settling(lease, [Entry(read.id or held.id, read.frame, 1)]))

    assert await everything(queue) == before


async def test_repeated_commit_does_nothing_more(queue: Queue) -> None:
    """As after a lost answer."""
    sender = Sender(queue)
    await sender.push(3)
    lease = await owned(queue)
    commit = settling(
        lease,
        await queue.read(WHERE, 10),
        dead=1,
        buffered=1,
        letters=[letter("id-1")],
        streams=[StreamChange(STREAM, APPEND, [b"chunk"])],
    )
    assert await queue.commit(commit)
    await sender.push(1)
    before = await everything(queue)

    assert await queue.commit(commit)

    assert await everything(queue) == before


async def test_next_commit_with_its_own_token_is_applied(queue: Queue) -> None:
    await Sender(queue).push(1, 1)
    lease = await owned(queue)
    first, second = await queue.read(WHERE, 10)

    assert await queue.commit(settling(lease, [first]))
    assert await queue.commit(settling(lease, [second]))

    assert (await counts(queue)).stored == 2


async def test_settled_id_is_the_last_of_the_prefix(queue: Queue) -> None:
    await Sender(queue).push(1, 1)
    entries = await queue.read(WHERE, 10)
    assert (await queue.settled({WHERE: []}))[WHERE].upto == "0-0"

    lease = await owned(queue)
    await queue.commit(settling(lease, entries[:1]))
    assert (await queue.settled({WHERE: []}))[WHERE].upto == entries[0].id

    await queue.commit(settling(lease, [], streams=[StreamChange(STREAM, FORGET)]))
    assert (await queue.settled({WHERE: []}))[WHERE].upto == entries[0].id


def test_commit_that_does_not_add_up_is_never_sent() -> None:
    with pytest.raises(ValueError, match="3 records accounts for 1 stored, 0 skipped, 1 dead and 0 buffered"):
        Commit(lease=Lease(WHERE, 1, 0, 0), token="t", records=3, stored=1, dead=1)  # noqa: S106 - no secret


# -- the buffers of open streams ----------------------------------------------------------------


async def test_chunks_are_appended_in_order_over_several_commits(queue: Queue) -> None:
    await Sender(queue).push(2, 1)
    lease = await owned(queue)
    first, second = await queue.read(WHERE, 10)

    change = StreamChange(STREAM, APPEND, [b"a\0\xff", b"b"])
    await queue.commit(settling(lease, [first], buffered=2, streams=[change]))
    await queue.commit(settling(lease, [second], buffered=1, streams=[StreamChange(STREAM, APPEND, [b"c"])]))

    assert await queue.stream_chunks(WHERE, [STREAM, OTHER]) == {STREAM: [b"a\0\xff", b"b", b"c"], OTHER: []}
    assert await queue.stream_states(WHERE, [STREAM, OTHER]) == {STREAM: (True, False), OTHER: (False, False)}
    seen = await counts(queue)
    assert (seen.pending, seen.buffered, seen.stored, seen.open_streams, seen.balanced) == (3, 3, 0, 1, True)


async def test_settled_stream_is_forgotten_with_all_its_keys(queue: Queue) -> None:
    await Sender(queue).push(2)
    lease = await owned(queue)
    gap = StreamChange(STREAM, APPEND_ENDED, [b"a", b"c"])
    await queue.commit(settling(lease, await queue.read(WHERE, 10), buffered=2, streams=[gap]))
    assert await queue.stream_states(WHERE, [STREAM]) == {STREAM: (True, True)}

    done = settling(lease, [], stored=2, buffered=-2, streams=[StreamChange(STREAM, FORGET)])
    assert await queue.commit(done)

    assert await queue.stream_states(WHERE, [STREAM]) == {STREAM: (False, False)}
    assert not await queue.client.exists(
        queue.keys.buffer(WHERE, STREAM), queue.keys.open(WHERE), queue.keys.gaps(WHERE)
    )
    seen = await counts(queue)
    assert (seen.accepted, seen.stored, seen.pending, seen.open_streams, seen.balanced) == (2, 2, 0, 0, True)


async def test_several_streams_in_one_commit_keep_apart(queue: Queue) -> None:
    await Sender(queue).push(3)
    lease = await owned(queue)
    changes = [StreamChange(STREAM, APPEND, [b"a", b"b"]), StreamChange(OTHER, APPEND_ENDED, [b"z"])]

    await queue.commit(settling(lease, await queue.read(WHERE, 10), buffered=3, streams=changes))

    assert await queue.stream_chunks(WHERE, [OTHER, STREAM]) == {OTHER: [b"z"], STREAM: [b"a", b"b"]}
    assert await queue.stream_states(WHERE, [OTHER, STREAM]) == {OTHER: (True, True), STREAM: (True, False)}


async def test_idle_streams_are_those_without_news_and_the_idlest_beyond_the_limit(queue: Queue) -> None:
    await Sender(queue).push(3)
    lease = await owned(queue)
    streams = [bytes([number]) * 16 for number in range(3)]
    changes = [StreamChange(stream, APPEND, [b"x"]) for stream in streams]
    await queue.commit(settling(lease, await queue.read(WHERE, 10), buffered=3, streams=changes))
    scores = {format_id(stream): 100 * at for at, stream in enumerate(streams, 1)}
    await queue.client.zadd(queue.keys.open(WHERE), scores)

    assert await queue.due_streams(WHERE, 0, 0, keep=3, limit=10) == ([], [], False)
    assert await queue.due_streams(WHERE, 150, 0, keep=3, limit=10) == (streams[:1], [], False)
    assert await queue.due_streams(WHERE, 0, 0, keep=1, limit=10) == (streams[:2], [], False)
    assert await queue.due_streams(WHERE, 300, 0, keep=0, limit=2) == (streams[:2], [], True)


async def test_a_stuck_stream_counts_no_more_as_open_until_it_has_news(queue: Queue) -> None:
    await Sender(queue).push(1)
    await Sender(queue, producer_id="late").push(1)
    lease = await owned(queue)
    first, second = await queue.read(WHERE, 10)
    await queue.commit(settling(lease, [first], buffered=1, streams=[StreamChange(STREAM, APPEND_ENDED, [b"b"])]))

    await queue.commit(settling(lease, [], streams=[StreamChange(STREAM, PARK)]))
    assert await queue.due_streams(WHERE, 2**60, 0, keep=1, limit=10) == ([], [], False)
    assert await queue.due_streams(WHERE, 0, 2**60, keep=1, limit=10) == ([], [STREAM], False)
    assert await queue.due_streams(WHERE, 0, 0, keep=0, limit=10) == ([], [STREAM], False)
    assert await queue.stream_states(WHERE, [STREAM]) == {STREAM: (True, True)}
    assert ((await counts(queue)).open_streams, (await counts(queue)).balanced) == (1, True)

    await queue.commit(settling(lease, [second], buffered=1, streams=[StreamChange(STREAM, APPEND, [b"a"])]))
    assert await queue.due_streams(WHERE, 0, 0, keep=0, limit=10) == ([STREAM], [], False)
    assert await queue.stream_chunks(WHERE, [STREAM]) == {STREAM: [b"b", b"a"]}

    await queue.commit(settling(lease, [], streams=[StreamChange(STREAM, PARK)]))
    await queue.commit(settling(lease, [], stored=2, buffered=-2, streams=[StreamChange(STREAM, FORGET)]))
    assert not await queue.client.exists(queue.keys.stuck(WHERE), queue.keys.open(WHERE), queue.keys.gaps(WHERE))


async def test_silent_stream_needs_a_drain_though_the_log_is_empty(queue: Queue) -> None:
    await Sender(queue).push(1)
    lease = await owned(queue)
    change = StreamChange(STREAM, APPEND, [b"x"])
    await queue.commit(settling(lease, await queue.read(WHERE, 10), buffered=1, streams=[change]))
    await queue.release(lease)
    (last_news_ms,) = [score for _, score in await queue.client.zrange(queue.keys.open(WHERE), 0, -1, withscores=True)]

    assert await queue.needing([WHERE], int(last_news_ms) - 1) == []
    assert await queue.needing([WHERE], int(last_news_ms)) == [(WHERE, 1)]


# -- counted at every instant -------------------------------------------------------------------


async def test_counts_add_up_at_every_instant(queue: Queue) -> None:
    done = asyncio.Event()
    looks = 0

    async def push(number: int) -> None:
        sender = Sender(queue, producer_id=f"p{number}")
        for size in range(1, 41):
            await sender.push(size, 1)

    async def drain() -> None:
        lease = await owned(queue)
        open_chunks = 0
        while not done.is_set() or await queue.read(WHERE, 1):
            entries = await queue.read(WHERE, 3)
            if not entries:
                continue
            changes = [StreamChange(STREAM, APPEND, [b"x"]), StreamChange(OTHER, FORGET)]
            letters = [letter(entries[0].id)]
            assert await queue.commit(
                settling(lease, entries, dead=1, buffered=1 - open_chunks, letters=letters, streams=changes)
            )
            open_chunks = 1

    async def watch() -> None:
        nonlocal looks
        while not done.is_set():
            assert [where for where, each in (await queue.counts()).items() if not each.balanced] == []
            looks += 1

    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        work = [tasks.create_task(push(number)) for number in range(3)]
        tasks.create_task(watch())
        tasks.create_task(drain())
        await asyncio.wait(work)
        done.set()

    total = sum((await queue.counts()).values(), Counts())
    assert looks > 5
    assert total.balanced
    assert (total.accepted, total.pending, total.buffered) == (3 * (820 + 40), 1, 1)


async def test_counts_tell_age_entries_and_leases(queue: Queue) -> None:
    assert (await counts(queue)).oldest_ms is None
    pushed = await Sender(queue).push(2, 1)
    await owned(queue)

    seen = await counts(queue)

    assert (seen.entries, seen.leased) == (2, 1)
    assert seen.oldest_ms == int(pushed.entry_id.partition("-")[0])


async def test_long_log_is_counted_by_its_counter_alone(queue: Queue) -> None:
    await Sender(queue).push(*[1] * 129)

    seen = await counts(queue)

    assert (seen.counted, seen.pending, seen.entries, seen.balanced) == (None, 129, 129, True)
    assert (seen + Counts()).counted is None


async def test_log_that_lost_an_entry_does_not_add_up(queue: Queue) -> None:
    """Somebody's hand in the data: the audit must show it."""
    await Sender(queue).push(1, 2)
    (first, _) = await queue.read(WHERE, 10)

    await queue.client.xdel(queue.keys.log(WHERE), first.id)

    assert not (await counts(queue)).balanced


async def test_token_and_epoch_are_kept_for_a_restart(queue: Queue) -> None:
    await Sender(queue).push(1)
    lease = await owned(queue)
    commit = settling(lease, await queue.read(WHERE, 1))
    await queue.commit(commit)

    held = await meta(queue)
    assert (held["token"], held["epoch"], held["done"]) == (commit.token, str(lease.epoch), commit.last_id)
