"""Letters through a worker again: what they remember, what became of them, and who else was there."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Any

import pytest

from penstock import dlq
from penstock.dlq.files import export_letters, import_letters
from penstock.dlq.history import Replayed
from penstock.producer import DeadLettered, Producer
from penstock.stores.errors import StoreRejected
from penstock.wire.entries import Entry
from penstock.wire.errors import QueueFull
from penstock.wire.frames import decode_frame, frame_of
from penstock.wire.ids import format_id
from penstock.wire.keys import partition_of
from penstock.wire.queue import Queue
from penstock.wire.records import Message, Record
from penstock.worker.drain import drain
from tests.system.drain_support import MESSAGES, ListStore, Sender, site_of, total
from tests.system.letter_support import bury, letter

MINUTE_MS = 60_000
START_MS = 1_700_000_000_000


class Worker:
    """Drains one partition whenever it is told to, by a clock that it is told."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self.bad = "bad"
        """A message with this text in it is refused."""
        self.store = ListStore(before=self._refuse)
        self.now_ms = START_MS
        self._site = site_of(queue, self.store)
        self._site.now_ms = lambda: self.now_ms

    def _refuse(self, records: Sequence[Record]) -> None:
        for record in records:
            if isinstance(record, Message) and self.bad in (record.content or ""):
                raise StoreRejected(f"the store has no place for number {len(record.content or '')}")

    async def drain(self) -> None:
        await drain(self._site, MESSAGES)


@pytest.fixture
def worker(queue: Queue) -> Worker:
    return Worker(queue)


async def only_letter(queue: Queue) -> dlq.DeadLetter:
    (letter,) = [each async for each in dlq.list_letters(queue)]
    return letter


async def replays(queue: Queue, record_id: str | None = None) -> list[Replayed]:
    return [each async for each in dlq.history(queue, record_id)]


async def test_a_letter_is_told_in_full(queue: Queue, worker: Worker) -> None:
    record = Sender(queue).message("a bad one")
    await Sender(queue).push(record)
    await worker.drain()

    letter = await only_letter(queue)

    assert (letter.id, letter.lane, letter.record_kind) == (format_id(record.id), "messages", "message")
    assert (letter.error_kind, letter.reason) == ("rejected", "the store has no place for number 9")
    assert (letter.attempts, letter.replays, letter.edits, letter.worker) == (1, 0, (), "w1")
    assert letter.first_at == letter.last_at
    assert letter.decoded == record
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", letter.version)
    assert re.fullmatch(r"[0-9a-f]{12}", letter.fingerprint)


async def test_a_record_that_dies_again_keeps_its_first_time_and_adds_its_tries_up(
    queue: Queue, worker: Worker
) -> None:
    await Sender(queue).push(Sender(queue).message("bad"))
    await worker.drain()
    first = await only_letter(queue)

    for _ in range(3):
        worker.now_ms += MINUTE_MS
        assert (await dlq.replay(queue)).letters == 1
        await worker.drain()

    last = await only_letter(queue)
    assert (last.id, last.fingerprint) == (first.id, first.fingerprint)
    assert (last.attempts, last.replays) == (4, 3)
    assert last.first_at == first.first_at
    assert last.last_at is not None
    assert first.last_at is not None
    assert (last.last_at - first.last_at).total_seconds() == 180
    assert (await total(queue)).balanced


async def test_an_undecodable_letter_keeps_its_id_and_its_first_time(queue: Queue, worker: Worker) -> None:
    await queue.client.xadd(queue.keys.log(MESSAGES), {"f": b"\x00nonsense", "n": 2})
    await queue.client.hincrby(queue.keys.meta(MESSAGES), "accepted", 2)
    await queue.client.hincrby(queue.keys.meta(MESSAGES), "pending", 2)
    await worker.drain()
    first = await only_letter(queue)
    worker.now_ms += MINUTE_MS

    await dlq.replay(queue)
    await worker.drain()

    again = await only_letter(queue)
    assert (again.id, again.first_at, again.attempts, again.replays) == (first.id, first.first_at, 2, 1)
    assert again.entry.letter.record == b"\x00nonsense"
    assert [(each.outcome, each.id) for each in await replays(queue)] == [("dead", first.id)]
    assert (await total(queue)).balanced


async def test_what_became_of_each_replay_is_kept(queue: Queue, worker: Worker) -> None:
    sender = Sender(queue)
    record = sender.message("bad")
    await sender.push(record)
    await worker.drain()
    assert await replays(queue) == []

    await dlq.replay(queue)
    assert [each.outcome for each in await replays(queue)] == ["pending"]
    await worker.drain()
    assert [each.outcome for each in await replays(queue)] == ["dead"]
    await dlq.replay(queue)
    assert [each.outcome for each in await replays(queue)] == ["pending", "dead"]
    worker.bad = "nothing"
    await worker.drain()

    found = await replays(queue, format_id(record.id))
    assert [each.outcome for each in found] == ["stored", "dead"]
    assert [each.reason for each in found] == ["", "rejected: the store has no place for number 3"]
    assert {each.was for each in found} == {"rejected: the store has no place for number 3"}
    assert found[0].at >= found[1].at
    assert await replays(queue, format_id(bytes(16))) == []
    assert worker.store.rows[record.id] == record


