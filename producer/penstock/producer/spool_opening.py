"""How a spool comes in line with a queue that lets us in: before anything newer is sorted into partitions."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from penstock.producer.line import Batch
from penstock.producer.log import Log
from penstock.wire.entries import Pushed
from penstock.wire.errors import QueueUnavailable
from penstock.wire.ids import wall_clock_us
from penstock.wire.keys import Partition

if TYPE_CHECKING:
    from penstock.producer.spool import Spool


async def in_line(log: Log, spool: Spool, backlog_records: int) -> Counter[Partition]:
    """Have everything cut for the queue's partitions; returns how many records of each wait. In the spool's turn.

    What a full disk does not take back in another form is sent at once, all of it before anything else. Whatever is
    raised, called again it goes on.
    """
    await spool.cut(log.partitions)
    while found := await spool.uncut(log.partitions):
        pushes = [run.push for run, _ in found]
        places = []
        for push, reply in zip(pushes, await log.push(pushes, backlog_records), strict=True):
            if not isinstance(reply, Pushed):
                raise reply
            places.append(Batch(push, (), 0, 0).places(reply, wall_clock_us()))
        level = found[0][0].level
        if level:
            confirmed = await log.confirm({push.partition: push.producer_id for push in pushes}, level)
            if confirmed.missing:
                raise QueueUnavailable(confirmed.missing)
        spool.confirmed_uncut(found, places)
    return spool.waiting()
