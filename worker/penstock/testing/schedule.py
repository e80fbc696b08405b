"""Which fault strikes when: a pure function of a seed."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import NamedTuple

_SHORTEST_S, _LONGEST_S = 0.3, 4.0
"""A fault that lasts. The longest ones are past every lease."""
_GAP_S = 1.2
"""Between two faults, on average; so that several are there at a time."""
_CALM_S = 1.0
"""At the beginning, so that there is something to be struck."""


class Planned(NamedTuple):
    """One fault to come."""

    at_s: float
    """After the beginning."""
    fault: str
    lasts_s: float
    """Of a fault that strikes once, nothing."""
    chance: int
    """What else is left to chance: which process, which step."""


def draw(seed: int, seconds: float, faults: Sequence[str]) -> list[Planned]:
    """The faults of the first *seconds*, in order. None comes again before every one of *faults* has come."""
    rng = random.Random(seed)
    bag = _shuffled_for_ever(rng, faults)
    planned = []
    at_s = _CALM_S
    while at_s < seconds:
        lasts_s = rng.uniform(_SHORTEST_S, _LONGEST_S)
        planned.append(Planned(round(at_s, 3), next(bag), round(min(lasts_s, seconds - at_s), 3), rng.getrandbits(31)))
        at_s += rng.uniform(0.2, 2 * _GAP_S)
    return planned


def _shuffled_for_ever(rng: random.Random, faults: Sequence[str]) -> Iterator[str]:
    while True:
        yield from rng.sample(list(faults), len(faults))
