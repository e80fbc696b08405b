"""Values under keys as an agent has them: at once in any store, and behind, where what was set is read at once."""

from __future__ import annotations

import asyncio
import dbm
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import redis
from structlog.testing import capture_logs

from penstock.direct import StoreNotOpen, open_key_values
from penstock.direct.key_values import KeyValues
from penstock.embedded import EmbeddedQueue, free_port
from penstock.producer import Producer
from penstock.producer.errors import BufferFull, ProducerClosed
from penstock.query import Reader
from penstock.stores.divided import DividedStore
from penstock.stores.errors import BadStoreURL, StoreRejected, StoreUnavailable
from penstock.stores.redis import open_key_values as open_redis
from penstock.stores.sqlite import SqliteStore
from penstock.wire.errors import InvalidRecord
from penstock.wire.queue import Queue
from penstock.wire.records import KeyValue, Record, Task
from penstock.worker.settings import WorkerConfig
from penstock.worker.site import Stores
from tests.system.command import penstock
from tests.system.drain_support import ListStore, drain_all

NOW_US = 4_000_000_000_000_000
SOON = 20.0
SORTS = ["memory", "sqlite", "dbm", "redis"]


class Clock:
    def __init__(self) -> None:
        self.now_us = NOW_US

    def __call__(self) -> int:
        return self.now_us


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def url_of(tmp_path: Path, queue_server: EmbeddedQueue, namespace: str) -> Callable[[str], str]:
    return {
        "memory": "memory://",
        "sqlite": f"sqlite:///{tmp_path}/values.db?synchronous=NORMAL",
        "dbm": f"dbm:///{tmp_path}/values",
        "redis": f"{queue_server.url}?prefix={namespace}",
    }.__getitem__


@pytest.fixture(params=SORTS)
async def values(
    request: pytest.FixtureRequest, url_of: Callable[[str], str], clock: Clock
) -> AsyncIterator[KeyValues]:
    async with open_key_values(url_of(request.param), clock=clock) as values:
        yield values


@pytest.fixture
async def producer(redis_url: str, namespace: str) -> AsyncIterator[Producer]:
    async with Producer(redis_url, namespace=namespace) as producer:
        yield producer


@pytest.fixture
async def behind(store: SqliteStore, producer: Producer) -> AsyncIterator[KeyValues]:
    """Over the store that the tests drain into."""
    async with open_key_values(store, producer=producer) as values:
        yield values


async def stored(producer: Producer, queue: Queue, store: Any, values: Any) -> None:
    """Have a worker store everything, and *values* hear of it."""
    await producer.flush()
    await drain_all(queue, store)
    async with asyncio.timeout(SOON):
        while len(values._overlay):
            await asyncio.sleep(0.005)


# -- at once --------------------------------------------------------------------------------------


async def test_what_was_set_is_read_as_it_was(values: KeyValues) -> None:
    given: list[Any] = [
        1,
        1.5,
        True,
        None,
        "",
        "text",
        '{"raw": "json"}',
        "[1",
        "null",
        [1, [None]],
        {"a": {"b": "é𝄞"}},
    ]
    for number, value in enumerate(given):
        await values.set(f"k{number}", value)

    assert [await values.get(f"k{number}", "nothing") for number in range(len(given))] == given
    assert await values.get_many(["k9", "never", "k3", "k0"], default="-") == [given[9], "-", None, 1]
    assert await values.get("never") is None
    assert await values.get("never", 7) == 7


async def test_the_last_set_wins_and_takes_the_time_to_live_with_it(values: KeyValues, clock: Clock) -> None:
    await values.set("k", 1, ttl_s=10)
    await values.set("k", 2)
    clock.now_us += 11_000_000

    assert await values.get("k") == 2


async def test_a_value_is_there_until_its_time_is_over(values: KeyValues, clock: Clock) -> None:
    await values.set("k", 1, ttl_s=10)
    clock.now_us += 9_900_000
    before = await values.exists("k")
    clock.now_us += 200_000

    assert before
    assert not await values.exists("k")
    assert await values.get_prefix("") == {}
    assert not await values.delete("k")


async def test_a_key_is_claimed_once_until_it_is_deleted_or_expires(values: KeyValues, clock: Clock) -> None:
    answers = [await values.set_if_absent("k", number, ttl_s=10) for number in range(2)]
    clock.now_us += 11_000_000
    answers.append(await values.set_if_absent("k", 2))
    existed = [await values.delete("k"), await values.delete("k")]
    answers.append(await values.set_if_absent("k", 3))

    assert answers == [True, False, True, True]
    assert existed == [True, False]
    assert await values.get("k") == 3


