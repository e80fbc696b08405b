"""Workers die while values go to a store of their own: each key ends at its last value, beside all other state."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from penstock.embedded import EmbeddedQueue
from penstock.query import Reader
from penstock.testing.system import System

SETS, KEYS = 2_000, 100


@pytest.mark.parametrize("sort", ["dbm", "redis"])
async def test_a_killed_worker_costs_no_value_and_no_task(
    tmp_path: Path, queue_server: EmbeddedQueue, namespace: str, sort: str
) -> None:
    url = f"dbm:///{tmp_path}/values" if sort == "dbm" else f"{queue_server.url}?prefix={namespace}"
    system = System(tmp_path, queue_server, {"PENSTOCK_KEY_VALUE_URL": url})
    try:
        first, _ = system.start_worker(), system.start_worker()
        await system.workers_alive(2)
        async with system.producer() as producer:
            for number in range(SETS):
                producer.key_value(key=f"k{number % KEYS}", value=number)
                if number % 40 == 0:
                    producer.task(task_id=f"t{number}")
                    await asyncio.sleep(0.01)  # so that the death falls in the middle
                if number == SETS // 2:
                    first.send_signal(signal.SIGKILL)
            await producer.flush(until="stored", timeout=60)
        counts = await system.counts()
    finally:
        system.stop()

    async with Reader.open(sql=system.sql_url, key_values=url) as reader:
        stored = {each.key: each.value for each in await reader.key_values(limit=1_000)}
        assert stored == {f"k{number % KEYS}": number for number in range(SETS - KEYS, SETS)}
        assert await reader.count_tasks() == SETS // 40
    async with Reader.open(sql=system.sql_url) as reader:
        assert not (await reader.key_values()).items
    assert (counts.stored, counts.pending, counts.dead) == (SETS + SETS // 40, 0, 0)
    assert counts.balanced
