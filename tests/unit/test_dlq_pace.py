"""A replay's rate: by a clock that the test moves."""

from __future__ import annotations

import pytest

from penstock.dlq.pace import Pace
from penstock.wire.settings import InvalidSetting


class Clock:
    """Sleeping is what moves it."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


async def test_records_go_at_their_rate() -> None:
    clock = Clock()
    pace = Pace(50, clock, clock.sleep)
    for _ in range(20):
        await pace.wait()
        pace.sent(5)
    await pace.wait()

    assert clock.now == pytest.approx(102.0)


async def test_a_letter_of_many_records_is_waited_for_as_many() -> None:
    clock = Clock()
    pace = Pace(10, clock, clock.sleep)
    pace.sent(40)
    await pace.wait()

    assert clock.now == pytest.approx(104.0)


async def test_time_that_was_not_used_is_not_caught_up() -> None:
    clock = Clock()
    pace = Pace(10, clock, clock.sleep)
    clock.now += 3600
    pace.sent(10)
    await pace.wait()

    assert clock.now == pytest.approx(3701.0)


async def test_without_a_rate_nobody_waits() -> None:
    clock = Clock()
    pace = Pace(None, clock, clock.sleep)
    pace.sent(10**9)
    await pace.wait()

    assert (clock.now, pace.piece(200)) == (100.0, 200)


@pytest.mark.parametrize(("rate", "piece"), [(0.5, 1), (1, 1), (100, 10), (10**6, 200)])
def test_what_goes_at_once_is_a_tenth_of_a_second(rate: float, piece: int) -> None:
    assert Pace(rate).piece(200) == piece


@pytest.mark.parametrize("rate", [0, -1, float("nan")])
def test_a_rate_is_above_nothing(rate: float) -> None:
    with pytest.raises(InvalidSetting, match="rate"):
        Pace(rate)