async def test_of_many_callers_one_claims(values: KeyValues) -> None:
    answers = await asyncio.gather(*(values.set_if_absent("k", number) for number in range(20)))

    assert answers.count(True) == 1
    assert await values.get("k") == answers.index(True)


async def test_a_prefix_is_read_and_deleted_by_what_it_says(values: KeyValues) -> None:
    keys = ["a%b", "a_b", "a*b", "a[b]", "ab", "a", "b"]
    for key in keys:
        await values.set(key, key)

    assert await values.get_prefix("a%") == {"a%b": "a%b"}
    assert await values.get_prefix("a[") == {"a[b]": "a[b]"}
    assert list(await values.get_prefix("")) == sorted(keys)
    assert await values.delete_prefix("a*") == 1
    assert await values.delete_prefix("a_") == 1
    assert await values.delete_prefix("a") == 4
    assert await values.get_prefix("") == {"b": "b"}


@pytest.mark.parametrize("sort", ["sqlite", "dbm", "redis"])
async def test_a_process_whose_clock_is_behind_sets_and_deletes_all_the_same(
    url_of: Callable[[str], str], sort: str
) -> None:
    """By stamps alone, as records of producers have them, nothing that it does would take effect."""
    async with (
        open_key_values(url_of(sort), clock=lambda: NOW_US + 3_600_000_000) as ahead,
        open_key_values(url_of(sort), clock=lambda: NOW_US) as values,
    ):
        for key in ("x", "y"):
            await ahead.set(key, "ahead")
        await values.set("x", "behind")
        await values.set("x", "again")

        assert await ahead.get("x") == "again"
        assert await values.delete("y")
        assert await values.set_if_absent("y", 1)
        assert await values.delete("y")
        assert await ahead.get_many(["y"]) == [None]


async def test_namespaces_are_apart(url_of: Callable[[str], str]) -> None:
    async with open_key_values(url_of("redis"), namespace="a") as a, open_key_values(url_of("redis")) as default:
        await a.set("k", 1)

        assert await default.get("k") is None
        assert await a.get("k") == 1


@pytest.mark.parametrize(("key", "value"), [("", 1), ("k" * 256, 1), ("k", float("nan")), ("k", object())])
async def test_what_no_store_keeps_is_refused_at_the_call(url_of: Callable[[str], str], key: str, value: Any) -> None:
    async with open_key_values(url_of("memory")) as values:
        with pytest.raises(InvalidRecord):
            await values.set(key, value)


async def test_one_text_is_no_list_of_keys(url_of: Callable[[str], str]) -> None:
    async with open_key_values(url_of("memory")) as values:
        with pytest.raises(InvalidRecord, match="a list"):
            await values.get_many("abc")


async def test_outside_of_its_block_it_refuses_every_call(url_of: Callable[[str], str]) -> None:
    values = open_key_values(url_of("memory"))

    for call in (values.set("k", 1), values.get("k"), values.delete("k"), values.set_if_absent("k", 1)):
        with pytest.raises(StoreNotOpen):
            await call


# -- what a backend adds --------------------------------------------------------------------------


async def test_redis_keeps_a_value_as_a_hash_that_ends_by_itself(queue_server: EmbeddedQueue, namespace: str) -> None:
    url = f"{queue_server.url}?prefix={namespace}&ttl=3600"
    with redis.Redis.from_url(queue_server.url, decode_responses=True) as client:
        async with open_key_values(url) as values:
            await values.set("theme", {"dark": True})
            await values.set("brief", 1, ttl_s=60)

            names = [f"{namespace}:kv:{{7:default:{key}}}" for key in ("theme", "brief")]
            assert client.hget(names[0], "value") == '{"dark":true}'
            assert [round(client.ttl(name), -1) for name in names] == [3600, 60]
            await values.delete("theme")
            assert client.exists(names[0]) == 0
            assert 0 < client.ttl(f"{namespace}:gone:{{7:default:theme}}") <= 86_400


async def test_a_server_that_lost_its_scripts_is_told_them_again(queue_server: EmbeddedQueue, namespace: str) -> None:
    async with open_key_values(f"{queue_server.url}?prefix={namespace}") as values:
        with redis.Redis.from_url(queue_server.url) as client:
            client.script_flush()

        await values.set("k", 1)

        assert await values.get("k") == 1


async def test_redis_refuses_what_is_somebody_elses_alone(queue_server: EmbeddedQueue, namespace: str) -> None:
    with redis.Redis.from_url(queue_server.url) as client:
        client.set(f"{namespace}:kv:{{7:default:theirs}}", "text")
    async with open_key_values(f"{queue_server.url}?prefix={namespace}") as values:
        with pytest.raises(StoreRejected, match="change prefix"):
            await values.set("theirs", 1)

        await values.set("ours", 1)
        assert await values.get("ours") == 1


