"""Dead letters: found by their record, replayed or purged once, counted all the while."""

from __future__ import annotations

import asyncio

from penstock.wire.entries import Counts, DeadEntry
from penstock.wire.frames import Frame
from penstock.wire.queue import Queue
from tests.system.queue_support import WHERE, Sender, letter, meta, owned, settling

FRAME = Frame(b"again", 1)


async def counts(queue: Queue) -> Counts:
    return (await queue.counts())[WHERE]


async def bury(queue: Queue, *record_ids: str) -> list[DeadEntry]:
    """Dead letters of the records, and a disarmed, empty log."""
    await Sender(queue, producer_id="+".join(record_ids)).push(len(record_ids))
    lease = await owned(queue)
    letters = [letter(record_id) for record_id in record_ids]
    await queue.commit(settling(lease, await queue.read(WHERE, 10), dead=len(letters), letters=letters))
    await queue.release(lease)
    return (await queue.dead_letters(WHERE, 100))[-len(record_ids) :]


async def test_letters_are_kept_whole_and_in_order(queue: Queue) -> None:
    entries = await bury(queue, "id-1", "id-2")

    assert [entry.letter for entry in entries] == [letter("id-1"), letter("id-2")]
    seen = await counts(queue)
    assert (seen.dead, seen.pending, seen.stored, seen.balanced) == (2, 0, 0, True)


async def test_letters_are_listed_in_pages(queue: Queue) -> None:
    one, two, three = await bury(queue, "id-1", "id-2", "id-3")

    assert await queue.dead_letters(WHERE, 2) == [one, two]
    assert await queue.dead_letters(WHERE, 2, after=two.entry_id) == [three]
    assert await queue.newest_letter(WHERE) == three.entry_id


async def test_who_waits_learns_which_of_its_records_are_dead_and_why(queue: Queue) -> None:
    await bury(queue, "id-1", "id-2")

    _, dead = (await queue.settled({WHERE: ["id-2", "id-9", "id-1"]}))[WHERE]

    assert dead == {"id-2": {"reason": "id-2"}, "id-1": {"reason": "id-1"}}


async def test_letter_that_stands_for_many_counts_for_many(queue: Queue) -> None:
    await Sender(queue).push(7)
    lease = await owned(queue)
    await queue.commit(settling(lease, await queue.read(WHERE, 1), dead=7, letters=[letter("frame", 7)]))

    assert ((await counts(queue)).dead, (await counts(queue)).balanced) == (7, True)
    (entry,) = await queue.dead_letters(WHERE, 1)
    assert await queue.purge(entry)
    assert ((await counts(queue)).purged, (await counts(queue)).balanced) == (7, True)


async def test_replayed_letter_is_pending_again_and_rings(queue: Queue) -> None:
    (entry,) = await bury(queue, "id-1")

    assert await queue.replay(entry, FRAME) == (True, 2)

    assert (await meta(queue))["armed"] == "1"
    assert [one.frame for one in await queue.read(WHERE, 10)] == [b"again"]
    seen = await counts(queue)
    assert (seen.accepted, seen.pending, seen.dead, seen.balanced) == (1, 1, 0, True)
    assert (await queue.settled({WHERE: ["id-1"]}))[WHERE][1] == {}


async def test_replay_into_an_armed_partition_rings_nobody(queue: Queue) -> None:
    (entry,) = await bury(queue, "id-1")
    await Sender(queue, producer_id="late").push(1)

    assert await queue.replay(entry, FRAME) == (True, 0)


async def test_letter_is_replayed_once_by_many(queue: Queue) -> None:
    (entry,) = await bury(queue, "id-1")

    replies = await asyncio.gather(*(queue.replay(entry, FRAME) for _ in range(5)))

    assert sorted(moved for moved, _ in replies) == [False] * 4 + [True]
    assert ((await counts(queue)).pending, (await counts(queue)).balanced) == (1, True)


async def test_purged_letter_is_gone_but_counted(queue: Queue) -> None:
    one, two = await bury(queue, "id-1", "id-2")

    assert await queue.purge(one)
    assert not await queue.purge(one)

    assert await queue.replay(one, FRAME) == (False, 0)
    assert await queue.dead_letters(WHERE, 10) == [two]
    seen = await counts(queue)
    assert (seen.accepted, seen.dead, seen.purged, seen.balanced) == (2, 1, 1, True)


async def test_record_that_died_twice_is_still_found_when_its_first_letter_goes(queue: Queue) -> None:
    (first,) = await bury(queue, "same")
    await Sender(queue, producer_id="second").push(1)
    lease = await owned(queue)
    await queue.commit(settling(lease, await queue.read(WHERE, 10), dead=1, letters=[letter("same")]))
    _, second = await queue.dead_letters(WHERE, 10)

    assert await queue.purge(first)

    assert await queue.dead_letter("same") == second
    assert (await queue.settled({WHERE: ["same"]}))[WHERE][1] == {"same": {"reason": "same"}}
