"""State and deletions on their whole way: from the producer's call through a worker's drain into SQLite."""

from __future__ import annotations

from datetime import UTC, datetime

from penstock.producer import BlockingProducer, Producer
from penstock.stores.queries import MessageQuery, TaskQuery
from penstock.stores.sqlite import SqliteStore
from penstock.wire.ids import StampClock, id_from_key
from penstock.wire.queue import Queue
from tests.system.drain_support import drain_all, total

NOW_US = 1_900_000_000_000_000
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


async def test_state_of_every_kind_is_stored_and_the_audit_adds_up(
    queue: Queue, redis_url: str, namespace: str, store: SqliteStore
) -> None:
    async with Producer(redis_url, namespace=namespace) as producer:
        producer.task(task_id="t1", agent_id="a1", description="Count", data={"n": 3}, result={"old": True})
        producer.task_status(task_id="t1", status="running", started_at=LONG_AGO)
        producer.task_status(task_id="t1", status="completed", duration_s=2, result=[1, 2])
        producer.agent_state(agent_id="a1", state="busy", role="coder", stats={"done": 1})
        producer.context(context_id="c1", agent_id="a1", data={"x": 1}, ttl_s=10**9)
        producer.key_value(key="theme", value="dark")

    await drain_all(queue, store)
    task, agent = await store.task("t1"), await store.agent_state("a1")
    context, value = await store.context("c1", NOW_US), await store.key_value("default", "theme", NOW_US)
    counts = await total(queue)

    assert task is not None
    assert (task.status, task.started_at, task.duration_s, task.result) == ("completed", LONG_AGO, 2.0, [1, 2])
    assert (task.description, task.data, task.agent_id) == ("Count", {"n": 3}, "a1")
    assert agent is not None
    assert (agent.state, agent.role, agent.stats) == ("busy", "coder", {"done": 1})
    assert context is not None
    assert context.data == {"x": 1}
    assert value is not None
    assert value.value == "dark"
    assert (counts.accepted, counts.stored, counts.balanced) == (6, 6, True)


async def test_what_is_deleted_stays_deleted_until_it_is_saved_anew(
    queue: Queue, redis_url: str, namespace: str, store: SqliteStore
) -> None:
    async with Producer(redis_url, namespace=namespace) as producer:
        for task in ("t1", "t2"):
            producer.task(task_id=task)
            producer.delete_task(task)
        producer.task(task_id="t2", description="again")

    await drain_all(queue, store)

    assert [task.id for task in await store.tasks(TaskQuery())] == ["t2"]
    assert await store.count_tasks(TaskQuery()) == 1


async def test_a_deleted_session_begins_anew_with_what_comes_later(
    queue: Queue, redis_url: str, namespace: str, store: SqliteStore
) -> None:
    async with Producer(redis_url, namespace=namespace) as producer:
        for number in range(3):
            producer.message(session_id="s", role="user", content=f"old {number}")
        async with producer.stream(session_id="s", role="assistant") as stream:
            stream.write("opened before, ")
            producer.delete_session("s")
            stream.write("closed after")
        producer.message(session_id="s", role="user", content="new")

    await drain_all(queue, store)
    session = await store.session("s")

    assert [message.content for message in await store.messages(MessageQuery(session_id="s"))] == ["new"]
    assert session is not None
    assert session.message_count == 1
    assert (await total(queue)).balanced


async def test_a_stream_that_is_deleted_while_it_is_open_is_hidden_when_it_is_stored(
    queue: Queue, redis_url: str, namespace: str, store: SqliteStore
) -> None:
    async with Producer(redis_url, namespace=namespace) as producer:
        stream_id = id_from_key("stream")
        async with producer.stream(session_id="s", role="assistant", id=stream_id) as stream:
            stream.write("half")
            producer.delete_message(stream_id, session_id="s")
            stream.write(" and half")

    await drain_all(queue, store)
    stored, session = await store.message(stream_id), await store.session("s")

    assert stored is not None
    assert (stored.content, stored.deleted) == ("half and half", True)
    assert await store.messages(MessageQuery(session_id="s")) == []
    assert session is not None
    assert session.message_count == 0


async def test_state_of_one_key_lies_in_one_partition_in_the_order_of_the_calls(
    queue: Queue, redis_url: str, namespace: str
) -> None:
    async with Producer(redis_url, namespace=namespace) as producer:
        for number in range(50):
            producer.key_value(key="k", value=number)

    entries = {where: await queue.read(where, 100) for where in queue.all_partitions()}
    (filled,) = [where for where, found in entries.items() if found]

    assert filled.lane == "state"
    assert sum(entry.records for entry in entries[filled]) == 50


def test_threads_send_state_too(redis_url: str, namespace: str) -> None:
    with BlockingProducer(redis_url, namespace=namespace) as producer:
        receipts = [producer.agent_state(agent_id=f"a{number}") for number in range(3)]
        for receipt in receipts:
            receipt.queued(timeout=20)

        assert len({receipt.id for receipt in receipts}) == 3


def test_stamps_rise_though_the_clock_goes_back_and_follow_what_was_observed() -> None:
    times = iter([5_000, 4_000, 4_000, 1_000])
    clock = StampClock(b"producer", lambda: next(times))

    first, second = clock.next(), clock.next()
    clock.observe(bytes.fromhex("0000000000ff0000") + b"somebody")
    third = clock.next()

    assert first < second < third
    assert first[8:] == b"producer"
    assert int.from_bytes(third[:6], "big") == 0xFF
