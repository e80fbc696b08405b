"""The breaker: what trips it, what does not, and what it forgets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.worker.breaker import Breaker, Tripped

outcomes = st.lists(st.booleans(), max_size=300)


def refuse(breaker: Breaker, times: int, reason: str = "bad") -> None:
    for _ in range(times):
        breaker.refused(reason)


def test_a_run_of_refusals_trips_it_with_the_first_reason() -> None:
    breaker = Breaker(run=250, ratio=0.5, window=1_000)
    breaker.stored(10)
    breaker.refused("the first")
    refuse(breaker, 248, "another")

    with pytest.raises(Tripped, match="250 records in a row were refused, the first: the first") as caught:
        breaker.refused("the last")

    assert (caught.value.refused, caught.value.seen, caught.value.reason) == (250, 250, "the first")


def test_one_record_that_is_stored_ends_a_run() -> None:
    breaker = Breaker(run=3, ratio=0, window=1_000)
    for _ in range(100):
        refuse(breaker, 2)
        breaker.stored(1)


def test_records_that_are_fine_around_them_make_no_run_of_refusals() -> None:
    breaker = Breaker(run=3, ratio=0, window=1_000)
    for _ in range(100):
        breaker.refused("bad")
        breaker.stored(0)


def test_more_than_its_part_of_the_window_trips_it() -> None:
    breaker = Breaker(run=0, ratio=0.5, window=1_000)
    breaker.stored(499)
    refuse(breaker, 500)
    breaker.stored(1)

    with pytest.raises(Tripped, match="501 of 1,000 records"):
        breaker.refused("bad")


def test_few_records_are_no_part_of_anything() -> None:
    breaker = Breaker(run=0, ratio=0.5, window=1_000)

    refuse(breaker, 999)


def test_what_fell_out_of_the_window_counts_no_longer() -> None:
    breaker = Breaker(run=0, ratio=0.5, window=1_000)
    for _ in range(50):
        refuse(breaker, 400)
        breaker.stored(600)


def test_zero_switches_both_off() -> None:
    refuse(Breaker(run=0, ratio=0, window=1_000), 5_000)


def test_what_has_tripped_stays_so_until_it_is_reset() -> None:
    breaker = Breaker(run=3, ratio=0, window=10)
    refuse(breaker, 2, "the first")
    for _ in range(3):
        with pytest.raises(Tripped, match="3 records in a row were refused, the first: the first"):
            breaker.refused("bad")
        breaker.stored(1)

    breaker.reset()
    refuse(breaker, 2)
    with pytest.raises(Tripped):
        breaker.refused("bad")


def test_what_is_spared_does_not_count() -> None:
    breaker = Breaker(run=3, ratio=0, window=10)
    breaker.spared = 100

    refuse(breaker, 102)

    with pytest.raises(Tripped):
        breaker.refused("bad")
    assert breaker.spared == 0


@given(outcomes, st.integers(1, 12), st.sampled_from([0, 0.3, 0.5, 1]), st.integers(1, 20))
def test_it_trips_exactly_where_a_plain_count_would(fine: list[bool], run: int, ratio: float, window: int) -> None:
    """Against a list of all outcomes, looked through each time."""
    breaker, seen = Breaker(run, ratio, window), list[bool]()
    for is_fine in fine:
        seen.append(is_fine)
        kept = seen[-max(window, run) :]
        in_a_row = not any(seen[-run:]) and len(seen) >= run
        part = ratio and len(kept) >= window and kept.count(False) > ratio * len(kept)
        if is_fine:
            breaker.stored(1)
        elif in_a_row or part:
            with pytest.raises(Tripped):
                breaker.refused("bad")
            breaker.reset()
            seen.clear()
        else:
            breaker.refused("bad")
