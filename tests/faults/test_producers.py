"""Producers die, repeat themselves, or share their ids: each record is stored once, and what was accepted is."""

from __future__ import annotations

import asyncio
import signal

import pytest

from penstock.producer import Producer
from penstock.producer.errors import ProducerClosed
from penstock.testing.system import System
from penstock.wire.ids import format_id, id_from_key
from tests.faults.watching import ended, flowing, judged_sound


async def test_a_killed_producer_costs_what_it_had_not_sent_and_nothing_else(system: System) -> None:
    """Its open streams end as interrupted, with what the queue has."""
    system.settings["PENSTOCK_STREAM_TIMEOUT_MS"] = "1000"
    system.start_worker()
    await system.workers_alive(1)
    killed, living = system.start_agent(seconds=60, rate=300), system.start_agent(seed=1, seconds=4, rate=300)
    await flowing(system, records=600)
    killed.kill()

    assert await ended(living) == 0
    assert await ended(killed) == -signal.SIGKILL
    await judged_sound(system, accepted=1_000)


async def test_producers_that_send_the_same_ids_make_each_record_once(system: System) -> None:
    system.start_worker()
    await system.workers_alive(1)
    ids = [format_id(id_from_key(f"order-{number}")) for number in range(1_000)]

    async def send(order: list[str]) -> None:
        async with system.producer() as producer:
            for number, record_id in enumerate(order):
                producer.message(session_id=f"s{int(record_id[:2], 16) % 7}", role="user", content="same", id=record_id)
                if number % 50 == 0:
                    await asyncio.sleep(0.01)
            await producer.flush(until="stored", timeout=30)

    await asyncio.gather(send(ids), send(ids[::-1]))

    counts = await system.drained()
    assert (counts.accepted, counts.stored, counts.dead, counts.balanced) == (2_000, 2_000, 0, True)
    stored = system.contents()
    assert sum(map(len, stored.values())) == 1_000
    assert system.counters() == {session: len(contents) for session, contents in stored.items()}


async def test_a_program_that_runs_again_with_its_ids_changes_nothing(system: System) -> None:
    """As after a crash: a producer of its own, so that its pushes are not known as repeated."""
    system.start_worker()
    await system.workers_alive(1)
    for _ in range(2):
        async with system.producer() as producer:
            for number in range(500):
                record_id = format_id(id_from_key(f"step-{number}"))
                producer.message(session_id="run", role="user", content=str(number), id=record_id)
            await producer.flush(until="stored", timeout=30)

    assert system.contents() == {"run": [str(number) for number in range(500)]}
    assert system.counters() == {"run": 500}


async def test_a_start_that_is_cancelled_leaves_nothing_running() -> None:
    asked = asyncio.Event()

    async def say_nothing(requests: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
        await requests.read(1)
        asked.set()
        await requests.read()
        answers.close()

    async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as silent:
        producer = Producer(f"redis://127.0.0.1:{silent.sockets[0].getsockname()[1]}/0")
        before = asyncio.all_tasks()
        start = asyncio.create_task(producer.__aenter__())
        await asked.wait()
        start.cancel()
        with pytest.raises(asyncio.CancelledError):
            await start

    assert [task for task in asyncio.all_tasks() - before if task.get_name().startswith("penstock")] == []
    with pytest.raises(ProducerClosed):
        producer.message(session_id="s", role="user", content="nobody sends this")
