"""How the sender sleeps: until a time, until enough waits in the buffer, or until somebody rings."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable

from penstock.producer.buffer import Buffer
from penstock.wire.frames import MAX_FRAME_BYTES


class Sleeper:
    """One task sleeps by it. All calls are for the thread of its loop."""

    def __init__(self, buffer: Buffer, now_s: Callable[[], float]) -> None:
        self._buffer = buffer
        self._now_s = now_s
        self._bell = asyncio.Event()
        self._hurried = False

    def ring(self) -> None:
        """Wake it."""
        self._bell.set()

    def hurry(self) -> None:
        """Wake it, and leave its next sleep out."""
        self._hurried = True
        self._bell.set()

    async def sleep(self, until_s: float, records: float) -> None:
        """Sleep until a time, or until that many records or a frame's worth of bytes wait, or a ring."""
        self._bell.clear()
        if self._hurried:
            self._hurried = False
            return
        self._buffer.wake_at(records, records if records in (1, math.inf) else MAX_FRAME_BYTES)
        delay_s = None if until_s == math.inf else until_s - self._now_s()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay_s):
                await self._bell.wait()
        self._buffer.wake_at(math.inf, math.inf)