async def test_a_replay_that_ended_dead_stays_so_when_its_letter_is_purged_or_edited(
    queue: Queue, worker: Worker
) -> None:
    sender = Sender(queue)
    await sender.push(sender.message("bad 1"), sender.message("bad 2"))
    await worker.drain()
    await dlq.replay(queue)
    await worker.drain()
    purged, edited = [each.id async for each in dlq.list_letters(queue)]

    await dlq.purge(queue, ids=[purged])
    await dlq.edit(queue, edited, {"role": "tool"})

    assert {each.id: each.outcome for each in await replays(queue)} == {purged: "dead", edited: "dead"}
    assert (await total(queue)).balanced


async def test_a_mended_record_is_stored_under_its_id_in_its_place(queue: Queue, worker: Worker) -> None:
    sender = Sender(queue)
    before, record, after = (sender.message(text) for text in ("before", "bad", "after"))
    await sender.push(before, record, after)
    await worker.drain()
    worker.now_ms += MINUTE_MS

    edition = await dlq.edit(queue, format_id(record.id), {"content": "good", "metadata": {"by": "hand"}})
    letter = await only_letter(queue)
    await dlq.replay(queue)
    await worker.drain()

    assert edition is not None
    assert edition.fields == ("content", "metadata")
    assert [each.fields for each in letter.edits] == [("content", "metadata")]
    mended = record._replace(content="good", metadata=b'{"by":"hand"}')
    assert worker.store.messages() == [before, mended, after]
    assert [(each.outcome, each.edited) for each in await replays(queue)] == [("stored", True)]
    assert (await total(queue)).balanced


async def test_a_letter_remembers_its_edits_when_it_dies_again(queue: Queue, worker: Worker) -> None:
    sender = Sender(queue)
    await sender.push(sender.message("bad"))
    await worker.drain()
    for text in ("bad too", "bad again"):
        await dlq.edit(queue, (await only_letter(queue)).id, {"content": text})
        await dlq.replay(queue)
        await worker.drain()

    letter = await only_letter(queue)

    assert [each.fields for each in letter.edits] == [("content",), ("content",)]
    assert letter.edits[0].at <= letter.edits[1].at
    assert letter.record["content"] == "bad again"
    raw = (await queue.client.xrange(queue.keys.dead(MESSAGES)))[0][1]
    assert b"bad too" not in raw[b"e"]


async def test_records_are_mended_by_a_function_on_their_way(queue: Queue, worker: Worker) -> None:
    sender = Sender(queue)
    sent = [sender.message(f"bad {number}") for number in range(4)]
    await sender.push(*sent)
    await worker.drain()

    def mend(letter: dlq.DeadLetter) -> Record | None:
        record = letter.decoded
        assert isinstance(record, Message)
        return None if record.content == "bad 2" else record._replace(content=f"good{(record.content or '')[3:]}")

    outcome = await dlq.replay(queue, edit=mend)
    await worker.drain()

    assert outcome == dlq.Outcome(letters=3, records=3)
    assert [row.content for row in worker.store.messages()] == ["good 0", "good 1", "good 3"]
    assert (await only_letter(queue)).id == format_id(sent[2].id)
    assert {(each.outcome, each.edited) for each in await replays(queue)} == {("stored", True)}


async def test_a_stream_of_many_chunks_dies_and_comes_back_as_one(queue: Queue, worker: Worker) -> None:
    sender = Sender(queue)
    await sender.push(*sender.chunks(["a ", "bad", " one"]))
    await worker.drain()
    letter = await only_letter(queue)
    assert letter.records == 4

    edition = await dlq.edit(queue, letter.id, {"content": "a good one"})
    assert await dlq.replay(queue) == dlq.Outcome(letters=1, records=4)
    await worker.drain()

    assert edition is not None
    assert [row.content for row in worker.store.messages()] == ["a good one"]
    counts = await total(queue)
    assert (counts.accepted, counts.stored, counts.dead, counts.balanced) == (4, 4, 0, True)


# Others at the same time


def records_of(entries: Sequence[Entry]) -> list[bytes]:
    return [record.id for entry in entries for record in decode_frame(entry.frame)]


