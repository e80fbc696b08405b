"""Dead letters that are past their time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping

from penstock.dlq.letters import DeadLetter
from penstock.dlq.replay import purge_of
from penstock.wire.queue import Queue

SLICE = 200
"""Letters purged in one round trip."""


async def expire(queue: Queue, before_ms: int, pause: Callable[[], Awaitable[bool]] | None = None) -> Mapping[str, int]:
    """Purge letters that have been here since before *before_ms*: how many of each lane. May be repeated.

    The time is the queue server's, when the record was given up the last time, edited or imported. *pause* is called
    after each slice and returns whether to go on.

    Raises:
        QueueUnavailable: No answer; letters up to this one are gone.
    """
    gone: Counter[str] = Counter()
    end = f"{before_ms - 1}"
    for where in queue.all_partitions():
        while page := await queue.dead_letters(where, SLICE, upto=end):
            replies = await queue.purge_all([purge_of(DeadLetter.of(entry)) for entry in page])
            gone[where.lane] += sum(reply is True for reply in replies)
            for reply in replies:
                if isinstance(reply, Exception):
                    raise reply
            if pause is not None and not await pause():
                return gone
    return gone
