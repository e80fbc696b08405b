"""Back-off doubles, is capped, and is never the same for everybody."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from penstock.wire.backoff import next_delay_s


@given(st.integers(0, 10_000), st.integers(0, 2**32))
def test_the_delay_lies_between_half_and_the_whole_of_a_capped_doubling(failures: int, seed: int) -> None:
    delay_s = next_delay_s(failures, 200, 30_000, random.Random(seed))
    ceiling_s = min(30.0, 0.2 * 2 ** min(max(failures, 1) - 1, 20))

    assert ceiling_s / 2 <= delay_s <= ceiling_s


def test_partitions_that_failed_together_come_back_apart() -> None:
    rng = random.Random(1)

    assert len({next_delay_s(3, 200, 30_000, rng) for _ in range(100)}) == 100
