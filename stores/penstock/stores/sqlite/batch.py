"""One batch of records in an open transaction: the rows, and the counters that follow from them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from penstock.stores.contract import Fence
from penstock.stores.errors import StaleOwner, StoreRejected
from penstock.stores.sessions import growth
from penstock.stores.sqlfiles import statements
from penstock.stores.sqlite.bulk import insert
from penstock.stores.sqlite.numbers import SessionNumbers
from penstock.wire.records import LogEvent, Message, Record, StreamChunk

_SQL = statements("penstock.stores.sqlite")

_REST_DEFAULTS = tuple(Message._field_defaults[name] for name in Message._fields[6:])
"""What a message without optional fields has after its metadata."""


class Batch(NamedTuple):
    """What one call of `Store.write` brings."""

    records: Sequence[Record]
    fence: Fence | None


class NotAllNew(Exception):
    """A message was there already. The sessions have been counted wrong: roll back, then look before you write."""


def apply(connection: sqlite3.Connection, numbers: SessionNumbers, batch: Batch, *, hopeful: bool) -> int:
    """Write *batch*. Returns how many records were new or newer.

    If *hopeful*, write as if every message were new, which only a redelivery disproves. That is 1.1 to 1.3
    times as fast as looking first.

    Raises:
        NotAllNew: Roll back, and be less hopeful.
        StoreRejected: A record that no SQL store keeps. Some of the others may be written.
        StaleOwner: A higher epoch has written. Nothing is written.
    """
    if batch.fence is not None:
        _check(connection, batch.fence)
    messages: list[Message] = []
    chunks: list[tuple[Any, ...]] = []
    logs: list[LogEvent] = []
    for record in batch.records:
        if isinstance(record, Message):
            messages.append(record)
        elif isinstance(record, LogEvent):
            logs.append(record)
        elif isinstance(record, StreamChunk):
            chunks.append((record.stream_id, record.seq, record.chunks, record.text, record.created_at_us))
        else:
            raise StoreRejected("this store keeps no vectors; an embedding belongs to PENSTOCK_VECTOR_URL")
    return (
        _messages(connection, numbers, messages, hopeful=hopeful)
        + insert(connection, _SQL["insert_chunk"], chunks)
        + insert(connection, _SQL["insert_log"], logs)
    )


def _check(connection: sqlite3.Connection, fence: Fence) -> None:
    row = connection.execute(_SQL["fence"], (fence.partition,)).fetchone()
    if row is None or row[0] < fence.epoch:
        connection.execute(_SQL["raise_fence"], fence)
    elif row[0] > fence.epoch:
        raise StaleOwner(fence.partition, fence.epoch, row[0])


def _messages(
    connection: sqlite3.Connection, numbers: SessionNumbers, messages: Sequence[Message], *, hopeful: bool
) -> int:
    if not hopeful or any(message.version for message in messages):
        return _merge_messages(connection, numbers, messages)
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


def _merge_messages(connection: sqlite3.Connection, numbers: SessionNumbers, messages: Sequence[Message]) -> int:
    """Write those that are new, replace those that are newer, leave the rest."""
    versions = _stored_versions(connection, {message.id for message in messages})
    fresh: dict[bytes, Message] = {}
    newer: dict[bytes, Message] = {}
    taken = 0
    for message in messages:
        known = versions.get(message.id)
        if known is None:
            fresh[message.id] = message
        elif message.version > known:
            newer[message.id] = message
        else:
            continue
        versions[message.id] = message.version
        taken += 1
    _insert_messages(connection, numbers, fresh.values())
    connection.executemany(_SQL["replace_message"], newer.values())
    return taken


def _stored_versions(connection: sqlite3.Connection, ids: Iterable[bytes]) -> dict[bytes, int]:
    joined = b"".join(ids)
    return dict(connection.execute(_SQL["versions"], {"ids": joined, "count": len(joined) // 16}))
