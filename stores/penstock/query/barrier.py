"""Reading what was handed over before: a reader that waits for receipts."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Iterable, Sequence
from typing import Protocol, TypeAlias

PATIENCE_S = 30.0
"""A reader waits this long for receipts unless it is told otherwise."""


class Awaited(Protocol):
    """A receipt of either producer, or anything else that is stored some time."""

    def stored(self, timeout: float | None = None) -> Awaitable[None] | None:
        """Wait, in a coroutine or in the calling thread, and raise what says why it is not stored."""
        ...


After: TypeAlias = Awaited | Iterable[Awaited]
"""One receipt or several."""


def receipts_of(after: After | None) -> Sequence[Awaited]:
    """The receipts that *after* names."""
    if after is None:
        return ()
    return tuple(after) if isinstance(after, Iterable) else (after,)


async def until_stored(receipts: Sequence[Awaited], timeout_s: float | None) -> None:
    """Wait until all *receipts* are stored, *timeout_s* seconds for all together; raises what the first one raises.

    Cancelled, it leaves a thread behind that waits for a receipt of a blocking producer until its time is over.
    """
    now_s = asyncio.get_running_loop().time
    end_s = None if timeout_s is None else now_s() + timeout_s
    for receipt in receipts:
        left_s = None if end_s is None else max(0.0, end_s - now_s())
        if inspect.iscoroutinefunction(receipt.stored):
            await receipt.stored(left_s)
        else:
            answer = await asyncio.to_thread(receipt.stored, left_s)
            if inspect.isawaitable(answer):
                await answer
