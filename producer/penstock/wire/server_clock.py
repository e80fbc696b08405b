"""The queue server's clock, as far as this process knows it."""

from __future__ import annotations

import time

_NS = 1_000_000


class ServerClock:
    """Tells for all workers alike how long a stream has been silent, however wrong the clocks of their machines are."""

    __slots__ = ("_origin_ms",)

    def __init__(self) -> None:
        self._origin_ms: int | None = None

    def heard(self, now_ms: int) -> None:
        """Note that the server has just said that it is *now_ms*."""
        self._origin_ms = now_ms - time.monotonic_ns() // _NS

    def now_ms(self) -> int:
        """Milliseconds since 1970 by that clock; by this machine's before it was heard."""
        if self._origin_ms is None:
            return time.time_ns() // _NS
        return self._origin_ms + time.monotonic_ns() // _NS
