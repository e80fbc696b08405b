"""A worker is stopped past its lease and wakes up: it is refused, and what its successor wrote stays."""

from __future__ import annotations

import pytest

from penstock.testing.system import System
from penstock.worker.steps import Step
from tests.faults.watching import LEASE_S, agents_done, judged_sound


@pytest.mark.parametrize("step", [Step.BEFORE_STORE, Step.AFTER_STORE])
async def test_a_worker_that_wakes_up_after_its_lease_settles_nothing(system: System, step: Step) -> None:
    """Its lane holds key-values too: none of them may go back to what the sleeper was about to write."""
    pause_s = LEASE_S + 1.5
    sleeper = system.start_worker(pause_at=[f"{step}:{pause_s}:20"])
    await system.workers_alive(1)
    system.start_worker()
    system.start_agent(seconds=6, rate=400)

    await agents_done(system)
    await judged_sound(system, accepted=1_000)
    assert sleeper.poll() is None, "it goes on with what it holds by right"


async def test_a_worker_alone_that_sleeps_again_costs_only_time(system: System) -> None:
    pauses = [f"{step}:{LEASE_S + 0.5}:5" for step in (Step.BEFORE_STORE, Step.AFTER_STORE)]
    system.start_worker(pause_at=pauses)
    await system.workers_alive(1)
    system.start_agent(seconds=3, rate=300)

    await agents_done(system)
    await judged_sound(system, accepted=500)
