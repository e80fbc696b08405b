"""Dead letters: found by their record, replayed or purged once, counted all the while."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from penstock.wire.entries import APPEND_ENDED, FORGET, Counts, DeadEntry, Entry, StreamChange
from penstock.wire.frames import Frame
from penstock.wire.ids import format_id
from penstock.wire.inquiry import Buried, Inquiry, trace_of, trace_of_stream
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

    asked = [Inquiry(record_id, "1-0") for record_id in ("id-2", "id-9", "id-1")]
    answer = (await queue.settled({WHERE: asked}))[WHERE]

    assert answer.buried == {0: Buried("id-2", {"reason": "id-2"}), 2: Buried("id-1", {"reason": "id-1"})}
    assert not answer.held


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
    assert (await queue.settled({WHERE: [Inquiry("id-1", "1-0")]}))[WHERE].buried == {}


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
    answer = (await queue.settled({WHERE: [Inquiry("same", "1-0")]}))[WHERE]
    assert answer.buried == {0: Buried("same", {"reason": "same"})}


# -- what receipts learn ------------------------------------------------------------------------


async def pushed(queue: Queue, producer_id: str) -> Entry:
    await Sender(queue, producer_id=producer_id).push(1)
    return (await queue.read(WHERE, 10))[-1]


async def settle(queue: Queue, dead: str = "", traced: str = "", replayed: Sequence[str] = ()) -> None:
    """Settle the whole log: as stored, or its one record as the letter *dead*."""
    lease = await owned(queue)
    letters = [letter(dead)] if dead else []
    traces = [traced] if traced else []
    entries = await queue.read(WHERE, 10)
    commit = settling(lease, entries, dead=len(letters), letters=letters, traces=traces, replayed=replayed)
    assert await queue.commit(commit)
    await queue.release(lease)


def trace(one: Inquiry) -> str:
    """Of the letter that the record would have."""
    if one.opened_us:
        return trace_of_stream(one.opened_us, one.record_id)
    return trace_of(one.entry_id, one.record_id)


async def outcome(queue: Queue, *inquiries: Inquiry) -> list[str]:
    answer = (await queue.settled({WHERE: inquiries}))[WHERE]
    buried = {number: one.letter_id for number, one in answer.buried.items()}
    return [buried.get(number, "held" if number in answer.held else "stored") for number in range(len(inquiries))]


async def test_a_letter_is_of_the_call_that_it_came_from_and_not_of_others_with_its_id(queue: Queue) -> None:
    """Sent, sent again, and a third time; the middle one is refused."""
    places = []
    for number, dead in enumerate(["", "same", ""]):
        entry = await pushed(queue, f"p{number}")
        places.append(entry.id)
        await settle(queue, dead, trace_of(entry.id, "same") if dead else "")

    assert await outcome(queue, *(Inquiry("same", place) for place in places)) == ["stored", "same", "stored"]


async def test_two_letters_of_one_id_are_both_known(queue: Queue) -> None:
    inquiries = []
    for number in range(2):
        entry = await pushed(queue, f"p{number}")
        inquiries.append(Inquiry("same", entry.id))
        await settle(queue, "same", trace(inquiries[-1]))

    assert await outcome(queue, *inquiries) == ["same", "same"]


async def test_all_that_a_damaged_entry_held_is_dead_and_what_lay_beside_it_is_not(queue: Queue) -> None:
    await Sender(queue).push(1, 2, 1)
    before, damaged, after = await queue.read(WHERE, 10)
    lease = await owned(queue)
    traces = [trace_of(damaged.id)]
    letters = [letter("frame", 2)]
    await queue.commit(settling(lease, [before, damaged, after], dead=2, letters=letters, traces=traces))

    asked = [Inquiry("a", before.id), Inquiry("b", damaged.id), Inquiry("c", damaged.id), Inquiry("d", after.id)]
    assert await outcome(queue, *asked) == ["stored", "frame", "frame", "stored"]


@pytest.mark.parametrize("end", ["stored", "same", "purged"])
async def test_a_replayed_record_is_held_until_its_end_is_known(queue: Queue, end: str) -> None:
    first = await pushed(queue, "p")
    inquiry = Inquiry("same", first.id)
    await settle(queue, "same", trace(inquiry))
    (entry,) = await queue.dead_letters(WHERE, 10)
    if end == "purged":
        assert await queue.purge(entry)
    else:
        await queue.replay(entry, FRAME)
        assert await outcome(queue, inquiry) == ["held"]
        (again,) = await queue.read(WHERE, 10)
        assert again.trace == trace(inquiry)
        await settle(queue, end if end == "same" else "", again.trace, replayed=[again.trace])

    assert await outcome(queue, inquiry) == ["same" if end == "same" else "stored"]
    indexed = await queue.client.hlen(queue.keys.dead_index(WHERE))
    assert indexed == (2 if end == "same" else 0)


async def test_a_replay_that_an_older_worker_settled_holds_nobody_for_ever(queue: Queue) -> None:
    first = await pushed(queue, "p")
    inquiry = Inquiry("same", first.id)
    await settle(queue, "same", trace(inquiry))
    (entry,) = await queue.dead_letters(WHERE, 10)
    await queue.replay(entry, FRAME)

    await settle(queue)  # names no replayed trace

    assert await outcome(queue, inquiry) == ["stored"]


async def died_twice_in_one_frame(queue: Queue) -> tuple[Inquiry, list[DeadEntry]]:
    """Two letters with one trace: two calls with one id in one frame, or two pieces of one stream."""
    first = await pushed(queue, "p")
    inquiry = Inquiry("same", first.id)
    lease = await owned(queue)
    traces = [trace(inquiry)] * 2
    letters = [letter("same"), letter("other")]
    await queue.commit(settling(lease, [first], stored=-1, dead=2, letters=letters, traces=traces))
    await queue.release(lease)
    return inquiry, await queue.dead_letters(WHERE, 10)


async def test_a_record_is_dead_while_one_of_the_letters_with_its_trace_is(queue: Queue) -> None:
    inquiry, (one, _) = await died_twice_in_one_frame(queue)

    assert await queue.purge(one)

    assert await outcome(queue, inquiry) == ["other"]


async def test_a_record_is_dead_while_a_letter_of_its_trace_is_left_behind_by_a_replay(queue: Queue) -> None:
    inquiry, (one, _) = await died_twice_in_one_frame(queue)

    await queue.replay(one, FRAME)
    assert await outcome(queue, inquiry) == ["other"]
    await settle(queue, replayed=[trace(inquiry)])

    assert await outcome(queue, inquiry) == ["other"]


async def test_a_record_is_held_until_the_last_replay_of_its_trace_is_settled(queue: Queue) -> None:
    inquiry, letters = await died_twice_in_one_frame(queue)
    for entry in letters:
        await queue.replay(entry, FRAME)
    lease = await owned(queue)
    one, two = await queue.read(WHERE, 10)

    assert await queue.commit(settling(lease, [one], replayed=[one.trace]))
    assert await outcome(queue, inquiry) == ["held"]
    assert await queue.commit(settling(lease, [two], replayed=[two.trace]))

    assert await outcome(queue, inquiry) == ["stored"]
    assert not await queue.client.hlen(queue.keys.dead_index(WHERE))


async def test_a_letter_that_an_older_worker_wrote_of_a_replayed_record_is_known(queue: Queue) -> None:
    first = await pushed(queue, "p")
    inquiry = Inquiry("same", first.id)
    await settle(queue, "same", trace(inquiry))
    (entry,) = await queue.dead_letters(WHERE, 10)
    await queue.replay(entry, FRAME)

    await settle(queue, "same")  # without a trace, and names no replayed one

    assert await outcome(queue, inquiry) == ["same"]


async def test_a_letter_by_an_older_worker_is_of_no_record_that_came_after_it(queue: Queue) -> None:
    first = await pushed(queue, "p1")
    await settle(queue, "same")
    await asyncio.sleep(0.002)  # the letter's own millisecond is over
    second = await pushed(queue, "p2")
    await settle(queue)

    assert await outcome(queue, Inquiry("same", first.id), Inquiry("same", second.id)) == ["same", "stored"]


async def test_a_stream_that_ended_with_a_gap_is_held_until_it_is_settled(queue: Queue) -> None:
    stream, end = bytes(16), await pushed(queue, "p")
    inquiry = Inquiry(format_id(stream), end.id, 1_000)
    lease = await owned(queue)
    changes = [StreamChange(stream, APPEND_ENDED, [b"x"])]
    await queue.commit(settling(lease, [end], buffered=1, streams=changes))
    assert await outcome(queue, inquiry) == ["held"]

    changes = [StreamChange(stream, FORGET)]
    letters = [letter("stream")]
    done = settling(lease, [], buffered=-1, dead=1, stored=0, letters=letters, traces=[trace(inquiry)], streams=changes)
    await queue.commit(done)

    assert await outcome(queue, inquiry, inquiry._replace(opened_us=2_000)) == ["stream", "stored"]
