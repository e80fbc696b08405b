"""A replay tried in the stores before: what it tells, and that it changes nothing anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

import pytest

from penstock import dlq
from penstock.dlq.rehearsal import Rehearsal, rehearse
from penstock.stores.errors import StoreUnavailable
from penstock.stores.lancedb import open_vector
from penstock.stores.sqlite import open_sql
from penstock.testing.conformance.records import log, message
from penstock.testing.conformance.state_records import task
from penstock.testing.conformance.vector_records import embedding
from penstock.wire.frames import encode, frame_of
from penstock.wire.ids import format_id
from penstock.wire.keys import Partition
from penstock.wire.queue import Queue
from tests.conformance.sqlite_file import stored_messages
from tests.system.letter_support import bury, bury_records, letter
from tests.system.queue_support import everything


class Urls(TypedDict):
    """Of the stores."""

    sql: str
    vectors: str


@pytest.fixture
async def urls(tmp_path: Path) -> Urls:
    """A SQL store with a message and a task in it, and vectors of two numbers."""
    sql, vectors = f"sqlite:///{tmp_path}/p.db", f"lancedb:///{tmp_path}/vectors"
    for store, records in ((open_sql(sql), [message(0), task(5)]), (open_vector(vectors), [embedding("a", 1, 0)])):
        await store.setup()
        await store.write(records)  # type: ignore[arg-type] # of its kind each
        await store.close()
    return Urls(sql=sql, vectors=vectors)


async def test_it_tells_what_would_be_taken_and_what_would_come_back(queue: Queue, urls: Urls) -> None:
    bad = [message(number)._replace(metadata=b"[1]") for number in (20, 21)]
    wide = [embedding("b", 1, 2, 3), embedding("c", 1, 2, 3, 4), embedding("d", 1, 0)]
    await bury_records(queue, [message(0), message(1), task(4), task(6), log(1), *bad, *wide])
    held = await everything(queue)

    found = await rehearse(queue, **urls)

    assert (found.letters, found.stored, found.older, found.refused) == (10, 4, 2, 4)
    reasons = {each.reason.partition(":")[0]: (each.letters, each.sample) for each in found.refusals.values()}
    dimension = "collection docs holds vectors of 2 numbers, this one has 3; another model needs another collection"
    assert reasons == {"message": (2, format_id(bad[0].id)), dimension: (2, format_id(wide[0].id))}
    assert await everything(queue) == held
    assert stored_messages(Path(urls["sql"].removeprefix("sqlite:///"))) == [message(0)]


async def test_it_is_asked_of_the_same_letters_as_a_replay(queue: Queue, urls: Urls) -> None:
    await bury_records(queue, [message(number) for number in range(1, 6)])
    one, absent = format_id(message(1).id), format_id(bytes(16))

    by_id = await rehearse(queue, **urls, ids=[one, absent])
    limited = await rehearse(queue, **urls, limit=2)
    none = await rehearse(queue, **urls, lane="logs")

    assert (by_id.stored, by_id.missing) == (1, (absent,))
    assert limited.letters == 2
    assert none == Rehearsal()


async def test_more_letters_than_a_transaction_are_all_tried(queue: Queue, urls: Urls) -> None:
    await bury_records(queue, [message(number) for number in range(250)])

    found = await rehearse(queue, **urls)

    assert (found.letters, found.stored, found.older) == (250, 249, 1)


async def test_a_frame_that_can_be_read_by_now_is_tried_and_others_would_come_back(queue: Queue, urls: Urls) -> None:
    readable = frame_of([encode(message(1)), encode(message(2))]).body
    first, second = letter(message(8), "undecodable", 2), letter(message(9), "undecodable")
    frames = [first._replace(record=readable), second._replace(record=b"\x00")]
    await bury(queue, Partition("messages", 0), frames)

    found = await rehearse(queue, **urls)

    assert (found.stored, found.refused) == (1, 1)


async def test_a_store_that_is_not_there_is_not_made(queue: Queue, tmp_path: Path) -> None:
    await bury_records(queue, [message(1)])

    with pytest.raises(StoreUnavailable):
        await rehearse(queue, sql=f"sqlite:///{tmp_path}/none.db", vectors="lancedb:///none")

    assert list(tmp_path.iterdir()) == []


async def test_what_it_says_is_what_a_replay_comes_to(queue: Queue, urls: Urls) -> None:
    store = open_sql(urls["sql"])
    await bury_records(queue, [message(0), message(1), message(1), task(4), task(6)])

    found = await rehearse(queue, **urls)
    letters = [each.decoded async for each in dlq.list_letters(queue)]
    new = await store.write([each for each in letters if each is not None])
    await store.close()

    assert found.stored == new == 2
