"""The line to the queue server is cut, slow, deaf or blocked: for producers alone, or for workers alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

from penstock.embedded import EmbeddedQueue
from penstock.testing.proxy import Proxy
from penstock.testing.system import System
from tests.faults.watching import agents_done, judged_sound, took_over

FAULTS: dict[str, Callable[[Proxy], AbstractContextManager[None]]] = {
    "refused": lambda proxy: proxy.refusing(),
    "slow": lambda proxy: proxy.delayed(1.0),
    "deaf": lambda proxy: proxy.deaf(),
    "blocked": lambda proxy: proxy.black_hole(),
}

FAULT_S = 2.5
"""Longer than a lease."""


@pytest.fixture
def proxy(queue_server: EmbeddedQueue) -> Iterator[Proxy]:
    with Proxy(queue_server.url) as proxy:
        yield proxy


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("whose", ["agent", "worker"])
async def test_a_line_that_fails_costs_only_time(proxy: Proxy, system: System, whose: str, fault: str) -> None:
    direct = system.server.url
    system.settings["PENSTOCK_REDIS_URL"] = proxy.url if whose == "worker" else direct
    system.start_worker()
    await system.workers_alive(1)
    system.settings["PENSTOCK_REDIS_URL"] = proxy.url if whose == "agent" else direct
    system.start_agent(seconds=4, rate=300)
    await took_over(system)
    await asyncio.sleep(1)
    with FAULTS[fault](proxy):
        await asyncio.sleep(FAULT_S)

    await agents_done(system)
    await judged_sound(system, accepted=500)
    assert system.workers[0].poll() is None


@pytest.mark.parametrize("whose", ["agent", "worker"])
async def test_connections_that_are_cut_again_and_again_cost_only_time(
    proxy: Proxy, system: System, whose: str
) -> None:
    direct = system.server.url
    system.settings["PENSTOCK_REDIS_URL"] = proxy.url if whose == "worker" else direct
    system.start_worker()
    await system.workers_alive(1)
    system.settings["PENSTOCK_REDIS_URL"] = proxy.url if whose == "agent" else direct
    agent = system.start_agent(seconds=4, rate=300)
    while agent.poll() is None:
        await asyncio.sleep(0.2)
        proxy.cut()

    await agents_done(system)
    await judged_sound(system, accepted=500)
    assert system.workers[0].poll() is None
