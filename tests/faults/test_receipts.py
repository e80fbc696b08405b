"""Receipts beside real workers: what they call stored is in the database in that moment, whatever dies."""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from penstock.producer import NotStored, Producer
from penstock.producer.receipt import Receipt
from penstock.testing import faults
from penstock.testing.proxy import Proxy
from penstock.testing.stores_seen import sqlite_path
from penstock.testing.system import System
from tests.conformance.sqlite_file import rows

PAGE = Path(__file__).parents[2] / "docs/reading.md"


def is_there(system: System, receipt: Receipt) -> bool:
    """Whether the database has the record, read past the library."""
    wanted = receipt.record_id.hex()
    found = rows(sqlite_path(system.sql_url), f"SELECT 1 FROM messages WHERE id = x'{wanted}'")
    return len(found) == 1


async def stored_and_there(system: System, receipt: Receipt) -> None:
    await receipt.stored(timeout=60)
    assert is_there(system, receipt)


async def send(producer: Producer, count: int) -> list[Receipt]:
    """A few at a time, so that they come in many batches."""
    receipts = []
    for number in range(count):
        receipts.append(producer.message(session_id=f"s{number % 20}", role="user", content=str(number)))
        if number % 20 == 0:
            await asyncio.sleep(0.01)
    return receipts


async def test_what_is_called_stored_is_there_while_workers_die(system: System) -> None:
    for step in ("before-store:4", "after-store:6"):
        system.start_worker(die_at=[step])
    await system.workers_alive(2)
    async with system.producer() as producer:
        receipts = await send(producer, 300)
        system.start_worker()
        async with asyncio.TaskGroup() as group:
            for receipt in receipts:
                group.create_task(stored_and_there(system, receipt))
        await producer.flush("stored", timeout=60)

    assert [worker.poll() for worker in system.workers].count(-signal.SIGKILL) == 2
    counts = await system.counts()
    assert (counts.accepted, counts.stored, counts.balanced) == (300, 300, True)


async def test_waits_go_on_through_a_killed_queue_server_and_cut_connections(tmp_path: Path) -> None:
    with System.alone(tmp_path) as system, Proxy(system.server.url) as proxy:
        settings = {**system.environment, "PENSTOCK_REDIS_URL": proxy.url}
        async with Producer.from_env(settings) as producer:
            receipts = await send(producer, 100)
            await producer.flush(timeout=20)
            waits = [asyncio.create_task(stored_and_there(system, receipt)) for receipt in receipts]
            flushed = asyncio.create_task(producer.flush("stored", timeout=60))
            await asyncio.sleep(0)
            proxy.cut()
            with faults.server_away(system.server):
                await asyncio.wait([flushed], timeout=0.3)
            assert not any(wait.done() for wait in waits)

            system.start_worker()
            await asyncio.gather(*waits, flushed)

        counts = await system.counts()
        assert (counts.accepted, counts.stored, counts.balanced) == (100, 100, True)


async def test_a_wait_for_a_store_that_is_away_tells_why_and_ends_when_it_is_back(system: System) -> None:
    system.settings["PENSTOCK_SQL_URL"] = f"sqlite:///{system.database}?busy_timeout_ms=300"
    system.start_worker()
    async with system.producer() as producer:
        await producer.message(session_id="s", role="user", content="first").stored(timeout=20)
        with faults.sqlite_locked(system.sql_url):
            receipt = producer.message(session_id="s", role="user", content="second")
            async with asyncio.timeout(30):
                while "the store of lane messages is away" not in await reason(receipt):
                    assert not is_there(system, receipt)

        await stored_and_there(system, receipt)


async def reason(receipt: Receipt) -> str:
    with pytest.raises(NotStored) as raised:
        await receipt.stored(timeout=0.2)
    return str(raised.value)


async def test_the_example_of_reading_ones_own_writes_prints_them(system: System) -> None:
    _, example = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    system.start_worker()
    await system.workers_alive(1)  # the page's patience begins with a system that runs

    shown = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", example],
        env=system.environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert shown.stdout.splitlines() == [
        "['How deep is it?']",
        "['How deep is it?', 'Forty metres.'] 40",
        "NotStored",
    ]
