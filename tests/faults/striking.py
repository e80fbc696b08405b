"""A store is struck while records of every kind flow to it: what its lanes do meanwhile, and the verdict at the end."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

from penstock.testing.system import Process, System
from penstock.wire.entries import Counts
from penstock.wire.queue import Queue
from tests.faults.watching import agents_done, judged_sound

AGENTS = 2
RATE = 1_000
"""Calls a second of each agent."""

SQL_LANES = ("messages", "logs", "state")

A_SECOND = {"messages": 1_000, "logs": 150, "state": 150, "embeddings": 150}
"""What comes in somewhat less than a second. A lane that flows holds less than that, open streams included, but on a
machine that is busy elsewhere."""

_LOOK_S = 0.02

_PATIENCE_S = 60
"""For a machine that is busy elsewhere. `test_outage` is the one that looks at the clock."""


class Load:
    """Records that flow, and the lanes that they flow in."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    async def flows(self, *lanes: str, records: int = 100) -> None:
        """Wait until each of *lanes* has stored that many more."""
        began = await self._counts()
        await self._until(lambda now: all(now[lane].stored - began[lane].stored >= records for lane in lanes))

    async def waits(self, *lanes: str, seconds: float = 2) -> None:
        """Wait until each of *lanes* holds what came in so many seconds, which no lane does whose store is there."""
        await self._until(lambda now: all(now[lane].pending >= seconds * A_SECOND[lane] for lane in lanes))

    async def _until(self, holds: Callable[[Mapping[str, Counts]], bool]) -> None:
        async with asyncio.timeout(_PATIENCE_S):
            while not holds(await self._counts()):
                await asyncio.sleep(_LOOK_S)

    async def _counts(self) -> Mapping[str, Counts]:
        found = {lane: Counts() for lane in (*SQL_LANES, "embeddings")}
        for where, counts in (await self._queue.counts()).items():
            found[where.lane] += counts
        return found


@asynccontextmanager
async def under_load(system: System, before_verdict: Callable[[], None] = lambda: None) -> AsyncIterator[Load]:
    """Have agents send until every lane flows again after the block, in which a store is struck and heals.

    The system's workers are there already. Nothing may be lost, twice, out of order or among the dead letters.
    *before_verdict* is called once all is stored.
    """
    for seed in range(AGENTS):
        system.start_agent(seed=seed, seconds=300, rate=RATE)
    async with Queue(system.server.url, system.namespace) as queue:
        load = Load(queue)
        await load.flows(*SQL_LANES, "embeddings")
        yield load
        await load.flows(*SQL_LANES, "embeddings")
    for agent in system.agents:
        agent.send_signal(signal.SIGTERM)
    await agents_done(system)
    await system.drained()
    before_verdict()
    await judged_sound(system, accepted=AGENTS * RATE)
    assert (await system.counts()).dead == 0


def start_worker(system: System, command: Sequence[str]) -> Process:
    """A worker whose command begins with *command*."""
    with (system.folder / f"worker-{len(system.workers)}.log").open("wb") as log:
        worker = subprocess.Popen(
            [*command, sys.executable, "-m", "penstock.cli", "worker"], env=system.environment, stdout=log, stderr=log
        )
    system.workers.append(worker)
    return worker
