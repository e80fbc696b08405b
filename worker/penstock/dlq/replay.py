"""Dead letters sent again or given up for good. Each is moved once, whoever else moves them at the same time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import NamedTuple

from penstock.dlq.letters import UNDECODABLE, DeadLetter, find, list_letters
from penstock.wire.frames import Frame, frame_of
from penstock.wire.keys import Partition
from penstock.wire.queue import Queue


class Outcome(NamedTuple):
    """What became of the letters that were asked for."""

    letters: int = 0
    records: int = 0
    """The accepted records that these letters count for."""
    missing: tuple[str, ...] = ()
    """Ids that have no dead letter."""


async def replay(
    queue: Queue, *, ids: Sequence[str] | None = None, lane: str | None = None, error_kind: str | None = None
) -> Outcome:
    """Send dead letters through their log again: all, or those of *ids*, of a lane, of an error kind.

    A record keeps its id and its time, so nothing is stored twice and its place in the session stays.
    One that the store refuses again comes back as a new letter. Stopped half-way, the call may be repeated.

    Raises:
        UnknownLane, InvalidRecord: The lane or an id is none.
        QueueUnavailable: No answer; letters up to this one are moved.
        QueueFull: The server has no memory left; letters up to this one are moved.
    """
    rings: dict[Partition, int] = {}

    async def send(letter: DeadLetter) -> bool:
        moved, generation = await queue.replay(letter.entry, _frame(letter))
        if generation:
            rings[letter.entry.partition] = generation
        return moved

    try:
        return await _each(queue, send, ids, lane, error_kind)
    finally:
        if rings:
            await queue.ring(list(rings.items()))


async def purge(
    queue: Queue, *, ids: Sequence[str] | None = None, lane: str | None = None, error_kind: str | None = None
) -> Outcome:
    """Remove dead letters for good. They stay counted as purged, so the audit goes on adding up. Raises as `replay`."""

    async def remove(letter: DeadLetter) -> bool:
        return await queue.purge(letter.entry)

    return await _each(queue, remove, ids, lane, error_kind)


async def _each(
    queue: Queue,
    move: Callable[[DeadLetter], Awaitable[bool]],
    ids: Sequence[str] | None,
    lane: str | None,
    error_kind: str | None,
) -> Outcome:
    missing: list[str] = []
    letters = list_letters(queue, lane, error_kind) if ids is None else _named(queue, ids, missing)
    moved = records = 0
    async for letter in letters:
        if await move(letter):
            moved += 1
            records += letter.records
    return Outcome(moved, records, tuple(missing))


async def _named(queue: Queue, ids: Sequence[str], missing: list[str]) -> AsyncIterator[DeadLetter]:
    for record_id in ids:
        letter = await find(queue, record_id)
        if letter is None:
            missing.append(record_id)
        else:
            yield letter


def _frame(letter: DeadLetter) -> Frame:
    body = letter.entry.letter.record
    # Bytes that were no frame go back as they came: a worker that can read them by now will.
    if letter.error_kind == UNDECODABLE:
        return Frame(body, letter.records)
    return frame_of([body], letter.records)
