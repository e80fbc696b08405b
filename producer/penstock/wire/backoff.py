"""How long to wait before the next try."""

from __future__ import annotations

import math
import random

_MAX_DOUBLINGS = 30


def next_delay_s(failures: int, base_ms: float, cap_ms: float, rng: random.Random) -> float:
    """Seconds to wait after that many failures in a row: doubling, capped, with half of it jitter.

    Jitter keeps partitions that failed together from coming back together.
    """
    ceiling = min(cap_ms, math.ldexp(base_ms, min(max(failures, 1) - 1, _MAX_DOUBLINGS)))
    return ceiling * rng.uniform(0.5, 1.0) / 1000
