"""The queue's calls for dead letters. Every one may be repeated after a lost answer: a letter is moved once."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from penstock.wire.entries import DeadEntry, Letter, Purge, Replay, ReplayNote
from penstock.wire.frames import Frame
from penstock.wire.keys import Keys, Partition
from penstock.wire.scripts import Call, Scripts, text_of

NOTES_KEPT = 5_000
"""Replays remembered of a partition: about 1 MB."""


class DeadLetterCalls(ABC):
    """What `Queue` knows of dead letters."""

    keys: Keys
    scripts: Scripts

    @property
    def client(self) -> Any:
        """The Redis client, for commands that are no script."""
        return self.scripts.client

    @abstractmethod
    def all_partitions(self) -> list[Partition]:
        """Every partition of every lane."""

    async def dead_letters(
        self, partition: Partition, count: int, after: str = "-", upto: str = "+"
    ) -> list[DeadEntry]:
        """At most *count* dead letters of a partition, oldest first, after entry id *after*, up to *upto*."""
        start = after if after == "-" else f"({after}"
        with self.scripts.translated():
            reply = await self.client.xrange(self.keys.dead(partition), min=start, max=upto, count=count)
        return [_dead_entry(partition, at, fields) for at, fields in reply]

    async def newest_letter(self, partition: Partition) -> str | None:
        """The entry id of a partition's newest dead letter; None when there is none."""
        with self.scripts.translated():
            reply = await self.client.xrevrange(self.keys.dead(partition), count=1)
        return text_of(reply[0][0]) if reply else None

    async def dead_letter(self, record_id: str) -> DeadEntry | None:
        """The newest dead letter of a record, wherever it lies; None when there is none."""
        wheres = self.all_partitions()
        with self.scripts.translated():
            async with self.client.pipeline(transaction=False) as pipe:
                for where in wheres:
                    pipe.hget(self.keys.dead_index(where), record_id)
                found = zip(wheres, await pipe.execute(), strict=True)
            for where, at in found:
                reply = await self.client.xrange(self.keys.dead(where), min=at, max=at) if at else None
                if reply:
                    return _dead_entry(where, *reply[0])
        return None

    async def envelopes(self, partition: Partition, record_ids: Sequence[str]) -> dict[str, bytes]:
        """What lies beside the newest dead letter of each of *record_ids* that has one in *partition*."""
        keys = [self.keys.dead(partition), self.keys.dead_index(partition)]
        found = await self.scripts.run("envelopes", keys, record_ids)
        return {text_of(record_id): envelope for record_id, envelope in zip(found[::2], found[1::2], strict=True)}

    async def replay(self, entry: DeadEntry, frame: Frame) -> tuple[bool, int]:
        """Send a dead letter through the log again as *frame*: (whether it was still there, generation to ring or 0).

        A full server takes it too: it holds no more afterwards.
        """
        (reply,) = await self.replay_all([Replay(entry, frame)])
        if isinstance(reply, Exception):
            raise reply
        return reply

    async def replay_all(self, replays: Sequence[Replay]) -> list[tuple[bool, int] | Exception]:
        """Send letters through their logs again, each for itself, in one round trip.

        Returns of each what `replay` does, or the error that it was left for.

        Raises:
            QueueUnavailable: No answer; any of them may be moved.
        """
        replies = await self.scripts.run_all([self._replay_call(each) for each in replays])
        return [reply if isinstance(reply, Exception) else (bool(reply[0]), reply[1]) for reply in replies]

    async def purge(self, entry: DeadEntry) -> bool:
        """Remove a dead letter for good; it stays counted as purged. False when it was gone already."""
        (reply,) = await self.purge_all([Purge(entry)])
        if isinstance(reply, Exception):
            raise reply
        return reply

    async def purge_all(self, purges: Sequence[Purge]) -> list[bool | Exception]:
        """Remove letters for good, each for itself, in one round trip. Raises and returns as `replay_all`."""
        replies = await self.scripts.run_all([self._purge_call(each) for each in purges])
        return [reply if isinstance(reply, Exception) else bool(reply) for reply in replies]

    async def put_edited(self, entry: DeadEntry, record: bytes, envelope: bytes) -> str | None:
        """Replace a letter by one with another *record* and *envelope*: its entry id; None when it was gone already.

        A full server takes it too.
        """
        where = entry.partition
        keys = [self.keys.dead(where), self.keys.dead_index(where), self.keys.imported(where)]
        args = [entry.entry_id, record, envelope, entry.mark or mark_of(entry)]
        return text_of(await self.scripts.run("edit", keys, args)) or None

    async def take_in(self, entries: Sequence[DeadEntry]) -> list[bool | Exception]:
        """Add letters that were exported, with the entry ids that they had: whether each was new here.

        Raises and returns as `replay_all`; the error of a full server is `QueueFull`.
        """
        replies = await self.scripts.run_all([self._import_call(each) for each in entries])
        return [reply if isinstance(reply, Exception) else bool(reply) for reply in replies]

    async def replay_notes(self, partition: Partition, count: int, before: str = "+") -> list[ReplayNote]:
        """At most *count* notes of replays of a partition, newest first, before entry id *before*."""
        end = before if before == "+" else f"({before}"
        with self.scripts.translated():
            reply = await self.client.xrevrange(self.keys.replays(partition), max=end, count=count)
        return [
            ReplayNote(text_of(at), text_of(fields[b"i"]), text_of(fields[b"l"]), fields[b"e"]) for at, fields in reply
        ]

    def _replay_call(self, replay: Replay) -> Call:
        entry, frame, past, note = replay
        where, keys = entry.partition, self.keys
        names = [keys.dead(where), keys.dead_index(where), keys.log(where), keys.meta(where)]
        names += [keys.replays(where), keys.imported(where)]
        letter = [entry.entry_id, entry.letter.record_id, frame.records, frame.body]
        return Call("replay", names, [*letter, past, note, NOTES_KEPT, entry.mark])

    def _purge_call(self, purge: Purge) -> Call:
        entry, where, keys = purge.entry, purge.entry.partition, self.keys
        names = [keys.dead(where), keys.dead_index(where), keys.meta(where), keys.replays(where), keys.imported(where)]
        letter = [entry.entry_id, entry.letter.record_id, entry.letter.records]
        return Call("purge", names, [*letter, purge.note, NOTES_KEPT, entry.mark])

    def _import_call(self, entry: DeadEntry) -> Call:
        where, keys = entry.partition, self.keys
        names = [keys.dead(where), keys.dead_index(where), keys.meta(where), keys.imported(where)]
        return Call("import", names, [*entry.letter[:4], entry.entry_id, entry.mark or mark_of(entry)])


def mark_of(entry: DeadEntry) -> str:
    """What tells one letter from every other, wherever it lies."""
    letter = entry.letter
    names = (entry.partition.lane, entry.origin or entry.entry_id, letter.record_id, str(letter.records))
    digest = hashlib.blake2b(digest_size=16)
    for part in (*(name.encode() for name in names), letter.record, letter.envelope):
        digest.update(b"%d:" % len(part) + part)
    return digest.hexdigest()


def _dead_entry(partition: Partition, at: Any, fields: Mapping[bytes, bytes]) -> DeadEntry:
    letter = Letter(text_of(fields[b"i"]), int(fields[b"n"]), fields[b"r"], fields[b"e"])
    mark, origin = (text_of(fields.get(name, b"")) for name in (b"d", b"o"))
    return DeadEntry(partition, text_of(at), letter, mark, origin)
