"""What strikes when follows from the seed, and every fault has its turn."""

from __future__ import annotations

from collections import Counter

from penstock.testing.schedule import draw

FAULTS = [f"fault {number}" for number in range(16)]


def test_the_same_seed_draws_the_same_faults() -> None:
    assert draw(7, 60, FAULTS) == draw(7, 60, FAULTS)


def test_another_seed_draws_others() -> None:
    assert draw(7, 60, FAULTS) != draw(8, 60, FAULTS)


def test_no_fault_comes_a_second_time_before_every_other_has_come() -> None:
    drawn = [each.fault for each in draw(3, 120, FAULTS)]

    assert set(drawn[: len(FAULTS)]) == set(FAULTS)
    assert max(Counter(drawn).values()) - min(Counter(drawn).values()) <= 1


def test_every_fault_is_over_when_the_time_is() -> None:
    assert all(each.at_s >= 1 and each.at_s + each.lasts_s <= 30.001 for each in draw(5, 30, FAULTS))
