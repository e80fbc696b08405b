"""Dead letters by their cause: what died alike is one line."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Unpack

from penstock.dlq.letters import DeadLetter, selected
from penstock.dlq.selection import Selection, Which
from penstock.wire.queue import Queue


@dataclass(slots=True, kw_only=True)
class Group:
    """Letters of one lane, record kind, error kind and reason, but for the numbers, ids and quoted parts in it."""

    fingerprint: str
    lane: str
    record_kind: str
    error_kind: str
    reason: str
    """The sample's."""
    sample: str
    """Id of the latest of them."""
    letters: int = 0
    records: int = 0
    """The accepted records that these letters count for."""
    first_at: datetime | None = None
    last_at: datetime | None = None

    def add(self, letter: DeadLetter) -> None:
        """Count *letter* in."""
        self.letters += 1
        self.records += letter.records
        if letter.first_at is not None:
            self.first_at = min(self.first_at or letter.first_at, letter.first_at)
        if letter.last_at is not None and (self.last_at is None or letter.last_at >= self.last_at):
            self.last_at, self.sample, self.reason = letter.last_at, letter.id, letter.reason


async def groups(queue: Queue, **which: Unpack[Which]) -> list[Group]:
    """The groups of the letters that are meant, the largest first. Holds the groups in memory, never the letters.

    Raises:
        UnknownLane: The lane is none.
        QueueUnavailable: No answer.
    """
    found: dict[str, Group] = {}
    async for letter in selected(queue, Selection(**which)):
        group = found.get(letter.fingerprint)
        if group is None:
            group = found[letter.fingerprint] = Group(
                fingerprint=letter.fingerprint,
                lane=letter.lane,
                record_kind=letter.record_kind,
                error_kind=letter.error_kind,
                reason=letter.reason,
                sample=letter.id,
            )
        group.add(letter)
    return sorted(found.values(), key=lambda group: (-group.letters, group.fingerprint))
