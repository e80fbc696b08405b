"""Dead letters on a real queue: what is listed, replayed and purged, and that the counts go on adding up."""

from __future__ import annotations

import uuid

import pytest

from penstock import dlq
from penstock.wire import building
from penstock.wire.errors import InvalidRecord
from penstock.wire.frames import decode_frame, encode, frame_of
from penstock.wire.ids import RisingClock, format_id
from penstock.wire.keys import Partition
from penstock.wire.queue import Queue
from penstock.wire.records import Record
from tests.system.letter_support import bury, letter

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
