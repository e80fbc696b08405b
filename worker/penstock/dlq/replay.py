"""Dead letters sent again or given up for good. Each is moved once, whoever else moves them at the same time."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from typing import NamedTuple, Unpack

from penstock.dlq.editing import Change, mended
from penstock.dlq.letters import UNDECODABLE, DeadLetter, find, selected
from penstock.dlq.pace import Pace
from penstock.dlq.selection import Selection, Which
from penstock.wire.entries import Purge, Replay
from penstock.wire.errors import QueueFull
from penstock.wire.keys import Partition
from penstock.wire.letters import Note
from penstock.wire.queue import Queue

_AT_ONCE = 200
_BYTES_AT_ONCE = 4 * 1024 * 1024
"""What is moved in one round trip."""

_Move = Callable[[Sequence[DeadLetter]], Awaitable[Sequence[bool | Exception]]]
"""Moves letters; of each whether it was still there, or why it stays."""


class Outcome(NamedTuple):
    """What became of the letters that were asked for."""

    letters: int = 0
    records: int = 0
    """The accepted records that these letters count for."""
    missing: tuple[str, ...] = ()
    """Ids that have no dead letter."""


async def replay(
    queue: Queue,
    *,
    ids: Sequence[str] | None = None,
    limit: int | None = None,
    rate: float | None = None,
    edit: Change | None = None,
    **which: Unpack[Which],
) -> Outcome:
    """Send dead letters through their log again: those of *ids*, or those that are meant by *which*, which may be all.

    A record keeps its id, its time and its stamp. So nothing is stored twice, its place in the session stays, and so
    does what is newer in the store. One that is refused again comes back as a letter that knows of its replays.
    Stopped half-way, the call may be repeated. At most *limit* letters, and *rate* records a second.

    With *edit* the records that it returns go in the place of the letters', checked as `penstock.dlq.edit` checks them.

    Raises:
        UnknownLane, InvalidRecord: The lane, a time or an id is none, or an edited record cannot be stored.
        QueueUnavailable: No answer; letters up to this one are moved.
    """
    missing: list[str] = []
    letters = chosen(queue, ids, missing, limit, Selection(**which))
    if edit is not None:
        letters = _changed(letters, edit)

    async def send(piece: Sequence[DeadLetter]) -> Sequence[bool | Exception]:
        replies = await queue.replay_all([_replay_of(letter) for letter in piece])
        rings: dict[Partition, int] = {}
        for letter, reply in zip(piece, replies, strict=True):
            if not isinstance(reply, Exception) and reply[1]:
                rings[letter.entry.partition] = reply[1]
        if rings:  # at once: a replay at a low rate takes hours
            with suppress(QueueFull):  # the workers' sweep finds them a second later
                await queue.ring(list(rings.items()))
        return [reply if isinstance(reply, Exception) else reply[0] for reply in replies]

    return (await _moved(letters, send, Pace(rate)))._replace(missing=tuple(missing))


async def purge(
    queue: Queue, *, ids: Sequence[str] | None = None, limit: int | None = None, **which: Unpack[Which]
) -> Outcome:
    """Remove dead letters for good. They stay counted as purged, so the audit goes on adding up. Raises as `replay`."""
    missing: list[str] = []

    async def remove(piece: Sequence[DeadLetter]) -> Sequence[bool | Exception]:
        return await queue.purge_all([purge_of(letter) for letter in piece])

    letters = chosen(queue, ids, missing, limit, Selection(**which))
    return (await _moved(letters, remove, Pace(None)))._replace(missing=tuple(missing))


async def _moved(letters: AsyncIterator[DeadLetter], move: _Move, pace: Pace) -> Outcome:
    done = Outcome()
    async for piece in pieces(letters, pace.piece(_AT_ONCE)):
        await pace.wait()
        replies = await move(piece)
        weights = [letter.records for letter, reply in zip(piece, replies, strict=True) if reply is True]
        done = Outcome(done.letters + len(weights), done.records + sum(weights))
        pace.sent(sum(weights))
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
    return done


async def pieces(letters: AsyncIterator[DeadLetter], most: int) -> AsyncIterator[list[DeadLetter]]:
    """*letters* in lists of at most *most*, or of some MB where they are large."""
    piece: list[DeadLetter] = []
    size = 0
    async for letter in letters:
        piece.append(letter)
        size += len(letter.entry.letter.record)
        if len(piece) >= most or size >= _BYTES_AT_ONCE:
            yield piece
            piece, size = [], 0
    if piece:
        yield piece


async def chosen(
    queue: Queue, ids: Sequence[str] | None, missing: list[str], limit: int | None, which: Selection
) -> AsyncIterator[DeadLetter]:
    """The letters that are asked for. Ids that have none go to *missing*."""
    if ids is None:
        async for letter in selected(queue, which, limit):
            yield letter
        return
    for record_id in ids[:limit]:
        found = await find(queue, record_id)
        if found is None:
            missing.append(record_id)
        elif which.takes(found):
            yield found


async def _changed(letters: AsyncIterator[DeadLetter], edit: Change) -> AsyncIterator[DeadLetter]:
    async for letter in letters:
        record = edit(letter)
        if record is not None:
            yield mended(letter, record, _now_ms())


def _replay_of(letter: DeadLetter) -> Replay:
    envelope = letter.envelope
    past = envelope.past(letter.id if letter.error_kind == UNDECODABLE else "")
    return Replay(letter.entry, letter.frame, past.pack(), Note.of(envelope, _now_ms()).pack())


def purge_of(letter: DeadLetter) -> Purge:
    """What removes *letter*, and keeps what is then known of its last replay."""
    envelope = letter.envelope
    return Purge(letter.entry, Note.of(envelope, _now_ms()).pack() if envelope.replayed_as else b"")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