async def many(queue: Queue, number: int) -> list[Message]:
    sender = Sender(queue)
    sent = [sender.message(f"bad {at}") for at in range(number)]
    await bury(queue, MESSAGES, [letter(each) for each in sent])
    return sent


async def test_two_who_replay_at_once_move_each_letter_once(queue: Queue) -> None:
    sent = await many(queue, 1_000)

    outcomes = await asyncio.gather(*(dlq.replay(queue) for _ in range(3)))

    assert sum(each.letters for each in outcomes) == 1_000
    entries = await queue.read(MESSAGES, 10_000)
    assert records_of(entries) == [each.id for each in sent]
    counts = await total(queue)
    assert (counts.pending, counts.dead, counts.accepted) == (1_000, 0, 1_000)
    assert len(await replays(queue)) == 1_000


async def test_replays_purges_and_edits_at_once_lose_nothing(queue: Queue) -> None:
    sent = await many(queue, 300)
    ids = [format_id(each.id) for each in sent]

    async with asyncio.TaskGroup() as group:
        replay = group.create_task(dlq.replay(queue, rate=5_000))
        purge = group.create_task(dlq.purge(queue, ids=ids[::3]))
        for each in ids[::2]:
            group.create_task(dlq.edit(queue, each, {"role": "tool"}))
    replayed, purged = replay.result(), purge.result()

    left = [each async for each in dlq.list_letters(queue)]
    assert replayed.letters + purged.letters + len(left) == 300
    again = await dlq.replay(queue)
    assert again.letters == len(left)
    moved = records_of(await queue.read(MESSAGES, 10_000))
    assert len(moved) == len(set(moved)) == 300 - purged.letters
    assert (await total(queue)).balanced


async def test_a_repeated_script_changes_nothing(queue: Queue) -> None:
    await many(queue, 2)
    one, other = await queue.dead_letters(MESSAGES, 10)
    frame = frame_of([one.letter.record])

    assert [await queue.replay(one, frame), await queue.replay(one, frame)][1] == (False, 0)
    first = await queue.put_edited(other, b"new", other.letter.envelope)
    assert first is not None
    assert await queue.put_edited(other, b"newer", other.letter.envelope) is None

    (left,) = await queue.dead_letters(MESSAGES, 10)
    assert (left.entry_id, left.letter.record) == (first, b"new")
    assert await queue.dead_letter(left.letter.record_id) == left
    assert len(await queue.read(MESSAGES, 10)) == 1
    assert (await total(queue)).balanced


async def test_an_edit_of_a_letter_that_was_replayed_meanwhile_changes_nothing(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    (record,) = await many(queue, 1)
    put = queue.put_edited

    async def late(*given: Any) -> str | None:
        await dlq.replay(queue)
        return await put(*given)

    monkeypatch.setattr(queue, "put_edited", late)

    edition = await dlq.edit(queue, format_id(record.id), {"content": "good"})

    assert edition is not None
    assert edition.letter is None
    assert records_of(await queue.read(MESSAGES, 10)) == [record.id]
    assert await dlq.find(queue, format_id(record.id)) is None
    assert (await total(queue)).balanced


async def test_a_full_server_lets_letters_go_and_takes_none_in(own_server: Queue) -> None:
    queue = own_server
    await many(queue, 4)
    one, other, *_ = [each.id async for each in dlq.list_letters(queue)]
    lines = [line async for line in export_letters(queue)]
    await dlq.purge(queue, ids=[one])
    await queue.client.config_set("maxmemory", 1)

    with pytest.raises(QueueFull):
        await import_letters(queue, lines)
    edition = await dlq.edit(queue, other, {"role": "tool"})
    purged = await dlq.purge(queue, ids=[other])
    replayed = await dlq.replay(queue)

    assert edition is not None
    assert (purged.letters, replayed.letters) == (1, 2)
    counts = await total(queue)
    assert (counts.accepted, counts.pending, counts.purged, counts.balanced) == (4, 2, 2, True)


async def test_who_waits_for_a_record_learns_of_its_letter_through_edits_and_replays(
    queue: Queue, worker: Worker, redis_url: str, namespace: str
) -> None:
    async with Producer(redis_url, namespace=namespace) as producer:
        session = next(each for each in map(str, range(100)) if partition_of(each, queue.partitions) == MESSAGES.number)
        receipt = producer.message(session_id=session, role="user", content="bad")
        await producer.flush(until="queued", timeout=10)
        await worker.drain()
        await dlq.edit(queue, receipt.id, {"content": "bad too"})
        with pytest.raises(DeadLettered):
            await receipt.stored(timeout=10)

        await dlq.edit(queue, receipt.id, {"content": "good"})
        await dlq.replay(queue)
        waiting = asyncio.create_task(receipt.stored(timeout=10))
        await worker.drain()
        await waiting

    assert [row.content for row in worker.store.messages()] == ["good"]
