"""So many records a second, and no more."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from penstock.wire.settings import InvalidSetting

_STEPS_A_SECOND = 10
"""How often a paced replay sends: smoother costs more round trips."""


class Pace:
    """Lets records go at a rate. What was sent in one piece is waited for before the next one."""

    def __init__(
        self,
        rate: float | None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        if rate is not None and not rate > 0:
            raise InvalidSetting(f"rate is {rate}; more than 0 records a second is needed")
        self._rate = rate
        self._clock = clock
        self._sleep = sleep
        self._free_at = clock()

    def piece(self, most: int) -> int:
        """How many letters are sent at once, at most *most*."""
        return most if self._rate is None else max(1, min(most, int(self._rate / _STEPS_A_SECOND)))

    async def wait(self) -> None:
        """Wait until the next piece may go."""
        if self._rate is not None and (left := self._free_at - self._clock()) > 0:
            await self._sleep(left)

    def sent(self, records: int) -> None:
        """Say that *records* have gone."""
        if self._rate is not None:
            self._free_at = max(self._free_at, self._clock()) + records / self._rate
