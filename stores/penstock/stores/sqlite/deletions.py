"""Deleted messages and sessions in an open transaction, and what they keep from coming back."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence

import orjson

from penstock.stores.sorting import Sorted
from penstock.stores.sqlfiles import statements
from penstock.stores.sqlite.numbers import SessionNumbers
from penstock.stores.tombstones import WHOLE_SESSION, Tombstones
from penstock.wire.records import MessageDeletion

_SQL = statements("penstock.stores.sqlite")


def apply(connection: sqlite3.Connection, numbers: SessionNumbers, deletions: Sequence[MessageDeletion]) -> int:
    """Delete what is there, and note what is not there yet. Returns how many deletions took effect."""
    return sum(
        _delete_session(connection, numbers, each)
        if each.message_id is None
        else _delete_message(connection, each, each.message_id)
        for each in deletions
    )


def spared(connection: sqlite3.Connection, batch: Sorted) -> Sorted:
    """*batch* without what is of deleted sessions, and with the mark on messages that were deleted before they came."""
    if not (batch.messages or batch.chunks) or not connection.execute(_SQL["any_tombstone"]).fetchone()[0]:
        return batch
    sessions = {each.session_id for each in batch.messages} | {each.session_id for each in batch.chunks}
    found = _tombstones_of(connection, sessions)
    if not found:
        return batch
    stones = Tombstones(found)
    messages = stones.spare(batch.messages)
    connection.executemany(_SQL["remove_tombstone"], stones.used)
    connection.executemany(_SQL["delete_chunks_of_stream"], [(each,) for each in stones.lost])
    return batch._replace(messages=messages, chunks=stones.spare_chunks(batch.chunks), are_plain=False)


def _tombstones_of(connection: sqlite3.Connection, sessions: Iterable[str]) -> Mapping[tuple[str, bytes], int]:
    wanted = orjson.dumps(list(sessions)).decode()
    rows = connection.execute(_SQL["tombstones_of_sessions"], {"sessions": wanted})
    return {(session, message): deleted_at for session, message, deleted_at in rows}


def _delete_session(connection: sqlite3.Connection, numbers: SessionNumbers, deletion: MessageDeletion) -> bool:
    row = (deletion.session_id, WHOLE_SESSION, deletion.id, deletion.created_at_us)
    if not connection.execute(_SQL["write_session_tombstone"], row).rowcount:
        return False
    found = connection.execute(_SQL["session_no"], (deletion.session_id,)).fetchone()
    if found is not None:
        upto = {"no": found[0], "deleted_at": deletion.created_at_us}
        connection.execute(_SQL["delete_chunks_of_session"], upto)
        connection.execute(_SQL["delete_messages_of_session"], upto)
        if connection.execute(_SQL["recount_session"], upto).rowcount == 0:
            connection.execute(_SQL["delete_session"], upto)
            numbers.forget(deletion.session_id)
    connection.execute(_SQL["delete_older_tombstones"], (deletion.session_id, deletion.created_at_us))
    return True


def _delete_message(connection: sqlite3.Connection, deletion: MessageDeletion, message_id: bytes) -> bool:
    found = connection.execute(_SQL["deletion_of_message"], (message_id, deletion.session_id)).fetchone()
    if found is None:
        row = (deletion.session_id, message_id, deletion.id, deletion.created_at_us)
        return bool(connection.execute(_SQL["write_message_tombstone"], row).rowcount)
    if found[0] is not None:
        return False
    connection.execute(_SQL["mark_deleted"], (message_id, deletion.created_at_us))
    connection.execute(_SQL["shrink_session"], (message_id,))
    return True
