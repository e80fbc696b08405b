"""Dead letters on a real queue: what is listed, replayed and purged, and that the counts go on adding up."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import msgpack
import pytest

from penstock import dlq
from penstock.dlq.letters import FIRST_PAGE
from penstock.dlq.retention import expire
from penstock.wire import building
from penstock.wire.entries import Counts, DeadEntry
from penstock.wire.errors import InvalidRecord
from penstock.wire.frames import decode_frame, encode, frame_of
from penstock.wire.ids import RisingClock, format_id, from_us
from penstock.wire.keys import Partition
from penstock.wire.queue import Queue
from penstock.wire.records import Record
from penstock.wire.tasks import end_task
from tests.system.letter_support import DIED_MS, bury, letter

CLOCK = RisingClock()
MESSAGES = Partition("messages", 0)
LOGS = Partition("logs", 1)


def message(content: str = "hello") -> Record:
    return building.message(CLOCK, session_id="s", role="user", content=content, metadata={"n": 1})


def log() -> Record:
    return building.log_event(CLOCK, level="info", event="started")


async def ids(queue: Queue, lane: str | None = None, error_kind: str | None = None) -> list[str]:
    return [each.id async for each in dlq.list_letters(queue, lane, error_kind)]


async def test_a_letter_says_what_was_refused_and_why(queue: Queue) -> None:
    record = message("the text")
    await bury(queue, MESSAGES, [letter(record)])

    found = await dlq.find(queue, format_id(record.id))

    assert found is not None
    assert (found.lane, found.partition, found.record_kind, found.error_kind) == ("messages", 0, "message", "rejected")
    assert (found.reason, found.attempts, found.worker) == ("no such table", 3, "host:1")
    assert found.first_at is not None
    assert found.first_at.isoformat() == "2023-11-14T22:13:20+00:00"
    assert found.record["content"] == "the text"
    assert found.record["metadata"] == {"n": 1}
    assert found.record["id"] == found.id


async def test_a_vector_is_shown_as_numbers(queue: Queue) -> None:
    record = building.embedding(CLOCK, collection="c", id="k", vector=[0.5, -1.0])
    await bury(queue, Partition("embeddings", 0), [letter(record)])

    found = await dlq.find(queue, format_id(record.id))

    assert found is not None
    assert found.record["vector"] == [0.5, -1.0]


async def test_letters_are_listed_by_lane_and_error_kind(queue: Queue) -> None:
    first, second, third = message(), message(), log()
    await bury(queue, MESSAGES, [letter(first), letter(second, "undecodable")])
    await bury(queue, LOGS, [letter(third)])

    assert await ids(queue) == [format_id(each.id) for each in (first, second, third)]
    assert await ids(queue, "logs") == [format_id(third.id)]
    assert await ids(queue, "messages", "rejected") == [format_id(first.id)]
    assert await ids(queue, "embeddings") == []


async def test_more_letters_than_a_page_are_listed_once_each_in_order(queue: Queue) -> None:
    records = [message() for _ in range(120)]
    await bury(queue, MESSAGES, [letter(each) for each in records])

    assert await ids(queue) == [format_id(each.id) for each in records]
    assert len([each async for each in dlq.list_letters(queue, limit=70)]) == 70


async def test_an_unknown_lane_and_an_id_that_is_none_are_refused(queue: Queue) -> None:
    with pytest.raises(dlq.UnknownLane, match="messages, logs"):
        await ids(queue, "mesages")
    with pytest.raises(InvalidRecord, match="UUID"):
        await dlq.find(queue, "seven")


async def test_a_replayed_record_lies_in_its_log_again_with_its_id_and_its_count(queue: Queue) -> None:
    record = message()
    await bury(queue, MESSAGES, [letter(record, records=4)])

    assert await dlq.replay(queue) == dlq.Outcome(letters=1, records=4)

    entry = (await queue.read(MESSAGES, 10))[0]
    assert decode_frame(entry.frame) == [record]
    assert entry.records == 4
    assert await ids(queue) == []
    assert await dlq.find(queue, format_id(record.id)) is None
    counts = (await queue.counts())[MESSAGES]
    assert counts.balanced
    assert (counts.accepted, counts.pending, counts.dead) == (4, 4, 0)


async def test_a_replay_rings_the_bell_of_an_idle_partition(queue: Queue) -> None:
    await bury(queue, MESSAGES, [letter(message())])
    await dlq.replay(queue)

    rung = await queue.heard(1)

    assert rung is not None
    assert rung[0] == MESSAGES


async def test_a_replay_takes_only_what_was_asked_for(queue: Queue) -> None:
    first, second, third = message(), message(), log()
    await bury(queue, MESSAGES, [letter(first), letter(second, "undecodable")])
    await bury(queue, LOGS, [letter(third)])

    assert (await dlq.replay(queue, lane="logs")).letters == 1
    assert (await dlq.replay(queue, error_kind="undecodable")).letters == 1
    absent = str(uuid.uuid4())
    assert await dlq.replay(queue, ids=[format_id(first.id), absent]) == dlq.Outcome(1, 1, (absent,))
    assert await ids(queue) == []


async def test_bytes_that_were_no_frame_are_replayed_as_they_came(queue: Queue) -> None:
    frame = frame_of([encode(message()), encode(message())])
    raw = letter(message(), "undecodable", 2)._replace(record=frame.body)
    await bury(queue, MESSAGES, [raw])
    shown = await dlq.find(queue, raw.record_id)

    await dlq.replay(queue)

    assert shown is not None
    assert shown.record["bytes"] == len(frame.body)
    assert (await queue.read(MESSAGES, 10))[0].frame == frame.body


async def test_a_letter_that_dies_again_during_a_replay_is_not_replayed_twice(queue: Queue) -> None:
    await bury(queue, MESSAGES, [letter(message()) for _ in range(60)])
    letters = dlq.list_letters(queue)
    met = [(await anext(letters)).id]
    again = message()
    await bury(queue, MESSAGES, [letter(again)])

    met += [each.id async for each in letters]

    assert len(met) == 60
    assert format_id(again.id) not in met


async def test_a_purged_letter_stays_counted(queue: Queue) -> None:
    await bury(queue, MESSAGES, [letter(message()), letter(message())])

    assert await dlq.purge(queue, lane="messages") == dlq.Outcome(letters=2, records=2)

    counts = (await queue.counts())[MESSAGES]
    assert counts.balanced
    assert (counts.accepted, counts.dead, counts.purged) == (2, 0, 2)
    assert await ids(queue) == []


async def test_a_letter_is_moved_once_by_two_who_move_it(queue: Queue) -> None:
    record = message()
    await bury(queue, MESSAGES, [letter(record)])
    entry = await queue.dead_letter(format_id(record.id))
    assert entry is not None

    assert await queue.purge(entry)
    assert not await queue.purge(entry)
    assert await queue.replay(entry, frame_of([entry.letter.record])) == (False, 0)
    assert (await queue.counts())[MESSAGES].balanced


async def test_looking_at_a_new_namespace_does_not_create_it(redis_url: str, namespace: str) -> None:
    looking = Queue(redis_url, namespace)
    await looking.open(create=False)

    try:
        assert await ids(looking) == []
        assert not await looking.client.exists(looking.keys.config())
    finally:
        await looking.close()


# Groups, and what a call is about


async def test_letters_of_one_cause_are_one_group(queue: Queue) -> None:
    wide = [letter(message(), reason=f"vectors of {n} numbers", last_at_ms=DIED_MS + n) for n in (3, 1536, 20)]
    other = letter(message(), reason="it is too large", records=5)
    await bury(queue, MESSAGES, [*wide[:2], other])
    await bury(queue, Partition("messages", 3), wide[2:])
    await bury(queue, LOGS, [letter(log(), reason="vectors of 3 numbers")])

    first, *others = await dlq.groups(queue)

    assert (first.letters, first.records, first.error_kind, first.record_kind) == (3, 3, "rejected", "message")
    assert (first.sample, first.reason) == (wide[1].record_id, "vectors of 1536 numbers")
    assert first.first_at is not None
    assert first.last_at is not None
    assert (first.last_at - first.first_at).total_seconds() == 2.536
    assert sorted((each.lane, each.letters, each.records) for each in others) == [("logs", 1, 1), ("messages", 1, 5)]
    assert [each.letters for each in await dlq.groups(queue, lane="logs")] == [1]
    listed = [each.id async for each in dlq.list_letters(queue, group=first.fingerprint)]
    assert listed == [each.record_id for each in wide]
    assert (await dlq.replay(queue, group=first.fingerprint[:8])).letters == 3


async def test_a_letter_of_an_older_worker_is_grouped_with_new_ones(queue: Queue) -> None:
    told = {"kind": "rejected", "reason": "no place for 3", "lane": "messages", "record_kind": "message"}
    old, new = letter(message()), letter(message(), reason="no place for 4", fingerprint="")
    await bury(queue, MESSAGES, [old._replace(envelope=msgpack.packb(told)), new])

    (group,) = await dlq.groups(queue)

    assert group.letters == 2


async def test_letters_are_chosen_by_time_and_session(queue: Queue) -> None:
    early, late = message(), message()
    foreign = building.message(CLOCK, session_id="other", role="user")
    letters = [letter(early), letter(late, last_at_ms=DIED_MS + 60_000), letter(foreign), letter(log())]
    raw = letter(message(), "undecodable")._replace(record=b"\x00")
    await bury(queue, MESSAGES, [*letters, raw])
    then = from_us(DIED_MS * 1000)

    async def found(**which: Any) -> list[str]:
        return [each.id async for each in dlq.list_letters(queue, **which)]

    assert await found(session="other") == [format_id(foreign.id)]
    assert await found(session="s") == [format_id(early.id), format_id(late.id)]
    assert await found(since=then + timedelta(seconds=1)) == [format_id(late.id)]
    assert len(await found(since=then)) == 5
    assert len(await found(until=then)) == 0
    assert len(await found(until=then + timedelta(seconds=1))) == 4
    assert await found(until=then + timedelta(seconds=1), session="s") == [format_id(early.id)]
    with pytest.raises(InvalidRecord, match="zone"):
        await found(since=datetime(2026, 1, 1))  # noqa: DTZ001 - which one is meant nobody can tell


async def test_a_limit_ends_a_replay_and_a_purge(queue: Queue) -> None:
    await bury(queue, MESSAGES, [letter(message()) for _ in range(7)])

    assert (await dlq.replay(queue, limit=2)).letters == 2
    assert (await dlq.purge(queue, limit=4)).letters == 4
    assert len(await ids(queue)) == 1


async def test_a_rate_spreads_a_replay_over_time(queue: Queue) -> None:
    await bury(queue, MESSAGES, [letter(message()) for _ in range(12)])
    began = asyncio.get_running_loop().time()

    assert (await dlq.replay(queue, rate=20)).letters == 12

    assert asyncio.get_running_loop().time() - began >= 0.5


async def test_a_replay_that_is_stopped_goes_on_where_it_was(queue: Queue) -> None:
    await bury(queue, MESSAGES, [letter(message()) for _ in range(40)])
    replay = asyncio.create_task(dlq.replay(queue, rate=2))
    while not (await queue.counts())[MESSAGES].pending:
        await asyncio.sleep(0)
    await end_task(replay)

    assert replay.cancelled()
    assert 0 < (await dlq.replay(queue)).letters < 40
    counts = (await queue.counts())[MESSAGES]
    assert (counts.pending, counts.dead, counts.balanced) == (40, 0, True)


async def test_large_letters_are_read_few_at_a_time(queue: Queue) -> None:
    records = [message("x" * 1_000_000) for _ in range(9)]
    await bury(queue, MESSAGES, [letter(each) for each in records])

    assert await ids(queue) == [format_id(each.id) for each in records]
    assert (await dlq.replay(queue)).letters == 9


# Their end


async def no_rest(_: float) -> bool:
    return True


async def server_ms(queue: Queue) -> int:
    seconds, microseconds = await queue.client.time()
    return int(seconds * 1000 + microseconds // 1000)


async def test_letters_that_are_past_their_time_are_purged_and_counted_by_lane(queue: Queue) -> None:
    await bury(queue, MESSAGES, [letter(message(), records=2) for _ in range(450)])
    await bury(queue, LOGS, [letter(log())])
    newest = await queue.newest_letter(LOGS)
    assert newest is not None
    end_ms = int(newest.partition("-")[0]) + 1
    while await server_ms(queue) <= end_ms:
        pass
    await bury(queue, LOGS, [letter(log())])
    gone: Counter[str] = Counter()

    await expire(queue, end_ms, gone, no_rest)

    assert gone == {"messages": 450, "logs": 1}
    assert len(await ids(queue)) == 1
    counts = sum((await queue.counts()).values(), Counts())
    assert (counts.purged, counts.dead, counts.balanced) == (901, 1, True)


async def test_letters_kept_for_longer_than_time_is_counted_are_kept(queue: Queue) -> None:
    """As by a retention of 100 years."""
    await bury(queue, LOGS, [letter(log())])
    gone: Counter[str] = Counter()

    await expire(queue, -1_000, gone, no_rest)

    assert not gone
    assert len(await ids(queue)) == 1


async def test_a_purge_by_age_ends_after_a_slice_where_it_is_told_to(queue: Queue) -> None:
    await bury(queue, MESSAGES, [letter(message()) for _ in range(450)])
    gone: Counter[str] = Counter()

    async def stop(_: float) -> bool:
        return False

    await expire(queue, 2**48, gone, stop)

    assert gone == {"messages": FIRST_PAGE}
    assert (await queue.counts())[MESSAGES].balanced


async def test_of_large_letters_few_are_read_at_once(queue: Queue) -> None:
    """200 of the largest would be 1.6 GB, and take longer than the queue server is waited for."""
    for _ in range(20):
        await bury(queue, MESSAGES, [letter(message())._replace(record=bytes(1_000_000))])
    pages: list[int] = []
    read = queue.dead_letters

    async def noted(*args: Any, **given: Any) -> list[DeadEntry]:
        page = await read(*args, **given)
        pages.append(len(page))
        return page

    queue.dead_letters = noted  # type: ignore[method-assign] # looks on
    assert len(await ids(queue)) == 20
    await expire(queue, 2**48, Counter(), no_rest)

    assert [size for size in pages if size] == [FIRST_PAGE, 4, FIRST_PAGE, 4]
