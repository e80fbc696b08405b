"""When to ask again what is stored."""

from __future__ import annotations

import pytest

from penstock.producer.pace import Pace


def test_what_is_found_is_about_a_tenth_late_and_at_most_fifty_milliseconds() -> None:
    pace = Pace()
    elapsed_s, asked = 0.0, 0
    while elapsed_s < 2:
        assert pace.delay_s <= min(0.001 + 0.1 * elapsed_s, 0.05) + 1e-9
        elapsed_s += pace.delay_s
        asked += 1
        pace.answered(has_news=False, waiting=1)

    assert pace.delay_s == 0.05
    assert asked < 100


@pytest.mark.parametrize(("waiting", "soonest_s"), [(1, 0.001), (16, 0.001), (17, 0.002)])
def test_news_bring_the_next_question_soon_and_for_many_a_little_later(waiting: int, soonest_s: float) -> None:
    pace = Pace()
    for _ in range(50):
        pace.answered(has_news=False, waiting=1)

    pace.answered(has_news=True, waiting=waiting)

    assert pace.delay_s == pace.soonest_s == soonest_s


def test_a_queue_that_does_not_answer_is_asked_seldom_until_it_does() -> None:
    pace = Pace()

    pace.failed()
    assert pace.delay_s == 0.05

    pace.answered(has_news=True, waiting=1)
    assert pace.delay_s == 0.001
