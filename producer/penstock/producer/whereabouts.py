"""Why records that are queued are not stored yet: for those who have waited long enough."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from penstock.producer.receipt import Placed
from penstock.wire.entries import position
from penstock.wire.errors import PenstockError
from penstock.wire.ids import from_us
from penstock.wire.inquiry import Buried, Inquiry
from penstock.wire.pauses import Halt, Outage, Pauses
from penstock.wire.queue import Queue

_PATIENCE_S = 0.2
"""Who asks has waited long enough."""


class Settled(Exception):
    """The record is settled after all."""

    def __init__(self, buried: Buried | None) -> None:
        super().__init__()
        self.buried = buried


async def why_not_stored(queue: Queue, placed: Placed, record_id: str) -> str:
    """For people: what keeps the record. Raises `Settled` where nothing does."""
    inquiry = Inquiry(record_id, placed.entry_id, placed.opened_us)
    try:
        async with asyncio.timeout(_PATIENCE_S):
            answer = (await queue.settled({placed.partition: [inquiry]}))[placed.partition]
            if answer.held:
                return _HELD_STREAM if placed.opened_us else _HELD_LETTER
            if position(placed.entry_id) <= position(answer.upto):
                raise Settled(answer.buried.get(0))
            return await _state_of(queue, [placed.partition.lane])
    except (TimeoutError, PenstockError):
        return _NO_ANSWER


async def why_not_all_stored(queue: Queue, lanes: Iterable[str]) -> str:
    """For people: what keeps the records of *lanes*."""
    try:
        async with asyncio.timeout(_PATIENCE_S):
            return await _state_of(queue, lanes)
    except (TimeoutError, PenstockError):
        return _NO_ANSWER


_NO_ANSWER = "the queue server does not answer now"
_HELD_STREAM = "the stream's end is there, but chunks before it are missing; what came is kept until they come"
_HELD_LETTER = "its dead letter is being replayed"


async def _state_of(queue: Queue, lanes: Iterable[str]) -> str:
    pauses = Pauses(queue)
    workers, standings = await queue.workers(), await pauses.standings()
    outages = {outage.lane: outage for outage in await pauses.outages(workers)}
    said = []
    for lane in dict.fromkeys(lanes):
        if halt := standings[lane].halt:
            said.append(_halted(halt))
        elif lane in outages:
            said.append(_away(outages[lane]))
    if not workers:
        said.append("no worker runs; start one with: penstock worker")
    return "; ".join(said) or f"{len(workers)} worker{'s run' if len(workers) > 1 else ' runs'}"


def _halted(halt: Halt) -> str:
    since = from_us(halt.since_ms * 1000).isoformat()
    return f"lane {halt.lane} is halted since {since} ({halt.reason}); go on with: penstock lanes resume {halt.lane}"


def _away(outage: Outage) -> str:
    since = from_us(outage.since_ms * 1000).isoformat()
    return f"the store of lane {outage.lane} is away since {since}: {outage.reason}"
