"""One batch of records in an open transaction: the rows, and the counters that follow from them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from penstock.stores.contract import Fence
from penstock.stores.errors import StaleOwner
from penstock.stores.schemas import FIRST_WITH_SEARCH, FIRST_WITH_STATE, refuse_what_lacks
from penstock.stores.sessions import growth
from penstock.stores.sorting import chunk_row, sort
from penstock.stores.sqlfiles import statements
from penstock.stores.sqlite import deletions, searching, state
from penstock.stores.sqlite.bulk import insert
from penstock.stores.sqlite.numbers import SessionNumbers
from penstock.wire.records import Message, Record

_SQL = statements("penstock.stores.sqlite")

_REST_DEFAULTS = tuple(Message._field_defaults[name] for name in Message._fields[6:])
"""What a message without optional fields has after its metadata."""


class Batch(NamedTuple):
    """What one call of `Store.write` brings."""

    records: Sequence[Record]
    fence: Fence | None


class NotAllNew(Exception):
    """A message was there already. The sessions have been counted wrong: roll back, then look before you write."""


def apply(connection: sqlite3.Connection, numbers: SessionNumbers, batch: Batch, *, hopeful: bool, schema: int) -> int:
    """Write *batch*. Returns how many records were new or newer.

    If *hopeful*, write as if every message were new, which only a redelivery disproves. That is 1.1 to 1.3
    times as fast as looking first. *schema* is the number of the file's last migration.

    Raises:
        NotAllNew: Roll back, and be less hopeful.
        StoreRejected: A record that no SQL store keeps. Nothing is written.
        StaleOwner: A higher epoch has written. Nothing is written.
        SchemaTooOld: The schema has no tables for some of it. Nothing is written.
    """
    records = sort(batch.records)
    refuse_what_lacks(schema, records)
    if batch.fence is not None:
        _check(connection, batch.fence)
    # Before the messages: what of a deleted session lies in the same batch is then told by its time alone.
    deleted = deletions.apply(connection, numbers, records.deletions)
    if schema >= FIRST_WITH_STATE:
        records = deletions.spared(connection, records)
    times = [message.created_at_us for message in records.messages]
    stored = _messages(connection, numbers, records.messages, times, hopeful=hopeful)
    if schema >= FIRST_WITH_SEARCH:
        searching.note(connection, times)
    return (
        deleted
        + stored
        + insert(connection, _SQL["insert_chunk"], [chunk_row(chunk) for chunk in records.chunks])
        + insert(connection, _SQL["insert_log"], records.logs)
        + (state.write(connection, records.states) if records.states else 0)
    )


def _check(connection: sqlite3.Connection, fence: Fence) -> None:
    row = connection.execute(_SQL["fence"], (fence.partition,)).fetchone()
    if row is None or row[0] < fence.epoch:
        connection.execute(_SQL["raise_fence"], fence)
    elif row[0] > fence.epoch:
        raise StaleOwner(fence.partition, fence.epoch, row[0])


def _messages(
    connection: sqlite3.Connection,
    numbers: SessionNumbers,
    messages: Sequence[Message],
    times: list[int],
    *,
    hopeful: bool,
) -> int:
    """Write *messages*, created at *times*, to which those are added of stored ones that they replace."""
    if not hopeful or any(message.version for message in messages):
        return _merge_messages(connection, numbers, messages, times)
    stored = _insert_messages(connection, numbers, messages)
    if stored != len(messages):
        raise NotAllNew
    return stored


def _insert_messages(connection: sqlite3.Connection, numbers: SessionNumbers, messages: Iterable[Message]) -> int:
    grown = growth(messages)
    connection.executemany(_SQL["grow_session"], grown.values())
    number = numbers.of(connection, grown)
    plain: list[tuple[Any, ...]] = []
    with_metadata: list[tuple[Any, ...]] = []
    whole: list[tuple[Any, ...]] = []
    for m in messages:
        if m[6:] != _REST_DEFAULTS:
            whole.append((m[0], m[1], number[m[2]], *m[3:]))
        elif m[5] is None:
            plain.append((m[0], m[1], number[m[2]], m[3], m[4]))
        else:
            with_metadata.append((m[0], m[1], number[m[2]], m[3], m[4], m[5]))
    return (
        insert(connection, _SQL["insert_plain_message"], plain)
        + insert(connection, _SQL["insert_message_with_metadata"], with_metadata)
        + insert(connection, _SQL["insert_message"], whole)
    )


def _merge_messages(
    connection: sqlite3.Connection, numbers: SessionNumbers, messages: Sequence[Message], times: list[int]
) -> int:
    """Write those that are new, replace those that are newer, leave the rest. What is deleted stays deleted."""
    stored = _stored(connection, {message.id for message in messages})
    fresh: dict[bytes, Message] = {}
    newer: dict[bytes, Message] = {}
    hidden: list[tuple[bytes]] = []
    taken = 0
    for message in messages:
        version, deleted_at, created_at = stored.get(message.id, (None, None, message.created_at_us))
        if version is None:
            fresh[message.id] = message
        elif message.version > version:
            if deleted_at is None and message.deleted_at_us is not None:
                hidden.append((message.id,))
            times.append(created_at)
            newer[message.id] = message if deleted_at is None else message._replace(deleted_at_us=deleted_at)
        else:
            continue
        stored[message.id] = message.version, message.deleted_at_us if deleted_at is None else deleted_at, created_at
        taken += 1
    _insert_messages(connection, numbers, fresh.values())
    connection.executemany(_SQL["replace_message"], newer.values())
    connection.executemany(_SQL["shrink_session"], hidden)
    return taken


def _stored(connection: sqlite3.Connection, ids: Iterable[bytes]) -> dict[bytes, tuple[int | None, int | None, int]]:
    """Version of each message that is there, when it was deleted, and when it was created."""
    rows = connection.execute(_SQL["versions"], {"ids": b"".join(ids)})
    return {message_id: (version, deleted_at, created_at) for message_id, version, deleted_at, created_at in rows}
