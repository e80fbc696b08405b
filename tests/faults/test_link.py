"""The line to the queue server is cut, slow, deaf or blocked: for producers alone, then for workers alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

from penstock.embedded import EmbeddedQueue
from penstock.testing.proxy import Proxy
from penstock.testing.system import System
from tests.faults.watching import agents_done, flowing, judged_sound

FAULTS: dict[str, Callable[[Proxy], AbstractContextManager[None]]] = {
    "refused": lambda line: line.refusing(),
    "slow": lambda line: line.delayed(1.0),
    "deaf": lambda line: line.deaf(),
    "blocked": lambda line: line.black_hole(),
}

FAULT_S = 2.5
"""Longer than a lease."""

Lines = tuple[Proxy, Proxy]
"""The agent's and the worker's."""


@pytest.fixture
def lines(queue_server: EmbeddedQueue) -> Iterator[Lines]:
    with Proxy(queue_server.url) as agents, Proxy(queue_server.url) as workers:
        yield agents, workers


async def start(system: System, lines: Lines) -> None:
    """A worker and an agent, each on its own line, with records on their way."""
    agents, workers = lines
    system.settings["PENSTOCK_REDIS_URL"] = workers.url
    system.start_worker()
    await system.workers_alive(1)
    system.settings["PENSTOCK_REDIS_URL"] = agents.url
    system.start_agent(seconds=2 * FAULT_S + 2, rate=300)
    await flowing(system)


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_line_that_fails_costs_only_time(lines: Lines, system: System, fault: str) -> None:
    await start(system, lines)
    for line in lines:
        with FAULTS[fault](line):
            await asyncio.sleep(FAULT_S)

    await agents_done(system)
    await judged_sound(system, accepted=500)
    assert system.workers[0].poll() is None


async def test_connections_that_are_cut_again_and_again_cost_only_time(lines: Lines, system: System) -> None:
    await start(system, lines)
    for line in lines:
        for _ in range(10):
            await asyncio.sleep(0.2)
            line.cut()

    await agents_done(system)
    await judged_sound(system, accepted=500)
    assert system.workers[0].poll() is None
