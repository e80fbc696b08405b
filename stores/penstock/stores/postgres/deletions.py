"""Deleted messages and sessions in an open transaction, and what they keep from coming back.

A tombstone that is written while its message is being written would be seen by nobody. So who writes to a session
shares a lock on it, and who deletes there has it alone, each until its commit.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import groupby
from typing import Any

from penstock.stores.errors import StoreRejected
from penstock.stores.postgres import searching
from penstock.stores.postgres.bulk import columns, execute
from penstock.stores.sorting import Sorted
from penstock.stores.sqlfiles import statements
from penstock.stores.tombstones import WHOLE_SESSION, Tombstones
from penstock.wire.records import Message, MessageDeletion, StreamChunk

_SQL = statements("penstock.stores.postgres")

_LOCKS = 64
"""Sessions share them by their hashes. The server's table of locks has room for 64 of each connection by default, and
taking them costs 0.5 us each, for each batch of messages."""


class Deletions:
    """The deletions of one store, which remembers that its schema has a place for them, and an index of words."""

    def __init__(self) -> None:
        self._has_tombstones = False
        self.has_search = False
        """Whether there was an index of words when messages were written last."""

    async def settle(self, connection: Any, records: Sorted) -> tuple[Sorted, int]:
        """Delete what *records* say is deleted, while the locks of `locks_of` are held.

        Returns the records without what is of deleted sessions, with the mark on messages that were deleted before they
        came; and how many deletions took effect.
        """
        if not (records.messages or records.chunks or records.deletions):
            return records, 0
        taken = await _apply(connection, records.deletions)
        # Only now: who comes with the first tombstone of these sessions, or makes an index of words, has had to wait
        # for the lock, or we have.
        if not self._has_tombstones:
            self._has_tombstones = await connection.fetchval(_SQL["has_tombstones"])
        if not self.has_search:
            self.has_search = await connection.fetchval(_SQL["has_search"])
        if await self._any_tombstone(connection, records):
            records = await _spared(connection, records)
        return records, taken

    async def _any_tombstone(self, connection: Any, records: Sorted) -> bool:
        """Look for tombstones, and note for the index of words what is about to be written."""
        if self.has_search and records.messages:
            times = [message.created_at_us for message in records.messages]
            noting = searching.spans_of(times)
            return bool(await connection.fetchval(_SQL["note_search_and_any_tombstone"], *noting))
        return self._has_tombstones and bool(await connection.fetchval(_SQL["any_tombstone"]))


def _sessions(*records: Iterable[Message | StreamChunk | MessageDeletion]) -> set[str]:
    try:
        return {each.session_id for some in records for each in some}
    except TypeError as exc:
        raise StoreRejected("a session's id is of a type that no column holds") from exc


def locks_of(records: Sorted) -> list[tuple[int, bool]]:
    """The locks on the sessions of *records*, in order, each with whether it must be had alone."""
    alone = {_lock_of(session) for session in _sessions(records.deletions)}
    shared = {_lock_of(session) for session in _sessions(records.messages, records.chunks)}
    return sorted((number, number in alone) for number in shared | alone)


async def share_sessions(connection: Any, sessions: Iterable[str]) -> None:
    """Keep *sessions* from being deleted as a whole until the commit, as everybody does who writes to them."""
    await lock(connection, sorted((number, False) for number in {_lock_of(session) for session in sessions}))


async def hold_sessions(connection: Any, sessions: Iterable[str]) -> None:
    """Keep everybody from writing to *sessions* until the commit, as who deletes there does."""
    await lock(connection, sorted((number, True) for number in {_lock_of(session) for session in sessions}))


async def hold_all_sessions(connection: Any) -> None:
    """Keep everybody from writing messages until the commit."""
    await lock(connection, [(number, True) for number in range(_LOCKS)])


async def lock(connection: Any, locks: Sequence[tuple[int, bool]]) -> None:
    """Take *locks*, as `locks_of` gives them, one after another."""
    if locks:
        await connection.execute(_SQL["lock_sessions"], *columns(locks))


@lru_cache(maxsize=20_000)
def _lock_of(session: str) -> int:
    return zlib.crc32(str(session).encode(errors="surrogatepass")) % _LOCKS


async def _spared(connection: Any, records: Sorted) -> Sorted:
    stones = Tombstones(await _tombstones_of(connection, _sessions(records.messages, records.chunks)))
    messages = stones.spare(records.messages)
    await execute(connection, _SQL["remove_tombstones"], sorted(set(stones.used)))
    if stones.lost:
        await connection.execute(_SQL["delete_chunks_of_streams"], sorted(set(stones.lost)))
    return records._replace(messages=messages, chunks=stones.spare_chunks(records.chunks), are_plain=False)


async def _tombstones_of(connection: Any, sessions: Iterable[str]) -> dict[tuple[str, bytes], int]:
    rows = await connection.fetch(_SQL["tombstones_of_sessions"], sorted(sessions))
    return {(session, message): deleted_at for session, message, deleted_at in rows}


async def _apply(connection: Any, deletions: Sequence[MessageDeletion]) -> int:
    """Delete what is there, and note what is not there yet. Returns how many deletions took effect."""
    taken = 0
    for of_message, some in groupby(deletions, key=_is_of_message):
        delete = _delete_messages if of_message else _delete_sessions
        taken += await delete(connection, list(some))
    return taken


def _is_of_message(deletion: MessageDeletion) -> bool:
    return deletion.message_id is not None


async def _delete_messages(connection: Any, deletions: Sequence[MessageDeletion]) -> int:
    """Mark those that are there, and note the others: none whose session was deleted later, nor one twice."""
    stones = await _tombstones_of(connection, _sessions(deletions))
    wanted = [(each.session_id, each.message_id) for each in deletions]
    stored = {(row[0], row[1]): row[2] for row in await connection.fetch(_SQL["lock_marks"], *columns(wanted))}
    marked: list[MessageDeletion] = []
    noted: list[MessageDeletion] = []
    for each in deletions:
        key = each.session_id, each.message_id or WHOLE_SESSION
        if key in stored:
            if stored[key] is None:
                stored[key] = each.created_at_us
                marked.append(each)
        elif key not in stones and stones.get((each.session_id, WHOLE_SESSION), -1) < each.created_at_us:
            stones[key] = each.created_at_us
            noted.append(each)
    await _note(connection, noted)
    await execute(connection, _SQL["mark_messages"], [(each.message_id, each.created_at_us) for each in marked])
    await execute(connection, _SQL["shrink_sessions"], [*Counter(each.session_id for each in marked).items()])
    return len(marked) + len(noted)


async def _delete_sessions(connection: Any, deletions: Sequence[MessageDeletion]) -> int:
    """A later deletion of a session counts from then on; a repeated one changes nothing."""
    stones = await _tombstones_of(connection, _sessions(deletions))
    last: dict[str, MessageDeletion] = {}
    taken = 0
    for each in deletions:
        key = each.session_id, WHOLE_SESSION
        if stones.get(key, -1) < each.created_at_us:
            stones[key] = each.created_at_us
            last[each.session_id] = each
            taken += 1
    await _note(connection, last.values())
    upto = [(each.session_id, each.created_at_us) for each in last.values()]
    await searching.forget_sessions(connection, upto)
    for statement in ("delete_messages_of_sessions", "delete_older_tombstones"):
        await execute(connection, _SQL[statement], upto)
    for statement in ("recount_sessions", "delete_empty_sessions"):
        await connection.execute(_SQL[statement], list(last))
    return taken


async def _note(connection: Any, deletions: Iterable[MessageDeletion]) -> None:
    rows = [(each.session_id, each.message_id or WHOLE_SESSION, each.id, each.created_at_us) for each in deletions]
    await execute(connection, _SQL["write_tombstones"], rows)
