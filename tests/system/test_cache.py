"""Answers kept in the queue server: never older than what a worker stored, and never in the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from penstock.embedded import EmbeddedQueue
from penstock.query import Reader
from penstock.query.cache import MAX_ANSWER_BYTES, Cache
from penstock.query.cache_settings import CacheSettings
from penstock.query.cached_reading import CachedReading, digest
from penstock.query.cached_rows import BadAnswer, packed, unpacked
from penstock.stores.errors import StoreUnavailable
from penstock.stores.queries import AgentStateQuery, SessionQuery, TaskQuery
from penstock.stores.rows import Session, StoredTask
from penstock.stores.sqlite import SqliteStore
from penstock.wire import caching
from penstock.wire.building_state import StateBuilder
from penstock.wire.caching import AnswerCache, Subject, subjects_of
from penstock.wire.ids import RisingClock, StampClock, new_id
from penstock.wire.keys import Partition
from penstock.wire.queue import Queue
from penstock.wire.records import KeyValue, LogEvent, Message, MessageDeletion, Record
from penstock.wire.settings import InvalidSetting
from penstock.worker.drain import drain
from tests.system.drain_support import Sender, site_of

STATE = Partition("state", 0)
MESSAGES = Partition("messages", 0)

_clock = RisingClock()
_build = StateBuilder(_clock, StampClock(b"producer"))


def task(status: str = "pending", task_id: str = "t-1") -> Record:
    return _build.task(task_id=task_id, status=status, data={"at": 1.5, "of": [1, "two", None]})


def message(session: str = "s-1", content: str = "hello") -> Message:
    return Message(new_id(), _clock.now_us(), session, "user", content)


class CountedStore:
    """The store that is asked, with each question noted; `before` is awaited first."""

    def __init__(self, store: SqliteStore) -> None:
        self.asked: list[str] = []
        self.before: Callable[[], Any] = lambda: asyncio.sleep(0)
        self._store = store

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)

        async def noted(*args: Any, **kwargs: Any) -> Any:
            self.asked.append(name)
            await self.before()
            return await method(*args, **kwargs)

        return noted


@pytest.fixture
async def counted(store: SqliteStore) -> CountedStore:
    return CountedStore(store)


@pytest.fixture
async def cache(queue: Queue) -> AsyncIterator[Cache]:
    cache = Cache.at(queue.scripts.url, namespace=queue.keys.namespace)
    yield cache
    await cache.close()


@pytest.fixture
def reading(counted: CountedStore, cache: Cache) -> CachedReading:
    return CachedReading(counted, cache)


async def send_and_drain(queue: Queue, store: SqliteStore, partition: Partition, *records: Record) -> None:
    await Sender(queue, partition).push(*records)
    await drain(site_of(queue, store), partition)


async def test_an_answer_is_asked_for_once_and_has_every_field(
    reading: CachedReading, counted: CountedStore, store: SqliteStore
) -> None:
    deletion = MessageDeletion(new_id(), _clock.now_us(), "s-2")
    await store.write([task(), _build.agent_state(agent_id="a-1", state="busy"), message(), deletion])

    async def all_answers() -> list[Any]:
        return [
            await reading.task("t-1"),
            await reading.task("nobody"),
            await reading.tasks(TaskQuery(limit=5)),
            await reading.count_tasks(TaskQuery()),
            await reading.agent_state("a-1"),
            await reading.agent_states(AgentStateQuery()),
            await reading.session("s-1"),
            await reading.session("s-1", with_last_message=True),
            await reading.sessions(SessionQuery(with_last_message=True)),
        ]

    first = await all_answers()
    asked = list(counted.asked)

    assert await all_answers() == first
    assert counted.asked == asked
    assert len(asked) == len(first)


async def test_other_questions_go_to_the_store(reading: CachedReading, counted: CountedStore) -> None:
    assert await reading.message(new_id()) is None
    assert await reading.message(new_id()) is None

    assert counted.asked == ["message", "message"]


async def test_a_reader_sees_what_a_worker_has_stored_since(
    queue: Queue, reading: CachedReading, store: SqliteStore
) -> None:
    await send_and_drain(queue, store, STATE, task("pending"))
    await send_and_drain(queue, store, MESSAGES, message())
    before = [await reading.task("t-1"), await reading.session("s-1"), await reading.count_tasks(TaskQuery())]

    await send_and_drain(queue, store, STATE, task("running"), task(task_id="t-2"))
    await send_and_drain(queue, store, MESSAGES, message())
    after = [await reading.task("t-1"), await reading.session("s-1"), await reading.count_tasks(TaskQuery())]

    assert [before[0].status, before[1].message_count, before[2]] == ["pending", 1, 1]  # type: ignore[union-attr]
    assert [after[0].status, after[1].message_count, after[2]] == ["running", 2, 2]  # type: ignore[union-attr]


async def test_an_answer_from_before_a_write_is_not_kept_after_it(
    queue: Queue, reading: CachedReading, counted: CountedStore, store: SqliteStore
) -> None:
    await store.write([task("pending")])
    asked, written = asyncio.Event(), asyncio.Event()
    old = await store.task("t-1")

    async def slow() -> None:
        asked.set()
        await written.wait()

    async def answer_of_before(_: str) -> StoredTask | None:
        await slow()
        return old

    counted.task = answer_of_before  # type: ignore[attr-defined]
    early = asyncio.create_task(reading.task("t-1"))
    await asked.wait()
    await send_and_drain(queue, store, STATE, task("completed"))
    written.set()
    await early
    del counted.task

    found = await reading.task("t-1")

    assert found is not None
    assert found.status == "completed"


async def test_a_stampede_makes_one_question_in_all_processes_together(
    queue: Queue, reading: CachedReading, counted: CountedStore, store: SqliteStore
) -> None:
    await store.write([task()])
    begun, enough = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        begun.set()
        await enough.wait()

    counted.before = slow
    other = Cache.at(queue.scripts.url, namespace=queue.keys.namespace)  # as another process would have
    readers = [reading, CachedReading(counted, other)]
    asking = [asyncio.create_task(readers[number % 2].task("t-1")) for number in range(50)]
    await begun.wait()
    enough.set()
    found = await asyncio.gather(*asking)
    await other.close()

    assert {each.id for each in found if each} == {"t-1"}
    assert counted.asked == ["task"]


async def test_a_store_that_fails_is_asked_by_the_next_at_once(
    reading: CachedReading, counted: CountedStore, store: SqliteStore
) -> None:
    await store.write([task()])

    async def fails() -> None:
        counted.before = lambda: asyncio.sleep(0)
        raise StoreUnavailable("away")

    counted.before = fails
    with pytest.raises(StoreUnavailable, match="away"):
        await reading.task("t-1")

    assert await asyncio.wait_for(reading.task("t-1"), caching.ASKED_MS / 2_000) is not None


async def test_who_asked_and_died_is_waited_for_no_longer_than_said(
    queue: Queue, reading: CachedReading, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.write([task()])
    monkeypatch.setattr(caching, "ASKED_MS", 30)
    answers = AnswerCache(queue.scripts, queue.keys)
    assert (await answers.look(Subject("task", "t-1"), digest())).is_ours_to_ask

    assert await reading.task("t-1") is not None


async def test_a_server_that_lost_the_announcement_is_told_again_before_the_store_is_asked(
    queue: Queue, reading: CachedReading, store: SqliteStore
) -> None:
    await reading.task("other")
    await queue.client.delete(queue.keys.caching())  # as a failover loses it

    assert await reading.task("t-1") is None
    await send_and_drain(queue, store, STATE, task())

    assert await reading.task("t-1") is not None


async def test_answers_are_forgotten_by_pattern(
    reading: CachedReading, cache: Cache, counted: CountedStore, store: SqliteStore
) -> None:
    await store.write([task(task_id="t-1"), task(task_id="u-1")])
    for task_id in ("t-1", "u-1", "t-1", "u-1"):
        await reading.task(task_id)

    assert await cache.clear("task:t*") == 1
    for task_id in ("t-1", "u-1"):
        await reading.task(task_id)

    assert counted.asked == ["task", "task", "task"]


async def test_a_kind_without_a_time_to_live_is_not_kept(
    queue: Queue, counted: CountedStore, store: SqliteStore
) -> None:
    cache = Cache.at(queue.scripts.url, namespace=queue.keys.namespace, cache_task_s=0)
    reading = CachedReading(counted, cache)

    await reading.task("t-1")
    await reading.task("t-1")
    await cache.close()

    assert counted.asked == ["task", "task"]


async def test_an_answer_is_asked_for_again_after_its_time(
    queue: Queue, reading: CachedReading, counted: CountedStore
) -> None:
    answers = AnswerCache(queue.scripts, queue.keys)
    subject = Subject("task", "t-1")
    token = (await answers.look(subject, "q")).token
    assert await answers.keep(subject, "q", token, b"answer", 10_000)
    assert (await answers.look(subject, "q")).answer == b"answer"

    assert await answers.keep(subject, "q", token, b"answer", 0)

    assert (await answers.look(subject, "q")).is_ours_to_ask


async def test_a_subject_with_too_many_answers_begins_anew(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caching, "MOST_ANSWERS", 3)
    answers = AnswerCache(queue.scripts, queue.keys)
    subject = Subject("tasks")
    kept = []
    for number in range(6):
        look = await answers.look(subject, str(number))
        kept.append(await answers.keep(subject, str(number), look.token, b"answer", 10_000))

    assert kept[:3] == [True, True, True]
    assert not all(kept)
    assert await queue.client.hlen(queue.keys.cached("tasks")) <= 2 * 3 + 3


async def test_a_subject_with_too_many_bytes_begins_anew(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caching, "MOST_BYTES", 10)
    answers = AnswerCache(queue.scripts, queue.keys)
    subject = Subject("tasks")
    kept = []
    for number in range(4):
        look = await answers.look(subject, str(number))
        kept.append(await answers.keep(subject, str(number), look.token, b"5byte", 10_000))

    assert kept == [True, True, False, True]


async def test_an_answer_too_large_for_the_queue_servers_memory_is_not_kept(
    reading: CachedReading, counted: CountedStore, store: SqliteStore
) -> None:
    await store.write([_build.task(task_id="t-1", data={"text": "x" * MAX_ANSWER_BYTES})])

    async with asyncio.timeout(caching.ASKED_MS / 2_000):
        assert await reading.task("t-1") == await reading.task("t-1")

    assert counted.asked == ["task", "task"]


async def test_hits_and_misses_of_all_readers_are_counted(
    queue: Queue, cache: Cache, reading: CachedReading, store: SqliteStore
) -> None:
    await store.write([task()])
    for _ in range(4):
        await reading.task("t-1")
    await cache.close()

    assert await AnswerCache(queue.scripts, queue.keys).counts() == (3, 1)


async def test_workers_forget_nothing_where_nobody_keeps_answers(queue: Queue, store: SqliteStore) -> None:
    answers = AnswerCache(queue.scripts, queue.keys)
    subject = Subject("task", "t-1")
    await answers.look(subject, "q")

    assert not await answers.is_used()
    await send_and_drain(queue, store, STATE, task())

    assert await queue.client.exists(queue.keys.cached(*subject))


async def test_without_a_server_the_same_program_runs_uncached(
    tmp_path: Path, counted: CountedStore, store: SqliteStore, caplog: pytest.LogCaptureFixture
) -> None:
    await store.write([task()])
    now = [100.0]
    with EmbeddedQueue(tmp_path / "queue") as server:
        cache = Cache(CacheSettings(redis_url=server.url), clock=lambda: now[0])
        reading = CachedReading(counted, cache)
        await reading.task("t-1")
        await reading.task("t-1")
        kept = list(counted.asked)

    found = [await reading.task("t-1") for _ in range(3)]
    await cache.close()

    assert kept == ["task"]
    assert [each.status for each in found if each] == ["pending"] * 3
    assert counted.asked == ["task"] * 4


def test_subjects_are_what_a_record_changes() -> None:
    value = KeyValue(new_id(), 1, bytes(16), "n", "k")
    log = LogEvent(new_id(), 1, 20, "event")
    status = _build.task_status(task_id="t-2", status="failed")
    state = _build.agent_state(agent_id="a-1")
    gone = MessageDeletion(new_id(), 1, "s-2")

    assert subjects_of([value, log]) == set()
    assert subjects_of([task(), status]) == {Subject("task", "t-1"), Subject("task", "t-2"), Subject("tasks")}
    assert subjects_of([state]) == {Subject("agent_state", "a-1"), Subject("agent_states")}
    assert subjects_of([message(), gone]) == {
        Subject("session", "s-1"),
        Subject("session", "s-2"),
        Subject("sessions"),
    }


def test_rows_of_another_release_are_no_answer() -> None:
    with pytest.raises(BadAnswer):
        unpacked(packed({"id": "s-1", "field_of_theirs": 1}), Session)
    with pytest.raises(BadAnswer):
        unpacked(b"\xc1", Session)


def test_a_time_to_live_beyond_a_day_is_refused() -> None:
    with pytest.raises(InvalidSetting, match=r"cache_tasks_s is 90000; 0 to 86,400"):
        CacheSettings(cache_tasks_s=90_000)


async def test_a_reader_of_the_environment_keeps_answers_where_it_is_told_to(
    queue: Queue, store: SqliteStore, tmp_path: Path
) -> None:
    await store.write([task()])
    environment = {
        "PENSTOCK_SQL_URL": f"sqlite:///{tmp_path}/state.db",
        "PENSTOCK_REDIS_URL": queue.scripts.url,
        "PENSTOCK_NAMESPACE": queue.keys.namespace,
    }
    answers = AnswerCache(queue.scripts, queue.keys)

    async with Reader.from_env(environment) as reader:
        assert await reader.task("t-1")
    unused = await answers.is_used()
    async with Reader.from_env({**environment, "PENSTOCK_CACHE": "on"}) as reader:
        assert await reader.task("t-1") == await reader.task("t-1")

    assert not unused
    assert await answers.counts() == (1, 1)
