"""Dead letters as a file: whole in a round trip, taken in once, counted everywhere."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import orjson
import pytest

from penstock import dlq
from penstock.dlq.files import NoLetters, export_letters, import_letters
from penstock.dlq.placing import ordering_key
from penstock.producer import Producer, Receipt
from penstock.wire import building
from penstock.wire.entries import Letter
from penstock.wire.frames import decode_frame
from penstock.wire.ids import RisingClock, format_id
from penstock.wire.keys import Partition, partition_of
from penstock.wire.queue import DEFAULT_PARTITIONS, Queue
from penstock.wire.records import Record
from tests.system.drain_support import total
from tests.system.letter_support import bury, bury_records, letter
from tests.unit.test_dlq_editing import SAMPLES

CLOCK = RisingClock()
MESSAGES = Partition("messages", partition_of("s", DEFAULT_PARTITIONS))


def message(content: str = "hello") -> Record:
    return building.message(CLOCK, session_id="s", role="user", content=content)


async def exported(queue: Queue, **which: str) -> list[bytes]:
    return [line async for line in export_letters(queue, **which)]  # type: ignore[arg-type] # names of `Which`


async def letters(queue: Queue) -> list[Letter]:
    return [each.entry.letter async for each in dlq.list_letters(queue)]


@pytest.fixture
async def elsewhere(redis_url: str, namespace: str) -> AsyncIterator[Queue]:
    """Another namespace, with another number of partitions."""
    queue = Queue(redis_url, f"{namespace}-elsewhere")
    await queue.open(3)
    yield queue
    await queue.close()


async def test_every_letter_comes_back_whole(queue: Queue, elsewhere: Queue) -> None:
    raw = Letter(str(uuid.uuid4()), 3, bytes(range(256)), letter(message(), "undecodable").envelope)
    await bury_records(queue, list(SAMPLES.values()))
    await bury(queue, MESSAGES, [raw, letter(message("é \x00 \U0001f600"), records=7)])
    lines = await exported(queue)

    done = await import_letters(elsewhere, lines)

    assert (done.letters, done.known, done.faults) == (len(SAMPLES) + 2, 0, [])
    assert sorted(await letters(elsewhere)) == sorted(await letters(queue))
    here, there = await total(queue), await total(elsewhere)
    assert (there.accepted, there.dead, there.balanced) == (here.accepted, here.dead, True)
    assert (await total(queue)).balanced


async def test_importing_twice_adds_nothing_here_or_elsewhere(queue: Queue, elsewhere: Queue) -> None:
    twice = message()
    await bury(queue, MESSAGES, [letter(twice), letter(twice, reason="other"), letter(message())])
    lines = await exported(queue)

    assert (await import_letters(queue, lines)).known == 3
    assert (await import_letters(elsewhere, lines)).letters == 3
    assert (await import_letters(elsewhere, lines)).known == 3
    assert (await import_letters(elsewhere, await exported(elsewhere))).known == 3
    assert (await import_letters(queue, await exported(elsewhere))).known == 3

    assert len(await letters(queue)) == len(await letters(elsewhere)) == 3
    assert (await total(elsewhere)).balanced


async def test_two_who_import_at_once_add_each_letter_once(queue: Queue, elsewhere: Queue) -> None:
    await bury_records(queue, [message() for _ in range(450)])
    lines = await exported(queue)

    done = await asyncio.gather(*(import_letters(elsewhere, lines) for _ in range(3)))

    assert sum(each.letters for each in done) == 450
    assert sum(each.known for each in done) == 900
    assert len(await letters(elsewhere)) == 450
    assert (await total(elsewhere)).balanced


async def test_an_edited_letter_is_not_joined_by_what_it_was(queue: Queue, elsewhere: Queue) -> None:
    record = message()
    await bury_records(queue, [record])
    lines = await exported(queue)
    await import_letters(elsewhere, lines)
    for each in (queue, elsewhere):
        await dlq.edit(each, format_id(record.id), {"content": "new"})

        assert (await import_letters(each, lines)).known == 1
        assert len(await letters(each)) == 1


async def test_what_was_replayed_or_purged_since_comes_back(queue: Queue) -> None:
    await bury_records(queue, [message(), message()])
    lines = await exported(queue)
    one, _ = [each.id async for each in dlq.list_letters(queue)]
    await dlq.replay(queue, ids=[one])
    await dlq.purge(queue)

    assert (await import_letters(queue, lines)).letters == 2
    assert (await dlq.replay(queue)).letters == 2
    assert (await import_letters(queue, lines)).letters == 2
    assert (await total(queue)).balanced
    assert (await dlq.purge(queue)).letters == 2
    assert not [key async for key in queue.client.scan_iter(match=queue.keys.imported(MESSAGES))]


async def test_an_imported_letter_can_be_found_replayed_and_purged(queue: Queue, elsewhere: Queue) -> None:
    first, second = message("one"), message("two")
    await bury_records(queue, [first, second])
    await import_letters(elsewhere, await exported(queue))

    found = await dlq.find(elsewhere, format_id(first.id))
    assert found is not None
    assert found.record["content"] == "one"
    assert (await dlq.replay(elsewhere, ids=[format_id(first.id)])).letters == 1
    assert (await dlq.purge(elsewhere, ids=[format_id(second.id)])).letters == 1

    where = Partition("messages", partition_of("s", 3))
    assert decode_frame((await elsewhere.read(where, 10))[0].frame) == [first]
    counts = await total(elsewhere)
    assert (counts.accepted, counts.pending, counts.dead, counts.purged) == (2, 1, 0, 1)
    assert counts.balanced


async def test_only_what_is_asked_for_is_exported(queue: Queue) -> None:
    log = building.log_event(CLOCK, level="info", event="e")
    await bury_records(queue, [message(), log])

    header, line, end = await exported(queue, lane="logs")

    assert orjson.loads(header)["partitions"] == queue.partitions
    assert orjson.loads(line)["id"] == format_id(log.id)
    assert orjson.loads(end) == {"kind": "end", "letters": 1}


async def test_a_broken_line_is_told_and_costs_only_itself(queue: Queue, elsewhere: Queue) -> None:
    await bury_records(queue, [message() for _ in range(5)])
    header, *lines, end = await exported(queue)
    whole = orjson.loads(lines[0])
    lines[0] = b"{nonsense\n"
    lines[1] = orjson.dumps({**whole, "lane": "odd"})
    lines[2] = orjson.dumps({**whole, "record": "?"})
    del whole["envelope"]
    lines[3] = orjson.dumps(whole)

    done = await import_letters(elsewhere, [header, *lines, end])

    assert (done.letters, [number for number, _ in done.faults]) == (1, [2, 3, 4, 5])
    assert "envelope" in done.faults[3][1]
    assert (await total(elsewhere)).balanced


@pytest.mark.parametrize(
    "odd",
    [
        {"records": 2**63},
        {"partition": 8},
        {"partition": True},
        {"entry": "-5-3"},
        {"entry": f"{2**64}-0"},
        {"envelope": {"edits": 5}},
        {"envelope": {"edits": [[1, 5]]}},
        {"envelope": {"first_at_ms": "yesterday"}},
        {"envelope": {"last_at_ms": 10**18}},
        {"envelope": {"kind": 5}},
        {"envelope": {"reason": ["a"]}},
        {"envelope": {"fingerprint": 5}},
        {"envelope": {"replayed_as": 5}},
        {"envelope": {"attempts": "3"}},
    ],
    ids=str,
)
async def test_a_letter_that_nothing_could_be_done_with_is_not_taken_in(
    queue: Queue, elsewhere: Queue, odd: dict[str, Any]
) -> None:
    await bury_records(queue, [message(), message()])
    header, line, *rest = await exported(queue)

    done = await import_letters(elsewhere, [header, orjson.dumps({**orjson.loads(line), **odd}), *rest])

    assert (done.letters, [number for number, _ in done.faults]) == (1, [2])
    assert len(await letters(elsewhere)) == 1
    assert (await total(elsewhere)).balanced
    assert (await dlq.replay(elsewhere)).letters == 1


@pytest.mark.parametrize("cut", [1, 2, 3])
async def test_a_file_that_is_cut_off_says_so(queue: Queue, elsewhere: Queue, cut: int) -> None:
    await bury_records(queue, [message() for _ in range(3)])
    lines = await exported(queue)

    done = await import_letters(elsewhere, lines[:-cut])

    assert done.letters == 4 - cut
    assert [reason for _, reason in done.faults] == ["the file ends before its last line; it is cut off"]


async def test_a_line_that_is_missing_is_noticed(queue: Queue, elsewhere: Queue) -> None:
    await bury_records(queue, [message() for _ in range(3)])
    lines = await exported(queue)

    done = await import_letters(elsewhere, lines[:1] + lines[2:])

    assert done.letters == 2
    assert done.faults == [(4, "3 letters were written, 2 are here")]


@pytest.mark.parametrize(
    "lines", [[], [b"\n"], [b'{"penstock_export":1}\n'], [b'{"penstock_dead_letters":9,"partitions":1}\n'], [b"[]"]]
)
async def test_what_is_no_export_of_letters_is_refused_whole(elsewhere: Queue, lines: list[bytes]) -> None:
    with pytest.raises(NoLetters):
        await import_letters(elsewhere, lines)


@pytest.mark.parametrize("record", SAMPLES.values(), ids=SAMPLES)
async def test_a_letter_goes_where_a_producer_sends_its_record(record: Record, redis_url: str, namespace: str) -> None:
    async with Producer(redis_url, namespace=namespace) as producer:
        receipt = _call(producer, record)

    assert receipt.key == ordering_key(record)


def _call(producer: Producer, record: Record) -> Receipt:
    """The producer's call that makes such a record."""
    kind = type(record).__name__
    calls: dict[str, Callable[[], Receipt]] = {
        "Message": lambda: producer.message(session_id="s", role="user"),
        "LogEvent": lambda: producer.log(level="info", event="e", agent_id="a"),
        "Embedding": lambda: producer.embedding(collection="c", id="k", vector=[1.0]),
        "Task": lambda: producer.task(task_id="t"),
        "TaskStatus": lambda: producer.task_status(task_id="t", status="done"),
        "AgentState": lambda: producer.agent_state(agent_id="a"),
        "Context": lambda: producer.context(context_id="c", data={}),
        "KeyValue": lambda: producer.key_value(key="k", value=1, namespace="n"),
        "EmbeddingDeletion": lambda: producer.delete_embedding(collection="c", id="k"),
        "MessageDeletion": lambda: producer.delete_session("s"),
    }
    return calls[kind]()
