"""A worker is killed at each step of a slice, or told to end: another goes on, and nothing is lost or repeated."""

from __future__ import annotations

import signal

import pytest

from penstock.testing.system import System
from penstock.worker.steps import Step
from tests.faults.watching import (
    LEASE_S,
    agents_stopped,
    ended,
    flowing,
    judged_sound,
    refuse_poison,
    took_over,
    vectors_known,
)

SWEEP_S = 3.0
"""The sweep looks each second, which makes 2.6 to 3.0 s in all; the rest is for a slow machine."""


@pytest.mark.parametrize("step", [step for step in Step if step is not Step.SHUTDOWN])
async def test_a_worker_killed_at_any_step_is_replaced_within_its_lease(system: System, step: Step) -> None:
    await refuse_poison(system)
    await vectors_known(system)
    system.start_worker()
    doomed = system.start_worker(die_at=[f"{step}:{2 if step is Step.BISECT else 50}"])
    await system.workers_alive(2)
    await system.drained()
    # A step of halving is only where this worker happens to meet a record that is refused.
    system.start_agent(seconds=60, rate=400, poison=0.05 if step is Step.BISECT else 0.02)

    assert await ended(doomed) == -signal.SIGKILL
    assert await took_over(system) < LEASE_S + SWEEP_S

    await flowing(system, records=800)
    await agents_stopped(system)
    await judged_sound(system, accepted=1_000)


async def test_a_worker_that_ends_in_order_hands_over_at_once(system: System) -> None:
    """Twice, each time under load. With a lease of 10 s, of which nobody waits for the end."""
    system.settings["PENSTOCK_LEASE_MS"] = "10000"
    await vectors_known(system)
    _, *leaving = [system.start_worker() for _ in range(3)]
    await system.workers_alive(3)
    await system.drained()
    system.start_agent(seconds=60, rate=400)
    took_s = []
    for worker in leaving:
        await flowing(system, records=400)
        worker.send_signal(signal.SIGTERM)
        took_s.append(await took_over(system))
        assert await ended(worker) == 0

    assert max(took_s) < 5, took_s
    await agents_stopped(system)
    await judged_sound(system, accepted=1_000)


async def test_a_worker_killed_on_its_way_out_is_replaced_within_its_lease(system: System) -> None:
    await vectors_known(system)
    system.start_worker()
    doomed = system.start_worker(die_at=[Step.SHUTDOWN])
    await system.workers_alive(2)
    await system.drained()
    system.start_agent(seconds=60, rate=400)
    await flowing(system, records=300)
    doomed.send_signal(signal.SIGTERM)

    assert await ended(doomed) == -signal.SIGKILL
    assert await took_over(system) < LEASE_S + SWEEP_S

    await agents_stopped(system)
    await judged_sound(system, accepted=500)
