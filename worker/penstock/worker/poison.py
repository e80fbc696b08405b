"""One bad record costs only itself: a refused batch is halved until the record is alone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from penstock.stores.errors import StoreRejected
from penstock.wire.records import Record
from penstock.worker.steps import Reached, Step, go_on

Write = Callable[[Sequence[Record]], Awaitable[object]]


REJECTED = "rejected"
"""Error kind: the store refused the record."""


class Refused(NamedTuple):
    """A record that will never be stored, and why."""

    record: Record
    reason: str
    kind: str = REJECTED


async def write_or_refuse(records: Sequence[Record], write: Write, reached: Reached = go_on) -> list[Refused]:
    """Write *records* in order; those that *write* refuses alone come back, the others are stored.

    One bad record among n costs about 2 log2(n) further writes.

    Raises:
        StoreUnavailable, StaleOwner: As *write* does; some of the records may be stored.
    """
    if not records:
        return []
    try:
        await write(records)
    except StoreRejected as exc:
        if len(records) == 1:
            return [Refused(records[0], str(exc))]
        reached(Step.BISECT)
        middle = len(records) // 2
        first = await write_or_refuse(records[:middle], write, reached)
        return first + await write_or_refuse(records[middle:], write, reached)
    return []
