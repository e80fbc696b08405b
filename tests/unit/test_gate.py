"""The gate of a lane: when it shuts, whose batch is tried first, and whose fault it is."""

from __future__ import annotations

import random

import pytest

from penstock.wire.keys import Partition
from penstock.worker.gate import Gate

ONE, TWO, THREE = (Partition("messages", number) for number in (1, 2, 3))


class Clock:
    """Milliseconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def gate(clock: Clock) -> Gate:
    return Gate("messages", 2_000, random.Random(1), clock)


def test_it_is_shut_once_whoever_else_finds_the_store_away(gate: Gate, clock: Clock) -> None:
    assert gate.shut(ONE, "locked")
    clock.now += 500
    assert not gate.shut(TWO, "still locked")

    assert gate.is_shut.is_set()
    assert (gate.since_ms, gate.lasted_ms, gate.reason) == (1_000, 500, "still locked")


def test_probes_begin_soon_and_come_more_rarely_up_to_the_cap(gate: Gate) -> None:
    gate.shut(ONE, "locked")

    delays = []
    for _ in range(8):
        delays.append(gate.next_delay_s())
        gate.failed("locked")

    ceilings = [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0, 2.0]
    assert all(ceiling / 2 <= delay <= ceiling for delay, ceiling in zip(delays, ceilings, strict=True))


def test_a_gate_that_shuts_again_later_begins_with_short_pauses(gate: Gate, clock: Clock) -> None:
    gate.shut(ONE, "locked")
    for _ in range(8):
        gate.failed("locked")
    gate.open(ONE)
    clock.now += 5_000
    gate.shut(ONE, "locked")

    assert (gate.probes, gate.relapses) == (0, 0)
    assert gate.next_delay_s() <= 0.1


def test_a_gate_that_shuts_again_at_once_goes_on_with_its_pauses(gate: Gate, clock: Clock) -> None:
    """A disk that is full takes a small batch, and not the large one that comes next."""
    for relapses in range(8):
        gate.shut(ONE, "disk full")
        assert gate.relapses == relapses
        gate.open(ONE)
        clock.now += 1_000

    gate.shut(ONE, "disk full")
    assert gate.next_delay_s() >= 1


def test_the_first_canary_is_of_whoever_shut_it_and_the_next_of_others(gate: Gate) -> None:
    gate.shut(TWO, "no answer")
    tried = []
    for _ in range(4):
        canary = gate.canary_of([ONE, TWO, THREE])
        assert canary is not None
        tried.append(canary)
        gate.missed(canary, "locked")

    assert tried == [TWO, ONE, THREE, TWO]
    assert gate.canary_of([]) is None


def test_a_partition_that_fails_while_another_is_written_is_alone(gate: Gate) -> None:
    gate.shut(ONE, "statement timeout")
    gate.missed(ONE, "locked")
    assert not gate.is_alone(ONE)

    gate.open(TWO)

    assert gate.is_alone(ONE)
    assert not gate.is_alone(TWO)
    assert not gate.is_alone(THREE), "nobody tried it"


def test_one_that_is_written_is_alone_no_more(gate: Gate) -> None:
    gate.shut(ONE, "statement timeout")
    gate.open(TWO)
    gate.wrote(ONE)

    assert not gate.is_alone(ONE)


def test_nobody_is_to_blame_for_an_outage_that_its_own_canary_ended(gate: Gate) -> None:
    gate.shut(ONE, "locked")
    gate.missed(ONE, "locked")
    gate.open(ONE)

    assert not gate.is_alone(ONE)


def test_one_that_is_alone_is_the_last_to_be_tried(gate: Gate) -> None:
    gate.shut(ONE, "statement timeout")
    gate.open(TWO)
    gate.shut(THREE, "no answer")

    assert gate.canary_of([ONE, TWO, THREE]) == THREE
    gate.missed(THREE, "locked")
    gate.missed(TWO, "locked")
    assert gate.canary_of([ONE, TWO, THREE]) == THREE
    assert gate.canary_of([ONE]) == ONE


def test_opening_tells_how_long_it_was_shut(gate: Gate, clock: Clock) -> None:
    gate.shut(ONE, "locked")
    clock.now += 2_500

    assert gate.open(ONE) == 2_500
    assert not gate.is_shut.is_set()
