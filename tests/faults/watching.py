"""What fault tests wait for, and the judgement that each of them ends with."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import time

from penstock.stores.registry import sql_store
from penstock.testing.system import Process, System
from penstock.wire.entries import position
from penstock.wire.queue import Queue

LEASE_S = 2.0
"""What `System` sets."""

_LOOK_S = 0.01

_REFUSAL = """
CREATE TRIGGER refusal BEFORE INSERT ON messages WHEN NEW.content LIKE 'poison%'
BEGIN SELECT RAISE(ABORT, 'poison is not stored here'); END
"""


async def ended(process: Process, timeout_s: float = 30) -> int:
    """The exit code of *process*, as soon as it has ended."""
    async with asyncio.timeout(timeout_s):
        while (code := process.poll()) is None:
            await asyncio.sleep(_LOOK_S)
    return code


async def flowing(system: System, records: int = 200, timeout_s: float = 30) -> None:
    """Wait until the queue has accepted so many records more."""
    wanted = (await system.counts()).accepted + records
    async with asyncio.timeout(timeout_s):
        while (await system.counts()).accepted < wanted:
            await asyncio.sleep(_LOOK_S)


async def took_over(system: System, timeout_s: float = 30) -> float:
    """Seconds until all that lies in the logs at this moment is settled."""
    began = time.monotonic()
    async with asyncio.timeout(timeout_s), Queue(system.server.url, system.namespace) as queue:
        wanted = {}
        for where in queue.all_partitions():
            last = await queue.client.xrevrange(queue.keys.log(where), count=1)
            if last:
                wanted[where] = position(last[0][0].decode())
        while wanted:
            for where, upto in list(wanted.items()):
                head = await queue.read(where, 1)
                if not head or position(head[0].id) > upto:
                    del wanted[where]
            await asyncio.sleep(_LOOK_S)
    return time.monotonic() - began


async def refuse_poison(system: System) -> None:
    """Have the database refuse what agents send as poison."""
    store = sql_store(system.sql_url)
    await store.setup()
    await store.close()
    connection = sqlite3.connect(system.database, isolation_level=None, timeout=10)
    connection.execute(_REFUSAL)
    connection.close()


async def vectors_known(system: System) -> None:
    """Have workers that start from now on load the driver of vectors at once, and not when they take over."""
    system.start_agent(seed=99, seconds=0.5, rate=400)
    await agents_done(system)


async def agents_stopped(system: System) -> None:
    """Tell every agent to end, which it does well once all that it had is sent."""
    for agent in system.agents:
        agent.send_signal(signal.SIGTERM)
    await agents_done(system)


async def agents_done(system: System, timeout_s: float = 60) -> None:
    """Wait until every agent has sent all it had, and ended well."""
    assert [await ended(agent, timeout_s) for agent in system.agents] == [0] * len(system.agents)


async def judged_sound(system: System, *, accepted: int = 1) -> None:
    """Wait until nothing is pending; then nothing may be lost, twice or out of order, and everything adds up."""
    counts = await system.drained()
    assert counts.balanced, counts
    verdict = await system.check()
    assert verdict.sound, str(verdict)
    assert verdict.totals["accepted"] >= accepted
