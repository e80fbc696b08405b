"""How a spool comes in line with a queue that lets us in: before anything newer is sorted into partitions."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from penstock.producer.line import Batch
from penstock.producer.log import Log
from penstock.producer.syncing import LOOK_AGAIN_S
from penstock.wire.entries import Push, Pushed
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
            await _until_kept(log, pushes, level)
        spool.confirmed_uncut(found, places)
    return spool.waiting()


async def _until_kept(log: Log, pushes: Sequence[Push], level: int) -> None:
    """Wait until *level* holds for all of *pushes*. Raises `QueueUnavailable` where it does not, or they are lost."""
    producers = {push.partition: push.producer_id for push in pushes}
    while True:
        confirmed = await log.confirm(producers, level)
        if confirmed.missing:
            raise QueueUnavailable(confirmed.missing)
        if any(confirmed.seen[push.partition] < push.number for push in pushes):
            raise QueueUnavailable("the queue server lost records before they were durable; they are sent again")
        if all(confirmed.upto(push.partition, level) >= push.number for push in pushes):
            return
        await asyncio.sleep(LOOK_AGAIN_S)
