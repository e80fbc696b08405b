"""Periods of time as ranges of ids."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.stores.postgres.periods import PERIODS, Span, current, everything_until, missing, span_of
from penstock.wire.ids import id_from_key, new_id, wall_clock_us

DAY_US = 86_400_000_000

times = st.integers(0, (date(9997, 1, 1) - date(1970, 1, 1)).days * DAY_US)
periods = st.sampled_from(PERIODS)


def _us(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1_000_000


def _lies_in(at_us: int, span: Span) -> bool:
    return _us(span.start) <= at_us < _us(span.end)


@given(times, periods)
def test_a_time_lies_in_its_period(at_us: int, period: str) -> None:
    span = current(at_us, period)

    assert _lies_in(at_us, span)
    assert span.end_us == _us(span.end)
    assert span.name("logs") == f"logs_{span.start:%Y%m%d}"


@pytest.mark.parametrize(
    ("period", "start", "end"),
    [
        ("day", date(2024, 2, 29), date(2024, 3, 1)),
        ("week", date(2024, 2, 26), date(2024, 3, 4)),
        ("month", date(2024, 2, 1), date(2024, 3, 1)),
    ],
)
def test_periods_are_those_of_the_calendar(period: str, start: date, end: date) -> None:
    assert current(_us(date(2024, 2, 29)), period) == (start, end)


def test_an_id_that_is_made_now_lies_in_this_period() -> None:
    before_us = wall_clock_us()
    made = new_id()

    assert current(before_us, "day").ids[0] <= made < current(wall_clock_us(), "day").ids[1]


def test_ids_of_own_keys_lie_outside_nearly_always() -> None:
    first, after = everything_until(current(wall_clock_us(), "month")).ids

    assert sum(first <= id_from_key(str(number)) < after for number in range(2_000)) < 40


@given(times, periods, st.lists(times, max_size=4), st.sampled_from(PERIODS))
def test_what_is_missing_covers_now_and_two_ahead_and_never_overlaps(
    now_us: int, period: str, others: list[int], other_period: str
) -> None:
    there = sorted({current(at_us, other_period) for at_us in others})

    made = missing(there, now_us, period)

    spans = sorted([*there, *made])
    assert all(one.end <= other.start for one, other in pairwise(spans))
    assert all(span.start < span.end for span in made)
    now = current(now_us, period)
    following = current(_us(now.end), period)
    for at in (now.start, now.end, following.end):
        assert any(_lies_in(_us(at), span) for span in spans)
    assert missing(spans, now_us, period) == []


def test_a_gap_is_made_up_for_unless_it_is_very_long() -> None:
    there = [Span(date(2024, 1, 1), date(2024, 2, 1))]

    short = missing(there, _us(date(2024, 6, 5)), "month")
    long = missing(there, _us(date(2200, 6, 5)), "month")

    assert [span.start for span in short] == [date(2024, month, 1) for month in range(2, 9)]
    assert [span.start for span in long] == [date(2200, month, 1) for month in (6, 7, 8)]


def test_the_first_partitions_begin_one_period_before_now() -> None:
    assert [span.start.month for span in missing([], _us(date(2024, 6, 5)), "month")] == [5, 6, 7, 8]
    assert missing([], 0, "week")[0].start == date(1970, 1, 1)


@given(st.dates(date(1970, 1, 1), date(9997, 1, 1)), st.integers(1, 400))
def test_a_bound_that_the_server_shows_is_its_span(start: date, days: int) -> None:
    span = Span(start, start + timedelta(days=days))
    low, high = (f"{each.hex()[:8]}-{each.hex()[8:12]}-0000-0000-000000000000" for each in span.ids)

    assert span_of(f"FOR VALUES FROM ('{low}') TO ('{high}')") == span


@pytest.mark.parametrize(
    "bound",
    [
        "DEFAULT",
        "FOR VALUES FROM (MINVALUE) TO ('01900000-0000-0000-0000-000000000000')",
        "FOR VALUES FROM ('01900000-0000-0000-0000-000000000000') TO ('01a00000-0000-0000-0000-000000000000')",
        "FOR VALUES FROM ('00000000-0000-0000-0000-000000000000') TO ('ffffffff-ffff-ffff-ffff-ffffffffffff')",
    ],
)
def test_a_bound_that_is_none_of_ours_is_no_span(bound: str) -> None:
    assert span_of(bound) is None


@pytest.mark.parametrize("now_us", [-1, 2**63])
def test_a_time_that_no_clock_shows_is_refused(now_us: int) -> None:
    with pytest.raises(ValueError, match="look at the clock"):
        current(now_us, "month")
