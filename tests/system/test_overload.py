"""Servers that would lose records are refused; one that fills up is given time; a hot session takes its share only."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from penstock.producer import BlockingProducer, BufferFull, NotQueued, Producer, ProducerSettings
from penstock.producer.guard import Guard, MemoryGate
from penstock.testing.system import System
from penstock.wire.entries import Push
from penstock.wire.errors import ConfigMismatch, QueueFull
from penstock.wire.frames import Frame
from penstock.wire.keys import partition_of
from penstock.wire.queue import Queue
from penstock.wire.server import Memory, facts_of
from tests.system.producer_support import working
from tests.system.queue_support import NO_CAP, WHERE

SOON = 10.0


@pytest.mark.parametrize(
    ("setting", "value", "told"),
    [
        ("maxmemory-policy", "allkeys-lru", "it evicts: maxmemory is 500,000,000 bytes"),
        ("appendonly", "no", "it keeps nothing on disk"),
    ],
)
async def test_producers_refuse_a_server_that_loses_records(
    own_server: Queue, setting: str, value: str, told: str
) -> None:
    await own_server.client.config_set("maxmemory", "500000000")
    await own_server.client.config_set(setting, value)
    url = own_server.scripts.url

    with capture_logs():
        with pytest.raises(ConfigMismatch, match=told):
            async with Producer(url):
                pass
        with pytest.raises(ConfigMismatch, match="or set server_check to warn"), BlockingProducer(url):
            pass


@pytest.mark.parametrize(("check", "lines"), [("warn", 1), ("off", 0)])
async def test_a_server_that_loses_records_is_taken_by_setting(own_server: Queue, check: str, lines: int) -> None:
    await own_server.client.config_set("appendonly", "no")
    settings = ProducerSettings(redis_url=own_server.scripts.url, server_check=check)  # type: ignore[arg-type] # a str

    with capture_logs() as said:
        async with Producer(settings=settings) as producer:
            await producer.message(session_id="s", role="user", content="taken").queued(timeout=SOON)

    assert [line["event"] for line in said] == ["queue server may lose records"] * lines


async def test_a_server_where_config_is_forbidden_is_taken_and_what_is_unknown_said(own_server: Queue) -> None:
    """As a managed server has it."""
    await own_server.client.config_set("appendonly", "no")
    await own_server.client.acl_setuser(
        "managed", enabled=True, passwords="+pw", keys="*", commands=["+@all", "-config"]
    )
    url = own_server.scripts.url.replace("redis://", "redis://managed:pw@")

    with capture_logs() as said:
        async with Producer(url) as producer:
            await producer.message(session_id="s", role="user", content="taken").queued(timeout=SOON)
        async with Queue(url) as queue:
            facts = await facts_of(queue.scripts)

    assert (facts.aof, facts.save, facts.appendfsync) == (False, None, None)
    (line,) = said
    assert "CONFIG is not allowed: whether it takes snapshots is not known" in line["reason"]
    assert "managed:***@" in line["server"]


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


async def _use(queue: Queue, share: float) -> None:
    """Have the server use that share of its memory."""
    used = (await queue.client.info("memory"))["used_memory"]
    await queue.client.config_set("maxmemory", int(used / share))


async def test_at_the_memory_gate_nothing_is_pushed_until_less_is_used(own_server: Queue) -> None:
    clock = Clock()
    guard = Guard(own_server, ProducerSettings(), clock)
    pushes = [Push(WHERE, "p", 1, [Frame(b"f", 1)])]
    with capture_logs() as said:
        for share, pushed in ((0.9, False), (0.68, False), (0.6, True), (0.68, True), (0.9, False)):
            await _use(own_server, share)
            clock.now_s += 1.1
            if pushed:
                await guard.push(pushes, NO_CAP)
            else:
                with pytest.raises(
                    QueueFull, match=r"above memory_gate \(0\.7\); start more workers or raise maxmemory"
                ):
                    await guard.push(pushes, NO_CAP)

    assert [line["event"].split(";")[0] for line in said] == [
        "memory gate closes",
        "memory gate opens",
        "memory gate closes",
    ]
    await own_server.client.config_set("maxmemory", 0)
    clock.now_s += 1.1
    await guard.push(pushes, NO_CAP)


@pytest.mark.parametrize(
    ("maxmemory", "looks"),
    [
        pytest.param(0, [0, 10, 20], id="no limit"),
        pytest.param(10**12, [0, 10, 20], id="far from the mark"),
        pytest.param(60 * 10**6, [*range(25)], id="a second from the mark"),
    ],
)
async def test_the_memory_is_looked_at_the_more_often_the_less_is_left(
    own_server: Queue, maxmemory: int, looks: list[int]
) -> None:
    clock = Clock()
    guard = Guard(own_server, ProducerSettings(), clock)
    await own_server.client.config_set("maxmemory", maxmemory)
    looked_at = []
    for second in range(25):
        clock.now_s = float(second)
        before = await _looks(own_server)
        await guard.push([Push(WHERE, "p", second + 1, [Frame(b"f", 1)])], NO_CAP)
        if await _looks(own_server) - before > 1:  # our own question is one
            looked_at.append(second)

    assert looked_at == looks


async def _looks(queue: Queue) -> int:
    """How often the server was asked for INFO before now."""
    stats = await queue.client.info("commandstats")
    return int(stats.get("cmdstat_info", {}).get("calls", 0))


def test_what_a_producer_at_its_fastest_takes_to_the_mark_may_pass_between_two_looks() -> None:
    gate = MemoryGate(0.7)
    found = []
    for used, limit in ((0, 0), (100, 2_000), (100, 1_000), (540, 1_000), (650, 1_000), (800, 1_000)):
        with capture_logs():
            gate.note(Memory(used * 10**6, limit * 10**6))
        found.append(gate.look_in_s)

    assert found == [10, 10, pytest.approx(7.5), 2, 1, 1]


async def test_a_server_that_nobody_sends_to_is_not_looked_at(own_server: Queue) -> None:
    clock = Clock()
    guard = Guard(own_server, ProducerSettings(), clock)
    before = await _looks(own_server)
    clock.now_s += 60
    await guard.ring([(WHERE, 1)])

    assert await _looks(own_server) - before == 1


async def test_records_wait_at_the_memory_gate_and_go_on_by_themselves(own_server: Queue) -> None:
    settings = ProducerSettings(redis_url=own_server.scripts.url, linger_ms=0, retry_cap_ms=100)
    await _use(own_server, 0.8)
    with capture_logs() as said:
        async with Producer(settings=settings) as producer:
            receipt = producer.message(session_id="s", role="user", content="waits")
            with pytest.raises(NotQueued, match="above memory_gate"):
                await receipt.queued(timeout=0.3)
            await own_server.client.config_set("maxmemory", 0)
            await receipt.queued(timeout=SOON)

    assert [line["event"] for line in said if "gate" in line["event"]] == [
        "memory gate closes; records wait",
        "memory gate opens; sending again",
    ]


async def test_what_is_dropped_at_the_memory_gate_is_counted_for_it(own_server: Queue) -> None:
    settings = ProducerSettings(
        redis_url=own_server.scripts.url, linger_ms=0, overflow="drop", buffer_records=2, close_timeout_s=0.1
    )
    await _use(own_server, 0.8)
    with capture_logs():
        async with Producer(settings=settings) as producer:
            producer.message(session_id="s", role="user", content="waits")
            with pytest.raises(NotQueued, match="above memory_gate"):
                await producer.flush(timeout=0.3)
            for _ in range(3):
                producer.message(session_id="s", role="user", content="more")

    assert producer.dropped == {"memory_gate": 2, "closed": 2}


async def test_a_hot_session_leaves_room_for_the_others_and_loses_nothing(own_server: Queue) -> None:
    hot, cold = (next(f"s{n}" for n in range(100) if partition_of(f"s{n}", 8) == number) for number in (0, 1))
    settings = ProducerSettings(
        redis_url=own_server.scripts.url,
        namespace=own_server.keys.namespace,
        linger_ms=0,
        buffer_records=100,
        backlog_records=10,
        retry_cap_ms=50,
    )
    with capture_logs():
        async with Producer(settings=settings) as producer:
            sent, refusal = 0, ""
            while not refusal:
                try:
                    producer.message(session_id=hot, role="user", content=str(sent))
                    sent += 1
                except BufferFull as exc:
                    refusal = str(exc)
                await asyncio.sleep(0.001)
            assert "nothing for partition messages:0" in refusal
            for number in range(5):
                await producer.ready(timeout=1)
                await producer.message(session_id=cold, role="user", content=str(number)).queued(timeout=SOON)
            with pytest.raises(BufferFull):
                await producer.ready(timeout=0.05, session_id=hot)

            async with working(own_server) as worker:
                await producer.ready(timeout=SOON, session_id=hot)
                await producer.flush("stored", timeout=SOON)

    assert 60 <= sent < 100
    assert worker.contents(hot) == [str(number) for number in range(sent)]
    assert len(worker.contents(cold)) == 5


async def test_a_backlog_of_one_partition_holds_up_no_other(tmp_path: Path) -> None:
    """100,000 records of one session wait when the worker starts; the next of another is stored within a second."""
    with System.alone(tmp_path, appendfsync="everysec") as system:
        cold = next(f"s{n}" for n in range(100) if partition_of(f"s{n}", 8) != partition_of("hot", 8))
        async with system.producer() as producer:
            for _ in range(50):
                for _ in range(2_000):
                    producer.message(session_id="hot", role="user", content="x")
                await producer.flush(timeout=SOON)
            system.start_worker()
            await system.workers_alive(1)
            waits = []
            while (counts := await system.counts()).pending:
                before = time.monotonic()
                await producer.message(session_id=cold, role="user", content="y").stored(timeout=SOON)
                waits.append(time.monotonic() - before)

    assert counts.stored == 100_000 + len(waits)
    assert max(waits) < 1.5, waits