async def test_a_closed_dbm_file_is_read_by_the_standard_library(tmp_path: Path) -> None:
    async with open_key_values(f"dbm:///{tmp_path}/values") as values:
        await values.set("k", "text")

    with dbm.open(str(tmp_path / "values")) as file:
        assert b'"text"' in file["7:default:k"]


@pytest.mark.parametrize(
    "url",
    [
        "dbm://host/file", "dbm://", "dbm:///x?tll=5", "dbm:///x?ttl=much", "redis://h/0?tll=5", "redis://h/0?ttl=-1",
        "redis://h/0?ttl=x", "redis://h:port/0", "rediss://h/0?grace=0", "chroma:///x",
    ],
)  # fmt: skip
async def test_a_url_that_makes_no_sense_is_refused_by_name(url: str) -> None:
    with pytest.raises(BadStoreURL):
        open_key_values(url)


# -- behind ---------------------------------------------------------------------------------------


async def test_what_was_set_behind_is_read_at_once_and_stored_then(
    behind: KeyValues, producer: Producer, queue: Queue, store: SqliteStore
) -> None:
    await behind.set("k", {"n": 1})
    await behind.set("k", '{"n": 2}')
    await behind.set("other", 3)

    assert await store.key_value("default", "k", NOW_US) is None
    assert await behind.get("k") == '{"n": 2}'
    assert await behind.get_many(["other", "none", "k"]) == [3, None, '{"n": 2}']
    assert await behind.get_prefix("") == {"k": '{"n": 2}', "other": 3}

    await stored(producer, queue, store, behind)

    assert await behind.get_prefix("") == {"k": '{"n": 2}', "other": 3}
    kept = await store.key_value("default", "k", NOW_US)
    assert kept is not None
    assert kept.value == '{"n": 2}'


async def test_a_deletion_behind_hides_at_once_what_the_store_still_has(
    behind: KeyValues, producer: Producer, queue: Queue, store: SqliteStore
) -> None:
    for key in ("a1", "a2", "b"):
        await behind.set(key, key)
    await stored(producer, queue, store, behind)
    await behind.set("a3", 3)

    told = [await behind.delete("b"), await behind.delete("b"), await behind.delete("never")]
    gone = await behind.delete_prefix("a")

    assert told == [True, False, False]
    assert gone == 3
    assert await behind.get_prefix("") == {}
    assert (await store.key_value("default", "b", NOW_US)) is not None
    await stored(producer, queue, store, behind)
    assert await behind.get_prefix("") == {}


