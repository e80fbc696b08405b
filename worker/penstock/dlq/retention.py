"""Dead letters that are past their time."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Awaitable, Callable

from penstock.dlq.letters import FIRST_PAGE, DeadLetter, next_page
from penstock.dlq.replay import purge_of
from penstock.wire.queue import Queue

_SLICE = 200
"""Most letters purged in one round trip."""


async def expire(queue: Queue, before_ms: int, gone: Counter[str], pause: Callable[[float], Awaitable[bool]]) -> None:
    """Purge the letters that have been here since before *before_ms*; *gone* counts them by lane. May be repeated.

    The time is the queue server's, when a record was given up the last time, or edited, or imported. *pause* is called
    after each slice with the seconds that it took, and returns whether to go on.

    Raises:
        QueueUnavailable: No answer; more may be gone than *gone* tells.
    """
    count = FIRST_PAGE
    for where in queue.all_partitions():
        while page := await queue.dead_letters(where, count, upto=str(max(0, before_ms - 1))):
            began = time.monotonic()
            count = min(_SLICE, next_page(page))
            replies = await queue.purge_all([purge_of(DeadLetter.of(entry)) for entry in page])
            gone[where.lane] += sum(reply is True for reply in replies)
            for reply in replies:
                if isinstance(reply, Exception):
                    raise reply
            if not await pause(time.monotonic() - began):
                return
