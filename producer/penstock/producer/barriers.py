"""Waiting until the queue holds what was handed over before."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from penstock.producer.line import Batch, Line
from penstock.producer.sender import Sender
from penstock.wire.keys import Partition


async def caught_up(sender: Sender, where: Partition) -> None:
    """Send at once what was handed over before for one partition, and wait until the queue holds it.

    To be called after `opened`, by one task at a time for a partition.

    Raises:
        QueueFull: The queue takes nothing there; what was handed over waits, as ever.
        QueueRejected: The same.
    """
    sender.lines.sort()
    line = sender.lines.find(where)
    if line is None or not line.unpushed():
        return
    upto = line.pushed + line.unpushed()
    line.refusal = None  # it may be old; what matters is the next try, which comes now
    sender.hurry()
    while line.pushed < upto:
        line.news.clear()
        await line.news.wait()
        if line.refusal is not None:
            raise type(line.refusal)(*line.refusal.args)


async def all_sent(sender: Sender) -> None:
    """Send at once what was handed over before, and wait until the queue holds it, in the spool or not.

    Raises:
        RecordDropped: It closed meanwhile, and gave some of it up.
        NotQueued: It closed meanwhile; the rest waits in the spool.
    """
    sender.hurry()
    if not sender.opened.is_set():
        if not sender.lines.unsent() and not (sender.spool and sender.spool.records):
            return
        await sender.opened.wait()
    if sender.ended is not None:  # it was never let in, and its lines are empty since nobody sends
        raise sender.ended
    sender.lines.sort()
    marks = [(line, line.pushed + line.unpushed()) for line in sender.lines]
    for line, upto in marks:
        await _until(sender, line, partial(_has_pushed, line, upto))
    left = [(line, batch) for line, _ in marks for batch in line.trail.batches()]
    for line, batch in left:
        await _until(sender, line, partial(_has_left, line, batch))


async def _until(sender: Sender, line: Line, reached: Callable[[], bool]) -> None:
    while not reached():
        if sender.ended is not None:
            raise sender.ended
        line.news.clear()
        await line.news.wait()


def _has_pushed(line: Line, records: int) -> bool:
    return line.pushed >= records


def _has_left(line: Line, batch: Batch) -> bool:
    return batch not in line.trail