async def test_a_key_that_the_store_tells_twice_is_deleted_behind_once(
    behind: KeyValues, producer: Producer, queue: Queue, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Redis may, whose keys are walked while others come and go."""
    told = store.under

    async def twice(namespace: str, prefix: str, now_us: int) -> AsyncIterator[Any]:
        async for some in told(namespace, prefix, now_us):
            yield some
            yield some

    monkeypatch.setattr(store, "under", twice)
    await behind.set("a1", 1)
    await behind.set("a2", 2)
    await stored(producer, queue, store, behind)

    assert await behind.delete_prefix("a") == 2


async def test_behind_the_later_call_wins_by_the_clocks_of_those_who_called(
    behind: KeyValues, producer: Producer, queue: Queue, store: SqliteStore
) -> None:
    async with open_key_values(store, clock=lambda: NOW_US) as ahead:
        await ahead.set("k", "by a clock that is ahead")
    await behind.set("k", "by the right one")
    at_once = await behind.get("k")
    await stored(producer, queue, store, behind)

    assert at_once == "by the right one"
    assert await behind.get("k") == "by a clock that is ahead"


async def test_a_value_behind_ends_with_its_time_though_the_store_has_an_older_one(
    store: SqliteStore, producer: Producer, queue: Queue, clock: Clock
) -> None:
    async with open_key_values(store, producer=producer, clock=clock) as values:
        await values.set("k", "older")
        await stored(producer, queue, store, values)
        await values.set("k", "newer", ttl_s=0)

        assert await values.get("k") is None


async def test_a_claim_behind_is_decided_by_the_queue_and_read_at_once(
    behind: KeyValues, producer: Producer, queue: Queue, store: SqliteStore
) -> None:
    answers = [await behind.set_if_absent("k", number) for number in range(3)]
    seen = await behind.get("k")
    await stored(producer, queue, store, behind)

    assert answers == [True, False, False]
    assert seen == 0
    assert await behind.get("k") == 0


async def test_a_value_that_becomes_a_dead_letter_is_read_no_more_and_the_log_says_so(
    behind: KeyValues, producer: Producer, queue: Queue
) -> None:
    def refuse(_: object) -> None:
        raise StoreRejected("no room for it")

    await behind.set("k", 1)
    before = await behind.get("k")
    with capture_logs() as lines:
        await stored(producer, queue, ListStore(before=refuse), behind)

    assert before == 1
    assert await behind.get("k") is None
    assert [line["key"] for line in lines if line["event"] == "value not stored"] == ["k"]


async def test_no_more_keys_than_allowed_wait_to_be_stored(
    store: SqliteStore, producer: Producer, queue: Queue
) -> None:
    async with open_key_values(store, producer=producer, unstored=2) as values:
        await values.set("a", 1)
        await values.set("b", 1)
        await values.set("a", 2)
        with pytest.raises(BufferFull, match="at most 2"):
            await values.set("c", 1)
        await stored(producer, queue, store, values)
        await values.set("c", 1)

        assert await values.get_prefix("") == {"a": 2, "b": 1, "c": 1}


async def test_values_that_are_opened_again_hear_of_what_is_stored(
    store: SqliteStore, producer: Producer, queue: Queue
) -> None:
    values = open_key_values(store, producer=producer)
    async with values:
        await values.set("a", 1)
    async with values:
        await values.set("b", 2)
        await stored(producer, queue, store, values)

        assert await values.get_prefix("") == {"a": 1, "b": 2}


async def test_who_waits_for_room_is_told_that_the_producer_has_closed(store: SqliteStore, producer: Producer) -> None:
    async with open_key_values(store, producer=producer, unstored=1) as values:
        await values.set("a", 1)
        deleting = asyncio.create_task(values.delete_prefix("a"))
        await producer.flush()
        await producer.close()

        async with asyncio.timeout(SOON):
            with pytest.raises(ProducerClosed):
                await deleting


async def test_while_the_store_is_away_values_are_set_and_read_back(producer: Producer) -> None:
    async with open_key_values(f"redis://127.0.0.1:{free_port()}/0", producer=producer) as values:
        await values.set("k", 1)

        assert await values.get("k") == 1
        assert await values.set_if_absent("lock", 1)
        with pytest.raises(StoreUnavailable):
            await values.get("other")


# -- through a worker -----------------------------------------------------------------------------


async def test_a_worker_stores_values_apart_from_other_state(
    url_of: Callable[[str], str], queue: Queue, producer: Producer, tmp_path: Path
) -> None:
    config = WorkerConfig(vector_url="memory://", sql_url=f"sqlite:///{tmp_path}/p.db", key_value_url=url_of("redis"))
    producer.task(task_id="t")
    producer.key_value(key="k", value="v")
    await producer.flush()
    stores = Stores(config)
    try:
        await drain_all(queue, await stores.of("state"))
    finally:
        await stores.close()

    async with Reader.open(sql=config.sql_url, key_values=config.key_value_url) as reader:
        assert await reader.task("t") is not None
        assert await reader.value("k") == "v"
        assert [each.key for each in await reader.key_values()] == ["k"]
        assert await reader.get_many(["none", "k"]) == [None, await reader.key_value("k")]
    async with Reader.open(sql=config.sql_url) as reader:
        assert await reader.value("k") is None


async def test_the_command_lists_values_of_a_store_of_their_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"dbm:///{tmp_path}/values"
    async with open_key_values(url) as values:
        for key in ("t%1", "t2", "other"):
            await values.set(key, {"of": key})

    ran = await penstock(capsys, "query", "values", "t%", "--key-value-url", url, "--json")

    assert [(line["key"], line["value"]) for line in ran.lines()] == [("t%1", {"of": "t%1"})]


async def test_a_batch_is_written_again_where_the_second_store_was_away(tmp_path: Path, redis_url: str) -> None:
    away = f"redis://127.0.0.1:{free_port()}/0"
    stores = Stores(WorkerConfig(vector_url="memory://", sql_url=f"sqlite:///{tmp_path}/p.db", key_value_url=away))
    stamp = bytes(16)
    records: list[Record] = [Task(bytes(16), 1, stamp, "t"), KeyValue(bytes(16), 1, stamp, "n", "k", b"1")]
    gone, back = open_redis(away), open_redis(redis_url)
    try:
        with pytest.raises(StoreUnavailable):
            await stores.of("state")
        sql = await stores.sql()
        with pytest.raises(StoreUnavailable):
            await DividedStore(sql, gone).write(records)
        assert await sql.task("t") is not None
        state = DividedStore(sql, back)
        assert await state.write(records) == 1
        assert [trial.is_new for trial in await state.rehearse(records)] == [False, False]
    finally:
        await gone.close()
        await back.close()
        await stores.close()
